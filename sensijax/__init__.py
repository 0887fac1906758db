"""sensijax: how a model behaves when its inputs, its data or its labels move.

    import sensijax as sj
    from sensijax.perturb import image

    campaign = sj.Campaign(model, data, stages={"fog": sj.sweep(image.Fog, severity=[0, 1, 2, 3, 4, 5])}, seeds=3)
    results = sj.run(campaign, store="runs/fog")

The names below are loaded when they are first used, so that `import sensijax` (and `sensijax --help`) need no JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sensijax.campaign import Campaign as Campaign
    from sensijax.campaign import Cell as Cell
    from sensijax.campaign import Monitor as Monitor
    from sensijax.campaign import Plan as Plan
    from sensijax.campaign import Progress as Progress
    from sensijax.campaign import Results as Results
    from sensijax.campaign import Scenario as Scenario
    from sensijax.campaign import Sweep as Sweep
    from sensijax.campaign import Timeline as Timeline
    from sensijax.campaign import Windowed as Windowed
    from sensijax.campaign import campaign_response as campaign_response
    from sensijax.campaign import compare as compare
    from sensijax.campaign import design as design
    from sensijax.campaign import load_spec as load_spec
    from sensijax.campaign import make_plan as make_plan
    from sensijax.campaign import on as on
    from sensijax.campaign import perturbed_inputs as perturbed_inputs
    from sensijax.campaign import propagation as propagation
    from sensijax.campaign import recompute as recompute
    from sensijax.campaign import run as run
    from sensijax.campaign import sweep as sweep
    from sensijax.core import ArgumentError as ArgumentError
    from sensijax.core import CampaignError as CampaignError
    from sensijax.core import Dataset as Dataset
    from sensijax.core import Model as Model
    from sensijax.core import SensijaxError as SensijaxError
    from sensijax.core import StoreError as StoreError
    from sensijax.core import digest as digest
    from sensijax.core import enable_compile_cache as enable_compile_cache
    from sensijax.core import key_for as key_for
    from sensijax.core import map_variants as map_variants

_HOME = {
    "sensijax.campaign": (
        "Campaign",
        "Cell",
        "Monitor",
        "Plan",
        "Progress",
        "Results",
        "Scenario",
        "Sweep",
        "Timeline",
        "Windowed",
        "campaign_response",
        "compare",
        "design",
        "load_spec",
        "make_plan",
        "on",
        "perturbed_inputs",
        "propagation",
        "recompute",
        "run",
        "sweep",
    ),
    "sensijax.core": (
        "ArgumentError",
        "CampaignError",
        "Dataset",
        "Model",
        "SensijaxError",
        "StoreError",
        "digest",
        "enable_compile_cache",
        "key_for",
        "map_variants",
    ),
}
_ROOMS = (
    "adapt",
    "attack",
    "campaign",
    "core",
    "data",
    "demo",
    "drift",
    "label",
    "measure",
    "perturb",
    "report",
    "sensitivity",
)
_WHERE = {name: room for room, names in _HOME.items() for name in names}

__all__ = [*sorted(_WHERE), *_ROOMS]  # type: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"sensijax.{name}")
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'sensijax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
