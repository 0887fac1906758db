"""The model under attack, as an adversary sees it: logits and gradients of rows."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from sensijax.attack.losses import Loss
from sensijax.core import Layout, Model, Place
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import GENERATOR
from sensijax.core.one_program import one_program
from sensijax.core.struct import static, struct


class RandomModel(Model):
    """A model with randomness of its own (noise, dropout, random resizing), judged by its mean probabilities.

    The verdict on an input is that of the mean over `draws` draws which are fixed by `seed` and the same for every
    input: so it is a function of the input alone, anybody can repeat it from a saved input, and everything that takes a
    `Model` takes this one. Attacks follow gradients averaged over as many *other* draws, new ones in each step
    (expectation over transformation), so that they do not learn the verdict's own noise by heart. A query or a forward
    pass of a result is one such average.

    Attributes:
      apply: what a `Model` has: `apply(params, x[B, ...])`, the logarithms of the mean probabilities `[B, K]`.
      random: `random(params, keys[B], x[B, ...]) -> logits [B, K]`, one draw for each row from its typed key.
      draws: how many are averaged; >= 1. Fewer make a verdict that an attacker may owe to luck.
      seed: of the verdict's draws, in [0, 2**32).

    Args:
      random, params, name, classes, draws, seed: as above.

    Raises:
      ArgumentError: if `draws` < 1.

    Reference:
      Athalye, Engstrom, Ilyas and Kwok, "Synthesizing robust adversarial examples", ICML 2018; Athalye, Carlini and
      Wagner, "Obfuscated gradients give a false sense of security", ICML 2018, section 4.2.

    Example:
      >>> def noisy(w, keys, x):
      ...     return (x + 0.1 * jax.vmap(lambda k: jax.random.normal(k, x.shape[1:]))(keys)) @ w
      >>> model = RandomModel(noisy, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="noisy", draws=50)
      >>> jnp.argmax(model(jnp.array([[0.6, 0.4], [0.4, 0.6]])), axis=1).tolist()
      [0, 1]
    """

    random: Callable[[Any, Array, Array], Array]
    draws: int
    seed: int

    def __init__(
        self,
        random: Callable[[Any, Array, Array], Array],
        params: Any,
        name: str = "random model",
        classes: tuple[str, ...] | None = None,
        *,
        draws: int = 20,
        seed: int = 0,
    ):
        if draws < 1:
            raise ArgumentError("draws", draws, "at least one draw")

        def verdict(params: Any, x: Array) -> Array:
            keys = jax.vmap(jax.random.fold_in, (None, 0))(
                jax.random.key(seed, impl=GENERATOR), jnp.arange(draws, dtype=jnp.uint32)
            )
            return mean_probability(drawn(random, params, jnp.broadcast_to(keys[None], (len(x), draws)), x))

        super().__init__(verdict, params, name, classes)
        vars(self).update(random=random, draws=draws, seed=seed)

    def __call__(self, x: Array) -> Array:
        """Outputs `[B, K]` of a batch, by one compiled program also where no `jit` surrounds it."""
        return _verdict(self.apply, self.params, x)


@one_program(static=("apply",))
def _verdict(apply: Callable[[Any, Array], Array], params: Any, x: Array) -> Array:
    return apply(params, x)


def drawn(random: Callable[..., Array], params: Any, keys: Array, x: Array) -> Array:
    """Logits `[B, draws, K]` of every row under every one of its typed keys `[B, draws]`, in one flat batch."""
    rows, draws = keys.shape
    logits = random(params, keys.reshape(-1), jnp.repeat(x, draws, axis=0))
    return logits.reshape(rows, draws, -1)


def mean_probability(logits: Array) -> Array:
    """Logarithm of the mean of the probabilities over axis 1: `[B, draws, K]` to `[B, K]`."""
    return jax.nn.logsumexp(jax.nn.log_softmax(logits), axis=1) - jnp.log(jnp.float32(logits.shape[1]))


@struct
class Victim:
    """A model's parameters with its function; a pytree that programs take as an argument.

    Attributes:
      params: pytree of arrays.
      apply: `apply(params, x[B, ...]) -> logits [B, K]`: the verdict, a function of the input alone.
      random: of a model with randomness of its own, `random(params, keys[B], x[B, ...])`; None: it has none.
      draws: over how many of those gradients are averaged.
    """

    params: Any
    apply: Callable[..., Array] = static()
    random: Callable[..., Array] | None = static(default=None)
    draws: int = static(default=0)

    @classmethod
    def of(cls, model: Model) -> "Victim":
        """Any `Model`, a `RandomModel` with its draws."""
        random, draws = (model.random, model.draws) if isinstance(model, RandomModel) else (None, 0)
        return cls(params=jax.tree.map(jnp.asarray, model.params), apply=model.apply, random=random, draws=draws)

    def on(self, layout: Layout) -> "Victim":
        """The same with its parameters where the layout has them; itself on one device."""
        if layout.mesh is None:
            return self
        return dataclasses.replace(self, params=layout.put(self.params, Place.PARAMS))

    def logits(self, x: Array, keys: Array | None = None) -> Array:
        """Logits `[B, K]` of a batch, that predictions are made from; with draws, of the verdict's own, whatever the
        keys."""
        return self.apply(self.params, x)

    def gradient(self, loss: Loss, x: Array, y: Array, target: Array, keys: Array) -> tuple[Array, Array, Array]:
        """The gradient of each row's loss with respect to its input, the losses `[B]`, and the logits `[B, K]`.

        Rows must not influence each other: the gradient of the sum is taken, once for all of them. Of a model with
        randomness, loss and gradient are means over draws from `keys` (typed, `[B]`), and the logits are the verdict's.
        """
        if self.random is None:

            def total(x: Array) -> tuple[Array, tuple[Array, Array]]:
                logits = self.apply(self.params, x)
                each = loss(logits, y, target)
                return jnp.sum(each), (each, logits)

            gradient, (each, logits) = jax.grad(total, has_aux=True)(x)
            return gradient, each, logits

        random, draws = self.random, self.draws
        many = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(draws, dtype=jnp.uint32)))

        def mean(x: Array) -> tuple[Array, Array]:
            logits = drawn(random, self.params, many(keys), x).reshape(len(x) * draws, -1)
            each = loss(logits, jnp.repeat(y, draws), jnp.repeat(target, draws)).reshape(len(x), draws)
            return jnp.sum(jnp.mean(each, axis=1)), jnp.mean(each, axis=1)

        gradient, each = jax.grad(mean, has_aux=True)(x)
        return gradient, each, self.logits(x)

    def jacobian(self, x: Array, classes: Int[Array, "B C"] | Callable[[Array], Array]) -> tuple[Array, Array, Array]:
        """Gradients of some logits of each row, of the verdict's logits.

        Args:
          x: `[B, ...]`.
          classes: int32 `[B, C]` which logits, or a function that picks them from the logits `[B, K]`.

        Returns:
          The gradients `[C, B, ...]`, the classes `[B, C]`, and all logits `[B, K]`. Costs one pass forward and C
          backward.
        """
        logits, pull = jax.vjp(self.logits, x)
        chosen = classes(logits) if callable(classes) else classes
        cotangents = jax.nn.one_hot(chosen.T, logits.shape[1], dtype=logits.dtype)
        return jax.vmap(lambda c: pull(c)[0])(cotangents), chosen, logits


def predictions(logits: Any) -> np.ndarray:
    """The predicted classes `[N]` of logits `[N, K]`; -1 where a logit is NaN, for that is no prediction."""
    logits = np.asarray(logits)
    return np.where(np.isnan(logits).any(axis=1), -1, logits.argmax(axis=1))
