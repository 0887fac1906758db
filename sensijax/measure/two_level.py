"""Effects out of a two-level design of any fraction, and what each of them cannot be told apart from."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._estimate import Estimate, estimate_of
from sensijax.measure._validate import whole_number
from sensijax.measure.factorial import Term, signed

_ZERO = 1e-9
"""Coefficients of a least-squares fit to a design of -1 and +1 that are smaller than this are rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class Contrasts:
    """Effects from a two-level design.

    Attributes:
      estimates: by the names of the stressors of an effect; single stressors first, then pairs, and so on.
      aliases: by the same names, the effects that were not asked for and that each estimate holds besides its own, with
        their weights; none of them where the design tells all apart. An estimate is that of its own effect to the
        extent that these are zero.
    """

    estimates: Mapping[Term, Estimate]
    aliases: Mapping[Term, tuple[tuple[Term, float], ...]]

    @property
    def aliasing(self) -> tuple[str, ...]:
        """What each estimate stands for, in words; nothing where all stand for themselves.

        Example:
          >>> design = [[-1, -1, 1], [1, -1, -1], [-1, 1, -1], [1, 1, 1]]
          >>> contrasts(design, np.zeros((4, 1, 9)), order=1, names="abc", binary=False).aliasing[0]
          "what is called 'a' is the effect of a + 0.5 b x c"
        """
        said = []
        for term, others in self.aliases.items():
            if others:
                parts = [
                    f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w):.3g} '}{_say(o)}" for o, w in others
                ]
                said.append(f"what is called {_say(term)!r} is the effect of {_say(term)} {' '.join(parts)}")
        return tuple(said)


