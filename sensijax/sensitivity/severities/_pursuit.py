"""Orthogonal matching pursuit: the few terms of a large basis that explain an output, chosen by leave-one-out error.

A term at a time is added, the one that takes most off the residual, and the least squares fit is carried along as a QR
factorisation; so the error of leaving out each call in turn is known at every step without another fit. A call may be
several rows (a value and the derivatives that came with it): then all of its rows are left out together, and only the
error of the value counts. Float64 on the host.
"""

from typing import NamedTuple

import numpy as np


class Fit(NamedTuple):
    """A sparse least squares fit.

    Attributes:
      terms: numbers of the chosen columns, in the order of the choice.
      coefficients: float64 `[len(terms)]`.
      error: leave-one-call-out mean squared error of values / their variance, corrected for the number of terms.
    """

    terms: np.ndarray
    coefficients: np.ndarray
    error: float


def pursue(columns: np.ndarray, y: np.ndarray, block: int, floor: float) -> Fit:
    """Chooses columns for y, and fits them.

    Args:
      columns: float64 `[calls * block, P]`; the first column is the constant term's; the first row of each block is the
        value.
      y: float64 `[calls * block]`.
      block: rows of a call.
      floor: an error at which to stop: below it there is nothing but the rounding of y.

    Returns:
      The fit with the smallest corrected leave-one-out error along the path.

    Reference:
      Pati, Rezaiifar and Krishnaprasad, "Orthogonal matching pursuit" (1993). Chapelle, Vapnik and Bengio, "Model
      selection for small sample regression", Machine Learning 48 (2002), for the correction of the error,
      n / (n - P) (1 + tr C^-1 / n), with C the columns' second moments.
    """
    rows, calls = len(y), len(y) // block
    variance = y.reshape(calls, block)[:, 0].var()
    most = min(columns.shape[1], max(1, int(0.9 * rows)))
    q = np.empty((rows, most))
    power = np.einsum("rp,rp->p", columns, columns)  # of what is left of each column beside those chosen
    whole = power.copy()
    alive = power > 0
    residual = y.astype(np.float64).copy()
    hat = np.zeros((calls, block, block))
    chosen: list[int] = []
    inverse = np.zeros((most, most))  # of R, column by column: its square norm is tr C^-1 / n
    best, count, trace = np.inf, 1, 0.0
    for k in range(most):
        if k == 0:
            j = 0
        else:
            # The residual is orthogonal to the chosen columns, so that whole ones stand for what is left of them.
            gain = np.where(alive, (residual @ columns) ** 2 / np.where(alive, power, 1.0), -1.0)
            j = int(np.argmax(gain))
            if gain[j] < 0:
                break
        direction = columns[:, j] - q[:, :k] @ (q[:, :k].T @ columns[:, j])
        direction -= q[:, :k] @ (q[:, :k].T @ direction)  # once more, against rounding
        length = np.linalg.norm(direction)
        direction /= length
        inverse[:k, k] = inverse[:k, :k] @ (q[:, :k].T @ columns[:, j]) / -length
        inverse[k, k] = 1 / length
        trace += float(inverse[: k + 1, k] @ inverse[: k + 1, k])
        q[:, k] = direction
        chosen.append(j)
        alive[j] = False
        residual -= direction * (direction @ residual)
        power -= (direction @ columns) ** 2
        alive &= power > 1e-10 * whole  # what is left of a dependent column is rounding
        own = direction.reshape(calls, block)
        hat += own[:, :, None] * own[:, None, :]
        spare = rows - len(chosen)
        missed = np.mean(_left_out(hat, residual)[:, 0] ** 2) / variance if variance else np.inf
        error = missed * rows / spare * (1 + trace) if spare else np.inf
        if error < best:
            best, count = error, len(chosen)
        if best < floor or len(chosen) > count + max(20, count // 2):
            break
    terms = np.asarray(chosen[:count])
    coefficients = inverse[:count, :count] @ (q[:, :count].T @ y)
    return Fit(terms, coefficients, float(best))


def resampled(columns: np.ndarray, coefficients: np.ndarray, missed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Coefficients under a wild bootstrap: the residuals of each call, when it was left out, with a random sign.

    Args:
      columns: float64 `[rows, P]`, the chosen ones.
      coefficients: float64 `[P]`, on these columns.
      missed: float64 `[rows]`, the residuals.
      draws: float64 `[resamples, calls]`, of mean 0 and variance 1.

    Returns:
      float64 `[resamples, P]`.

    Reference:
      Wu, "Jackknife, bootstrap and other resampling methods in regression analysis", Annals of Statistics 14 (1986).
    """
    from scipy.linalg import solve_triangular  # start-up that nothing else needs

    q, r = np.linalg.qr(columns)
    noise = np.repeat(draws, len(missed) // draws.shape[1], axis=1) * missed[None, :]
    return coefficients[None, :] + solve_triangular(r, q.T @ noise.T).T


def _left_out(hat: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Residuals `[calls, block]` of each call by the fit without it: (I - H_cc)^-1 r_c."""
    calls, block = hat.shape[:2]
    own = residual.reshape(calls, block)
    if block == 1:
        return own / np.maximum(1 - hat[:, 0], 1e-9)
    apart = np.eye(block)[None] * (1 + 1e-9) - hat
    return np.linalg.solve(apart, own[..., None])[..., 0]
