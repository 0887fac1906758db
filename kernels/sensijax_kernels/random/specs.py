"""The cases that tests and benchmarks share."""

import math
from typing import NamedTuple


class Spec(NamedTuple):
    """Draws of one shape under a batch of keys.

    Attributes:
      name: what such a batch is in practice.
      keys: how many keys `vmap` runs over.
      shape: the draws under one key.
    """

    name: str
    keys: int
    shape: tuple[int, ...]

    @property
    def draws(self) -> int:
        """How many numbers one call draws in all."""
        return self.keys * math.prod(self.shape)


SPECS = (
    Spec("small grey images", 256, (32, 32, 1)),
    Spec("small colour images", 256, (32, 32, 3)),
    Spec("odd sizes", 7, (31, 33, 3)),
    Spec("one large image", 1, (224, 224, 3)),
    Spec("table rows", 1024, (10,)),
    Spec("scalars", 1024, ()),
)
BENCHED = SPECS[:5]

RATES = (0.0, 0.01, 0.5, 1.0, 3.0, 8.0, 11.99, 12.01, 25.0, 100.0, 1000.0)
"""Rates of `poisson`, on both sides of the change of method at 12."""
