"""The loop around every attack: a fixed number of places, each pursuing one attempt on one example.

An attempt that ends leaves its place to the next one in the queue. So rows that are broken early cost nothing more,
restarts and targets share a batch, and every program has one shape: two compilations an attack, however many
examples there are. The queue runs attempt by attempt: all examples meet the first one first, and what is broken meets
no later one.

No row looks at another, its random numbers are addressed by (key, example id, attempt, step), and the shape is fixed:
so its outcome depends neither on the other rows, nor on the order of the examples, nor on when it was admitted.

The loop runs on the host, some evaluations a look. On a CPU a loop inside of a program made gradients of convolutions
several times slower; on an accelerator the evaluations between two looks are one program, so that dispatch is hidden.
Several pools of places take from one queue, each driven by a thread of its own: on a CPU one for each core, on an
accelerator so that one pool computes while the host looks at another.
"""

import dataclasses
import functools
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack._book import Book as Book
from sensijax.attack._book import Pursued as Pursued
from sensijax.attack._goal import Goal
from sensijax.attack._norm import choose
from sensijax.attack._victim import Victim
from sensijax.core import Layout, Place, chunks
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
        return dataclasses.replace(self, keys=folded(self.keys, stage_words(name)))


@dataclasses.dataclass(frozen=True)
class Loop:
    """How the loop runs.

    Attributes:
      width: places in a pool; every program has this many rows, of which each device of a mesh has its share. The last
        bits of a model's outputs may depend on the share's width.
      every: evaluations between two looks of the host at what is done.
      fused: whether those are one program.
      pools: at most how many pools there are; no outcome depends on it.
      layout: where the places lie.
    """

    width: int
    every: int
    fused: bool
    pools: int = 1
    layout: Layout = Layout()

    @classmethod
    def here(cls) -> "Loop":
        """What suits the default backend."""
        return cls(32, 8, False, _cores()) if jax.default_backend() == "cpu" else cls(1024, 10, True, 2)

    def on(self, layout: Layout, most: int) -> "Loop":
        """The same on a mesh: each device has as many places as one device here, at most so many.

        A CPU's devices share its cores. Programs that devices work on together must reach all of them in one order, so
        a split model has one pool.
        """
        width = min(self.width, most) * layout.shares
        pools = 1 if layout.split else self.pools if self.fused else -(-self.pools // layout.shares)
        return dataclasses.replace(self, width=width, pools=pools, layout=layout)


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
      progress: called with (attempts that ended or were struck, all attempts), by one thread at a time.

    Returns:
      The outcome of every example. Of attempts side by side the earliest that succeeds counts (`minimal`: the nearest),
      as if they had been made one after the other.
    """
    victim = victim.on(loop.layout)
    desk = Desk(attack, examples, targets, (not attack.minimal) if first is None else first, progress)
    pools = [fill_places(victim, desk, loop) for _ in range(max(1, min(loop.pools, -(-targets.size // loop.width))))]
    next(pools[0], None)  # alone, so that nothing is compiled twice
    if len(pools) == 1:
        desk.drain(pools[0])
    else:
        with ThreadPoolExecutor(len(pools)) as executor:
            try:
                for drained in [executor.submit(desk.drain, pool) for pool in pools]:
                    drained.result()
            finally:
                desk.closed = True
    progress(targets.size, targets.size)
    return desk.book.pursued()


def folded(keys: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Raw keys with two words folded into each: uint32 `[N, 2]` and `[N, 2]` or `[2]`. One program for any N."""
    words = np.broadcast_to(words, keys.shape)
    parts = [np.asarray(_folded(keys[c.rows], words[c.rows]))[: c.valid] for c in chunks(len(keys), _FOLDED)]
    return np.concatenate(parts) if parts else keys


_OUTCOME = ("found", "broken", "distance", "strength", "step")
_FOLDED = 1024


class Desk:
    """The queue of attempts and the book of what came of them; pools take from it and enter into it."""

    def __init__(self, attack: "Attack", examples: Examples, targets: np.ndarray, first: bool, progress: Any):
        self.attack, self.examples, self.targets, self.progress = attack, examples, targets, progress
        self.n, self.attempts = targets.shape
        self.leaves = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf, np.float32), (self.n,)), attack)
        self.book = Book(attack, examples, self.attempts, first)
        self.waiting = self.ended = 0
        self.closed = False
        self.lock = threading.Lock()

    def address(self, number: Any) -> tuple[Any, Any]:
        """(example, attempt) of a number in the queue."""
        attempt, example = np.divmod(number, max(self.n, 1))
        return example, attempt

    def wanted(self, place: np.ndarray) -> np.ndarray:
        """Which places hold an attempt that no earlier one has overtaken."""
        return (place >= 0) & self.book.wants(*self.address(np.maximum(place, 0)))

    def take(self, vacant: int) -> list[int]:
        """The next attempts that can still matter, at most so many."""
        taken = []
        while not self.closed and self.waiting < self.n * self.attempts and len(taken) < vacant:
            if self.book.wants(*self.address(self.waiting)):
                taken.append(self.waiting)
            else:
                self.ended += 1
            self.waiting += 1
        return taken

    def rows(self, place: np.ndarray) -> tuple[Any, ...]:
        """What the places hold: the attack's leaves, x, y, target, the example's raw key, attempt; `[width, ...]`."""
        example, attempt = self.address(np.maximum(place, 0))
        leaves = jax.tree.map(lambda leaf: leaf[example], self.leaves)
        examples = self.examples.take(example)
        return leaves, examples.x, examples.y, self.targets[example, attempt], examples.keys, attempt.astype(np.int32)

    def drain(self, pool: Iterator[Any]) -> None:
        """Goes on with a pool to its end, and ends the others if it fails."""
        try:
            for _ in pool:
                pass
        except BaseException:
            self.closed = True
            raise


