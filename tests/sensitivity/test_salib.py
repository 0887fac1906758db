"""On the same sample matrix and outputs, indices equal those of SALib 1.6.0."""

import pathlib

import numpy as np
import pytest

from sensijax import sensitivity as s

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "salib.npz"
SPACE = {name: s.Uniform(-np.pi, np.pi) for name in ("x1", "x2", "x3")}


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN))


def near(came, expected):
    np.testing.assert_allclose(came, expected, rtol=1e-9, atol=1e-11)


def test_sobol(golden):
    found = s.sobol_given(golden["sobol_y"], SPACE)
    near(found.S1, golden["sobol_S1"])
    near(found.ST, golden["sobol_ST"])
    assert found.S2 is None and found.n_evaluations == 128 * 5


def test_sobol_with_second_order(golden):
    found = s.sobol_given(golden["sobol2_y"], SPACE, second_order=True)
    upper = np.triu_indices(3, 1)
    near(found.S1, golden["sobol2_S1"])
    near(found.ST, golden["sobol2_ST"])
    near(found.S2[upper], golden["sobol2_S2"][upper])
    near(found.S2, found.S2.T)


def test_sobol_of_many_outputs_is_that_of_each(golden):
    y = golden["sobol2_y"]
    found = s.sobol_given(np.stack([y, 1e5 - 3 * y], axis=1), SPACE, second_order=True)
    assert found.S1.shape == (3, 2) and found.S2_interval.shape == (3, 3, 2, 2)
    near(found.S1[:, 0], golden["sobol2_S1"])
    np.testing.assert_allclose(found.S1[:, 1], golden["sobol2_S1"], atol=1e-9)


def test_morris(golden):
    found = s.morris_given(golden["morris_x"], golden["morris_y"], SPACE, levels=6)
    for name in ("mu", "mu_star", "sigma"):
        near(getattr(found, name), golden[f"morris_{name}"])


def test_morris_of_groups(golden):
    space = s.Space(SPACE, groups={"a": ["x1", "x3"], "b": ["x2"]})
    found = s.morris_given(golden["morris_groups_x"], golden["morris_groups_y"], space)
    near(found.mu_star, golden["morris_groups_mu_star"])
    assert np.isnan(found.sigma[0]) and np.isfinite(found.sigma[1])


def test_dgsm(golden):
    found = s.dgsm_given(golden["dgsm_x"], golden["dgsm_y"], SPACE)
    near(found.nu, golden["dgsm_vi"])
    near(found.bound, golden["dgsm_dgsm"])


def test_delta(golden):
    found = s.delta_given(golden["given_x"], golden["given_y"], SPACE)
    near(found.delta, golden["delta_raw"])
    near(found.S1, golden["delta_S1"])


def test_pawn(golden):
    found = s.pawn_given(golden["given_x"], golden["given_y"], SPACE)
    for name in ("minimum", "mean", "median", "maximum"):
        near(getattr(found, name), golden[f"pawn_{name}"])
    near(found.deviation, golden["pawn_stdev"])
    near(found.deviation / found.mean, golden["pawn_CV"])


def test_rbd_fast(golden):
    near(s.rbd_fast_given(golden["given_x"], golden["given_y"], SPACE).S1, golden["rbd_S1"])


def test_fast(golden):
    found = s.fast_given(golden["fast_y"], SPACE)
    near(found.S1, golden["fast_S1"])
    near(found.ST, golden["fast_ST"])
