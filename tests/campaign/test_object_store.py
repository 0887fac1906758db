"""Campaigns at URLs: nothing lost, nothing doubled, nothing silently wrong, whatever the network and the killer do."""

import concurrent.futures
import datetime
import http.server
import importlib.util
import json
import logging
import multiprocessing
import pathlib
import pickle
import runpy
import socket
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax.campaign import verify
from sensijax.campaign.store import _remote
from sensijax.campaign.store._location import open_store
from sensijax.campaign.store._object_store import ObjectStore
from sensijax.campaign.store._store import Store
from sensijax.core import file_digest
from sensijax.core.errors import MissingExtraError

fsspec = pytest.importorskip("fsspec")

TILE = "0123456789abcdef" * 2
SCRIPT = pathlib.Path(__file__).with_name("_object_server.py")
_spec = importlib.util.spec_from_file_location("object_server", SCRIPT)
helper = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(helper)


def columns(n=5):
    return {"example": np.arange(n), "loss": np.linspace(0, 1, n, dtype=np.float32)}


def tile(k):
    return f"{k:032x}"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Makes this process another machine: one whose mirror is empty."""
    machines = iter(range(1000))

    def move():
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine-{next(machines)}"))

    move()
    return move


@pytest.fixture
def quick(monkeypatch):
    """Waits between two tries as long as a test can afford."""
    monkeypatch.setattr(_remote, "FIRST_DELAY", 0.002)
    monkeypatch.setattr(_remote, "LONGEST_DELAY", 0.01)
    monkeypatch.setattr(_remote, "REQUEST_SECONDS", 10.0)


# --- the laws, on objects in memory ---------------------------------------------------------------------------------


@pytest.fixture
def objects():
    """All objects in memory, by path; none at first."""
    memory = fsspec.filesystem("memory").store
    memory.clear()
    yield memory
    memory.clear()


@pytest.fixture
def store(objects, elsewhere):
    return open_store("memory://bucket/run")


def test_the_same_rows_are_the_same_object_as_in_a_folder(store, objects, tmp_path):
    path = store.commit(TILE, columns(), {"model": "m"})
    local = Store(tmp_path / "run").commit(TILE, columns(), {"model": "m"})
    assert path.name == local.name
    assert objects[f"/bucket/run/parts/{path.name}"].getvalue() == local.read_bytes()
    marker = json.loads(objects[f"/bucket/run/commits/parts/{path.name}.json"].getvalue())
    assert marker == {"bytes": local.stat().st_size, "digest": file_digest(local)}


def test_without_its_marker_a_part_is_not_there(store, monkeypatch):
    put = _remote.Remote.put

    def dies(self, name, data):
        if name.startswith("commits/"):
            raise KeyboardInterrupt  # the writer is killed between the two
        put(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(_remote.Remote, "put", dies)
        with pytest.raises(KeyboardInterrupt):
            store.commit(TILE, columns(), {})
    assert len(store.remote.list("parts")) == 1
    assert store.tiles() == set() and not store.scan().parts and not store.scan().damaged
    store.commit(TILE, columns(), {})
    assert store.tiles() == {TILE} and set(store.scan().parts) == {TILE}


@pytest.mark.parametrize("machine", ["the same, afresh", "another"])
@pytest.mark.parametrize("harm", ["flipped", "truncated", "empty", "missing"])
def test_harm_is_found_and_put_aside(store, objects, elsewhere, harm, machine):
    path = store.commit(TILE, columns(), {})
    whole = store.commit(tile(7), columns(9), {})
    key = f"/bucket/run/parts/{path.name}"
    data = bytearray(objects[key].getvalue())
    data[len(data) // 2] ^= 4
    harmed = {"flipped": bytes(data), "truncated": bytes(data[:-3]), "empty": b"", "missing": None}[harm]
    store.remote.remove(f"parts/{path.name}") if harmed is None else store.remote.put(f"parts/{path.name}", harmed)
    if machine == "another":
        elsewhere()
        store = open_store("memory://bucket/run")
    scan = store.scan(afresh=machine != "another")
    assert scan.damaged == (path.name,) and set(scan.parts) == {tile(7)}
    assert scan.parts[tile(7)].name == whole.name and file_digest(scan.parts[tile(7)]) == whole.stem.split("-")[1]
    assert store.tiles() == {tile(7)}
    assert f"/bucket/run/quarantine/commits/{path.name}.json" in objects, "moved, not deleted"
    if harmed is not None:
        assert objects[f"/bucket/run/quarantine/{path.name}"].getvalue() == harmed
    assert not store.scan().damaged
    store.commit(TILE, columns(), {})
    assert set(store.scan(afresh=True).parts) == {TILE, tile(7)}


def test_a_truncated_object_is_found_by_its_size_alone(store):
    path = store.commit(TILE, columns(), {})
    store.remote.put(f"parts/{path.name}", b"too short")
    assert store.scan().damaged == (path.name,)


def test_a_damaged_mirror_is_mended_and_no_fault_of_the_store(store):
    path = store.commit(TILE, columns(), {})
    whole = path.read_bytes()
    for harmed in (whole[:-1] + b"?", whole[:10], None):
        path.unlink() if harmed is None else path.write_bytes(harmed)
        scan = store.scan()
        assert not scan.damaged and scan.parts[TILE].read_bytes() == whole


def test_two_parts_of_one_tile_conflict(store):
    first, second = sorted(store.commit(TILE, columns(n), {}).name for n in (3, 4))
    scan = store.scan()
    assert scan.conflicts == (TILE,) and scan.parts[TILE].name == first != second


def test_the_first_writer_decides(store):
    assert store.write_first("tuning/a.json", {"micro_batch": 64}) == {"micro_batch": 64}
    assert store.write_first("tuning/a.json", {"micro_batch": 128}) == {"micro_batch": 64}
    assert store.read_json("tuning/a.json") == {"micro_batch": 64}


def test_where_nothing_is_written_exclusively_it_is_looked_first(store, monkeypatch):
    monkeypatch.setattr(_remote, "_creates", lambda fs: False)
    test_the_first_writer_decides(store)


def test_lines_keep_their_order_and_a_damaged_one_does_not_count(store, objects, caplog):
    for k in range(12):
        store.append_line("runs.jsonl", {"k": k})
    assert [line["k"] for line in store.read_lines("runs.jsonl")] == list(range(12))
    third = sorted(name for name in objects if "/runs/" in name)[2]
    objects[third].seek(8)
    objects[third].write(b"9")
    with caplog.at_level(logging.WARNING):
        assert [line["k"] for line in store.read_lines("runs.jsonl")] == [k for k in range(12) if k != 2]
    assert "damaged" in caplog.text
    assert store.read_lines("others.jsonl") == []


def test_what_is_small_is_read_where_it_is_stored(store, elsewhere):
    store.write_bytes("spec.toml", b"[campaign]")
    store.write_json("environments/abc.json", {"id": "abc"})
    elsewhere()
    other = open_store("memory://bucket/run/")
    assert other.location == "memory://bucket/run" and other.folder != store.folder
    assert other.read_bytes("spec.toml") == b"[campaign]" and other.read_bytes("nothing") is None
    assert other.environments() == ["abc"] and other.read_json("campaign.json") is None
    other.write_json("environments/abc.json", {"id": "changed"})
    assert store.read_json("environments/abc.json") == {"id": "changed"}


@pytest.mark.parametrize("where", ["memory://bucket/run", "folder"])
def test_a_sign_is_seen_by_whoever_shares_the_place(objects, elsewhere, tmp_path, where):
    location = where if "://" in where else tmp_path / where
    store, other = open_store(location), pickle.loads(pickle.dumps(open_store(location)))
    store.check_writable(10)
    assert not other.has_probe("token")
    store.probe("token")
    assert other.has_probe("token") and not other.has_probe("another")
    other.remove_probe("token")
    other.remove_probe("token")
    assert not store.has_probe("token")


def test_strays_go_after_a_day_of_the_stores_own_clock(store, objects):
    kept = store.commit(TILE, columns(), {})
    for name, hours in (("old", 25), ("young", 23)):
        store.remote.put(f"parts/{tile(1)}-{name}.parquet", b"half")
        objects[f"/bucket/run/parts/{tile(1)}-{name}.parquet"].created -= datetime.timedelta(hours=hours)
    objects[f"/bucket/run/parts/{kept.name}"].created -= datetime.timedelta(days=400)
    assert store.clear_strays() == 1
    assert sorted(store.remote.list("parts")) == sorted([kept.name, f"{tile(1)}-young.parquet"])


def test_a_url_is_told_from_a_path(tmp_path):
    assert type(open_store("runs/a")) is Store and type(open_store(tmp_path)) is Store
    folder = open_store(f"file://{tmp_path}/run")
    assert type(folder) is Store and folder.folder == tmp_path / "run"
    assert type(open_store("memory://run")) is ObjectStore
    with pytest.raises(sj.ArgumentError, match="pathlib drops a slash"):
        open_store(pathlib.Path("s3://bucket/run"))
    with pytest.raises(sj.ArgumentError, match="a location that fsspec knows"):
        open_store("s4://bucket/run")
    with pytest.raises(sj.ArgumentError, match="adversarial sets are kept in folders"):
        sj.campaign.Evaluated.open("memory://run")


def test_an_absent_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(MissingExtraError, match=r"s3fs.*sensijax\[s3\]"):
        open_store("s3://bucket/run")


# --- on a real S3 server --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("s3fs")
    pytest.importorskip("moto.server")
    with helper.s3_server() as port:
        s3(port).mkdir(helper.BUCKET)
        yield port


def s3(port):
    """The server, seen by someone else."""
    return fsspec.filesystem(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", use_listings_cache=False, skip_instance_cache=True, **helper.KEYS
    )


@pytest.fixture
def through(monkeypatch):
    """Sends what this process asks of S3 to a port."""

    def through(port):
        options = {"endpoint_url": f"http://127.0.0.1:{port}", **helper.KEYS}
        monkeypatch.setitem(fsspec.config.conf, "s3", options)

    return through


@pytest.fixture
def proxy(server):
    proxies = []

    def start(seed=None, **options):
        proxies.append(helper.Proxy(server, seed, **options))
        return proxies[-1]

    yield start
    for one in proxies:
        one.close()


def part_names(results):
    return sorted(path.name for path in results.store.scan().parts.values())


@pytest.fixture(scope="module")
def address():
    return f"s3://{helper.BUCKET}/finished/run"


@pytest.fixture(scope="module")
def at_url(server, make_campaign, tmp_path_factory, address):
    """The tiny campaign, run at a URL by this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://127.0.0.1:{server}", **helper.KEYS})
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("mirror")))
        return sj.run(make_campaign(), address, micro_batch=64)


