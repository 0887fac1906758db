"""Hot loops with a reference beside each. Knows nothing of `sensijax`."""

from sensijax_kernels import random as random
