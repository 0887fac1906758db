"""Labels that a model has reason to doubt, and how many there are of which kind."""

from sensijax.label.issues.anchors import anchor_transition as anchor_transition
from sensijax.label.issues.confident import ConfidentJoint as ConfidentJoint
from sensijax.label.issues.confident import confident_joint as confident_joint
from sensijax.label.issues.confident import estimate_transition as estimate_transition
from sensijax.label.issues.confident import noise_rate as noise_rate
from sensijax.label.issues.filters import both as both
from sensijax.label.issues.filters import confident_learning as confident_learning
from sensijax.label.issues.filters import predicted_neq_given as predicted_neq_given
from sensijax.label.issues.filters import prune_by_class as prune_by_class
from sensijax.label.issues.filters import prune_by_noise_rate as prune_by_noise_rate
from sensijax.label.issues.find import Issues as Issues
from sensijax.label.issues.find import find_issues as find_issues
from sensijax.label.issues.scores import confidence_weighted_entropy as confidence_weighted_entropy
from sensijax.label.issues.scores import normalized_margin as normalized_margin
from sensijax.label.issues.scores import self_confidence as self_confidence
