"""Where predictions are lost: known flips, those that come back, those that never come; regions and interactions."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensijax as sj
import sensijax.sensitivity as s
from sensijax import demo
from sensijax.core import ArgumentError, Model
from sensijax.perturb import Perturbation, image
from sensijax.sensitivity.severities._critical import clopper_pearson

KEY = jax.random.key(0)


class Shift(Perturbation):
    """`x + amount`, severity and amount being the same."""

    amount: jax.Array
    deterministic: ClassVar[bool] = True

    @classmethod
    def at(cls, severity):
        return cls(amount=jnp.asarray(severity, jnp.float32))

    def is_identity(self):
        return self.amount == 0

    def apply(self, key, x):
        return x + self.amount


def above(x):
    """Class 1 where x > 2, so that an example x flips at 2 - x."""
    return jnp.concatenate([jnp.full_like(x, 2.0), x], axis=1)


def window(x):
    """Class 1 where 1 < x < 2 only: what is lost comes back."""
    return jnp.concatenate([jnp.abs(x - 1.5), jnp.full_like(x, 0.5)], axis=1)


START = np.array([[-3.9], [-0.123], [1.5], [1.96], [2.5]], np.float32)


def test_known_flips_to_the_tolerance():
    for y, last in ((None, np.inf), (np.zeros(5, int), 0)):
        found = s.critical_severity(above, Shift, KEY, START, y, tolerance=1e-3)
        expected = [np.inf, 2.123, 0.5, 0.04, last]
        assert found.severity[0] == np.inf and found.severity[4] == last
        assert (found.severity[1:4] - expected[1:4] >= -1e-6).all(), "it was evaluated there, and is lost"
        assert (found.severity[1:4] - expected[1:4] <= 1e-3).all()
        assert found.status.tolist() == [
            "never",
            "flips",
            "flips",
            "flips",
            "never" if y is None else "wrong when clean",
        ]
    assert not found.returns.any() and found.relative_to == "label"
    assert found.kept.shape == (41, 5) and len(found.frame()) == 5


def test_predictions_that_come_back_are_counted(caplog):
    found = s.critical_severity(window, Shift, KEY, np.array([[0.0], [1.2], [3.0]], np.float32))
    np.testing.assert_allclose(found.severity[:2], [1, 0.8], atol=1e-2)
    assert found.returns.tolist() == [1, 0, 0] and found.severity[2] == np.inf
    assert "come back" in caplog.text
    table = found.survival([0.0, 0.9, 5.0])
    assert table.survival.tolist() == [1, 2 / 3, 1 / 3] and table.kept.iloc[-1] == 2 / 3, "survival only falls"


def test_rows_in_chunks_give_the_same_answer():
    whole, cut = (s.critical_severity(above, Shift, KEY, START, chunk=c, scan=7) for c in (256, 3))
    np.testing.assert_array_equal(whole.severity, cut.severity)


def test_outputs_that_are_not_finite_are_lost_and_counted(caplog):
    def broken(x):
        return jnp.where(x > 1, jnp.nan, above(x))

    found = s.critical_severity(broken, Shift, KEY, START[1:3] * 0)
    np.testing.assert_allclose(found.severity, [1, 1], atol=0.02)
    assert (found.nonfinite == 32).all() and "not finite" in caplog.text
    with pytest.raises(ArgumentError, match="clean outputs"):
        s.critical_severity(broken, Shift, KEY, START[2:] + 2)


def test_survival_intervals_cover():
    """Clopper and Pearson's limits, by their definition: the tails of the binomial at the limits are alpha / 2."""
    from scipy.stats import binom

    low, high = clopper_pearson([0, 3, 20], 20, 0.9)
    assert low[0] == 0 and high[2] == 1
    np.testing.assert_allclose(binom.sf(2, 20, low[1]), 0.05)
    np.testing.assert_allclose(binom.cdf(3, 20, high[1]), 0.05)


def test_quantiles_with_order_statistics():
    x = -np.linspace(0.0, 4.0, 101, dtype=np.float32)[:, None]  # flips at 2 + 0.04 i, beyond 5 never
    found = s.critical_severity(above, Shift, KEY, x, tolerance=1e-3)
    median, low, high = found.quantile()
    assert abs(median - 4) < 0.01 and 3.5 < low < 4 < high < 4.5
    assert found.quantile(0.9) == (np.inf, np.inf, np.inf)


@pytest.mark.parametrize(
    "change, message",
    [({"scale": Shift.at(1)}, "the class"), ({"scale": "fog"}, "perturbation class"), ({"top": 0}, "the end"),
     ({"scan": 0}, "intervals"), ({"tolerance": 0}, "width"), ({"y": np.array([0, 1, 2, 0, 0])}, "a class in 0..1"),
     ({"y": np.zeros(4, int)}, "each of 5"), ({"model": lambda x: x}, "logits"), ({"key": 1}, "typed key"),
     ({"scale": image.Fog, "top": 7}, "a severity lies in")],
)  # fmt: skip
def test_refusals(change, message):
    call = {"model": above, "scale": Shift, "key": KEY, "x": START, "y": None} | change
    with pytest.raises(ArgumentError, match=message):
        s.critical_severity(**call)


