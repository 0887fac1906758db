"""A Gaussian process surrogate, by scikit-learn: for responses with creases, which polynomials fit badly."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError, MissingExtraError
from sensijax.sensitivity.indices._result import given_sample
from sensijax.sensitivity.surrogates._basis import smooth_space


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianProcess:
    """A Gaussian process with a Matern kernel of smoothness 5/2 and a length for each input, plus white noise.

    Attributes:
      names: of the inputs.
      cross_validated: squared error at points left out in five folds, with the kernel of the whole, over the variance.
      noise: the noise's share of the variance.
      lengths: float64 `[d]`, correlation lengths as shares of each input's range: short ones matter.
    """

    names: tuple[str, ...]
    cross_validated: float
    noise: float
    lengths: np.ndarray
    _process: Any
    _scale: tuple[np.ndarray, np.ndarray, float, float]

    def predict(self, x: Any) -> np.ndarray:
        """The mean at `[m, d]`: `[m]`."""
        return self._at(x)[0]

    def predict_with_deviation(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """The mean and its standard deviation at `[m, d]`, each `[m]`; the noise of a value is not in it."""
        return self._at(x)

    def gradient(self, x: Any, step: float = 1e-4) -> np.ndarray:
        """Slopes of the mean at `[m, d]` by central differences over a share `step` of each range: `[m, d]`."""
        x = np.asarray(x, np.float64)
        found = []
        for i in range(x.shape[1]):
            move = np.zeros(x.shape[1])
            move[i] = step * self._scale[1][i]
            found.append((self.predict(x + move) - self.predict(x - move)) / (2 * move[i]))
        return np.stack(found, axis=-1)

    def _at(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ArgumentError("x", f"shape {list(x.shape)}", f"[m, {len(self.names)}]")
        low, width, centre, spread = self._scale
        mean, deviation = self._process.predict((x - low) / width, return_std=True)
        noise = self._process.kernel_.k2.noise_level
        return centre + spread * mean, spread * np.sqrt(np.maximum(deviation**2 - noise, 0))


def gaussian_process(x: Any, y: Any, slopes: Any, space: Any) -> GaussianProcess:
    """Fits a Gaussian process to values; for `surface(..., fit=gaussian_process)`. Needs the extra `gp`.

    Args:
      x: `[n, d]`, n >= 10.
      y: `[n]`.
      slopes: not used; in the place where a surrogate's fit takes them.
      space: the inputs' distributions.

    Returns:
      A `GaussianProcess`.

    Raises:
      ArgumentError: if shapes do not fit.
      MissingExtraError: without scikit-learn.

    Reference:
      Rasmussen and Williams, "Gaussian processes for machine learning" (2006).

    Example:
      >>> from sensijax.sensitivity import Uniform
      >>> x = np.random.default_rng(0).random((30, 1))
      >>> found = gaussian_process(x, abs(x[:, 0] - 0.5), None, {"x": Uniform(0.0, 1.0)})
      >>> found.predict([[0.25]]).round(2).tolist(), found.cross_validated < 0.05
      ([0.25], True)
    """
    try:
        from sklearn.base import clone
        from sklearn.gaussian_process import GaussianProcessRegressor, kernels
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "gp", "a Gaussian process surrogate") from error
    space = smooth_space(space, "gaussian_process")
    x, y, names, shape = given_sample(x, y, space)
    if shape or len(x) < 10:
        raise ArgumentError("y", f"{len(x)} points and outputs {list(shape)}", "one output, at least 10 points")
    y = y[:, 0]
    low, width = x.min(axis=0), np.maximum(np.ptp(x, axis=0), 1e-300)
    centre, spread = y.mean(), y.std()
    if not spread > 0:
        raise ArgumentError("y", "a constant", "values that vary")
    u, v = (x - low) / width, (y - centre) / spread
    kernel = kernels.ConstantKernel(1.0, (1e-2, 1e4)) * kernels.Matern(np.ones(x.shape[1]), (5e-2, 1e3), nu=2.5)
    process = GaussianProcessRegressor(
        kernel + kernels.WhiteKernel(1e-4, (1e-10, 1.0)), n_restarts_optimizer=2, random_state=0
    )
    import warnings

    with warnings.catch_warnings():  # a length at its bound is an input that does not matter
        warnings.simplefilter("ignore")
        process.fit(u, v)
        fold, missed = np.random.default_rng(0).permutation(len(u)) % 5, np.empty(len(u))
        for k in range(5):
            part = GaussianProcessRegressor(clone(process.kernel_), optimizer=None).fit(u[fold != k], v[fold != k])
            missed[fold == k] = v[fold == k] - part.predict(u[fold == k])
    return GaussianProcess(
        names,
        float(np.mean(missed**2)),
        float(process.kernel_.k2.noise_level),
        np.atleast_1d(process.kernel_.k1.k2.length_scale),
        process,
        (low, width, float(centre), float(spread)),
    )
