"""Which of the published severity scales a size means."""

from collections.abc import Mapping

from sensijax.core.errors import ArgumentError


def table_for(size: int, tables: Mapping[int, tuple[float, ...]]) -> tuple[float, ...]:
    """The table of a published scale.

    Args:
      size: 224 (ImageNet-C) or 32 (CIFAR-10-C): the scale's nominal image side, px. The image may have any size.
      tables: size to the parameter at severities 0..5.

    Returns:
      The table of that size.

    Raises:
      ArgumentError: if no scale was published for that size.
    """
    if size not in tables:
        raise ArgumentError("size", size, f"one of the published scales: {', '.join(map(str, sorted(tables)))}")
    return tables[size]
