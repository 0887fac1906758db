"""Victims, and the ledger that they write outside of the folder: what they handed over, and what was acknowledged."""

import dataclasses
import json
import os
import pathlib
import signal
import time
import traceback
from collections.abc import Callable
from typing import Any

from sensijax.core import StoreError

SAID, CRASHED = 74, 70  # exit codes: a StoreError in words; anything else that came as an exception


class Ledger:
    """Lines of JSON, each written by one call at once: a kill tears none.

    Args:
      path: the file; every victim of a story appends to it.
    """

    def __init__(self, path: pathlib.Path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.path = path

    def write(self, event: str, value: Any = None) -> None:
        os.write(self._descriptor, (json.dumps([os.getpid(), event, value]) + "\n").encode())

    def lines(self) -> list[tuple[int, str, Any]]:
        return [tuple(json.loads(line)) for line in self.path.read_text().splitlines()]

    def close(self) -> None:
        os.close(self._descriptor)


@dataclasses.dataclass(frozen=True)
class Tally:
    """What a ledger says.

    Attributes:
      handed: tiles whose results were there and were handed to the store, with repetitions.
      acknowledged: tiles of which the store said that they are kept.
      open: for each process the tiles that it handed over and that were not acknowledged.
      crashes: tracebacks of what was not said in words.
      said: the words.
      passed: calls that a finished run made, by kind.
    """

    handed: tuple[str, ...]
    acknowledged: frozenset[str]
    open: dict[int, int]
    crashes: tuple[str, ...]
    said: tuple[str, ...]
    passed: dict[str, int]

    @classmethod
    def of(cls, lines: list[tuple[int, str, Any]]) -> "Tally":
        of = {
            event: [(pid, value) for pid, what, value in lines if what == event] for event in ("handed", "acknowledged")
        }
        pending = {
            pid: sum(p == pid for p, _ in of["handed"]) - sum(p == pid for p, _ in of["acknowledged"])
            for pid, _ in of["handed"]
        }
        passed = [value for _, event, value in lines if event == "passed"]
        return cls(
            tuple(value for _, value in of["handed"]),
            frozenset(value for _, value in of["acknowledged"]),
            pending,
            tuple(value for _, event, value in lines if event == "crashed"),
            tuple(value for _, event, value in lines if event == "said"),
            passed[-1] if passed else {},
        )


@dataclasses.dataclass(frozen=True)
class Victim:
    """A forked process."""

    pid: int

    def wait(self, seconds: float = 120.0) -> int:
        """Its exit code, or minus the signal that ended it; one that takes too long is killed, and that is told."""
        deadline = time.monotonic() + seconds
        pause = 0.0005
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise TimeoutError(f"a run did not end within {seconds} s")

    def stopped(self, seconds: float = 60.0) -> bool:
        """Waits until it has stopped itself; False if it ended instead."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if pid:
                return os.WIFSTOPPED(status)
            time.sleep(0.002)
        return False


def forked(work: Callable[[], None], ledger: Ledger) -> Victim:
    """Does something in a process of its own; what goes wrong is in the ledger and in the exit code."""
    pid = os.fork()
    if pid:
        return Victim(pid)
    code = CRASHED
    try:
        work()
        code = 0
    except StoreError as error:
        ledger.write("said", str(error))
        code = SAID
    except BaseException:
        ledger.write("crashed", traceback.format_exc())
    finally:
        os._exit(code)
