"""Dawid and Skene's model on a million labels: 200,000 items with 5 votes, 1,000 annotators, 10 classes, 20 iterations.

From arrays (item, worker, label) to the posterior. Against crowd-kit (pandas), and against NumPy as one would write it
for speed: counts by `bincount` for each class, log likelihoods by a gather and a reduction over sorted items.
"""

import json
import pathlib
import statistics
import subprocess
import tempfile
import time
from typing import Any

import jax
import numpy as np

from sensijax import label

ANNOTATORS, CLASSES, PER_ITEM, ITERATIONS, REPEATS = 1000, 10, 5, 20, 5
TARGET_CROWDKIT, LIMIT = 20.0, 1800


def measure(peers: str, *, labels: int = 1_000_000, repeats: int = REPEATS) -> dict[str, Any]:
    """Times the three ways on the same votes and the same number of iterations.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.
      labels: votes, a multiple of 5.
      repeats: interleaved runs, of which the median counts; crowd-kit runs once.

    Returns:
      Seconds (cold is the first call, compile time included), ratios, the largest difference between posteriors, and
      how many labels are right.
    """
    truth, votes = crowd(labels // PER_ITEM)

    def ours() -> Any:
        return jax.block_until_ready(label.dawid_skene(votes, CLASSES, iterations=ITERATIONS, tolerance=0.0))

    start = time.perf_counter()
    found = ours()
    cold = time.perf_counter() - start
    ways = {"sensijax": ours, "NumPy": lambda: numpy_dawid_skene(*votes, CLASSES, ITERATIONS)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            if repeat:
                taken[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in taken.items()}
    theirs, posterior = _crowdkit(peers, votes)
    # One that was stopped has taken at least the limit.
    seconds["crowd-kit"] = theirs["seconds"] if theirs else float(LIMIT)
    ours_posterior = np.asarray(found.posterior)
    return {
        "labels": labels,
        "items": len(truth),
        "annotators": ANNOTATORS,
        "classes": CLASSES,
        "iterations": int(found.iterations),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "cold": round(cold, 3),
        "crowdkit_finished": theirs is not None,
        "ratio": {name: round(seconds[name] / seconds["sensijax"], 1) for name in ("crowd-kit", "NumPy")},
        "target_crowdkit": TARGET_CROWDKIT,
        "largest_difference": {
            "NumPy": float(np.abs(ours_posterior - numpy_dawid_skene(*votes, CLASSES, ITERATIONS)).max()),
            "crowd-kit": None if posterior is None else float(np.abs(ours_posterior - posterior).max()),
        },
        "right": {
            "majority": float((np.asarray(label.majority(votes, CLASSES).labels) == truth).mean()),
            "dawid_skene": float((np.asarray(found.labels) == truth).mean()),
        },
    }


def crowd(items: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Votes by annotators who are right with a probability between 0.3 and 0.9, else biased towards one neighbour.

    Args:
      items: N; each has 5 votes by different annotators.

    Returns:
      Truth `[N]` and `(item, worker, label)`, each int64 `[5 N]`.
    """
    rng = np.random.default_rng([0, 0x64735F62])
    truth = rng.integers(0, CLASSES, items)
    right = rng.uniform(0.3, 0.9, ANNOTATORS)
    item = np.repeat(np.arange(items), PER_ITEM)
    first, step = rng.integers(0, ANNOTATORS, items), rng.integers(1, ANNOTATORS // PER_ITEM, items)
    worker = (first[:, None] + step[:, None] * np.arange(PER_ITEM)[None]).ravel() % ANNOTATORS
    wrong = np.where(rng.random(len(item)) < 0.5, 1, rng.integers(1, CLASSES, len(item)))
    said = np.where(rng.random(len(item)) < right[worker], truth[item], (truth[item] + wrong) % CLASSES)
    return truth, (item, worker, said)


def numpy_dawid_skene(
    item: np.ndarray, worker: np.ndarray, said: np.ndarray, classes: int, iterations: int
) -> np.ndarray:
    """The same iterations in NumPy, float64.

    Args:
      item, worker, said: int `[M]`, sorted by item, every item with a vote.
      classes: K.
      iterations: all are made.

    Returns:
      Posterior `[N, K]`.
    """
    n, a = item[-1] + 1, worker.max() + 1
    cell, begin = worker * classes + said, np.searchsorted(item, np.arange(n))
    used = np.bincount(cell, minlength=a * classes).reshape(a, classes, 1) > 0
    votes = np.bincount(item * classes + said, minlength=n * classes).reshape(n, classes)
    posterior = votes / votes.sum(axis=1, keepdims=True)

    def m_step() -> tuple[np.ndarray, np.ndarray]:
        weight = posterior[item]
        counts = np.stack([np.bincount(cell, weight[:, k], a * classes) for k in range(classes)], axis=1)
        counts = np.where(used, np.maximum(counts.reshape(a, classes, classes), 1e-10), 0)
        error = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-10)
        return posterior.mean(axis=0), np.log(np.maximum(error, 1e-300)).reshape(a * classes, classes)

    prior, log_error = m_step()
    for _ in range(iterations):
        joint = np.add.reduceat(log_error[cell], begin, axis=0) + np.log(np.maximum(prior, 1e-10))
        joint = np.exp(joint - joint.max(axis=1, keepdims=True))
        posterior = joint / joint.sum(axis=1, keepdims=True)
        prior, log_error = m_step()
    return posterior


def _crowdkit(peers: str, votes: tuple) -> tuple[dict[str, Any] | None, np.ndarray | None]:
    program = str(pathlib.Path(__file__).parent.parent / "peers" / "crowdkit_dawid_skene.py")
    with tempfile.TemporaryDirectory() as folder:
        given, out = pathlib.Path(folder) / "votes.npz", pathlib.Path(folder) / "posterior.npy"
        np.savez(given, item=votes[0], worker=votes[1], label=votes[2], classes=CLASSES)
        command = [peers, program, str(given), str(ITERATIONS), str(out)]
        try:
            done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return None, None
        return json.loads(done.stdout.splitlines()[-1]), np.load(out)