def fill_places(victim: Victim, desk: Desk, loop: Loop) -> Iterator[Any]:
    """Fills places and advances them, again and again; comes up after every look, with the state of the places."""
    place = np.full(loop.width, -1)  # the number of the attempt in each place
    held: Any = None
    while True:
        with desk.lock:
            vacant = np.flatnonzero(place < 0)
            taken = desk.take(len(vacant))
        entering = np.zeros(loop.width, bool)
        place[vacant[: len(taken)]] = taken
        entering[vacant[: len(taken)]] = True
        if desk.closed or (place < 0).all():
            return
        if len(taken):
            new = desk.rows(place)
            held = loop.layout.deal(_nothing(new)) if held is None else held
            held = _admit(loop.layout, *loop.layout.deal((entering, place < 0, new)), held)
        held = (*held[:2], _advance_some(loop, victim, *held))
        state = held[2]
        ended = np.asarray(state.done) & (place >= 0)
        outcome = {}
        if ended.any():
            outcome = {name: np.asarray(getattr(state, name))[ended] for name in (*_OUTCOME, *desk.attack.carries)}
        with desk.lock:
            if outcome:
                desk.book.enter(*desk.address(place[ended]), outcome)
            leaving = (place >= 0) & (ended | ~desk.wanted(place))
            place[leaving] = -1
            desk.ended += int(leaving.sum())
            desk.progress(desk.ended, desk.n * desk.attempts)
        yield state


@jax.jit
def _folded(keys: jax.Array, words: jax.Array) -> jax.Array:
    def one(key: jax.Array, words: jax.Array) -> jax.Array:
        return jax.random.fold_in(jax.random.fold_in(key, words[0]), words[1])

    return jax.random.key_data(jax.vmap(one)(jax.random.wrap_key_data(keys, impl=GENERATOR), words))


def _start(new: tuple[Any, ...]) -> tuple[Any, Goal, Any]:
    """The attack, the goal and the first state of rows."""
    attack, x, y, target, keys, attempt = new
    typed = jax.random.wrap_key_data(keys, impl=GENERATOR)
    key = jax.random.key_data(jax.vmap(jax.random.fold_in)(typed, attempt.astype(jnp.uint32)))
    goal = Goal(x=x, y=y, target=target, key=key, attempt=attempt)
    return attack, goal, attack.begin(goal)


_started = jax.jit(_start)  # remembers its shapes: `jax.eval_shape` would trace it anew for every batch


def _nothing(new: tuple[Any, ...]) -> Any:
    """Rows that hold nothing yet."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _started.eval_shape(new))


@functools.partial(jax.jit, static_argnums=0)
def _admit(
    layout: Layout, entering: jax.Array, vacant: jax.Array, new: tuple[Any, ...], held: tuple[Any, Goal, Any]
) -> Any:
    """Rows that enter start anew; places that stay vacant are frozen."""

    def admit(entering: jax.Array, vacant: jax.Array, new: tuple[Any, ...], held: tuple[Any, Goal, Any]) -> Any:
        attack, goal, state = jax.tree.map(lambda a, b: choose(entering, a, b), _start(new), held)
        return attack, goal, dataclasses.replace(state, done=state.done | vacant)

    return layout.spread(admit, *[Place.ROWS] * 4)(entering, vacant, new, held)


def _advance(victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    after = attack.advance(victim, goal, state)
    step = state.step + 1
    done = after.done | (step >= attack.most_steps)
    done = done if attack.minimal else done | after.broken
    after = dataclasses.replace(after, step=step, done=done)
    return jax.tree.map(lambda a, b: choose(state.done, a, b), state, after)


_ADVANCED = (Place.PARAMS, Place.ROWS, Place.ROWS, Place.ROWS)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance_unrolled(times: int, layout: Layout, victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    def unrolled(victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
        for _ in range(times):
            state = _advance(victim, attack, goal, state)
        return state

    return layout.spread(unrolled, *_ADVANCED)(victim, attack, goal, state)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance_fused(every: int, layout: Layout, victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    def fused(victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
        return jax.lax.fori_loop(0, every, lambda _, state: _advance(victim, attack, goal, state), state)

    return layout.spread(fused, *_ADVANCED)(victim, attack, goal, state)


def _advance_some(loop: Loop, victim: Victim, attack: "Attack", goal: Goal, state: Any) -> Any:
    if loop.fused:
        return _advance_fused(loop.every, loop.layout, victim, attack, goal, state)
    # Of thousands of steps each costs little beside its dispatch: some of them go into one program. Of a hundred it
    # would not make up for the time to compile it.
    times = math.gcd(loop.every, 4) if attack.most_steps >= 1000 else 1
    for _ in range(loop.every // times):
        state = _advance_unrolled(times, loop.layout, victim, attack, goal, state)
    return state


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
