"""The examples in the docstrings of the ground floor and of campaigns run."""

import doctest
import importlib
import pkgutil

import pytest

import sensijax.campaign
import sensijax.core

MODULES = [
    info.name
    for room in (sensijax.core, sensijax.campaign)
    for info in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_ground_floor_has_examples():
    finder = doctest.DocTestFinder()
    examples = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert examples > 30
