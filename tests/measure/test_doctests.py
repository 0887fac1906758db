"""Every example in `sensijax.measure` runs."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.measure

MODULES = sorted(m.name for m in pkgutil.walk_packages(sensijax.measure.__path__, "sensijax.measure."))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module)
    assert result.failed == 0
    public = [o for n, o in vars(module).items() if callable(o) and getattr(o, "__module__", "") == name and n[0] != "_"]
    if not name.rsplit(".", 1)[1].startswith("_") and public:
        assert result.attempted > 0
