"""A campaign: a model, data, stages, a design and seeds; and all that can be wrong with one, found at the door."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from sensijax.attack import Attack
from sensijax.campaign._attacking import attack_faults
from sensijax.campaign._perturbing import perturbation_faults
from sensijax.campaign._scenario import STAGE_NAME, Scenario, Sweep, missing_options
from sensijax.campaign._standing import Standings, fitted, standing_faults
from sensijax.campaign.design import Design, isolated
from sensijax.campaign.timeline._address import Addresses
from sensijax.campaign.timeline._defaults import filled_in
from sensijax.campaign.timeline._door import timeline_faults
from sensijax.campaign.timeline._timeline import Timeline
from sensijax.core import ArgumentError, CampaignError, Dataset, Fault, Model, digest
from sensijax.core.errors import did_you_mean
from sensijax.drift import Drift
from sensijax.label import LabelNoise
from sensijax.perturb import Perturbation

MOST_SCENARIOS = 1_000_000
Stage = Perturbation | Attack | LabelNoise | Drift
"""What a stage is at one setting."""

RESERVED_COLUMNS = frozenset(
    "scenario stages severity seed example label target observed weight "
    "prediction confidence entropy margin loss brier correct flipped kl "
    "shift status tile model data stages_digest program environment micro_batch".split()
)


@dataclasses.dataclass(frozen=True, eq=False)
class Campaign:
    """What to find out: how a model responds to stages, alone and together.

    Attributes:
      model: the model.
      data: labelled examples; integer labels make it a classification, floats a regression.
      stages: name to `Sweep`; the order is the order in which stages are applied. A stage's name is part of the
        address of its random draws.
      design: which scenarios to run; `design.isolated()` unless given.
      seeds: a number of seeds (0, 1, ...), or the seeds themselves. Scenarios that draw nothing run for the first
        alone.
      name: how reports call it.
      tolerance: the loss of accuracy (regression: of R^2) that is acceptable, in (0, 1); verdicts are against it.
      timelines: name to `Timeline`: streams in which a drift stage comes and goes while monitors watch. They are beside
        the scenarios, and change none of their tiles.

    Raises:
      CampaignError: with all faults at once: a severity that is NaN, negative or above the scale, no clean baseline,
        inputs out of range, labels that the model does not have, shapes that do not fit, ...

    Example:
      >>> from sensijax.perturb import image
      >>> model = Model(lambda w, x: x.reshape(len(x), -1) @ w, np.ones((64, 2), np.float32), name="linear")
      >>> data = Dataset(np.zeros((3, 8, 8, 1), np.float32), np.array([0, 1, 1]))
      >>> stages = {"noise": Sweep(image.GaussianNoise, "severity", (0.0, 1.0))}
      >>> [s.name for s in Campaign(model, data, stages).scenarios]
      ['clean', 'noise@1']
    """

    model: Model
    data: Dataset
    stages: Mapping[str, Sweep]
    design: Design = dataclasses.field(default_factory=isolated)
    seeds: int | Sequence[int] = 1
    name: str = "campaign"
    tolerance: float = 0.05
    timelines: Mapping[str, Timeline] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        faults = list(campaign_faults(self))
        if faults:
            raise CampaignError(faults)
        seeds = range(self.seeds) if isinstance(self.seeds, (int, np.integer)) else self.seeds
        object.__setattr__(self, "seeds", tuple(int(seed) for seed in seeds))
        object.__setattr__(self, "stages", dict(self.stages))
        filled = {n: filled_in(t, self.stages[t.stage], self.data.is_classification) for n, t in self.timelines.items()}
        object.__setattr__(self, "timelines", filled)

    @functools.cached_property
    def scenarios(self) -> tuple[Scenario, ...]:
        """The clean baseline, then the design's scenarios, each once."""
        found = {Scenario(): None}
        for scenario in self.design.scenarios(self.stages):
            found[Scenario(tuple(s for s in scenario.settings if not self._is_identity(*s)))] = None
        return tuple(found)

    @functools.cached_property
    def examples(self) -> Dataset:
        """The data in the order of the ids: no number depends on the order in which they were given."""
        return self.data.take(np.argsort(self.data.ids, kind="stable"))

    @functools.cache  # noqa: B019 - a campaign lives as long as its settings
    def perturbation(self, stage: str, value: float) -> Stage:
        """A stage at a setting, its leaves on the host; noise and drift know the data."""
        return jax.tree.map(np.asarray, fitted(self.stages[stage].at(value), self.examples, self._classes))

    @functools.cached_property
    def standings(self) -> Standings:
        """What the examples are called in each scenario, and how much each counts."""
        return Standings(self)

    @functools.cached_property
    def addresses(self) -> Addresses:
        """What the exhibits of its timelines are called."""
        return Addresses(self)

    def seeds_of(self, scenario: Scenario) -> tuple[int, ...]:
        """The seeds that a scenario runs for: the first alone if it draws nothing."""
        draws = any(not self.perturbation(*setting).deterministic for setting in scenario.settings)
        return self.seeds if draws else self.seeds[:1]  # type: ignore[index,return-value]

    def settings_digest(self, scenario: Scenario) -> str:
        """The digest of what a scenario does: stage names, and the structure and parameters of what they are."""
        return digest([(s.stage, _named(self.perturbation(*s))) for s in scenario.settings])

    @functools.cached_property
    def _classes(self) -> int:
        x = jax.ShapeDtypeStruct((2, *self.data.x.shape[1:]), self.data.x.dtype)
        return self.model.output_spec(x).shape[-1] if self.data.is_classification else 0

    def _is_identity(self, stage: str, value: float) -> bool:
        return bool(np.all(self.perturbation(stage, value).is_identity()))


