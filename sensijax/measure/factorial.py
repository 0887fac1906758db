"""Effects of stressors that were combined: what each adds, what two do together, what only all of them do."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.measure._estimate import Estimate, estimate_of, unmasked
from sensijax.measure._validate import whole_number

Term = tuple[str, ...]
"""The stressors of an effect, in the order in which they first came."""


def effects(
    drops: Mapping[Any, Any],
    *,
    binary: bool,
    order: int | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[Term, Estimate]:
    """The effect of every set of stressors, by inclusion and exclusion, each with its interval.

    The effect of a set T is what its stressors do together beyond what all smaller sets explain,

        effect(T) = sum over S within T of (-1)^(|T| - |S|) drop(S),    drop(none) = 0,

    example by example and seed by seed, then as `paired_bootstrap`. Of one stressor it is its drop, of two their
    `interaction`, of three what remains of the drop under all once three drops and three interactions are taken away:
    the drop under all stressors is the sum of all effects (Moebius inversion). Positive: together worse than what
    the parts explain. A ceiling makes effects of its own: an example lost to A alone cannot be lost again to B.

    With `binary` one pseudo-example of +1 and one of -1 join the data, as in `paired_bootstrap`, whatever the order. A
    response that changes in one cell changes any effect by 1; and Price and Bonett's interval for a linear function of
    proportions, whose coefficients are +1 and -1, adds a variance of 2/N^2 however many there are, which is what these
    two add. Measured, on rare changes too: `bench/results/coverage.json`. The estimates form one family: correct their
    p-values with `holm`.

    Args:
      drops: the drops `[..., S, N]` (clean minus perturbed, one clean run for all) under each set of stressors, by the
        set: a tuple or frozenset of names; a name alone is the set of one. Every set needs all sets within it, but
        for the empty one. Leading axes, say one for the levels of each stressor, are broadcast: with drops of A
        `[3, 1, S, N]`, of B `[4, S, N]` and of both `[3, 4, S, N]`, the effect of both is `[3, 4]`. NaN excludes the
        example from the effects that need it.
      binary: whether the drops are those of correct or not, -1, 0 or 1; an effect of k stressors is then a whole number
        in [-2^(k-1), 2^(k-1)] for each example.
      order: the largest number of stressors in an effect; all that came unless given.
      resamples: how many, >= 100.
      level: of the intervals, in (0, 1).
      seed: of the resampling, >= 0.

    Returns:
      Estimates by the names of their stressors: single stressors first, in the order in which they came, then pairs,
      and so on. All rest on the same resamples.

    Raises:
      ArgumentError: if a set within another did not come, or shapes do not fit, or for what `paired_bootstrap` refuses.

    Reference:
      Rota, "On the foundations of combinatorial theory I: theory of Moebius functions", Zeitschrift fuer
      Wahrscheinlichkeitstheorie 2 (1964). Price and Bonett, "An improved confidence interval for a linear function of
      binomial proportions", Computational Statistics and Data Analysis 45 (2004).

    Example:
      >>> lost = np.tile(np.eye(4, dtype=np.int8), 50)[:, None]  # four sets of 50 examples that never meet
      >>> drops = {"fog": lost[0], "noise": lost[1], ("fog", "noise"): lost[0] + lost[1] + lost[2]}
      >>> {" x ".join(term): float(found.mean) for term, found in effects(drops, binary=True).items()}
      {'fog': 0.25, 'noise': 0.25, 'fog x noise': 0.25}
    """
    cells = _cells(drops, binary)
    order = max(map(len, cells)) if order is None else whole_number("order", order, 1)
    names = list(dict.fromkeys(itertools.chain.from_iterable(cells)))
    sets = {frozenset(term): values for term, values in cells.items()}
    found = {}
    for size in range(1, order + 1):
        for term in itertools.combinations(names, size):
            if frozenset(term) in sets:
                contrast = _contrast(term, sets, binary)
                bound = 2 ** (size - 1) if binary else None
                found[term] = estimate_of("drops", contrast, bound, resamples, level, seed)
    return found


def _contrast(term: Term, sets: Mapping[frozenset[str], np.ndarray], binary: bool) -> np.ndarray:
    """The effect of a term on every seed and example: the signed sum of the drops under the sets within it."""
    within = [s for size in range(1, len(term) + 1) for s in itertools.combinations(term, size)]
    for subset in within:
        if frozenset(subset) not in sets:
            raise ArgumentError("drops", f"{term} without {subset}", "the drops under every set within a set")
    parts = [sets[frozenset(subset)] for subset in within]
    try:
        shape = np.broadcast_shapes(*(part.shape for part in parts))
    except ValueError:
        shapes = ", ".join(str(list(part.shape)) for part in parts)
        raise ArgumentError("drops", f"shapes {shapes} for the sets within {term}", "leading axes that fit") from None
    dtype = np.result_type(*(part.dtype for part in parts))
    if dtype.kind == "i":  # int8 holds a drop of correct or not, and no sum of many
        dtype = np.result_type(dtype, np.int16 if binary else np.int64)
    total = np.zeros(shape, dtype)
    for subset, part in zip(within, parts, strict=True):
        if (len(term) - len(subset)) % 2:
            total -= part
        else:
            total += part
    if dtype.kind == "f":  # what rounding has left of zero is zero, or a test would find it significant
        largest = max((float(np.nanmax(np.abs(part), initial=0.0)) for part in parts), default=0.0)
        total[np.abs(total) < 1e-12 * largest] = 0
    return total


def _cells(drops: Mapping, binary: bool) -> dict[Term, np.ndarray]:
    if not isinstance(drops, Mapping) or not drops:
        raise ArgumentError("drops", type(drops).__name__, "drops by the set of their stressors, at least one")
    cells: dict[Term, np.ndarray] = {}
    for key, values in drops.items():
        # A set has no order of its own: that of its names is the same in every process, that of its hashes is not.
        term = (key,) if isinstance(key, str) else tuple(sorted(key) if isinstance(key, (set, frozenset)) else key)
        where = f"drops[{key!r}]"
        if not term or len(set(term)) < len(term) or not all(isinstance(name, str) for name in term):
            raise ArgumentError("drops", f"the set {key!r}", "names of stressors, at least one, none of them twice")
        if any(set(term) == set(other) for other in cells):
            raise ArgumentError("drops", f"the set {key!r} twice", "one drop for each set of stressors")
        cells[term] = signed(where, values, binary)
        first = next(iter(cells.values()))
        if cells[term].ndim < 2 or cells[term].shape[-2:] != first.shape[-2:]:
            raise ArgumentError(where, f"shape {list(cells[term].shape)}", f"[..., S, N] = {list(first.shape[-2:])}")
    return cells


def signed(argument: str, values: Any, binary: bool) -> np.ndarray:
    """Drops as they came, whose sign and size are right."""
    array = unmasked(values)
    if array.dtype.kind not in "if":
        raise ArgumentError(argument, f"dtype {array.dtype}", "signed real numbers; int8 for correct or not")
    if binary and (wrong := array[np.abs(array) > 1]).size:
        raise ArgumentError(argument, f"{wrong[0]:g}", "with `binary`, a drop of correct or not: -1, 0 or 1")
    return array
