"""Addressed random numbers: what is drawn at a position depends on the key and the position, and on nothing else."""

from sensijax_kernels.random.api import bits as bits
from sensijax_kernels.random.api import normal as normal
from sensijax_kernels.random.api import poisson as poisson
from sensijax_kernels.random.api import uniform as uniform
from sensijax_kernels.random.api import uniform_open as uniform_open
