"""What each drift should amount to: tilted normals, rotated boundaries, shares, and the distances that measure them."""

import jax
import numpy as np
import pytest
import scipy.stats

from sensijax import drift
from sensijax.core import ArgumentError, Dataset
from sensijax.drift import distances

KEY = jax.random.key(3)
N = 4000
X = np.random.default_rng([N, 82]).normal(size=(N, 3)).astype(np.float32)
DATA = Dataset(X, (X[:, 0] > 0).astype(int))


def moved(d):
    return drift.shift(d, KEY, DATA)


def test_a_tilted_normal_has_its_mean_at_the_strength():
    shifted = moved(drift.CovariateShift(0.5, along=1))
    # Standard error of a mean of N(0.5, 1) by importance weights: sqrt(e^0.25 (1 + ...) / N) < 0.03; 4 of them.
    assert abs(distances.mean_difference(DATA, shifted)[1] - 0.5) < 0.1
    assert abs(distances.kl(DATA, shifted) - 0.125) < 0.03
    assert abs(distances.chi2(DATA, shifted) - (np.exp(0.25) - 1)) < 0.06
    assert abs(shifted.effective_size - N / (1 + distances.chi2(DATA, shifted))) < 0.01 * N


def test_a_boundary_turned_by_t_renames_t_over_pi():
    for strength in (0.25, 1.0):
        share = distances.relabelled(DATA, moved(drift.BoundaryRotation(strength)))
        # Binomial with N = 4000: 4 standard errors are 0.032; the discriminant's own error adds about 0.01.
        assert abs(share - strength / 2) < 0.045


def test_a_turned_boundary_is_the_argmax_of_turned_scores():
    y = np.digitize(X[:, 0] + 0.5 * X[:, 1], [-0.5, 0.5])
    data = Dataset(X, y)
    d = drift.BoundaryRotation(1.0, angle=0.05).fit(data)
    away = X - d.centre
    u = away @ d.plane.T
    c, s = np.cos(0.05), np.sin(0.05)
    turned = u @ np.array([[c, -s], [s, c]])  # rows (u c + v s, v c - u s)
    old = away @ d.scorer.T + d.bias
    new = old + (turned - u) @ d.loadings.T
    shifted = drift.shift(d, KEY, data)
    # A small turn passes no example twice, so the first crossing is the decision after the turn.
    a, b = old.argmax(1), new.argmax(1)
    expected = np.where(a == b, y, np.where(y == a, b, np.where(y == b, a, y)))
    assert (a != b).sum() > 20
    assert (expected != shifted.y).sum() <= 2  # float32


def test_principal_component_is_that_of_the_covariance_with_and_without_writing_it_out():
    rng = np.random.default_rng(83)
    x = (rng.normal(size=(200, 600)) + 4 * rng.normal(size=(200, 1)) * np.linspace(-1, 2, 600)).astype(np.float32)
    data = Dataset(x, np.zeros(200, int))
    _, _, rows = np.linalg.svd(x - x.mean(0, dtype=np.float64), full_matrices=False)
    for width in (300, 600):
        part = Dataset(x[:, :width], data.y)
        _, _, rows = np.linalg.svd(part.x - part.x.mean(0, dtype=np.float64), full_matrices=False)
        found = drift.PrincipalComponent().of(part)
        assert abs(abs(found @ rows[0]) - 1) < 1e-4
        assert found[np.abs(found).argmax()] > 0


def test_mean_and_scale_move_by_what_they_say():
    x = np.asarray(moved(drift.MeanShift(2.0, features=(1,))).x, np.float64)
    std = X.std(0, dtype=np.float64)
    np.testing.assert_allclose((x - X).mean(0), [0, 2 * std[1], 0], atol=1e-5)
    along = moved(drift.MeanShift(2.0, along=(3.0, 4.0, 0.0)))
    spread = (X @ np.array([0.6, 0.8, 0])).std()
    np.testing.assert_allclose((along.x - X).mean(0), 2 * spread * np.array([0.6, 0.8, 0]), atol=1e-4)
    wide = moved(drift.ScaleShift(1.0, features=(0,))).x
    np.testing.assert_allclose(wide.std(0, dtype=np.float64), std * [2, 1, 1], rtol=1e-5)


@pytest.mark.parametrize("options", [{}, {"given": 0}, {"self_censoring": True}], ids=str)
def test_a_feature_is_missing_as_often_as_it_says(options):
    gone = moved(drift.MissingFeatures(0.3, features=(1,), fill=99.0, **options)).x[:, 1] == 99
    # 4 standard errors of a share of 0.3 among 4000 are 0.029.
    assert abs(gone.mean() - 0.3) < 0.03
    depends_on = X[:, 0] if "given" in options else X[:, 1]
    correlation = np.corrcoef(gone, depends_on)[0, 1]
    assert (correlation > 0.3) if options else (abs(correlation) < 4 / np.sqrt(N))


