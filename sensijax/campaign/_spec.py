"""Specs: a campaign as a TOML file. Every fault is found before anything runs, and told with its line."""

import contextlib
import dataclasses
import importlib
import inspect
import pathlib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from sensijax import perturb
from sensijax.campaign import design as designs
from sensijax.campaign._campaign import ABSENT, Campaign, campaign_faults
from sensijax.campaign._scenario import Sweep, sweep
from sensijax.core import ArgumentError, CampaignError, Dataset, Fault, Model
from sensijax.core.errors import did_you_mean


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class _CampaignTable(_Table):
    name: str = "campaign"
    seeds: int | list[int] = 1
    tolerance: float | int = 0.05


class _LoadTable(_Table):
    load: str
    args: dict[str, Any] = {}


class _DataTable(_LoadTable):
    limit: Annotated[int, pydantic.Field(ge=1)] | None = None


class _RunTable(_Table):
    out: str | None = None
    micro_batch: Annotated[int, pydantic.Field(ge=1)] | None = None


class _IsolatedTable(_Table):
    kind: Literal["isolated"]


class _PairsTable(_Table):
    kind: Literal["pairs"]
    at: float | int | dict[str, float | int]


class _FactorialTable(_Table):
    kind: Literal["full_factorial"]
    limit: int = 100_000


class _SampleTable(_Table):
    kind: Literal["sample"]
    n: int
    seed: int = 0


_DESIGNS = {"isolated": designs.isolated, "pairs": designs.pairs, "full_factorial": designs.full_factorial, "sample": designs.sample}


class _StageTable(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)  # the rest is the sweep's: severity, size, ...
    name: str
    kind: str | None = None
    chain: Annotated[list[str], pydantic.Field(min_length=2)] | None = None


class _SpecTable(_Table):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    version: Literal[1] = pydantic.Field(alias="schema")
    campaign: _CampaignTable = _CampaignTable()
    model: _LoadTable
    data: _DataTable
    design: Annotated[_IsolatedTable | _PairsTable | _FactorialTable | _SampleTable, pydantic.Field(discriminator="kind")] = _IsolatedTable(kind="isolated")
    stage: Annotated[list[_StageTable], pydantic.Field(min_length=1)]
    run: _RunTable = _RunTable()


@dataclasses.dataclass(frozen=True)
class Spec:
    """A campaign that came from a file.

    Attributes:
      campaign: the campaign.
      path: the file.
      out: the folder of its run: `[run] out`, relative to the spec; `runs/NAME` beside it unless given.
      micro_batch: `[run] micro_batch`, or None to measure.
    """

    campaign: Campaign
    path: pathlib.Path
    out: pathlib.Path
    micro_batch: int | None


def kinds() -> dict[str, type]:
    """The names that a spec's `kind` may have, and the perturbations they stand for."""
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cls.__name__).lower(): cls for cls in perturb.image.ALL}


