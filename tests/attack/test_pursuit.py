"""Laws of the loop: what comes of an example depends on nothing but the example."""

import dataclasses
import logging

import jax
import numpy as np
import pytest

from sensijax import attack
from sensijax.attack import Loop, Victim
from sensijax.attack._pursuit import Examples, folded, pursue

N, STEPS, RESTARTS = 16, 6, 3
LOOP = Loop(8, 4, False)
EXCEPT = ("fused", "another_width", "costs_nothing_more", "nearest_of_several", "two_programs")  # no bits are compared


@pytest.fixture(scope="module")
def one():
    return attack.PGD(eps=0.11, norm="l2", steps=STEPS, restarts=RESTARTS)


@pytest.fixture(scope="module")
def attacked(ball):
    """From a loop and rows to outcomes."""

    def run(one, loop=LOOP, rows=slice(None), **options):
        ids = np.arange(N)[rows]
        y = ball.y[rows].astype(np.int32)
        examples = Examples(ball.x[rows], y, folded(np.zeros((len(ids), 2), np.uint32), np.stack([ids, ids], 1)))
        logits = np.asarray(ball.model(ball.x[rows])) if len(ids) else np.zeros((0, 2), np.float32)
        return pursue(one, Victim.of(ball.model), examples, one.targets(logits, y), loop, **options)

    return run


@pytest.fixture(scope="module")
def usual(attacked, one):
    found = attacked(one)
    assert 0 < found.broken.sum() < N
    return found


def same(a, b):
    return all(
        (np.asarray(getattr(a, field.name)) == np.asarray(getattr(b, field.name))).all()
        for field in dataclasses.fields(a)
        if field.name != "carried"
    )


def test_outcomes_do_not_depend_on_the_order_or_on_the_others(attacked, one, usual):
    order = np.random.default_rng(0).permutation(N)
    assert same(attacked(one, rows=order), dataclasses.replace(usual, **at(usual, order)))
    few = np.array([11, 2, 7])
    assert same(attacked(one, rows=few), dataclasses.replace(usual, **at(usual, few)))


def at(found, rows):
    names = ("found", "broken", "distance", "attempt", "forwards", "backwards")
    return {name: getattr(found, name)[rows] for name in names}


@pytest.mark.parametrize("loop", [Loop(8, 1, False), Loop(8, 4, False, 2), Loop(8, 7, False, 5)])
def test_outcomes_do_not_depend_on_when_the_host_looks_or_on_the_pools(attacked, one, usual, loop):
    assert same(attacked(one, loop), usual)


def test_a_fused_loop_finds_the_same_to_rounding(attacked, one, usual):
    fused = attacked(one, Loop(8, 4, True, 2))
    assert (fused.broken == usual.broken).all()
    assert (fused.forwards == usual.forwards).all()
    np.testing.assert_allclose(fused.found, usual.found, atol=1e-5)


def test_another_width_finds_the_same_to_rounding(attacked, one, usual):
    wide = attacked(one, Loop(32, 4, False))
    assert (wide.broken == usual.broken).all()
    np.testing.assert_allclose(wide.found, usual.found, atol=1e-5)


def test_every_attempt_on_what_stays_robust_is_counted_and_none_after_a_success(usual):
    robust = ~usual.broken
    assert (usual.forwards[robust] == RESTARTS * (STEPS + 1)).all()
    assert (usual.backwards == usual.forwards).all()
    before = usual.attempt[usual.broken] * (STEPS + 1)
    spent = usual.forwards[usual.broken]
    assert ((spent > before) & (spent <= before + STEPS + 1)).all()


def test_an_example_that_is_broken_costs_nothing_more(attacked, ball):
    calls = []

    def counted(params, x):
        jax.debug.callback(lambda: calls.append(1))
        return ball.model.apply(params, x)

    victim = Victim(params=ball.model.params, apply=counted)
    examples = Examples(ball.x, ball.y.astype(np.int32), np.zeros((N, 2), np.uint32))
    large = attack.PGD(eps=1.0, norm="l2", steps=STEPS, restarts=50)
    pursue(large, victim, examples, np.full((N, 50), -1, np.int32), Loop(8, 1, False))
    jax.effects_barrier()
    # 16 examples in 8 places: two fillings, and hardly more, where 50 attempts each would take hundreds.
    assert len(calls) <= 3 * (STEPS + 1)


def test_budgets_may_differ_from_row_to_row(attacked, one, usual):
    budgets = np.linspace(0.05, 0.4, N, dtype=np.float32)
    many = attacked(dataclasses.replace(one, eps=budgets))
    for i in (0, 5, 10, 15):
        alone = attacked(dataclasses.replace(one, eps=budgets[i]), rows=slice(i, i + 1))
        assert same(alone, dataclasses.replace(many, **at(many, [i])))
    assert (many.distance[many.broken] <= budgets[many.broken] * (1 + 1e-5)).all()


def test_a_robustness_curve_is_one_call_and_falls(ball, one):
    budgets = np.repeat(np.linspace(0.05, 0.4, 6, dtype=np.float32), N)
    x, y = np.tile(ball.x, (6, 1)), np.tile(ball.y, 6)
    many = dataclasses.replace(one, eps=budgets)(jax.random.key(0), ball.model, x, y, loop=LOOP, diagnose=False)
    curve = many.robust.reshape(6, N).sum(axis=1)
    assert (np.diff(curve) <= 0).all()
    assert curve[0] == N
    assert curve[-1] == 0


def test_the_nearest_of_several_attempts_counts_where_the_nearest_is_looked_for(attacked):
    nearest = attack.FAB(eps=1.0, norm="l2", steps=4, target_classes=1, restarts=3)
    first = attacked(dataclasses.replace(nearest, restarts=1))
    all_three = attacked(nearest)
    assert all_three.broken.all()
    assert (all_three.distance <= first.distance + 1e-6).all()
    assert (all_three.forwards == 3 * first.forwards).all()


def test_no_examples_are_no_work(attacked, one):
    nothing = attacked(one, rows=slice(0, 0))
    assert len(nothing.broken) == 0


def test_progress_ends_at_the_end_and_never_goes_back(attacked, one):
    seen = []
    attacked(one, Loop(8, 4, False, 2), progress=lambda ended, total: seen.append((ended, total)))
    ended = [e for e, _ in seen]
    assert ended == sorted(ended)
    assert seen[-1] == (N * RESTARTS, N * RESTARTS)


def test_a_failure_in_one_pool_ends_all(attacked, one):
    def fail(ended, total):
        if ended > 10:
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        attacked(one, Loop(8, 1, False, 3), progress=fail)


def test_two_programs_an_attack_whatever_the_number_of_examples(ball, caplog):
    strange = attack.PGD(eps=0.1, steps=3, restarts=2)
    twin = dataclasses.replace(ball.model, apply=lambda params, x: ball.model.apply(params, x))
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        for rows in (3, 16, 9):
            strange(jax.random.key(0), twin, ball.x[:rows], ball.y[:rows], loop=Loop(6, 2, False), diagnose=False)
    compiled = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Compiling")]
    assert sum("_admit" in line for line in compiled) == 1
    assert sum("_advance" in line for line in compiled) == 1
    assert len(compiled) <= 4  # and clean logits, and keys


def test_folding_is_that_of_the_keys_of_campaigns():
    ids = np.array([[1, 5], [0, 7]], np.uint32)
    keys = folded(np.zeros((2, 2), np.uint32), ids)
    one = jax.random.fold_in(jax.random.fold_in(jax.random.key(0, impl="threefry2x32"), 1), 5)
    assert (keys[0] == np.asarray(jax.random.key_data(one))).all()
