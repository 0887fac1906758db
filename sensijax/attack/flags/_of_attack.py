"""What is found on the survivors of an attack that it should have found itself."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sensijax.attack._victim import Victim
from sensijax.attack.flags._catalogue import flag
from sensijax.attack.flags._flag import Flag
from sensijax.attack.flags._of_model import gradients
from sensijax.attack.flags._probe import Ball, Bench, odds
from sensijax.attack.flags._straight import straight_through

_FEW = 0.02
_SIGNS = np.array([-1, 1], np.float32)


def enough(n: int, total: int) -> bool:
    """Whether so many of a sample are no accident of a weak attack's last steps: 2, and 2 %; of fewer than 20, one."""
    return n >= (2 if total >= 20 else 1) and n >= _FEW * total


class Kind(NamedTuple):
    """What is known of an attack: whether it follows the cross-entropy alone, whether it looks for the nearest."""

    plain: bool
    minimal: bool


def of_attack(
    bench: Bench, ball: Ball, strongest: np.ndarray, kind: Kind, queries: int, rng: np.random.Generator
) -> Iterator[Flag]:
    """Tries on survivors what their attack should not have missed.

    Args:
      bench: survivors.
      ball: their budgets.
      strongest: `[W, ...]` the attack's strongest attempts on them, in the ball.
      kind: of attack. One that looks for the nearest adversarial example does not raise the loss as far as it goes.
      queries: of the black-box search.
      rng: of the black-box search.
    """
    m = bench.m
    clean = bench.logits(bench.x)
    yield from _nearer(bench, strongest)
    start = bench.odds(clean)
    if bench.gradients:
        seen = bench.probe(strongest)
        reachable = ball.rise(seen["odds"]) >= -bench.odds(seen["logits"])
        yield from gradients(bench, seen, "where the attack ended", reachable)
        reached = bench.odds(seen["logits"])
        idle = ~(reached > start + 1e-6 * (1 + np.abs(start)))
        if not kind.minimal and enough(n := bench.count(idle), m) and n >= 0.5 * m:
            yield flag(
                "no_progress",
                f"on {n} of {m} survivors the attack's strongest attempt has no higher loss than the example itself",
                {"share": n / m, "rows": m},
            )
        yield from _further(bench, ball, strongest, seen, start, reachable & ~np.bool_(kind.minimal))
        yield from _unbounded(bench, kind.plain)
    broken = search(bench, ball, clean, queries, rng)
    if enough(n := bench.count(broken), m):
        yield flag(
            "blackbox_wins",
            f"a black-box search of {queries} queries breaks {n} of {m} survivors",
            {"share": n / m, "rows": m, "queries": queries},
        )


def of_twin(bench: Bench, ball: Ball) -> Iterator[Flag]:
    """Follows the gradient of the model's straight-through twin on survivors; the model itself is the judge.

    Args:
      bench: survivors.
      ball: their budgets.
    """
    if straight_through(bench.victim, jax.ShapeDtypeStruct(bench.x.shape, bench.x.dtype)) is None:
        return
    y = jnp.asarray(bench.y)

    def gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(_twins_slope(bench.victim, jnp.asarray(x), y)), bench.logits(x)

    steps = 12
    broken, _ = descend(bench, ball, bench.x, steps, gradient)
    if enough(n := bench.count(broken), bench.m):
        yield flag(
            "bpda_wins",
            f"{steps} steps along a straight-through gradient (BPDA) break {n} of {bench.m} survivors",
            {"share": n / bench.m, "rows": bench.m},
        )


@jax.jit
def _twins_slope(victim: Victim, x: Array, y: Array) -> Array:
    twin = straight_through(victim, jax.ShapeDtypeStruct(x.shape, x.dtype))
    assert twin is not None
    return jax.grad(lambda x: jnp.sum(odds(twin(victim, x), y, y)))(x)


def descend(bench: Bench, ball: Ball, x: np.ndarray, steps: int, gradient: Any) -> tuple[np.ndarray, np.ndarray]:
    """Steps from `x` along a gradient, of a third of the budget and then less; which rows broke, the best `odds`."""
    broken, best = np.zeros(len(x), bool), np.full(len(x), -np.inf)
    for i in range(steps):
        g, logits = gradient(x)
        broken |= bench.wrong(logits)
        best = np.fmax(best, bench.odds(logits))
        x = ball.step(x, g, 0.35 * 0.75**i)
    logits = bench.logits(x)
    return broken | bench.wrong(logits), np.fmax(best, bench.odds(logits))


