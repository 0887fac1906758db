"""Points drawn evenly from a ball around each example of a batch."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError

Ball = Literal["l2", "linf"]


def check_ball(ball: str, radius: float) -> None:
    """Refuses an unknown ball, or a radius that is not positive and finite."""
    if ball not in ("l2", "linf"):
        raise ArgumentError("ball", repr(ball), '"l2" or "linf"')
    if not (radius > 0 and np.isfinite(radius)):
        raise ArgumentError("radius", radius, "a number > 0, in units of the inputs")


def in_ball(key: jax.Array, x: jax.Array, radius: Any, ball: str, low: jax.Array, high: jax.Array) -> jax.Array:
    """One point of the ball around one example, brought into [low, high] value by value.

    Bringing it back never leaves the ball: the example itself lies in the range.
    """
    if ball == "linf":
        step = jax.random.uniform(key, x.shape, x.dtype, -1.0, 1.0)
    else:
        direction, length = jax.random.split(key)
        normal = jax.random.normal(direction, x.shape, x.dtype)
        share = jax.random.uniform(length, (), x.dtype) ** jnp.asarray(1 / x.size, x.dtype)
        step = normal * (share / jnp.sqrt(jnp.sum(jnp.square(normal))))
    return jnp.clip(x + radius * step, low, high)


def checked_bounds(bounds: tuple[float, float] | None, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The range of valid inputs; everything if None."""
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if not low < high:
        raise ArgumentError("bounds", bounds, "(low, high) with low < high, or None")
    outside = np.asarray((x < low) | (x > high))
    if outside.any():
        raise ArgumentError("x", f"{np.asarray(x)[outside][0]:g}", f"values in `bounds`, [{low:g}, {high:g}]")
    return jnp.asarray(low, x.dtype), jnp.asarray(high, x.dtype)
