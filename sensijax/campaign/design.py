"""Designs of experiment: which scenarios a campaign runs.

A design is a value with `scenarios(stages)`. The clean baseline is part of every campaign; a stage at its identity
drops out of a scenario, so that the same computation never runs under two names.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from sensijax.campaign._scenario import Scenario, Setting, Sweep
from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean

At = float | Mapping[str, float]
MOST_POINTS = 1 << 19


class Design(Protocol):
    """What a campaign asks of a design."""

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        """The scenarios to run, in order; repetitions and the clean baseline are taken care of."""
        ...


@dataclasses.dataclass(frozen=True)
class Isolated:
    """Every stage alone, at every setting of its sweep."""

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        for name, sweep in stages.items():
            for value in sweep.values:
                yield Scenario((Setting(name, value),))


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Every stage alone, then every pair of stages at one setting, applied in the order of the stages.

    Attributes:
      at: the setting of both members of a pair, on the scale of each stage; or one for each paired stage by name.
      among: the stages that are paired; all of them if None.
    """

    at: At
    among: tuple[str, ...] | None = None

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        yield from Isolated().scenarios(stages)
        paired = _paired(self.among, stages)
        chosen = [Setting(name, value) for name, value in _settings(self.at, paired).items()]
        for setting in chosen:  # an interaction is measured against its two members alone
            yield Scenario((setting,))
        for pair in itertools.combinations(chosen, 2):
            yield Scenario(pair)


@dataclasses.dataclass(frozen=True)
class FullFactorial:
    """Every combination of every setting of every stage.

    Attributes:
      limit: the largest number of scenarios that is accepted; the product grows fast.
    """

    limit: int = 100_000

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        count = int(np.prod([len(sweep.values) for sweep in stages.values()], dtype=object))
        if count > self.limit:
            raise ArgumentError(
                "limit",
                f"{self.limit:,} for {count:,} combinations",
                "a limit that lets them all in; or sweep fewer settings, or use the design `sample`",
            )
        for values in itertools.product(*(sweep.values for sweep in stages.values())):
            yield Scenario(tuple(itertools.starmap(Setting, zip(stages, values, strict=True))))


@dataclasses.dataclass(frozen=True)
class Staged:
    """Every stage alone, then every pair, then every three, and so on, each at every setting.

    Attributes:
      order: the largest number of stages together; all of them if None.
      limit: the largest number of scenarios that is accepted.
    """

    order: int | None = None
    limit: int = 100_000

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        if self.order is not None and (
            isinstance(self.order, bool) or not isinstance(self.order, int) or self.order < 1
        ):
            raise ArgumentError("order", repr(self.order), "a number of stages, 1 or more")
        most = len(stages) if self.order is None else min(self.order, len(stages))
        together = [c for size in range(1, most + 1) for c in itertools.combinations(stages, size)]
        count = sum(int(np.prod([len(stages[name].values) for name in names], dtype=object)) for names in together)
        if count > self.limit:
            right = "a limit that lets them all in; or a lower order, fewer settings, or the design `fractional`"
            raise ArgumentError("limit", f"{self.limit:,} for {count:,} combinations", right)
        for names in together:
            for values in itertools.product(*(stages[name].values for name in names)):
                yield Scenario(tuple(itertools.starmap(Setting, zip(names, values, strict=True))))


@dataclasses.dataclass(frozen=True)
class Fractional:
    """A regular fraction of all combinations of stages, each absent or at one setting: 2^(k - p) scenarios.

    Attributes:
      at: the setting of every stage, on the scale of each; or one for each stage by name.
      resolution: no effect of `(resolution - 1) // 2` stages or fewer is mixed up with another such: 3 keeps single
        stages apart from each other, 5 also pairs.

    Reference:
      Box and Hunter, "The 2^(k-p) fractional factorial designs", Technometrics 3 (1961).
    """

    at: At
    resolution: int = 5

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        if self.resolution not in (3, 4, 5, 6, 7):
            raise ArgumentError("resolution", repr(self.resolution), "3, 4, 5, 6 or 7")
        settings = _settings(self.at, stages)
        generators = _generators(len(stages), self.resolution)
        base = len(stages) - len(generators)
        for number in range(1 << base):
            bits = [number >> i & 1 for i in range(base)]
            bits += [sum(bits[i] for i in word) % 2 for word in generators]  # no stage at all is one of them
            yield Scenario(
                tuple(Setting(name, value) for (name, value), bit in zip(settings.items(), bits, strict=True) if bit)
            )


def _generators(factors: int, resolution: int) -> list[tuple[int, ...]]:
    """Words of basic factors, one for each further factor: the smallest fraction of at least this resolution."""
    for base in range(1, factors):
        words = [w for size in range(resolution - 1, base + 1) for w in itertools.combinations(range(base), size)]
        chosen: list[tuple[int, ...]] = []
        if _extend(chosen, words, factors - base, resolution):
            return chosen
    return []


def _extend(chosen: list[tuple[int, ...]], words: list[tuple[int, ...]], missing: int, resolution: int) -> bool:
    """Adds words until none is missing, by looking ahead; every product of generators has to be long enough."""
    if not missing:
        return True
    for i, word in enumerate(words):
        products = [
            functools.reduce(lambda a, b: a ^ b, map(frozenset, group), frozenset(word))
            for size in range(len(chosen) + 1)
            for group in itertools.combinations(chosen, size)
        ]
        sizes = [size for size in range(len(chosen) + 1) for _ in itertools.combinations(chosen, size)]
        if all(len(p) + size + 1 >= resolution for p, size in zip(products, sizes, strict=True)):
            chosen.append(word)
            if _extend(chosen, words[i + 1 :], missing - 1, resolution):
                return True
            chosen.pop()
    return False


