"""The section on where it breaks inside: what each scenario is at every component, and which component amplifies it."""

from typing import Any

import numpy as np
import pandas as pd

from sensijax.campaign import Results
from sensijax.core.errors import ArgumentError
from sensijax.report import _inside_figures, _numbers
from sensijax.report._words import Sentence

MOST_SCENARIOS = 8
_CHANGE = ["relative_change", "gain", "step"]


def section(results: Results) -> dict[str, Any] | None:
    """What is shown where a run has looked inside; the reason where it could not; else None."""
    if results.manifest.get("stressed") is None:
        return None
    try:
        table = results.propagation()
    except ArgumentError as error:
        return {"why": str(error.came)}
    names = list(dict.fromkeys(table.scenario))[-MOST_SCENARIOS:]
    table = table[table.scenario.isin(names)]
    components = list(dict.fromkeys(table.component))
    parts = {name: table[table.scenario == name].set_index("component") for name in names}
    moving = _moving(parts)
    named = {name: amplifier(parts[name]) for name in moving}
    return {
        "why": None,
        "examples": f"{int(table.n.iloc[0]):,}",
        "unnamed": any(component.startswith(("conv_general_dilated", "dot_general")) for component in components),
        "sentences": [_sentence(name, parts[name], moving[name]) for name in moving],
        "still": _still([name for name, part in parts.items() if part.gain.isna().all()]),
        "gains": _inside_figures.grid(
            np.stack([np.log(parts[name].gain) for name in moving], axis=1),
            [[f"×{_numbers.digits(value, 3)}" for value in parts[name].gain] for name in moving],
            components,
            list(moving),
            marked=[(components.index(found), i) for i, found in enumerate(named.values()) if found],
            middle=0.0,
            name="inside-gains",
            label="; ".join(_in_words(name, parts[name]) for name in moving),
        )
        if moving
        else None,
        "classes": _inside_figures.grid(
            np.stack([parts[name].separability / parts[name].separability_clean for name in names], axis=1),
            [
                [_numbers.percent(v) for v in parts[name].separability / parts[name].separability_clean]
                for name in names
            ],
            components,
            names,
            marked=[],
            middle=None,
            name="inside-classes",
            label="How much of the distance between the classes is left at each component, by scenario",
        ),
        "rows": [
            {
                "scenario": name if i == 0 else "",
                "component": component,
                "change": _numbers.percent(row.relative_change),
                "gain": _interval(row.gain, row.gain_low, row.gain_high),
                "step": _interval(row.step, row.step_low, row.step_high),
                "cka": _numbers.fixed(row.cka),
                "before": _numbers.fixed(row.separability_clean),
                "after": _numbers.fixed(row.separability),
                "named": named.get(name) == component,
            }
            for name, part in parts.items()
            for i, (component, row) in enumerate(part.iterrows())
        ],
    }


def amplifier(part: pd.DataFrame) -> str | None:
    """The component with the largest step, if its interval says so: it lies above 1 and above every other's interval.

    Args:
      part: a scenario's rows, by component.
    """
    steps = part.dropna(subset=["step", "step_low", "step_high"])
    if steps.empty:
        return None
    top = steps.step.idxmax()
    others = steps.drop(index=top)
    if steps.step_low[top] <= 1 or (len(others) and steps.step_low[top] <= others.step_high.max()):
        return None
    return str(top)


def _moving(parts: dict[str, pd.DataFrame]) -> dict[str, list[str]]:
    """The scenarios that move inputs, each once: with those that show the model the very same."""
    found: dict[str, list[str]] = {}
    for name, part in parts.items():
        if part.gain.isna().all():
            continue
        same = [known for known in found if parts[known][_CHANGE].equals(part[_CHANGE])]
        if same:
            found[same[0]].append(name)
        else:
            found[name] = []
    return found


def _still(names: list[str]) -> str:
    if not names:
        return ""
    return (
        f"{_numbers.listed(names)} {'moves' if len(names) == 1 else 'move'} no input, so nothing moves inside either: "
        "what changes is what examples are called, or how often they occur."
    )


def _sentence(name: str, part: pd.DataFrame, same: list[str]) -> Sentence:
    """What becomes of a scenario's change on its way, and which component does it."""
    first, last, found = part.iloc[0], part.iloc[-1], amplifier(part)
    steps = part.dropna(subset=["step_low"])
    if found is not None:
        row = part.loc[found]
        lead = f"{found} amplifies {name} most."
        larger = _interval(row.step, row.step_low, row.step_high)
        what = f"It makes the relative change {larger} times as large, more than any other component."
    elif (steps.step_low > 1).any():
        rivals = steps[steps.step_high >= steps.step_low.max()].index.tolist()
        lead = f"Which component amplifies {name} most is not settled."
        largest = _numbers.digits(steps.step.max(), 3)
        what = f"The intervals of {_numbers.listed(rivals)} overlap; the largest step is ×{largest}."
    else:
        lead = f"No component is shown to amplify {name}."
        what = "Every step's interval reaches down to 1 or below."
    way = (
        f" In all, {_numbers.percent(first.relative_change)} of change at the input are "
        f"{_numbers.percent(last.relative_change)} at the output (medians over examples)."
    )
    also = f" The model is shown the same under {_numbers.listed(same)}." if same else ""
    return lead, what + way + also


def _interval(value: float, low: float, high: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{_numbers.digits(value, 3)} ({_numbers.digits(low, 3)} to {_numbers.digits(high, 3)})"


def _in_words(name: str, part: pd.DataFrame) -> str:
    said = ", ".join(f"{component} ×{_numbers.digits(gain, 3)}" for component, gain in part.gain.items())
    return f"{name}, relative change over that of the input: {said}"
