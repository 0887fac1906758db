"""The contract of a perturbation, and of one after another."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
from sensijax.core.struct import static, struct


@dataclasses.dataclass(frozen=True)
class Domain:
    """What a modality's examples look like, checked in two places.

    Attributes:
      name: the modality.
      check_shape: raises `ArgumentError` for an example (array or shape) of wrong rank, dtype or size; at trace time.
      low, high: the closed range of values; checked at a campaign's door, where values exist.
    """

    name: str
    check_shape: Callable[[Any], None]
    low: float = -np.inf
    high: float = np.inf


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
class Perturbation:
    """A frozen pytree that maps one example to one example: `(key, x) -> x`.

    Numeric parameters are leaves, so a stack of perturbations (an array on each leaf) is a sweep that `vmap` runs with
    one compilation, and `jax.jvp` gives derivatives with respect to any parameter or severity. Parameters that decide
    shapes are `static` fields.

    A subclass is a pytree dataclass without further ado. It states its fields, `at`, `is_identity` and `apply`:

      >>> class Dim(Perturbation):
      ...     factor: jax.Array
      ...     deterministic: ClassVar[bool] = True
      ...     @classmethod
      ...     def at(cls, severity):
      ...         return cls(factor=interpolate(severity, (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)))
      ...     def is_identity(self):
      ...         return self.factor == 1
      ...     def apply(self, key, x):
      ...         return x * self.factor
      >>> float(Dim.at(5)(jax.random.key(0), jnp.ones(())))
      0.5

    Class attributes:
      deterministic: True if `apply` never uses its key; such a scenario is computed for one seed only.
      domain: what the examples must look like.
      ranks: rank of the leaves that are not scalars, by field name.
    """

    deterministic: ClassVar[bool] = False
    domain: ClassVar[Domain] = Domain("any", lambda x: None)
    ranks: ClassVar[Mapping[str, int]] = {}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        struct(cls)

    @classmethod
    def at(cls, severity: Any) -> Self:
        """The perturbation at a severity on its documented scale; an array of severities gives a stack."""
        raise NotImplementedError(f"{cls.__name__} has no severity scale: construct it from its parameters")

    def is_identity(self) -> Any:
        """Whether the parameters are those of no perturbation at all: a (traced) boolean."""
        return False

    def apply(self, key: Array, x: Array) -> Array:
        """Perturbs one example; `__call__` has checked it and takes care of the identity."""
        raise NotImplementedError

    def __call__(self, key: Array, x: Array) -> Array:
        """Perturbs one example, as one compiled program also where no `jit` surrounds it.

        Args:
          key: a typed PRNG key, scalar.
          x: one example, no batch axis; the subclass says which shapes and ranges.

        Returns:
          The perturbed example, of `x`'s shape and dtype. At the identity it is `x`, bit for bit.

        Raises:
          ArgumentError: if the example's shape or dtype is outside the domain, or the perturbation is a stack.
        """
        self.domain.check_shape(x)
        self._check_not_stacked()
        return _perturbed(self, key, x)

    def __rshift__(self, then: "Perturbation") -> "Perturbation":
        """`a >> b`: first `a`, then `b`."""
        return Chain.of(self, then)

    def _check_not_stacked(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value, rank = getattr(self, field.name), self.ranks.get(field.name, 0)
            if hasattr(value, "ndim") and not field.metadata.get("static") and value.ndim > rank:
                raise ArgumentError(
                    f"{type(self).__name__}.{field.name}",
                    f"shape {list(value.shape)}, a stack of perturbations",
                    "call it under jax.vmap, one perturbation and one example at a time",
                )


@one_program
def _perturbed(perturbation: Perturbation, key: Array, x: Array) -> Array:
    out = perturbation.apply(key, x)
    if jnp.shape(out) != jnp.shape(x) or out.dtype != x.dtype:
        name = type(perturbation).__name__
        raise TypeError(f"{name} turned {x.dtype}{list(x.shape)} into {out.dtype}{list(out.shape)}")
    # Flat, because a CPU computes an array whose last axis is 3 channels one value at a time.
    flat = (-1,) if x.ndim < 3 else (*x.shape[:-2], -1)
    return jnp.where(perturbation.is_identity(), x.reshape(flat), out.reshape(flat)).reshape(x.shape)


class Chain(Perturbation):
    """One perturbation after another; what `a >> b` makes.

    Composition is associative, bit for bit: nested chains are flattened, and link i draws from `fold_in(key, i)`, so
    appending a link changes no draw of those before it.

    Attributes:
      links: the perturbations, first to last.

    Example:
      >>> from sensijax.perturb import image
      >>> chain = image.Brightness.at(2) >> image.Contrast.at(1)
      >>> chain(jax.random.key(0), jnp.full((8, 8, 3), 0.5)).shape
      (8, 8, 3)
    """

    links: tuple[Perturbation, ...]

    @classmethod
    def of(cls, *perturbations: Perturbation) -> "Chain":
        """The chain of these, flattened: `Chain.of(Chain.of(a, b), c)` is `Chain.of(a, b, c)`."""
        links: list[Perturbation] = []
        for perturbation in perturbations:
            if not isinstance(perturbation, Perturbation):
                raise ArgumentError("perturbations", type(perturbation).__name__, "a chain links perturbations")
            links += perturbation.links if isinstance(perturbation, Chain) else [perturbation]
        return cls(links=tuple(links))

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        return all(link.deterministic for link in self.links)

    @property
    def domain(self) -> Domain:  # type: ignore[override]
        return self.links[0].domain

    def is_identity(self) -> Any:
        return jnp.all(jnp.stack([jnp.asarray(link.is_identity()) for link in self.links]), axis=0)

    def apply(self, key: Array, x: Array) -> Array:
        for i, link in enumerate(self.links):
            x = link(jax.random.fold_in(key, i), x)
        return x


def interpolate(severity: Any, table: tuple[float, ...]) -> Float[Array, "..."]:
    """A parameter at a severity: the table's value at an integer, linear between, and differentiable.

    Args:
      severity: scalar or array `[...]` in [0, len(table) - 1]; may be traced.
      table: the parameter at severities 0, 1, 2, ...; its integers are hit exactly.

    Returns:
      float32 `[...]`.

    Raises:
      ArgumentError: if a severity that is known (not traced) is NaN or outside the table.

    Example:
      >>> interpolate(jnp.array([0.0, 0.5, 5.0]), (0.0, 0.08, 0.12, 0.18, 0.26, 0.38)).tolist()
      [0.0, 0.03999999910593033, 0.3799999952316284]
    """
    top = len(table) - 1
    check_severity(severity, top)
    # A severity that is known is looked up on the host, to the same bits: JAX would compile a program for each step.
    xp = jnp if isinstance(severity, Tracer) else np
    severity = xp.asarray(severity, xp.float32)
    values = xp.asarray(table, xp.float32)
    low = xp.clip(xp.floor(severity), 0, top).astype(xp.int32)
    # At the top the slope is that of the last step, so that the derivative there is not zero.
    start = xp.minimum(low, top - 1)
    return jnp.asarray(values[low] + (severity - low.astype(xp.float32)) * (values[start + 1] - values[start]))


def check_severity(severity: Any, top: float = 5) -> None:
    """Refuses a known severity that is NaN or outside [0, top]; traced ones pass."""
    if isinstance(severity, Tracer):
        return
    given = np.asarray(severity, dtype=np.float64)
    wrong = given[~((given >= 0) & (given <= top))]
    if wrong.size:
        raise ArgumentError(
            "severity", f"{wrong.ravel()[0]:g}", f"a severity lies in [0, {top:g}]; 0 is no perturbation"
        )
