"""An adversarial evaluation: what withstands an attack, budget by budget, as units that are computed once.

A unit is one part of the attack at one budget on one block of examples. It starts from what the units before it on the
same block have left: earlier parts, and smaller budgets. An example that is broken within a small budget is broken
within every larger one, so the curve over budgets falls by construction, and nothing is broken twice.
"""

import dataclasses
import functools
import re
from typing import Any

import jax

from sensijax.attack import Attack, Loop
from sensijax.campaign._attacking import AttackStructure
from sensijax.campaign._campaign import Campaign
from sensijax.campaign._programs import Programs
from sensijax.campaign._scenario import Scenario, Setting, Sweep
from sensijax.core import CampaignError, Dataset, Fault, Model, digest

LAYOUT = 1  # raised when the arrays of a unit change meaning
STAGE = "attack"


@dataclasses.dataclass(frozen=True)
class Unit:
    """A part of the attack, at a budget, on a block of examples.

    Attributes:
      id: digest of all that decides its content, the units before it included.
      budget, part: numbers, from 0.
      start, stop: positions in `Evaluation.examples`.
    """

    id: str
    budget: int
    part: int
    start: int
    stop: int


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """A model under attack.

    Attributes:
      model: the model.
      data: examples with integer labels.
      attack: an attack class at one or several budgets: `sweep(attack.AutoAttack, eps=[2/255, 8/255])`; above 0.
      seed: of the random draws, in [0, 2**32). The verdicts are those of the attack called with
        `jax.random.key(seed)` and the data's ids.
      name: how reports call it.

    Raises:
      CampaignError: with all faults at once.

    Example:
      >>> import numpy as np
      >>> from sensijax import attack
      >>> from sensijax.campaign import sweep
      >>> model = Model(lambda w, x: x.reshape(len(x), -1) @ w, np.ones((64, 2), np.float32), name="linear")
      >>> data = Dataset(np.zeros((3, 8, 8, 1), np.float32), np.array([0, 1, 1]))
      >>> Evaluation(model, data, sweep(attack.PGD, eps=[0.1])).budgets
      (0.1,)
    """

    model: Model
    data: Dataset
    attack: Sweep
    seed: int = 0
    name: str = "attack"

    def __post_init__(self):
        faults = []
        if not isinstance(self.attack, Sweep) or self.attack.axis != "eps":
            came = repr(self.attack.axis) if isinstance(self.attack, Sweep) else type(self.attack).__name__
            raise CampaignError([Fault("attack", came, "sensijax.sweep(attack.AutoAttack, eps=[...])")])
        if type(self.seed) is not int or not 0 <= self.seed < 1 << 32:
            faults.append(Fault("seed", repr(self.seed), "an integer in [0, 2**32)"))
        if any(not value > 0 for value in self.attack.values):
            faults.append(Fault("eps", "a budget of 0 or less", "budgets above 0: unattacked is what they start from"))
        try:
            self.campaign  # noqa: B018 - its faults are these
        except CampaignError as error:
            named = [dataclasses.replace(f, path=_as_given(f.path)) for f in error.faults]
            faults += [fault for fault in named if not faults or fault.path.partition("[")[0] != "eps"]
        if faults:
            raise CampaignError(faults)

    @functools.cached_property
    def campaign(self) -> Campaign:
        """The campaign with the attack as its one stage: what is wrong with the one is wrong with the other."""
        sweep = dataclasses.replace(self.attack, values=(0.0, *self.attack.values))
        return Campaign(self.model, self.data, {STAGE: sweep}, seeds=[0], name=self.name)

    @property
    def examples(self) -> Dataset:
        """The data in the order of the ids."""
        return self.campaign.examples

    @property
    def budgets(self) -> tuple[float, ...]:
        """The budgets, smallest first."""
        return tuple(sorted(self.attack.values))

    def at(self, budget: int) -> Attack:
        """The attack at the budget of this number."""
        attack = self.campaign.perturbation(STAGE, self.budgets[budget])
        assert isinstance(attack, Attack)
        return attack

    @property
    def key(self) -> jax.Array:
        return jax.random.key(self.seed)

    def units(self, block: int) -> tuple[Unit, ...]:
        """The units, in an order in which each comes after those that it starts from. Traces; compiles nothing."""
        code = AttackStructure.of(self.at(0)).part_digests(Programs(self.campaign))
        chains: dict[int, str] = {}
        found = []
        for budget, eps in enumerate(self.budgets):
            settings = self.campaign.settings_digest(Scenario((Setting(STAGE, eps),)))
            for part, (_, program) in enumerate(code):
                for start in range(0, len(self.examples), block):
                    stop = min(start + block, len(self.examples))
                    before = chains.get(start) or digest(
                        LAYOUT, self.model.digest, self.data.digest, self.seed, block, start
                    )
                    chains[start] = digest(before, settings, part, program)
                    found.append(Unit(chains[start], budget, part, start, stop))
        return tuple(found)

    def manifest(self, units: tuple[Unit, ...], loop: Loop, block: int, environment: dict[str, Any]) -> dict[str, Any]:
        """The content of `attack.json`."""
        data, model = self.examples, self.model
        attack = self.at(0)
        return {
            "layout": LAYOUT,
            "id": digest([unit.id for unit in units]),
            "name": self.name,
            "model": {"name": model.name, "digest": model.digest, "classes": list(model.classes or ())},
            "data": {
                "name": data.name,
                "digest": data.digest,
                "examples": len(data),
                "shape": list(data.x.shape[1:]),
            },
            "attack": {
                "kind": self.attack.kind,
                "norm": str(attack.norm),
                "box": list(attack.box),
                "options": {
                    k: v if isinstance(v, int | float | str) else repr(v) for k, v in self.attack.options.items()
                },
                "parts": [name for name, _ in attack.parts()],
            },
            "budgets": list(self.budgets),
            "seed": self.seed,
            "block": block,
            "width": loop.width,
            "units": [dataclasses.asdict(unit) for unit in units],
            "environment": environment["id"],
        }


def block_of(loop: Loop) -> int:
    """Examples of a unit, unless said otherwise: more than there are places, so that what breaks early makes room."""
    return max(128, 2 * loop.width)


def _as_given(path: str) -> str:
    """A fault's path in the campaign, in the words of the evaluation: there, a budget of 0 stands before all others."""
    path = path.removeprefix(f"stages.{STAGE}.")
    return re.sub(r"^eps\[(\d+)\]", lambda match: f"eps[{int(match[1]) - 1}]", path)
