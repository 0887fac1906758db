"""The way from a model's input to its output, through its jaxpr: where the derivative is lost.

Three things are known of every value on the way. *Carried*: whether it depends on the input. *Smooth*: whether the
derivative with respect to the input gets there. *Mask*: whether it is a yes or no, or ones and zeros made from one.
A value that is carried and not smooth has lost the derivative. That is ordinary in a mask that chooses between smooth
values or multiplies one: so relu and `where` are written. Anywhere else on the way to the output it is found.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core, source_info_util


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a value."""

    carried: bool = False
    smooth: bool = False
    mask: bool = False
    shift: bool = False  # a maximum, or one in another shape: what a softmax subtracts

    def __or__(self, other: "Known") -> "Known":
        return Known(
            self.carried or other.carried,
            self.smooth or other.smooth,
            self.mask and other.mask,
            self.shift and other.shift,
        )


@dataclasses.dataclass(frozen=True)
class Found:
    """A kind of operation, at one place of the code.

    Attributes:
      kind: `rounding`, `threshold`, `choice`, `stopped`, `loop`, `random`, `callback`, or `bits`.
      primitive: JAX's name of it.
      where: `file:line (function)`.
      ruled: whether it is inside of a function with a derivative rule of its own.
    """

    kind: str
    primitive: str
    where: str
    ruled: bool


