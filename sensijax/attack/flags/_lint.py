"""The lint: what a model's code says about its gradients, without running it."""

from collections import Counter
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from sensijax.attack._victim import Victim
from sensijax.attack.flags._catalogue import flag
from sensijax.attack.flags._flag import Flag, worst_first
from sensijax.attack.flags._path import Found, carried, follow
from sensijax.core import Model
from sensijax.core.keys import GENERATOR

_NAMES = {"stopped": "stopped_gradient", "random": "random_bits"}
_WORDS = {
    "rounding": "rounds",
    "threshold": "compares and uses the yes or no as a number",
    "choice": "takes an index of the largest or smallest",
    "stopped": "stops the gradient",
    "bits": "reads numbers as bits",
    "loop": "loops while a condition holds",
    "callback": "calls out of JAX",
    "random": "draws random bits of its own",
}


def lint(model: Model | Victim, x: Any) -> tuple[Flag, ...]:
    """Looks for what loses the derivative on the way from the input to the logits.

    The model is traced, not run. Only operations on which the logits depend, and which depend on the input, count:
    through `jit`, `scan`, `cond`, `vmap`, `checkpoint` and functions with derivative rules of their own. What is
    ordinary is not flagged: ReLU and its kin, `where`, clipping, max-pooling, sorting, the maximum that a softmax
    subtracts, masks that multiply a value with a derivative, and half precision.

    Args:
      model: logits `[B, K]` of a batch.
      x: a batch `[B, ...]`, or a `jax.ShapeDtypeStruct` of one.

    Returns:
      Flags, worst first: `rounding`, `threshold`, `choice`, `stopped_gradient`, `bits`, `loop`, `callback`,
      `random_bits`, `zero_derivative`, `no_gradient`. They say `distrust` if no derivative at all gets through, and
      `caution` where one does: then part of the way, or a stand-in's.

    Example:
      >>> coarse = Model(lambda w, x: jnp.round(x * 8) / 8 @ w, jnp.ones((4, 3)), name="coarse")
      >>> [(flag.name, flag.severity) for flag in lint(coarse, jax.ShapeDtypeStruct((1, 4), jnp.float32))]
      [('rounding', 'distrust'), ('zero_derivative', 'distrust')]
    """
    victim = model if isinstance(model, Victim) else Victim.of(model)
    closed = traced(victim, x)
    leaves = len(closed.jaxpr.invars) - 1
    found, smooth = follow(closed, [False] * leaves + [True])
    flags = [
        _flag(kind, {each: n for each, n in found.items() if each.kind == kind}, all(smooth))
        for kind in _WORDS
        if any(each.kind == kind for each in found) and not (kind == "random" and victim.draws)
    ]
    return worst_first([*flags, *_derivative(victim, x)])


def traced(victim: Victim, x: Any) -> core.ClosedJaxpr:
    """The program from (parameters, input) to logits; the input is its last argument."""
    return jax.make_jaxpr(_logits)(victim, x)


def _flag(kind: str, found: dict[Found, int], smooth: bool) -> Flag:
    counts = Counter[str]()
    for each, n in found.items():
        counts[each.primitive] += n
    what = ", ".join(f"`{name}` x {n}" if n > 1 else f"`{name}`" for name, n in counts.most_common())
    places = list(dict.fromkeys(each.where for each in found))
    where = f"{', '.join(places[:3])}{f' and {len(places) - 3} more places' if len(places) > 3 else ''}"
    ruled = sum(n for each, n in found.items() if each.ruled)
    rule = f", {ruled} under a derivative rule of its own" if ruled else ""
    through = "" if smooth else "; no derivative gets through the model"
    severity = "distrust" if not smooth or kind in ("random", "callback") else "caution"
    return flag(
        _NAMES.get(kind, kind),
        f"on the way from the input to the logits the model {_WORDS[kind]}: {what} at {where}{rule}{through}",
        {name: float(n) for name, n in counts.items()},
        severity=severity,
    )


def _derivative(victim: Victim, x: Any) -> list[Flag]:
    """Whether reverse-mode differentiation works, and whether its result depends on anything."""

    def gradient(victim: Victim, x: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda x: _logits(victim, x), x)[1](cotangent)[0]

    spec = jax.ShapeDtypeStruct(x.shape, x.dtype)
    try:
        closed = jax.make_jaxpr(gradient)(victim, spec, jax.eval_shape(_logits, victim, spec))
    except Exception as error:  # whatever an operation without a derivative raises
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return [flag("no_gradient", f"the gradient cannot be taken: {reason}")]
    if any(carried(closed, [False] * (len(closed.jaxpr.invars) - 1) + [True])):
        return []
    return [flag("zero_derivative", "the derivative of every logit is 0 whatever the input")]


def _logits(victim: Victim, x: Any) -> Any:
    keys = jnp.zeros((x.shape[0], 2), jnp.uint32)
    return victim.logits(x, jax.random.wrap_key_data(keys, impl=GENERATOR))
