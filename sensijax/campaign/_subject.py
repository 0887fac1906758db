"""What an evaluation is about, from a spec's tables or from two names on the command line: a model and its data."""

import pathlib

from sensijax.campaign._campaign import ABSENT
from sensijax.campaign._spec import _Lines, _Reader, read_toml
from sensijax.core import CampaignError, Dataset, Fault, Model


def load_subject(
    spec: str | pathlib.Path | None = None, model: str | None = None, data: str | None = None
) -> tuple[Model, Dataset]:
    """Loads a model and data.

    Args:
      spec: a spec whose tables `[model]` and `[data]` say what to load; its other tables do not matter here.
      model, data: `module:function`, from the working directory, in the place of a spec or of one of its tables.

    Returns:
      The model and the data.

    Raises:
      CampaignError: with every fault at once.

    Example:
      >>> load_subject(model="sensijax.demo:load", data="sensijax.demo:data")[1].name      # doctest: +SKIP
      'digits'
    """
    path = pathlib.Path("spec.toml" if spec is None else spec)
    text, raw = ("", {}) if spec is None else read_toml(path)
    tables = {name: raw[name] for name in ("model", "data") if isinstance(raw.get(name), dict)}
    named = {name: target for name, target in (("model", model), ("data", data)) if target is not None}
    own = _Reader(path, tables, _Lines(text))
    given = _Reader(pathlib.Path("spec.toml"), {n: {"load": target} for n, target in named.items()}, _Lines(""))
    found, faults = {}, []
    for name, kind in (("model", Model), ("data", Dataset)):
        reader = given if name in named else own
        before = len(reader.faults)
        found[name] = reader._data() if name == "data" else reader._load(name, kind)
        new = reader.faults[before:]
        if found[name] is ABSENT and not new:
            right = f'--{name} MODULE:FUNCTION, or a spec with a table [{name}] with load = "module:function"'
            new = [Fault(name, "missing", right, None if spec is None else str(path))]
        if name in named:
            new = [Fault(f"--{name}", fault.came, fault.right) for fault in new]
        faults += new
    if faults:
        raise CampaignError(faults)
    return found["model"], found["data"]
