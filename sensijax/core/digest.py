"""Content digests: the same content has the same name in every process, on every machine.

BLAKE2b with 128 bits, written as 32 hexadecimal digits. Everything is tagged with its type and length before it is
hashed, so that no two different values share an encoding.
"""

import dataclasses
import functools
import hashlib
import os
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_BYTES = 16
_DEFINED = re.compile(r"(?:module|func\.func (?:public |private )?)\s*(@[\w$.]+)")
_SYMBOL = re.compile(r"(?<!custom_call )@[\w$.]+")  # a custom call's target is content, not a name
_RESULT_NAME = re.compile(r'jax\.result_info = "(?:[^"\\]|\\.)*"')


def digest(*values: Any) -> str:
    """The digest of plain values, arrays and pytrees of them.

    Args:
      *values: None, bool, int, float, str, bytes, NumPy or JAX arrays (dtype, shape and bits count), typed PRNG keys,
        and tuples, lists, mappings (order does not count) and pytree dataclasses of these.

    Returns:
      32 hexadecimal digits.

    Raises:
      TypeError: for a value whose content cannot be named (a function, say): its digest would not be stable.

    Example:
      >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
      True
    """
    h = hashlib.blake2b(digest_size=_BYTES)
    for value in values:
        _feed(h, value)
    return h.hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """The digest of a file's bytes: 32 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()  # type: ignore[arg-type]


def program_digest(lowered: jax.stages.Lowered) -> str:
    """The digest of a program: its lowered StableHLO, without source locations and without the functions' names.

    Comments and names do not change it, real edits of the traced code do.

    Args:
      lowered: what `jax.jit(f).lower(...)` returns.

    Returns:
      32 hexadecimal digits.

    Example:
      >>> program_digest(jax.jit(lambda x: x + 1).lower(1.0)) == program_digest(jax.jit(lambda y: y + 1).lower(1.0))
      True
    """
    text = lowered.as_text()
    symbols = {symbol: f"@f{i}" for i, symbol in enumerate(dict.fromkeys(_DEFINED.findall(text)))}
    text = _SYMBOL.sub(lambda match: symbols.get(match[0], match[0]), text)
    return digest(_RESULT_NAME.sub('jax.result_info = ""', text))


def function_digest(function: Callable[..., Any], *arguments: Any) -> str:
    """The digest of the program that a function is traced to, the same whatever devices this process has.

    It is lowered for the CPU, on a GPU's machine too: whoever plans without an accelerator names what an accelerator
    computes. Where a function branches by platform (`jax.lax.platform_dependent`), the branch of the CPU stands for all
    of them: they are held to compute the same but for rounding, and an edit of another branch alone changes no name.
    Whoever mends one computes again in another folder. What cannot be lowered for the CPU, a kernel for GPUs alone,
    say, is lowered for the first of CUDA, ROCm and TPU that it can be.

    The text of a program says nothing of Python functions that it calls back (`jax.pure_callback`): their bytecode,
    constants and closures are digested beside it. What those call in turn is not.

    Args:
      function: pure.
      *arguments: arrays, or `jax.ShapeDtypeStruct`s.

    Returns:
      32 hexadecimal digits; on a CPU, those of `program_digest(jax.jit(function).lower(*arguments))`.

    Raises:
      Exception: what the CPU's lowering raises, if all four do.

    Example:
      >>> function_digest(lambda x: x + 1, 1.0) == program_digest(jax.jit(lambda y: y + 1).lower(1.0))
      True
    """
    traced = jax.jit(function).trace(*arguments)
    called = callbacks(traced.jaxpr)
    failure: Exception | None = None
    for platform in ("cpu", "cuda", "rocm", "tpu"):
        try:
            text = program_digest(traced.lower(lowering_platforms=(platform,)))
            return digest(text, [_code(one) for one in called]) if called else text
        except Exception as error:  # NotImplementedError, ValueError, and whatever a kernel's own lowering raises
            failure = failure or error
    assert failure is not None
    raise failure


def code_digest(function: Callable[..., Any]) -> str:
    """The digest of a Python function: bytecode, constants, names, defaults and closure, not what it calls in turn.

    Bytecode differs between versions of Python.

    Args:
      function: a function, a method, a `functools.partial`, or an object that can be called.

    Returns:
      32 hexadecimal digits.

    Example:
      >>> code_digest(lambda x: x + 1) == code_digest(lambda x: x + 2)
      False
    """
    return digest(_code(function))


def callbacks(jaxpr: Any) -> list[Callable[..., Any]]:
    """The Python functions that a traced program calls for values, in order.

    Args:
      jaxpr: a `jax.extend.core.Jaxpr` or `ClosedJaxpr`.
    """
    found: list[Callable[..., Any]] = []
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name in ("pure_callback", "io_callback"):
            callback = equation.params["callback"]
            found.append(getattr(callback, "callback_func", callback))
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, (tuple, list)) else (parameter,):
                if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                    found += callbacks(inner)
    return found


def _code(value: Any) -> Any:
    """What of a Python function can be digested: bytecode, constants, names, defaults, closure."""
    if isinstance(value, types.CodeType):
        return [value.co_code, value.co_names, [_code(constant) for constant in value.co_consts]]
    if isinstance(value, functools.partial):
        return [_code(value.func), _code(value.args), _code(tuple(sorted(value.keywords.items())))]
    if isinstance(value, types.MethodType):
        return [_code(value.__func__), _code(value.__self__)]
    if isinstance(value, types.FunctionType):
        closure = [cell.cell_contents for cell in value.__closure__ or ()]
        return [_code(value.__code__), _code(value.__defaults__ or ()), _code(tuple(closure))]
    if isinstance(value, (tuple, list)):
        return [_code(one) for one in value]
    try:
        return digest(value)
    except TypeError:  # an object: its class, and what it does when it is called
        called = vars(type(value)).get("__call__")
        own = _code(called.__code__) if isinstance(called, types.FunctionType) else None
        return [f"{type(value).__module__}.{type(value).__qualname__}", own]


def _feed(h: Any, value: Any) -> None:
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        _tagged(h, type(value).__name__, value if isinstance(value, bytes) else repr(value).encode())
    elif isinstance(value, Mapping):
        _tagged(h, "map", str(len(value)).encode())
        for item in sorted((digest(k), k) for k in value):
            _feed(h, item[0])
            _feed(h, value[item[1]])
    elif isinstance(value, (tuple, list)):
        _tagged(h, "seq", str(len(value)).encode())
        for item in value:
            _feed(h, item)
    elif isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        _tagged(h, "key", str(jax.random.key_impl(value)).encode())
        _feed(h, np.asarray(jax.random.key_data(value)))
    elif isinstance(value, (np.ndarray, np.generic, jax.Array)):
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise TypeError(
                f"cannot digest an array of Python objects (shape {array.shape}): use a numeric or str dtype"
            )
        # bfloat16 and its like have no code letter of their own, only a name.
        kind = array.dtype.name if array.dtype.isbuiltin == 2 else array.dtype.str
        _tagged(h, "array", f"{kind}{array.shape}".encode())
        h.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b"")
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        cls = type(value)
        _tagged(h, "dataclass", f"{cls.__module__}.{cls.__qualname__}".encode())
        for field in dataclasses.fields(value):
            _feed(h, field.name)
            _feed(h, getattr(value, field.name))
    elif not callable(value) and not jax.tree_util.all_leaves([value]):
        leaves = jax.tree_util.tree_leaves_with_path(value)
        _tagged(h, "tree", f"{type(value).__module__}.{type(value).__qualname__} {len(leaves)}".encode())
        for path, leaf in leaves:
            _feed(h, jax.tree_util.keystr(path))
            _feed(h, leaf)
    else:
        raise TypeError(
            f"cannot digest a {type(value).__module__}.{type(value).__qualname__}: it has no stable content"
        )


def _tagged(h: Any, tag: str, content: bytes) -> None:
    h.update(f"{tag}:{len(content)}:".encode())
    h.update(content)