def _further(
    bench: Bench, ball: Ball, strongest: np.ndarray, seen: dict[str, np.ndarray], start: np.ndarray, near: np.ndarray
) -> Iterator[Flag]:
    """Eight more steps along the gradient of a loss that does not saturate; rows count that are `near` breaking."""
    m, steps = bench.m, 8

    def gradient(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probe = bench.probe(x)
        return probe["odds"], probe["logits"]

    broken, best = descend(bench, ball, strongest, steps, gradient)
    reached = bench.odds(seen["logits"])
    with np.errstate(invalid="ignore", divide="ignore"):
        gain = np.nan_to_num((best - reached)[:m] / np.maximum((best - start)[:m], 1e-12))
    few = max(3, 0.05 * m)
    middle = float(np.median(gain[near[:m]])) if bench.count(near) >= few else 0.0
    n = bench.count(broken)
    if n >= few or middle > 0.25:
        yield flag(
            "still_rising",
            f"{steps} more steps from where the attack ended break {n} of {m} survivors, and make "
            f"{100 * middle:.0f} % of the whole rise of the loss, in the median of those that are near breaking",
            {"broken": n / m, "rise": middle, "rows": m},
        )


def _nearer(bench: Bench, strongest: np.ndarray) -> Iterator[Flag]:
    """Whether something on the straight line to the strongest attempt, which is nearer, is adversarial."""
    m = bench.m
    found = np.zeros(len(strongest), bool)
    for share in (0.5, 0.75, 1.0):
        found |= bench.wrong(bench.logits(bench.x + np.float32(share) * (strongest - bench.x)))
    if enough(n := bench.count(found), m):
        yield flag(
            "not_monotone",
            f"{n} of {m} survivors are misclassified on the straight line to the attack's strongest attempt",
            {"share": n / m, "rows": m},
        )


def _unbounded(bench: Bench, plain_loss: bool) -> Iterator[Flag]:
    """Sign steps of an eighth of the box, with no ball around."""
    x, broken, steps = bench.x, np.zeros(len(bench.x), bool), 12
    for _ in range(steps):
        probe = bench.probe(x)
        broken |= bench.wrong(probe["logits"])
        g = np.nan_to_num(probe["cross_entropy" if plain_loss else "odds"])
        x = bench.clip(x + (bench.high - bench.low) / np.float32(8) * np.sign(g))
    broken |= bench.wrong(bench.logits(x))
    n = bench.m - bench.count(broken)
    if enough(n, bench.m) and n > 0.1 * bench.m:
        yield flag(
            "unbounded_survivors",
            f"with no budget but the box, {steps} steps along the gradient leave {n} of {bench.m} survivors unbroken",
            {"share": n / bench.m, "rows": bench.m},
        )


def search(bench: Bench, ball: Ball, clean: np.ndarray, queries: int, rng: np.random.Generator) -> np.ndarray:
    """Random search by squares, each row for itself: stripes, then squares of the budget's full height.

    A short relative of Square (Andriushchenko, Croce, Flammarion and Hein, ECCV 2020), for any norm that projects: a
    proposal is kept where it raises the margin.

    Returns:
      bool `[W]`: misclassified.
    """
    rows, shape = len(bench.x), bench.x.shape[1:]
    eps = ball.eps.reshape((rows,) + (1,) * len(shape))
    # In L2 and L1 squares are drawn higher than the budget, and the projection makes them fit.
    high = eps if str(ball.norm) == "linf" else np.broadcast_to(bench.high - bench.low, eps.shape)
    stripes = rng.choice(_SIGNS, (rows, 1, *shape[1:]) if len(shape) > 1 else (rows, *shape))
    x = ball.project(bench.clip(bench.x + high * stripes))
    best = bench.margin(clean)
    current, broken = bench.x.copy(), np.zeros(rows, bool)
    for i in range(queries):
        logits = bench.logits(x)
        margin = bench.margin(logits)
        broken |= bench.wrong(logits)
        kept = margin >= best
        current[kept], best = x[kept], np.where(kept, margin, best)
        share = 0.5 * 0.5 ** (4 * i / max(1, queries))
        x = ball.project(bench.clip(_squares(current, bench.x, high, share, rng)))
    return broken


def _squares(x: np.ndarray, origin: np.ndarray, high: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A square of each row set to the budget above or below the original; without two axes, some values."""
    rows, shape = len(x), x.shape[1:]
    if len(shape) < 2:
        chosen = rng.random(x.shape) < share
        sign = rng.choice(_SIGNS, x.shape)
        return np.where(chosen, origin + high * sign, x)
    side = [max(1, round(np.sqrt(share) * n)) for n in shape[:2]]
    at = [rng.integers(0, n - s + 1, rows) for n, s in zip(shape, side, strict=False)]
    inside = np.ones((rows, *shape[:2]), bool)
    for axis, (n, s, first) in enumerate(zip(shape, side, at, strict=False)):
        place = np.arange(n)[None] - first[:, None]
        hit = (place >= 0) & (place < s)
        inside &= hit[:, :, None] if axis == 0 else hit[:, None, :]
    inside = inside.reshape(inside.shape + (1,) * (len(shape) - 2))
    sign = rng.choice(_SIGNS, (rows, 1, 1, *shape[2:]))
    return np.where(inside, origin + high * sign, x).astype(np.float32)
