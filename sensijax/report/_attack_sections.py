"""What the sections about attacks show: numbers written out, and their figures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sensijax.attack import STATUSES, AttackResult, Flag, wilson
from sensijax.campaign import Evaluated, Results, read_exhibit
from sensijax.report import _attack_figures, _attack_words, _numbers


def flags_of(results: Sequence[AttackResult]) -> list[Flag]:
    """Every flag once, worst first."""
    flags = {flag.name: flag for result in results for flag in result.flags}
    return sorted(flags.values(), key=lambda flag: flag.severity != "distrust")


def curve(found: Evaluated, flags: Sequence[Flag]) -> Any:
    """Robust accuracy over the budgets."""
    n = len(found.results[0])
    counts = [round(found.results[0].clean_accuracy * n), *(int(result.robust.sum()) for result in found.results)]
    budgets = [0.0, *found.budgets]
    return _drawn(budgets, counts, n, found.manifest["attack"]["norm"], not _attack_words.distrusted(flags), "curve")


def _drawn(budgets: Sequence[float], counts: Sequence[int], n: int, norm: str, trusted: bool, name: str) -> Any:
    bounds = [wilson(count, n) for count in counts]
    said = ", ".join(
        f"{_attack_words.budget(e) if e else '0'}: {_numbers.percent(c / n)}"
        for e, c in zip(budgets, counts, strict=True)
    )
    return _attack_figures.robust_curve(
        budgets,
        [count / n for count in counts],
        [low for low, _ in bounds],
        [high for _, high in bounds],
        norm=norm,
        trusted=trusted,
        name=name,
        label=f"Robust accuracy by budget: {said}",
    )


def tiles(found: Evaluated, flags: Sequence[Flag]) -> list[tuple[str, str, str, str]]:
    """The numbers at the top: (title, value, what is below it, colour)."""
    n, results = len(found.results[0]), found.results
    clean = round(results[0].clean_accuracy * n)
    low, high = wilson(clean, n)
    made = [("Accuracy, no attack", _numbers.percent(clean / n), f"{100 * low:.1f} to {100 * high:.1f}", "")]
    chosen = sorted({0, len(results) // 2, len(results) - 1})
    for i in chosen:
        low, high = results[i].interval()
        value = f"≤ {_numbers.percent(results[i].robust_accuracy)}"
        below = f"{100 * low:.1f} to {100 * high:.1f}"
        colour = "fragile" if _attack_words.distrusted(flags) else ""
        made.append((f"Robust at {_attack_words.budget(found.budgets[i])}", value, below, colour))
    return made


def broken(found: Evaluated) -> dict[str, Any]:
    """What broke what, budget by budget."""
    first, n = found.results[0], len(found.results[0])
    colours = [_attack_figures.PARTS[i % len(_attack_figures.PARTS)] for i in range(len(first.attacks))]
    rows = []
    for eps, result, parts in zip(found.budgets, found.results, found.parts, strict=True):
        by = [int((result.broken_by == i).sum()) for i in range(len(first.attacks))]
        robust = int(result.robust.sum())
        wrong = n - robust - sum(by)
        rows.append(
            {
                "eps": _attack_words.budget(eps),
                "robust": _numbers.percent(robust / n),
                "interval": "{:.1f} to {:.1f}".format(*(100 * bound for bound in wilson(robust, n))),
                "by": [f"{count:,}" for count in by],
                "wrong": f"{wrong:,}",
                "bar": _attack_figures.shares(
                    [robust, *reversed(by), wrong],
                    [_attack_figures.ROBUST, *reversed(colours), _attack_figures.WRONG],
                    label=f"robust {robust}, broken {sum(by)}, wrong without an attack {wrong}",
                ),
                "median": _median(result),
                "forwards": f"{sum(part['forwards'] for part in parts):,}",
                "backwards": f"{sum(part['backwards'] for part in parts):,}",
            }
        )
    left, steps = round(first.clean_accuracy * n), []
    for name, part in zip(first.attacks, found.parts[0], strict=True):
        attacked, left = left, left - part["broken"]
        steps.append(
            {
                "name": name,
                "attacked": f"{attacked:,}",
                "broken": f"{part['broken']:,}",
                "left": _attack_words.share(left, n),
                "forwards": f"{part['forwards']:,}",
                "backwards": f"{part['backwards']:,}",
            }
        )
    key = [("withstood", _attack_figures.ROBUST), *zip([f"broken by {a}" for a in first.attacks], colours, strict=True)]
    nonfinite = int((first.status == STATUSES.index("nonfinite")).sum())
    return {
        "attacks": first.attacks,
        "rows": rows,
        "steps": steps if len(found.results) == 1 and len(first.attacks) > 1 else [],
        "key": [*key, ("wrong without an attack", _attack_figures.WRONG)],
        "nonfinite": nonfinite,
    }


def _median(result: AttackResult) -> str:
    distances = result.distance[result.broken_by >= 0]
    return f"{np.median(distances):.3g}" if len(distances) else "–"


def pictures(found: Evaluated) -> list[dict[str, Any]]:
    """Some broken examples; none where examples are no pictures."""
    shown, classes = found.shown, found.manifest["model"]["classes"]
    if not shown or not _attack_figures.is_picture(found.manifest["data"]["shape"]):
        return []
    box, rows = found.manifest["attack"]["box"], []
    for one in shown:
        result, row = found.results[one["budget"]], one["row"]
        rows.append(
            {
                "about": f"budget {_attack_words.budget(found.budgets[one['budget']])}: by "
                f"{result.attacks[result.broken_by[row]]}, a change of {result.distance[row]:.3g} "
                f"({found.manifest['attack']['norm']})",
                **_three(int(result.ids[row]), result.x[row], result.x_adv[row], box),
                "label": _class(classes, int(result.y[row])),
                "seen": _class(classes, one["seen"]),
            }
        )
    return rows


def _three(example: int, x: np.ndarray, x_adv: np.ndarray, box: Sequence[float]) -> dict[str, Any]:
    """Clean, adversarial, and the difference, enlarged until its largest change is black or white."""
    low, high = box
    delta = x_adv - x
    largest = float(np.abs(delta).max()) or 1.0
    return {
        "id": example,
        "times": f"{(high - low) / (2 * largest):.3g}",
        "clean": _attack_figures.picture(x, low, high),
        "adversarial": _attack_figures.picture(x_adv, low, high),
        "difference": _attack_figures.picture(delta, -largest, largest),
    }


def _stage_pictures(results: Results, stage: str) -> list[dict[str, Any]]:
    """Some of what an attack broke, alone and at its strongest."""
    about, classes = results.manifest["stages"][stage]["attack"], results.manifest["model"]["classes"]
    kept = None if about["picture"] is None else read_exhibit(results.store, about["picture"])
    if kept is None:
        return []
    return [
        {
            "about": "",
            **_three(int(kept["ids"][i]), kept["x"][i], kept["x_adv"][i], about["box"]),
            "label": _class(classes, int(kept["label"][i])),
            "seen": _class(classes, int(kept["seen"][i])),
        }
        for i in range(len(kept["ids"]))
    ]


def _class(names: Sequence[str], k: int) -> str:
    return names[k] if names else f"class {k}"


def stages(results: Results) -> list[dict[str, Any]]:
    """The attacks among a campaign's stages, each alone: robust accuracy over its budgets."""
    made = []
    for stage, about in results.manifest["stages"].items():
        if "attack" not in about:
            continue
        table = results.curve(stage).sort_values("severity", kind="stable")
        counts, sizes = [], []
        for name in table.scenario:
            scores = results.scores(name)
            known = ~np.isnan(scores).any(axis=0)
            # With several seeds an attacker has several tries: what one of them breaks is broken.
            counts.append(int(scores[:, known].min(axis=0).sum()))
            sizes.append(int(known.sum()))
        if len(counts) < 2 or not sizes[0]:
            continue
        n = sizes[0]
        seeds = len(results.manifest["scenarios"][table.scenario.iloc[-1]]["seeds"])
        made.append(
            {
                "stage": stage,
                "kind": about["kind"],
                "norm": about["attack"]["norm"],
                "parts": _numbers.listed(about["attack"]["parts"], 12),
                "seeds": seeds,
                "pictures": _stage_pictures(results, stage),
                "options": ", ".join(f"{k} = {v}" for k, v in about["options"].items()),
                "rows": [
                    {
                        "eps": _attack_words.budget(float(eps)) if eps else "0, no attack",
                        "share": _numbers.percent(count / n),
                        "interval": "{:.1f} to {:.1f}".format(*(100 * bound for bound in wilson(count, n))),
                        "broken": f"{counts[0] - count:,}",
                    }
                    for eps, count in zip(table.severity, counts, strict=True)
                ],
                "svg": _drawn(table.severity.tolist(), counts, n, about["attack"]["norm"], True, f"attack-{len(made)}"),
            }
        )
    return made
