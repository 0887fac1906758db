"""Specs: a campaign as a TOML file. Every fault is found before anything runs, and told with its line."""

import dataclasses
import inspect
import pathlib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from sensijax import attack, drift, label, perturb
from sensijax.campaign._campaign import ABSENT, Campaign, campaign_faults
from sensijax.campaign._importing import ImportFault, failure, import_target
from sensijax.campaign._kinds import attack_kinds, drift_kinds, kinds, label_kinds
from sensijax.campaign._scenario import Sweep, options_of, statics, sweep
from sensijax.campaign._spec_tables import DESIGNS, SpecTable, table_faults
from sensijax.campaign._spec_timelines import placed, read_timelines
from sensijax.campaign.store._location import is_url
from sensijax.core import ArgumentError, CampaignError, Dataset, Fault, Model
from sensijax.core.errors import did_you_mean


@dataclasses.dataclass(frozen=True)
class Spec:
    """A campaign that came from a file.

    Attributes:
      campaign: the campaign.
      path: the file.
      out: the folder of its run: `[run] out`, a URL or relative to the spec; `runs/NAME` beside it unless given.
      micro_batch: `[run] micro_batch`, or None to measure.
    """

    campaign: Campaign
    path: pathlib.Path
    out: pathlib.Path | str
    micro_batch: int | None


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
    text, raw = read_toml(path)
    return _Reader(path, raw, _Lines(text)).read()


