"""The two-way bootstrap behind `paired_bootstrap`, in bounded memory.

A difference D[s, n] of seed s and example n splits into its mean, a seed effect a_s, an example effect b_n and a
residual e_sn. With A, B, E the mean squares of the three (analysis of variance, one cell each), the mean of D has the
variance

    V = (max(A - E, 0) + B) / (S N)

without bias but for the max. The plain pigeonhole bootstrap (Owen 2007) estimates ((1 - 1/S) A + B + (1 - 1/S) E) /
(S N) instead: it counts the residual up to three times and shrinks the seeds' part by (S - 1) / S. With three seeds
its 95% interval was measured to be 1.46 times too wide where seeds do not matter, and to cover 79% where they are all
that matters. So the two parts are resampled on their own, each scaled to its unbiased variance, and the residual is
not resampled at all, being in A and B already:

- examples by multinomial weights, as usual;
- seeds by Gaussian multipliers (Wu 1986; Mammen 1993), because three seeds have ten distinct resamples with
  replacement and no quantiles to speak of.

The quantiles are those of the BCa interval (Efron 1987), whose constants have a closed form for a mean: a model that
errs on few examples has skewed differences, and plain percentiles then end too low, which would call such a model
robust too often. They are stretched by t/z, Student's t at Satterthwaite's degrees of freedom for V over the normal,
because a variance estimated from three seeds is itself uncertain.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

_BYTES = 64 << 20
"""What one array of a block of scenarios, or of a chunk of weights, may take; about ten such arrays exist at once."""

_MOST_BIAS = 0.15
"""Where the skewness asks for more, the data are too few to know it, and so are the resamples in the tail."""


class Moments(NamedTuple):
    """What the bootstrap needs of a block of L scenarios.

    Attributes:
      examples: float64 `[L, M]` example effects around `centre`; 0 where excluded. M = N + 2 with pseudo-examples.
      keep: bool `[L, M]`, or `[1, M]` where all scenarios exclude the same.
      seeds: float64 `[L, S]` seed effects.
      mean: float64 `[L]`, of the data.
      centre: float64 `[L]`, of the data with pseudo-examples.
      seed_square, residual_square: float64 `[L]`, A / (S N) and E / (S N).
      third_moment: float64 `[L]`, of the mean, from the examples' part. Without pseudo-examples: what they add to the
        variance stands for ignorance, their skewness for nothing.
      count: int64 `[L]` examples that are not excluded.
    """

    examples: np.ndarray
    keep: np.ndarray
    seeds: np.ndarray
    mean: np.ndarray
    centre: np.ndarray
    seed_square: np.ndarray
    residual_square: np.ndarray
    third_moment: np.ndarray
    count: np.ndarray


class Resampled(NamedTuple):
    """float64 `[L]` each, NaN but for mean and count where fewer than two examples remain; int64 `[L]` count."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    standard_error: np.ndarray
    p_value: np.ndarray
    count: np.ndarray


