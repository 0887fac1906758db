"""What a model does at its inputs that makes attacks on it say little."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack.flags._catalogue import flag
from sensijax.attack.flags._flag import Flag
from sensijax.attack.flags._probe import Bench

_SAME = 1e-4  # of the logits' spread: more is no rounding
_FEW = 0.1  # a share of rows below this says nothing
_TINY = float(np.finfo(np.float32).tiny)


def of_model(bench: Bench, step: float, rng: np.random.Generator) -> Iterator[Flag]:
    """Looks at the model around unperturbed inputs.

    Args:
      bench: rows that the model classifies as their label, where there are any.
      step: how far a step of the attack changes a value.
      rng: of noise and companions.
    """
    grey = (bench.high - bench.low) / np.float32(256)
    x = np.clip(bench.x, bench.low + 2 * grey, bench.high - 2 * grey)  # so that steps both ways stay in the box
    try:
        seen = bench.probe(x)
        logits = seen["logits"]
    except Exception:  # an operation without a derivative; the lint has said so
        bench.gradients, seen, logits = False, {}, bench.logits(x)
    yield from _outputs(bench, logits)
    yield from _function(bench, x, logits, rng)
    yield from _mark(bench, x, logits, grey, rng)
    if bench.gradients:
        yield from gradients(bench, seen, "around unperturbed inputs")
        yield from _derivative(bench, x, seen, grey, step)


def gradients(
    bench: Bench, seen: dict[str, np.ndarray], place: str, matters: np.ndarray | None = None
) -> Iterator[Flag]:
    """Gradients that are 0, not finite, or lost by the cross-entropy alone.

    Args:
      bench: the rows.
      seen: what `bench.probe` returned.
      place: where, in words.
      matters: bool `[W]`, rows where a wrong direction may have changed the verdict. There the cross-entropy's gradient
        must point where that of `odds` does; everywhere, it must not be below float32's smallest number.
    """
    plain, true = seen["cross_entropy"].reshape(len(bench.y), -1), seen["odds"].reshape(len(bench.y), -1)
    plain, true = plain.astype(np.float64), true.astype(np.float64)
    counts = np.asarray(np.isfinite(seen["logits"]).all(axis=1))
    total = bench.count(counts)
    if not total:
        return
    bad = np.asarray(counts & ~np.isfinite(true).all(axis=1))
    if n := bench.count(bad):
        yield flag(
            "nonfinite_gradient",
            f"{n} of {total} gradients {place} are not finite",
            {"share": n / total, "rows": total},
        )
    true = np.where(np.isfinite(true), true, 0)
    none = counts & ~bad & (np.abs(true).max(axis=1) <= _TINY)
    if (n := bench.count(none)) >= max(1, _FEW * total):
        yield flag("zero_gradient", f"{n} of {total} gradients {place} are 0", {"share": n / total, "rows": total})
    rest = counts & ~bad & ~none
    if not bench.count(rest):
        return
    # The cross-entropy's gradient is sigmoid(odds) times the true one, and parallel to it but for rounding.
    below = rest & (bench.odds(seen["logits"]) < np.log(_TINY))
    cosine = _cosine(np.nan_to_num(plain), true)
    astray = rest & (cosine < 0.9)
    n, m = bench.count(below), bench.count(astray if matters is None else astray & matters)
    if n >= max(1, _FEW * total) or matters is not None and m >= max(2, 0.05 * total):
        middle = float(np.median(cosine[: bench.m][rest[: bench.m]]))
        lead = float(np.median(-bench.margin(seen["logits"])[: bench.m][rest[: bench.m]]))
        yield flag(
            "saturated_loss",
            f"{place} the gradient of the cross-entropy is below float32's smallest number in {n} of {total} rows, and "
            f"what is computed points elsewhere than the logits say in {bench.count(astray)} (cosine {middle:.2f} in "
            f"the median); the label's logit leads by {lead:.3g}",
            {"share": n / total, "rows": total, "astray": bench.count(astray) / total, "cosine": middle, "lead": lead},
        )


def _outputs(bench: Bench, logits: np.ndarray) -> Iterator[Flag]:
    rows = logits[: bench.m]
    finite = np.isfinite(rows).all(axis=1)
    if finite.any():
        rows = rows[finite].astype(np.float64)
        if rows.min() >= 0 and rows.max() <= 1 and np.abs(rows.sum(axis=1) - 1).max() < 1e-3:
            yield flag("probabilities", f"all {len(rows)} outputs are >= 0 and sum to 1", {"rows": len(rows)})


def _function(bench: Bench, x: np.ndarray, logits: np.ndarray, rng: np.random.Generator) -> Iterator[Flag]:
    """Whether the outputs are a function of the example: asked again, elsewhere in the batch, among others."""

    def differ(again: np.ndarray, rows: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            change = np.abs(again - logits).max(axis=1)
            spread = (logits.max(axis=1) - logits.min(axis=1)) * _SAME + 1e-30
        return rows & np.isfinite(logits).all(axis=1) & ~(change <= spread)

    everywhere = np.ones(len(x), bool)
    again = differ(bench.logits(x), everywhere)
    if n := bench.count(again):
        yield flag("random", f"{n} of {bench.m} outputs are others when asked again", {"share": n / bench.m})
        return
    elsewhere = differ(np.roll(bench.logits(np.roll(x, 1, axis=0)), -1, axis=0), everywhere)
    other = x.copy()
    other[1::2] = rng.uniform(bench.low, bench.high, other[1::2].shape).astype(np.float32)
    even = np.arange(len(x)) % 2 == 0
    among = differ(bench.logits(other), even)
    if n := bench.count(among):
        yield flag(
            "batch_coupled",
            f"{n} of {bench.count(even)} outputs change when the other examples of the batch are replaced",
            {"share": n / bench.count(even)},
        )
    elif n := bench.count(elsewhere):
        yield flag(
            "place_in_batch", f"{n} of {bench.m} outputs change with the place in the batch", {"share": n / bench.m}
        )


def _mark(bench: Bench, x: np.ndarray, logits: np.ndarray, grey: Any, rng: np.random.Generator) -> Iterator[Flag]:
    noise = rng.uniform(-0.5, 0.5, x.shape).astype(np.float32) * grey
    raw, noisy = bench.wrong(bench.logits(bench.x)), bench.wrong(bench.logits(bench.clip(bench.x + noise)))
    lost = bench.count(~raw & noisy)
    if lost > max(1, _FEW * bench.m):
        yield flag(
            "hidden_mark",
            f"noise of half a grey level (1/512 of the box) turns {lost} of {bench.count(~raw)} correct predictions",
            {"share": lost / bench.count(~raw)},
        )


def _derivative(bench: Bench, x: np.ndarray, seen: dict[str, np.ndarray], grey: Any, step: float) -> Iterator[Flag]:
    """Whether the loss rises along the gradient as the derivative says: over a grey level, over the attack's step."""
    g = np.nan_to_num(seen["odds"])
    sign = np.sign(g)
    slope = np.abs(g.reshape(len(g), -1)).astype(np.float64).sum(axis=1)
    up, down = (bench.odds(bench.logits(x + s * grey * sign)) for s in (1, -1))
    here = bench.odds(seen["logits"])
    expected = 2 * float(grey) * slope
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (up - down) / expected
        # Where the logits' own rounding is larger than the change, nothing can be said.
        told = np.isfinite(ratio) & (expected > 1e-4 * (1 + np.abs(seen["logits"]).max(axis=1)))
    total = bench.count(told)
    wrong = told & ~((ratio > 0.5) & (ratio < 2))
    if bench.victim.draws == 0 and total and (n := bench.count(wrong)) >= max(2, 0.25 * total):
        middle = float(np.median(ratio[: bench.m][told[: bench.m]]))
        yield flag(
            "useless_gradient",
            f"over one grey level along the gradient the loss changes by {middle:.2f} times what the derivative says, "
            f"in the median; by less than half or more than twice in {n} of {total} rows",
            {"share": n / total, "rows": total, "ratio": middle},
        )
        return
    far = bench.odds(bench.logits(bench.clip(x + np.float32(max(step, float(grey))) * sign)))
    falls = told & ~(far > here)
    if total and (n := bench.count(falls)) >= max(2, 0.25 * total):
        yield flag(
            "rugged_loss",
            f"a step of {max(step, float(grey)):.3g} along the gradient lowers the loss in {n} of {total} rows",
            {"share": n / total, "rows": total},
        )


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (v / np.maximum(np.abs(v).max(axis=1, keepdims=True), np.finfo(np.float64).tiny) for v in (a, b))
    return (a * b).sum(axis=1) / np.maximum(np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)), 1e-300)


