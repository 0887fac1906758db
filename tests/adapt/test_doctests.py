"""The examples in the docstrings of sensijax.adapt run."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.adapt

MODULES = [info.name for info in pkgutil.iter_modules(sensijax.adapt.__path__, "sensijax.adapt.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
