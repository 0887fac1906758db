"""A real S3 server in a process of its own, a TCP proxy that loses connections before it, and runs to be killed."""

import contextlib
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until whoever started this is gone, however that came about
"""

BUCKET = "bucket"
KEYS = {"key": "a key", "secret": "a secret"}


@contextlib.contextmanager
def s3_server():
    """The port of moto's S3 server on the loopback interface."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


class Proxy:
    """Between a client and a server; what it does to the k-th connection follows from the seed and from k alone.

    A connection is refused, cut after so many bytes on their way to the server or back (in the middle of a request, of
    an answer, or between the two: the server has done it, the client is not told), delayed, or left in peace. Cuts are
    resets, or ends that look orderly.

    Args:
      port: the server's.
      seed: of the draws; None: all are left in peace.
      harm: the fraction of connections that are harmed.
    """

    def __init__(self, port, seed=None, harm=0.35):
        self.seed, self.harm, self.port_behind = seed, harm, port
        self.harmed = self.connections = 0
        self._freeze: tuple[re.Pattern, int] | None = None
        self.frozen = threading.Event()
        self._lock, self._open = threading.Lock(), set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self, pattern, count):
        """From the count-th request that matches a pattern on, nothing gets to the server any more."""
        self._freeze, self.frozen = (re.compile(pattern), count), threading.Event()

    def close(self):
        self._listener.close()
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client, self.connections), daemon=True).start()
                self.connections += 1

    def _serve(self, client, k):
        budget, backward, delay, reset = self._fate(k)
        if budget == 0:
            return _end(client, reset)
        try:
            server = socket.create_connection(("127.0.0.1", self.port_behind))
        except OSError:
            return _end(client, reset)
        with self._lock:
            self._open |= {client, server}
        with contextlib.suppress(OSError):
            self._carry(client, server, budget, backward, delay)
        with self._lock:
            self._open -= {client, server}
        for one in (client, server):  # by the one thread that reads from them, or a reset would not be sent
            _end(one, reset)

    def _fate(self, k):
        if self.seed is None:
            return None, False, 0.0, False
        rng = np.random.default_rng((self.seed, k))
        if rng.uniform() >= self.harm:
            return None, False, float(rng.choice([0.0, 0.01])), False
        self.harmed += 1
        budget = 0 if rng.uniform() < 0.2 else int(np.exp(rng.uniform(np.log(50), np.log(8000))))
        return budget, bool(rng.uniform() < 0.5), 0.0, bool(rng.uniform() < 0.5)

    def _carry(self, client, server, budget, backward, delay):
        """Carries bytes both ways until one side ends or the budget is spent."""
        while True:
            for source in select.select([client, server], [], [])[0]:
                data = source.recv(1 << 16)
                if not data:
                    return
                if source is client:
                    if self._stopped(data):
                        self.frozen.set()
                        threading.Event().wait()  # for good: whoever sent it is about to be killed
                    time.sleep(delay)
                if budget is not None and backward == (source is server):
                    data = data[:budget]
                    budget -= len(data)
                (server if source is client else client).sendall(data)
                if budget == 0:
                    return

    def _stopped(self, data):
        if self._freeze is None:
            return False
        with self._lock:
            pattern, left = self._freeze
            left -= len(pattern.findall(data.decode("latin1")))
            self._freeze = pattern, left
            return left <= 0


def _end(connection, reset):
    with contextlib.suppress(OSError):
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def run_tiny(url, port, cache):
    """Runs the tiny campaign on a URL; in a process of its own, with a mirror of its own, as on another machine."""
    import importlib.util
    import pathlib

    import fsspec.config

    os.environ["XDG_CACHE_HOME"] = str(cache)
    fsspec.config.conf["s3"] = {"endpoint_url": f"http://127.0.0.1:{port}", **KEYS}
    path = pathlib.Path(__file__).with_name("conftest.py")
    spec = importlib.util.spec_from_file_location("tiny", path)
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    import sensijax as sj

    sj.run(tiny.tiny_campaign(), url, micro_batch=64)


if __name__ == "__main__":
    run_tiny(*ARGUMENTS)  # noqa: F821 - given by whoever runs this file