def leaks(arrays: list[Any], x: np.ndarray, y: np.ndarray) -> Iterator[Flag]:
    """Whether the model carries the examples that it is judged on, or their labels in their order.

    Args:
      arrays: the model's parameters and constants.
      x: `[N, ...]` the examples.
      y: `[N]` their labels.
    """
    rows = {row.tobytes() for row in x.reshape(len(x), -1) if row.min() < row.max()}  # a blank one may be anything
    d = x[0].size
    for leaf in arrays:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            continue
        array = np.asarray(leaf)
        if array.dtype == x.dtype and array.size >= d and array.size % d == 0:
            n = len(rows & {row.tobytes() for row in array.reshape(-1, d)})
            if n > max(1, 0.01 * len(x)):
                yield flag(
                    "label_leak",
                    f"{n} of {len(x)} evaluated inputs are in an array of the model, {array.dtype}{list(array.shape)}",
                    {"rows": n},
                )
        if len(y) >= 16 and len(np.unique(y)) > 1:
            labels = array
            if array.ndim == 2 and np.isin(array, (0, 1)).all() and (array.sum(axis=1) == 1).all():
                labels = array.argmax(axis=1)
            if labels.ndim == 1 and _holds(labels, y):
                yield flag(
                    "label_leak",
                    f"the labels of all {len(y)} examples are in an array of the model, "
                    f"{array.dtype}{list(array.shape)}",
                    {"rows": len(y)},
                )


def _holds(array: np.ndarray, y: np.ndarray) -> bool:
    """Whether `y` lies somewhere in an array, in its order."""
    starts = np.arange(max(0, len(array) - len(y) + 1))
    for i, label in enumerate(y[:64]):
        starts = starts[array[starts + i] == label]
    return any((array[start : start + len(y)] == y).all() for start in starts[:1000])