_LOST = {
    **dict.fromkeys(("round", "floor", "ceil", "sign", "nextafter", "population_count", "clz"), "rounding"),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "is_finite", "lt_to", "le_to", "eq_to"), "threshold"),
    **dict.fromkeys(("argmax", "argmin"), "choice"),
    **dict.fromkeys(("reduce_and", "reduce_or", "and", "or", "not", "xor"), ""),  # of bits that were lost before
    "stop_gradient": "stopped",
    "bitcast_convert_type": "bits",
}
_RANDOM = {
    *("random_bits", "random_seed", "random_wrap", "random_fold_in", "random_split", "random_gamma"),
    *("threefry2x32", "rng_bit_generator", "rng_uniform"),
}
_CALLBACKS = {"pure_callback", "io_callback", "ffi_call"}
# What changes a value's form alone: a mask stays a mask, a maximum a maximum.
_FORM = {
    *("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "transpose", "rev", "slice", "copy", "copy_p"),
    *("convert_element_type", "sharding_constraint", "optimization_barrier", "concatenate", "pad", "reduce_precision"),
}


def follow(closed: core.ClosedJaxpr, inputs: Sequence[bool]) -> tuple[Counter[Found], list[bool]]:
    """Follows a program.

    Args:
      closed: the program.
      inputs: which of its arguments are the model's input.

    Returns:
      How often each thing was found on the way to the outputs, and for each output, whether the derivative gets there.
    """
    known = [Known(carried, carried) for carried in inputs]
    walk, all_ways = _Walk(Counter()), _Walk(Counter(), masks=True)
    outs = walk.forward(closed.jaxpr, known)[1]
    for each in (walk, all_ways):
        each.backward(closed.jaxpr, known, [True] * len(outs), ruled=False)
    # A random mask is random, however it is used.
    random = {one: n for one, n in all_ways.found.items() if one.kind in ("random", "callback")}
    return walk.found | Counter(random), [out.smooth for out in outs]


def carried(closed: core.ClosedJaxpr, inputs: Sequence[bool]) -> list[bool]:
    """For each output of a program, whether it depends on the marked arguments."""
    known = [Known(carried, carried) for carried in inputs]
    return [out.carried for out in _Walk(Counter()).forward(closed.jaxpr, known)[1]]


class _Walk:
    """Forward: what is known of every value. Backward: what of it the outputs need."""

    def __init__(self, found: Counter[Found], *, masks: bool = False):
        self.found, self.masks = found, masks  # whether the outputs need masks too
        self.caller = ""  # where the program was called that is walked through; a cached one forgets its own places

    # --- forward -----------------------------------------------------------------------------------------------------

    def forward(self, jaxpr: Any, inputs: Sequence[Known]) -> tuple[Callable[[Any], Known], list[Known]]:
        env: dict[Any, Known] = dict(zip(jaxpr.invars, inputs, strict=True))

        def known(atom: Any) -> Known:
            return Known() if isinstance(atom, core.Literal) else env.get(atom, Known())

        for eqn in jaxpr.eqns:
            outs = self.after(eqn, [known(atom) for atom in eqn.invars])
            env.update(zip(eqn.outvars, outs, strict=True))
        return known, [known(atom) for atom in jaxpr.outvars]

    def after(self, eqn: Any, ins: list[Known]) -> list[Known]:
        """What is known of an equation's results."""
        name, n = eqn.primitive.name, len(eqn.outvars)
        carried, smooth = any(i.carried for i in ins), any(i.smooth for i in ins)
        if name == "cond":
            branches = [self.forward(b.jaxpr, ins[1:])[1] for b in eqn.params["branches"]]
            outs = [_union(results) for results in zip(*branches, strict=True)]
            return [dataclasses.replace(o, carried=o.carried or ins[0].carried) for o in outs]
        if inner := _inner(eqn):
            outs = self.forward(*self.entry(eqn, inner, ins))[1][-n:] if n else []
            ruled = name.startswith("custom_")  # the rule decides: taken to pass the derivative on
            return [dataclasses.replace(o, smooth=o.smooth or ruled and smooth) for o in outs]
        if name == "while":
            return [Known(carried, False)] * n
        if name == "select_n":
            cases = _union(ins[1:])
            return [Known(carried, cases.smooth, all(i.mask or not i.carried for i in ins), _some_shift(ins[1:]))]
        if name == "convert_element_type":
            to = eqn.params["new_dtype"]
            return [dataclasses.replace(ins[0], smooth=smooth and jnp.issubdtype(to, jnp.floating))]
        if name in _FORM:
            return [Known(carried, smooth, all(i.mask or not i.carried for i in ins), _some_shift(ins))] * n
        if name in ("reduce_max", "reduce_min", "max", "neg", "stop_gradient", "pmax"):
            shift = name.startswith("reduce") or name == "pmax" or _some_shift(ins)
            return [Known(carried, smooth and name != "stop_gradient", False, shift)] * n
        if name == "mul":
            return [Known(carried, smooth, all(i.mask or not i.carried for i in ins))]
        if name in _LOST:
            lost = name != "bitcast_convert_type" or carried
            return [Known(carried, smooth and not lost, _LOST[name] in ("threshold", ""), _some_shift(ins))] * n
        if name in ("top_k", "sort"):
            return [Known(carried, smooth and _is_float(out)) for out in eqn.outvars]
        if name in _CALLBACKS:
            return [Known(carried, False)] * n
        return [Known(carried, smooth and _is_float(out)) for out in eqn.outvars]

    def entry(self, eqn: Any, inner: Any, ins: list[Known]) -> tuple[Any, list[Known]]:
        """An inner program with what is known of its arguments; of a scan's carry, once round and round."""
        if eqn.primitive.name == "scan":
            consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
            for _ in range(4 * carry + 1):  # each round something is added to some carry, or it is done
                outs = self.forward(inner, ins)[1]
                more = [a | b for a, b in zip(ins[consts : consts + carry], outs[:carry], strict=True)]
                more = [dataclasses.replace(m, mask=False, shift=False) for m in more]
                if more == ins[consts : consts + carry]:
                    break
                ins = [*ins[:consts], *more, *ins[consts + carry :]]
        return inner, ins

    # --- backward ----------------------------------------------------------------------------------------------------

    def backward(self, jaxpr: Any, inputs: Sequence[Known], needed: Sequence[bool], *, ruled: bool) -> list[bool]:
        """Takes note of what the needed results go through; returns which arguments they need."""
        known, _ = self.forward(jaxpr, inputs)
        wanted = {
            out for out, need in zip(jaxpr.outvars, needed, strict=True) if need and not isinstance(out, core.Literal)
        }
        for eqn in reversed(jaxpr.eqns):
            outs = [out in wanted for out in eqn.outvars]
            if any(outs):
                ins = [known(atom) for atom in eqn.invars]
                needs = self.before(eqn, ins, outs, ruled)
                wanted |= {
                    atom
                    for atom, need in zip(eqn.invars, needs, strict=True)
                    if need and not isinstance(atom, core.Literal)
                }
        return [var in wanted for var in jaxpr.invars]

    def before(self, eqn: Any, ins: list[Known], outs: list[bool], ruled: bool) -> list[bool]:
        """Which of an equation's arguments its needed results need; what it loses is noted."""
        name = eqn.primitive.name
        everything = [True] * len(ins)
        carried, smooth = any(i.carried for i in ins), any(i.smooth for i in ins)
        if name in _RANDOM:
            self.note(eqn, "random", ruled)
            return everything
        if name in _CALLBACKS:
            self.note(eqn, "callback", ruled)
            return everything
        if name == "while":
            if carried:
                self.note(eqn, "loop", ruled)
            for inner in (eqn.params["body_jaxpr"], eqn.params["cond_jaxpr"]):
                self.randomness(inner.jaxpr, ruled)
            return everything
        if name == "cond":
            needs = [self.backward(b.jaxpr, ins[1:], outs, ruled=ruled) for b in eqn.params["branches"]]
            chosen = any(out.smooth for out in self.after(eqn, ins))  # as where a mask chooses
            return [self.masks or not (chosen and ins[0].carried), *(any(each) for each in zip(*needs, strict=True))]
        if inner := _inner(eqn):
            inner, ins = self.entry(eqn, inner, ins)
            results = len(inner.outvars)
            for _ in range(results + 1):  # a scan's carry that is needed after is needed before
                needs = self.backward_quietly(inner, ins, outs)
                if name != "scan":
                    break
                consts, carry = eqn.params["num_consts"], eqn.params["num_carry"]
                more = [a or b for a, b in zip(outs[:carry], needs[consts : consts + carry], strict=True)]
                if more == outs[:carry]:
                    break
                outs = [*more, *outs[carry:]]
            outside, self.caller = self.caller, source_info_util.summarize(eqn.source_info) or self.caller
            needs = self.backward(inner, ins, outs, ruled=ruled or name.startswith("custom_"))
            self.caller = outside
            return needs
        if name == "select_n" and any(case.smooth for case in ins[1:]):
            return [self.masks or not ins[0].carried, *everything[1:]]  # what is chosen carries the derivative
        if name == "mul" and smooth and not self.masks:
            return [not (i.mask and i.carried and not i.smooth) for i in ins]
        kind = _LOST.get(name, "")
        if name == "convert_element_type" and carried and _is_float(eqn.invars[0]):
            to = eqn.params["new_dtype"]
            kind = "rounding" if not jnp.issubdtype(to, jnp.floating) or _narrow(to) else ""
        if name in ("top_k", "sort") and smooth:
            lost = any(need and not _is_float(out) for need, out in zip(outs, eqn.outvars, strict=True))
            kind = "choice" if lost else ""
        # Of what was lost before, only a further loss of its own counts; what is made of masks does not.
        lost = smooth or kind in ("rounding", "stopped", "choice") and carried and _is_float(eqn.invars[0])
        if kind and lost and not ins[0].mask and not (name == "stop_gradient" and ins[0].shift):
            self.note(eqn, kind, ruled)
        return everything

    def backward_quietly(self, jaxpr: Any, ins: Sequence[Known], outs: Sequence[bool]) -> list[bool]:
        return _Walk(Counter(), masks=self.masks).backward(jaxpr, ins, outs, ruled=False)

    def randomness(self, jaxpr: Any, ruled: bool) -> None:
        for eqn in jaxpr.eqns:
            if eqn.primitive.name in _RANDOM:
                self.note(eqn, "random", ruled)
            if inner := _inner(eqn):
                self.randomness(inner, ruled)

    def note(self, eqn: Any, kind: str, ruled: bool) -> None:
        where = source_info_util.summarize(eqn.source_info) or self.caller or "an unknown place"
        self.found[Found(kind, eqn.primitive.name, where, ruled)] += 1


def inner_program(eqn: Any) -> tuple[Any, Sequence[Any]] | None:
    """The program that an equation calls with its own arguments, if it calls one, and that program's constants."""
    if eqn.primitive.name in ("while", "cond"):
        return None
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        closed = eqn.params.get(name)
        inner = getattr(closed, "jaxpr", closed)
        if inner is not None and len(inner.invars) == len(eqn.invars) and len(inner.outvars) == len(eqn.outvars):
            return inner, getattr(closed, "consts", ())
    return None


def _inner(eqn: Any) -> Any:
    found = inner_program(eqn)
    return None if found is None else found[0]


def _union(several: Sequence[Known]) -> Known:
    first, *rest = several
    for each in rest:
        first = first | each
    return first


def _some_shift(ins: Sequence[Known]) -> bool:
    """Whether all that depends on the input is a maximum, and something is."""
    carried = [i for i in ins if i.carried]
    return bool(carried) and all(i.shift for i in carried)


def _is_float(atom: Any) -> bool:
    return jnp.issubdtype(atom.aval.dtype, jnp.floating)


def _narrow(dtype: Any) -> bool:
    """A float of 8 bits or fewer: a grid that values are rounded to."""
    return jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits <= 8
