"""Annotation: labels that are wrong, who wrote them, what they say together, and which to look at again."""

from sensijax.label._noise import LabelNoise as LabelNoise
from sensijax.label._noise import LabelResult as LabelResult
from sensijax.label.class_conditional import ClassConditional as ClassConditional
from sensijax.label.ordinal import Ordinal as Ordinal
from sensijax.label.pair_flip import PairFlip as PairFlip
from sensijax.label.symmetric import Symmetric as Symmetric
from sensijax.label.transition import Transition as Transition
