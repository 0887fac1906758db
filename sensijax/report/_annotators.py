"""The part on annotators: how far those agree who err so, and what they write, one by one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sensijax.campaign import Results, read_exhibit
from sensijax.report import _figures, _numbers, _stress_figures

MOST_MATRICES, MOST_CLASSES = 12, 20  # that are drawn


def agreements(results: Results) -> dict[str, np.ndarray]:
    """How far annotators agree who err as in a scenario: alpha with its interval `[3]`, by scenario.

    Those of scenarios in which a single noise acts, and whose agreement is known.

    Args:
      results: of the campaign.
    """
    found: dict[tuple[str, float], np.ndarray] = {}
    for stage, kept in _kept(results):
        found |= {(stage, value): alpha for value, alpha in zip(kept["values"].tolist(), kept["alpha"], strict=True)}
    stages, known = results.manifest["stages"], {}
    for name, about in results.manifest["scenarios"].items():
        noises = [(stage, value) for stage, value in about["settings"] if stages[stage]["family"] == "labels"]
        if len(noises) == 1 and not np.isnan(alpha := found.get(noises[0], np.full(3, np.nan))).any():
            known[name] = alpha
    return known


def panels(results: Results, classes: list[str]) -> list[dict[str, Any]]:
    """What is shown of the annotators of each noise: those behind the labels, or some who err like them.

    Args:
      results: of the campaign.
      classes: the names of the K classes.
    """
    return [_panel(stage, results.manifest["stages"][stage], kept, classes) for stage, kept in _kept(results)]


def _kept(results: Results) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The exhibits on annotators that are there, by stage."""
    for stage, about in results.manifest["stages"].items():
        address = about.get("annotators")  # older folders do not have it
        if address is not None and (kept := read_exhibit(results.store, address)) is not None:
            yield stage, kept


def _panel(stage: str, about: dict[str, Any], kept: dict[str, np.ndarray], classes: list[str]) -> dict[str, Any]:
    votes = not np.isnan(kept["accuracy"][:, 1]).all()
    drawn = len(kept["kinds"]) <= MOST_MATRICES and len(classes) <= MOST_CLASSES
    last = {name: kept[name][-1] for name in ("counts", "estimated", "accuracy")}
    said = last["counts"].sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        right = np.trace(last["counts"], axis1=1, axis2=2) / said
        matrices = last["counts"] / last["counts"].sum(axis=2, keepdims=True)
    names = [f"{kind.capitalize()} {n}" for kind, n in _numbered(kept["kinds"].tolist())]
    return {
        "stage": stage,
        "kind": about["kind"],
        "axis": about["axis"],
        "at": f"{kept['values'][-1]:g}",
        "votes": votes,
        "behind": bool(kept["behind"]),
        "people": _numbers.count(len(names), "annotator"),
        "aggregate": _AGGREGATES.get(str(kept["aggregate"]), str(kept["aggregate"])),
        "sentence": _sentence(kept, right, names) if votes else _apart(right, names),
        "settings": [_setting(kept, v) for v in range(len(kept["values"]))] if votes else [],
        "kappa": votes and not np.isnan(kept["kappa"]).all(),
        "annotators": [
            {
                "name": name,
                "labels": f"{n:,}",
                "right": _numbers.percent(r),
                "estimated": _numbers.percent(e),
                "bar": _figures.dumbbell(
                    r, e, label=f"right on {_numbers.percent(r)}, estimated {_numbers.percent(e)}"
                ),
            }
            for name, n, r, e in zip(names, said.tolist(), right, last["estimated"], strict=True)
        ],
        "svg": _stress_figures.confusions(
            matrices,
            [f"{name}: {_numbers.percent(r)} right" for name, r in zip(names, right, strict=True)],
            classes,
            name=f"annotators-{stage}",
            label=f"Share of each true class that each annotator of {stage} wrote down as each",
        )
        if drawn
        else None,
    }


_AGGREGATES = {"Majority": "the majority", "DawidSkene": "Dawid and Skene’s model", "OneCoin": "the one-coin model"}


def _numbered(kinds: list[str]) -> list[tuple[str, int]]:
    """Each kind with its number among its like."""
    return [(kind, kinds[: i + 1].count(kind)) for i, kind in enumerate(kinds)]


def _setting(kept: dict[str, np.ndarray], v: int) -> dict[str, str]:
    wrote, majority, model, best = (_numbers.percent(a) for a in kept["accuracy"][v])
    alpha, kappa = kept["alpha"][v], kept["kappa"][v]
    return {
        "value": f"{kept['values'][v]:g}",
        "alpha": coefficient(alpha[0]),
        "interval": interval(alpha[1], alpha[2]),
        "kappa": coefficient(kappa[0]),
        "best": best,
        "majority": majority,
        "model": model,
        "wrote": wrote,
    }


def _sentence(kept: dict[str, np.ndarray], right: np.ndarray, names: list[str]) -> str:
    """What voting is worth at the strongest setting, and whether the model knows whom to trust."""
    _, majority, model, best = kept["accuracy"][-1]
    first = names[int(right.argmax())].lower()
    lead = "The best" if kept["behind"] else f"Had {len(names)} people who err like this labelled everything: the best"
    text = (
        f"{lead} of them, {first}, is right on {_numbers.percent(best)} of its labels; the majority on "
        f"{_numbers.percent(majority)} of all examples; Dawid and Skene’s model, which learns from the votes alone "
        f"whom to trust, on {_numbers.percent(model)}. "
    )
    off = np.abs(kept["estimated"][-1] - right)
    far = int(np.nanargmax(off))
    return text + (
        f"It sees each annotator’s accuracy to within {100 * off[far]:.1f} points (furthest off: {names[far].lower()})."
    )


def _apart(right: np.ndarray, names: list[str]) -> str:
    """What can be known where each item has one label."""
    best, worst = int(np.nanargmax(right)), int(np.nanargmin(right))
    return (
        f"Each example has one label, so nothing in the labels says whom to trust: {names[best].lower()} is right on "
        f"{_numbers.percent(right[best])}, {names[worst].lower()} on {_numbers.percent(right[worst])}."
    )


def coefficient(value: float) -> str:
    """A coefficient of agreement: two decimals."""
    return _numbers.number(value, 2)


def interval(low: float, high: float) -> str:
    """Its interval; a dash where there is none."""
    return "–" if np.isnan(low) or np.isnan(high) else f"{coefficient(low)} to {coefficient(high)}"
