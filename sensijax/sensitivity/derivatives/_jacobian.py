"""The Jacobian, dense and exact, in blocks that fit a memory budget."""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError
from sensijax.core.rows import chunks
from sensijax.sensitivity.derivatives._coupling import refuse_coupling
from sensijax.sensitivity.derivatives._nonfinite import NonFinite, located
from sensijax.sensitivity.derivatives._pure import (
    Pure,
    batch,
    forward_is_open,
    inputs,
    outputs,
    program,
    pure,
    reverse_refusal,
    size,
)

_log = logging.getLogger(__name__)
_CHUNK = 64
"""Passes in a block unless the budget asks for fewer: on a CPU larger blocks leave the cache and are not faster."""

_DECIDED = 8
"""If one mode needs this many times fewer passes, it is cheaper whatever a pass costs, and only it is compiled."""

Mode = Literal["auto", "forward", "reverse"]


@dataclasses.dataclass(frozen=True, eq=False)
class Jacobian:
    """Exact derivatives of every output with respect to every input, and how they were computed.

    Attributes:
      value: for each array of outputs (outer structure) and each of inputs (inner structure) the derivatives as a NumPy
        array `[*output, *input]`; with `batched`, `[B, *output, *input]` without the batch axis in either.
      outputs: f(x).
      mode: "forward" (a column a pass) or "reverse" (a row a pass).
      reason: why this mode, in words.
      passes: how many were needed.
      chunk: passes computed at once.
      seconds: measured seconds of a whole Jacobian by mode, where both were timed.
      peak_bytes: arguments, outputs and temporaries of one block, by the compiler's account; 0 if it gave none.
      nonfinite: what in `value` is not finite.
      zero: whether every derivative is zero: the function is flat here, or not differentiable in a way that matters
        (rounding, argmax, a step).
      batched: as asked for.
    """

    value: Any
    outputs: Any
    mode: str
    reason: str
    passes: int
    chunk: int
    seconds: Mapping[str, float]
    peak_bytes: int
    nonfinite: NonFinite
    zero: bool
    batched: bool

    def matrix(self) -> np.ndarray:
        """The Jacobian as one matrix `[m, n]` (`[B, m, n]` with `batched`), outputs and inputs in flattening order."""
        spec = jax.tree.structure(self.outputs)
        leading = jax.tree.leaves(self.outputs)[0].shape[:1] if self.batched else ()
        rows = []
        for out, block in zip(jax.tree.leaves(self.outputs), spec.flatten_up_to(self.value), strict=True):
            m = int(np.prod(np.shape(out)[len(leading) :]))
            rows.append(np.concatenate([leaf.reshape(*leading, m, -1) for leaf in jax.tree.leaves(block)], axis=-1))
        return np.concatenate(rows, axis=-2)

    def frame(self) -> Any:
        """A pandas table with a row for each pair of an array of outputs and one of inputs: norms and zeros."""
        import pandas as pd

        spec = jax.tree.structure(self.outputs)
        rows = []
        for (path, _), block in zip(
            jax.tree_util.tree_leaves_with_path(self.outputs), spec.flatten_up_to(self.value), strict=True
        ):
            for inner, leaf in jax.tree_util.tree_leaves_with_path(block):
                rows.append(
                    {
                        "output": jax.tree_util.keystr(path) or "f(x)",
                        "input": jax.tree_util.keystr(inner) or "x",
                        "frobenius": float(np.linalg.norm(leaf)),
                        "largest": float(np.max(np.abs(leaf), initial=0)),
                        "share_zero": float(np.mean(leaf == 0)) if leaf.size else np.nan,
                    }
                )
        return pd.DataFrame(rows)


