"""Drift: distributions that move, simulated with a strength and a ground truth, and detected at a stated error rate."""

from sensijax.drift import detect as detect
from sensijax.drift.simulate import BoundaryRotation as BoundaryRotation
from sensijax.drift.simulate import ClassDifference as ClassDifference
from sensijax.drift.simulate import ClassMerge as ClassMerge
from sensijax.drift.simulate import ConceptShift as ConceptShift
from sensijax.drift.simulate import CovariateShift as CovariateShift
from sensijax.drift.simulate import Direction as Direction
from sensijax.drift.simulate import DirichletPrior as DirichletPrior
from sensijax.drift.simulate import Drift as Drift
from sensijax.drift.simulate import Feature as Feature
from sensijax.drift.simulate import MeanShift as MeanShift
from sensijax.drift.simulate import MissingFeatures as MissingFeatures
from sensijax.drift.simulate import PrincipalComponent as PrincipalComponent
from sensijax.drift.simulate import PriorShift as PriorShift
from sensijax.drift.simulate import ScaleShift as ScaleShift
from sensijax.drift.simulate import SensorDrift as SensorDrift
from sensijax.drift.simulate import Shifted as Shifted
from sensijax.drift.simulate import StuckSensor as StuckSensor
from sensijax.drift.simulate import SubpopulationShift as SubpopulationShift
from sensijax.drift.simulate import leave_one_out as leave_one_out
from sensijax.drift.simulate import resample as resample
from sensijax.drift.simulate import shift as shift
