"""The examples in the docstrings of sensijax.data run."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.data

MODULES = [info.name for info in pkgutil.iter_modules(sensijax.data.__path__, "sensijax.data.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
