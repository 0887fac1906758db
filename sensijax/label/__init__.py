"""Annotation: labels that are wrong, who wrote them, what they say together, and which to look at again."""

from sensijax.label import annotators as annotators
from sensijax.label._noise import LabelNoise as LabelNoise
from sensijax.label._noise import LabelResult as LabelResult
from sensijax.label.aggregation import DawidSkeneResult as DawidSkeneResult
from sensijax.label.aggregation import GLADResult as GLADResult
from sensijax.label.aggregation import MACEResult as MACEResult
from sensijax.label.aggregation import MajorityResult as MajorityResult
from sensijax.label.aggregation import OneCoinResult as OneCoinResult
from sensijax.label.aggregation import dawid_skene as dawid_skene
from sensijax.label.aggregation import glad as glad
from sensijax.label.aggregation import mace as mace
from sensijax.label.aggregation import majority as majority
from sensijax.label.aggregation import one_coin as one_coin
from sensijax.label.class_conditional import ClassConditional as ClassConditional
from sensijax.label.crowd import Crowd as Crowd
from sensijax.label.feature_margin import FeatureMargin as FeatureMargin
from sensijax.label.feature_margin import difficulty as difficulty
from sensijax.label.instance_dependent import InstanceDependent as InstanceDependent
from sensijax.label.ordinal import Ordinal as Ordinal
from sensijax.label.pair_flip import PairFlip as PairFlip
from sensijax.label.part_dependent import PartDependent as PartDependent
from sensijax.label.relabel import relabel as relabel
from sensijax.label.symmetric import Symmetric as Symmetric
from sensijax.label.transition import Transition as Transition
from sensijax.label.votes import Votes as Votes
