"""Structs: numbers are leaves, static fields are structure."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from sensijax.core import static, struct


@struct
class Line:
    slope: float
    offset: float = 0.0
    points: int = static(default=8)


def test_numbers_are_leaves_and_static_fields_are_structure():
    assert jax.tree.leaves(Line(2.0, 1.0)) == [2.0, 1.0]
    assert jax.tree.structure(Line(1.0)) == jax.tree.structure(Line(2.0)) != jax.tree.structure(Line(1.0, points=9))
    assert jax.tree.map(lambda v: v + 1, Line(2.0, points=3)).points == 3


def test_a_changed_static_field_is_another_program():
    traces = []

    @jax.jit
    def program(line):
        traces.append(line.points)
        return line.slope * jnp.arange(line.points, dtype=jnp.float32)

    assert [program(Line(s, points=p)).shape for s, p in ((1.0, 3), (2.0, 3), (1.0, 4))] == [(3,), (3,), (4,)]
    assert traces == [3, 4]


def test_a_struct_is_frozen_and_compares_by_identity():
    line = Line(1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        line.slope = 2.0
    assert line == line and line != Line(1.0)
    assert len({line, Line(1.0)}) == 2
