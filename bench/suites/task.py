"""What every suite hands to the harness: a job, a query, what the job found out, and how large it all is."""

import dataclasses
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import sensijax as sj
from sensijax.attack import wilson
from sensijax.core import Dataset, Model
from sensijax.measure import paired_bootstrap


@dataclasses.dataclass(frozen=True)
class Size:
    """How much is measured.

    Attributes:
      images: at most; the demonstration has 599.
      side: of images for the models with random weights, pixels: 32 or 224, for which severities are published.
      seeds: of random draws.
      batch: rows put through the model at once.
      passes: over the images, where one is too short to be timed.
      points: base points of the Sobol indices, a power of two.
      queries: of each scenario, in each process.
      repeats: of the whole job, in each process.
      processes: that measure, one after the other; the first begins with an empty compile cache.
    """

    images: int
    side: int
    seeds: int
    batch: int
    passes: int
    points: int
    queries: int
    repeats: int
    processes: int


SIZES = {
    "tiny": Size(images=24, side=32, seeds=1, batch=8, passes=2, points=32, queries=40, repeats=2, processes=2),
    "small": Size(images=256, side=32, seeds=2, batch=128, passes=40, points=256, queries=224, repeats=3, processes=3),
    "full": Size(images=4096, side=224, seeds=3, batch=256, passes=10, points=512, queries=700, repeats=5, processes=5),
}


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured on.

    Attributes:
      model: the model.
      data: labelled images.
      labels: what the labels are, in words.
      size: how much of everything.
    """

    model: Model
    data: Dataset
    labels: str
    size: Size


@dataclasses.dataclass(frozen=True)
class Task:
    """What a suite measures.

    Attributes:
      about: the job in one line.
      asked: one query in one line.
      unit: what the job's throughput counts, in the plural.
      units: how many of them the job does.
      job: does all of it. It returns the seconds that count, where these are not all; compilation is left out of them.
      query: answers the query of an index, and returns when the answer is on the host.
      robustness: what the job found out; called after the job.
      forwards: passes of one image through the model in the whole job, a gradient counting as one more; None where
        nobody counts them. Called after the job.
      program: a compiled program whose account of operations and bytes speaks for the job, and how often the job runs
        it; None where it is several.
    """

    about: str
    asked: str
    unit: str
    units: int
    job: Callable[[], float | None]
    query: Callable[[int], Any]
    robustness: Callable[[], dict[str, Any]]
    forwards: Callable[[], float | None] = lambda: None
    program: tuple[Any, int] | None = None


def share(hits: np.ndarray) -> list[float]:
    """A share of examples with Wilson's 95 % interval: [share, low, high]. Means over seeds count as examples."""
    low, high = wilson(round(float(hits.sum())), len(hits))
    return [round(float(v), 6) for v in (hits.mean(), low, high)]


def points_lost(clean: np.ndarray, stressed: np.ndarray) -> list[float]:
    """Points of accuracy lost, paired example by example, with the 95 % interval: [points, low, high]."""
    found = paired_bootstrap(clean[None].astype(np.int8) - stressed[None].astype(np.int8), binary=True)
    return [round(100 * float(v), 4) for v in (found.mean, found.low, found.high)]


def campaign_job(
    campaign: sj.Campaign, batch: int, **tables: Callable[[sj.Results], Any]
) -> tuple[Callable[[], float], dict[str, Any]]:
    """A job that runs a campaign in a new folder and asks for its numbers.

    Args:
      campaign: which.
      batch: rows at once.
      **tables: what is asked of the results, beside the baseline and the table of scenarios.

    Returns:
      The job, which returns the seconds of the sweep, and where it leaves what it found out.
    """
    found: dict[str, Any] = {}

    def job() -> float:
        with tempfile.TemporaryDirectory() as folder:
            results = sj.run(campaign, folder, micro_batch=batch)
            found.update(baseline=results.baseline(), scenarios=results.scenarios())
            found.update({name: asked(results) for name, asked in tables.items()})
            return results.statistics()[-1]["sweep_seconds"]

    return job, found