def test_a_campaign_at_a_url_is_that_of_a_folder_bit_for_bit(
    at_url, address, server, through, elsewhere, finished, make_campaign
):
    through(server)
    assert part_names(at_url) == part_names(finished)
    elsewhere()
    opened = sj.Results.open(address)
    assert opened.completeness == finished.completeness
    pd.testing.assert_frame_equal(opened.frame(), finished.frame())
    found = verify(address)
    assert not found.faults and found.complete
    again = sj.run(make_campaign(), address, micro_batch=64)
    assert len(again.statistics()) == len(opened.statistics()) == 1, "nothing was left to compute"
    assert opened.sql("select count(*) as n from responses").n[0] == finished.completeness.rows
    report = opened.report()
    assert report.read_bytes() == open_store(address).read_bytes("report.html") == again.report().read_bytes()
    (environment,) = open_store(address).environments()
    assert environment in report.read_text() and f"sensijax verify {address}" in report.read_text()


def test_flipped_and_truncated_objects_are_computed_anew(
    at_url, address, server, through, elsewhere, finished, make_campaign
):
    through(server)
    bucket, rng = s3(server), np.random.default_rng(5)
    copy = f"{helper.BUCKET}/harmed/run"
    for name in bucket.find(address.removeprefix("s3://")):
        bucket.cp_file(name, name.replace("finished", "harmed", 1))
    names = part_names(at_url)
    harmed = sorted(rng.choice(names, 3, replace=False))
    for name, how in zip(harmed, ("flip", "cut", "lose"), strict=True):
        data = bytearray(bucket.cat_file(f"{copy}/parts/{name}"))
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        if how == "lose":
            bucket.rm_file(f"{copy}/parts/{name}")
        else:
            bucket.pipe_file(f"{copy}/parts/{name}", bytes(data) if how == "flip" else bytes(data[:-1]))
    assert len(verify(f"s3://{copy}").faults) == 3
    results = sj.run(make_campaign(), f"s3://{copy}", micro_batch=64)
    assert results.statistics()[-1]["tiles_computed"] == 3
    pd.testing.assert_frame_equal(results.frame(), finished.frame())
    elsewhere()
    assert part_names(sj.Results.open(f"s3://{copy}")) == names