def test_threshold_finds_a_cliff_and_says_when_it_may_lie_beyond():
    def cliff(x):
        return jax.nn.sigmoid(4 * (x - 3))

    def value(outputs, y):
        return outputs[0]

    start = 0.3 * np.random.default_rng(0).standard_normal((200, 1)).astype(np.float32)
    curve = s.response_curve(cliff, Shift, KEY, start, np.zeros(200), response=value)
    np.testing.assert_allclose(curve.slope, 4 * curve.response * (1 - curve.response), atol=1e-5)
    found = s.threshold(curve)
    assert found.low < 3 < found.high and found.high - found.low < 0.2 and not found.at_edge
    assert found.sharpness_low > 2
    assert s.threshold(s.response_curve(cliff, Shift, KEY, start, np.zeros(200), [0, 1, 2], response=value)).at_edge
    with pytest.raises(ArgumentError, match="all zero"):
        s.threshold(s.response_curve(jnp.zeros_like, Shift, KEY, start, np.zeros(200), response=value))
    with pytest.raises(ArgumentError, match="increasing"):
        s.response_curve(cliff, Shift, KEY, start, np.zeros(200), [2, 1], response=value)


class Stretch(Shift):
    """`x (1 + amount)`."""

    def apply(self, key, x):
        return x * (1 + self.amount)


def test_interaction_hessian_of_a_product():
    """After a shift a and a stretch b, x becomes (x + a)(1 + b): the cross derivative is 1; its square's are known."""

    def square(outputs, y):
        return jnp.square(outputs[0]) / 2

    at = {"shift": 0.5, "stretch": 1.0}
    x = np.array([[0.2], [0.4], [0.9]], np.float32)
    found = s.interaction_hessian(
        lambda x: x, {"shift": Shift, "stretch": Stretch}, KEY, x, np.zeros(3), at, response=square
    )
    a, b = x[:, 0] + 0.5, 2.0
    expected = np.stack([np.stack([b**2 + 0 * a, 2 * a * b], 1), np.stack([2 * a * b, a**2], 1)], 2)
    np.testing.assert_allclose(found.each, expected, rtol=1e-5)
    np.testing.assert_allclose(found.hessian, expected.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.gradient, [np.mean(a * b**2), np.mean(a**2 * b)], rtol=1e-5)
    np.testing.assert_allclose(found.difference, found.hessian, atol=0.02)
    assert (found.low <= found.hessian).all() and len(found.frame()) == 3
    with pytest.raises(ArgumentError, match="twice the step"):
        s.interaction_hessian(lambda x: x, {"a": Shift, "b": Shift}, KEY, x, np.zeros(3), {"a": 0, "b": 1})
    with pytest.raises(ArgumentError, match="a severity for each"):
        s.interaction_hessian(lambda x: x, {"a": Shift}, KEY, x, np.zeros(3), {"b": 1})


def test_regions_of_a_known_box():
    """Two shifts add up, and everything flips where their sum passes 2."""
    x = np.full((150, 1), -0.5, np.float32)
    box = s.severity_regions(above, {"a": Shift, "b": Shift}, KEY, x, np.zeros(150, int), top=4, points=5)
    total = box.grid[0][:, None] + box.grid[1][None]
    np.testing.assert_array_equal(box.accuracy, (total - 0.5 <= 2).astype(float))
    np.testing.assert_array_equal(box.verdict == "robust", total <= 2.5)
    np.testing.assert_array_equal(box.verdict == "fragile", total > 2.5)
    assert box.robust_box == {"a": 1.0, "b": 1.0}, "2 x 2 nodes are more than 3 x 1"
    # Six robust nodes: a corner of weight 1/64, four edges of 2/64, one inside of 4/64.
    np.testing.assert_allclose([box.share["robust"], sum(box.share.values())], [13 / 64, 1])
    assert len(box.frame()) == 25
    with pytest.raises(ArgumentError, match="100,000"):
        s.severity_regions(above, {"a": Shift, "b": Shift}, KEY, x, np.zeros(150, int), points=400)


def test_few_examples_leave_regions_undecided():
    x = np.full((20, 1), -0.5, np.float32)
    box = s.severity_regions(above, {"a": Shift}, KEY, x, np.zeros(20, int), points=3)
    assert box.verdict[0] == "undecided", "20 examples say nothing about a tolerance of 5 %"


def test_the_demonstration_survives_less_and_less():
    model, data = demo.load(), demo.data().take(slice(64))
    assert isinstance(model, Model)
    found = s.critical_severity(model, image.Fog, sj.key_for(0, "fog", data.ids), data.x, data.y, size=32, scan=10)
    table = found.survival()
    assert (np.diff(table.survival) <= 0).all() and (table.survival <= table.kept + 1e-9).all()
    assert ((table.low <= table.survival) & (table.survival <= table.high)).all()
    row = int(np.flatnonzero(found.status == "flips")[0])
    key = sj.key_for(0, "fog", data.ids)[row]
    at = lambda v: int(model(image.Fog.at(v, size=32)(key, data.x[row])[None]).argmax())  # noqa: E731
    assert at(found.severity[row]) != data.y[row] == at(found.severity[row] - 0.02)
