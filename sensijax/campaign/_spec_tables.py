"""The tables of a spec: which keys there are, of which types. What their values must be, the campaign says."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pydantic

from sensijax.campaign import design
from sensijax.core.errors import did_you_mean

DESIGNS = {
    "isolated": design.isolated,
    "pairs": design.pairs,
    "full_factorial": design.full_factorial,
    "sample": design.sample,
    "staged": design.staged,
    "fractional": design.fractional,
}


class _Table(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, populate_by_name=True)


class _CampaignTable(_Table):
    name: Any = "campaign"
    seeds: Any = 1
    tolerance: Any = 0.05


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
    at: Any
    among: list[str] | None = None


class _FactorialTable(_Table):
    kind: Literal["full_factorial"]
    limit: int = 100_000


class _SampleTable(_Table):
    kind: Literal["sample"]
    n: int
    seed: int = 0


class _StagedTable(_Table):
    kind: Literal["staged"]
    order: int | None = None
    limit: int = 100_000


class _FractionalTable(_Table):
    kind: Literal["fractional"]
    at: Any
    resolution: int = 5


class _StageTable(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", strict=True)  # the rest is the sweep's: severity, size, ...
    name: str
    kind: str | None = None
    chain: Annotated[list[str], pydantic.Field(min_length=2)] | None = None


_DesignTable = Annotated[
    _IsolatedTable | _PairsTable | _FactorialTable | _SampleTable | _StagedTable | _FractionalTable,
    pydantic.Field(discriminator="kind"),
]


class SpecTable(_Table):
    """A whole spec."""

    version: Literal[1] = pydantic.Field(alias="schema")
    campaign: _CampaignTable = _CampaignTable()
    model: _LoadTable
    data: _DataTable
    design: _DesignTable = _IsolatedTable(kind="isolated")
    stage: Annotated[list[_StageTable], pydantic.Field(min_length=1)]
    timeline: Any = None  # `_spec_timelines` looks at these
    run: _RunTable = _RunTable()


_TABLES = {
    "campaign": _CampaignTable,
    "model": _LoadTable,
    "data": _DataTable,
    "run": _RunTable,
    "isolated": _IsolatedTable,
    "pairs": _PairsTable,
    "full_factorial": _FactorialTable,
    "sample": _SampleTable,
    "staged": _StagedTable,
    "fractional": _FractionalTable,
}
_NEEDED = {
    "schema": "schema = 1 on the first line",
    "model": 'a table [model] with load = "module:function"',
    "data": 'a table [data] with load = "module:function"',
    "stage": "at least one [[stage]]",
    "kind": did_you_mean("", DESIGNS),
    "load": '"module:function"',
    "at": "the setting of both members of a pair, such as at = 3",
    "n": "the number of points, a power of two",
    "name": "a name of its own: it is part of the address of random draws",
}


def table_faults(raw: Mapping[str, Any]) -> list[tuple[tuple, str, str]]:
    """Everything that is wrong with the keys and types of a spec: (path, what came, what would be right)."""
    try:
        SpecTable.model_validate(raw)
    except pydantic.ValidationError as error:
        return [_fault(detail) for detail in error.errors()]
    return []


def _fault(detail: Any) -> tuple[tuple, str, str]:
    # The name of a union's branch is in pydantic's path, and in nobody's file.
    branch = detail["loc"][1:2] if detail["loc"][:1] == ("design",) else ()
    path = (*detail["loc"][:1], *detail["loc"][1 + len(branch) :])
    kind, came = detail["type"], _shortened(detail["input"])
    if kind == "extra_forbidden":
        return path, "an unknown key", did_you_mean(str(path[-1]), _known_keys(path, branch))
    if kind == "missing":
        return path, "missing", _NEEDED.get(str(path[-1]), "it has no default")
    if kind == "union_tag_not_found":
        return (*path, "kind"), "missing", _NEEDED["kind"]
    if kind == "union_tag_invalid":
        given = str(detail["ctx"]["tag"])
        return (*path, "kind"), repr(given), did_you_mean(given, DESIGNS)
    if path == ("stage",):
        return path, came, "at least one [[stage]], in double brackets"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return path, came, f"a table: [{'.'.join(map(str, path))}]"
    if kind in _RIGHT:
        return path, came, _RIGHT[kind].format(**detail.get("ctx", {}))
    return path, came, detail["msg"][0].lower() + detail["msg"][1:]


_RIGHT = {
    "string_type": "a string",
    "int_type": "an integer",
    "greater_than_equal": "at least {ge}",
    "literal_error": "{expected}, the only one that there is",
    "too_short": "at least {min_length} of them",
    "list_type": "a list",
}


def _known_keys(path: tuple, branch: Sequence[str]) -> list[str]:
    if len(path) == 1:
        return ["schema", *(name for name in SpecTable.model_fields if name != "version")]
    return list(_TABLES[branch[0] if branch else path[0]].model_fields)


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
