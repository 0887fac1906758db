"""The examples in the docstrings of the perturbations run."""

import doctest
import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sensijax.perturb

MODULES = [info.name for info in pkgutil.walk_packages(sensijax.perturb.__path__, "sensijax.perturb.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module, extraglobs={"jax": jax, "jnp": jnp, "np": np}).failed == 0


def test_every_image_perturbation_has_an_example():
    finder = doctest.DocTestFinder()
    for op in sensijax.perturb.image.ALL:
        assert any(test.examples for test in finder.find(op)), op.__name__
