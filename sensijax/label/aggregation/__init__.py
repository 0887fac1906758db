"""From the labels of many annotators to one for each example, with a posterior, and to what each annotator is worth."""

from sensijax.label.aggregation.aggregations import GLAD as GLAD
from sensijax.label.aggregation.aggregations import MACE as MACE
from sensijax.label.aggregation.aggregations import Aggregation as Aggregation
from sensijax.label.aggregation.aggregations import DawidSkene as DawidSkene
from sensijax.label.aggregation.aggregations import Majority as Majority
from sensijax.label.aggregation.aggregations import OneCoin as OneCoin
from sensijax.label.aggregation.aggregations import as_aggregation as as_aggregation
from sensijax.label.aggregation.dawid_skene import DawidSkeneResult as DawidSkeneResult
from sensijax.label.aggregation.dawid_skene import dawid_skene as dawid_skene
from sensijax.label.aggregation.glad import GLADResult as GLADResult
from sensijax.label.aggregation.glad import glad as glad
from sensijax.label.aggregation.mace import MACEResult as MACEResult
from sensijax.label.aggregation.mace import mace as mace
from sensijax.label.aggregation.majority import MajorityResult as MajorityResult
from sensijax.label.aggregation.majority import majority as majority
from sensijax.label.aggregation.one_coin import OneCoinResult as OneCoinResult
from sensijax.label.aggregation.one_coin import one_coin as one_coin
