"""Image perturbations: float32 `[H, W, C]` in [0, 1], one example at a time."""

from sensijax.perturb.image.noise import GaussianNoise as GaussianNoise

ALL = (GaussianNoise,)
