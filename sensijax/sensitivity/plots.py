"""Figures: functions that draw results of this room on matplotlib axes, and return the axes."""

from sensijax.sensitivity._plots import contours as contours
from sensijax.sensitivity._plots import convergence as convergence
from sensijax.sensitivity._plots import curve as curve
from sensijax.sensitivity._plots import directions as directions
from sensijax.sensitivity._plots import pairs as pairs
from sensijax.sensitivity._plots import survival as survival
from sensijax.sensitivity._plots import tornado as tornado
