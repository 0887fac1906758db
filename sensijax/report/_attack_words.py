"""Sentences about attacks: what a robust accuracy says, and what it does not."""

from collections.abc import Sequence
from typing import Any

from sensijax.attack import AttackResult, Flag, wilson
from sensijax.campaign import as_fraction as budget
from sensijax.report._numbers import count, listed, percent


def share(count_: int, n: int) -> str:
    """Such as "52.0% (42.3 to 61.5)", with Wilson's interval."""
    low, high = wilson(count_, n)
    return f"{percent(count_ / n)} ({100 * low:.1f} to {100 * high:.1f})"


def distrusted(flags: Sequence[Flag]) -> list[Flag]:
    """The flags that say that a number is not to be trusted."""
    return [flag for flag in flags if flag.severity == "distrust"]


def headline(results: Sequence[AttackResult], budgets: Sequence[float], flags: Sequence[Flag]) -> list[tuple[str, str]]:
    """What a reader takes away: claims, and what supports them."""
    n, last, most = len(results[0]), results[-1], budget(budgets[-1])
    clean = int(round(results[0].clean_accuracy * n))
    found = []
    left = f"At most {share(int(last.robust.sum()), n)} of the examples are right at the budget {most}"
    if bad := distrusted(flags):
        found.append(
            (
                "The robust accuracy cannot be trusted.",
                f"{left}, by this attack's count, but {listed([flag.name for flag in bad])} "
                f"{'says' if len(bad) == 1 else 'say'} that the attack could not do its work. The model may be far "
                "less robust.",
            )
        )
    else:
        found.append((f"{left}.", f"Without an attack it is {share(clean, n)}."))
    if clean and not int(last.robust.sum()):
        found.append(("Nothing withstands.", f"At {most} every example that was right is broken."))
    half = next((eps for eps, r in zip(budgets, results, strict=True) if 2 * int(r.robust.sum()) < clean), None)
    if half is not None:
        where = "already at the smallest budget tried" if half == budgets[0] else "from there on"
        found.append(
            (
                f"Half of what was right is lost at {budget(half)}.",
                f"Fewer than half of those examples withstand {where}.",
            )
        )
    by = {name: int((last.broken_by == i).sum()) for i, name in enumerate(last.attacks)}
    if sum(by.values()) and len(by) > 1:
        first = max(by, key=lambda name: by[name])
        rest = [f"{name} {c:,}" for name, c in by.items() if c and name != first]
        found.append(
            (
                f"{first} broke most.",
                f"At {most} it broke {by[first]:,} of {sum(by.values()):,}"
                + (
                    f", on what it was given; the others: {listed(rest)}."
                    if rest
                    else "; the others found nothing more."
                ),
            )
        )
    found.append(
        (
            "This is an upper bound.",
            "An attack proves what it breaks. What withstands has withstood these attempts, and a better one may break "
            "it: the true robust accuracy is this or less."
            + (" More effort may well lower it (see the flags)." if flags and not distrusted(flags) else ""),
        )
    )
    return found


def limitations(manifest: dict[str, Any], n: int, flags: Sequence[Flag], monotone: bool) -> list[str]:
    """How to read a robust accuracy, and what it does not show."""
    norm = {
        "linf": "no value moves by more than the budget",
        "l2": "the Euclidean length of the change is at most the budget",
        "l1": "the changes of all values sum to at most the budget",
    }
    unit = norm.get(manifest["attack"]["norm"], "the change is at most the budget")
    found = [
        "A robust accuracy is an upper bound. It counts what these attacks did not break with the steps they had.",
        f"It holds for one kind of change: {unit}. Fog, another camera or a sticker are no part of it.",
        f"The intervals are Wilson's, over the choice of {count(n, 'example')}. They say what other examples of the "
        "same kind would give under the same attack, and nothing of a stronger one.",
        "The attacker knows the model and its weights. A secret kept from it would not make the model safe.",
        "Every adversarial example is stored. Each counts only if it is misclassified and within its budget and the "
        "range of valid inputs; “sensijax verify” checks that again, one input at a time.",
        "Examples that are wrong without an attack are not attacked, and are never counted robust.",
    ]
    if monotone:
        found.append(
            "An example that is broken within a small budget is counted broken within every larger one, where its "
            "adversarial example is allowed too. So the curve falls by construction: that it falls is no evidence of a "
            "sound attack."
        )
    if not flags:
        found.append("No flag was raised. The checks look for known ways to hide; that they found none proves nothing.")
    return found


def stage_limitations(manifest: dict[str, Any]) -> list[str]:
    """What a campaign with attacks among its stages does not show."""
    attacks = [name for name, stage in manifest["stages"].items() if "attack" in stage]
    if not attacks:
        return []
    found = [
        f"Accuracy under an attack ({listed(attacks)}) is an upper bound: a stronger attack may break more. This run "
        "did not look for gradients that hide; “sensijax attack” does.",
    ]
    names = list(manifest["stages"])
    if any("attack" in manifest["stages"][a] and "attack" not in manifest["stages"][b] for a, b in _in_order(manifest)):
        found.append(
            "An attack knows the model and what the stages before it have left, but not the stages after it "
            f"(the order is {listed(names, 12)}). Against an attacker who knows those too, a pair may be worse."
        )
    return found


def _in_order(manifest: dict[str, Any]) -> set[tuple[str, str]]:
    """The pairs of stages that follow each other in some scenario."""
    return {
        (a, b)
        for scenario in manifest["scenarios"].values()
        for i, (a, _) in enumerate(scenario["settings"])
        for b, _ in scenario["settings"][i + 1 :]
    }
