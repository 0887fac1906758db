"""What the examples of a scenario are called and how much each counts: label noise and drift, before any model runs.

Both are functions of the whole data, so they are computed once for each (settings, seed), on the host's CPU whatever
the device, and rows look them up.
"""

import collections
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.campaign._scenario import Scenario, Setting, Sweep
from sensijax.core import ArgumentError, Dataset, Fault, Model, digest, stage_key_data
from sensijax.core.keys import GENERATOR, words
from sensijax.drift import Drift
from sensijax.drift.simulate._drift import check_weights, labels_of, weights_of
from sensijax.label import LabelNoise

if TYPE_CHECKING:
    from sensijax.campaign._campaign import Campaign
    from sensijax.campaign._plan import Tile

MOST_BYTES = 512 << 20  # of standings that are kept; the others are computed again


class Standing(NamedTuple):
    """How examples stand in a scenario.

    Attributes:
      target: `[N]`, what each example is: the data's label, or what a drift of concepts has made of it.
      observed: `[N]`, what the annotators wrote; a row is judged by it.
      weight: float32 `[N]`, how often each occurs; mean 1 over the data.
    """

    target: np.ndarray
    observed: np.ndarray
    weight: np.ndarray


def stands(value: Any) -> bool:
    """Whether a stage changes how examples stand."""
    return isinstance(value, LabelNoise) or isinstance(value, Drift) and set(value.changes) != {"inputs"}


def relabels(value: Any) -> bool:
    """Whether a stage changes what examples are called."""
    return isinstance(value, LabelNoise) or isinstance(value, Drift) and "labels" in value.changes


def moves(value: Any) -> bool:
    """Whether a stage changes what the model is shown."""
    return not (isinstance(value, LabelNoise) or isinstance(value, Drift) and "inputs" not in value.changes)


def fitted(value: Any, data: Dataset, classes: int) -> Any:
    """A stage that knows the data, where it is one that learns from them."""
    if isinstance(value, LabelNoise):
        return value.fit(data.x, data.y, classes)
    return value.fit(data) if isinstance(value, Drift) else value


