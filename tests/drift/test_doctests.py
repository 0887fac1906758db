"""Every example in `sensijax.drift` runs."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.drift

MODULES = sorted(m.name for m in pkgutil.walk_packages(sensijax.drift.__path__, "sensijax.drift."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name.rsplit(".", 1)[1].startswith("_") or hasattr(module, "__path__")
