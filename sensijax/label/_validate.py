"""Checks at the door of the label room."""

from typing import Any

import numpy as np
from jax.core import Tracer

from sensijax.core.errors import ArgumentError


def check_rate(argument: str, value: Any, most: float = 1.0) -> None:
    """A rate, or a stack of them, in [0, most]; what is traced was checked before."""
    if (
        isinstance(value, Tracer)
        or not isinstance(value, (int, float, np.number, np.ndarray))
        and not hasattr(value, "dtype")
    ):
        return  # inside a program, or a placeholder of JAX's
    rates = np.asarray(value)
    if rates.dtype.kind not in "iuf" or (wrong := rates[~((rates >= 0) & (rates <= most))]).size:
        came = f"{wrong.ravel()[0]:g}" if rates.dtype.kind in "iuf" else repr(value)
        raise ArgumentError(argument, came, f"a fraction in [0, {most:g}]")
