"""Hot loops with a reference beside each. Knows nothing of `sensijax`.

A kernel's reference is plain `jax.numpy`, and so far XLA's own compilation of it is what runs on every device. There is
no Mosaic kernel: what one would gain on a GPU or a TPU has not been measured, and one that is not measured is not kept.
"""

from sensijax_kernels import random as random