def load_spec(path: str | pathlib.Path) -> Spec:
    """Reads a spec and makes its campaign.

    Args:
      path: a TOML file; `sensijax init` writes one with comments.

    Returns:
      The campaign and where its run goes.

    Raises:
      CampaignError: with every fault at once, each with `file:line`.

    Example:
      >>> load_spec("campaign.toml").campaign.name          # doctest: +SKIP
      'digits'
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text()
        raw = tomllib.loads(text)
    except OSError as error:
        raise CampaignError([Fault(str(path), str(error.strerror or error), "a spec that can be read; `sensijax init DIR` writes one")]) from error
    except ValueError as error:  # TOML syntax or encoding
        line = re.search(r"line (\d+)", str(error))
        raise CampaignError([Fault("syntax", str(error), "valid TOML", f"{path}:{line[1]}" if line else str(path))]) from error
    return _Reader(path, raw, _Lines(text)).read()


class _Reader:
    def __init__(self, path: pathlib.Path, raw: dict[str, Any], lines: "_Lines"):
        self.path, self.raw, self.lines = path, raw, lines
        self.faults: list[Fault] = []

    def read(self) -> Spec:
        table = self._table()
        draft = _Draft(
            model=self._load("model", Model), data=self._data(), stages=self._stages(),
            design=self._design(table), seeds=self._campaign("seeds", 1), name=self._campaign("name", "campaign"),
            tolerance=self._campaign("tolerance", 0.05))
        whole = draft.stages is not ABSENT
        self.faults += [self._placed(fault) for fault in campaign_faults(draft if whole else dataclasses.replace(draft, stages={}))
                        if whole or fault.path != "stages"]
        if self.faults or table is None:
            faults = dict.fromkeys(self.faults)
            raise CampaignError(sorted(faults, key=lambda fault: self._line_number(fault)))
        campaign = Campaign(**{f.name: getattr(draft, f.name) for f in dataclasses.fields(draft)})
        out = self.path.parent / (table.run.out or f"runs/{campaign.name}")
        return Spec(campaign, self.path, out, table.run.micro_batch)

    # --- the tables --------------------------------------------------------------------------------------------------

    def _table(self) -> _SpecTable | None:
        try:
            return _SpecTable.model_validate(self.raw)
        except pydantic.ValidationError as error:
            for detail in error.errors():
                self._pydantic_fault(detail)
            return None

    def _pydantic_fault(self, detail: Any) -> None:
        # The name of a union's branch is in pydantic's path, and in nobody's file.
        path = tuple(p for p in detail["loc"] if not (p in _DESIGNS or p in ("int", "float", "list[int]") or str(p).startswith("dict[")))
        if detail["type"] == "extra_forbidden":
            known = _known_keys(path)
            self._fault(path, "an unknown key", did_you_mean(str(path[-1]), known))
        elif detail["type"] == "missing":
            self._fault(path, "missing", {"schema": "schema = 1 on the first line"}.get(str(path[-1]), "it has no default"))
        elif detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
            given = self.raw.get("design", {}).get("kind")
            self._fault((*path, "kind"), repr(given), did_you_mean(str(given), _DESIGNS))
        else:
            self._fault(path, repr(detail["input"]), detail["msg"][0].lower() + detail["msg"][1:])

    def _campaign(self, key: str, default: Any) -> Any:
        table = self.raw.get("campaign")
        return table.get(key, default) if isinstance(table, dict) else default

    def _design(self, table: _SpecTable | None) -> Any:
        raw = self.raw.get("design", {"kind": "isolated"})
        if table is not None:
            return _DESIGNS[table.design.kind](**table.design.model_dump(exclude={"kind"}))
        try:
            return _DESIGNS[raw["kind"]](**{k: v for k, v in raw.items() if k != "kind"})
        except (KeyError, TypeError):
            return ABSENT  # its faults are known

    # --- model and data ----------------------------------------------------------------------------------------------

    def _load(self, table: str, kind: type) -> Any:
        raw = self.raw.get(table)
        if not isinstance(raw, dict) or not isinstance(raw.get("load"), str):
            return ABSENT
        path = (table, "load")
        try:
            target = _import(raw["load"], self.path.parent)
        except _ImportFault as fault:
            self._fault(path, repr(raw["load"]), str(fault))
            return ABSENT
        if not isinstance(target, kind):
            try:
                target = target(**raw.get("args", {}))
            except Exception as error:
                self._fault(path, f"{raw['load']} fails: {type(error).__name__}: {error}", f"a function that returns a {kind.__name__}")
                return ABSENT
        if not isinstance(target, kind):
            self._fault(path, f"{raw['load']} returns a {type(target).__name__}", f"a sensijax.{kind.__name__}")
            return ABSENT
        return target

    def _data(self) -> Any:
        data = self._load("data", Dataset)
        limit = self.raw["data"].get("limit") if isinstance(self.raw.get("data"), dict) else None
        return data.take(slice(limit)) if data is not ABSENT and isinstance(limit, int) and limit >= 1 else data

    # --- stages ------------------------------------------------------------------------------------------------------

    def _stages(self) -> Any:
        tables = self.raw.get("stage")
        if not isinstance(tables, list) or not tables:
            return ABSENT
        stages: dict[str, Sweep] = {}
        whole = True
        for i, raw in enumerate(tables):
            made = self._stage(i, raw) if isinstance(raw, dict) and isinstance(raw.get("name"), str) else None
            if made is None:
                whole = False
            elif raw["name"] in stages:
                self._fault(("stage", i, "name"), repr(raw["name"]), "a name of its own: another stage has it already")
            else:
                stages[raw["name"]] = made
        return stages if whole or stages else ABSENT

    def _stage(self, i: int, raw: dict[str, Any]) -> Sweep | None:
        target = self._target(i, raw)
        if target is None:
            return None
        settings, faulty = {}, False
        known = _settings(target)
        for key, value in raw.items():
            if key in ("name", "kind", "chain"):
                continue
            if key not in known:
                self._fault(("stage", i, key), "an unknown key", did_you_mean(key, [*known, "name", "kind", "chain"]))
                faulty = True
                continue
            try:
                settings[key] = _values(value)
            except ValueError as error:
                self._fault(("stage", i, key), repr(value), str(error))
                faulty = True
        if not any(isinstance(v, list) for v in settings.values()) and not faulty:
            self._fault(("stage", i), "no axis", "a list to sweep, such as severity = [0, 1, 2, 3, 4, 5]")
            return None
        try:
            return None if not any(isinstance(v, list) for v in settings.values()) else sweep(target, **settings)
        except ArgumentError as error:
            self._fault(("stage", i), raw["name"], str(error))
            return None

    def _target(self, i: int, raw: dict[str, Any]) -> Any:
        if ("kind" in raw) == ("chain" in raw):
            self._fault(("stage", i), "both kind and chain" if "kind" in raw else "neither kind nor chain", "exactly one of them")
            return None
        if "kind" in raw:
            return self._kind(("stage", i, "kind"), raw["kind"])
        if not isinstance(raw["chain"], list):
            return None
        links = [self._kind(("stage", i, "chain"), kind) for kind in raw["chain"]]
        return perturb.chain(*links) if len(links) > 1 and None not in links else None

    def _kind(self, path: tuple, kind: Any) -> Any:
        if not isinstance(kind, str):
            return None
        if ":" in kind:
            try:
                return _import(kind, self.path.parent)
            except _ImportFault as fault:
                self._fault(path, repr(kind), str(fault))
                return None
        if kind not in kinds():
            self._fault(path, repr(kind), f"{did_you_mean(kind, kinds())} (or module:Class for your own)")
            return None
        return kinds()[kind]

    # --- faults ------------------------------------------------------------------------------------------------------

    def _fault(self, path: tuple, came: str, right: str) -> None:
        self.faults.append(Fault(_written(path), came, right, self.lines.locate(self.path, path)))

    def _placed(self, fault: Fault) -> Fault:
        """A campaign's fault with the line of the spec that it is about."""
        head, *rest = fault.path.split(".", 2)
        path: tuple = {"name": ("campaign", "name"), "seeds": ("campaign", "seeds"), "tolerance": ("campaign", "tolerance"),
                       "model": ("model", "load"), "data": ("data", "load")}.get(head, ("design",))
        if head == "stages":
            names = [s.get("name") for s in self.raw.get("stage", []) if isinstance(s, dict)]
            tail = ".".join(rest)
            index = next((i for i, n in enumerate(names) if n and (tail == n or tail.startswith(f"{n}."))), None)
            axis = tail[len(names[index]) + 1 :].split("[")[0] if index is not None else ""
            path = ("stage",) if index is None else ("stage", index, *([axis] if axis else []))
        return dataclasses.replace(fault, location=self.lines.locate(self.path, path))

    @staticmethod
    def _line_number(fault: Fault) -> int:
        tail = (fault.location or "").rsplit(":", 1)[-1]
        return int(tail) if tail.isdigit() else 0


