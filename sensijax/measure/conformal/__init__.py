"""Conformal prediction: sets and intervals that hold the truth as often as they say, whatever the model.

Calibrate on examples that the model has not seen; the promise is for examples exchangeable with them. Under drift it
breaks, and `.coverage` says by how much; importance ratios restore it where they are known.

Example:
  >>> import numpy as np
  >>> probs = np.tile([[0.7, 0.2, 0.1]], (99, 1))
  >>> predictor = lac(probs, np.repeat([0, 1], [80, 19]), alpha=0.1)
  >>> predictor.k, round(predictor.threshold, 3), predictor.sets([[0.7, 0.2, 0.1]]).tolist()
  (90, 0.8, [[True, True, False]])
"""

from sensijax.measure.conformal._intervals import IntervalPredictor as IntervalPredictor
from sensijax.measure.conformal._intervals import absolute as absolute
from sensijax.measure.conformal._intervals import cqr as cqr
from sensijax.measure.conformal._quantile import rank_of as rank_of
from sensijax.measure.conformal._sets import Coverage as Coverage
from sensijax.measure.conformal._sets import SetPredictor as SetPredictor
from sensijax.measure.conformal._sets import aps as aps
from sensijax.measure.conformal._sets import lac as lac
from sensijax.measure.conformal._sets import raps as raps
