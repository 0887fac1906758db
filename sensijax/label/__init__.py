"""Annotation: labels that are wrong, who wrote them, what they say together, and which to look at again."""

from sensijax.label._noise import LabelNoise as LabelNoise
from sensijax.label._noise import LabelResult as LabelResult
from sensijax.label.symmetric import Symmetric as Symmetric