def jacobian(
    f: Callable,
    x: Any,
    mode: Mode = "auto",
    chunk: int | None = None,
    *,
    batched: bool = False,
    budget: int = 1 << 30,
) -> Jacobian:
    """d f / d x, every entry exact, computed by the cheaper of forward and reverse mode.

    Forward mode needs a pass for each input, reverse mode one for each output. With `mode="auto"` the one that needs
    fewer wins if it needs eight times fewer; otherwise a block of each is compiled and timed. Passes are computed in
    blocks of one fixed size, whose basis vectors are made inside the program, and the finished blocks are kept on the
    host: on the device never lies more than one block.

    Runs on the host, and looks at values; inside a program use `jax.jacfwd` or `jax.jacrev`.

    Args:
      f: pure; a pytree of floating arrays to one. Programs of a `Model` and of a jitted function are kept for later
        calls.
      x: where.
      mode: "auto", "forward" or "reverse". A `custom_vjp` blocks forward mode: then reverse mode is used, a warning is
        logged, and `reason` says so.
      chunk: passes in a block, >= 1; None takes up to 64 of them, halved until a block fits the budget.
      batched: `f` maps a batch `[B, ...]` to outputs `[B, ...]`, example by example, and only the derivatives of each
        example's outputs with respect to its own inputs are wanted: a pass serves the whole batch. A model whose
        examples influence each other (batch normalisation in training mode) is refused.
      budget: bytes; what the finished Jacobian may take on the host, and one block on the device.

    Returns:
      A `Jacobian`.

    Raises:
      ArgumentError: if inputs or outputs are not floating, neither mode goes through, the Jacobian exceeds the budget,
        or a batch is coupled.

    Reference:
      Griewank and Walther, "Evaluating derivatives", SIAM 2008, chapters 3 and 4.

    Example:
      >>> j = jacobian(lambda x: {"sum": x.sum(), "square": x**2}, jnp.array([1.0, 2.0, 3.0]))
      >>> j.value["square"].diagonal().tolist(), j.value["sum"].tolist()
      ([2.0, 4.0, 6.0], [1.0, 1.0, 1.0])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ArgumentError("mode", repr(mode), '"auto", "forward" or "reverse"')
    if chunk is not None and chunk < 1:
        raise ArgumentError("chunk", chunk, "a block holds at least one pass, or None")
    function = pure(f)
    if batched:
        x, spec = batch(function, x)
        refuse_coupling(function, x)
    else:
        x = inputs(x)
        spec = outputs(function, x)
    shared = x.shape[0] if batched else 1
    entries = size(spec) // shared * size(x)
    if (needed := entries * np.dtype(jnp.result_type(*jax.tree.leaves(x))).itemsize) > budget:
        right = "a larger budget, `batched=True` for independent examples, or what needs no matrix: jvp, vjp, singular"
        raise ArgumentError("budget", f"{budget:,} bytes for a Jacobian of {needed:,}", right)

    passes = {"forward": size(x) // shared, "reverse": size(spec) // shared}
    modes, reason = _modes(function, x, spec, mode, passes)
    if not passes[modes[0]]:
        raise ArgumentError("x", f"{size(x)} inputs and {size(spec)} outputs", "at least one of each")
    plans = [_plan(function, x, spec, m, passes[m], chunk, batched, budget) for m in modes]
    seconds: dict[str, float] = {}
    if len(plans) == 2:
        seconds = {plan.mode: _seconds(plan, function, x) for plan in plans}
        plans.sort(key=lambda plan: seconds[plan.mode])
        reason = ", ".join(f"{m} measured at {s:.3g} s" for m, s in seconds.items())
    plan = plans[0]
    value, out = _assemble(plan, function, x, spec, batched)
    nonfinite = located(value, "the Jacobian")
    zero = not any(bool(np.any(leaf)) for leaf in jax.tree.leaves(value))
    if zero:
        _log.warning(
            "every derivative of %s is zero: it is flat here, or steps (rounding, argmax) hide how it moves",
            function.name,
        )
    return Jacobian(
        value, out, plan.mode, reason, plan.passes, plan.chunk, seconds, plan.bytes, nonfinite, zero, batched
    )


def _modes(function: Pure, x: Any, spec: Any, mode: str, passes: Mapping[str, int]) -> tuple[list[str], str]:
    """The modes to try, and why."""
    if mode != "reverse":
        if forward_is_open(function, x):
            if mode == "forward":
                return ["forward"], "asked for"
        elif refusal := reverse_refusal(function, x, spec):
            raise ArgumentError(
                "f", f"{function.name!r}: a custom_vjp blocks forward mode, and {refusal}", "one of both"
            )
        else:
            if mode == "forward" or passes["forward"] < passes["reverse"]:
                _log.warning("%s has a custom_vjp, which forward mode cannot pass: reverse mode is used", function.name)
            return ["reverse"], "a custom_vjp blocks forward mode"
    refusal = reverse_refusal(function, x, spec)
    if mode == "reverse":
        if refusal:
            raise ArgumentError("mode", f"'reverse', but {refusal}", 'mode="forward"')
        return ["reverse"], "asked for"
    if refusal:
        return ["forward"], f"reverse mode does not go through: {refusal}"
    counts = f"{passes['forward']} passes forward, {passes['reverse']} in reverse"
    if passes["forward"] * _DECIDED <= passes["reverse"]:
        return ["forward"], counts
    if passes["reverse"] * _DECIDED <= passes["forward"]:
        return ["reverse"], counts
    return ["forward", "reverse"], counts


class _Plan(NamedTuple):
    mode: str
    passes: int
    chunk: int
    block: Callable
    bytes: int


def _plan(
    function: Pure, x: Any, spec: Any, mode: str, passes: int, chunk: int | None, batched: bool, budget: int
) -> _Plan:
    build = {"forward": _columns, "reverse": _rows}[mode]
    width = min(passes, chunk or _CHUNK)
    shapes = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), (function.params, x)
    )
    leaves, structure = jax.tree.flatten(shapes)
    while True:
        block, peak = program(_compiled, function, build, batched, width, tuple(leaves), structure)
        if peak <= budget or width == 1 or chunk is not None:
            if peak > budget:
                _log.warning("a block of %d passes takes %d bytes, above the budget of %d", width, peak, budget)
            return _Plan(mode, passes, width, block, peak)
        width //= 2


def _compiled(
    apply: Callable, build: Callable, batched: bool, width: int, leaves: tuple, structure: Any
) -> tuple[Callable, int]:
    """A block as an executable, and what it takes by the compiler's account."""
    params, x = jax.tree.unflatten(structure, leaves)
    block = build(apply, batched).lower(params, x, jax.ShapeDtypeStruct((width,), jnp.int32)).compile()
    if (memory := block.memory_analysis()) is None:
        return block, 0
    return block, memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes


