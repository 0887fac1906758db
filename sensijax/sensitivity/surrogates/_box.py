"""A response over the severities of several stressors at once: rows of a box, evaluated."""

from collections.abc import Callable
from typing import Any

import jax

from sensijax.perturb import Chain


def in_box(apply: Callable, scales: tuple, response: Callable) -> Callable:
    """`(params, severities[R, d], keys[R], x[R], y[R]) -> response[R]`.

    The stressors act in their order, as a `Chain`: link i draws from `fold_in(key, i)`.

    Args:
      apply: the model's.
      scales: (name, scale, options) of each of d stressors, from `scales_of`.
      response: `(outputs, y) -> scalar` of one example.
    """

    def perturbed(at: jax.Array, key: jax.Array, x: jax.Array) -> jax.Array:
        links = [scale.at(at[i], **dict(options)) for i, (_, scale, options) in enumerate(scales)]
        return Chain.of(*links)(key, x)

    def run(params: Any, at: jax.Array, keys: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return jax.vmap(response)(apply(params, jax.vmap(perturbed)(at, keys, x)), y)

    return run
