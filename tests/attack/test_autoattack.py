"""AutoAttack gives the verdicts of the authors' code, which are stored in `autoattack_digits.npz`."""

import logging
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import attack
from sensijax.attack.autoattack import dlr, targeted_dlr
from sensijax.core import ArgumentError, Model

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
KEY = jax.random.key(0)
LOOP = attack.Loop(16, 8, False, 2)
BUDGETS = {"Linf": 0.15, "L2": 0.6}
SOME = np.arange(0, 497, 11)  # 46 images
EXCEPT = ("test_few_classes", "test_a_standard_run_compiles")  # no bits are compared


@pytest.fixture(scope="module")
def stored():
    return np.load(GOLDEN / "autoattack_digits.npz")


@pytest.fixture(scope="module")
def fast(golden_digits):
    """The fast version on some images."""
    model, x, y = golden_digits
    one = attack.AutoAttack(eps=0.15, version="fast")
    return one(KEY, model, x[SOME], y[SOME], ids=SOME, loop=LOOP, diagnose=False)


def test_some_verdicts_are_those_of_the_reference(fast, stored):
    """The whole set, the standard version and both norms are the slow test's."""
    assert (fast.robust == stored["Linf_0.15_standard"][SOME]).all()


def test_adversarial_examples_are_misclassified_within_ball_and_box(fast, golden_digits):
    model, x, y = golden_digits
    broken = fast.status == attack.STATUSES.index("broken")
    assert broken.sum() > 10
    logits = jax.jit(model.apply)(model.params, fast.x_adv[broken])
    assert (np.asarray(logits).argmax(axis=1) != y[SOME][broken]).all()
    assert np.abs(fast.x_adv - x[SOME]).max() <= 0.15 * (1 + 1e-5)
    assert fast.x_adv.min() >= 0
    assert fast.x_adv.max() <= 1


def test_verdicts_and_inputs_are_identical_in_pieces_and_shuffled(fast, golden_digits):
    model, x, y = golden_digits
    one, order = attack.AutoAttack(eps=0.15, version="fast"), np.random.default_rng(0).permutation(len(SOME))
    for start in (0, 13, 26, 39):
        part = order[start : start + 13]
        ids = SOME[part]
        result = one(KEY, model, x[ids], y[ids], ids=ids, loop=LOOP, diagnose=False)
        assert (result.status == fast.status[part]).all()
        assert (result.x_adv == fast.x_adv[part]).all()
        assert (result.forwards == fast.forwards[part]).all()


def test_a_smaller_budget_breaks_nothing_that_a_larger_one_leaves(fast, golden_digits):
    model, x, y = golden_digits
    smaller = attack.AutoAttack(eps=0.1, version="fast")(
        KEY, model, x[SOME], y[SOME], ids=SOME, loop=LOOP, diagnose=False
    )
    assert (smaller.robust | ~fast.robust).all()
    assert smaller.robust.sum() > fast.robust.sum()


def test_a_standard_run_compiles_at_most_ten_programs(caplog):
    def linear(w, x):
        return x.reshape(len(x), -1) @ w

    rng = np.random.default_rng(0)
    model = Model(linear, jnp.asarray(rng.normal(size=(30, 5)), jnp.float32), name="linear")
    x = rng.uniform(size=(11, 6, 5, 1)).astype(np.float32)
    y = np.asarray(model(x)).argmax(axis=1)
    one = attack.AutoAttack(eps=0.01)
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        result = one(KEY, model, x, y, loop=attack.Loop(4, 8, False, 2), diagnose=False)
    assert result.robust.any()  # so that every part has run
    compiled = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Compiling")]
    assert 9 <= len(compiled) <= 10


