"""Simulators of distribution shift, with a strength and a ground truth."""

from sensijax.drift.simulate._drift import Drift as Drift
from sensijax.drift.simulate._drift import Shifted as Shifted
from sensijax.drift.simulate._drift import shift as shift
from sensijax.drift.simulate.prior import PriorShift as PriorShift
