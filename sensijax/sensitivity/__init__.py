"""Sensitivity: exact derivatives, thresholds, response surfaces, and global sensitivity analysis."""

from sensijax.sensitivity._active_subspace import ActiveSubspaceResult as ActiveSubspaceResult
from sensijax.sensitivity._active_subspace import active_subspace as active_subspace
from sensijax.sensitivity._bounded import Categorical as Categorical
from sensijax.sensitivity._bounded import Discrete as Discrete
from sensijax.sensitivity._bounded import Triangular as Triangular
from sensijax.sensitivity._bounded import Truncated as Truncated
from sensijax.sensitivity._dgsm import DgsmResult as DgsmResult
from sensijax.sensitivity._dgsm import dgsm as dgsm
from sensijax.sensitivity._dgsm import dgsm_given as dgsm_given
from sensijax.sensitivity._distribution import LogNormal as LogNormal
from sensijax.sensitivity._distribution import Normal as Normal
from sensijax.sensitivity._distribution import Uniform as Uniform
from sensijax.sensitivity._interval import Bootstrap as Bootstrap
from sensijax.sensitivity._interval import Jackknife as Jackknife
from sensijax.sensitivity._points import Random as Random
from sensijax.sensitivity._points import ScrambledSobol as ScrambledSobol
from sensijax.sensitivity._saltelli import Jansen as Jansen
from sensijax.sensitivity._saltelli import Saltelli as Saltelli
from sensijax.sensitivity._shapley import ShapleyResult as ShapleyResult
from sensijax.sensitivity._shapley import shapley_effects as shapley_effects
from sensijax.sensitivity._sobol import SobolResult as SobolResult
from sensijax.sensitivity._sobol import sobol as sobol
from sensijax.sensitivity._sobol import sobol_given as sobol_given
from sensijax.sensitivity._space import Space as Space
