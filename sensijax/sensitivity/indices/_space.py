"""The space of uncertain inputs: names, distributions, correlation, groups; and the map from the unit cube to it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float

from sensijax.core.errors import ArgumentError
from sensijax.core.struct import static, struct
from sensijax.sensitivity.indices._distribution import Distribution, LogNormal, Normal


@struct
class Transform:
    """From the unit cube to the inputs, on the device; the numbers of distributions are leaves.

    Attributes:
      numbers: for each family, its parameters stacked over its inputs, `[d_family, ...]`.
      cholesky: lower triangular `[d, d]`, of the copula's correlation; None if inputs are independent.
      families: what each family is.
      order: the input number of each stacked row.
    """

    numbers: tuple[tuple[Any, ...], ...]
    cholesky: Any
    families: tuple[tuple[Any, ...], ...] = static()
    order: tuple[int, ...] = static()

    def __call__(self, u: Float[Array, "d m"]) -> Float[Array, "d m"]:
        """Inputs `[d, m]` at points `[d, m]` of the open unit cube, of the same dtype."""
        if self.cholesky is None:
            return self._each(u, None)
        return self.from_score(self.correlated(ndtri(u)))

    def correlated(self, independent: Float[Array, "d m"]) -> Float[Array, "d m"]:
        """Correlated standard normal scores from independent ones."""
        if self.cholesky is None:
            return independent
        return jnp.matmul(self.cholesky.astype(independent.dtype), independent, precision="highest")

    def from_score(self, z: Float[Array, "d m"]) -> Float[Array, "d m"]:
        """Inputs `[d, m]` at standard normal scores `[d, m]`."""
        edge = jnp.finfo(z.dtype).epsneg  # below it a probability of 1 would be an infinite value
        return self._each(jnp.clip(ndtr(z), edge, 1 - edge), z)

    def _each(self, u: Array, z: Array | None) -> Array:
        parts, start = [], 0
        for numbers, family in zip(self.numbers, self.families, strict=True):
            count = len(numbers[0])
            rows = slice(None) if count == len(self.order) else np.asarray(self.order[start : start + count])
            own = tuple(jnp.asarray(number, u.dtype) for number in numbers)
            own = tuple(number[:, None] if number.ndim == 1 else number for number in own)
            if z is not None and family[0] in (Normal, LogNormal):
                parts.append(family[0].from_score(own, z[rows]))
            else:
                parts.append(family[0].quantile(own, u[rows], False, family))
            start += count
        if len(parts) == 1:
            return parts[0]
        return jnp.concatenate(parts)[np.argsort(self.order)]


@dataclasses.dataclass(frozen=True, eq=False)
class Space:
    """Uncertain inputs: distributions by name, in order, with correlation and groups.

    Attributes:
      inputs: `{name: distribution}`; the order is that of the entries of the point that the function sees.
      correlation: `[d, d]` correlation of the Gaussian copula: of the normal scores of the inputs, not of the inputs
        themselves (the two agree for `Normal` inputs). Or `{(name, name): number}` for the pairs that are correlated.
        Absent: independent.
      groups: `{group: [names]}`; methods that know groups give one index for each. Inputs in no group are a group of
        their own. Absent: every input by itself.

    Raises:
      ArgumentError: if there is no input, an entry is no distribution, the correlation is not one, or a group names an
        input that does not exist or that another group has.

    Example:
      >>> from sensijax.sensitivity import Normal, Uniform
      >>> inputs = {"x": Uniform(0.0, 1.0), "y": Normal(0.0, 1.0), "z": Normal(0.0, 1.0)}
      >>> space = Space(inputs, groups={"yz": ["y", "z"]})
      >>> space.dimension, space.group_names, space.membership
      (3, ('x', 'yz'), (0, 1, 1))
    """

    inputs: Mapping[str, Distribution]
    correlation: Any = None
    groups: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.inputs, Mapping) or not self.inputs:
            raise ArgumentError(
                "space", repr(self.inputs), "a dict from names to distributions, with at least one entry"
            )
        for name, distribution in self.inputs.items():
            if not isinstance(distribution, Distribution):
                raise ArgumentError(
                    f"space[{name!r}]", repr(distribution), "a distribution, such as Uniform(low, high)"
                )
        object.__setattr__(self, "inputs", dict(self.inputs))
        object.__setattr__(self, "correlation", _correlation(self.correlation, self.names))
        _ = self.membership

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs' names, in order."""
        return tuple(self.inputs)

    @property
    def dimension(self) -> int:
        """The number of inputs, d."""
        return len(self.inputs)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the groups, in the order of their first input."""
        return tuple(dict.fromkeys(self._group_of(name) for name in self.names))

    @property
    def membership(self) -> tuple[int, ...]:
        """The number of each input's group, `[d]`."""
        seen: dict[str, str] = {}
        for group, members in (self.groups or {}).items():
            for name in members:
                if name not in self.inputs:
                    raise ArgumentError(f"groups[{group!r}]", repr(name), f"the inputs are {', '.join(self.names)}")
                if name in seen:
                    raise ArgumentError(f"groups[{group!r}]", repr(name), f"it is in {seen[name]!r} already")
                seen[name] = group
        for name in self.names:
            if name not in seen and name in (self.groups or {}):
                raise ArgumentError("groups", repr(name), "a group bears the name of an input that it does not hold")
        number = {name: i for i, name in enumerate(self.group_names)}
        return tuple(number[self._group_of(name)] for name in self.names)

    def _group_of(self, name: str) -> str:
        return next((group for group, members in (self.groups or {}).items() if name in members), name)

    def transform(self) -> Transform:
        """The map from the unit cube to the inputs, ready for the device."""
        families: dict[Any, list[int]] = {}
        distributions = list(self.inputs.values())
        for i, distribution in enumerate(distributions):
            families.setdefault(distribution.family(), []).append(i)
        numbers = tuple(
            tuple(np.stack(column) for column in zip(*(distributions[i].numbers() for i in members), strict=True))
            for members in families.values()
        )
        cholesky = None if self.correlation is None else np.linalg.cholesky(self.correlation)
        order = tuple(i for members in families.values() for i in members)
        return Transform(numbers=numbers, cholesky=cholesky, families=tuple(families), order=order)

    def from_unit(self, u: Any) -> np.ndarray:
        """Inputs at points of the open unit cube.

        Args:
          u: float `[n, d]` in (0, 1).

        Returns:
          `[n, d]`, of JAX's default float.

        Raises:
          ArgumentError: if the shape does not fit or a coordinate is outside.

        Example:
          >>> from sensijax.sensitivity import Uniform
          >>> Space({"x": Uniform(2.0, 4.0)}).from_unit([[0.5]]).tolist()
          [[3.0]]
        """
        given = np.asarray(u)
        if given.ndim != 2 or given.shape[1] != self.dimension:
            raise ArgumentError("u", f"shape {list(given.shape)}", f"[n, {self.dimension}]")
        if not ((given > 0) & (given < 1)).all():
            raise ArgumentError("u", "a coordinate outside", "coordinates lie in the open interval (0, 1)")
        return np.asarray(_apply(self.transform(), jnp.asarray(given.T, float_dtype()))).T

    def dependent_groups(self) -> tuple[str, str] | None:
        """Two groups that are correlated with each other, if there are any."""
        if self.correlation is None:
            return None
        group = np.asarray(self.membership)
        across = (self.correlation != 0) & (group[:, None] != group[None, :])
        if not across.any():
            return None
        i, j = np.argwhere(across)[0]
        return self.group_names[group[i]], self.group_names[group[j]]