class Standings:
    """How a campaign's examples stand, scenario by scenario.

    Args:
      campaign: whose.
    """

    def __init__(self, campaign: "Campaign"):
        self.campaign = campaign
        self._known: collections.OrderedDict[tuple, Standing] = collections.OrderedDict()
        self._digests: dict[tuple, str] = {}

    def relevant(self, settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
        """Those of some settings that matter here."""
        return tuple(s for s in settings if stands(self.campaign.perturbation(*s)))

    def of(self, settings: tuple[Setting, ...], seed: int) -> Standing:
        """How all examples stand after these settings, in the order of `campaign.examples`."""
        return self._of(self.relevant(settings), seed)

    def digest(self, scenario: Scenario, seed: int) -> str:
        """The digest of how the examples stand; empty where they stand as in the data."""
        address = self._address(self.relevant(scenario.settings), seed)
        if not address[0]:
            return ""
        if address not in self._digests:
            self._digests[address] = digest(*self._of(*address))
        return self._digests[address]

    def rows(self, tile: "Tile") -> Standing | None:
        """How the rows of a tile stand, each array `[rows]`; None where all stand as in the data."""
        if not any(self.relevant(scenario.settings) for scenario in tile.scenarios):
            return None
        found = [self.of(scenario.settings, seed) for scenario in tile.scenarios for seed in tile.seeds]
        return Standing(
            *(np.concatenate([a[tile.start : tile.stop] for a in arrays]) for arrays in zip(*found, strict=True))
        )

    def _address(self, settings: tuple[Setting, ...], seed: int) -> tuple[tuple[Setting, ...], int]:
        drawn = any(not self.campaign.perturbation(*s).deterministic for s in settings)
        return settings, seed if drawn else self.campaign.seeds[0]  # type: ignore[index]

    def _of(self, settings: tuple[Setting, ...], seed: int) -> Standing:
        address = self._address(settings, seed)
        if address not in self._known:
            self._known[address] = self._computed(*address)
            while len(self._known) > 1 and sum(a.nbytes for s in self._known.values() for a in s) > MOST_BYTES:
                self._known.popitem(last=False)
        self._known.move_to_end(address)
        return self._known[address]

    def _computed(self, settings: tuple[Setting, ...], seed: int) -> Standing:
        examples = self.campaign.examples
        if not settings:
            return Standing(examples.y, examples.y, np.ones(len(examples), np.float32))
        before, last = self._of(settings[:-1], seed), settings[-1]
        return after(self.campaign.perturbation(*last), stage_key_data(seed, last.stage), examples, before)


def after(stage: Any, key_data: np.ndarray, examples: Dataset, before: Standing) -> Standing:
    """How examples stand after one more stage.

    Args:
      stage: a fitted `LabelNoise` or `Drift`.
      key_data: the stage's raw key.
      examples: the data; annotators see them as they are there.
      before: how they stood.

    Raises:
      ArgumentError: if a drift's weights are no distribution.
    """
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        key = jax.random.wrap_key_data(jnp.asarray(key_data), impl=GENERATOR)
        if isinstance(stage, LabelNoise):
            result = stage(key, before.observed, examples.x, ids=examples.ids)
            return before._replace(observed=np.asarray(result.labels))
        ids, (target, observed, weight) = words(examples.ids), before
        if "weights" in stage.changes:
            factor = np.asarray(weights_of(stage, key, examples.x, target, ids))
            check_weights(stage, factor)
            weight = weight * factor
        if "labels" in stage.changes:
            same = observed is target
            target = np.asarray(labels_of(stage, key, examples.x, target, ids))
            observed = target if same else np.asarray(labels_of(stage, key, examples.x, observed, ids))
    return Standing(target, observed, weight)


# --- the door --------------------------------------------------------------------------------------------------------


def standing_faults(data: Dataset, model: Any, stages: Mapping[str, Sweep]) -> Iterator[Fault]:
    """What is wrong with label noise and drift on this data.

    Args:
      data: the campaign's.
      model: the campaign's, where there is one.
      stages: those that are label noise or drift, and can be constructed at every setting.

    Yields:
      One `Fault` for each thing that is wrong.
    """
    classes = classes_of(data, model)
    data = data.take(np.argsort(data.ids, kind="stable"))
    for name, sweep in stages.items():
        values = [sweep.at(value) for value in sweep.values]
        if not data.is_classification and relabels(values[0]):
            came = f"{sweep.kind} on float targets: a regression"
            yield Fault(f"stages.{name}", came, "integer labels: a class can be called otherwise, a number cannot")
            continue
        before = Standing(data.y, data.y, np.ones(len(data), np.float32))
        try:
            for value in values:
                # As the run will have it, so that this is the run's own program.
                stage = jax.tree.map(np.asarray, fitted(value, data, classes))
                if np.all(stage.is_identity()):
                    continue
                if moves(stage):
                    jax.eval_shape(
                        stage.inputs, jax.random.key(0), jax.ShapeDtypeStruct(data.x.shape[1:], data.x.dtype)
                    )
                if stands(stage):
                    after(stage, stage_key_data(0, name), data, before)
        except Exception as error:  # a user's own may raise anything
            yield data_fault(f"stages.{name}", sweep.kind, error)


def data_fault(path: str, kind: str, error: Exception) -> Fault:
    """The fault that a noise or drift has shown on the data."""
    if isinstance(error, ArgumentError):
        return Fault(path, f"{kind}: {error.argument} is {error.came}", error.right)
    shown = f"{kind} fails on the data: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return Fault(path, shown, "a noise or drift that these data allow")


def classes_of(data: Dataset, model: Any) -> int:
    if not data.is_classification:
        return 0
    if isinstance(model, Model):
        try:
            return model.output_spec(jax.ShapeDtypeStruct((2, *data.x.shape[1:]), data.x.dtype)).shape[-1]
        except (ArgumentError, IndexError):  # the model's own fault, and known
            pass
    return max(2, int(data.y.max()) + 1)
