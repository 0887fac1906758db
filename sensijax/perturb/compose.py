"""Perturbations made of perturbations: a random choice, a region, a chain with one severity for all its links."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sensijax.core.errors import ArgumentError
from sensijax.perturb._perturbation import Chain, Domain, Perturbation


class Choice(Perturbation):
    """One of several perturbations, drawn for each example.

    Under `vmap` every option is computed and one is kept, so the cost is the sum over the options: where the options
    are a sweep, make them separate scenarios instead.

    Attributes:
      options: the perturbations to choose from; at least one.
      weights: `[len(options)]`, non-negative, in any unit; the odds of each option.

    Example:
      >>> from sensijax.perturb import image
      >>> weather = Choice((image.Fog.at(3), image.Brightness.at(2)), weights=jnp.array([3.0, 1.0]))
      >>> weather(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).shape
      (8, 8, 3)
    """

    options: tuple[Perturbation, ...]
    weights: Array
    ranks: ClassVar = {"weights": 1}

    @property
    def domain(self) -> Domain:  # type: ignore[override]
        return self.options[0].domain

    def is_identity(self) -> Any:
        return jnp.all(jnp.stack([jnp.asarray(option.is_identity()) for option in self.options]), axis=0)

    def apply(self, key: Array, x: Array) -> Array:
        weights = jnp.asarray(self.weights, jnp.float32)
        if weights.shape != (len(self.options),):
            raise ArgumentError(
                "weights", f"shape {list(weights.shape)}", f"one weight for each of {len(self.options)} options"
            )
        pick = jax.random.categorical(jax.random.fold_in(key, len(self.options)), jnp.log(weights))
        branches = [lambda k, v, option=option: option(k, v) for option in self.options]
        return jax.lax.switch(pick, branches, jax.random.fold_in(key, 0), x)


class Masked(Perturbation):
    """A perturbation confined to a region: inside the mask the perturbed example, outside the original.

    Attributes:
      perturbation: what happens inside.
      mask: bool, of the example's shape or broadcastable to it (`[H, W, 1]` for an image).

    Example:
      >>> from sensijax.perturb import image
      >>> left = jnp.arange(8)[None, :, None] < 4
      >>> out = Masked(image.Brightness.at(5), left)(jax.random.key(0), jnp.full((8, 8, 3), 0.5))
      >>> bool((out[:, 4:] == 0.5).all())
      True
    """

    perturbation: Perturbation
    mask: Array
    ranks: ClassVar = {"mask": 99}

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        return self.perturbation.deterministic

    @property
    def domain(self) -> Domain:  # type: ignore[override]
        return self.perturbation.domain

    def is_identity(self) -> Any:
        return self.perturbation.is_identity()

    def apply(self, key: Array, x: Array) -> Array:
        return jnp.where(self.mask, self.perturbation(key, x), x)


@dataclasses.dataclass(frozen=True)
class ChainScale:
    """Several severity scales as one: `.at(severity)` is the chain of each at that severity. Made by `chain`."""

    scales: tuple[Any, ...]

    @property
    def __name__(self) -> str:
        return ">>".join(scale.__name__ for scale in self.scales)

    def at(self, severity: Any, **options: Any) -> Chain:
        """The chain at a severity; options (such as `size`) go to every link."""
        return Chain.of(*(scale.at(severity, **options) for scale in self.scales))


def chain(*scales: Any) -> ChainScale:
    """Joins perturbation classes into one that has a severity: for sweeps over a combination.

    Args:
      *scales: perturbation classes (or anything with `.at(severity)`), first to last.

    Returns:
      A scale whose `.at(severity)` is the chain of each at that severity.

    Example:
      >>> from sensijax.perturb import image
      >>> len(chain(image.GaussianBlur, image.JPEG).at(3).links)
      2
    """
    if len(scales) < 2:
        raise ArgumentError("scales", f"{len(scales)}", "a chain joins at least two")
    return ChainScale(tuple(scales))
