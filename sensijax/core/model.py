"""A model: a pure function of its parameters and a batch."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sensijax.core.digest import digest
from sensijax.core.errors import ArgumentError
from sensijax.core.layout import with_auto_axes


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A pure function of parameters and a batch, with a name.

    Attributes:
      apply: `apply(params, x[B, ...]) -> outputs[B, ...]`. Pure: no dropout, no running statistics that change. For
        classification the outputs are logits `[B, K]`, K >= 2; for regression `[B]` or `[B, K]`.
      params: pytree of arrays. A model too large for one device has them split over several, each a `jax.Array` with a
        `NamedSharding` on one mesh; its axes are taken as `Auto`, the compiler cuts the work up.
      name: how reports call it.
      classes: optional names of the K classes, for tables and figures.

    Example:
      >>> model = Model(lambda w, x: x @ w, jnp.ones((4, 3)), name="linear")
      >>> model(jnp.ones((2, 4))).shape
      (2, 3)
    """

    apply: Callable[[Any, jax.Array], jax.Array]
    params: Any
    name: str = "model"
    classes: tuple[str, ...] | None = None

    def __post_init__(self):
        if not callable(self.apply):
            raise ArgumentError(
                "apply", type(self.apply).__name__, "a function apply(params, x[B, ...]) -> outputs[B, ...]"
            )
        if not isinstance(self.name, str) or not self.name:
            raise ArgumentError("name", repr(self.name), "a non-empty name")
        object.__setattr__(self, "params", with_auto_axes(self.params))
        if self.classes is not None:
            if not isinstance(self.classes, Sequence):
                raise ArgumentError("classes", type(self.classes).__name__, "the names of the classes, in order")
            object.__setattr__(self, "classes", tuple(str(c) for c in self.classes))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Outputs `[B, ...]` of a batch `[B, ...]`."""
        return self.apply(self.params, x)

    @functools.cached_property
    def digest(self) -> str:
        """The digest of the parameters, however they are split; the code is named by its program's."""
        return digest("model", jax.tree_util.tree_structure(self.params).num_leaves, *self._named_leaves())

    def output_spec(self, x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        """Shape and dtype of the outputs for a batch of this shape, without compiling or computing anything.

        Args:
          x: the batch's shape `[B, ...]` and dtype.

        Returns:
          The outputs' shape and dtype.

        Raises:
          ArgumentError: if the model cannot take such a batch, or does not return one array with the batch axis first.
        """
        try:
            out = jax.eval_shape(self.apply, self.params, x)
        except ArgumentError:  # an adapter has said already what is wrong, and how to mend it
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ArgumentError(
                "model",
                f"{self.name!r} fails on a batch {x.dtype}{list(x.shape)}: {reason}",
                "the data's shape and dtype must fit the model",
            ) from error
        if not isinstance(out, jax.ShapeDtypeStruct):
            raise ArgumentError(
                "model",
                f"{self.name!r} returns {jax.tree.structure(out)}",
                "one array: wrap `apply` to pick the logits",
            )
        if not out.shape or out.shape[0] != x.shape[0]:
            raise ArgumentError(
                "model",
                f"{self.name!r} maps a batch {list(x.shape)} to {list(out.shape)}",
                "outputs keep the batch axis first: [B, ...]",
            )
        if not jnp.issubdtype(out.dtype, jnp.floating):
            raise ArgumentError(
                "model", f"{self.name!r} returns {out.dtype}", "floating-point outputs (logits, not classes)"
            )
        return out

    def _named_leaves(self) -> list[Any]:
        named = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(self.params):
            named += [jax.tree_util.keystr(path), leaf]
        return named
