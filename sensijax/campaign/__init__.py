"""Campaigns: scenarios, designs of experiment, the plan, the executor, the store of results."""

from sensijax.campaign import design as design
from sensijax.campaign._campaign import Campaign as Campaign
from sensijax.campaign._cell import Cell as Cell
from sensijax.campaign._cell import perturbed_inputs as perturbed_inputs
from sensijax.campaign._cell import recompute as recompute
from sensijax.campaign._compare import compare as compare
from sensijax.campaign._plan import Plan as Plan
from sensijax.campaign._plan import make_plan as make_plan
from sensijax.campaign._response import CampaignResponse as CampaignResponse
from sensijax.campaign._response import campaign_response as campaign_response
from sensijax.campaign._responses import Completeness as Completeness
from sensijax.campaign._responses import Responses as Responses
from sensijax.campaign._results import Results as Results
from sensijax.campaign._run import Progress as Progress
from sensijax.campaign._run import RunStatistics as RunStatistics
from sensijax.campaign._run import check_folder as check_folder
from sensijax.campaign._run import run as run
from sensijax.campaign._scenario import Scenario as Scenario
from sensijax.campaign._scenario import Sweep as Sweep
from sensijax.campaign._scenario import sweep as sweep
from sensijax.campaign._spec import Spec as Spec
from sensijax.campaign._spec import kinds as kinds
from sensijax.campaign._spec import load_spec as load_spec
from sensijax.campaign._tuning import estimate_seconds as estimate_seconds
from sensijax.campaign._verify import Findings as Findings
from sensijax.campaign._verify import verify as verify
