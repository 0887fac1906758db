"""Intervals from independent parts of a sample: jackknife and bootstrap over blocks.

Estimators here are functions of sums, and the sums are kept for each block of the sample (a scramble of Sobol's points,
or a run of random ones). Weights over blocks, merged with the sums, give the estimate on any resample; memory does not
know the number of points.
"""

import dataclasses
from typing import Any

import numpy as np
from scipy.special import stdtrit

from sensijax.core.errors import ArgumentError


@dataclasses.dataclass(frozen=True)
class Jackknife:
    """Leaves out one block at a time; Student's t with one degree of freedom less than blocks.

    The default: it needs no random numbers, and its intervals are honest for any smooth function of the sums.

    Reference:
      Efron and Stein, "The jackknife estimate of variance", Annals of Statistics 9 (1981).

    Example:
      >>> Jackknife().weights(3, np.random.default_rng(0)).tolist()
      [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]
    """

    def weights(self, blocks: int, generator: np.random.Generator) -> np.ndarray:
        """How often each block counts in each resample, float64 `[resamples, blocks]`."""
        return 1 - np.eye(blocks)

    def standard_error(self, resampled: np.ndarray, blocks: int) -> np.ndarray:
        """From estimates on the resamples, `[resamples, ...]` to `[...]`."""
        return np.sqrt((blocks - 1) * resampled.var(axis=0))


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """Draws blocks with replacement; the spread of the resamples, with Student's t for the number of blocks.

    The spread is scaled by sqrt(blocks / (blocks - 1)), without which few blocks make it too small.

    Attributes:
      resamples: how many, >= 20.

    Reference:
      Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979).

    Example:
      >>> Bootstrap(100).weights(8, np.random.default_rng(0)).sum(axis=1).tolist() == [8.0] * 100
      True
    """

    resamples: int = 100

    def __post_init__(self) -> None:
        if not isinstance(self.resamples, int) or self.resamples < 20:
            raise ArgumentError("Bootstrap.resamples", self.resamples, "a whole number, at least 20")

    def weights(self, blocks: int, generator: np.random.Generator) -> np.ndarray:
        """How often each block counts in each resample, float64 `[resamples, blocks]`."""
        drawn = generator.integers(0, blocks, (self.resamples, blocks)) + blocks * np.arange(self.resamples)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=self.resamples * blocks)
        return counts.reshape(self.resamples, blocks).astype(np.float64)

    def standard_error(self, resampled: np.ndarray, blocks: int) -> np.ndarray:
        """From estimates on the resamples, `[resamples, ...]` to `[...]`."""
        return resampled.std(axis=0, ddof=1) * np.sqrt(blocks / (blocks - 1))


def around(estimate: np.ndarray, standard_error: np.ndarray, blocks: int, level: float, axis: int) -> np.ndarray:
    """Bounds of an interval, stacked at `axis`: low, then high."""
    half = stdtrit(blocks - 1, (1 + level) / 2) * standard_error
    return np.stack([estimate - half, estimate + half], axis=axis)


def fraction(level: Any) -> float:
    if not isinstance(level, (int, float)) or not 0 < level < 1:
        raise ArgumentError("level", repr(level), "a number between 0 and 1, such as 0.95")
    return float(level)
