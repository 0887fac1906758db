"""Whatever a campaign takes as a setting is a pytree through and through: JAX may make it of its own placeholders."""

import inspect
from typing import Any

import jax
import numpy as np
import pytest

from sensijax.campaign import _kinds
from sensijax.perturb import Perturbation, image

GIVEN: dict[str, Any] = {"strength": 0.5, "rate": 0.2, "error": 0.2, "eps": 0.1, "share": 0.5}
OWN: dict[str, dict[str, Any]] = {
    "Through": {"scale": image.Fog, "eps": 3.0},
    "ClassMerge": {"classes": (1, 3)},
    "StuckSensor": {"channels": (1,)},
    "SubpopulationShift": {"value": 1},
    "Transition": {"matrix": np.full((3, 3), 1 / 3, np.float32)},
}


def made(cls):
    """One value of a class, from numbers that suit it."""
    if issubclass(cls, Perturbation):
        return cls.at(1.0)
    own = OWN.get(cls.__name__, {})
    needed = {p.name for p in inspect.signature(cls).parameters.values() if p.default is p.empty} - set(own)
    return cls(**{name: GIVEN[name] for name in needed}, **own)


CLASSES = [
    *(_kinds.kinds() | _kinds.attack_kinds() | _kinds.drift_kinds() | _kinds.label_kinds()).values(),
    *_kinds.detector_kinds().values(),
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_setting_is_made_of_whatever_stands_for_its_numbers(cls):
    value = made(cls)
    leaves, tree = jax.tree.flatten(value)
    described = [jax.ShapeDtypeStruct(np.shape(leaf), np.asarray(leaf).dtype) for leaf in leaves]
    for stand_ins in (described, [object() for _ in leaves], [None for _ in leaves]):
        assert type(jax.tree.unflatten(tree, stand_ins)) is cls
    lowered = jax.jit(lambda value: jax.tree.leaves(value)).lower(value)
    (arguments, _) = lowered.args_info
    assert type(arguments[0]) is cls
