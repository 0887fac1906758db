"""The smallest distance at which each example is misclassified, over several attacks."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from sensijax.attack._attack import Attack, rows_of
from sensijax.attack._door import admit, check_budget, clean_logits
from sensijax.attack._norm import Norm, as_norm, l1, l2, linf
from sensijax.attack._pursuit import Examples, Loop, Pursued
from sensijax.attack._result import AttackResult, gather
from sensijax.attack._setting import Setting, describe
from sensijax.attack._victim import Victim, predictions
from sensijax.attack.carlini_wagner import CarliniWagner
from sensijax.attack.ddn import DDN
from sensijax.attack.deepfool import DeepFool
from sensijax.attack.elastic_net import EAD
from sensijax.attack.fab import FAB
from sensijax.attack.fmn import FMN
from sensijax.core import Model
from sensijax.core.errors import ArgumentError

# One example at a time: the batch that somebody who checks a stored example judges it in.
_ALONE = Loop(width=1, every=1, fused=False)


def minimal_attacks(norm: Any = "l2", box: tuple[float, float] = (0.0, 1.0)) -> tuple[Attack, ...]:
    """The attacks that `minimal_norm` makes unless it is told which.

    Example:
      >>> [type(attack).__name__ for attack in minimal_attacks("l1")]
      ['FAB', 'FMN', 'EAD']
    """
    norm = as_norm(norm)
    known: dict[Norm, tuple[type[Attack], ...]] = {
        l2: (FAB, DDN, FMN, CarliniWagner, DeepFool),
        linf: (FAB, FMN, DeepFool),
        l1: (FAB, FMN, EAD),
    }
    if norm not in known:
        raise ArgumentError("norm", str(norm), "l2, linf or l1, or name the attacks")
    return tuple(attack(eps=np.inf, norm=norm, box=box) for attack in known[norm])


def minimal_norm(
    key: Array,
    model: Model,
    x: Any,
    y: Any,
    norm: Any = "l2",
    *,
    attacks: Sequence[Attack] | None = None,
    box: tuple[float, float] = (0.0, 1.0),
    ids: Any = None,
    loop: Loop | None = None,
) -> AttackResult:
    """The nearest misclassified input that any of several attacks finds for each example.

    Every attack is made on every example, and the nearest of what they find counts. Each find is judged again alone, in
    a batch of one, and its distance is measured again in float64; what fails is pushed away from the original by some
    ten-thousandths of the way, and dropped if that does not help. So every distance is an upper bound that holds.

    Args:
      key: a typed PRNG key.
      model: logits `[B, K]` of a batch.
      x: float32 `[N, ...]` in the box.
      y: integer labels `[N]`.
      norm: `l2`, `linf` or `l1`, or its name.
      attacks: attacks for the nearest example, of that norm and box; `minimal_attacks(norm, box)` unless given.
      box: the closed range of valid inputs.
      ids: distinct integers `[N]`; 0..N-1 unless given.
      loop: how to run.

    Returns:
      `distance`: the smallest found, infinite where nothing was found, 0 for what is misclassified as it is;
      `broken_by` and `attacks`: which attack found it; `robust`: nothing was found, which an unlimited budget should
      never allow: then gradients are masked.

    Raises:
      ArgumentError: as `Attack.__call__`, or if an attack does not look for the nearest, or in another norm or box.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> model = Model(lambda w, x: x @ w, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="linear")
      >>> x, y = np.array([[0.6, 0.4]], np.float32), np.array([0])
      >>> result = minimal_norm(jax.random.key(0), model, x, y, norm="linf")
      >>> result.distance.round(3).tolist(), result.attacks[result.broken_by[0]]
      ([0.10000000149011612], 'FMN')
    """
    loop, norm = loop or Loop.here(), as_norm(norm)
    attacks = minimal_attacks(norm, box) if attacks is None else tuple(attacks)
    if not attacks:
        raise ArgumentError("attacks", "none", "at least one attack for the nearest example")
    for attack in attacks:
        if not attack.minimal:
            raise ArgumentError("attacks", type(attack).__name__, "attacks that look for the nearest example")
        if attack.norm != norm or tuple(attack.box) != tuple(box):
            came = f"{type(attack).__name__} in {attack.norm}, box {attack.box}"
            raise ArgumentError("attacks", came, f"all in {norm}, box {box}")
        check_budget(attack, np.shape(x)[1:])
    victim = Victim.of(model)
    admitted = admit(victim, key, x, y, ids, box, loop)
    names, pursued = [], []
    for attack in attacks:
        outcomes = rows_of(attack, admitted.index).carry_out(victim, admitted.attacked, admitted.logits, loop)
        names += [name for name, _ in attack.parts()]
        eps = np.broadcast_to(np.asarray(attack.eps, np.float64), (len(admitted.ids),))[admitted.index]
        pursued += [confirmed(outcome, victim, admitted.attacked, norm, box, eps) for outcome in outcomes]
    setting = Setting.of(attacks[0], key, model)
    described = f"minimal_norm({', '.join(map(describe, attacks))})"
    budget = np.max(
        [np.broadcast_to(np.asarray(attack.eps, np.float32), (len(admitted.ids),)) for attack in attacks], 0
    )
    return gather(names, admitted, pursued, setting=dataclasses.replace(setting, attack=described, eps=budget))


def confirmed(
    outcome: Pursued, victim: Victim, examples: Examples, norm: Norm, box: tuple[float, float], eps: np.ndarray
) -> Pursued:
    """An outcome of which only holds what is misclassified when judged alone, in the box and within the budget.

    Distances are measured again in float64. What fails is first pushed away from its original, by 1e-4 and 1e-3 of the
    way.
    """
    found, broken = outcome.found.copy(), outcome.broken.copy()
    distance = np.full(len(broken), np.inf, np.float32)
    open_ = np.flatnonzero(broken)
    broken[:] = False
    for push in (0.0, 1e-4, 1e-3):
        if not len(open_):
            break
        way = outcome.found[open_].astype(np.float64) - examples.x[open_]
        moved = np.clip(examples.x[open_] + (1 + push) * way, *box).astype(np.float32) if push else found[open_]
        verdict = predictions(clean_logits(victim, moved, examples.keys[open_], _ALONE))
        size = sizes(norm, moved, examples.x[open_])
        holds = (verdict != examples.y[open_]) & (verdict >= 0) & (size <= eps[open_] * (1 + 1e-5))
        holds &= ((moved >= box[0]) & (moved <= box[1])).reshape(len(moved), -1).all(axis=1)
        rows = open_[holds]
        found[rows], broken[rows], distance[rows] = moved[holds], True, size[holds]
        open_ = open_[~holds]
    return dataclasses.replace(outcome, found=found, broken=broken, distance=distance)


def sizes(norm: Norm, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances `[N]` of two arrays `[N, ...]` in float64."""
    order = {linf: np.inf, l2: 2, l1: 1}[norm]
    return np.linalg.norm((a.astype(np.float64) - b).reshape(len(a), -1), order, axis=1)
