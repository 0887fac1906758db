"""The Jacobian of every example of a batch inside a program: one reverse pass for each output."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sensijax.core import ArgumentError
from sensijax.sensitivity.derivatives._pure import Pure, reverse_refusal

_MOST_OUTPUTS = 4096
_ROWS = 16


def check_outputs(function: Pure, x: jax.Array, spec: jax.ShapeDtypeStruct) -> int:
    """The number K of outputs of an example; refuses what needs too many passes, or lets none through."""
    if len(spec.shape) != 2:
        raise ArgumentError("f", f"{function.name!r} returns {list(spec.shape)}", "outputs [B, K]: reshape them")
    if spec.shape[1] > _MOST_OUTPUTS:
        right = f"at most {_MOST_OUTPUTS}: a pass for each; for many outputs and one example there is `singular`"
        raise ArgumentError("f", f"{spec.shape[1]} outputs", right)
    if refusal := reverse_refusal(function, x, spec):
        raise ArgumentError(
            "f", f"{function.name!r}, which reverse mode cannot pass: {refusal}", "a loop of known length"
        )
    return spec.shape[1]


def example_jacobians(apply: Callable, params: object, x: jax.Array, outputs: int) -> jax.Array:
    """`[B, K, n]`: derivatives of each example's K outputs with respect to its n inputs.

    Up to 16 rows are one batch; more are a loop over such batches, for the activations of them all would be the largest
    thing in memory. The loop is avoided where it can be: on a CPU a convolution in one is several times slower.
    """
    value, pull = jax.vjp(lambda x: apply(params, x), x)

    def row(k: jax.Array) -> jax.Array:
        unit = (jnp.arange(outputs, dtype=jnp.int32) == k).astype(value.dtype)
        return pull(jnp.broadcast_to(unit[None], value.shape))[0].reshape(len(x), -1)

    index = jnp.arange(outputs, dtype=jnp.int32)
    rows = jax.vmap(row)(index) if outputs <= _ROWS else jax.lax.map(row, index, batch_size=_ROWS)
    return jnp.moveaxis(rows, 0, 1)


def gram(j: jax.Array) -> jax.Array:
    """J Jᵀ `[B, K, K]` of `[B, K, n]`, in full precision on every device."""
    return jnp.einsum("bkn,bln->bkl", j, j, precision=jax.lax.Precision.HIGHEST)
