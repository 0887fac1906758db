"""Other people's models as `sensijax.core.Model`s; a framework is imported when one of its modules is adapted."""

from sensijax.adapt._equinox import equinox as equinox
from sensijax.adapt._function import function as function
from sensijax.adapt._linen import linen as linen
from sensijax.adapt._nnx import nnx as nnx
