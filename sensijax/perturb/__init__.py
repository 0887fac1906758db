"""Perturbations: pure `(key, x) -> x` on one example, as values."""

from sensijax.perturb import image as image
from sensijax.perturb._perturbation import Chain as Chain
from sensijax.perturb._perturbation import Domain as Domain
from sensijax.perturb._perturbation import Perturbation as Perturbation
from sensijax.perturb._perturbation import check_severity as check_severity
from sensijax.perturb._perturbation import interpolate as interpolate
from sensijax.perturb.compose import ChainScale as ChainScale
from sensijax.perturb.compose import Choice as Choice
from sensijax.perturb.compose import Masked as Masked
from sensijax.perturb.compose import chain as chain
