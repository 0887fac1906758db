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


def test_structures_of_different_classes_differ():
    """Were they equal, `jit` would now and then run one class's program on the other."""

    @struct
    class Other:
        slope: float
        offset: float = 0.0
        points: int = static(default=8)

    line = jax.tree.structure(Line(1.0, points=8))
    assert jax.tree.structure(Other(1.0)) == jax.tree.structure(Other(2.0)) != line
    assert jax.tree.structure((Other(1.0), 2.0)) != jax.tree.structure((Line(1.0, points=8), 2.0))


def test_leaves_go_by_their_names():
    ((path, leaf),) = jax.tree_util.tree_leaves_with_path(Line(2.0))[:1]
    assert jax.tree_util.keystr(path) == ".slope" and leaf == 2.0


def test_a_struct_is_frozen_and_compares_by_identity():
    line = Line(1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        line.slope = 2.0
    assert line == line and line != Line(1.0)
    assert len({line, Line(1.0)}) == 2