@jax.jit
def _apply(transform: Transform, u: Array) -> Array:
    return transform(u)


def float_dtype() -> Any:
    """JAX's default float: float32, or float64 where 64 bits are enabled."""
    return jax.dtypes.canonicalize_dtype(np.float64)


def as_space(space: Any) -> Space:
    """A `Space` from a `Space` or a plain dict of distributions."""
    return space if isinstance(space, Space) else Space(space)


def independent(space: Any, method: str) -> Space:
    """A space whose groups are independent, or an error that names the method for dependent ones."""
    space = as_space(space)
    if (pair := space.dependent_groups()) is not None:
        raise ArgumentError(
            "space",
            f"{pair[0]!r} and {pair[1]!r} are correlated",
            f"`{method}` assumes independent inputs; use `shapley_effects`, or put what is correlated into one group",
        )
    return space


def differentiable(space: Any, method: str) -> Space:
    """A space of independent, ungrouped inputs that all have a derivative."""
    space = as_space(space)
    for name, distribution in space.inputs.items():
        if not distribution.has_derivative:
            raise ArgumentError(
                f"space[{name!r}]", repr(distribution), f"`{method}` needs derivatives, and it has none; use `sobol`"
            )
    return space


def _correlation(given: Any, names: tuple[str, ...]) -> np.ndarray | None:
    if given is None:
        return None
    d = len(names)
    if isinstance(given, Mapping):
        matrix = np.eye(d)
        for pair, value in given.items():
            if len(pair) != 2 or pair[0] == pair[1] or not set(pair) <= set(names):
                raise ArgumentError("correlation", repr(pair), f"a pair of two of {', '.join(names)}")
            i, j = names.index(pair[0]), names.index(pair[1])
            matrix[i, j] = matrix[j, i] = value
    else:
        matrix = np.asarray(given, np.float64)
    if matrix.shape != (d, d):
        raise ArgumentError("correlation", f"shape {list(matrix.shape)}", f"[{d}, {d}], or a dict of pairs")
    if not np.array_equal(matrix, matrix.T) or not (np.diag(matrix) == 1).all():
        raise ArgumentError("correlation", "not a correlation matrix", "it is symmetric, with 1 on the diagonal")
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    if not smallest > 1e-10:
        raise ArgumentError("correlation", f"smallest eigenvalue {smallest:.3g}", "it is positive definite")
    return None if np.array_equal(matrix, np.eye(d)) else matrix
