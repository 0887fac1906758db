"""On Ray, with real worker processes: the same bytes as here, whoever dies; and every refusal in words."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
import warnings
from typing import Any

import jax.numpy as jnp
import pytest

import sensijax as sj
from sensijax.campaign import verify
from sensijax.core import StoreError
from sensijax.core.errors import MissingExtraError
from sensijax.perturb import Perturbation

ray = pytest.importorskip("ray")
psutil = pytest.importorskip("psutil")

from tests.campaign import _on_ray  # noqa: E402

WATCHFUL = {
    "RAY_health_check_initial_delay_ms": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""A Ray that notices the death of a node after seconds, not a quarter of a minute."""
ROOT = pathlib.Path(_on_ray.__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, with two processors and two devices that JAX knows nothing of."""
    others = set(psutil.Process().children(recursive=True))  # of tests before these, in this process
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # os.fork() beside threads, in Ray's own start
        ray.init(
            address="local",
            num_cpus=2,
            resources={"QPU": 2},
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=128 << 20,
        )
    processes = psutil.Process().children(recursive=True)
    yield
    processes += psutil.Process().children(recursive=True)
    ray.shutdown()
    assert gone([process for process in processes if process not in others], 20)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What this process finds by itself."""
    return sj.run(_on_ray.campaign(), tmp_path_factory.mktemp("here") / "run", micro_batch=1024)


def on_two(campaign, folder, **options):
    return sj.run(campaign, folder, micro_batch=1024, on=sj.on.ray(workers=2), **options)


def parts(folder):
    return sorted(path.name for path in (pathlib.Path(folder) / "parts").glob("*.parquet"))


def hands(parent=None):
    """The processes that compute."""
    children = psutil.Process(parent).children(recursive=True)
    return [child for child in children if _line(child).startswith("ray::Hand")]


def _line(process):
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def wait_for(condition, seconds=120):
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
    return found


def gone(processes, seconds):
    """Whether processes end in time. A zombie has: its parent was killed, and nobody has buried it yet."""
    until = time.monotonic() + seconds
    while left := [p for p in processes if _alive(p)]:
        if time.monotonic() > until:
            print("left:", left)
            return False
        time.sleep(0.02)
    return True


def _alive(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes):
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


# --- refused, before there is any Ray --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"workers": 0}, {"workers": 1.5}, {"devices": 0}, {"address": ""}])
def test_options_that_make_no_sense(options):
    with pytest.raises(sj.ArgumentError, match=next(iter(options))):
        sj.on.ray(**options)


def test_without_the_package(monkeypatch, make_campaign, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sensijax\[ray\]'"):
        sj.run(make_campaign(), tmp_path / "run", on=sj.on.ray())


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_where_nobody_answers(scheme, make_campaign, tmp_path):
    started = time.monotonic()
    with pytest.raises(sj.ArgumentError, match="nobody answers.*ray start --head"):
        sj.run(make_campaign(), tmp_path / "run", on=sj.on.ray(f"{scheme}127.0.0.1:{free_port()}"))
    assert time.monotonic() - started < 60  # a bound on hanging, not on speed


def test_an_address_that_is_none(make_campaign, tmp_path):
    with pytest.raises(sj.ArgumentError, match="HOST:PORT"):
        sj.run(make_campaign(), tmp_path / "run", on=sj.on.ray("head-node"))


# --- the same bytes --------------------------------------------------------------------------------------------------


def test_bit_for_bit_what_one_process_finds(cluster, make_campaign, finished, tmp_path):
    seen = []
    found = sj.run(
        make_campaign(), tmp_path / "run", micro_batch=64, on=sj.on.ray(workers=2), progress=lambda p: seen.append(p)
    )
    assert parts(found.folder) == parts(finished.folder)
    assert found.completeness.complete and not verify(found.folder).faults
    assert [p.tiles for p in seen if p.scenario] == list(range(1, len(parts(found.folder)) + 1))
    statistics = found.statistics()[-1]
    assert statistics["workers"] == 2 and statistics["micro_batch"] == 64
    assert statistics["environment"] == finished.statistics()[-1]["environment"]
    assert not list(found.folder.glob("probes/*"))


@pytest.mark.slow
def test_a_worker_is_killed_and_replaced(cluster, expected, tmp_path, caplog):
    killed: list[Any] = []

    def kill(progress):
        if progress.tiles == 4 and not killed:
            killed.append(hands()[0])
            killed[0].kill()

    found = on_two(_on_ray.campaign(), tmp_path / "run", progress=kill)
    assert killed and "died" in caplog.text
    assert parts(found.folder) == parts(expected.folder)
    statistics = found.statistics()[-1]
    assert statistics["tiles_computed"] == statistics["tiles_total"]
    assert not (found.folder / "failures.jsonl").exists()


def test_what_raises_is_tried_three_times_and_recorded(cluster, expected, tmp_path, caplog):
    campaign = _on_ray.campaign(_on_ray.RAISES)
    found = on_two(campaign, tmp_path / "run")
    assert found.completeness.tiles_total - found.completeness.tiles == 1
    assert set(parts(found.folder)) == set(parts(expected.folder))
    (line,) = (json.loads(text) for text in (found.folder / "failures.jsonl").read_text().splitlines())
    assert line["scenarios"] == ["slow@100"] and len(line["errors"]) == 3
    assert all("this setting cannot be computed" in error for error in line["errors"])
    assert "was given up after 3 tries" in caplog.text


# --- refused, by what workers say ------------------------------------------------------------------------------------


def test_a_folder_that_is_not_shared(cluster, make_campaign, monkeypatch, tmp_path):
    theirs = pathlib.Path.cwd() / tmp_path.name  # where the workers were started
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / tmp_path.name
    mine.mkdir()
    try:
        with pytest.raises(StoreError, match="not the same folder on"):
            sj.run(make_campaign(), f"/proc/self/cwd/{mine.name}", on=sj.on.ray(workers=1))
    finally:
        shutil.rmtree(theirs, ignore_errors=True)
    assert not list(mine.glob("parts/*"))


def test_devices_that_jax_does_not_see(cluster, make_campaign, tmp_path):
    with pytest.raises(sj.ArgumentError, match="sees no accelerator, though Ray gave it a QPU"):
        sj.run(make_campaign(), tmp_path / "run", on=sj.on.ray(workers=1, accelerators="qpu"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 3}, "the cluster has 2 CPU; 1 to 2"),
        ({"accelerators": "GPU"}, "what the cluster's nodes say they have"),
        ({"address": "127.0.0.1:1"}, "connected to Ray already"),
    ],
)
def test_what_the_cluster_does_not_have(cluster, make_campaign, tmp_path, options, said):
    with pytest.raises(sj.ArgumentError, match=said):
        sj.run(make_campaign(), tmp_path / "run", on=sj.on.ray(**options))


