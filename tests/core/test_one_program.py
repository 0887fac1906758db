"""One program where arguments have values, and the function as it was inside another program."""

import jax
import jax.numpy as jnp
import pytest

from sensijax.core.one_program import one_program


@pytest.fixture
def counted():
    """A function of two arrays, that program, and how often it was traced or run."""
    times = []

    def function(x, y):
        times.append(1)
        return jnp.sin(x) * y

    return function, one_program(function), times


def test_called_alone_it_is_compiled_once(counted):
    function, program, times = counted
    for x in (1.0, 2.0):
        assert jnp.allclose(program(x, 3.0), jnp.sin(x) * 3)
    assert len(times) == 1


@pytest.mark.parametrize("transformed", [jax.grad, lambda f: lambda x, y: jax.jvp(f, (x, y), (1.0, 0.0))[1]])
def test_a_derivative_of_numbers_is_of_the_one_program(counted, transformed):
    function, program, times = counted
    for x in (1.0, 2.0):
        assert jnp.allclose(transformed(program)(x, 3.0), jnp.cos(x) * 3)
    assert len(times) == 1


@pytest.mark.parametrize(
    "around",
    [
        lambda f: f,
        jax.grad,
        lambda f: lambda x, y: jax.jvp(f, (x, y), (1.0, 0.0)),
        lambda f: lambda x, y: jax.vmap(f, in_axes=(0, None))(jnp.stack([x, y]), y),
    ],
)
def test_inside_a_program_it_is_the_function(counted, around):
    function, program, _ = counted
    assert str(jax.make_jaxpr(around(program))(1.0, 2.0)) == str(jax.make_jaxpr(around(function))(1.0, 2.0))
