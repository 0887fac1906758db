"""The diagnosis: whether a robust accuracy is the model's doing, or its gradients' and the attack's.

Carlini, Athalye, Papernot, Brendel, Rauber, Tsipras, Goodfellow, Madry and Kurakin, "On evaluating adversarial
robustness", 2019; Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", ICML 2018;
Pintor, Demetrio, Sotgiu, Demontis, Carlini, Biggio and Roli, "Indicators of attack failure: debugging and improving
optimization of adversarial examples", NeurIPS 2022.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from sensijax.attack import losses
from sensijax.attack._norm import NORMS, l1, l2
from sensijax.attack._result import STATUSES, AttackResult
from sensijax.attack._victim import Victim
from sensijax.attack.flags._catalogue import flag
from sensijax.attack.flags._flag import Flag, worst_first
from sensijax.attack.flags._lint import lint, traced
from sensijax.attack.flags._of_attack import Kind, of_attack, of_twin
from sensijax.attack.flags._of_model import leaks, of_model
from sensijax.attack.flags._probe import Ball, Bench
from sensijax.core import Model
from sensijax.core.errors import ArgumentError

if TYPE_CHECKING:
    from sensijax.attack._attack import Attack

_PURPOSE = 0x666C6167  # "flag": no example's draws are addressed so


def diagnose(
    key: jax.Array,
    model: Model,
    x: Any,
    y: Any,
    result: AttackResult,
    *,
    attack: "Attack | None" = None,
    rows: int = 64,
    queries: int = 50,
) -> tuple[Flag, ...]:
    """Looks for reasons to distrust a robust accuracy.

    Reads the model's code (`lint`); tries the model around unperturbed inputs; reads the attack's fields; and tries on
    survivors what the attack should not have missed. Every sample is of at most `rows` examples, whatever N is.

    Cost: two programs to compile, and on `rows` examples 64 passes forward (with `queries` = 50) and 22 forward and
    twice backward; where the lint finds rounding, one more program, 25 passes forward and 12 backward. So 500 examples
    under 40 steps of PGD cost several times as much, and under AutoAttack hundreds of times. The same key gives the
    same flags.

    Args:
      key: a typed PRNG key, for the choice of the examples, noise and the black-box search.
      model: what was attacked.
      x, y: what it was attacked on, `[N, ...]` and `[N]`.
      result: what came of it.
      attack: the attack, so that its fields can be read; the budget comes from `result.setting`.
      rows: how many examples are tried.
      queries: of the black-box search on survivors.

    Returns:
      Flags, worst first; none if nothing was found, which proves nothing. The names are those of
      `sensijax.attack.CATALOGUE`.

    Raises:
      ArgumentError: if the result is not of these examples, or has no setting.

    Example:
      >>> import jax.numpy as jnp
      >>> from sensijax.attack import PGD
      >>> model = Model(lambda w, x: jnp.round(x) @ w, jnp.array([[9.0, -9.0], [-9.0, 9.0]]), name="rounding")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> result = PGD(eps=0.05)(jax.random.key(0), model, x, y, diagnose=False)
      >>> [flag.name for flag in diagnose(jax.random.key(1), model, x, y, result)][:3]
      ['rounding', 'zero_derivative', 'zero_gradient']
    """
    x, y = np.asarray(x), np.asarray(y)
    setting = result.setting
    if setting is None:
        raise ArgumentError("result", "a result without a setting", "one that an attack returned")
    if len(x) != len(result) or len(y) != len(result):
        raise ArgumentError("result", f"of {len(result)} examples", f"that of the {len(x)} examples given")
    victim = Victim.of(model)
    words = np.asarray(jax.random.key_data(key), np.uint32).ravel()
    rng = np.random.default_rng(words.tolist())
    flags = list(_statically(victim, x, y, attack, result))
    bench, some = None, _some(rng, np.flatnonzero(result.status != STATUSES.index("nonfinite")), result, rows)
    eps = np.broadcast_to(setting.eps, len(result))
    norm: Any = attack.norm if attack is not None else NORMS.get(setting.norm)
    gradients = not any(each.name == "no_gradient" for each in flags)
    if len(some):
        bench = Bench(victim, x[some], y[some], rows, words[-2:], setting.box)
        bench.gradients = gradients
        low, high = setting.box
        step = _per_value(norm, eps[some], x[0].size) / 4 if norm in NORMS.values() else np.inf
        flags += of_model(bench, min(step, (high - low) / 16), rng)
        flags += _blindness(bench)
    alive = np.flatnonzero(result.robust)
    alive = np.sort(rng.permutation(alive)[:rows])
    if n := int(np.isposinf(eps[alive]).sum()):
        flags.append(flag("unbounded_survivors", f"{n} survive an attack that has no budget", {"rows": n}))
    alive = alive[np.isfinite(eps[alive])]
    if len(alive) and norm in NORMS.values():
        survivors = Bench(victim, x[alive], y[alive], rows, words[-2:], setting.box)
        survivors.gradients = gradients and (bench is None or bench.gradients)
        index = np.arange(rows) % len(alive)
        ball = Ball(norm, eps[alive][index], survivors.x, setting.box)
        strongest = ball.project(result.strongest[alive][index])
        kind = Kind(plain=_plain(attack), minimal=attack is not None and attack.minimal)
        flags += of_attack(survivors, ball, strongest, kind, queries, rng)
        if {each.name for each in flags} & {"rounding", "stopped_gradient"}:
            flags += of_twin(survivors, ball)
        flags += _blindness(survivors)
    return worst_first(_eased(each, attack) for each in flags)


def flagged(result: AttackResult, key: jax.Array, model: Model, attack: "Attack") -> AttackResult:
    """The result with the flags that a short diagnosis finds."""
    key = jax.random.fold_in(key, _PURPOSE)
    flags = diagnose(key, model, result.x, result.y, result, attack=attack)
    return dataclasses.replace(result, flags=flags, diagnosed=True)


def monotone(results: Sequence[AttackResult]) -> tuple[Flag, ...]:
    """Whether a larger budget never breaks fewer examples: of results of one attack on the same examples.

    Args:
      results: in ascending order of budget.

    Returns:
      A flag `not_monotone` if an example is broken under one budget and robust under a larger one.
    """
    for less, more in zip(results, results[1:], strict=False):
        if not np.array_equal(less.ids, more.ids):
            raise ArgumentError("results", "of different examples", "results on the same examples, in one order")
    flags = []
    for less, more in zip(results, results[1:], strict=False):
        missed = int(((less.status == STATUSES.index("broken")) & more.robust).sum())
        if missed:
            flags.append(
                flag(
                    "not_monotone",
                    f"{missed} examples are broken within {_eps(less)} and robust within {_eps(more)}",
                    {"rows": missed},
                )
            )
    return tuple(flags[:1])


def _eps(result: AttackResult) -> str:
    return "a budget" if result.setting is None else f"{float(np.max(result.setting.eps)):g}"


def _statically(victim: Victim, x: np.ndarray, y: np.ndarray, attack: Any, result: AttackResult) -> Iterator[Flag]:
    """What is read off the code, the arrays, the attack's fields and the statuses."""
    spec = jax.ShapeDtypeStruct((min(2, len(x)), *x.shape[1:]), x.dtype)
    closed = traced(victim, spec)
    yield from lint(victim, spec)
    yield from leaks([*jax.tree.leaves(victim.params), *closed.consts], x, y)
    if n := int((result.status == STATUSES.index("nonfinite")).sum()):
        yield flag(
            "nonfinite_logits", f"logits of {n} of {len(result)} unperturbed examples are not finite", {"rows": n}
        )
    classes = closed.out_avals[0].shape[-1]
    for name, part in attack.parts() if attack is not None else ():
        loss, step, steps = (getattr(part, field, None) for field in ("loss", "step_size", "steps"))
        need = {losses.dlr: 3, losses.targeted_dlr: 4}.get(loss, 2) if loss is not None else 2
        if classes < need:
            yield flag("few_classes", f"{name}'s loss needs {need} classes, and there are {classes}", {"K": classes})
        if step is not None and steps is not None:
            reach = float(np.max(np.asarray(step) * steps / np.asarray(part.eps)))
            if reach < 1:
                yield flag("short_steps", f"{name}'s steps come to {reach:.2f} of the budget", {"reach": reach})


