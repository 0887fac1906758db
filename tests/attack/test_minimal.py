"""Attacks for the nearest adversarial example reach the exact distance where it is known, and Foolbox's where not."""

import dataclasses
import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.core import ArgumentError

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
# Nine evaluations a look: of four, or a multiple, those attacks that take thousands would make one large program.
LOOP, LOOP_OF_40 = attack.Loop(16, 9, False), attack.Loop(40, 9, False)
SHORT = {"rounds": 9, "steps": 200, "c": 0.01}

# The attack, and by how much the worst of 16 examples may be farther than the exact distance.
PLANE = {
    "deepfool-l2": (attack.DeepFool(), 0.03),
    "deepfool-linf": (attack.DeepFool(norm="linf"), 0.03),
    "ddn": (attack.DDN(), 0.01),
    "fmn-l2": (attack.FMN(), 0.005),
    "fmn-linf": (attack.FMN(norm="linf"), 0.005),
    "fmn-l1": (attack.FMN(norm="l1"), 0.005),
    "carlini-wagner": (attack.CarliniWagner(**SHORT), 0.01),
    "ead-l1": (attack.EAD(**SHORT), 0.04),
    "hopskipjump-l2": (attack.HopSkipJump(queries=1500), 0.06),
    "hopskipjump-linf": (attack.HopSkipJump(queries=1500, norm="linf"), 0.12),
    "boundary": (attack.Boundary(queries=1500), 0.06),
}
BALL = {"ddn": 0.02, "fmn-l2": 0.01, "carlini-wagner": 0.02, "hopskipjump-l2": 0.3, "boundary": 0.12}
ALONE = ("ddn", "ead-l1", "hopskipjump-l2", "boundary")
EXCEPT = tuple(f"[{name}]" for name in ALONE)  # their rows are compared bit by bit


def run(one, surface, rows=None):
    ids = np.arange(len(surface.x)) if rows is None else rows
    x, y = surface.x[ids], surface.y[ids]
    return one(jax.random.key(3), surface.model, x, y, ids=ids, loop=LOOP, diagnose=False)


_ran = {}


def ran(name, surface):
    """The outcome of `PLANE[name]` on a surface, made once."""
    at = name, id(surface)
    if at not in _ran:
        _ran[at] = run(PLANE[name][0], surface)
    return _ran[at]


@functools.partial(jax.jit, static_argnums=0)
def predicted(apply, params, x):
    return jnp.argmax(apply(params, x), axis=1)


def checked_as_a_user_would(result, model, norm, box=(0.0, 1.0)):
    """Every find judged alone, in float64 distances, in the box."""
    broken = np.flatnonzero(result.status == attack.STATUSES.index("broken"))
    for i in broken:
        assert int(predicted(model.apply, model.params, result.x_adv[i : i + 1])[0]) != result.y[i]
        delta = (result.x_adv[i].astype(np.float64) - result.x[i]).ravel()
        size = np.linalg.norm(delta, {"l2": 2, "linf": np.inf, "l1": 1}[norm])
        assert abs(size - result.distance[i]) <= 1e-5 * size + 1e-6
    assert ((result.x_adv >= box[0]) & (result.x_adv <= box[1])).all()
    return broken


@pytest.mark.parametrize("name", PLANE)
def test_a_half_space_is_left_by_the_shortest_way(name, plane):
    one, slack = PLANE[name]
    result = ran(name, plane)
    assert len(checked_as_a_user_would(result, plane.model, str(one.norm))) == len(plane.x)
    ratio = result.distance / plane.exact[str(one.norm)]
    assert ratio.min() > 1 - 1e-5  # nothing is nearer than the nearest
    assert ratio.max() < 1 + slack


@pytest.mark.parametrize("name", BALL)
def test_a_ball_is_left_along_the_radius(name, ball):
    result = ran(name, ball)
    ratio = result.distance / ball.exact["l2"]
    assert ratio.min() > 1 - 1e-5
    assert ratio.max() < 1 + BALL[name]


def test_deepfool_goes_as_far_as_the_linearised_ball(ball):
    rho = 0.35 - ball.exact["l2"]  # of |u|^2 - r^2 the slope is 2 rho, so that the first step is too long
    expected = 1.02 * ((0.35**2 - rho**2) / (2 * rho) + 1e-4)
    np.testing.assert_allclose(ran("deepfool-l2", ball).distance, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ALONE)
def test_a_row_does_not_depend_on_the_others(name, plane):
    whole, rows = ran(name, plane), np.array([11, 2, 7])
    part = run(PLANE[name][0], plane, rows)
    np.testing.assert_array_equal(part.x_adv, whole.x_adv[rows])
    np.testing.assert_array_equal(part.queries, whole.queries[rows])


def test_another_seed_is_another_walk(plane):
    one, _ = PLANE["boundary"]
    other = one(jax.random.key(4), plane.model, plane.x, plane.y, loop=LOOP, diagnose=False)
    assert (other.x_adv != ran("boundary", plane).x_adv).any()


