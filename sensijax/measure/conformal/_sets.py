"""Sets of classes: how badly each class fits (LAC, APS, RAPS), and the threshold that calibration puts on that."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import check_key, keys_of, words
from sensijax.measure._binomial import clopper_pearson, coverage_band
from sensijax.measure._validate import class_numbers, fraction, numbers, probabilities, whole_number
from sensijax.measure.conformal._quantile import as_ratio, rank_of, weighted_threshold

_CALIBRATION, _PREDICTION = 0x434F4E46, 0x53455453
"""Purposes, folded into a key: an example in calibration and one of the same id at prediction draw apart."""


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage:
    """How often sets held the truth.

    Attributes:
      coverage: the (weighted) share of examples whose set holds their class.
      low, high: interval of that share: Clopper and Pearson's, exact; with weights the same on the effective number of
        examples, which is an approximation.
      band: where the share of unweighted, exchangeable examples lies at this level, calibration drawn anew each time:
        the equal-tailed quantiles of the beta-binomial distribution with parameters k and n + 1 - k; (1, 1) where every
        class is in every set. Ties of scores, as of the last class in an APS without key, lift the share above it. NaN
        with ratios or weights, for which no such law holds.
      mean_size: classes in a set, on (weighted) average.
      empty: the (weighted) share of sets without any class.
      n_effective: (sum w)^2 / sum w^2; the number of examples without weights.
      level: of interval and band.
    """

    coverage: float
    low: float
    high: float
    band: tuple[float, float]
    mean_size: float
    empty: float
    n_effective: float
    level: float


@dataclasses.dataclass(frozen=True, eq=False)
class SetPredictor:
    """A calibrated predictor of sets of classes; made by `lac`, `aps` or `raps`.

    Attributes:
      method: "lac", "aps" or "raps".
      alpha: the share of truths that may be missed.
      scores: float64 `[n]`, those of the calibration examples, sorted.
      ratio: float64 `[n]`, their importance ratios in the same order, or None.
      classes: K.
      randomised: whether scores hold a uniform draw each, so that sets need a key.
      penalty, k_reg: of RAPS; 0 otherwise.
    """

    method: str
    alpha: float
    scores: np.ndarray
    ratio: np.ndarray | None
    classes: int
    randomised: bool
    penalty: float = 0.0
    k_reg: int = 0

    @property
    def k(self) -> int:
        """The place of the threshold among the sorted scores, ceil((n + 1)(1 - alpha))."""
        return rank_of(len(self.scores), self.alpha)

    @property
    def threshold(self) -> float:
        """The k-th smallest score; infinite where k > n. With ratios, at a ratio of 1."""
        if self.ratio is not None:
            return float(weighted_threshold(self.scores, self.ratio, self.alpha, np.ones(())))
        return float(self.scores[self.k - 1]) if self.k <= len(self.scores) else float("inf")

    @property
    def status(self) -> str:
        """Either "ok", or "too few examples": the threshold is infinite and every class is in every set."""
        return "ok" if np.isfinite(self.threshold) else "too few examples"

    def sets(self, probs: Any, key: jax.Array | None = None, ids: Any = None, *, ratio: Any = None) -> np.ndarray:
        """The classes whose score does not exceed the threshold. A set can be empty; no class is forced into one.

        Args:
          probs: `[N, K]` in [0, 1], rows that sum to 1.
          key: typed key, for a randomised predictor and for no other. It may be that of calibration.
          ids: integers `[N]` in [0, 2**64) that address the draws; the row numbers unless given.
          ratio: for a predictor with ratios: `[N]`, density of the new inputs over that of calibration at each row; or
            `[N, K]`, the ratio that a row has if class k is its truth (prior shift: rows p_new(k) / p_calibration(k)).

        Returns:
          bool `[N, K]`.

        Raises:
          ArgumentError: if shapes do not fit, values are out of range, or a key or ratios are missing or of no use.
        """
        probs = _rows(probs, self.classes)
        self._check_key(key)
        scores = _scores(probs, self.method, self.penalty, self.k_reg, _uniforms(key, ids, len(probs), _PREDICTION))
        if self.ratio is None:
            if ratio is not None:
                raise ArgumentError("ratio", "ratios", "none: this predictor was calibrated without any")
            return scores <= self.threshold
        if ratio is None:
            raise ArgumentError("ratio", "None", "the ratio of each row: this predictor was calibrated with ratios")
        shape = probs.shape if np.ndim(ratio) == 2 else probs.shape[:1]
        at = as_ratio("ratio", ratio, shape)
        threshold = weighted_threshold(self.scores, self.ratio, self.alpha, at)
        return scores <= (threshold if threshold.ndim == 2 else threshold[:, None])

    def coverage(
        self,
        probs: Any,
        labels: Any,
        weights: Any = None,
        *,
        key: jax.Array | None = None,
        ids: Any = None,
        ratio: Any = None,
        level: float = 0.95,
    ) -> Coverage:
        """How often the sets of labelled examples hold the label.

        Args:
          probs: `[N, K]`, as in `sets`.
          labels: integer `[N]` in [0, K).
          weights: `[N]` >= 0, how much each example counts in the shares (those of a drift, say); 1 unless given.
          key, ids, ratio: as in `sets`.
          level: of the interval and the band, in (0, 1).

        Returns:
          The share, its interval and the band in which exchangeable examples would put it.

        Raises:
          ArgumentError: for what `sets` refuses, labels that do not fit, or weights that are all zero.
        """
        level = fraction("level", level, "a confidence level")
        sets = self.sets(probs, key, ids, ratio=ratio)
        labels = _labels(labels, len(sets), self.classes)
        hit, size = sets[np.arange(len(sets)), labels], sets.sum(axis=1)
        w = np.ones(len(sets)) if weights is None else as_ratio("weights", weights, (len(sets),))
        w = w / w.sum()
        share, effective = float(w @ hit), float(1 / (w @ w))
        trials = len(sets) if weights is None else effective
        low, high = clopper_pearson(hit.sum() if weights is None else share * trials, trials, level)
        if weights is not None or self.ratio is not None:
            band = (float("nan"), float("nan"))
        else:
            band = coverage_band(self.k, len(self.scores), len(sets), level)
        return Coverage(share, float(low), float(high), band, float(w @ size), float(w @ (size == 0)), effective, level)

    def _check_key(self, key: jax.Array | None) -> None:
        if self.randomised and key is None:
            raise ArgumentError("key", "None", "a typed key: this predictor is randomised")
        if not self.randomised and key is not None:
            raise ArgumentError("key", "a key", "None: this predictor draws nothing")


def lac(probs: Any, labels: Any, alpha: float, *, ratio: Any = None) -> SetPredictor:
    """Least ambiguous sets (LAC, also THR): a class is in if its probability is high enough; score 1 - p.

    The smallest sets on average where probabilities are right; hard examples may get an empty one. Ties of scores make
    the coverage exceed 1 - alpha, never fall short of it.

    Args:
      probs: `[n, K]` in [0, 1], rows that sum to 1, of calibration examples that the model was not fitted on.
      labels: integer `[n]` in [0, K).
      alpha: the share of truths that may be missed, in (0, 1).
      ratio: `[n]` >= 0, the density of what is to be predicted over that of calibration, at each example, up to one
        common factor: weighted conformal prediction for covariate or prior shift. Then `sets` needs ratios on the same
        scale. The promise is as good as the ratios are.

    Returns:
      A calibrated predictor. Where n is too small for alpha its `status` says so, and its sets hold every class.

    Raises:
      ArgumentError: if shapes do not fit or values are out of range.

    Reference:
      Sadinle, Lei and Wasserman, "Least ambiguous set-valued classifiers with bounded error levels", JASA 114 (2019).
      Ratios: Tibshirani, Barber, Candes and Ramdas, "Conformal prediction under covariate shift", NeurIPS 2019;
      Podkopaev and Ramdas, "Distribution-free uncertainty quantification for classification under label shift", UAI
      2021.
    """
    return _calibrate("lac", probs, labels, alpha, ratio, None, None)


def aps(
    probs: Any, labels: Any, alpha: float, *, key: jax.Array | None = None, ids: Any = None, ratio: Any = None
) -> SetPredictor:
    """Adaptive prediction sets: classes are added from the likeliest on; the score is the probability gathered.

    With a key, the last class counts with a uniform share of its probability, drawn anew for each example: coverage
    does not exceed 1 - alpha by more than 1/(n + 1), and sets can be empty. Without one it counts in full: valid, but
    sets are larger than they need be. Classes of equal probability are ranked by their number. A class is in if its own
    score does not exceed the threshold. Rules that add the class which crosses the threshold, or the likeliest class to
    an empty set, give larger sets than this and cover more than they promise.

    MAPIE 1.6.0 always calibrates as with a key here (its share u is 1 - u of this), whatever its sets do. Its
    `include_last_label="randomized"` gives the sets of this function with a key, draw for draw. Its other two rules
    count the last class in full against that same, lower threshold: `True`, which is what it does unless told, adds the
    class that crosses it and covers more than 1 - alpha; `False` leaves it out, adds the likeliest class to an empty
    set, and can cover less. Neither is this function without a key, which counts in full on both sides.

    Args:
      probs, labels, alpha, ratio: as in `lac`.
      key: typed key, for the randomised scores.
      ids: integers `[n]` in [0, 2**64) that address the draws; the row numbers unless given.

    Returns:
      A calibrated predictor; a randomised one needs a key for its sets too.

    Raises:
      ArgumentError: if shapes do not fit or values are out of range.

    Reference:
      Romano, Sesia and Candes, "Classification with valid and adaptive coverage", NeurIPS 2020.
    """
    return _calibrate("aps", probs, labels, alpha, ratio, key, ids)


def raps(
    probs: Any,
    labels: Any,
    alpha: float,
    *,
    penalty: float,
    k_reg: int,
    key: jax.Array | None = None,
    ids: Any = None,
    ratio: Any = None,
) -> SetPredictor:
    """Regularised adaptive prediction sets: as `aps`, and every rank beyond `k_reg` costs `penalty`.

    Neither is tuned here: choose them without the calibration examples, or the promise is lost.

    MAPIE 1.6.0 tunes both on a part of the calibration examples, which it then leaves out (`size_raps`, a tenth unless
    told). Given what it chose and the rows that it kept, thresholds are equal, and sets relate as in `aps`. Its
    randomised sets can differ from these where one reaches two ranks or more beyond `k_reg`: there it scales the share
    of the last class by its probability less the penalty gathered.

    Args:
      probs, labels, alpha, key, ids, ratio: as in `aps`.
      penalty: lambda of the paper, finite, >= 0; 0 is APS.
      k_reg: ranks that cost nothing, >= 0.

    Returns:
      A calibrated predictor; a randomised one needs a key for its sets too.

    Raises:
      ArgumentError: if shapes do not fit or values are out of range.

    Reference:
      Angelopoulos, Bates, Malik and Jordan, "Uncertainty sets for image classifiers using conformal prediction", ICLR
      2021.
    """
    if isinstance(penalty, (bool, str)) or np.ndim(penalty) or not 0 <= penalty < np.inf:
        raise ArgumentError("penalty", repr(penalty), "a finite number, 0 or more")
    return _calibrate("raps", probs, labels, alpha, ratio, key, ids, float(penalty), whole_number("k_reg", k_reg, 0))


def _calibrate(
    method: str,
    probs: Any,
    labels: Any,
    alpha: float,
    ratio: Any,
    key: jax.Array | None,
    ids: Any,
    penalty: float = 0.0,
    k_reg: int = 0,
) -> SetPredictor:
    fraction("alpha", alpha, "a share that may be missed")
    probs = _rows(probs)
    labels = _labels(labels, len(probs), probs.shape[1])
    scores = _scores(probs, method, penalty, k_reg, _uniforms(key, ids, len(probs), _CALIBRATION))
    scores = scores[np.arange(len(probs)), labels]
    order = np.argsort(scores, kind="stable")
    if ratio is not None:
        ratio = as_ratio("ratio", ratio, labels.shape)[order]
    return SetPredictor(method, alpha, scores[order], ratio, probs.shape[1], key is not None, penalty, k_reg)


def _scores(probs: np.ndarray, method: str, penalty: float, k_reg: int, u: np.ndarray | None) -> np.ndarray:
    """The score of every class, float64 `[N, K]`: low where it fits."""
    if method == "lac":
        return 1 - probs
    order = np.argsort(-probs, axis=1, kind="stable")
    ranked = np.take_along_axis(probs, order, axis=1)
    scores = np.minimum(np.cumsum(ranked, axis=1), 1)
    scores[:, -1] = 1  # exactly, or rounding would tell ties apart: the last class gathers everything in every row
    if u is not None:
        scores -= (1 - u)[:, None] * ranked
    scores += penalty * np.maximum(np.arange(1, probs.shape[1] + 1) - k_reg, 0)[None]
    out = np.empty_like(scores)
    np.put_along_axis(out, order, scores, axis=1)
    return out


def _uniforms(key: jax.Array | None, ids: Any, n: int, purpose: int) -> np.ndarray | None:
    """A uniform number for each example, addressed by its id; None without a key."""
    if key is None:
        return None
    ids = np.arange(n) if ids is None else np.asarray(ids)
    if ids.shape != (n,):
        raise ArgumentError("ids", f"shape {list(ids.shape)}", f"one for each of {n} examples")
    keys = keys_of(jax.random.fold_in(check_key(key), purpose), jnp.asarray(words(ids, "ids")))
    return np.asarray(jax.vmap(jax.random.uniform)(keys), np.float64)


def _rows(probs: Any, classes: int | None = None) -> np.ndarray:
    probs = numbers("probs", probs, 2)
    if not len(probs) or probs.shape[1] < 2 or classes not in (None, probs.shape[1]):
        raise ArgumentError("probs", f"shape {list(probs.shape)}", f"[N, {classes or 'K'}], N >= 1, 2 classes or more")
    probs = probabilities("probs", probs, 2)
    sums = probs.sum(axis=1)
    if (far := np.flatnonzero(np.abs(sums - 1) > 1e-3)).size:
        raise ArgumentError("probs", f"row {far[0]} sums to {sums[far[0]]:g}", "probabilities: rows that sum to 1")
    return probs


def _labels(labels: Any, n: int, classes: int) -> np.ndarray:
    labels = class_numbers("labels", labels, classes)
    if len(labels) != n:
        raise ArgumentError("labels", f"{len(labels)}", f"one for each of {n} rows of `probs`")
    return labels
