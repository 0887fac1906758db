"""The annotators behind wrong labels: how far they agree, and who they are one by one, for the report."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax import label
from sensijax.campaign._campaign import Campaign
from sensijax.campaign._scenario import Scenario, Setting
from sensijax.core import ArgumentError, Dataset, digest, stage_key_data
from sensijax.core.keys import GENERATOR

MOST_CLASSES, MOST_ANNOTATORS = 64, 64  # of whom matrices are kept
MOST_ITEMS, RESAMPLES = 5000, 200  # that agreement is computed from
_VERSION = 3  # of what an exhibit holds


def annotators_of(campaign: Campaign, stage: str) -> str | None:
    """The address of the exhibit on a stage's annotators; None if it is no noise, or of too many classes or people."""
    settings = _settings(campaign, stage)
    if not settings:
        return None
    noise, data = campaign.perturbation(*settings[-1]), _key_data(campaign, stage)
    if not isinstance(noise, label.LabelNoise) or noise.classes > MOST_CLASSES:
        return None
    crowd = noise.crowd(_key(data))
    if crowd is not None and crowd.annotators > MOST_ANNOTATORS:
        return None
    seed = campaign.seeds[0]  # type: ignore[index]
    wrote = [campaign.standings.of((setting,), seed).observed for setting in settings]
    does = [campaign.settings_digest(Scenario((setting,))) for setting in settings]
    return digest("annotators", _VERSION, data, does, campaign.examples.digest, wrote)


def annotator_exhibits(campaign: Campaign, plan: Any) -> Iterator[tuple[str, Callable[[Any], dict[str, np.ndarray]]]]:
    """What the report shows of each stage's annotators: its address, and what makes it."""
    for stage in campaign.stages:
        if (address := annotators_of(campaign, stage)) is not None:
            yield address, functools.partial(_gathered, campaign, stage)


def _gathered(campaign: Campaign, stage: str, engine: Any) -> dict[str, np.ndarray]:
    """Who the annotators are at each setting and what they wrote, under the first seed.

    Where a noise knows nobody in particular, they are five who err as it says and label everything.

    Returns:
      values `[V]`, the settings; kinds `[A]`, words; behind, whether the labels are theirs; aggregate, a word, empty
      where votes were not put together; counts int32 `[V, A, K, K]`, what each wrote; accuracy float64 `[V, 4]`, of the
      stage's labels, of a majority, of Dawid and Skene's model, of the best annotator; estimated float64
      `[V, A]`, the accuracies that the model concludes from the votes; alpha and kappa float64 `[V, 3]`, how far these
      annotators agree, each labelling every item apart from the others, with its interval. Of many items 5,000 that lie
      evenly count for it. NaN where there is no such number.
    """
    settings, key, found = _settings(campaign, stage), _key(_key_data(campaign, stage)), []
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        for setting in settings:
            found.append(_at(campaign.perturbation(*setting), key, campaign.examples))
    noise: Any = campaign.perturbation(*settings[-1])
    crowd, aggregate = noise.crowd(key), getattr(noise, "aggregate", None)
    return {
        "values": np.array([setting.value for setting in settings]),
        "kinds": np.array((crowd and crowd.kinds) or ("annotator",) * found[0]["counts"].shape[0]),
        "behind": np.array(crowd is not None),
        "aggregate": np.array("" if aggregate is None else type(aggregate).__name__),
        **{name: np.stack([one[name] for one in found]) for name in found[0]},
    }


def _at(noise: Any, key: jax.Array, examples: Dataset) -> dict[str, np.ndarray]:
    """One setting's part of the exhibit."""
    k, y = noise.classes, examples.y
    result, crowd = noise(key, y, examples.x, ids=examples.ids), noise.crowd(key)
    votes = apart = result.votes
    if votes is None:
        votes = apart = noise.votes(key, y, examples.x, ids=examples.ids).votes
        if crowd is not None:  # one of them wrote each label
            who = np.asarray(result.annotator)[:, None] == np.arange(crowd.annotators)
            votes = np.where(who, np.asarray(result.labels)[:, None], -1)
    votes, apart = np.asarray(votes), np.asarray(apart)
    few = apart[np.linspace(0, len(apart) - 1, min(len(apart), MOST_ITEMS)).astype(int)]
    annotators = votes.shape[1]
    counts = np.zeros((annotators, k, k), np.int32)
    item, annotator = np.nonzero(votes >= 0)
    np.add.at(counts, (annotator, y[item], votes[item, annotator]), 1)
    right = np.trace(counts, axis1=1, axis2=2) / np.maximum(counts.sum(axis=(1, 2)), 1)
    accuracy, estimated = [float(np.mean(np.asarray(result.labels) == y))], np.full(annotators, np.nan)
    if ((votes >= 0).sum(axis=1) > 1).any():
        model, most = label.dawid_skene(votes, k), label.majority(votes, k)
        accuracy += [float(np.mean(np.asarray(labels) == y)) for labels in (most.labels, model.labels)]
        estimated = np.einsum("k,akk->a", np.asarray(model.prior, np.float64), np.asarray(model.confusion))
    else:
        accuracy += [np.nan, np.nan]
    return {
        "counts": counts,
        "accuracy": np.array([*accuracy, right.max()]),
        "estimated": estimated,
        "alpha": _interval(label.krippendorff_alpha, few, k),
        "kappa": _interval(label.fleiss_kappa, few, k),
    }


def _interval(coefficient: Callable[..., label.Agreement], votes: np.ndarray, classes: int) -> np.ndarray:
    try:
        found = coefficient(votes, classes, resamples=RESAMPLES)
    except ArgumentError:  # no item has two votes, items have different numbers of them, or all say one class
        return np.full(3, np.nan)
    return np.array([found.value, found.low, found.high])


def _settings(campaign: Campaign, stage: str) -> list[Setting]:
    """Those of a stage at which labels are wrong, in their order; none if it is no noise."""
    settings = [Setting(stage, value) for value in sorted(campaign.stages[stage].values)]
    noises = [(s, campaign.perturbation(*s)) for s in settings]
    return [s for s, n in noises if isinstance(n, label.LabelNoise) and not np.all(n.is_identity())]


def _key_data(campaign: Campaign, stage: str) -> np.ndarray:
    return stage_key_data(campaign.seeds[0], stage)  # type: ignore[index]


def _key(data: np.ndarray) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(data), impl=GENERATOR)
