"""Directions in the space of features, along which a distribution moves."""

import dataclasses
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError
from sensijax.drift.simulate._features import columns, moments
from sensijax.drift.simulate._validate import check_finite, check_indices, classes_of

_DENSE = 512  # features, up to which the covariance is written out


class Along(Protocol):
    """Something that names a direction once it sees the data."""

    def of(self, data: Dataset) -> Float[np.ndarray, "d"]:
        """The direction, float64 `[D]`, of any length above 0; D counts the features of an example in C order."""
        ...


@dataclasses.dataclass(frozen=True)
class Feature:
    """Along one feature.

    Attributes:
      index: its number in an example, in C order.

    Example:
      >>> Feature(1).of(Dataset(np.eye(3, dtype=np.float32), np.zeros(3, int))).tolist()
      [0.0, 1.0, 0.0]
    """

    index: int

    def of(self, data: Dataset) -> np.ndarray:
        d = columns(data).shape[1]
        check_indices("index", [self.index], d, "features")
        return np.eye(1, d, self.index)[0]


@dataclasses.dataclass(frozen=True)
class Direction:
    """Along a direction of your own, such as the weights of a linear probe.

    Attributes:
      values: D numbers, not all 0.
    """

    values: tuple[float, ...]

    def __post_init__(self):
        object.__setattr__(self, "values", tuple(float(v) for v in self.values))

    def of(self, data: Dataset) -> np.ndarray:
        direction, d = np.asarray(self.values, np.float64), columns(data).shape[1]
        if len(direction) != d:
            raise ArgumentError("along", f"{len(direction)} numbers", f"{d}: one for each feature of an example")
        if not np.isfinite(direction).all() or not direction.any():
            raise ArgumentError("along", "zeros only, NaN or infinity", "a direction: finite numbers, not all 0")
        return direction


@dataclasses.dataclass(frozen=True)
class ClassDifference:
    """From the mean of one class to the mean of another.

    Attributes:
      source, target: the two classes.

    Example:
      >>> data = Dataset(np.array([[0, 0], [2, 1]], np.float32), np.array([0, 1]))
      >>> ClassDifference(0, 1).of(data).tolist()
      [2.0, 1.0]
    """

    source: int
    target: int

    def of(self, data: Dataset) -> np.ndarray:
        counts = classes_of(data, "the direction lies between two classes")
        if self.source == self.target:
            raise ArgumentError("target", self.target, "another class than `source`")
        for name, k in (("source", self.source), ("target", self.target)):
            check_indices(name, [k], len(counts), "classes")
            if not counts[k]:
                raise ArgumentError(name, f"class {k}, without an example", "a class that occurs")
        x = columns(data)
        means = [x[data.y == k].mean(axis=0, dtype=np.float64) for k in (self.source, self.target)]
        if not (means[1] - means[0]).any():
            raise ArgumentError("target", f"class {self.target}, with the mean of class {self.source}", "another mean")
        return means[1] - means[0]


@dataclasses.dataclass(frozen=True)
class PrincipalComponent:
    """Along a principal component of the features: the direction in which the data spread most.

    Its sign is free; here its entry of largest magnitude is positive.

    Attributes:
      rank: 0 is the first component, 1 the second, ...

    Example:
      >>> x = np.array([[0, 0], [1, 2], [2, 4]], np.float32)
      >>> PrincipalComponent().of(Dataset(x, np.zeros(3, int))).round(3).tolist()
      [0.447, 0.894]
    """

    rank: int = 0

    def of(self, data: Dataset) -> np.ndarray:
        x = columns(data)
        check_indices("rank", [self.rank], x.shape[1], "components")
        variances, vectors = principal_components(x, self.rank + 1)
        if variances[self.rank] <= 1e-12 * variances[0]:
            raise ArgumentError("rank", self.rank, "a component along which the data vary")
        return vectors[self.rank]


def principal_components(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Variances `[count]`, from the largest, and unit directions `[count, D]` of the columns of `x`, float64.

    Up to 512 features by the eigenvectors of the covariance; beyond, by Lanczos iterations that never write it out.
    """
    mean, std = moments(x)
    if not std.any():
        raise ArgumentError("data.x", "constant features only", "at least one that varies")
    n, d = x.shape
    if d <= _DENSE:
        centred = x - mean
        variances, vectors = np.linalg.eigh(centred.T @ centred / n)
        variances, vectors = variances[::-1][:count], vectors.T[::-1][:count]
    else:
        import scipy.sparse.linalg  # a quarter of a second of start-up that few features do without

        def covariance(v: np.ndarray) -> np.ndarray:
            along = x @ v.ravel().astype(x.dtype) - mean @ v.ravel()
            return (x.T @ along.astype(x.dtype) - mean * along.sum()) / n

        operator = scipy.sparse.linalg.LinearOperator((d, d), covariance, dtype=np.float64)  # type: ignore[call-arg]
        variances, vectors = scipy.sparse.linalg.eigsh(operator, k=count, v0=std, tol=1e-5)
        order = np.argsort(-variances)
        variances, vectors = variances[order], vectors.T[order]
    top = np.abs(vectors).argmax(axis=1)
    return np.maximum(variances, 0), vectors * np.sign(vectors[np.arange(len(vectors)), top])[:, None]


def along(value: Any) -> Any:
    """An `Along` as a static field keeps it: an integer is a feature, a sequence of numbers a direction.

    Example:
      >>> along(3), along([0.6, 0.8])
      (Feature(index=3), Direction(values=(0.6, 0.8)))
    """
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return Feature(int(value))
    if isinstance(value, (list, tuple, np.ndarray)) and np.ndim(value) == 1:
        return Direction(tuple(value))
    if not hasattr(value, "of"):
        raise ArgumentError("along", repr(value), "a feature's number, D numbers, or such as PrincipalComponent()")
    return value


def fitted_direction(value: Along, data: Dataset) -> tuple[np.ndarray, float]:
    """A direction of length 1, float64 `[D]`, and the standard deviation of the data along it, above 0."""
    check_finite(data)
    direction = np.asarray(value.of(data), np.float64)
    direction = direction / np.linalg.norm(direction)
    x = columns(data)
    spread = float((x @ direction - x.mean(axis=0, dtype=np.float64) @ direction).std())
    scale = float(np.abs(x).max())
    if not spread > 1e-7 * scale:
        raise ArgumentError("along", f"{value}, along which the data are constant", "a direction in which they vary")
    return direction, spread
