"""Simulators of distribution shift, with a strength and a ground truth."""

from sensijax.drift.simulate._drift import Drift as Drift
from sensijax.drift.simulate._drift import Shifted as Shifted
from sensijax.drift.simulate._drift import shift as shift
from sensijax.drift.simulate.concept import ClassMerge as ClassMerge
from sensijax.drift.simulate.concept import ConceptShift as ConceptShift
from sensijax.drift.simulate.covariate import CovariateShift as CovariateShift
from sensijax.drift.simulate.direction import ClassDifference as ClassDifference
from sensijax.drift.simulate.direction import Direction as Direction
from sensijax.drift.simulate.direction import Feature as Feature
from sensijax.drift.simulate.direction import PrincipalComponent as PrincipalComponent
from sensijax.drift.simulate.missing import MissingFeatures as MissingFeatures
from sensijax.drift.simulate.movement import MeanShift as MeanShift
from sensijax.drift.simulate.movement import ScaleShift as ScaleShift
from sensijax.drift.simulate.prior import DirichletPrior as DirichletPrior
from sensijax.drift.simulate.prior import PriorShift as PriorShift
from sensijax.drift.simulate.resample import resample as resample
from sensijax.drift.simulate.rotation import BoundaryRotation as BoundaryRotation
from sensijax.drift.simulate.sensor import SensorDrift as SensorDrift
from sensijax.drift.simulate.sensor import StuckSensor as StuckSensor
from sensijax.drift.simulate.subpopulation import SubpopulationShift as SubpopulationShift
from sensijax.drift.simulate.subpopulation import leave_one_out as leave_one_out
