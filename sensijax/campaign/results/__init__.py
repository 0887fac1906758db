"""Results: what the responses of a campaign say, with intervals, read in bounded memory; and whether they are sound."""

from sensijax.campaign.results._compare import compare as compare
from sensijax.campaign.results._propagation import propagation as propagation
from sensijax.campaign.results._responses import Completeness as Completeness
from sensijax.campaign.results._responses import Responses as Responses
from sensijax.campaign.results._results import Results as Results
from sensijax.campaign.results._verify import Findings as Findings
from sensijax.campaign.results._verify import verify as verify
