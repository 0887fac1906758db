"""How near an example is to the boundary between its class and the next, by distances to the classes' centroids."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import struct
from sensijax.label._validate import check_labels, flat_examples
from sensijax.label.instance_dependent import standardisation


@struct
class Margin:
    """The margin (d' - d) / (d' + d), with d and d' the distances to the own and the nearest other class's centroid.

    It is in [-1, 1]: 1 at the own centroid, 0 on the boundary, negative beyond it. Features are standardised.

    Attributes:
      centre: float32 `[D]`, the features' means.
      scale: float32 `[D]`, 1 / their standard deviations, 0 for a constant one.
      centroids: float32 `[K, D]`, of standardised features.
    """

    centre: Float[Array, "d"]
    scale: Float[Array, "d"]
    centroids: Float[Array, "k d"]

    def __call__(self, x: Array, y: Array) -> tuple[Float[Array, "n"], Int32[Array, "n"]]:
        """Margins, and which other class is nearest; pure.

        Args:
          x: float32 `[N, D]`.
          y: int32 `[N]`, true classes.

        Returns:
          float32 `[N]`; int32 `[N]`. Each example is looked at alone: no sum depends on the batch.
        """
        centre, scale, centroids = jnp.asarray(self.centre), jnp.asarray(self.scale), jnp.asarray(self.centroids)

        def one(row: tuple[Array, Array]) -> tuple[Array, Array]:
            example, true = row
            z = (example - centre) * scale
            d = jnp.sqrt(jnp.square(z[None] - centroids).sum(axis=1))
            others = jnp.where(jnp.arange(len(centroids)) == true, jnp.inf, d)
            other = jnp.argmin(others).astype(jnp.int32)
            total = others[other] + d[true]
            return jnp.where(total > 0, (others[other] - d[true]) / jnp.where(total > 0, total, 1), 0), other

        return jax.lax.map(one, (x, y))


def fit_margin(x: np.ndarray, y: np.ndarray, classes: int) -> Margin:
    """Learns where the classes lie.

    Args:
      x: `[N, ...]`.
      y: integers `[N]` in [0, classes).
      classes: K >= 2.

    Raises:
      ArgumentError: if a class has no example, features are missing, or none of them varies.
    """
    x, y = flat_examples(x), check_labels(y, classes)
    if classes < 2:
        raise ArgumentError("classes", classes, "2 or more: a margin is towards another class")
    if len(x) != len(y):
        raise ArgumentError("x", f"{len(x)} examples", f"one for each of the {len(y)} labels")
    counts = np.bincount(y, minlength=classes)
    if not counts.all():
        raise ArgumentError(
            "y", f"no example of class {np.argmin(counts)}", "examples of every class: it has a centroid"
        )
    centre, scale = standardisation(x)
    if not scale.any():
        raise ArgumentError("x", "features that are all constant", "at least one feature that varies")
    z = (x - centre) * scale
    centroids = np.stack([z[y == k].mean(axis=0, dtype=np.float64) for k in range(classes)]).astype(np.float32)
    return Margin(centre, scale, centroids)  # type: ignore[arg-type]


def margins(margin: Margin, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The margins of examples at hand: float32 `[N]`, on the host."""
    return np.asarray(_margins(margin, flat_examples(x), np.asarray(y, np.int32))[0])


@jax.jit
def _margins(margin: Margin, x: Array, y: Array) -> tuple[Array, Array]:
    return margin(x, y)
