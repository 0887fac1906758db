"""Norms: how far an adversarial example may be from its original, and how to move within that distance.

Every function takes a batch `[B, ...]` and treats its rows apart; budgets are `[B]`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from sensijax.core.errors import ArgumentError, did_you_mean


def along(values: Float[Array, "B"], x: Array) -> Array:
    """One number a row, shaped so that it meets every value of the row: `[B]` to `[B, 1, ...]`."""
    return values.reshape(values.shape + (1,) * (x.ndim - 1))


def choose(rows: Bool[Array, "B"], yes: Array, no: Array) -> Array:
    """Row by row, `yes` where the condition holds, else `no`: arrays `[B, ...]` of one shape."""
    return jnp.where(rows.reshape(rows.shape + (1,) * (yes.ndim - 1)), yes, no)


def _flat(x: Array) -> Float[Array, "B D"]:
    return x.reshape(len(x), -1)


@dataclasses.dataclass(frozen=True)
class Norm:
    """A distance between inputs. `linf`, `l2` and `l1` are there; a subclass states the four functions.

    Attributes:
      name: how specs and reports call it.
    """

    name: str

    def size(self, delta: Array) -> Float[Array, "B"]:
        """The norm of each row."""
        raise NotImplementedError

    def project(self, delta: Array, eps: Float[Array, "B"]) -> Array:
        """The nearest point (in L2) of the ball of radius `eps` around 0, for each row."""
        raise NotImplementedError

    def steepest(self, gradient: Array) -> Array:
        """The step of norm 1 along which a linear function with this gradient rises fastest; 0 for a gradient of 0."""
        raise NotImplementedError

    def draw(self, keys: Array, x: Array, eps: Float[Array, "B"]) -> Array:
        """A random start in the ball for each row, from typed keys `[B]`; the row's draw depends on its key alone."""
        raise NotImplementedError

    def diameter(self, shape: tuple[int, ...], low: float, high: float) -> float:
        """The norm of the box's diagonal: a budget beyond it is no budget."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.name


class Linf(Norm):
    """The largest change of any one value."""

    def size(self, delta):
        return jnp.max(jnp.abs(_flat(delta)), axis=1)

    def project(self, delta, eps):
        return jnp.clip(delta, -along(eps, delta), along(eps, delta))

    def steepest(self, gradient):
        return jnp.sign(gradient)

    def draw(self, keys, x, eps):
        uniform = jax.vmap(lambda key: jax.random.uniform(key, x.shape[1:], x.dtype, -1.0, 1.0))(keys)
        return along(eps, x) * uniform

    def diameter(self, shape, low, high):
        return high - low


class L2(Norm):
    """The Euclidean length of the change."""

    def size(self, delta):
        return jnp.sqrt(jnp.sum(_flat(delta) ** 2, axis=1))

    def project(self, delta, eps):
        size = self.size(delta)
        return delta * along(jnp.where(size > eps, eps / jnp.maximum(size, 1e-12), 1.0), delta)

    def steepest(self, gradient):
        return gradient / along(jnp.maximum(self.size(gradient), 1e-12), gradient)

    def draw(self, keys, x, eps):
        # Uniform in the ball: a direction, and a radius whose d-th power is uniform.
        def one(key: Array) -> Array:
            direction, radius = jax.random.split(key)
            normal = jax.random.normal(direction, x.shape[1:], x.dtype)
            length = jax.random.uniform(radius, (), x.dtype) ** np.float32(1 / max(1, normal.size))
            return normal * (length / jnp.maximum(jnp.sqrt(jnp.sum(normal**2)), 1e-12))

        return along(eps, x) * jax.vmap(one)(keys)

    def diameter(self, shape, low, high):
        return float((high - low) * np.sqrt(np.prod(shape)))


class L1(Norm):
    """The sum of the changes of all values.

    Projection: Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient projections onto the l1-ball for learning in high
    dimensions", ICML 2008.
    """

    def size(self, delta):
        return jnp.sum(jnp.abs(_flat(delta)), axis=1)

    def project(self, delta, eps):
        u = jnp.abs(_flat(delta))
        mu = -jnp.sort(-u, axis=1)
        j = jnp.arange(1, u.shape[1] + 1, dtype=u.dtype)[None]
        excess = jnp.cumsum(mu, axis=1) - eps[:, None]
        rho = jnp.sum((mu * j > excess).astype(jnp.int32), axis=1)
        theta = jnp.take_along_axis(excess, jnp.maximum(rho - 1, 0)[:, None], axis=1) / jnp.maximum(rho, 1)[
            :, None
        ].astype(u.dtype)
        inside = self.size(delta) <= eps
        shrunk = jnp.sign(_flat(delta)) * jnp.maximum(u - theta, 0)
        return choose(inside, delta, shrunk.reshape(delta.shape))

    def steepest(self, gradient):
        # All of the step into the one value with the largest gradient.
        flat = _flat(gradient)
        top = jnp.argmax(jnp.abs(flat), axis=1)
        one = jax.nn.one_hot(top, flat.shape[1], dtype=flat.dtype) * jnp.sign(flat)
        return one.reshape(gradient.shape)

    def draw(self, keys, x, eps):
        # Uniform in the ball: D + 1 exponentials share the radius, one of them is what is left.
        def one(key: Array) -> Array:
            signs, shares = jax.random.split(key)
            e = jax.random.exponential(shares, (int(np.prod(x.shape[1:])) + 1,), x.dtype)
            sign = jax.random.rademacher(signs, (e.size - 1,), x.dtype)
            return (sign * e[:-1] / jnp.sum(e)).reshape(x.shape[1:])

        return along(eps, x) * jax.vmap(one)(keys)

    def diameter(self, shape, low, high):
        return float((high - low) * np.prod(shape))


linf, l2, l1 = Linf("linf"), L2("l2"), L1("l1")
NORMS = {norm.name: norm for norm in (linf, l2, l1)}


def as_norm(norm: Any) -> Norm:
    """The norm that is meant: a `Norm`, or the name of one.

    Raises:
      ArgumentError: if there is no such norm.

    Example:
      >>> as_norm("linf") is linf
      True
    """
    if isinstance(norm, Norm):
        return norm
    if norm not in NORMS:
        raise ArgumentError("norm", repr(norm), did_you_mean(str(norm), NORMS))
    return NORMS[norm]


def check_norm(attack: type, norm: Norm, *known: Norm) -> None:
    """Refuses a norm that an attack does not work in.

    Raises:
      ArgumentError: naming those that it does.
    """
    if norm not in known:
        raise ArgumentError("norm", str(norm), f"{attack.__name__} works in {' and '.join(map(str, known))}")
