"""Errors name the argument, what came, and what would be right."""

import pytest

from sensijax.core import ArgumentError, CampaignError, Fault, MissingExtraError, SensijaxError, StoreError
from sensijax.core.errors import did_you_mean


def test_an_argument_error_says_what_came_and_what_would_be_right():
    error = ArgumentError("severity", 7, "a severity lies in [0, 5]")
    assert str(error) == "`severity`: got 7; a severity lies in [0, 5]"
    assert (error.argument, error.came, error.right) == ("severity", 7, "a severity lies in [0, 5]")


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ArgumentError, ValueError),
        (CampaignError, ValueError),
        (MissingExtraError, ImportError),
        (StoreError, Exception),
    ],
)
def test_every_error_is_a_sensijax_error_and_a_builtin_one(kind, builtin):
    assert issubclass(kind, SensijaxError) and issubclass(kind, builtin)


def test_a_missing_extra_says_how_to_get_it():
    assert "pip install 'sensijax[equinox]'" in str(MissingExtraError("equinox", "equinox", "adapting Equinox"))


def test_a_fault_stands_on_one_line_with_its_place():
    fault = Fault("stage.fog.severity[2]", "7", "a severity lies in [0, 5]")
    assert str(fault) == "stage.fog.severity[2]: 7; a severity lies in [0, 5]"
    assert str(Fault("a", "b", "c", "x.toml:3")) == "x.toml:3: a: b; c"


def test_a_campaign_error_has_all_faults():
    faults = [Fault("a", "b", "c"), Fault("d", "e", "f")]
    error = CampaignError(faults)
    assert error.faults == tuple(faults)
    assert str(error).splitlines() == ["the campaign has 2 faults:", "  a: b; c", "  d: e; f"]
    assert str(CampaignError(faults[:1])).startswith("the campaign has 1 fault:")


def test_advice_is_the_closest_name_or_all_of_them():
    known = ["fog", "gaussian_noise", "gaussian_blur"]
    assert did_you_mean("gausian_noise", known) == "did you mean 'gaussian_noise'?"
    assert did_you_mean("xyz", known) == "known: fog, gaussian_blur, gaussian_noise"
