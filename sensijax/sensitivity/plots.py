"""Figures: functions that draw results of this room on matplotlib axes, and return the axes.

Example:
  >>> import jax
  >>> from sensijax import sensitivity as s
  >>> space = {"a": s.Uniform(0.0, 1.0), "b": s.Uniform(0.0, 1.0)}
  >>> axes = tornado(s.sobol(lambda x: x[0] + 2 * x[1], space, key=jax.random.key(0), n=256))
  >>> [label.get_text() for label in axes.get_yticklabels()]  # from below: the largest is on top
  ['a', 'b']
"""

from sensijax.sensitivity._plots import contours as contours
from sensijax.sensitivity._plots import convergence as convergence
from sensijax.sensitivity._plots import curve as curve
from sensijax.sensitivity._plots import directions as directions
from sensijax.sensitivity._plots import pairs as pairs
from sensijax.sensitivity._plots import survival as survival
from sensijax.sensitivity._plots import tornado as tornado