@pytest.mark.parametrize("seed", range(4))
def test_lost_connections_lose_and_double_nothing(server, proxy, through, elsewhere, quick, seed):
    """What was acknowledged through a network that breaks is there, once, for everybody else."""
    url, between = f"s3://{helper.BUCKET}/lost-{seed}/run", proxy(seed)
    through(between.port)
    store = open_store(url)
    store.check_writable(10)
    names = [store.commit(tile(k), columns(20 * k + 1), {"k": k}).name for k in range(8)]
    firsts = [store.write_first("tuning/a.json", {"micro_batch": k}) for k in range(3)]
    for k in range(6):
        store.append_line("runs.jsonl", {"k": k})
    elsewhere()
    read = open_store(url)
    through_proxy = read.scan()
    lines = read.read_lines("runs.jsonl")
    assert between.harmed >= 5, "the network did break"

    through(server)
    elsewhere()
    scan = open_store(url).scan()
    assert sorted(path.name for path in scan.parts.values()) == names
    assert sorted(path.name for path in through_proxy.parts.values()) == names
    assert not scan.damaged and not scan.conflicts and not through_proxy.damaged
    assert [line["k"] for line in lines] == list(range(6)) and open_store(url).read_lines("runs.jsonl") == lines
    assert firsts == [{"micro_batch": 0}] * 3
    everything = s3(server).find(url.removeprefix("s3://"))
    assert len(everything) == 2 * len(names) + 6 + 1, "no object that nobody asked for"


