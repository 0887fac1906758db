"""The report: gathers what the sections show and writes one HTML file, as a whole or not at all."""

import os
import pathlib
from typing import Any

import jinja2

from sensijax.campaign import Results
from sensijax.core.errors import StoreError
from sensijax.core.writing import replace
from sensijax.report import (
    _attack_sections,
    _attack_words,
    _drivers,
    _inside,
    _numbers,
    _provenance,
    _sections,
    _stress,
    _tables,
    _thresholds,
    _timelines,
    _uncertainty,
    _words,
)


def write_report(results: Results, path: str | os.PathLike | None = None) -> pathlib.Path:
    """Writes the report of a campaign: one HTML file that needs no network, no script and no other file.

    It says in plain words what hurts the model, what it withstands and what is open, then shows the numbers behind
    it, where they come from and what they do not show. The same results give the same bytes. The file appears as a
    whole or not at all: a reader never sees half a report.

    Args:
      results: of a finished or an unfinished run; an unfinished one is reported on with a banner.
      path: the file to write; `report.html` in the campaign's folder unless given. At a URL it is written there, and
        into this machine's copies.

    Returns:
      The path.

    Raises:
      StoreError: if the file cannot be written, or the clean baseline is not finished.

    Example:
      >>> write_report(Results.open("runs/digits"))   # doctest: +SKIP
      PosixPath('runs/digits/report.html')
    """
    html = template("report.html.j2").render(_content(results))
    if path is not None:
        return write_whole(pathlib.Path(path), html)
    written = write_whole(results.folder / "report.html", html)
    results.store.publish("report.html")
    return written


def write_whole(path: pathlib.Path, html: str) -> pathlib.Path:
    """Writes a file as a whole or not at all."""
    try:
        replace(path, html.encode())  # its temporary file is cleared away with the store's, if we are killed
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; choose another path for the report"
        ) from error
    return path


def template(name: str) -> jinja2.Template:
    """A template of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(name)


def _content(results: Results) -> dict[str, Any]:
    manifest = results.manifest
    units = _numbers.ACCURACY if results.metric == "accuracy" else _numbers.R2
    scenarios, stages, interactions = results.scenarios(), _tables.stage_table(results), results.interactions()
    confidence = _tables.confidence_table(results, list(stages.stage))
    perturbed = scenarios[scenarios.scenario != "clean"]
    drawn = sum(len(manifest["scenarios"][name]["seeds"]) > 1 for name in perturbed.scenario)
    stress, timelines = _stress.section(results, units), _timelines.section(results)
    return {
        "m": manifest,
        "u": units,
        "classification": results.metric == "accuracy",
        "tested": _words.tested(manifest, results.completeness.rows, len(scenarios)),
        "banners": _words.banners(
            results.completeness,
            len(scenarios),
            len(manifest["scenarios"]),
            int(scenarios.nonfinite_inputs.iloc[0]),
            manifest["data"]["examples"],
        ),
        "headline": [
            *([stress["headline"]] if stress and stress["headline"] else []),
            *_words.headline(scenarios, stages, interactions, confidence, manifest["tolerance"], units),
            *([timelines["headline"]] if timelines and timelines["headline"] else []),
        ],
        "stress": stress,
        "timelines": timelines,
        "inside": _inside.section(results),
        "tiles": _sections.tiles(results, perturbed, units),
        "tolerance": units.tolerance(manifest["tolerance"]),
        "ranking": _sections.ranking(results, stages, units),
        "curves": _sections.curves(results, stages, units),
        "attacks": _attack_sections.stages(results),
        "cut": results.metric == "r2" and scenarios.r2.min() < _sections.LEAST_R2,
        "pairs": _sections.pairs(results, interactions, units),
        "thresholds": _thresholds.section(results, stages, units),
        "drivers": _drivers.section(results, units),
        "modes": [_sections.mode(results, name, units) for name in _tables.worst_scenarios(results, stages)]
        if results.metric == "accuracy"
        else [],
        "groups": _sections.groups(results, stages, units),
        "confidence": _sections.confidence(results, confidence, units),
        "uncertainty": _uncertainty.section(results, units),
        "outputs": _sections.outputs(results, stages) if results.metric == "r2" else [],
        "speed": _provenance.speed(results.statistics()),
        "runs": len(results.statistics()),
        "robustness": _sections.robustness(results, stages, units),
        "full": _sections.full_table(scenarios, units),
        "left_out": max(0, len(scenarios) - _sections.MOST_ROWS),
        "provenance": _provenance.facts(results),
        "folder": results.store.name,
        "commands": _provenance.commands(results, stages),
        "limitations": _words.limitations(manifest, len(perturbed), len(interactions), drawn)
        + _attack_words.stage_limitations(manifest),
    }
