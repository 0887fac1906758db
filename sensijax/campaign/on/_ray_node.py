"""The Ray node that this process is connected to, and how its death is heard."""

import contextlib
import socket
import threading
from collections.abc import Callable


class Node:
    """Holds a line to the node's raylet, which ends when the raylet does: its death is heard at once.

    Ray itself says so after its health checks, seconds later, and the next request that one of its own threads sends to
    the dead node ends this process. Who waits for Ray may not be there to tell what happened.

    Args:
      died: called once, in a thread of its own, when the raylet is gone. Never after `leave`.

    Attributes:
      is_dead: whether the node has died.
    """

    def __init__(self, died: Callable[[], None]):
        self.is_dead = self._left = False
        self._died = died
        self._line = _line_to_raylet()
        if self._line is not None:
            threading.Thread(target=self._listen, args=(self._line,), name="ray-node", daemon=True).start()

    def leave(self) -> None:
        """Hangs up: what becomes of the node is no longer of interest."""
        self._left = True
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def ask(self) -> bool:
        """Whether the node has died, as the line or the head of the cluster has it."""
        self.is_dead = self.is_dead or self._has_ended() or _is_counted_dead()
        return self.is_dead

    def _has_ended(self) -> bool:
        if self._line is None:
            return False
        try:
            return not self._line.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:  # the listener has closed it
            return True

    def _listen(self, line: socket.socket) -> None:
        with line:
            with contextlib.suppress(OSError):
                while line.recv(4096):  # it says nothing to who does not ask
                    pass
        if not self._left:
            self.is_dead = True
            self._died()


def _line_to_raylet() -> socket.socket | None:
    """None where this process is a client of a cluster on another machine."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    path = next((node["RayletSocketName"] for node in ray.nodes() if node["NodeID"] == here), "")
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(path)
    except OSError:
        line.close()
        return None
    return line


def _is_counted_dead() -> bool:
    import ray

    try:
        here = ray.get_runtime_context().get_node_id()
        return all(node["NodeID"] != here or not node["Alive"] for node in ray.nodes())
    except Exception:  # what the head of the cluster does not answer is no proof
        return False
