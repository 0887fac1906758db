"""Files of results: JSON with one line for each list of numbers."""

import json
import os
import pathlib
import re
from typing import Any

from sensijax.core import ArgumentError


def written(path: pathlib.Path, found: dict[str, Any]) -> None:
    """Writes a file of results; seconds and the like keep six significant digits."""
    text = json.dumps(_rounded(found), indent=1)
    text = re.sub(r"\[[-+\d.eE,\s]*\]", lambda m: re.sub(r"\s+", " ", m[0]).replace("[ ", "[").replace(" ]", "]"), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Reads a file of results.

    Raises:
      ArgumentError: if there is none, or it is no JSON object.
    """
    try:
        found = json.loads(pathlib.Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ArgumentError("file", str(path), f"a file that `python -m bench` wrote ({error})") from error
    if not isinstance(found, dict):
        raise ArgumentError("file", str(path), "a file that `python -m bench` wrote")
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
