"""A small disk, and one that nothing can be written to: mounts that only this process and its children see."""

import ctypes
import os
import pathlib

_NEW_NAMESPACE, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18


def isolate() -> bool:
    """Gives this process mounts of its own; False where the system does not allow it. It must have one thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_NAMESPACE if user == 0 else _NEW_NAMESPACE | _NEW_USER):
        return False
    if user:
        pathlib.Path("/proc/self/setgroups").write_text("deny")
        pathlib.Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        pathlib.Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    return _mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None)


def small_disk(folder: pathlib.Path, kilobytes: int, again: bool = False) -> bool:
    """Mounts a disk in memory; or, `again`, gives it another size. False where the system does not allow it."""
    flags = _REMOUNT if again else 0
    return _mount(b"tmpfs", bytes(folder), b"tmpfs", flags, f"size={kilobytes}k".encode())


def read_only(folder: pathlib.Path, on: bool) -> bool:
    """Makes a folder one that nothing can be written to, or undoes it. False where the system does not allow it."""
    path = bytes(folder)
    if on and not _mount(path, path, None, _BIND, None):
        return False
    return _mount(path, path, None, _REMOUNT | _BIND | (_READ_ONLY if on else 0), None)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes | None) -> bool:
    return ctypes.CDLL(None, use_errno=True).mount(source, target, kind, flags, options) == 0