ABSENT: Any = object()
"""Stands for a part of a campaign that could not be made, and whose fault is already known."""


def campaign_faults(campaign: Any) -> Iterator[Fault]:
    """Everything that is wrong with a campaign.

    Args:
      campaign: anything with the attributes of a `Campaign`; those (and sweeps) that are `ABSENT` are passed over.

    Yields:
      One `Fault` for each thing that is wrong; none if it can run.
    """
    if campaign.model is not ABSENT and not isinstance(campaign.model, Model):
        yield Fault(
            "model", type(campaign.model).__name__, "a sensijax.Model; see sensijax.adapt for other libraries' models"
        )
    if campaign.data is not ABSENT and not isinstance(campaign.data, Dataset):
        yield Fault("data", type(campaign.data).__name__, "a sensijax.Dataset")
    if not isinstance(campaign.name, str) or not campaign.name:
        yield Fault("name", repr(campaign.name), "a non-empty name")
    if not (isinstance(campaign.tolerance, (int, float)) and 0 < campaign.tolerance < 1):
        yield Fault("tolerance", repr(campaign.tolerance), "a fraction in (0, 1), such as 0.05")
    yield from _seed_faults(campaign.seeds)
    sound: dict[str, Sweep] = {}
    if campaign.stages is not ABSENT:
        yield from _stage_faults(campaign.stages, sound)
    if sound and campaign.design is not ABSENT:
        yield from _design_faults(campaign.design, campaign.stages, sound)
    if isinstance(campaign.data, Dataset):
        yield from _data_faults(campaign.data)
        attacks = {name: sweep for name, sweep in sound.items() if isinstance(sweep.at(sweep.values[0]), Attack)}
        if attacks:
            yield from attack_faults(campaign.data, campaign.model, attacks)
        standing = {n: sweep for n, sweep in sound.items() if isinstance(sweep.at(sweep.values[0]), LabelNoise | Drift)}
        yield from standing_faults(campaign.data, campaign.model, standing)
        if perturbations := {n: sweep for n, sweep in sound.items() if n not in attacks and n not in standing}:
            yield from perturbation_faults(campaign.data, perturbations)
        if isinstance(campaign.model, Model):
            yield from _model_faults(campaign.model, campaign.data)
    if campaign.stages is not ABSENT and isinstance(campaign.stages, Mapping):
        yield from timeline_faults(campaign.timelines, campaign.data, campaign.model, campaign.stages, sound)


