"""Drift: distributions that move, simulated with a strength and a ground truth, and detected at a stated error rate."""

from sensijax.drift import detect as detect
from sensijax.drift.simulate import Drift as Drift
from sensijax.drift.simulate import PriorShift as PriorShift
from sensijax.drift.simulate import Shifted as Shifted
from sensijax.drift.simulate import shift as shift