@pytest.mark.parametrize("name", ["hopskipjump-l2", "boundary"])
def test_decision_based_attacks_count_every_query_and_no_gradient(name, plane):
    one, result = PLANE[name][0], ran(name, plane)
    assert (result.queries <= one.queries).all() and (result.backwards == 0).all()
    if name.startswith("hop"):
        assert (result.queries == one.queries).all()


def test_only_the_predicted_class_is_used(plane):
    one, _ = PLANE["hopskipjump-l2"]
    hard = dataclasses.replace(plane.model, params=plane.model.params | {"hard": jnp.bool_(True)})
    result = run(one, dataclasses.replace(plane, model=hard))
    np.testing.assert_array_equal(result.x_adv, ran("hopskipjump-l2", plane).x_adv)


def test_what_lies_beyond_the_budget_is_not_found(plane):
    one = attack.DDN(eps=0.12)
    result = run(one, plane)
    np.testing.assert_array_equal(result.robust, plane.exact["l2"] * 1.005 > 0.12)


@pytest.mark.parametrize(
    "make", [attack.DDN, attack.CarliniWagner, attack.HopSkipJump, attack.Boundary, attack.DeepFool, attack.EAD]
)
def test_a_norm_that_an_attack_does_not_work_in_is_refused(make):
    norm = "linf" if make in (attack.DDN, attack.CarliniWagner, attack.Boundary, attack.EAD) else "l1"
    with pytest.raises(ArgumentError, match="works in l"):
        make(norm=norm)


# Foolbox's distance on the same weights and images: the median ratio, and how far one of 40 may be beyond it.
FOOLBOX = {
    "ddn": (attack.DDN(), 0.005, 0.06),
    "fmn_linf": (attack.FMN(norm="linf"), 0.005, 0.02),
    "deepfool_l2": (attack.DeepFool(), 0.005, 0.005),
    "carlini_wagner": (attack.CarliniWagner(steps=300), 0.005, 0.02),
    "ead_l1": (attack.EAD(steps=300), 0.01, 0.02),
}


@pytest.mark.parametrize("name", FOOLBOX)
def test_distances_are_those_of_foolbox(name, golden_digits):
    one, close, worst = FOOLBOX[name]
    stored = np.load(GOLDEN / "foolbox_digits.npz")
    model, x, y = golden_digits
    rows = stored["rows"]
    result = one(jax.random.key(0), model, x[rows], y[rows], loop=LOOP_OF_40, diagnose=False)
    ratio = result.distance / stored[name]
    assert abs(np.median(ratio) - 1) < close
    assert ratio.max() < 1 + worst
    checked_as_a_user_would(result, model, str(one.norm))


def test_minimal_norm_takes_the_nearest_of_all_and_says_whose_it_is(plane):
    attacks = (attack.DDN(), attack.FMN(), attack.DeepFool())
    result = attack.minimal_norm(jax.random.key(3), plane.model, plane.x, plane.y, attacks=attacks, loop=LOOP)
    each = np.stack([run(one, plane).distance for one in attacks])
    assert result.attacks == ("DDN", "FMN", "DeepFool")
    np.testing.assert_allclose(result.distance, each.min(axis=0), rtol=2e-4)
    np.testing.assert_array_equal(result.broken_by, each.argmin(axis=0))
    assert len(checked_as_a_user_would(result, plane.model, "l2")) == len(plane.x)
    assert (result.queries == 101 + 101 + run(attacks[2], plane).queries).all()


def test_a_find_that_does_not_hold_alone_is_dropped(plane):
    from sensijax.attack.minimal import confirmed

    victim = attack.Victim.of(plane.model)
    keys = np.zeros((len(plane.x), 2), np.uint32)
    examples = attack.Examples(plane.x, plane.y.astype(np.int32), keys)
    n = len(plane.x)
    claimed = attack.Pursued(
        found=plane.x + np.float32(1e-6),  # claimed, and not so: still class 0
        broken=np.ones(n, bool),
        distance=np.full(n, 1e-6, np.float32),
        attempt=np.zeros(n, np.int32),
        forwards=np.ones(n, np.int64),
        backwards=np.zeros(n, np.int64),
    )
    held = confirmed(claimed, victim, examples, attack.l2, (0.0, 1.0), np.full(n, np.inf))
    assert not held.broken.any() and np.isinf(held.distance).all()


def test_minimal_norm_refuses_what_does_not_look_for_the_nearest(plane):
    for attacks, words in (
        ((attack.PGD(eps=0.1),), "nearest"),
        ((attack.FMN(norm="linf"),), "all in l2"),
        ((), "none"),
    ):
        with pytest.raises(ArgumentError, match=words):
            attack.minimal_norm(jax.random.key(0), plane.model, plane.x, plane.y, attacks=attacks)
