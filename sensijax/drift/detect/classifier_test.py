"""The classifier two-sample test: whether a classifier can tell rows of the sample from rows of the reference."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.drift.detect._cells import labels
from sensijax.drift.detect._detection import Detection
from sensijax.drift.detect._door import two_samples
from sensijax.drift.detect._drawn import run
from sensijax.drift.detect._quadratic import PRECISION, prepared

LEAST = 16
"""Rows in either sample: with fewer, cells leave too few labelings, and folds too few rows."""

_SLACK = 1e-6

Learner = Callable[[Array, Array, Array, Array], Array]
"""`(key, x [n, d], labels [n, B] of 0 and 1, z [t, d]) -> scores [t, B]`, a column for each column of labels; pure."""


@dataclasses.dataclass(frozen=True)
class Logistic:
    """Logistic regression, for all labelings at once.

    The step is Newton's with the Hessian's bound (1/4) X'X + l2 I in place of the Hessian: one Cholesky factor serves
    all labelings, and near the null, where probabilities are near 1/2, the bound is nearly the Hessian itself.

    Attributes:
      l2: weight of the squared coefficients, above 0; the inputs have unit variance.
      steps: of the iteration. The test is exact for any number.

    Reference:
      Böhning and Lindsay, "Monotonicity of quadratic-approximation algorithms", Annals of the Institute of Statistical
      Mathematics 40 (1988).

    Example:
      >>> x = jnp.array([[-1.0], [1.0]])
      >>> bool(jax.jit(Logistic())(jax.random.key(0), x, jnp.array([[0.0], [1.0]]), x)[1, 0] > 0)
      True
    """

    l2: float = 1.0
    steps: int = 10

    def __call__(
        self, key: Array, x: Float[Array, "n d"], y: Float[Array, "n b"], z: Float[Array, "t d"]
    ) -> Float[Array, "t b"]:
        """Scores of `z`, higher for what looks like label 1. The key is not used."""
        d = x.shape[1]
        bound = jnp.matmul(x.T, x, precision=PRECISION) / 4 + self.l2 * jnp.eye(d, dtype=x.dtype)
        factor = jax.scipy.linalg.cho_factor(bound)
        prior = jnp.log(jnp.mean(y, axis=0) / (1 - jnp.mean(y, axis=0)))[None]

        def step(_: Array, w: Array) -> Array:
            gradient = x.T @ (y - jax.nn.sigmoid(x @ w + prior)) - self.l2 * w
            return w + jax.scipy.linalg.cho_solve(factor, gradient)

        return z @ jax.lax.fori_loop(0, self.steps, step, jnp.zeros((d, y.shape[1]), x.dtype))


@dataclasses.dataclass(frozen=True)
class MLP:
    """A network with one hidden layer, trained by Adam on all rows at once.

    Trained anew for each column of labels: with `classifier(..., refit=False)` that is one training.

    Attributes:
      hidden: units.
      steps: of Adam.
      rate: its learning rate.
      decay: weight decay.

    Example:
      >>> x = jnp.array([[-1.0], [1.0]])
      >>> bool(jax.jit(MLP(steps=50))(jax.random.key(0), x, jnp.array([[0.0], [1.0]]), x)[1, 0] > 0)
      True
    """

    hidden: int = 32
    steps: int = 200
    rate: float = 1e-2
    decay: float = 1e-2

    def __call__(
        self, key: Array, x: Float[Array, "n d"], y: Float[Array, "n b"], z: Float[Array, "t d"]
    ) -> Float[Array, "t b"]:
        """Scores of `z`, higher for what looks like label 1."""
        first, second = jax.random.split(key)
        d = x.shape[1]
        start = {
            "a": jax.random.normal(first, (d, self.hidden), x.dtype) / np.sqrt(d).astype(np.float32),
            "b": jnp.zeros(self.hidden, x.dtype),
            "c": jax.random.normal(second, (self.hidden,), x.dtype) / np.sqrt(self.hidden).astype(np.float32),
        }
        optimizer = optax.adamw(self.rate, weight_decay=self.decay)

        def score(w: dict, rows: Array) -> Array:
            return jax.nn.relu(rows @ w["a"] + w["b"][None]) @ w["c"]

        def one(target: Array) -> Array:
            prior = jnp.log(jnp.mean(target) / (1 - jnp.mean(target)))

            def loss(w: dict) -> Array:
                return jnp.mean(optax.sigmoid_binary_cross_entropy(score(w, x) + prior, target))

            def step(_: Array, state: tuple) -> tuple:
                w, moments = state
                gradient = jax.grad(loss)(w)
                with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
                    updates, moments = optimizer.update(gradient, moments, w)
                return optax.apply_updates(w, updates), moments

            w, _ = jax.lax.fori_loop(0, self.steps, step, (start, optimizer.init(start)))
            return score(w, z)

        return jax.lax.map(one, y.T).T


def classifier(
    reference: Any,
    sample: Any,
    *,
    key: Any,
    learner: Learner = Logistic(),  # noqa: B008  (frozen)
    folds: int = 5,
    refit: bool = True,
    permutations: int = 200,
    alpha: float = 0.05,
) -> Detection:
    """Permutation test by the area under the ROC curve of a classifier of reference against sample, on held-out rows.

    The rows are put into folds that have both sides in the same proportion. Each fold is scored by a classifier
    trained on the others, and labels are permuted within folds. With `refit` all of this is done again for every
    permutation: the p-value is exact although the folds share their training rows, for which the binomial
    distribution of the accuracy is not right. Without, one classifier is trained on all folds but the first, and only
    the first is judged: exact too, for a learner that is too slow to train B times; take two folds then.

    Args:
      reference: real numbers `[n]` or `[n, d]`, n >= 16.
      sample: `[m]` or `[m, d]`, m >= 16.
      key: a typed key; the verdict is a function of it and the samples.
      learner: `Logistic()`, which sees what a linear score can, `MLP()`, or any `Learner`. Its inputs are scaled to
        unit variance over the pooled sample. Hashable: programs are compiled for it.
      folds: K in 2 .. min(n, m) / 4.
      refit: whether every permutation trains anew.
      permutations: B.
      alpha: the level, in (0, 1).

    Returns:
      The verdict; `statistic` is the area, averaged over the folds that are judged; about 1/2 without drift.

    Raises:
      ArgumentError: if an argument is not as above, or there are NaN or infinities.

    Reference:
      Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017. Kim, Ramdas, Singh and Wasserman,
      "Classification accuracy as a proxy for two-sample testing", Annals of Statistics 49 (2021).

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> classifier(x, x + 1, key=jax.random.key(1)).drift
      True
    """
    rows = min(map(len, two_samples(reference, sample)))
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or not 2 <= folds <= max(rows, LEAST) // 4:
        raise ArgumentError(
            "folds", repr(folds), f"an integer from 2 to {max(rows, LEAST) // 4}, a quarter of the rows"
        )
    if not callable(learner):
        raise ArgumentError("learner", repr(learner), "Logistic(), MLP(), or a function (key, x, labels, z) -> scores")
    return run(
        "classifier", _classifier, reference, sample, key, permutations, alpha,
        least=LEAST, learner=learner, folds=int(folds), refit=bool(refit),
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames=("permutations", "learner", "folds", "refit"))
def _classifier(
    key: Array, x: Array, y: Array, permutations: int, learner: Learner, folds: int, refit: bool
) -> tuple[Array, Any, Array]:
    x, y = prepared(key, x, y)
    n, m = len(x), len(y)
    z = jnp.concatenate([x, y])
    spread = jnp.sqrt(jnp.mean(z * z, axis=0))
    z = z / jnp.where(spread > 0, spread, 1)[None]
    a = labels(key, n, m, permutations)
    # Whole cells go to one fold, so that a fold has as many rows of the sample under every labeling.
    cell = np.concatenate([np.arange(n), np.arange(m)]) % min(n, m)
    key = jax.random.fold_in(key, 0x636C6173)
    areas = []
    for fold in range(folds if refit else 1):
        held = cell % folds == fold
        trained = a[~held] if refit else a[~held, :1]
        score = learner(key, z[~held], trained, z[held])
        areas.append(area_under_curve(jnp.broadcast_to(score, (int(held.sum()), a.shape[1])), a[held]))
    return sum(areas[1:], areas[0]) / len(areas), _SLACK, jnp.all(spread == 0)


def area_under_curve(score: Float[Array, "t b"], label: Float[Array, "t b"]) -> Float[Array, "b"]:
    """The chance that a row of label 1 has the higher score than one of label 0, ties counting half; by column."""

    def column(s: Array, y: Array) -> Array:
        ordered = jnp.sort(s)
        low, high = (jnp.searchsorted(ordered, s, side=side).astype(jnp.float32) for side in ("left", "right"))
        ones = jnp.sum(y)
        zeros = len(y) - ones
        # Midranks around their mean, so that float32 keeps their sum.
        rank = (low + high - len(y)) / 2
        return 0.5 + jnp.sum(rank * y) / (ones * zeros)

    return jax.vmap(column, in_axes=1)(score, label)
