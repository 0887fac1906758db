"""What a scenario is at every component of a model: how far it moves, how that grows, what is left of the classes."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from sensijax.core import ArgumentError, Model
from sensijax.sensitivity import captured
from sensijax.sensitivity.derivatives._gains import components_of, gains_between

COLUMNS = [
    "scenario",
    "component",
    "relative_change",
    "gain",
    "gain_low",
    "gain_high",
    "step",
    "step_low",
    "step_high",
    "cka",
    "separability_clean",
    "separability",
    "n",
]
MEASURED = COLUMNS[2:10]  # what a scenario that moves no input has none of


class Shown(NamedTuple):
    """What a scenario comes to, on some examples.

    Attributes:
      scenario: its name.
      x: `[N, ...]`, what the model is shown. Scenarios that show it the same share the array.
      observed: `[N]`, what the examples are called.
      weight: `[N]`, how much each counts.
    """

    scenario: str
    x: np.ndarray
    observed: np.ndarray
    weight: np.ndarray


def examples_that_fit(model: Model, x: np.ndarray, most_bytes: int) -> int:
    """For how many examples all components together take at most so many bytes.

    Raises:
      ArgumentError: if the model's components cannot be told; others raise what tracing the model raises.
    """
    found = components_of(model, jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype))
    each = x[0].nbytes + sum(math.prod(shape.shape) * shape.dtype.itemsize // 2 for shape in found.values())
    return most_bytes // max(1, each)


def inside(model: Model, clean: np.ndarray, y: np.ndarray, shown: Iterable[Shown], resamples: int) -> pd.DataFrame:
    """The table of `propagation`, for inputs that are there already.

    Args:
      model: whose components are looked at.
      clean: `[N, ...]`.
      y: integers `[N]`, the data's labels.
      shown: what the scenarios come to, on the same examples.
      resamples: of the examples.

    Raises:
      ArgumentError: if the model shows no component.
    """
    names = list(components_of(model, jax.ShapeDtypeStruct(clean.shape, clean.dtype)))
    if not names:
        right = "values named by `sensijax.sensitivity.tap`, a Flax module, or convolutions and matrix products"
        raise ArgumentError("model", "no component that can be told apart", right)
    run, plain = jax.jit(lambda x: captured(model, x)), np.ones(len(y))

    def look(x: np.ndarray) -> dict[str, Any]:
        out, seen = run(jnp.asarray(x))
        return {"input": x, **{name: seen[name] for name in names}, "output": out}

    before = look(clean)
    apart = {name: separability(value, y, plain) for name, value in _flat(before).items()}
    rows, last = [], None
    for scenario, x, observed, weight in shown:
        if last is None or last[0] is not x:  # one at a time is in memory
            seen = look(x)
            last = x, _flat(seen), _gains(before, seen, resamples)
        _, after, gains = last
        for component in apart:
            measured = gains.loc[component] if component in gains.index else dict.fromkeys(MEASURED, math.nan)
            left = separability(after[component], observed, weight)
            row = [float(measured[column]) for column in MEASURED]
            rows.append((scenario, component, *row, apart[component], left, len(y)))
    return pd.DataFrame(rows, columns=COLUMNS)


def _gains(before: Mapping[str, Any], after: Mapping[str, Any], resamples: int) -> pd.DataFrame:
    """Gains by component; nothing where no input moves."""
    if np.array_equal(before["input"], after["input"], equal_nan=True):
        return pd.DataFrame(columns=MEASURED, dtype=float)
    pairs = {name: (before[name], after[name]) for name in before}
    return gains_between(pairs, resamples=resamples).frame().set_index("component")


def _flat(components: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Components with the batch axis first, each `[N, D]`."""
    n = len(components["input"])
    return {
        name: np.asarray(value, np.float64).reshape(n, -1)
        for name, value in components.items()
        if value.ndim and value.shape[0] == n
    }


def separability(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """Fisher's ratio: the variance between classes over the variance within them, summed over features.

    Args:
      features: float64 `[N, D]`; rows that are not finite are left out.
      labels: integers `[N]`.
      weights: `[N]`, 0 or more.

    Returns:
      The ratio, 0 or more; infinite where classes have no variance within, NaN where fewer than two classes are left.

    Example:
      >>> float(separability(np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1]), np.ones(4)))
      25.0
    """
    sound = np.isfinite(features).all(axis=1) & (weights > 0)
    features, labels, weights = features[sound], labels[sound], weights[sound]
    classes = np.unique(labels)
    if len(classes) < 2:
        return float("nan")
    centre = np.average(features, axis=0, weights=weights)
    between = within = 0.0
    for k in classes:
        own, w = features[labels == k], weights[labels == k]
        mean = np.average(own, axis=0, weights=w)
        between += w.sum() * float(np.square(mean - centre).sum())
        within += float((w[:, None] * np.square(own - mean)).sum())
    return between / within if within else float("inf")
