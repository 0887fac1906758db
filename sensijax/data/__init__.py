"""Real data that comes with the package, and how to divide it."""

from sensijax.data.digits import digits as digits
from sensijax.data.photo import photo as photo
from sensijax.data.split import split as split