def read_toml(path: pathlib.Path) -> tuple[str, dict[str, Any]]:
    """The text of a spec, and what it says; a `CampaignError` if it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise CampaignError(
            [Fault(str(path), str(error.strerror or error), "a spec that can be read; `sensijax init DIR` writes one")]
        ) from error
    except ValueError as error:  # TOML syntax or encoding
        line = re.search(r"line (\d+)", str(error))
        raise CampaignError(
            [Fault("syntax", str(error), "valid TOML", f"{path}:{line[1]}" if line else str(path))]
        ) from error


class _Reader:
    def __init__(self, path: pathlib.Path, raw: dict[str, Any], lines: "_Lines"):
        self.path, self.raw, self.lines = path, raw, lines
        self.faults: list[Fault] = []

    def read(self) -> Spec:
        for path, came, right in table_faults(self.raw):
            self._fault(path, came, right)
        whole = not self.faults
        draft = _Draft(
            model=self._load("model", Model),
            data=self._data(),
            stages=self._stages(),
            design=self._design(),
            seeds=self._campaign("seeds", 1),
            name=self._campaign("name", "campaign"),
            tolerance=self._campaign("tolerance", 0.05),
            timelines=read_timelines(self.raw.get("timeline"), self.path.parent, self._fault),
        )
        parts = {f.name: getattr(draft, f.name) for f in dataclasses.fields(draft)}
        campaign = None
        try:
            if self.faults or not whole:
                raise CampaignError(list(campaign_faults(draft)))
            campaign = Campaign(**parts)  # which looks for its faults itself
        except CampaignError as error:
            self.faults += [self._placed(fault) for fault in error.faults]
        if campaign is None:
            raise CampaignError(sorted(dict.fromkeys(self.faults), key=self._line_number))
        table = SpecTable.model_validate(self.raw)
        out = table.run.out or f"runs/{campaign.name}"
        out = out if is_url(out) else self.path.parent / out
        return Spec(campaign, self.path, out, table.run.micro_batch)

    def _campaign(self, key: str, default: Any) -> Any:
        table = self.raw.get("campaign")
        return table.get(key, default) if isinstance(table, dict) else default

    def _design(self) -> Any:
        if any(fault.path.partition(".")[0] == "design" for fault in self.faults):
            return ABSENT
        raw = self.raw.get("design", {"kind": "isolated"})
        return DESIGNS[raw["kind"]](**{key: value for key, value in raw.items() if key != "kind"})

    # --- model and data ----------------------------------------------------------------------------------------------

    def _load(self, table: str, kind: type) -> Any:
        raw = self.raw.get(table)
        if not isinstance(raw, dict) or not isinstance(raw.get("load"), str):
            return ABSENT
        path = (table, "load")
        try:
            target = import_target(raw["load"], self.path.parent)
        except ImportFault as fault:
            self._fault(path, repr(raw["load"]), str(fault))
            return ABSENT
        if isinstance(target, kind):
            return target
        right, args = f"a function that returns a sensijax.{kind.__name__}", raw.get("args", {})
        if not callable(target):
            self._fault(path, f"{raw['load']} is of type {type(target).__name__}", right)
            return ABSENT
        if not isinstance(args, dict):
            return ABSENT  # its fault is known
        try:
            made = target(**args)
        except Exception as error:  # whatever a user's code raises
            self._fault(path, f"{raw['load']} fails: {failure(error, self.path.parent)}", right)
            return ABSENT
        if not isinstance(made, kind):
            self._fault(path, f"{raw['load']} returns a {type(made).__name__}", right)
            return ABSENT
        return made

    def _data(self) -> Any:
        data = self._load("data", Dataset)
        limit = self.raw["data"].get("limit") if isinstance(self.raw.get("data"), dict) else None
        return data.take(slice(limit)) if data is not ABSENT and type(limit) is int and limit >= 1 else data

    # --- stages ------------------------------------------------------------------------------------------------------

    def _stages(self) -> Any:
        tables = self.raw.get("stage")
        if not isinstance(tables, list) or not tables:
            return ABSENT
        stages: dict[str, Sweep] = {}
        for i, raw in enumerate(tables):
            if not isinstance(raw, dict):
                continue
            name, made = raw.get("name"), self._stage(i, raw)
            if isinstance(name, str) and name in stages:
                self._fault(("stage", i, "name"), repr(name), "a name of its own: another stage has it already")
            elif isinstance(name, str):
                stages[name] = made
        return stages or ABSENT

    def _stage(self, i: int, raw: dict[str, Any]) -> Any:
        """The sweep of a stage's table; `ABSENT` where it cannot be made, and then its faults are known."""
        target = self._target(i, raw)
        if target is None:
            return ABSENT
        settings, faulty = {}, False
        known = _settings(target)
        for key, value in raw.items():
            if key in ("name", "kind", "chain"):
                continue
            if key not in known:
                self._fault(("stage", i, key), "an unknown key", did_you_mean(key, [*known, "name", "kind", "chain"]))
                faulty = True
                continue
            if key in statics(target) and isinstance(value, list):
                settings[key] = tuple(value)  # such as box = [0, 1]: no axis
                continue
            if key in statics(target) and isinstance(value, dict):
                settings[key] = value  # such as mapping = {3 = 5, 5 = 3}
                continue
            try:
                settings[key] = _values(value)
            except ValueError as error:
                self._fault(("stage", i, key), repr(value), str(error))
                faulty = True
        axes = [key for key, value in settings.items() if isinstance(value, list)]
        if len(axes) != 1 and not faulty:
            self._fault(
                ("stage", i),
                f"{len(axes)} lists to sweep: {', '.join(axes)}" if axes else "nothing to sweep",
                "exactly one list, such as severity = [0, 1, 2, 3, 4, 5]",
            )
        if len(axes) != 1:
            return ABSENT
        try:
            return sweep(target, **settings)
        except ArgumentError as error:
            self._fault(("stage", i, error.argument), str(error.came), error.right)
            return ABSENT

    def _target(self, i: int, raw: dict[str, Any]) -> Any:
        if ("kind" in raw) == ("chain" in raw):
            self._fault(
                ("stage", i),
                "both kind and chain" if "kind" in raw else "neither kind nor chain",
                "exactly one of them",
            )
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
                found = import_target(kind, self.path.parent)
            except ImportFault as fault:
                self._fault(path, repr(kind), str(fault))
                return None
            stages = (perturb.Perturbation, attack.Attack, drift.Drift, label.LabelNoise)
            if hasattr(found, "at") or isinstance(found, type) and issubclass(found, stages):
                return found
            self._fault(
                path,
                f"{kind} is of type {type(found).__name__}",
                "a class of perturbation, attack, drift or label noise, or anything with .at(severity)",
            )
            return None
        known = kinds() | ({} if path[-1] == "chain" else attack_kinds() | drift_kinds() | label_kinds())
        if kind not in known:
            self._fault(path, repr(kind), f"{did_you_mean(kind, known)} (or module:Class for your own)")
            return None
        return known[kind]

    # --- faults ------------------------------------------------------------------------------------------------------

    def _fault(self, path: tuple, came: str, right: str) -> None:
        self.faults.append(Fault(self._written(path), came, right, self.lines.locate(self.path, path)))

    def _placed(self, fault: Fault) -> Fault:
        """A campaign's fault in the words of the spec, with the line that it is about."""
        head, _, rest = fault.path.partition(".")
        written, path = fault.path, (head, rest)
        if head in ("model", "data"):
            path = (head, "load")
        elif head in ("name", "seeds", "tolerance"):
            written, path = f"campaign.{head}", ("campaign", head)
        elif head == "timelines":
            written, path = placed(rest, self.raw["timeline"])
        elif head == "stages":
            names = [raw.get("name") if isinstance(raw, dict) else None for raw in self.raw["stage"]]
            name = max((n for n in names if isinstance(n, str) and f"{rest}.".startswith(f"{n}.")), key=len)
            written, path = f"stage.{rest}", ("stage", names.index(name), rest[len(name) + 1 :].partition("[")[0])
        return dataclasses.replace(fault, path=written, location=self.lines.locate(self.path, path))

    def _written(self, path: tuple) -> str:
        """`stage.fog.severity`: a table in a list goes by its name, or by its number where it has none."""
        text = ""
        here: Any = self.raw
        for part in path:
            known = part in (range(len(here)) if isinstance(here, list) else here if isinstance(here, dict) else ())
            here = here[part] if known else None
            name = here.get("name") if isinstance(part, int) and isinstance(here, dict) else None
            text += f".{name}" if isinstance(name, str) else f"[{part}]" if isinstance(part, int) else f".{part}"
        return text.removeprefix(".")

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
    timelines: Any


