"""Results as `xarray.Dataset`s, with named axes; needs the extra `xarray`."""

import dataclasses
from typing import Any

import numpy as np

from sensijax.core.errors import ArgumentError, MissingExtraError
from sensijax.sensitivity.indices._result import _is_pairs

OF_OUTPUTS = frozenset({"mean", "variance", "error", "cross_validated"})


def to_xarray(result: Any) -> Any:
    """A result as an `xarray.Dataset`: every array of it under its name, with named axes.

    Axes are `input` (of a pair also `with`), `bound` ("low", "high"), `output` where the function had several, `point`
    for what is measured point by point, and `example`. Numbers and strings become attributes.

    Args:
      result: of a global sensitivity analysis (anything with `names` and arrays by input), or a `Surface`.

    Returns:
      An `xarray.Dataset`.

    Raises:
      ArgumentError: if it has no names.
      MissingExtraError: without xarray.

    Example:
      >>> to_xarray(pce(f, space, key=key)).S1.sel(input="x1")   # doctest: +SKIP
    """
    try:
        import xarray  # type: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("xarray", "xarray", "an xarray.Dataset") from error
    names = getattr(result, "names", None)
    if not names or not dataclasses.is_dataclass(result):
        raise ArgumentError("result", type(result).__name__, "a result with the names of its inputs")
    arrays, attributes = {}, {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if field.name == "names" or value is None:
            continue
        if isinstance(value, (bool, int, float, str, np.integer, np.floating)):
            attributes[field.name] = int(value) if isinstance(value, bool) else value
        elif isinstance(value, np.ndarray):
            base = getattr(result, field.name.removesuffix("_interval"))
            pairs = isinstance(base, np.ndarray) and _is_pairs(base, len(names))
            arrays[field.name] = (_axes(field.name, value, len(names), pairs), value)
    present = {axis for axes, _ in arrays.values() for axis in axes}
    coordinates = {"input": list(names), "with": list(names), "bound": ["low", "high"]}
    return xarray.Dataset(arrays, {axis: label for axis, label in coordinates.items() if axis in present}, attributes)


def _axes(name: str, value: np.ndarray, count: int, pairs: bool) -> tuple[str, ...]:
    """The names of an array's axes, from its own name and shape; there may be as many outputs as inputs."""
    if name in ("severities", "gradients", "hessians", "values", "standard_error", "each"):  # a `Surface`
        return {
            "severities": ("point", "input"), "gradients": ("point", "input"), "hessians": ("point", "input", "with"),
            "each": ("point", "example"),
        }.get(name, ("point",))  # fmt: skip
    axes = []
    rest = list(value.shape)
    if rest and rest[0] == count and name not in OF_OUTPUTS:
        axes, rest = ["input"], rest[1:]
        if pairs:
            axes, rest = [*axes, "with"], rest[1:]
    if name.endswith("_interval") and rest and rest[0] == 2:
        axes, rest = [*axes, "bound"], rest[1:]
    return (*axes, "output") if len(rest) == 1 else (*axes, *(f"{name}_axis{i}" for i in range(len(rest))))
