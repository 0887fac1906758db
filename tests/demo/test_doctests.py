"""The examples in the docstrings of sensijax.demo run."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.demo

MODULES = [info.name for info in pkgutil.iter_modules(sensijax.demo.__path__, "sensijax.demo.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0
