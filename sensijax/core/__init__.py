"""The ground floor: models, data, addressed keys, flat batches, stacks, digests, errors."""

from sensijax.core.batch import Batch as Batch
from sensijax.core.cache import cache_folder as cache_folder
from sensijax.core.cache import enable_compile_cache as enable_compile_cache
from sensijax.core.dataset import Dataset as Dataset
from sensijax.core.digest import digest as digest
from sensijax.core.digest import file_digest as file_digest
from sensijax.core.digest import program_digest as program_digest
from sensijax.core.errors import ArgumentError as ArgumentError
from sensijax.core.errors import CampaignError as CampaignError
from sensijax.core.errors import Fault as Fault
from sensijax.core.errors import MissingExtraError as MissingExtraError
from sensijax.core.errors import SensijaxError as SensijaxError
from sensijax.core.errors import StoreError as StoreError
from sensijax.core.keys import example_key as example_key
from sensijax.core.keys import key_for as key_for
from sensijax.core.keys import stage_key_data as stage_key_data
from sensijax.core.model import Model as Model
from sensijax.core.rows import chunks as chunks
from sensijax.core.rows import map_variants as map_variants
from sensijax.core.stack import stack as stack
from sensijax.core.stack import stack_size as stack_size
from sensijax.core.stack import take as take
from sensijax.core.struct import static as static
from sensijax.core.struct import struct as struct
