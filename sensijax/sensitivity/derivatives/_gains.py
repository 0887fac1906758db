"""How much each component of a model amplifies a perturbation of its input."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._taps import captured

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class ComponentGains:
    """What a perturbation is at each component, from input to output.

    Attributes:
      names: of the L components in the order of the program (Linen: of their names), between "input" and "output".
      relative_change: float64 `[L, B]`, |h' - h| / |h| of each example; NaN where h is zero.
      gain: float64 `[L]`, geometric mean over examples of a component's relative change over that of the input: above 1
        the way up to here amplifies.
      gain_low, gain_high: its bootstrap interval over examples, at `level`.
      step: float64 `[L]`, the gain over that of the component before: which one does it. NaN for the input.
      step_low, step_high: its interval, as that of the gain.
      cka: float64 `[L]`, linear CKA between clean and perturbed representations, debiased: 1 where they differ by a
        rotation and a scale at most, about 0 where they are unrelated. NaN below 4 examples.
      size: int `[L]`, numbers in a component of one example.
      level: of the intervals.
      n: examples behind the gains: those whose input and all components moved and are finite.
      nonfinite: what in the components is not finite.
    """

    names: tuple[str, ...]
    relative_change: np.ndarray
    gain: np.ndarray
    gain_low: np.ndarray
    gain_high: np.ndarray
    step: np.ndarray
    step_low: np.ndarray
    step_high: np.ndarray
    cka: np.ndarray
    size: np.ndarray
    level: float
    n: int
    nonfinite: NonFinite

    def frame(self) -> Any:
        """A pandas table with a row for each component; `relative_change` is the median over examples."""
        import pandas as pd

        with np.errstate(invalid="ignore"):
            median = [
                np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in self.relative_change
            ]
        columns = ("gain", "gain_low", "gain_high", "step", "step_low", "step_high", "cka", "size")
        return pd.DataFrame(
            {"component": self.names, "relative_change": median, **{c: getattr(self, c) for c in columns}}
        )


def component_gains(
    f: Any, clean: Any, perturbed: Any, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> ComponentGains:
    """Relative change, gain and similarity at each component, for a batch and its perturbed twin.

    Args:
      f: a Flax NNX module, a bound Linen module, a `Model`, or a function of a batch; `captured` says what its
        components are.
      clean: floating batch `[B, ...]`, B >= 2.
      perturbed: the same examples perturbed, of the same shape.
      level: of the intervals, in (0, 1).
      resamples: of the examples, >= 100.
      seed: of the resampling.

    Returns:
      A `ComponentGains`.

    Raises:
      ArgumentError: if the batches do not fit, or no component has the batch axis first.

    Reference:
      Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited", ICML 2019 (CKA);
      Song, Smola, Gretton, Bedo and Borgwardt, JMLR 13 (2012) (the unbiased HSIC it is made of here).

    Example:
      >>> from sensijax.sensitivity.derivatives._taps import tap
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> moved = x.at[:, 0].add(0.1)
      >>> gains = component_gains(lambda x: tap("zoom", x * jnp.array([[10.0, 1.0, 1.0]])).sum(axis=1), x, moved)
      >>> gains.names, bool(gains.gain[1] > 1)
      (('input', 'zoom', 'output'), True)
    """
    clean, perturbed = jnp.asarray(clean), jnp.asarray(perturbed)
    if clean.ndim < 1 or len(clean) < 2 or not jnp.issubdtype(clean.dtype, jnp.floating):
        raise ArgumentError("clean", f"{clean.dtype}{list(clean.shape)}", "a floating batch [B, ...] with B >= 2")
    if perturbed.shape != clean.shape or perturbed.dtype != clean.dtype:
        came = f"{perturbed.dtype}{list(perturbed.shape)}"
        raise ArgumentError("perturbed", came, f"the same examples: {clean.dtype}{list(clean.shape)}")
    if not 0 < level < 1:
        raise ArgumentError("level", level, "a confidence level lies strictly between 0 and 1")
    if resamples < 100:
        raise ArgumentError("resamples", resamples, "at least 100")
    run = jax.jit(lambda x: captured(f, x))
    (out, before), (out_after, after) = run(clean), run(perturbed)
    # A jitted program returns dicts sorted by name.
    pairs = {"input": (clean, perturbed), **{name: (before[name], after[name]) for name in components_of(f, clean)}}
    if isinstance(out, jax.Array):
        pairs["output"] = (out, out_after)
    return gains_between(pairs, level=level, resamples=resamples, seed=seed)


def gains_between(
    pairs: Mapping[str, tuple[Any, Any]], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> ComponentGains:
    """The gains of components that were captured already.

    Args:
      pairs: "input" first, then name to (clean, perturbed), in the order of the program.
      level, resamples, seed: as in `component_gains`.
    """
    n = len(pairs["input"][0])
    kept = {
        name: tuple(np.asarray(v, np.float64).reshape(n, -1) for v in pair)
        for name, pair in pairs.items()
        if pair[0].ndim and pair[0].shape[0] == n
    }
    if dropped := sorted(set(pairs) - set(kept)):
        _log.warning("left out, because their leading axis is not the batch: %s", ", ".join(dropped))
    if len(kept) < 2:
        raise ArgumentError("f", "no components", "values named by `tap`, with the batch axis first")
    nonfinite = located({name: np.concatenate(pair) for name, pair in kept.items()}, "the components")
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.stack([np.linalg.norm(b - a, axis=1) / np.linalg.norm(a, axis=1) for a, b in kept.values()])
        logs = np.log(change / change[:1])
    sound = np.isfinite(logs).all(axis=0)
    logs, count = logs[:, sound], int(sound.sum())
    if not count:
        raise ArgumentError("perturbed", "no example whose input and components all move", "a perturbation that acts")
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples) / count
    drawn = logs @ weights.T
    tails, nan = [(1 - level) / 2, (1 + level) / 2], [np.nan]
    low, high = np.exp(np.quantile(drawn, tails, axis=1))
    step_low, step_high = np.exp(np.quantile(np.diff(drawn, axis=0), tails, axis=1))
    gain = np.exp(logs.mean(axis=1))
    return ComponentGains(
        names=tuple(kept),
        relative_change=change,
        gain=gain,
        gain_low=low,
        gain_high=high,
        step=np.concatenate([nan, gain[1:] / gain[:-1]]),
        step_low=np.concatenate([nan, step_low]),
        step_high=np.concatenate([nan, step_high]),
        cka=np.array([linear_cka(a, b) for a, b in kept.values()]),
        size=np.array([a.shape[1] for a, _ in kept.values()]),
        level=level,
        n=count,
        nonfinite=nonfinite,
    )


def linear_cka(a: Any, b: Any) -> float:
    """Linear CKA between two representations of the same examples, debiased.

    The plain estimate rises towards 1 with the number of features whatever they are; this one does not.

    Args:
      a: `[N, p]`, N >= 4.
      b: `[N, q]`, rows of the same examples.

    Returns:
      The similarity, at most 1 and about 0 for unrelated representations (or slightly below); NaN for N < 4, for values
      that are not finite, and for a representation without variance.

    Reference:
      As for `component_gains`.

    Example:
      >>> a = np.random.default_rng(0).standard_normal((40, 5))
      >>> round(linear_cka(a, 3 * a[:, ::-1] + 1), 6)
      1.0
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if len(a) < 4 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    k, other = (_gram(v - v.mean(axis=0)) for v in (a, b))
    square = _hsic(k, k) * _hsic(other, other)
    return float(_hsic(k, other) / np.sqrt(square)) if square > 0 else float("nan")


def _gram(v: np.ndarray) -> np.ndarray:
    k = v @ v.T
    np.fill_diagonal(k, 0)
    return k


def _hsic(k: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimator, times n (n - 3), of Gram matrices with zero diagonals."""
    n = len(k)
    both, cross = np.einsum("ij,ij->", k, other), float(k.sum(axis=0) @ other.sum(axis=0))
    return float(both + k.sum() * other.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * cross)


def components_of(f: Any, x: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """The components that `captured` finds, in the order of the program, and their shapes for a batch; runs nothing."""
    found: dict[str, jax.ShapeDtypeStruct] = {}

    def trace(x: jax.Array) -> Any:
        out, seen = captured(f, x)
        found.update((name, jax.ShapeDtypeStruct(value.shape, value.dtype)) for name, value in seen.items())
        return out

    jax.eval_shape(trace, x)
    return found