@dataclasses.dataclass(frozen=True)
class _Draft:
    model: Any
    data: Any
    stages: Any
    design: Any
    seeds: Any
    name: Any
    tolerance: Any


class _Lines:
    """Where the keys of a TOML text stand: a path such as ("stage", 1, "severity") to a line number."""

    def __init__(self, text: str):
        self._at: dict[tuple, int] = {}
        table: tuple = ()
        counts: dict[tuple, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]", line):
                table = tuple(part.strip('"') for part in header[2].split("."))
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                self._at.setdefault(table, number)
            elif key := re.match(r"\s*([A-Za-z0-9_\"-]+)\s*=", line):
                self._at.setdefault((*table, key[1].strip('"')), number)

    def locate(self, file: pathlib.Path, path: tuple) -> str:
        """`file:line` of the longest part of the path that stands in the text."""
        while path and path not in self._at:
            path = path[:-1]
        return f"{file}:{self._at.get(path, 1)}"


class _ImportFault(Exception):
    pass


def _import(target: str, folder: pathlib.Path) -> Any:
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise _ImportFault("module:name, such as model:load for `load` in model.py beside the spec")
    with _beside(folder):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and module_name.split(".")[0] == error.name.split(".")[0]:
                raise _ImportFault(f"a module that can be imported; there is no {module_name}.py in {folder.resolve()} and none is installed") from error
            raise _ImportFault(f"a module that can be imported; {module_name} needs {error.name}, which is not installed") from error
        except Exception as error:
            raise _ImportFault(f"a module that can be imported; it fails: {type(error).__name__}: {error}") from error
    try:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except AttributeError as error:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise _ImportFault(f"a name in {module_name}; {did_you_mean(name, public)}") from error