def contrasts(
    design: Any,
    drops: Any,
    *,
    order: int,
    binary: bool,
    names: Sequence[str] | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Contrasts:
    """Least-squares effects of two-level stressors, from a full factorial or a fraction of one.

    The model holds a constant and every effect of up to `order` stressors, in columns of -1 and +1. An effect of one
    stressor is the mean drop where it is on less the mean where it is off; of two, the difference of such
    differences, of three the difference of those: on the scale of `effects`, but averaged over the levels of the
    other stressors, where `effects` has them off. In a full factorial the effect of all stressors is the same in both.

    A fraction cannot tell all effects apart. Two that were asked for and share a column are refused by name. Those
    beyond `order` that leak into an estimate are reported in `aliases`: Box and Wilson's alias matrix, inverse(X'X) X'
    X2, on the scale of the effects. In Plackett and Burman's designs every pair leaks a little into many stressors.

    Args:
      design: `[C, k]`, -1 and +1 or 0 and 1: which stressors are on in each of C scenarios.
      drops: `[C, ..., S, N]`, the drops (clean minus perturbed) in each scenario, one clean run for all. Where there
        is none, the negative scores do as well, for a constant changes no effect. NaN excludes the example.
      order: the largest number of stressors in an effect, in [1, k].
      binary: whether the drops are those of correct or not; then with pseudo-examples, as in `effects`.
      names: of the k stressors; "1", "2", ... unless given.
      resamples: how many, >= 100.
      level: of the intervals, in (0, 1).
      seed: of the resampling, >= 0.

    Returns:
      The estimates, each with what it is aliased with.

    Raises:
      ArgumentError: if the design has other levels, a stressor that never changes, or scenarios too few to tell apart
        what was asked for, or for what `paired_bootstrap` refuses.

    Reference:
      Box and Wilson, "On the experimental attainment of optimum conditions", J. Royal Statistical Society B 13 (1951).
      Box, Hunter and Hunter, "Statistics for experimenters", Wiley (2005).

    Example:
      >>> design = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
      >>> drop = np.array([0.0, 1.0, 2.0, 4.0])[:, None, None] + np.zeros((4, 1, 50))
      >>> found = contrasts(design, drop, order=2, binary=False, names=["fog", "noise"])
      >>> {term: round(float(estimate.mean), 6) for term, estimate in found.estimates.items()}
      {('fog',): 1.5, ('noise',): 2.5, ('fog', 'noise'): 1.0}
    """
    signs = _signs(design)
    scenarios, k = signs.shape
    names = _names(names, k)
    order = whole_number("order", order, 1)
    if order > k:
        raise ArgumentError("order", order, f"at most the number of stressors, {k}")
    drops = signed("drops", drops, binary)
    if drops.ndim < 3 or len(drops) != scenarios:
        raise ArgumentError(
            "drops", f"shape {list(drops.shape)}", f"[C, ..., S, N] with C = {scenarios}, as in `design`"
        )

    every = [c for size in range(1, k + 1) for c in itertools.combinations(range(k), size)]
    asked, beyond = [c for c in every if len(c) <= order], [c for c in every if len(c) > order]
    columns = np.stack([signs[:, list(c)].prod(axis=1) for c in every], axis=1)
    model = np.concatenate([np.ones((scenarios, 1)), columns[:, : len(asked)]], axis=1)
    _tell_apart(model, [_say(_term(c, names)) for c in asked])
    inverse = np.linalg.pinv(model)[1:]
    leaks = inverse @ columns[:, len(asked) :]

    estimates, aliases = {}, {}
    for i, c in enumerate(asked):
        term, weights = _term(c, names), 2.0 ** len(c) * inverse[i]
        effect = np.tensordot(weights, drops, axes=1)
        bound = max(np.abs(weights).sum() / 2, 1.0) if binary else None
        estimates[term] = estimate_of("drops", effect, bound, resamples, level, seed)
        aliases[term] = tuple(
            (_term(other, names), round(float(2.0 ** (len(c) - len(other)) * leak), 9))
            for other, leak in zip(beyond, leaks[i], strict=True)
            if abs(leak) > _ZERO
        )
    return Contrasts(estimates, aliases)


def _tell_apart(model: np.ndarray, labels: Sequence[str]) -> None:
    """Refuses a model whose columns the design does not tell apart."""
    labels = ("the mean", *labels)
    for i, j in itertools.combinations(range(len(labels)), 2):
        if (model[:, i] == model[:, j]).all() or (model[:, i] == -model[:, j]).all():
            raise ArgumentError(
                "design",
                f"{labels[j]} cannot be told from {labels[i]}",
                "more scenarios, or effects of a lower `order`",
            )
    if (rank := np.linalg.matrix_rank(model)) < len(labels):
        raise ArgumentError(
            "design",
            f"{len(model)} scenarios of rank {rank} for {len(labels)} effects, the mean among them",
            "more scenarios, or effects of a lower `order`",
        )


def _signs(design: Any) -> np.ndarray:
    array = np.asarray(design)
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biuf":
        raise ArgumentError("design", f"{array.dtype}{list(array.shape)}", "[C, k] of -1 and +1, or of 0 and 1")
    array = array.astype(np.float64)
    low = 0.0 if (array == 0).any() else -1.0
    if (wrong := array[(array != low) & (array != 1)]).size:
        raise ArgumentError("design", f"the level {wrong[0]:g}", "two levels: -1 and +1, or 0 and 1")
    signs = np.where(array == 1, 1.0, -1.0)
    if (fixed := np.flatnonzero((signs == signs[0]).all(axis=0))).size:
        raise ArgumentError("design", f"one level only in column {fixed[0]}", "every stressor both on and off")
    if signs.shape[1] > 16:
        raise ArgumentError("design", f"{signs.shape[1]} stressors", "at most 16: every effect is looked at")
    return signs


def _names(names: Sequence[str] | None, k: int) -> tuple[str, ...]:
    if names is None:
        return tuple(str(i + 1) for i in range(k))
    names = tuple(names)
    if len(set(names)) != k or len(names) != k or not all(isinstance(name, str) for name in names):
        raise ArgumentError("names", list(names), f"{k} different names, one for each column of the design")
    return names


def _term(columns: tuple[int, ...], names: Sequence[str]) -> Term:
    return tuple(names[i] for i in columns)


def _say(term: Term) -> str:
    return " x ".join(term)
