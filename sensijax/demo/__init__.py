"""A real model on real data, ready in seconds: what the demonstration and the examples run on."""

from sensijax.demo.model import Recipe as Recipe
from sensijax.demo.model import data as data
from sensijax.demo.model import load as load
