"""The loop around every attack: a fixed number of places, each pursuing one attempt on one example.

An attempt that ends leaves its place to the next one in the queue. So rows that are broken early cost nothing more,
restarts and targets share a batch, and every program has one shape: three compilations an attack, however many
examples there are. The queue runs attempt by attempt: all examples meet the first one first, and what is broken meets
no later one.

No row looks at another, its random numbers are addressed by (key, example id, attempt, step), and the shape is fixed:
so its outcome depends neither on the other rows, nor on the order of the examples, nor on when it was admitted.

The loop runs on the host, some evaluations a look. On a CPU a loop inside of a program made gradients of convolutions
several times slower; on an accelerator the evaluations between two looks are one program, so that dispatch is hidden.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack._goal import Goal
from sensijax.attack._norm import choose
from sensijax.attack._victim import Victim
from sensijax.core.keys import GENERATOR, stage_words

if TYPE_CHECKING:
    from sensijax.attack._attack import Attack


@dataclasses.dataclass(frozen=True)
class Examples:
    """What is attacked, on the host.

    Attributes:
      x: float32 `[N, ...]`.
      y: int32 `[N]`.
      keys: uint32 `[N, 2]`, the raw key of each example.
    """

    x: np.ndarray
    y: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def take(self, index: np.ndarray) -> "Examples":
        return Examples(self.x[index], self.y[index], self.keys[index])

    def under(self, name: str) -> "Examples":
        """The same with the keys of one part of an attack: what it draws does not depend on the other parts."""
        high, low = stage_words(name)
        return dataclasses.replace(self, keys=np.asarray(_folded(jnp.asarray(self.keys), high, low)))


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

    def spread(self, index: np.ndarray, examples: Examples) -> "Pursued":
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


@dataclasses.dataclass(frozen=True)
class Loop:
    """How the loop runs.

    Attributes:
      width: places; every program has this many rows. The last bits of a model's outputs may depend on it.
      every: evaluations between two looks of the host at what is done.
      fused: whether those are one program.
    """

    width: int
    every: int
    fused: bool

    @classmethod
    def here(cls) -> "Loop":
        """What suits the default backend."""
        return cls(128, 4, False) if jax.default_backend() == "cpu" else cls(1024, 10, True)


def pursue(
    attack: "Attack",
    victim: Victim,
    examples: Examples,
    targets: np.ndarray,
    loop: Loop,
    *,
    first: bool | None = None,
    progress: Callable[[int, int], None] = lambda ended, total: None,
) -> Pursued:
    """Carries out all attempts of an attack on examples.

    Args:
      attack: its leaves are scalars, or one value an example `[N]`.
      victim: the model.
      examples: N of them.
      targets: int32 `[N, attempts]`, from `attack.targets`.
      loop: how.
      first: whether an example's first success ends it; unless given, where the attack is not `minimal`.
      progress: called with (attempts that ended or were struck, all attempts).

    Returns:
      The outcome of every example. Of attempts side by side the earliest that succeeds counts (`minimal`: the nearest),
      as if they had been made one after the other.
    """
    n, attempts = targets.shape
    leaves = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf, np.float32), (n,)), attack)
    book = _Book(attack, examples, attempts, (not attack.minimal) if first is None else first)
    place = np.full(loop.width, -1)  # the number of the attempt in each place
    waiting, rows, goal, state = 0, *[cast(Any, None)] * 3
    while True:
        admitted, vacant = [], np.flatnonzero(place < 0)
        while waiting < n * attempts and len(admitted) < len(vacant):
            if book.wants(*_address(waiting, n)):
                admitted.append(waiting)
            waiting += 1
        fresh = vacant[: len(admitted)]
        place[fresh] = admitted
        if (place < 0).all():
            progress(n * attempts, n * attempts)
            return book.pursued()
        if len(fresh):
            example, attempt = _address(np.maximum(place, 0), n)
            new_goal = Goal(
                x=jnp.asarray(examples.x[example]),
                y=jnp.asarray(examples.y[example]),
                target=jnp.asarray(targets[example, attempt]),
                key=_attempt_keys(jnp.asarray(examples.keys[example]), jnp.asarray(attempt.astype(np.uint32))),
            )
            new_rows = jax.tree.map(lambda leaf, example=example: jnp.asarray(leaf[example]), leaves)
            if state is None:
                rows, goal, state = new_rows, new_goal, _begin(new_rows, new_goal)
            entering = np.isin(np.arange(loop.width), fresh)
            rows, goal, state = _admit(
                jnp.asarray(entering), jnp.asarray(place < 0), new_rows, new_goal, rows, goal, state
            )
        state = _advance_some(loop, victim, rows, goal, state)
        ended = np.asarray(state.done) & (place >= 0)
        if ended.any():
            outcome = {name: np.asarray(getattr(state, name)) for name in (*_OUTCOME, *attack.carries)}
            book.enter(*_address(place[ended], n), {name: value[ended] for name, value in outcome.items()})
        place[ended] = -1
        place[(place >= 0) & ~book.wants(*_address(np.maximum(place, 0), n))] = -1  # overtaken by an earlier attempt
        progress(waiting - int((place >= 0).sum()), n * attempts)


_OUTCOME = ("found", "broken", "distance", "strength", "step")


def _address(number: Any, n: int) -> tuple[Any, Any]:
    """(example, attempt) of a number in the queue."""
    attempt, example = np.divmod(number, n)
    return example, attempt


class _Book:
    """The best outcome of every example so far, and what each attempt cost."""

    def __init__(self, attack: "Attack", examples: Examples, attempts: int, first: bool):
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


@jax.jit
def _folded(keys: jax.Array, high: jax.Array, low: jax.Array) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, high), low)

    return jax.random.key_data(jax.vmap(one)(jax.random.wrap_key_data(keys, impl=GENERATOR)))


@jax.jit
def _attempt_keys(keys: jax.Array, attempts: jax.Array) -> jax.Array:
    folded = jax.vmap(jax.random.fold_in)(jax.random.wrap_key_data(keys, impl=GENERATOR), attempts)
    return jax.random.key_data(folded)


@jax.jit
def _begin(attack: "Attack", goal: Goal) -> Any:
    return attack.begin(goal)


@jax.jit
def _admit(
    entering: jax.Array, vacant: jax.Array, new_rows: Any, new_goal: Any, rows: Any, goal: Any, state: Any
) -> Any:
    """Rows that enter start anew; places that stay vacant are frozen."""
    new = (new_rows, new_goal, new_rows.begin(new_goal))
    rows, goal, state = jax.tree.map(lambda a, b: choose(entering, a, b), new, (rows, goal, state))
    return rows, goal, dataclasses.replace(state, done=state.done | vacant)


def _advance(victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    after = attack.advance(victim, goal, state)
    step = state.step + 1
    done = after.done | (step >= attack.most_steps)
    done = done if attack.minimal else done | after.broken
    after = dataclasses.replace(after, step=step, done=done)
    return jax.tree.map(lambda a, b: choose(state.done, a, b), state, after)


_advance_once = jax.jit(_advance)


@functools.partial(jax.jit, static_argnums=0)
def _advance_fused(every: int, victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    return jax.lax.fori_loop(0, every, lambda _, state: _advance(victim, attack, goal, state), state)


def _advance_some(loop: Loop, victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    if loop.fused:
        return _advance_fused(loop.every, victim, attack, goal, state)
    for _ in range(loop.every):
        state = _advance_once(victim, attack, goal, state)
    return state