def test_probabilities_end_the_run_as_they_do_here(cluster, make_campaign, make_model, tmp_path):
    import jax

    linear = make_model()
    model = sj.Model(lambda w, x: jax.nn.softmax(linear.apply(w, x)), linear.params)
    with pytest.raises(sj.ArgumentError, match="returns probabilities"):
        sj.run(make_campaign(model=model), tmp_path / "run", micro_batch=64, on=sj.on.ray(workers=1))


def test_what_cannot_travel(cluster, make_campaign, make_model, tmp_path):
    import threading

    lock, linear = threading.Lock(), make_model()

    def apply(w, x):
        with lock:
            return linear.apply(w, x)

    model = sj.Model(apply, linear.params)
    with pytest.raises(sj.ArgumentError, match="cannot be sent to other processes.*lock"):
        sj.run(make_campaign(model=model), tmp_path / "run", on=sj.on.ray(workers=1))


# --- what users have -------------------------------------------------------------------------------------------------


def models():
    import equinox as eqx
    import flax.linen as linen
    import jax
    from flax import nnx

    shape = (1, _on_ray.SIDE, _on_ray.SIDE, 1)

    class Linen(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(x.reshape(len(x), -1))

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.dense = nnx.Linear(_on_ray.SIDE**2, 3, rngs=rngs)

        def __call__(self, x):
            return self.dense(x.reshape(len(x), -1))

    class Equinox(eqx.Module):
        dense: eqx.nn.Linear

        def __call__(self, x):
            return self.dense(x.reshape(-1))

    module = Linen()
    yield sj.adapt.linen(module, module.init(jax.random.key(0), jnp.zeros(shape, jnp.float32)))
    yield sj.adapt.nnx(Nnx(nnx.Rngs(0)))
    yield sj.adapt.equinox(Equinox(eqx.nn.Linear(_on_ray.SIDE**2, 3, key=jax.random.key(0))))


def planned(parcel):
    from sensijax.campaign._campaign import Campaign
    from sensijax.campaign._plan import make_plan
    from sensijax.campaign.on._packing import unpack
    from sensijax.campaign.on._ray_actor import plan_digest

    return plan_digest(make_plan(Campaign(**unpack(parcel))))


def test_flax_equinox_and_classes_of_a_function_travel(cluster):
    from sensijax.campaign._plan import make_plan
    from sensijax.campaign.on._packing import pack
    from sensijax.campaign.on._ray_actor import fields_of, plan_digest

    class Shift(Perturbation):
        by: Any
        twice: bool = sj.core.static(default=True)

        @classmethod
        def at(cls, severity):
            return Shift(by=severity)

        def is_identity(self):
            return self.by == 0

        def apply(self, key, x):
            return x + jnp.float32(0.1) * self.by * (2 if self.twice else 1)

    stages = {"shift": sj.sweep(Shift, severity=[0, 1, 2])}
    campaigns = [sj.Campaign(model, _on_ray.campaign().data, stages) for model in models()]
    there = [ray.remote(planned).remote(pack(fields_of(campaign))) for campaign in campaigns]
    assert ray.get(there) == [plan_digest(make_plan(campaign)) for campaign in campaigns]


# --- killed, in processes of their own -------------------------------------------------------------------------------


class Driver:
    """A run in a process of its own."""

    RUN = "import sys; from tests.campaign import _on_ray; _on_ray.main(*sys.argv[1:])"

    def __init__(self, folder, log, *arguments, seconds=0.02):
        self.log = log
        environment = {**os.environ, "PYTHONPATH": str(ROOT), _on_ray.SECONDS: str(seconds), **WATCHFUL}
        command = [sys.executable, "-c", self.RUN, folder, log, *map(str, arguments)]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    def tiles(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        assert self.process.poll() is None, self.process.communicate()[1].decode()
        return max((int(line.split()[1]) for line in lines), default=0)

    def family(self):
        return psutil.Process(self.process.pid).children(recursive=True)

    def last_words(self):
        """What it said, and its exit code."""
        return self.process.communicate(timeout=180)[1].decode(), self.process.returncode


@pytest.fixture
def two_nodes(monkeypatch):
    """A cluster of one node, to which another may be added on this machine; each with one worker."""
    from ray.cluster_utils import Cluster

    for name, value in WATCHFUL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(_on_ray.SECONDS, "0.5")  # workers have it from their raylet, not from the driver
    others = {process.pid for process in psutil.Process().children(recursive=True)}  # of the tests' other cluster
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield nodes
    processes = [child for child in psutil.Process().children(recursive=True) if child.pid not in others]
    nodes.shutdown()
    assert gone(processes, 20)


@pytest.mark.slow
def test_the_driver_is_killed(expected, tmp_path):
    folder = tmp_path / "run"
    driver = Driver(folder, tmp_path / "log")
    wait_for(lambda: driver.tiles() >= 6)
    family = driver.family()
    theirs = [child for child in family if "ray::Hand" in _line(child)]
    raylets = [child for child in family if child.name() == "raylet"]
    driver.process.kill()
    driver.process.wait()
    killed, at_death = time.monotonic(), len(parts(folder))
    assert theirs and gone(theirs, 30), "a worker went on without its driver"
    print(f"workers gone {time.monotonic() - killed:.2f} s after the driver; parts: {at_death}, {len(parts(folder))}")
    assert raylets and gone(raylets, 30)
    end(family)  # Ray's own agents take their time
    before = parts(folder)
    assert 6 <= len(before) < len(parts(expected.folder))
    assert set(before) <= set(parts(expected.folder)) and not verify(folder).faults

    found = sj.run(_on_ray.campaign(), folder, micro_batch=1024)
    assert parts(folder) == parts(expected.folder)
    assert found.statistics()[-1]["tiles_computed"] == len(parts(folder)) - len(before)


@pytest.mark.slow
def test_the_only_raylet_is_killed(expected, tmp_path):
    folder = tmp_path / "run"
    driver = Driver(folder, tmp_path / "log", seconds=0.5)
    wait_for(lambda: driver.tiles() >= 4)
    family = driver.family()
    theirs = [child for child in family if "ray::Hand" in _line(child)]
    (raylet,) = (child for child in family if child.name() == "raylet")
    raylet.kill()
    killed = time.monotonic()
    said, code = driver.last_words()
    told = next((line for line in said.splitlines() if "every finished tile is kept: run again" in line), "")
    print(f"the driver ended {time.monotonic() - killed:.1f} s later, with {len(parts(folder))} parts: {told}")
    assert code == 1 and told.startswith(
        "sensijax.core.errors.StoreError: the Ray node that this process is connected"
    ), f"{code}: {said}"
    assert theirs and gone(theirs, 30)
    end(family)
    before = parts(folder)
    assert 4 <= len(before) < len(parts(expected.folder)) and not verify(folder).faults
    sj.run(_on_ray.campaign(), folder, micro_batch=1024)
    assert parts(folder) == parts(expected.folder)


@pytest.mark.slow
def test_one_of_two_raylets_is_killed(two_nodes, expected, tmp_path):
    second = two_nodes.add_node(num_cpus=1)
    folder = tmp_path / "run"
    driver = Driver(folder, tmp_path / "log", two_nodes.address)
    wait_for(lambda: driver.tiles() >= 4)
    second.kill_raylet(check_alive=False)
    killed = time.monotonic()
    said, code = driver.last_words()
    told = [line for line in said.splitlines() if line.startswith("worker ")]
    print(f"the driver ended {time.monotonic() - killed:.1f} s later: {told}")
    assert code == 0, said
    assert any(" died (" in line for line in told)
    assert parts(folder) == parts(expected.folder)
    assert not (folder / "failures.jsonl").exists()


@pytest.mark.slow
def test_nodes_that_would_compute_something_else(two_nodes, tmp_path):
    two_nodes.add_node(num_cpus=1, env_vars={"XLA_FLAGS": "--xla_cpu_enable_fast_min_max=true"})
    said, code = Driver(tmp_path / "run", tmp_path / "log", two_nodes.address).last_words()
    assert (
        code == 1 and "xla_flags" in said and "--xla_cpu_enable_fast_min_max=true" in said and "--allow-mixed" in said
    )
    assert not parts(tmp_path / "run")


@pytest.mark.slow
def test_a_tile_that_kills_its_worker_is_found_out(cluster, expected, tmp_path):
    found = on_two(_on_ray.campaign(_on_ray.DIES), tmp_path / "run")
    assert parts(found.folder) == parts(expected.folder)
    (line,) = (json.loads(text) for text in (found.folder / "failures.jsonl").read_text().splitlines())
    print(line["errors"])
    assert line["scenarios"] == ["slow@200"] and len(line["errors"]) == 3
    assert found.completeness.tiles_total - found.completeness.tiles == 1
