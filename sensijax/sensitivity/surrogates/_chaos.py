"""A polynomial chaos expansion: indices of any order straight from its coefficients, predictions, errors."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError, did_you_mean
from sensijax.sensitivity.indices._result import Result
from sensijax.sensitivity.indices._space import float_dtype
from sensijax.sensitivity.surrogates._basis import Basis


@dataclasses.dataclass(frozen=True, eq=False)
class PolynomialChaos(Result):
    """A sparse polynomial chaos expansion, and the Sobol indices that it has. A trailing `[k]` where f has one.

    The intervals are those of a wild bootstrap over calls with the chosen terms fixed, widened on both sides by the
    cross-validated error, the share of the variance that the expansion does not explain and that may belong to any
    input, and by the rounding of the values.

    Attributes:
      S1, ST: float64 `[d]`, first-order and total indices, exact for the expansion.
      S2: float64 `[d, d]`, second order, symmetric, NaN on the diagonal.
      S1_interval, ST_interval, S2_interval: low and high, `[d, 2]`, `[d, d, 2]`.
      mean, variance: float64, of the expansion.
      error: leave-one-out mean squared error / variance of the values, with the chosen terms fixed; what degree and
        number of terms were chosen by, and optimistic for that.
      cross_validated: the same of five folds, in each of which the terms are chosen anew. 0.01 means that 1 % of the
        variance is missed at points that the fit has not seen.
      names: of the inputs.
      n_evaluations: calls of f.
      level: of the intervals.
      expansions: for each output, (basis, float64 coefficients).
      scalar: whether f returns a scalar.
    """

    S1: np.ndarray
    ST: np.ndarray
    S2: np.ndarray
    S1_interval: np.ndarray
    ST_interval: np.ndarray
    S2_interval: np.ndarray
    mean: Any
    variance: Any
    error: Any
    cross_validated: Any
    names: tuple[str, ...]
    n_evaluations: int
    level: float
    expansions: tuple[tuple[Basis, np.ndarray], ...]
    scalar: bool

    def predict(self, x: Any) -> np.ndarray:
        """The expansion in float64 on the host: inputs `[m, d]` to `[m]`, or `[m, k]`."""
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ArgumentError("x", f"shape {list(x.shape)}", f"[m, {len(self.names)}]")
        out = np.stack([basis.terms(x) @ c for basis, c in self.expansions], axis=-1)
        return out[:, 0] if self.scalar else out

    def gradient(self, x: Any) -> np.ndarray:
        """Its derivatives with respect to the inputs: `[m, d]` to `[m, d]`, or `[m, k, d]`."""
        found = []
        for basis, c in self.expansions:
            _, slopes, scale = basis.derivatives(x)
            found.append((slopes @ c) * scale)
        return found[0] if self.scalar else np.stack(found, axis=1)

    def __call__(self, point: jax.Array) -> jax.Array:
        """The expansion as a pure function of one point `[d]` on the device: for `jax.grad`, `jit`, or `sobol`."""
        dtype = float_dtype()
        point = jnp.asarray(point, dtype)
        out = [basis.traced(point) @ jnp.asarray(c, dtype) for basis, c in self.expansions]
        return out[0] if self.scalar else jnp.stack(out)

    def interaction(self, *names: str) -> Any:
        """The share of the variance of exactly these inputs together: the Sobol index of that order."""
        return self._share(names, closed=False)

    def closed(self, *names: str) -> Any:
        """The share that these inputs explain, alone and among themselves: the closed index of the set."""
        return self._share(names, closed=True)

    def _share(self, names: tuple[str, ...], closed: bool) -> Any:
        for name in names:
            if name not in self.names:
                raise ArgumentError("names", repr(name), did_you_mean(name, self.names))
        if not names or len(set(names)) != len(names):
            raise ArgumentError("names", repr(names), "at least one input, none twice")
        inside = np.isin(self.names, names)
        found = []
        for basis, c in self.expansions:
            on = basis.alpha > 0
            power = np.where(on.any(axis=1), c**2, 0.0)
            whole = ~on[:, ~inside].any(axis=1) if closed else (on == inside[None, :]).all(axis=1)
            found.append(power[whole].sum() / power.sum() if power.sum() else np.nan)
        return float(found[0]) if self.scalar else np.asarray(found)

    def _measures(self) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
        return [(name, getattr(self, name), getattr(self, f"{name}_interval")) for name in ("S1", "ST", "S2")]


def shares(alpha: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """S1 `[..., d]`, ST `[..., d]`, S2 `[..., d, d]` and the variance of coefficients `[..., P]`."""
    on = alpha > 0
    order = on.sum(axis=1)
    power = np.where(order > 0, coefficients**2, 0.0)
    variance = power.sum(axis=-1)
    scale = np.where(variance > 0, variance, np.nan)[..., None]
    alone = (on & (order == 1)[:, None]).astype(np.float64)
    total = on.astype(np.float64)
    two = total[order == 2]
    pairs = np.einsum("...p,pi,pj->...ij", power[..., order == 2], two, two) / scale[..., None]
    pairs = np.where(np.eye(alpha.shape[1], dtype=bool), np.nan, pairs)
    return power @ alone / scale, power @ total / scale, pairs, variance
