"""Timelines: a campaign's drift in time, and the monitors that are to see it."""

from sensijax.campaign.timeline._timeline import Monitor as Monitor
from sensijax.campaign.timeline._timeline import Timeline as Timeline
from sensijax.campaign.timeline._timeline import Windowed as Windowed