def bootstrap(
    difference: np.ndarray,
    *,
    pseudo: bool,
    resamples: int,
    level: float,
    seed: int,
    check: Callable[[np.ndarray], None],
) -> Resampled:
    """Intervals of the means of L scenarios, all on the same resamples.

    Args:
      difference: real `[L, S, N]`; NaN excludes the example from its scenario.
      pseudo: whether to add one pseudo-example of +1 and one of -1.
      resamples: how many.
      level: of the intervals.
      seed: of the resampling.
      check: raises for values that are not allowed; called on float64 blocks `[l, N]`.
    """
    block = max(1, _BYTES // (8 * difference.shape[2]))
    parts = []
    for start in range(0, len(difference), block):
        moments = _moments(difference[start : start + block], pseudo, check)
        parts.append(_intervals(moments, pseudo, resamples, level, seed))
    return Resampled(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@np.errstate(invalid="ignore", divide="ignore")  # scenarios without examples give NaN, on purpose
def _moments(difference: np.ndarray, pseudo: bool, check: Callable[[np.ndarray], None]) -> Moments:
    scenarios, seeds, n = difference.shape
    examples = np.zeros((scenarios, n))
    for s in range(seeds):  # seed by seed: the float64 copy of the whole block would be S times as large
        values = difference[:, s].astype(np.float64)
        check(values)
        examples += values
    keep = ~np.isnan(examples)
    count = keep.sum(axis=1)
    examples = np.where(keep, examples, 0) / seeds
    mean = examples.sum(axis=1) / count

    effects, residual_square = np.zeros((scenarios, seeds)), np.zeros(scenarios)
    if seeds > 1:
        for s in range(seeds):
            residual = np.where(keep, difference[:, s].astype(np.float64), 0) - examples
            effects[:, s] = residual.sum(axis=1) / count
            residual -= effects[:, s, None]
            residual_square += np.einsum("ln,ln,ln->l", residual, residual, keep)
        residual_square /= (seeds - 1) * (count - 1) * seeds * count
    seed_square = np.square(effects).sum(axis=1) / (seeds * max(seeds - 1, 1))

    centred = np.where(keep, examples - mean[:, None], 0)
    third_moment = np.einsum("ln,ln,ln->l", centred, centred, centred) / count**3.0
    if pseudo:
        examples = np.concatenate([examples, np.broadcast_to([1.0, -1.0], (scenarios, 2))], axis=1)
        keep = np.concatenate([keep, np.ones((scenarios, 2), bool)], axis=1)
    centre = examples.sum(axis=1) / keep.sum(axis=1)
    examples = np.where(keep, examples - centre[:, None], 0)
    if (keep == keep[0]).all():
        keep = keep[:1]
    return Moments(examples, keep, effects, mean, centre, seed_square, residual_square, third_moment, count)


@np.errstate(invalid="ignore", divide="ignore")
def _intervals(m: Moments, pseudo: bool, resamples: int, level: float, seed: int) -> Resampled:
    seeds, rows = m.seeds.shape[1], m.keep.sum(axis=1)
    example_variance = np.einsum("ln,ln->l", m.examples, m.examples) / (rows * (rows - 1))
    seed_variance = np.maximum(m.seed_square - m.residual_square, 0)
    variance = seed_variance + example_variance
    standard_error = np.sqrt(variance)
    of_seeds = np.where(seed_variance > 0, m.seed_square, 0)
    freedom = variance**2 / (of_seeds**2 / max(seeds - 1, 1) + example_variance**2 / (rows - 1))
    freedom = np.where(variance > 0, freedom, rows - 1)

    multipliers = np.random.default_rng([seed, 1]).standard_normal((resamples, seeds))
    seed_scale = np.where(seed_variance > 0, np.sqrt(seed_variance / m.seed_square / (seeds * max(seeds - 1, 1))), 0)
    deviation = (m.seeds * seed_scale[:, None]) @ multipliers.T
    keep, start = m.keep.astype(np.float64), 0
    scale = np.sqrt(rows / (rows - 1))[:, None]
    for weights in _weights(seed, m.examples.shape[1], resamples):
        deviation[:, start : start + len(weights)] += scale * (m.examples @ weights.T) / (keep @ weights.T)
        start += len(weights)

    # For a mean, the bias z0 and the acceleration of BCa agree to the order that counts: skewness / 6.
    bias = np.clip(np.where(variance > 0, m.third_moment / (6 * variance**1.5), 0), -_MOST_BIAS, _MOST_BIAS)
    z = ndtri((1 + level) / 2)
    deviation.sort(axis=1)
    low, high = (_quantile(deviation, ndtr(bias + (bias + side) / (1 - bias * (bias + side)))) for side in (-z, z))
    stretch = stdtrit(freedom, (1 + level) / 2) / z
    statistic = np.where(m.centre == 0, 0, np.abs(m.centre) / standard_error)
    columns = (m.centre + stretch * low, m.centre + stretch * high, standard_error, 2 * stdtr(freedom, -statistic))
    low, high, standard_error, p_value = (np.where(m.count >= 2, column, np.nan) for column in columns)
    if pseudo:  # they pull the centre towards 0: what was observed stays inside
        low, high = np.minimum(low, m.mean), np.maximum(high, m.mean)
    return Resampled(m.mean, low, high, standard_error, p_value, m.count)


def _quantile(values: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The quantile `[L]` of each sorted row of `[L, R]` at its own probability `[L]`, linear between values.

    NaN stands last in a sorted row: a resample that drew none of a scenario's few examples has no mean, and is left
    out.
    """
    last = np.maximum((~np.isnan(values)).sum(axis=1) - 1, 0)
    place = np.where(np.isnan(probability), 0, probability) * last
    below = np.floor(place).astype(np.int64)
    lower, upper = (np.take_along_axis(values, i[:, None], axis=1)[:, 0] for i in (below, np.minimum(below + 1, last)))
    return lower + (place - below) * (upper - lower)


def _weights(seed: int, n: int, resamples: int) -> Iterator[np.ndarray]:
    """Chunks of multinomial weights, float64 `[chunk, n]`: the same rows whatever the size of a chunk."""
    rng = np.random.default_rng([seed, 0])
    chunk = max(1, _BYTES // (8 * n))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = rng.integers(0, n, (size, n))
        drawn += n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
