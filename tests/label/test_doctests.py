"""Every example in `sensijax.label` runs."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.label

MODULES = sorted(m.name for m in pkgutil.walk_packages(sensijax.label.__path__, "sensijax.label."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name.rsplit(".", 1)[1].startswith("_") or hasattr(module, "__path__")
