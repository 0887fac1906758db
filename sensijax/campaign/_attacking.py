"""Attacks as stages: what a campaign asks of them at the door, and the loop that the engine runs for them.

An attack looks at what the stages before it have left, and at the campaign's model. It does not know the stages that
come after it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack import Attack, Examples, Goal, Loop, Victim, compile_ahead, first_look
from sensijax.campaign._scenario import Sweep
from sensijax.campaign._structure import DIGEST_WIDTH, OnDevice, StageProgram, Structure
from sensijax.core import (
    ArgumentError,
    Batch,
    Dataset,
    Fault,
    Layout,
    Model,
    Place,
    chunks,
    digest,
    example_key,
    function_digest,
)
from sensijax.core.keys import words

if TYPE_CHECKING:
    from sensijax.campaign._programs import Programs

OVERSHOOT = 1e-6  # by so much a perturbation's rounding may leave the box


class AttackStructure(Structure):
    """An attack: each part is two programs, and a loop on the host."""

    synchronous = True

    @property
    def parts(self) -> tuple[tuple[str, Attack], ...]:
        """The attack's parts, with some budget."""
        return self._like(1).parts()

    @property
    def compilations(self) -> int:
        return 2 * len({jax.tree.structure(part) for _, part in self.parts})

    @property
    def passes(self) -> int:
        return sum(
            part.most_steps * part.attempts * (part.forwards + 2 * part.backwards)  # a gradient costs about two more
            for _, part in self.parts
        )

    def digest(self, programs: "Programs") -> str:
        return digest(self.part_digests(programs))

    def part_digests(self, programs: "Programs") -> list[tuple[str, str]]:
        """The parts in their order, each by name and with the digest of what it runs."""
        return [
            (name, digest(name, part.most_steps, part.attempts, part.minimal, _code(part, programs)))
            for name, part in self._like(DIGEST_WIDTH).parts()
        ]

    def prepare(self, programs: "Programs", width: int, model: OnDevice) -> Callable[[], StageProgram]:
        loop = self.loop(programs, width, model.layout)
        victim = dataclasses.replace(Victim.of(programs.campaign.model), params=model.params)

        def compiled() -> StageProgram:
            compile_ahead(self._like(1), victim, programs.inputs(1), loop)
            return _AttackStage(victim, model.forward, loop, width)

        return compiled

    def loop(self, programs: "Programs", width: int, layout: Layout) -> Loop:
        """How it runs in micro-batches of `width` rows: in the backend's style, unless another was measured."""
        here = Loop.here()
        style = dataclasses.replace(here, fused=programs.fused.get(self, here.fused))
        return style.on(layout, width // layout.shares)

    def first_look(self, programs: "Programs", width: int, layout: Layout, attack: Attack, fused: bool) -> list[Any]:
        """The states of its places after the first look, on the campaign's examples, in one of the two styles.

        Args:
          programs, width: as in `prepare`.
          layout: where rows lie.
          attack: of this structure, at some setting.
          fused: the style.
        """
        loop = dataclasses.replace(self.loop(programs, width, layout), fused=fused)
        campaign = programs.campaign
        n = min(loop.width, len(campaign.examples))
        x, y = campaign.examples.x[:n], campaign.examples.y[:n].astype(np.int32)
        params = layout.put(campaign.model.params, Place.PARAMS)
        victim = dataclasses.replace(Victim.of(campaign.model), params=params)
        return first_look(attack, victim, Examples(x, y, words(campaign.examples.ids[:n])), loop)

    def _like(self, width: int) -> Attack:
        leaves = [np.ones((width, *shape), np.float32) for shape, _ in self.leaves]
        return jax.tree.unflatten(self.tree, leaves)


def _code(part: Attack, programs: "Programs") -> list[str]:
    """The digests of what one part of an attack runs: how it begins, and how it advances against the model.

    Args:
      part: with leaves `[DIGEST_WIDTH]`.
      programs: those of the campaign.
    """
    goal = _goal(programs.inputs(DIGEST_WIDTH))
    victim = dataclasses.replace(Victim.of(programs.campaign.model), params=programs.params)
    part = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), part)

    def begin(attack: Attack, goal: Goal) -> Any:
        return attack.begin(goal)

    def advance(victim: Victim, attack: Attack, goal: Goal, state: Any) -> Any:
        return attack.advance(victim, goal, state)

    state = jax.eval_shape(begin, part, goal)
    return [function_digest(begin, part, goal), function_digest(advance, victim, part, goal, state)]


