"""The schedule: which worker takes which tile, what a tile costs, and what a whole run will."""

from sensijax.campaign.schedule._costs import Costs as Costs
from sensijax.campaign.schedule._costs import find_costs as find_costs
from sensijax.campaign.schedule._costs import measure_costs as measure_costs
from sensijax.campaign.schedule._forecast import Forecast as Forecast
from sensijax.campaign.schedule._forecast import forecast as forecast
