"""Per-example responses: hand-derived numbers, extremes, statuses, transforms."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure import STATUSES, classification_responses, regression_responses

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden/statistics.json").read_text())["responses"]
M, K = 8, 3
FLOATS = ("confidence", "entropy", "margin", "loss", "brier", "kl")


@pytest.fixture(scope="module")
def classify():
    """One program and one shape for this file."""
    program = jax.jit(classification_responses)

    def run(outputs, y=0, clean=None, sound=True):
        outputs = np.broadcast_to(np.asarray(outputs, np.float32), (M, K))
        clean = outputs if clean is None else np.broadcast_to(np.asarray(clean, np.float32), (M, K))
        y, sound = np.broadcast_to(np.asarray(y, np.int32), (M,)), np.broadcast_to(np.asarray(sound), (M,))
        return jax.tree.map(np.asarray, program(*map(jnp.asarray, (outputs, y, clean, sound))))

    return run


def test_golden_numbers(classify):
    rows = classify(np.log(GOLDEN["p"]), GOLDEN["y"], np.log(GOLDEN["clean"]))
    for name in FLOATS:
        np.testing.assert_allclose(rows[name], GOLDEN[name], rtol=2e-6, err_msg=name)
    assert (rows["prediction"] == 0).all() and not rows["correct"].any() and not rows["flipped"].any()


def test_dtypes_and_columns(classify):
    rows = classify(np.zeros(K))
    dtypes = {"prediction": np.int32, "correct": np.bool_, "flipped": np.bool_, "status": np.int8}
    assert {name: column.dtype for name, column in rows.items()} == dtypes | dict.fromkeys(FLOATS, np.dtype(np.float32))
    assert all(column.shape == (M,) for column in rows.values())
    np.testing.assert_allclose(rows["entropy"], np.log(K), rtol=1e-6)


@pytest.mark.parametrize("size", [88.0, 1e4, 1e30, 3.4e38])
def test_huge_logits_give_exact_finite_numbers(classify, size):
    rows = classify([size, 0.0, -size], y=[0, 1, 2, 0, 1, 2, 0, 1], clean=[-size, 0.0, size])
    for name in FLOATS:
        assert np.isfinite(rows[name]).all(), name
    np.testing.assert_allclose(rows["loss"][:2], [0.0, size], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(rows["margin"][:2], [size, -size], rtol=1e-6)
    np.testing.assert_allclose(rows["kl"], min(2 * size, float(np.finfo(np.float32).max)), rtol=1e-6)
    assert (rows["entropy"] >= 0).all() and (rows["entropy"] < 1e-30).all()
    np.testing.assert_allclose(rows["brier"][:2], [0.0, 2.0], atol=1e-6)
    assert rows["flipped"].all()


def test_entropy_and_divergence_are_never_negative(classify):
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1.0, 30.0, 1e3):
        outputs = rng.normal(scale=scale, size=(M, K)).astype(np.float32)
        same, near = classify(outputs), classify(outputs, clean=outputs * np.float32(1 + 1e-6))
        assert (same["kl"] == 0).all() and (near["kl"] >= 0).all() and (same["entropy"] >= 0).all()


def test_against_float64(classify):
    from scipy.special import log_softmax

    rng = np.random.default_rng(1)
    outputs, clean = rng.normal(scale=3, size=(2, M, K)).astype(np.float32)
    y = rng.integers(K, size=M)
    rows = classify(outputs, y, clean)
    log_p, log_q = (log_softmax(v.astype(np.float64), axis=1) for v in (outputs, clean))
    np.testing.assert_allclose(rows["loss"], -log_p[np.arange(M), y], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows["kl"], (np.exp(log_q) * (log_q - log_p)).sum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(rows["flipped"], outputs.argmax(axis=1) != clean.argmax(axis=1))
    np.testing.assert_array_equal(rows["correct"], outputs.argmax(axis=1) == y)
    np.testing.assert_array_equal(rows["margin"] > 0, rows["correct"])


def test_statuses_of_rows_without_a_number(classify):
    outputs = np.tile(np.float32([1.0, 0.0, 0.0]), (M, 1))
    outputs[1, 2], outputs[2, 0], outputs[3] = np.nan, np.inf, np.nan
    sound = np.array([True, True, True, False, False, True, True, True])
    clean = np.tile(np.float32([1.0, 0.0, 0.0]), (M, 1))
    clean[5, 0] = np.nan
    rows = classify(outputs, 0, clean, sound)
    status = [STATUSES[code] for code in rows["status"]]
    assert status == ["ok"] + ["nonfinite_output"] * 2 + ["nonfinite_input"] * 2 + ["ok"] * 3
    bad = slice(1, 5)
    assert (rows["prediction"][bad] == -1).all() and not rows["correct"][bad].any() and rows["flipped"][bad].all()
    for name in FLOATS:
        assert np.isnan(rows[name][bad]).all(), name
        assert np.isfinite(rows[name][[0, 6, 7]]).all(), name
    # A finite answer beside a clean one that is not: measured, flipped, and no divergence.
    assert rows["flipped"][5] and rows["correct"][5] and np.isnan(rows["kl"][5]) and np.isfinite(rows["loss"][5])


def test_any_floating_dtype_and_no_jit():
    outputs = jnp.asarray([[2.0, -1.0], [0.5, 0.25]], jnp.bfloat16)
    y, sound = jnp.array([0, 1]), jnp.array([True, True])
    rows = classification_responses(outputs, y, outputs.astype(jnp.float16), sound)
    assert rows["loss"].dtype == jnp.float32
    np.testing.assert_allclose(rows["loss"], [np.log1p(np.exp(-3)), np.log1p(np.exp(0.25))], rtol=1e-6)


@pytest.mark.parametrize(
    "argument, change",
    [
        ("outputs", {"outputs": jnp.zeros((2, 1))}),
        ("outputs", {"outputs": jnp.zeros((2, 3), jnp.int32)}),
        ("clean", {"clean": jnp.zeros((2, 4))}),
        ("y", {"y": jnp.zeros(2)}),
        ("y", {"y": jnp.array([0, 3])}),
        ("y", {"y": jnp.array([-1, 0])}),
        ("sound", {"sound": jnp.ones(2)}),
    ],
)
def test_classification_refuses(argument, change):
    arguments = {
        "outputs": jnp.zeros((2, 3)),
        "y": jnp.array([0, 1]),
        "clean": jnp.zeros((2, 3)),
        "sound": jnp.array([True, True]),
    } | change
    with pytest.raises(ArgumentError) as error:
        classification_responses(**arguments)
    assert error.value.argument == argument


def test_regression_by_hand_in_every_shape():
    outputs, y, clean = jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]), jnp.array([4.0, 3.0])
    sound = jnp.array([True, True])
    flat = regression_responses(outputs, y, clean, sound)
    column = regression_responses(outputs[:, None], y, clean[:, None], sound)
    for rows in (flat, column):
        assert rows["loss"].tolist() == [0, 4] and rows["shift"].tolist() == [3, 0]
        assert rows["prediction"].tolist() == [1, 3] and rows["status"].tolist() == [0, 0]
    wide = jax.jit(regression_responses)(jnp.array([[3.0, 4.0]]), jnp.zeros((1, 2)), jnp.zeros((1, 2)), sound[:1])
    assert wide["loss"].tolist() == [12.5] and wide["shift"].tolist() == [5] and jnp.isnan(wide["prediction"]).all()


def test_regression_statuses():
    outputs = jnp.array([1.0, jnp.nan, jnp.nan, 1.0])
    clean = jnp.array([1.0, 1.0, 1.0, jnp.inf])
    rows = regression_responses(outputs, jnp.zeros(4), clean, jnp.array([True, True, False, True]))
    assert [STATUSES[i] for i in rows["status"]] == ["ok", "nonfinite_output", "nonfinite_input", "ok"]
    assert jnp.isnan(rows["loss"]).tolist() == [False, True, True, False]
    assert jnp.isnan(rows["shift"]).tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    "argument, change",
    [
        ("outputs", {"outputs": jnp.zeros((2, 3, 1))}),
        ("y", {"y": jnp.zeros(2), "outputs": jnp.zeros((2, 3)), "clean": jnp.zeros((2, 3))}),
        ("y", {"y": jnp.zeros(2, jnp.int32)}),
        ("clean", {"clean": jnp.zeros(3)}),
        ("sound", {"sound": jnp.ones(3, bool)}),
    ],
)
def test_regression_refuses(argument, change):
    arguments = {"outputs": jnp.zeros(2), "y": jnp.zeros(2), "clean": jnp.zeros(2), "sound": jnp.ones(2, bool)} | change
    with pytest.raises(ArgumentError) as error:
        regression_responses(**arguments)
    assert error.value.argument == argument
