"""Measures: per-example responses, aggregates that merge, calibration, intervals and tests, error modes."""

from sensijax.measure._estimate import Estimate as Estimate
from sensijax.measure._status import STATUSES as STATUSES
from sensijax.measure.calibration import Reliability as Reliability
from sensijax.measure.calibration import aurc as aurc
from sensijax.measure.calibration import brier as brier
from sensijax.measure.calibration import ece as ece
from sensijax.measure.calibration import reliability as reliability
from sensijax.measure.classification import classification_responses as classification_responses
from sensijax.measure.factorial import effects as effects
from sensijax.measure.modes import ConfusionChange as ConfusionChange
from sensijax.measure.modes import DistributionShift as DistributionShift
from sensijax.measure.modes import GroupAccuracy as GroupAccuracy
from sensijax.measure.modes import WorstGroup as WorstGroup
from sensijax.measure.modes import confusion_changes as confusion_changes
from sensijax.measure.modes import distribution_shift as distribution_shift
from sensijax.measure.modes import worst_group as worst_group
from sensijax.measure.regression import regression_responses as regression_responses
from sensijax.measure.statistics import Verdict as Verdict
from sensijax.measure.statistics import holm as holm
from sensijax.measure.statistics import interaction as interaction
from sensijax.measure.statistics import paired_bootstrap as paired_bootstrap
from sensijax.measure.statistics import verdict as verdict
from sensijax.measure.tally import AVERAGED as AVERAGED
from sensijax.measure.tally import Tally as Tally
from sensijax.measure.two_level import Contrasts as Contrasts
from sensijax.measure.two_level import contrasts as contrasts