def test_a_campaign_through_a_network_that_breaks(server, proxy, through, elsewhere, quick, finished, make_campaign):
    url, between = f"s3://{helper.BUCKET}/broken/run", proxy(11, harm=0.25)
    through(between.port)
    results = sj.run(make_campaign(), url, micro_batch=64)
    assert between.harmed >= 5
    pd.testing.assert_frame_equal(results.frame(), finished.frame())
    through(server)
    elsewhere()
    assert part_names(sj.Results.open(url)) == part_names(finished) and not verify(url).faults


def test_of_many_at_once_one_is_first(server, proxy, through, elsewhere, quick):
    through(proxy(3, harm=0.2).port)
    url, n = f"s3://{helper.BUCKET}/race/run", 12
    barrier = threading.Barrier(n)

    def write(k):
        store = open_store(url)
        assert store.read_bytes("nothing") is None  # connected, so that all begin at once
        barrier.wait()
        time.sleep(0.5 * (k % 3))  # three waves of four: the later ones find what the first left
        return store.write_first("tuning/a.json", {"micro_batch": k})

    with concurrent.futures.ThreadPoolExecutor(n) as threads:
        answers = list(threads.map(write, range(n)))
    through(server)
    assert answers == [open_store(url).read_json("tuning/a.json")] * n


class Processes:
    """Runs of the tiny campaign in processes of their own, each with its own mirror."""

    def __init__(self, home):
        self.home, self.started = home, []

    def start(self, url, port):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["sensijax.campaign", "sensijax.perturb.image", "s3fs"])
        arguments = {"ARGUMENTS": (url, port, self.home / f"machine-{len(self.started)}")}
        process = context.Process(target=runpy.run_path, args=(str(SCRIPT), arguments, "__main__"), daemon=True)
        process.start()
        self.started.append(process)
        return process


@pytest.fixture
def processes(tmp_path):
    processes = Processes(tmp_path)
    yield processes
    for process in processes.started:
        process.kill()
        process.join()


@pytest.mark.slow
def test_kills_as_a_part_and_as_a_marker_is_sent(server, proxy, through, elsewhere, processes, finished, make_campaign):
    """One run is killed as it sends a part, the next as it sends a marker; a third, on another machine, finishes."""
    url = f"s3://{helper.BUCKET}/killed/run"
    rng = np.random.default_rng(9)
    for what in (r"PUT /\S*/run/parts/", r"PUT /\S*/run/commits/parts/"):
        between = proxy()
        between.freeze(what, int(rng.integers(2, 6)))
        process = processes.start(url, between.port)
        assert between.frozen.wait(120)
        process.kill()
        process.join()
    through(server)
    there = open_store(url).tiles()
    assert 0 < len(there) < finished.completeness.tiles_total
    assert not verify(url).faults
    results = sj.run(make_campaign(), url, micro_batch=64)
    assert results.statistics()[-1]["tiles_computed"] == finished.completeness.tiles_total - len(there)
    pd.testing.assert_frame_equal(results.frame(), finished.frame())
    elsewhere()
    assert part_names(sj.Results.open(url)) == part_names(finished) and not verify(url).faults


