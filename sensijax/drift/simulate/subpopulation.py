"""Subpopulation shift: a group of examples occurs more often, less often, or no longer."""

import dataclasses
from typing import ClassVar, Self

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.core import Dataset
from sensijax.core.errors import ArgumentError, did_you_mean
from sensijax.core.struct import static
from sensijax.drift.simulate._drift import Drift
from sensijax.drift.simulate._lookup import find, table
from sensijax.drift.simulate._validate import check_numbers, classes_of


class SubpopulationShift(Drift):
    """The share of one group goes from its own to `share`, along a straight line; within a group nothing changes.

    Attributes:
      strength: in [0, 1].
      value: the group, one of the values of `data.groups[group]`, or a class.
      group: the name of a grouping in `data.groups`; unless given, groups are classes.
      share: the share of the group at strength 1, in [0, 1]; 0 leaves it out, 1 leaves nothing else.
      own: the data's own share; learned.
      ids: uint32 `[N, 2]`, sorted, and `member`, bool `[N]`: who belongs to it; learned. Examples are found by their
        ids, so labels that a stage before has changed move nobody into the group.

    Reference:
      Santurkar, Tsipras and Madry, "BREEDS: benchmarks for subpopulation shift", ICLR 2021; Koh et al., "WILDS",
      ICML 2021.

    Example:
      >>> from sensijax.drift import shift
      >>> import jax
      >>> data = Dataset(np.zeros((4, 1), np.float32), np.zeros(4, int), groups={"site": ["a", "a", "a", "b"]})
      >>> shift(SubpopulationShift(1.0, value="b", group="site", share=0.5), jax.random.key(0), data).weights.round(3)
      array([0.667, 0.667, 0.667, 2.   ], dtype=float32)
    """

    value: int | str = static(kw_only=True)
    group: str | None = static(default=None)
    share: Float[Array, ""] = dataclasses.field(kw_only=True)
    own: Float[Array, ""] | None = None
    ids: Array | None = None
    member: Array | None = None

    changes: ClassVar[tuple[str, ...]] = ("weights",)
    deterministic: ClassVar[bool] = True

    def __post_init__(self):
        check_numbers("strength", self.strength, 0, 1)
        check_numbers("share", self.share, 0, 1)

    def fit(self, data: Dataset) -> Self:
        values = _grouping(data, self.group)
        if self.value not in (known := np.unique(values).tolist()):
            raise ArgumentError("value", repr(self.value), f"a group with examples: {', '.join(map(repr, known))}")
        member = values == self.value
        if member.all():
            raise ArgumentError("value", f"{self.value!r}, to which every example belongs", "examples on both sides")
        order, ids = table(data.ids)
        return dataclasses.replace(self, own=np.float32(member.mean()), ids=ids, member=member[order])  # type: ignore[type-var]

    def weights(self, key: Array, x: Array, y: Array, ids: Array) -> Array:
        at, known = find(jnp.asarray(self.ids), jnp.asarray(ids))
        own = jnp.asarray(self.own)
        share = (1 - self.strength) * own + self.strength * self.share
        w = jnp.where(jnp.asarray(self.member)[at], share / own, (1 - share) / (1 - own))
        # An example that was not there when the drift was fitted has no weight that could be right: it is refused.
        return jnp.where(known, w, jnp.nan).astype(jnp.float32)


def leave_one_out(data: Dataset, group: str | None = None) -> dict[int | str, SubpopulationShift]:
    """For each group the shift that leaves it out: at strength 1 none of its examples is there.

    Args:
      data: the examples.
      group: the name of a grouping in `data.groups`; unless given, groups are classes.

    Returns:
      Values of the grouping to shifts at strength 1.

    Raises:
      ArgumentError: if there is no such grouping, or a single group.

    Example:
      >>> data = Dataset(np.zeros((3, 1), np.float32), np.array([0, 1, 1]))
      >>> list(leave_one_out(data))
      [0, 1]
    """
    values = np.unique(_grouping(data, group)).tolist()
    if len(values) < 2:
        raise ArgumentError("group", f"{group!r} with the one value {values[0]!r}", "a grouping into two or more")
    return {value: SubpopulationShift(1.0, value=value, group=group, share=0.0) for value in values}  # type: ignore[arg-type]


def _grouping(data: Dataset, group: str | None) -> np.ndarray:
    if group is None:
        classes_of(data, "without `group`, groups are classes")
        return data.y
    if group not in data.groups:
        raise ArgumentError("group", repr(group), did_you_mean(group, data.groups) if data.groups else "data.groups")
    return np.asarray(data.groups[group])
