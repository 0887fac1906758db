"""Whether a call's arguments fit, asked before anything is traced."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from sensijax.core.errors import ArgumentError


def check_call(argument: str, function: Callable, positional: int, kwargs: Mapping[str, Any], right: str) -> None:
    """Refuses a call whose required arguments are not all there, or that passes one the function does not take.

    Args:
      argument: how the error calls the function.
      function: what will be called; one whose signature Python cannot tell passes.
      positional: how many positional arguments it will get.
      kwargs: its keyword arguments.
      right: the fix.

    Raises:
      ArgumentError: if the call could not bind its arguments.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*[None] * positional, **kwargs)
    except TypeError as error:
        raise ArgumentError(argument, f"{signature}: {error}", right) from None
