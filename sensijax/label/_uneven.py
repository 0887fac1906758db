"""Rates that differ between parties and have a given mean: of classes, of annotators."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sensijax.core.one_program import one_program


@one_program(static=("parties",))
def uneven_rates(key: Array, rate: Array, parties: int, spread: Array) -> Float[Array, "p"]:
    """A rate for each party: min(1, scale * weight), with the scale for which their mean is `rate`.

    The weights are drawn once, from the key: (1 - spread) + spread * E, with E exponential of mean 1 over the parties
    (so that E is uniform on the simplex). Each party's rate grows with `rate`.

    Args:
      key: a typed PRNG key.
      rate: scalar in [0, 1], the mean.
      parties: how many.
      spread: in [0, 1]; at 0 all rates are the same.

    Returns:
      float32 `[parties]` in [0, 1], in the order of the parties.

    Example:
      >>> rates = uneven_rates(jax.random.key(0), jnp.float32(0.4), 5, jnp.float32(1.0))
      >>> round(float(rates.mean()), 6), bool((rates.max() <= 1) & (rates.std() > 0.1))
      (0.4, True)
    """
    exponential = jax.random.exponential(key, (parties,), jnp.float32)
    weight = 1 - spread + spread * exponential / exponential.mean()
    # With the m largest at 1, the others share what is left: the first m for which none of them is above 1 is right.
    ordered = jnp.sort(weight, descending=True)
    left = jnp.cumsum(ordered[::-1])[::-1]
    scale = (rate * parties - jnp.arange(parties, dtype=jnp.float32)) / left
    fits = scale * ordered <= 1
    scale = jnp.where(fits.any(), scale[jnp.argmax(fits)], jnp.inf)
    return jnp.where(rate >= 1, 1, jnp.clip(scale * weight, 0, 1))