@dataclasses.dataclass(frozen=True)
class Sample:
    """A quasi-random sample of the severity box: scrambled Sobol' points, from 0 to each sweep's largest setting.

    Attributes:
      n: number of points; a power of two keeps the points balanced.
      seed: of the scrambling.

    Reference:
      Sobol', "On the distribution of points in a cube and the approximate evaluation of integrals", 1967; Owen,
      "Scrambled net variance for integrals of smooth functions", 1997. `scipy.stats.qmc.Sobol` makes the points.
    """

    n: int
    seed: int = 0

    def scenarios(self, stages: Mapping[str, Sweep]) -> Iterable[Scenario]:
        if not isinstance(self.n, int) or self.n < 1 or self.n & (self.n - 1):
            raise ArgumentError("n", self.n, "a power of two: other numbers of Sobol' points are not balanced")
        if self.n > MOST_POINTS:
            raise ArgumentError("n", self.n, f"at most {MOST_POINTS:,} points")
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ArgumentError("seed", self.seed, "an integer, 0 or more")
        from scipy.stats import qmc  # a second of start-up that no other design needs

        points = qmc.Sobol(len(stages), rng=self.seed).random_base2(self.n.bit_length() - 1)
        top = np.array([max(sweep.values) for sweep in stages.values()])
        for point in np.round(points * top, 4):
            yield Scenario(tuple(Setting(name, float(v)) for name, v in zip(stages, point, strict=True)))


def isolated() -> Isolated:
    """Every stage alone, at every setting of its sweep."""
    return Isolated()


def pairs(at: At, among: Sequence[str] | None = None) -> Pairs:
    """Every stage alone, then every pair at one setting.

    Args:
      at: the setting of both members of a pair (a severity), or one for each paired stage by name.
      among: the names of the stages that are paired; all of them unless given. K stages make K (K - 1) / 2 pairs.

    Example:
      >>> from sensijax.campaign import sweep
      >>> from sensijax.perturb import image
      >>> stages = {"noise": sweep(image.GaussianNoise, severity=[0, 3]), "fog": sweep(image.Fog, severity=[0, 3])}
      >>> [s.name for s in pairs(at=3).scenarios(stages)][-1]
      'noise@3+fog@3'
    """
    if isinstance(among, str):
        raise ArgumentError("among", repr(among), "a list of stages' names")
    return Pairs(at, None if among is None else tuple(among))


def full_factorial(limit: int = 100_000) -> FullFactorial:
    """Every combination of every setting of every stage; refused above `limit` scenarios."""
    return FullFactorial(limit)


def staged(order: int | None = None, limit: int = 100_000) -> Staged:
    """Isolated stages, then pairs, then all together: every combination of settings, in the order of their number.

    Args:
      order: the largest number of stages together; all of them unless given.
      limit: the largest number of scenarios that is accepted; the product grows fast.

    Example:
      >>> from sensijax.campaign import sweep
      >>> from sensijax.perturb import image
      >>> stages = {"noise": sweep(image.GaussianNoise, severity=[0, 3]), "fog": sweep(image.Fog, severity=[0, 3])}
      >>> [s.name for s in staged().scenarios(stages) if all(value for _, value in s.settings)]
      ['noise@3', 'fog@3', 'noise@3+fog@3']
    """
    return Staged(order, limit)


def fractional(at: At, resolution: int = 5) -> Fractional:
    """A fraction of all combinations of many stages, each absent or at one setting; see `Results.contrasts`.

    Args:
      at: the setting of every stage (a severity), or one for each stage by name.
      resolution: 3 keeps the effects of single stages apart from each other, 5 those of pairs too.

    Example:
      >>> from sensijax.campaign import sweep
      >>> from sensijax.perturb import image
      >>> stages = {name: sweep(image.Fog, severity=[0, 3]) for name in "abcde"}
      >>> len(list(fractional(at=3).scenarios(stages))), len(list(fractional(at=3, resolution=3).scenarios(stages)))
      (16, 8)
    """
    return Fractional(at, resolution)


def sample(n: int, seed: int = 0) -> Sample:
    """A quasi-random sample of the severity box: `n` (a power of two) scrambled Sobol' points."""
    return Sample(n, seed)


def _paired(among: Sequence[str] | None, stages: Mapping[str, Sweep]) -> list[str]:
    if among is None:
        return list(stages)
    for name in among:
        if name not in stages:
            raise ArgumentError("among", f"{name!r}, which is no stage", did_you_mean(str(name), stages))
    if len(set(among)) < 2:
        raise ArgumentError("among", repr(list(among)), "at least two stages")
    return [name for name in stages if name in among]


def _settings(at: At, stages: Iterable[str]) -> dict[str, float]:
    given = dict(at) if isinstance(at, Mapping) else dict.fromkeys(stages, at)
    if missing := [stage for stage in stages if stage not in given]:
        raise ArgumentError(
            "at", f"no setting for {', '.join(missing)}", "one setting for every stage, or one number for all"
        )
    for stage, value in given.items():
        if stage not in stages:
            raise ArgumentError("at", f"a setting for {stage!r}, which is no stage", did_you_mean(stage, stages))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ArgumentError("at", repr(value), "a number, or one for each stage by name")
    return {stage: float(given[stage]) for stage in stages}
