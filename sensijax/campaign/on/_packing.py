"""Packing values for workers in other processes and on other machines, which have none of the user's files.

What is installed is named, not sent: a worker has it too, or says that it has not. Other modules, such as a `model.py`
beside a spec, travel as their source and are imported from there, so that classes register with JAX as they did here.
What was defined in `__main__`, a script or a notebook, travels by value.
"""

import dataclasses
import importlib.abc
import importlib.machinery
import importlib.util
import io
import pickle
import site
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sensijax.attack import Attack
from sensijax.drift import Drift
from sensijax.drift.detect import Detector
from sensijax.label import LabelNoise
from sensijax.perturb import Perturbation

_STRUCTS = (Attack, Detector, Drift, LabelNoise, Perturbation)
"""Bases whose subclasses become frozen dataclasses and pytrees as they are made."""


class Source(NamedTuple):
    """A module that is not installed.

    Attributes:
      text: its source.
      file: where it was read; what it reads beside itself is found there, on a shared file system.
      package: whether it has submodules.
    """

    text: str
    file: str
    package: bool


class Parcel(NamedTuple):
    """A packed value.

    Attributes:
      content: pickled.
      arrays: the bytes of its arrays, apart: they are neither copied nor kept twice on a machine.
      sources: module name to source.
    """

    content: bytes
    arrays: list[np.ndarray]
    sources: dict[str, Source]


def pack(value: Any) -> Parcel:
    """Packs a value: functions, lambdas and classes included.

    Raises:
      Exception: what pickling raises, if something in it cannot travel (a lock, an open file).
    """
    from ray import cloudpickle

    class Pickler(cloudpickle.Pickler):
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type) and _registers(obj) and not _is_importable(obj):
                return _reduced(obj)
            return super().reducer_override(obj)

    file, buffers = io.BytesIO(), []
    Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
    arrays = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    return Parcel(file.getvalue(), arrays, dict(_sources()))


def unpack(parcel: Parcel) -> Any:
    """What was packed. Its arrays are views of the parcel's, and read-only."""
    _import_from(parcel.sources)
    return pickle.loads(parcel.content, buffers=parcel.arrays)


# --- modules that are not installed ----------------------------------------------------------------------------------


def _sources() -> Iterator[tuple[str, Source]]:
    paths = sysconfig.get_paths()
    homes = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed = tuple({f"{home}/" for home in [*homes, *site.getsitepackages(), site.getusersitepackages()]})
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in ("__main__", "__mp_main__", "sensijax", "sensijax_kernels"):
            continue
        if not file or not file.endswith(".py") or file.startswith(installed):
            continue
        try:
            with open(file, encoding="utf-8") as source:
                yield name, Source(source.read(), file, hasattr(module, "__path__"))
        except (OSError, UnicodeDecodeError):  # gone since: whoever needs it will say so
            continue


def _import_from(sources: Mapping[str, Source]) -> None:
    """Lets modules be imported from their sources, before any that lie about here."""
    for finder in [finder for finder in sys.meta_path if isinstance(finder, _Finder)]:
        sys.meta_path.remove(finder)
    for name in sources:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, _Finder(sources))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    def __init__(self, sources: Mapping[str, Source]):
        self.sources = sources
        self.above = {name.rpartition(".")[0] for name in sources} - {""}
        self.above |= {".".join(name.split(".")[:k]) for name in self.above for k in range(1, name.count(".") + 1)}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        source = self.sources.get(fullname)
        if source is None:  # a package of files that were found apart
            empty = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            return empty if fullname in self.above else None
        spec = importlib.util.spec_from_loader(fullname, self, origin=source.file, is_package=source.package)
        assert spec is not None
        spec.has_location = True
        if source.package:
            spec.submodule_search_locations = [source.file.rpartition("/")[0]]
        return spec

    def get_source(self, fullname: str) -> str:
        return self.sources[fullname].text

    def is_package(self, fullname: str) -> bool:
        return self.sources[fullname].package

    def get_code(self, fullname: str) -> types.CodeType:
        source = self.sources[fullname]
        return self.source_to_code(source.text.encode(), source.file)


# --- classes that cannot be imported ---------------------------------------------------------------------------------

_MADE = frozenset(
    "__dict__ __weakref__ __init__ __repr__ __setattr__ __delattr__ __dataclass_fields__ __dataclass_params__ "
    "__match_args__ __replace__ __abstractmethods__ _abc_impl".split()
)


def _registers(cls: type) -> bool:
    """Whether a class tells JAX of its fields as it is made: a stage's, or a module of Equinox's."""
    equinox = type(cls).__module__.startswith("equinox.") and dataclasses.is_dataclass(cls)
    return equinox or issubclass(cls, _STRUCTS)


def _is_importable(cls: type) -> bool:
    found: Any = sys.modules.get(cls.__module__) if cls.__module__ != "__main__" else None
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def _reduced(cls: type) -> tuple:
    """How a stage's class travels: first its fields, which JAX is told as the class is made, then all else.

    Pickled as other classes are, it would be made empty, registered without a leaf, and lose its parameters.
    """
    annotations = dict(cls.__dict__.get("__annotations__", {}))
    fields = {f.name: _given(f) for f in dataclasses.fields(cls) if f.name in annotations}  # type: ignore[arg-type]
    rest = {name: value for name, value in cls.__dict__.items() if name not in _MADE and name not in fields}
    named = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__annotations__": annotations}
    return _made, (cls.__name__, cls.__bases__, named, fields), rest, None, None, _filled


def _given(field: dataclasses.Field) -> dict[str, Any]:
    """What a field was made with."""
    given = {"metadata": dict(field.metadata), "kw_only": field.kw_only}
    for name in ("default", "default_factory"):
        if getattr(field, name) is not dataclasses.MISSING:
            given[name] = getattr(field, name)
    return given


def _made(name: str, bases: tuple, named: dict[str, Any], fields: dict[str, dict[str, Any]]) -> type:
    body = {**named, **{field: dataclasses.field(**given) for field, given in fields.items()}}
    return types.new_class(name, bases, {}, lambda namespace: namespace.update(body))


def _filled(cls: type, rest: dict[str, Any]) -> None:
    for name, value in rest.items():
        setattr(cls, name, value)