def _seconds(plan: _Plan, function: Pure, x: Any) -> float:
    """The time of a whole Jacobian, from the second of two blocks."""
    index = jnp.arange(plan.chunk, dtype=jnp.int32)
    jax.block_until_ready(plan.block(function.params, x, index))
    began = time.perf_counter()
    jax.block_until_ready(plan.block(function.params, x, index))
    return (time.perf_counter() - began) * -(-plan.passes // plan.chunk)


def _assemble(plan: _Plan, function: Pure, x: Any, spec: Any, batched: bool) -> tuple[Any, Any]:
    """Runs the blocks and lays them into arrays on the host."""
    skip = 1 if batched else 0
    out_leaves, out_tree = jax.tree.flatten(spec)
    in_leaves, in_tree = jax.tree.flatten(x)
    lead = (x.shape[0],) if batched else ()
    value, blocks = None, []
    for rows, valid in chunks(plan.passes, plan.chunk):
        value, tangents = plan.block(function.params, x, jnp.asarray(rows, jnp.int32))
        blocks.append([np.asarray(leaf)[:valid] for leaf in jax.tree.leaves(tangents)])
    # Each leaf is [passes, ...]: the pass runs over the flattened other side.
    whole = [np.concatenate(parts) for parts in map(list, zip(*blocks, strict=True))]
    ends = np.cumsum(
        [0, *(int(np.prod(leaf.shape[skip:])) for leaf in (in_leaves if plan.mode == "forward" else out_leaves))]
    )
    rows = []
    for o, out in enumerate(out_leaves):
        row = []
        for i, given in enumerate(in_leaves):
            side, other = (i, o) if plan.mode == "forward" else (o, i)
            part = whole[other][ends[side] : ends[side + 1]]  # [passes of this leaf, (B,) *other]
            part = np.moveaxis(part, 0, -1 if plan.mode == "forward" else skip)
            row.append(part.reshape(*lead, *out.shape[skip:], *given.shape[skip:]))
        rows.append(jax.tree.unflatten(in_tree, row))
    return jax.tree.unflatten(out_tree, rows), jax.tree.map(np.asarray, value)


def _columns(apply: Callable, batched: bool) -> Callable:
    def block(params: Any, x: Any, index: jax.Array) -> tuple[Any, Any]:
        value, push = jax.linearize(lambda x: apply(params, x), x)
        return value, jax.vmap(lambda i: push(_basis(x, i, batched)))(index)

    return jax.jit(block)


def _rows(apply: Callable, batched: bool) -> Callable:
    def block(params: Any, x: Any, index: jax.Array) -> tuple[Any, Any]:
        value, pull = jax.vjp(lambda x: apply(params, x), x)
        return value, jax.vmap(lambda i: pull(_basis(value, i, batched))[0])(index)

    return jax.jit(block)


def _basis(tree: Any, index: jax.Array, batched: bool) -> Any:
    """The unit vector of a flat index into a pytree; with `batched`, the same in every example."""
    leaves, structure = jax.tree.flatten(tree)
    start, parts = 0, []
    for leaf in leaves:
        shape = leaf.shape[1:] if batched else leaf.shape
        length = int(np.prod(shape))
        unit = (jnp.arange(length, dtype=jnp.int32) + jnp.int32(start) == index).astype(leaf.dtype).reshape(shape)
        parts.append(jnp.broadcast_to(unit[None], leaf.shape) if batched else unit)
        start += length
    return jax.tree.unflatten(structure, parts)
