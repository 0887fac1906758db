"""Annotation: labels that are wrong, who wrote them, what they say together, and which to look at again."""

from sensijax.label import annotators as annotators
from sensijax.label._noise import LabelNoise as LabelNoise
from sensijax.label._noise import LabelResult as LabelResult
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
