"""Seeded faults: nothing is missing, nothing is there twice, nothing wrong is believed, next to nothing is done again.

The stories are told by `python -m bench.faults`, in processes that have touched no JAX backend, so that victims can be
forked. A seed that fails here is told step by step by `python -m bench.faults --level LEVEL --seed N`.
"""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc to see which file is flushed")

# Each breaks the store in one way, and counts what the stories then find.
BROKEN = """
import pathlib, sys
from bench.faults.on_store import StoreStories
from sensijax.campaign.store import _store

home = pathlib.Path(sys.argv[1])

def found(kind, name, broken, seeds):
    stories, whole = StoreStories(home / name, kind), getattr(_store, name)
    setattr(_store, name, broken)
    outcomes = [outcome for seed in range(seeds) for outcome in stories.tell(seed)]
    setattr(_store, name, whole)
    return sum(not outcome.sound for outcome in outcomes)

never_flushed = found("power cut", "flush", lambda path: None, 3)
believed = found("damage", "_digest", lambda path: path.stem.split("-")[-1], 8)
unchecked = found("damage", "unsealed", lambda data, what: {
    k: v for k, v in __import__("json").loads(data).items() if k != "checksum"}, 8)
print(never_flushed, believed, unchecked)
"""


def series(folder, *arguments):
    out = folder / "faults.json"
    command = [sys.executable, "-m", "bench.faults", "--jobs", "1", "--out", str(out), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(out.read_text())
    assert found["unsound"] == [], done.stdout
    return found["total"]


def judge(total, n):
    assert total["count"] >= n
    assert total["missing"] == total["duplicates"] == total["silent"] == total["otherwise_wrong"] == 0
    assert total["beyond_percent"] < 2


def test_faults_of_the_store(tmp_path):
    total = series(tmp_path, "--level", "store", "--n", "40")
    judge(total, 40)
    assert total["again_percent"] > 0, "the kills struck tiles in hand"


def test_kills_of_a_campaign(tmp_path):
    judge(series(tmp_path, "--level", "campaign", "--kind", "kill -9", "--n", "2"), 2)


def test_what_is_broken_is_found(tmp_path):
    """Without flushing, without digests or without checksums, the same stories end otherwise."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert all(int(count) > 0 for count in done.stdout.split()), done.stdout


@pytest.mark.slow
def test_faults_of_campaigns(tmp_path):
    judge(series(tmp_path, "--level", "campaign", "--n", "6", "--first", "102"), 6)
