"""What is read back of the exhibit of stress: what happens inside the model, and sets of classes with their sizes."""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd
from scipy.special import softmax

from sensijax import measure
from sensijax.campaign.exhibits._exhibits import read_exhibit
from sensijax.campaign.exhibits._inside import COLUMNS
from sensijax.campaign.results._uncertainty import LEVEL, calibrates, share_of
from sensijax.core.errors import ArgumentError
from sensijax.core.keys import GENERATOR
from sensijax.measure._binomial import coverage_band

if TYPE_CHECKING:
    from sensijax.campaign.results._results import Results


def propagation_of(results: "Results") -> pd.DataFrame:
    """The table behind `Results.propagation`."""
    found = _exhibit(results)
    if "why" in found:
        raise ArgumentError(
            "results", f"a model that was not looked into: {found['why']}", "one whose parts can be told"
        )
    return pd.DataFrame({column: found[f"inside.{column}"] for column in COLUMNS})


def prediction_sets_of(results: "Results", alpha: float, penalty: float, k_reg: int, split: int) -> pd.DataFrame:
    """The table behind `Results.prediction_sets`."""
    found = _exhibit(results)
    ids, names = found["ids"], found["scenarios"].tolist()
    at = np.searchsorted(results.example_ids, ids)
    first, key = calibrates(ids, split), jax.random.key(0, impl=GENERATOR)
    usable = [name for name in names if name in results._complete]
    target, status = (
        results._arrays(expression, usable, np.float32)
        for expression in ("target", "(status = 'nonfinite_input')::int")
    )

    def rows_of(name: str, half: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
        """Logits, truths, ids and weights of the examples of one half whose input is finite."""
        kept = half & (status[name][0, at] == 0)
        weights = results._weights[name][0, at][kept] if name in results._weights else None
        return found["logits"][found["path"][names.index(name)]][kept], target[name][0, at][kept], ids[kept], weights

    logits, truth, own, _ = rows_of("clean", first)
    sound = np.asarray(np.isfinite(logits).all(axis=1))
    if not sound.any():
        raise ArgumentError("results", "no clean example with finite outputs to calibrate on", "more examples")
    clean = softmax(logits[sound].astype(np.float64), axis=1), truth[sound].astype(int), alpha
    draws = {"key": key, "ids": own[sound]}
    predictors = [
        measure.conformal.lac(*clean),
        measure.conformal.aps(*clean, **draws),
        measure.conformal.raps(*clean, penalty=penalty, k_reg=k_reg, **draws),
    ]
    rows = []
    for name in usable:
        logits, truth, own, weights = rows_of(name, ~first)
        sound = np.asarray(np.isfinite(logits).all(axis=1))
        for predictor in predictors:
            sets = np.zeros(logits.shape, bool)  # what is not finite says nothing: an empty set
            if sound.any():
                drawn = {"key": key, "ids": own[sound]} if predictor.randomised else {}
                sets[sound] = predictor.sets(softmax(logits[sound].astype(np.float64), axis=1), **drawn)
            shares = [
                share_of(values[None].astype(np.float64), None if weights is None else weights[None])
                for values in (sets[np.arange(len(sets)), truth.astype(int)], ~np.any(sets, axis=1))
            ]
            n, size = shares[0].n, np.nan
            if n:
                size = float(np.average(sets.sum(axis=1), weights=weights))
            band = (np.nan, np.nan)
            if n:
                trials = max(1, round(shares[0].effective))
                band = coverage_band(predictor.k, len(predictor.scores), trials, LEVEL)
            status_ = predictor.status if n else "nothing to judge"
            rows.append((name, predictor.method, *shares[0][:3], size, shares[1].share, *band, n, status_))
    columns = [
        "scenario",
        "method",
        "coverage",
        "low",
        "high",
        "mean_size",
        "empty",
        "band_low",
        "band_high",
        "n",
        "status",
    ]
    return pd.DataFrame(rows, columns=columns)


def _exhibit(results: "Results") -> dict[str, Any]:
    address = results.manifest.get("stressed")
    found = None if address is None else read_exhibit(results.store, address)
    if found is None:
        came = "no exhibit of stress" if address is None else "an exhibit that is not there: run the campaign on"
        raise ArgumentError("results", came, "those of a classification under stages of several families")
    return found