@pytest.mark.slow
def test_two_writers_at_once(server, through, elsewhere, processes, finished):
    url = f"s3://{helper.BUCKET}/two/run"
    both = [processes.start(url, server) for _ in range(2)]
    for process in both:
        process.join(200)
    assert [process.exitcode for process in both] == [0, 0]
    through(server)
    results = sj.Results.open(url)
    assert results.completeness == finished.completeness
    pd.testing.assert_frame_equal(results.frame(), finished.frame())
    assert len(s3(server).find(f"{helper.BUCKET}/two/run/parts")) == finished.completeness.tiles


# --- what is said when it does not work -----------------------------------------------------------------------------


@pytest.fixture
def answering():
    """A server that answers every request in the same way, as S3 documents it; and how often it was asked."""
    servers = []

    def answering(status, code):
        asked = []

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self):
                asked.append(self.path)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = f"<Error><Code>{code}</Code><Message>said the server</Message></Error>".encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_HEAD = do_DELETE = do_POST = do_PUT

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server.server_port, asked

    yield answering
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "said", "tries"),
    [
        (404, "NoSuchBucket", "there is no bucket 'bucket'.*create it", 1),
        (403, "AccessDenied", "access denied.*let this account list, read, write and delete", 1),
        (403, "InvalidAccessKeyId", "does not accept the credentials.*AWS_ACCESS_KEY_ID", 1),
        (403, "SignatureDoesNotMatch", "does not accept the credentials.*AWS_ACCESS_KEY_ID", 1),
        (400, "ExpiredToken", "credentials have expired.*renew them", 1),
        (503, "SlowDown", "overloaded or failing.*run again later.*every finished tile is kept", None),
        (500, "InternalError", "overloaded or failing.*run again later", None),
    ],
)
def test_what_a_store_refuses_is_said_in_one_line(answering, through, elsewhere, quick, status, code, said, tries):
    pytest.importorskip("s3fs")
    port, asked = answering(status, code)
    through(port)
    with pytest.raises(sj.StoreError, match=said) as caught:
        open_store("s3://bucket/run").check_writable()
    assert "\n" not in str(caught.value) and str(caught.value).startswith("s3://bucket/run: ")
    assert len(asked) == (tries or _remote.ATTEMPTS_BEFORE)


def test_a_store_that_does_not_answer(through, elsewhere, quick, monkeypatch):
    pytest.importorskip("s3fs")
    monkeypatch.setattr(_remote, "REQUEST_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        through(listener.getsockname()[1])
        with pytest.raises(sj.StoreError, match=f"did not answer in time.*tried {_remote.ATTEMPTS_BEFORE} times"):
            open_store("s3://bucket/run").check_writable()


def test_a_store_that_cannot_be_reached(through, elsewhere, quick):
    pytest.importorskip("s3fs")
    through(1)  # nobody listens there
    with pytest.raises(sj.StoreError, match="cannot reach the store.*AWS_ENDPOINT_URL.*every finished tile is kept"):
        open_store("s3://bucket/run").check_writable()


def test_absent_credentials(monkeypatch, elsewhere, tmp_path, quick):
    pytest.importorskip("s3fs")
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(sj.StoreError, match="found no credentials.*AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket/run").check_writable()


def test_a_store_that_goes_away_in_mid_run_is_asked_for_longer(server, proxy, through, elsewhere, quick):
    between = proxy()
    through(between.port)
    store = open_store(f"s3://{helper.BUCKET}/away/run")
    store.commit(TILE, columns(), {})
    between.port_behind, between.seed, between.harm = 1, 0, 1.0
    between.close()
    with pytest.raises(sj.StoreError, match=f"tried {_remote.ATTEMPTS} times.*every finished tile is kept"):
        store.commit(tile(1), columns(), {})
    through(server)
    assert open_store(store.location).tiles() == {TILE}