@contextlib.contextmanager
def _beside(folder: pathlib.Path) -> Iterator[None]:
    """Lets modules beside the spec be imported, and a module of the same name beside another spec not be mistaken for one."""
    path = str(folder.resolve())
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and "." not in name and (folder / f"{name}.py").exists() and pathlib.Path(file).resolve().parent != folder.resolve() \
                and getattr(module, "__sensijax_spec__", False):
            del sys.modules[name]
    before = set(sys.modules)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in set(sys.modules) - before:
            if (file := getattr(sys.modules[name], "__file__", None)) and pathlib.Path(file).resolve().parent == folder.resolve():
                sys.modules[name].__sensijax_spec__ = True  # type: ignore[attr-defined]


def _settings(target: Any) -> list[str]:
    """What a stage's table may set: severity and the options of `.at`, and the parameters of the class."""
    if isinstance(target, perturb.ChainScale):
        return list(dict.fromkeys(option for scale in target.scales for option in _settings(scale) if option in inspect.signature(scale.at).parameters))
    at = list(inspect.signature(target.at).parameters) if hasattr(target, "at") else []
    return list(dict.fromkeys(at + list(inspect.signature(target).parameters)))


def _values(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    if set(value) == {"linspace"} and isinstance(value["linspace"], list) and len(value["linspace"]) == 3:
        start, stop, count = value["linspace"]
        if isinstance(count, int) and count >= 1:
            return np.linspace(start, stop, count).tolist()
    raise ValueError("a list of numbers, or {linspace = [start, stop, count]}")


def _known_keys(path: tuple) -> list[str]:
    tables = {"campaign": _CampaignTable, "model": _LoadTable, "data": _DataTable, "run": _RunTable}
    if len(path) == 1:
        return ["schema", *(name for name in _SpecTable.model_fields if name != "version")]
    if path[0] == "design":
        return sorted({name for t in (_IsolatedTable, _PairsTable, _FactorialTable, _SampleTable) for name in t.model_fields})
    return list(tables[path[0]].model_fields) if path[0] in tables else []


def _written(path: tuple) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