def _goal(x: jax.ShapeDtypeStruct) -> Goal:
    """The shapes of a goal for a batch of inputs."""
    rows = jax.ShapeDtypeStruct(x.shape[:1], jnp.int32)
    key = jax.ShapeDtypeStruct((*rows.shape, 2), jnp.uint32)
    return Goal(x=x, y=rows, target=rows, key=key, attempt=rows)  # type: ignore[arg-type]


class _AttackStage:
    """A micro-batch of rows under attack, each with its own budget."""

    def __init__(self, victim: Victim, forward: Callable[[Any], jax.Array], loop: Loop, width: int):
        self.victim, self.forward, self.loop, self.width = victim, forward, loop, width

    def __call__(self, settings: Attack, stage_keys: np.ndarray, batch: Batch, x: Any, valid: int) -> np.ndarray:
        logits = np.asarray(self.forward(x))
        x, y = np.array(x), np.asarray(batch.y)
        sound = np.isfinite(x.reshape(len(x), -1)).all(axis=1) & np.isfinite(logits).all(axis=1)
        correct = sound & (logits.argmax(axis=1) == y)
        attacked = np.flatnonzero(correct[:valid])  # what is wrong already, or is no number, stays as it is
        if not len(attacked):
            return x
        self._check_box(settings, x[attacked])
        keys = np.asarray(_example_keys(stage_keys, batch.ids))
        examples = Examples(x[attacked], y[attacked], keys[attacked])
        chosen = jax.tree.map(lambda leaf: np.asarray(leaf)[attacked], settings)
        outcomes = chosen.carry_out(self.victim, examples, logits[attacked], self.loop)
        x[attacked] = self._what_goes_on(outcomes, examples)
        return x

    def _what_goes_on(self, outcomes: list[Any], examples: Examples) -> np.ndarray:
        """The adversarial examples; where there is none, of all parts' attempts the one that came closest."""
        if len(outcomes) == 1:
            return outcomes[0].found
        margins = np.stack([self._margin(outcome.found, examples.y) for outcome in outcomes])
        broken = np.stack([outcome.broken for outcome in outcomes])
        chosen = np.where(broken.any(axis=0), broken.argmax(axis=0), margins.argmax(axis=0))
        return np.stack([outcome.found for outcome in outcomes])[chosen, np.arange(len(chosen))]

    def _margin(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The best other logit minus the label's; NaN is never the best."""
        parts = [np.asarray(self.forward(x[c.rows]))[: c.valid] for c in chunks(len(x), self.width)]
        logits, rows = np.concatenate(parts), np.arange(len(x))
        own = logits[rows, y]
        logits[rows, y] = -np.inf
        return np.nan_to_num(logits.max(axis=1) - own, nan=-np.inf)

    @staticmethod
    def _check_box(attack: Attack, x: np.ndarray) -> None:
        low, high = attack.box
        if x.min() < low - OVERSHOOT or x.max() > high + OVERSHOOT:
            raise ArgumentError(
                f"{type(attack).__name__}.box",
                f"inputs from {x.min():g} to {x.max():g}, as the stages before it have left them",
                f"inputs in the attack's box [{low:g}, {high:g}]: give it another box, or apply it before them",
            )


@jax.jit
def _example_keys(stage_keys: Any, ids: jax.Array) -> jax.Array:
    return jax.vmap(lambda stage, example: jax.random.key_data(example_key(stage, example)))(stage_keys, ids)


# --- the door --------------------------------------------------------------------------------------------------------


def attack_faults(data: Dataset, model: Any, attacks: Mapping[str, Sweep]) -> Iterator[Fault]:
    """What is wrong with attacks on this data and model.

    Args:
      data: the campaign's.
      model: the campaign's, where there is one.
      attacks: the stages that are attacks, and can be constructed at every setting.

    Yields:
      One `Fault` for each thing that is wrong.
    """
    names = f"stage{'s' if len(attacks) > 1 else ''} {', '.join(attacks)}"
    if not data.is_classification:
        yield Fault("data.y", "float targets: a regression", f"integer labels: an attack needs a classifier ({names})")
        return
    if data.x.dtype != np.float32 or data.x.ndim < 2:
        yield Fault("data.x", f"examples {data.x.dtype}{list(data.x.shape[1:])}", f"float32 values to move ({names})")
        return
    finite = data.x[np.isfinite(data.x)]
    for name, sweep in attacks.items():
        settings = [sweep.at(value) for value in sweep.values]
        low, high = settings[0].box
        if not low < high:
            yield Fault(f"stages.{name}.box", f"{settings[0].box}", "(low, high) with low < high")
            continue
        if finite.size and (finite.min() < low or finite.max() > high):
            hint = "; bytes? divide by 255" if high == 1 and 1 < finite.max() <= 255 else ""
            right = f"stage {name!r} works in the box [{low:g}, {high:g}]{hint}"
            yield Fault("data.x", f"values from {finite.min():g} to {finite.max():g}", right)
        yield from _budget_faults(name, sweep, settings, data.x.shape[1:])
        if isinstance(model, Model):
            yield from _shape_faults(name, sweep, settings[-1], model, data)


def _budget_faults(name: str, sweep: Sweep, settings: list[Attack], shape: tuple[int, ...]) -> Iterator[Fault]:
    for i, (value, attack) in enumerate(zip(sweep.values, settings, strict=True)):
        most, eps = attack.norm.diameter(shape, *attack.box), float(np.asarray(attack.eps))
        if not 0 <= eps <= most * (1 + 1e-6):
            path = f"stages.{name}.eps[{i}]" if sweep.axis == "eps" else f"stages.{name}.eps"
            right = f"a budget in [0, {most:g}] in the {attack.norm} norm: a larger one reaches every input of the box"
            yield Fault(path, f"{eps:g}" if sweep.axis == "eps" else f"{eps:g} at {sweep.axis} = {value:g}", right)


def _shape_faults(name: str, sweep: Sweep, attack: Attack, model: Model, data: Dataset) -> Iterator[Fault]:
    """Traces every part against the model: what does not fit, fails here."""
    x = jax.ShapeDtypeStruct((2, *data.x.shape[1:]), data.x.dtype)
    goal = _goal(x)
    try:
        classes = model.output_spec(x).shape[-1]
    except ArgumentError:
        return  # the model's own fault, and known
    rowed = jax.tree.map(lambda leaf: np.full(2, leaf, np.float32), attack)

    def once(victim: Victim, part: Attack, goal: Goal) -> Any:
        return part.advance(victim, goal, part.begin(goal))

    for label, part in rowed.parts():
        try:
            jax.eval_shape(once, Victim.of(model), part, goal)
            part.targets(np.zeros((2, classes), np.float32), np.zeros(2, np.int32))
        except ArgumentError as error:
            yield Fault(f"stages.{name}", f"{sweep.kind}: {error.argument} is {error.came}", error.right)
            return
        except Exception as error:  # a user's own attack or loss
            few = f" with {classes} classes" if classes < 4 else ""
            yield Fault(
                f"stages.{name}",
                f"{sweep.kind} ({label}) fails on examples {x.dtype}{list(x.shape[1:])}{few}: "
                f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
                "a loss that these classes allow (cross_entropy: 2, dlr: 3, targeted_dlr: 4), and inputs that fit",
            )
            return