def test_a_dirichlet_prior_has_its_moments():
    many = drift.DirichletPrior(1.0, concentration=2.0).fit(Dataset(X[:3], np.arange(3)))
    priors = np.asarray(jax.jit(jax.vmap(many.prior))(jax.random.split(KEY, 4000)))
    np.testing.assert_allclose(priors.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(priors.mean(0), 1 / 3, atol=4 * np.sqrt(2 / 63 / 4000))
    np.testing.assert_allclose(priors.var(0), (1 / 3) * (2 / 3) / 7, rtol=0.15)


def test_a_group_has_the_share_that_it_says():
    shifted = moved(drift.SubpopulationShift(0.5, value=1, share=0.9))
    own = (DATA.y == 1).mean()
    assert abs(shifted.weights[DATA.y == 1].sum() / N - (own + 0.9) / 2) < 1e-5
    for value, out in drift.leave_one_out(DATA).items():
        left = moved(out).weights
        assert (left[value == DATA.y] == 0).all() and (left[value != DATA.y] > 0).all()


def test_ks_and_energy_are_those_of_scipy():
    shifted = moved(drift.ScaleShift(1.0))
    ours = distances.kolmogorov_smirnov(DATA, shifted)
    theirs = [scipy.stats.ks_2samp(X[:, j], shifted.x[:, j]).statistic for j in range(3)]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    column = Dataset(X[:500, :1] / X[:500, :1].std(), DATA.y[:500])
    scaled = drift.shift(drift.MeanShift(1.0), KEY, column)
    theirs = scipy.stats.energy_distance(column.x[:, 0], scaled.x[:, 0]) ** 2  # SciPy's is the root of half of ours
    assert abs(distances.energy(column, scaled) / theirs / 1.0 - 1) < 0.05


def test_ks_of_weights_counts_ties_once():
    data = Dataset(np.array([[0], [0], [1], [1]], np.float32), np.array([0, 1, 0, 1]))
    equal = drift.Shifted(data.x, data.y, np.array([2, 0, 2, 0], np.float32), data.ids)
    assert distances.kolmogorov_smirnov(data, equal).tolist() == [0.0]
    assert distances.label_variation(data, equal) == 0.5
    assert distances.mmd(data, drift.Shifted(data.x, data.y, np.ones(4, np.float32), data.ids)) == 0


@pytest.mark.parametrize("distance", [distances.energy, distances.mmd])
def test_without_a_shift_the_mean_distance_is_0(distance):
    """Samples of 20 against others of the same distribution: a biased estimate lies near 0.05 and 0.2."""
    found = []
    for i in range(100):
        old, new = X[40 * i : 40 * i + 20], X[40 * i + 20 : 40 * i + 40]
        part = Dataset(old, np.zeros(20, int))
        found.append(distance(part, drift.Shifted(new, part.y, np.ones(20, np.float32), part.ids)))
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(100)
    assert 4 * np.std(found) / np.sqrt(100) < (0.02 if distance is distances.mmd else 0.1)


def test_a_tilt_and_the_sample_that_it_stands_for_have_one_mmd():
    """Weighted examples of N(0, 1) against examples of N(0.7, 1): estimates of one number, 0.05 or so."""
    data = Dataset(X[:1000, :1], DATA.y[:1000])
    tilted = drift.shift(drift.CovariateShift(0.7, along=0), KEY, data)
    moved_away = drift.shift(drift.MeanShift(0.7), KEY, data)
    assert abs(distances.mmd(data, tilted) / distances.mmd(data, moved_away) - 1) < 0.15


def test_strengths_of_equal_size():
    """Three drifts of quite different kinds, each at the strength with chi2 = 0.2."""
    size = dict(distance=distances.chi2, value=0.2, tolerance=1e-3)
    for d in (drift.PriorShift(0.0, toward=1), drift.CovariateShift(0.0)):
        s = drift.strength_for(d, KEY, DATA, **size)
        assert abs(distances.chi2(DATA, moved(type(d)(s, **_options(d)))) - 0.2) < 0.01
    with pytest.raises(ArgumentError, match="which strength 0.1 reaches"):
        drift.strength_for(drift.CovariateShift(0.0), KEY, DATA, **size, high=0.1)


def _options(d):
    return {"toward": d.toward} if isinstance(d, drift.PriorShift) else {}


def test_sizes_grow_with_strength():
    table = drift.shift_sizes(drift.MeanShift(0.0), KEY, DATA, [0, 0.5, 1.0])
    for name in ("ks_max", "ks_mean", "mean_difference", "energy", "mmd"):
        assert table[name].iloc[0] == 0 and table[name].is_monotonic_increasing, name
    assert (table.kl == 0).all() and (table.effective_share == 1).all()


def test_another_data_set_is_refused():
    with pytest.raises(ArgumentError, match="other examples"):
        distances.kl(DATA.take(slice(0, N, 2)), moved(drift.CovariateShift(1.0)))