class _Lines:
    """Where the keys of a TOML text stand: a path such as ("stage", 1, "severity") to a line number."""

    def __init__(self, text: str):
        self._at: dict[tuple, int] = {}
        table: tuple = ()
        counts: dict[tuple, int] = {}
        for number, line in enumerate(text.splitlines(), start=1):
            if header := re.match(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]", line):
                table = ()
                for part in header[2].split("."):  # [[timeline.monitor]] is of the latest [[timeline]]
                    table = (*table, counts[table]) if table in counts else table
                    table = (*table, part.strip('"'))
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    table = (*table, counts[table])
                self._at.setdefault(table, number)
            elif key := re.match(r"\s*([A-Za-z0-9_.\"-]+)\s*=", line):
                self._at.setdefault((*table, *(part.strip('"') for part in key[1].split("."))), number)

    def locate(self, file: pathlib.Path, path: tuple) -> str:
        """`file:line` of the longest part of the path that stands in the text."""
        while path and path not in self._at:
            path = path[:-1]
        return f"{file}:{self._at.get(path, 1)}"


def _settings(target: Any) -> list[str]:
    """What a stage's table may set: severity and the options of `.at`, and the parameters of the class."""
    if isinstance(target, perturb.ChainScale):
        return ["severity", *options_of(target, "severity")]
    at = list(inspect.signature(target.at).parameters) if hasattr(target, "at") else []
    return list(dict.fromkeys(at + (list(inspect.signature(target).parameters) if isinstance(target, type) else [])))


def _values(value: Any) -> Any:
    if (
        not isinstance(value, Mapping | list)
        or isinstance(value, list)
        and not any(isinstance(v, Mapping | list) for v in value)
    ):
        return [_number(v) for v in value] if isinstance(value, list) else value
    if (
        isinstance(value, Mapping)
        and set(value) == {"linspace"}
        and isinstance(value["linspace"], list)
        and len(value["linspace"]) == 3
    ):
        start, stop, count = map(_number, value["linspace"])
        if type(count) is int and count >= 1 and all(type(end) in (int, float) for end in (start, stop)):
            return np.linspace(start, stop, count).tolist()
    raise ValueError("a list of numbers, or {linspace = [start, stop, count]}")


def _number(value: Any) -> Any:
    """A fraction that is written as one, such as "8/255", as a number."""
    return fraction(value) if isinstance(value, str) and "/" in value else value


def fraction(text: str) -> float:
    """A number, or a fraction of two.

    Raises:
      ValueError: if it is neither.

    Example:
      >>> fraction("8/255") == 8 / 255, fraction("0.5")
      (True, 0.5)
    """
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        raise ValueError("a number, or a fraction such as 8/255") from None


def as_fraction(value: float) -> str:
    """A budget as people write it: in 255ths where it is a whole or half number of grey levels.

    Example:
      >>> [as_fraction(eps) for eps in (8 / 255, 0.5, 0.1)]
      ['8/255', '0.5', '0.1']
    """
    levels = 2 * 255 * value
    grey = abs(levels - round(levels)) < 1e-3 and round(levels) > 0 and abs(20 * value - round(20 * value)) > 1e-6
    return f"{round(levels) / 2:g}/255" if grey else f"{value:.4g}"
