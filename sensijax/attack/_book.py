"""What attempts came to: the best of every example, and what it cost."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sensijax.attack._attack import Attack
    from sensijax.attack._pursuit import Examples


@dataclasses.dataclass(frozen=True)
class Pursued:
    """What came of it.

    Attributes:
      found: `[N, ...]` the adversarial examples, or the strongest attempts.
      broken: bool `[N]`.
      distance: float32 `[N]`, infinite where not broken.
      attempt: int32 `[N]` the attempt that `found` is from.
      forwards, backwards: int64 `[N]` passes through the model: of all attempts, or where the first success ends an
        example, of those up to it.
      carried: `[N, ...]` by name, what belongs to `found` beside it: the attack's `carries`.
    """

    found: np.ndarray
    broken: np.ndarray
    distance: np.ndarray
    attempt: np.ndarray
    forwards: np.ndarray
    backwards: np.ndarray
    carried: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def spread(self, index: np.ndarray, examples: "Examples") -> "Pursued":
        """The outcome of all examples, of which only those at `index` were asked about."""
        n = len(examples)
        whole = Pursued(
            examples.x.copy(),
            np.zeros(n, bool),
            np.full(n, np.inf, np.float32),
            np.full(n, -1, np.int32),
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
        )
        for name in ("found", "broken", "distance", "attempt", "forwards", "backwards"):
            getattr(whole, name)[index] = getattr(self, name)
        for name, value in self.carried.items():
            whole.carried[name] = np.zeros((n, *value.shape[1:]), value.dtype)
            whole.carried[name][index] = value
        return whole


class Book:
    """The best outcome of every example so far, and what each attempt cost."""

    def __init__(self, attack: "Attack", examples: "Examples", attempts: int, first: bool):
        n = len(examples)
        self.attack, self.first = attack, first
        self.found = examples.x.copy()
        self.broken = np.zeros(n, bool)
        self.distance = np.full(n, np.inf, np.float32)
        self.strength = np.full(n, -np.inf, np.float32)
        self.attempt = np.full(n, attempts, np.int32)  # beyond all of them: none yet
        self.steps = np.zeros((n, attempts), np.int64)
        self.carried: dict[str, np.ndarray] = {}

    def wants(self, example: Any, attempt: Any) -> Any:
        """Whether an attempt can still matter."""
        return ~(self.first & self.broken[example] & (attempt > self.attempt[example]))

    def enter(self, example: np.ndarray, attempt: np.ndarray, outcome: dict[str, np.ndarray]) -> None:
        """Takes note of attempts that ended; an example's attempts may come in any order."""
        for name in self.attack.carries:
            self.carried.setdefault(name, np.zeros((len(self.broken), *outcome[name].shape[1:]), outcome[name].dtype))
        for i in np.lexsort((attempt, example)):
            e, a = example[i], attempt[i]
            self.steps[e, a] = outcome["step"][i]
            if self._beats(e, a, *(outcome[name][i] for name in ("broken", "distance", "strength"))):
                self.attempt[e] = a
                for name in ("found", "broken", "distance", "strength"):
                    getattr(self, name)[e] = outcome[name][i]
                for name, value in self.carried.items():
                    value[e] = outcome[name][i]

    def _beats(self, e: Any, a: Any, broken: Any, distance: Any, strength: Any) -> bool:
        if broken != self.broken[e]:
            return broken
        if broken and self.first:
            return a < self.attempt[e]
        mine, best = (-distance, -self.distance[e]) if broken else (strength, self.strength[e])
        return mine > best or mine == best and a < self.attempt[e]

    def pursued(self) -> Pursued:
        counted = (
            np.arange(self.steps.shape[1])[None]
            <= np.where(self.first & self.broken, self.attempt, self.steps.shape[1])[:, None]
        )
        steps = (self.steps * counted).sum(axis=1)
        return Pursued(
            self.found,
            self.broken,
            self.distance,
            self.attempt,
            steps * self.attack.forwards,
            steps * self.attack.backwards,
            self.carried,
        )