def _blindness(bench: Bench) -> Iterable[Flag]:
    if n := bench.count(bench.blind):
        yield flag(
            "nonfinite_logits",
            f"logits of {n} of {bench.m} examples are not finite somewhere in reach of an attack",
            {"share": n / bench.m},
        )


def _eased(found: Flag, attack: Any) -> Flag:
    """A saturated cross-entropy is less grave where parts of the attack do not follow it."""
    if found.name != "saturated_loss" or attack is None:
        return found
    others = [name for name, part in attack.parts() if getattr(part, "loss", None) is not losses.cross_entropy]
    if not others:
        return found
    return dataclasses.replace(found, severity="caution", saw=f"{found.saw}; {', '.join(others)} do not rest on it")


def _plain(attack: Any) -> bool:
    """Whether every part follows the cross-entropy."""
    if attack is None:
        return False
    return all(getattr(part, "loss", None) is losses.cross_entropy for _, part in attack.parts())


def _per_value(norm: Any, eps: np.ndarray, d: int) -> float:
    """The budget's share of one value, if all change by as much."""
    most = float(np.max(np.where(np.isfinite(eps), eps, 0)))
    return most / d**0.5 if norm == l2 else most / d if norm == l1 else most


def _some(rng: np.random.Generator, finite: np.ndarray, result: AttackResult, rows: int) -> np.ndarray:
    """Some examples to try the model on: correct ones if there are any, in ascending order."""
    correct = finite[result.status[finite] != STATUSES.index("misclassified")]
    return np.sort(rng.permutation(correct if len(correct) else finite)[:rows])