def test_parts_are_the_published_ones():
    def told(norm, version):
        parts = attack.AutoAttack(eps=0.1, norm=norm, version=version).parts()
        return {name: (part.most_steps, part.attempts) for name, part in parts}

    assert told("linf", "standard") == {
        "apgd-ce": (101, 1),
        "apgd-t": (101, 9),
        "fab-t": (100, 9),
        "square": (5001, 1),
    }
    assert told("l1", "standard") == {"apgd-ce": (103, 5), "apgd-t": (103, 5), "fab-t": (100, 9), "square": (5001, 1)}
    assert told("l2", "plus") == {
        "apgd-ce": (101, 5),
        "apgd-dlr": (101, 5),
        "fab": (100, 5),
        "square": (5001, 1),
        "apgd-t": (101, 9),
        "fab-t": (100, 9),
    }
    assert told("linf", "rand") == {"apgd-ce": (101, 1), "apgd-dlr": (101, 1)}


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_attacked_with_the_margin_and_told(classes, caplog):
    rng = np.random.default_rng(1)
    model = Model(lambda w, x: x @ w, jnp.asarray(rng.normal(size=(6, classes)), jnp.float32), name="linear")
    x = rng.uniform(0.3, 0.7, (8, 6)).astype(np.float32)
    y = np.asarray(model(x)).argmax(axis=1)
    one = attack.AutoAttack(eps=0.25, version="fast")
    result = one(KEY, model, x, y, loop=attack.Loop(8, 8, False), diagnose=False)
    assert f"{classes} classes" in caplog.text
    # Of a linear model the verdict is known: w . delta reaches eps |w|_1 inside of the box.
    w = np.asarray(model.params)
    logits = x @ w
    for i in range(8):
        gaps = [logits[i, y[i]] - logits[i, k] - 0.25 * np.abs(w[:, y[i]] - w[:, k]).sum() for k in range(classes)]
        gaps[y[i]] = np.inf
        assert result.robust[i] == (min(gaps) > 0)


def test_the_ratio_gives_way_to_the_margin_only_where_it_is_not_defined():
    z, y, target = jnp.array([[3.0, 1.0, 0.0, 0.5]]), jnp.array([0]), jnp.array([1])
    assert dlr(z, y, target) == attack.losses.dlr(z, y, target)
    assert dlr(z[:, :2], y, target).tolist() == [-2.0]
    assert targeted_dlr(z, y, target) == attack.losses.targeted_dlr(z, y, target)
    assert targeted_dlr(z[:, :3], y, target).tolist() == [-2.0]


def test_an_unknown_version_is_refused_with_the_nearest_name():
    with pytest.raises(ArgumentError, match="standard"):
        attack.AutoAttack(eps=0.1, version="standart")


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_whole_ensemble_agrees_with_the_reference(golden_digits, stored, norm):
    model, x, y = golden_digits
    one = attack.AutoAttack(eps=BUDGETS[norm], norm=norm.lower())
    result = one(KEY, model, x, y, diagnose=False)
    expected = stored[f"{norm}_{BUDGETS[norm]}_standard"]
    assert abs(int(result.robust.sum()) - int(expected.sum())) <= 2
    assert (result.robust == expected).mean() >= 0.995


@pytest.mark.slow
def test_whole_batches_of_16_97_and_497_and_shuffled_give_identical_verdicts(golden_digits):
    model, x, y = golden_digits
    one, order = attack.AutoAttack(eps=0.15, version="fast"), np.random.default_rng(2).permutation(497)

    def verdicts(batch, chosen):
        pieces = [chosen[start : start + batch] for start in range(0, len(chosen), batch)]
        return np.concatenate([one(KEY, model, x[i], y[i], ids=i, diagnose=False).robust for i in pieces])

    whole = verdicts(497, np.arange(497))
    assert 0.1 < whole.mean() < 0.9  # a verdict that is the same for all would be kept by any batch
    assert (verdicts(16, order[:160]) == whole[order[:160]]).all()  # narrow batches cost most: ten of them
    assert (verdicts(97, order) == whole[order]).all()