def _seed_faults(seeds: Any) -> Iterator[Fault]:
    if isinstance(seeds, (int, np.integer)) and not isinstance(seeds, bool):
        if not 1 <= seeds <= 100_000:
            yield Fault("seeds", str(seeds), "at least 1 (at most 100,000)")
        return
    given = list(seeds) if isinstance(seeds, Sequence | np.ndarray) and not isinstance(seeds, str | bytes) else None
    if given is None or not all(_is_seed(seed) for seed in given):
        yield Fault("seeds", repr(seeds), "a number of seeds, or distinct integers in [0, 2**64)")
    elif not given or len(set(given)) != len(given):
        yield Fault("seeds", repr(seeds), "at least one seed, none twice")


def _is_seed(seed: Any) -> bool:
    return isinstance(seed, (int, np.integer)) and not isinstance(seed, bool) and 0 <= int(seed) < 1 << 64


def _stage_faults(stages: Any, sound: dict[str, Sweep]) -> Iterator[Fault]:
    """The faults of the stages; puts those that can be constructed at every setting into `sound`."""
    if not isinstance(stages, Mapping) or not stages:
        yield Fault(
            "stages", "none" if isinstance(stages, Mapping) else type(stages).__name__, "at least one named sweep"
        )
        return
    for name, sweep in stages.items():
        path = f"stages.{name}"
        if not isinstance(name, str) or not STAGE_NAME.fullmatch(name) or name == "clean":
            yield Fault(
                path, repr(name), "a name of letters, digits, _ . - that starts with a letter; 'clean' is taken"
            )
        if sweep is ABSENT:
            continue
        if not isinstance(sweep, Sweep):
            yield Fault(path, type(sweep).__name__, "a sweep: sensijax.sweep(perturbation, severity=[0, 1, ...])")
            continue
        constructible = yield from _sweep_faults(path, sweep)
        if constructible:
            sound[name] = sweep


def _sweep_faults(path: str, sweep: Sweep) -> Generator[Fault, None, bool]:
    axis = f"{path}.{sweep.axis}"
    if not sweep.values:
        yield Fault(axis, "no value", "at least 0 and one more")
        return False
    if missing := missing_options(sweep):
        for name in missing:
            yield Fault(f"{path}.{name}", "missing", f"a value: {sweep.kind} has no default for it")
        return False
    identities, wrong = 0, {}
    for i, value in enumerate(sweep.values):
        if not math.isfinite(value) or value < 0 and sweep.axis == "severity":
            wrong[i] = Fault(f"{axis}[{i}]", f"{value:g}", "a finite number, 0 or more")
            continue
        try:
            perturbation = sweep.at(value)
            if not isinstance(perturbation, Stage):
                right = (
                    "a class derived from sensijax.perturb.Perturbation, an attack of sensijax.attack, a noise of "
                    "sensijax.label or a drift of sensijax.drift"
                )
                raise ArgumentError(sweep.kind, type(perturbation).__name__, right)
            identities += bool(np.all(perturbation.is_identity()))
        except ArgumentError as error:
            if error.argument in sweep.options:
                wrong[i] = Fault(f"{path}.{error.argument}", str(error.came), error.right)
            elif error.argument == sweep.axis:
                wrong[i] = Fault(f"{axis}[{i}]", str(error.came), error.right)
            else:
                wrong[i] = Fault(path, f"{sweep.kind}: {error.argument} is {error.came}", error.right)
        except Exception as error:  # a user's own perturbation class
            wrong[i] = Fault(
                path, f"{sweep.kind} fails: {type(error).__name__}: {error}", "a perturbation that can be constructed"
            )
    yield from dict.fromkeys(wrong.values())  # what every setting suffers from is one fault
    for value in sorted({v for v in sweep.values if sweep.values.count(v) > 1}):
        yield Fault(axis, f"{value:g} more than once", "every setting once")
    if not identities and not wrong:
        yield Fault(axis, "no clean baseline", "add the setting of no perturbation (severity 0)")
    return not wrong


