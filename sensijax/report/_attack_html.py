"""The report of an adversarial evaluation: one HTML file."""

import os
import pathlib
import shlex
from datetime import UTC, datetime
from typing import Any

from sensijax.campaign import Evaluated
from sensijax.report import _attack_sections, _attack_words, _numbers
from sensijax.report._html import template, write_whole


def write_attack_report(found: Evaluated, path: str | os.PathLike | None = None) -> pathlib.Path:
    """Writes the report of an evaluation: one HTML file that needs no network, no script and no other file.

    Args:
      found: what `evaluate` returned, or `Evaluated.open`.
      path: the file to write; `report.html` in the evaluation's folder unless given.

    Returns:
      The path.

    Raises:
      StoreError: if the file cannot be written.

    Example:
      >>> write_attack_report(Evaluated.open("sensijax-attack"))   # doctest: +SKIP
      PosixPath('sensijax-attack/report.html')
    """
    path = pathlib.Path(found.folder / "report.html" if path is None else path)
    return write_whole(path, template("attack.html.j2").render(_content(found)))


def _content(found: Evaluated) -> dict[str, Any]:
    manifest, results = found.manifest, found.results
    flags = _attack_sections.flags_of(results)
    n = len(results[0])
    about = manifest["attack"]
    options = ", ".join(f"{k} = {v}" for k, v in about["options"].items() if k != "norm")
    return {
        "m": manifest,
        "n": n,
        "budgets": _numbers.listed([_attack_words.budget(eps) for eps in found.budgets], 8),
        "options": options,
        "parts": _numbers.listed(about["parts"], 12),
        "flags": flags,
        "distrusted": _numbers.listed([flag.name for flag in _attack_words.distrusted(flags)] or ["–"]),
        "alarm": bool(_attack_words.distrusted(flags)),
        "headline": _attack_words.headline(results, found.budgets, flags),
        "tiles": _attack_sections.tiles(found, flags),
        "curve": _attack_sections.curve(found, flags),
        "broken": _attack_sections.broken(found),
        "pictures": _attack_sections.pictures(found),
        "limitations": _attack_words.limitations(manifest, n, flags, len(results) > 1),
        "facts": _facts(found),
        "folder": found.folder.resolve().name,
        "quoted": shlex.quote(found.folder.resolve().name),
    }


def _facts(found: Evaluated) -> list[tuple[str, str]]:
    manifest, runs, setting = found.manifest, found.statistics(), found.results[0].setting
    assert setting is not None  # what was stored has one
    facts = [
        ("Evaluation id", manifest["id"]),
        ("Model", manifest["model"]["name"]),
        ("Model digest (parameters)", manifest["model"]["digest"]),
        (
            "Data",
            f"{manifest['data']['name']}: {manifest['data']['examples']:,} examples of {manifest['data']['shape']}",
        ),
        ("Data digest", manifest["data"]["digest"]),
        ("Attack", setting.attack),
        ("Budgets", ", ".join(f"{eps:.9g}" for eps in found.budgets)),
        ("Range of valid inputs", "[{:g}, {:g}]".format(*manifest["attack"]["box"])),
        ("Seed", str(manifest["seed"])),
        ("Ledger", f"{len(manifest['units']):,} units of at most {manifest['block']:,} examples"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in setting.versions.items())),
    ]
    if runs:
        forwards, backwards = (sum(run[way] for run in runs) for way in ("forwards", "backwards"))
        finished = datetime.fromtimestamp(runs[-1]["finished_at"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        facts.append(("Computed", f"{forwards:,} passes forward, {backwards:,} back, on {runs[-1]['device']}"))
        facts.append(("Runs", f"{len(runs)}, the last finished {finished}"))
    return facts
