"""The store: a folder of immutable, digest-named parts, on this machine or on objects."""

from sensijax.campaign.store._location import is_url as is_url
from sensijax.campaign.store._location import open_folder as open_folder
from sensijax.campaign.store._location import open_store as open_store
from sensijax.campaign.store._store import Scan as Scan
from sensijax.campaign.store._store import Store as Store
