"""Feature-margin noise: what lies near the boundary between two classes is mistaken most."""

import dataclasses
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import expit

from sensijax.core.errors import ArgumentError
from sensijax.core.values import has_value
from sensijax.label._margin import Margin, fit_margin, margins
from sensijax.label._noise import LEARNED, LabelNoise
from sensijax.label._validate import check_rate, flat_examples
from sensijax.label.instance_dependent import check_fitted


class FeatureMargin(LabelNoise):
    """Examples near the boundary between class centroids are mislabelled most, as the nearest other class.

    An example's margin m = (d' - d) / (d' + d) compares its distances to the own and the nearest other centroid, on
    standardised features. It is mistaken with probability sigmoid(sharpness (threshold - m) / s), with s the standard
    deviation of the margins; the threshold is the one for which the mean over the data is `rate`. So every example's
    probability grows with the rate, and what is wrong stays wrong.

    Attributes:
      rate: the mean probability of a wrong label over the data it is fitted to, in [0, 1].
      sharpness: above 0; the larger, the more the mistakes are those nearest to the boundary and beyond it.
      margin: where the classes lie; learned.
      threshold: in the unit of margins, for `fitted_rate` and the sharpness; learned.
      slope: sharpness / s; learned.
      fitted_rate: the rate that the threshold belongs to: after another rate is put in, fit again.

    Raises:
      ArgumentError: if a parameter is out of range, a class has no example, all margins are equal, or it is called
        before `fit` or with a rate that it was not fitted for.

    Reference:
      Noise that depends on the distance to the boundary: Menon, van Rooyen and Natarajan, "Learning from binary labels
      with instance-dependent noise", Machine Learning 107 (2018), where it is "boundary-consistent". The formula is
      this library's own.

    Example:
      >>> x, y = np.float32([[0.0], [0.2], [0.45], [0.55], [0.8], [1.0]]), np.array([0, 0, 0, 1, 1, 1])
      >>> noise = FeatureMargin(rate=0.2).fit(x, y, classes=2)
      >>> (noise(jax.random.key(0), y, x).probability * 100).round().tolist()  # per cent
      [3.0, 0.0, 57.0, 57.0, 0.0, 3.0]
    """

    rate: Float[Array, ""]
    sharpness: Float[Array, ""] = 3.0  # type: ignore[assignment]
    margin: Margin | None = dataclasses.field(default=None, metadata=LEARNED)
    threshold: Float[Array, ""] | None = dataclasses.field(default=None, metadata=LEARNED)
    slope: Float[Array, ""] | None = dataclasses.field(default=None, metadata=LEARNED)
    fitted_rate: Float[Array, ""] | None = dataclasses.field(default=None, metadata=LEARNED)

    looks: ClassVar[bool] = True

    def __post_init__(self):
        check_rate("rate", self.rate)
        check_rate("sharpness", self.sharpness, np.inf)
        if has_value(self.sharpness) and not np.all(np.asarray(self.sharpness) > 0):
            raise ArgumentError("sharpness", 0, "above 0: for mistakes that do not look at the example, see Symmetric")

    def fit(self, x: np.ndarray, y: np.ndarray, classes: int) -> Self:
        margin = fit_margin(x, y, classes)
        m = margins(margin, x, y).astype(np.float64)
        if not m.std() > 1e-6:
            raise ArgumentError(
                "x", "examples that all have the same margin", "some nearer to another class than others"
            )
        rate, sharpness = np.float64(self.rate), np.float64(self.sharpness)
        rate, sharpness = np.broadcast_arrays(rate, sharpness)
        slope = sharpness / m.std()
        threshold = np.vectorize(lambda r, s: _threshold(m, float(r), float(s)))(rate, slope)
        learned = {
            "threshold": np.asarray(threshold, np.float32),
            "slope": np.asarray(slope, np.float32),
            "fitted_rate": np.asarray(rate, np.float32),
        }
        return dataclasses.replace(self, classes=classes, margin=margin, **learned)  # type: ignore[type-var]

    def is_identity(self) -> Any:
        return self.rate == 0

    def check(self, x: np.ndarray | None) -> None:
        check_fitted("FeatureMargin", x, None if self.margin is None else self.margin.centre)
        if not np.array_equal(np.float32(self.rate), np.float32(self.fitted_rate)):  # type: ignore[arg-type]
            raise ArgumentError(
                "rate", f"{self.rate:g}", f"{self.fitted_rate:g}, which it was fitted for; or fit again"
            )

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        assert x is not None and self.margin is not None
        m, other = self.margin(x, y)
        wrong = jax.nn.sigmoid(jnp.asarray(self.slope) * (jnp.asarray(self.threshold) - m))[:, None]
        k = jnp.arange(self.classes)[None]
        return jnp.where(k == y[:, None], 1 - wrong, jnp.where(k == other[:, None], wrong, 0))


def difficulty(x: Any, y: Any, classes: int | None = None) -> np.ndarray:
    """How hard each example is to label, from its margin: the fraction of the data that is easier.

    Args:
      x: `[N, ...]` the examples.
      y: integers `[N]` in [0, classes), the true labels.
      classes: K; one more than the largest label unless given.

    Returns:
      float32 `[N]` in (0, 1), mean 0.5; near 1 for those nearest to another class's centroid. Equal margins have equal
      difficulties. `Crowd` takes it, or a part of it (`0.5 * difficulty(x, y)`).

    Raises:
      ArgumentError: if a class has no example, or no feature varies.

    Example:
      >>> difficulty(np.float32([[0.0], [0.4], [0.7], [1.0]]), np.array([0, 0, 1, 1])).tolist()
      [0.375, 0.875, 0.625, 0.125]
    """
    classes = int(np.max(y)) + 1 if classes is None else classes
    m = margins(fit_margin(x, y, classes), flat_examples(x), y)
    _, group, counts = np.unique(-m, return_inverse=True, return_counts=True)
    easier = np.cumsum(counts) - counts
    return ((easier + counts / 2) / len(m))[group].astype(np.float32)


def _threshold(m: np.ndarray, rate: float, slope: float) -> float:
    """The t for which the mean of sigmoid(slope (t - m)) is the rate, by bisection in float64."""
    if rate <= 0 or rate >= 1:
        return -np.inf if rate <= 0 else np.inf
    reach = 40 / slope  # beyond it the sigmoid of every example is 0 or 1 to 4e-18
    low, high = m.min() - reach, m.max() + reach
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(slope * (middle - m)).mean() < rate else (low, middle)
    return (low + high) / 2