def _design_faults(design: Any, stages: Mapping[str, Any], sound: Mapping[str, Sweep]) -> Iterator[Fault]:
    # A stage whose own faults are known takes part with one setting, so that the design sees every name.
    shown = {name: sound.get(name, Sweep(None, "severity", (0.0,))) for name in stages}
    try:
        scenarios = list(itertools.islice(design.scenarios(shown), MOST_SCENARIOS))
    except ArgumentError as error:
        field = f"design.{error.argument}" if hasattr(design, error.argument) else "design"
        yield Fault(field, str(error.came), error.right)
        return
    except (AttributeError, TypeError) as error:
        yield Fault("design", repr(design), f"a design, such as sensijax.design.pairs(at=3) ({error})")
        return
    if len(scenarios) >= MOST_SCENARIOS:
        yield Fault("design", f"{MOST_SCENARIOS:,} scenarios or more", "fewer settings, or sensijax.design.sample")
    wrong: dict[tuple[str, str], list[str]] = {}
    for setting in dict.fromkeys(s for scenario in scenarios for s in scenario.settings):
        if setting.stage not in stages:
            yield Fault("design", f"stage {setting.stage!r}", did_you_mean(setting.stage, stages))
        elif setting.stage in sound and setting.value not in sound[setting.stage].values:
            try:
                sound[setting.stage].at(setting.value)
            except ArgumentError as error:
                wrong.setdefault((f"{setting.value:g}", error.right), []).append(setting.stage)
    for (value, right), names in wrong.items():
        yield Fault("design.at" if hasattr(design, "at") else "design", f"{value} for {', '.join(names)}", right)


def _data_faults(data: Dataset) -> Iterator[Fault]:
    for name in data.groups:
        if name in RESERVED_COLUMNS:
            yield Fault(f"data.groups.{name}", "the name of a column of the responses", "another name")
    if not data.is_classification and not np.isfinite(data.y).all():
        yield Fault(
            "data.y",
            f"{int((~np.isfinite(data.y)).any(axis=tuple(range(1, data.y.ndim))).sum())} targets that are not finite",
            "finite targets",
        )


def _model_faults(model: Model, data: Dataset) -> Iterator[Fault]:
    try:
        out = model.output_spec(jax.ShapeDtypeStruct((2, *data.x.shape[1:]), data.x.dtype))
    except ArgumentError as error:
        yield Fault("model", str(error.came), error.right)
        return
    if data.is_classification:
        if len(out.shape) != 2 or out.shape[1] < 2:
            yield Fault(
                "model",
                f"outputs of shape [B, {', '.join(map(str, out.shape[1:]))}]",
                "logits [B, K] with K >= 2 for integer labels; for regression give float targets",
            )
            return
        low, high = int(data.y.min()), int(data.y.max())
        if low < 0 or high >= out.shape[1]:
            yield Fault(
                "data.y",
                f"labels from {low} to {high}",
                f"in [0, {out.shape[1]}): the model has {out.shape[1]} classes",
            )
        if model.classes is not None and len(model.classes) != out.shape[1]:
            yield Fault("model.classes", f"{len(model.classes)} names", f"{out.shape[1]}: one for each class")
    elif int(np.prod(out.shape[1:])) != int(np.prod(data.y.shape[1:])):
        yield Fault(
            "model",
            f"outputs [B, {', '.join(map(str, out.shape[1:]))}]",
            f"the shape of the targets: [B, {', '.join(map(str, data.y.shape[1:]))}]",
        )


def _named(perturbation: Stage) -> Any:
    kind = f"{type(perturbation).__module__}.{type(perturbation).__qualname__}"
    return kind, [(f.name, _content(getattr(perturbation, f.name))) for f in dataclasses.fields(perturbation)]  # type: ignore[arg-type]


def _content(value: Any) -> Any:
    if isinstance(value, Perturbation):
        return _named(value)
    if isinstance(value, tuple):
        return [_content(v) for v in value]
    if callable(value) and not dataclasses.is_dataclass(value):  # a loss, say; its code is in the program's digest
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    return value
