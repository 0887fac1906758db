"""Designs of experiment: which scenarios a campaign runs.

A design is a value with `scenarios(stages)`. The clean baseline is part of every campaign; a stage at its identity
drops out of a scenario, so that the same computation never runs under two names.
"""

import dataclasses
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
