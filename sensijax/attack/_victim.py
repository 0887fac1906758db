"""The model under attack, as an adversary sees it: logits and gradients of rows."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sensijax.attack.losses import Loss
from sensijax.core import Model
from sensijax.core.struct import static, struct


@struct
class Victim:
    """A model's parameters with its function; a pytree that programs take as an argument.

    Attributes:
      params: pytree of arrays.
      apply: `apply(params, x[B, ...]) -> logits [B, K]`; with `draws`, `apply(params, keys[B], x[B, ...])`.
      draws: of a model with randomness of its own: over how many draws to average. 0: the model has none.
    """

    params: Any
    apply: Callable[..., Array] = static()
    draws: int = static(default=0)

    @classmethod
    def of(cls, model: Model) -> "Victim":
        return cls(params=jax.tree.map(jnp.asarray, model.params), apply=model.apply)

    def logits(self, x: Array, keys: Array) -> Array:
        """Logits `[B, K]` of a batch; `keys` (typed, `[B]`) are for a model with randomness.

        With draws, the logarithm of the mean of the probabilities.
        """
        if not self.draws:
            return self.apply(self.params, x)
        log_p = [jax.nn.log_softmax(self._draw(x, keys, i)) for i in range(self.draws)]
        return jax.nn.logsumexp(jnp.stack(log_p), axis=0) - jnp.log(jnp.float32(self.draws))

    def gradient(self, loss: Loss, x: Array, y: Array, target: Array, keys: Array) -> tuple[Array, Array, Array]:
        """The gradient of each row's loss with respect to its input, the losses `[B]`, and the logits `[B, K]`.

        Rows must not influence each other: the gradient of the sum is taken, once for all of them. With draws, loss
        and gradient are averaged over them (expectation over transformation: Athalye, Engstrom, Ilyas and Kwok,
        "Synthesizing robust adversarial examples", ICML 2018).
        """

        def total(x: Array, i: int) -> tuple[Array, tuple[Array, Array]]:
            logits = self._draw(x, keys, i) if self.draws else self.apply(self.params, x)
            each = loss(logits, y, target)
            return jnp.sum(each), (each, logits)

        if not self.draws:
            gradient, (each, logits) = jax.grad(total, has_aux=True)(x, 0)
            return gradient, each, logits
        drawn = [jax.grad(total, has_aux=True)(x, i) for i in range(self.draws)]
        gradient = jnp.mean(jnp.stack([g for g, _ in drawn]), axis=0)
        each = jnp.mean(jnp.stack([e for _, (e, _) in drawn]), axis=0)
        log_p = jax.nn.logsumexp(jnp.stack([jax.nn.log_softmax(z) for _, (_, z) in drawn]), axis=0)
        return gradient, each, log_p - jnp.log(jnp.float32(self.draws))

    def _draw(self, x: Array, keys: Array, i: int) -> Array:
        return self.apply(self.params, jax.vmap(lambda key: jax.random.fold_in(key, i))(keys), x)
