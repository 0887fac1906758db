"""Annotation noise: rates in their bands, nested errors, draws that depend on the id alone, true matrices."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, truncnorm

from sensijax import label
from sensijax.core import ArgumentError, Dataset
from sensijax.label._noise import _distributions
from sensijax.label.crowd_majority import win_shares
from sensijax.label.part_dependent import truncated_mean, truncated_quantile

N, K, D = 4000, 4, 6
KEY = jax.random.key(3)
RATES = (0.0, 0.05, 0.2, 0.45, 0.8, 1.0)
MATRIX = np.array([[0.7, 0.3, 0, 0], [0.1, 0.6, 0.2, 0.1], [0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]])
NOISES = {
    "Symmetric": lambda rate: label.Symmetric(rate=rate),
    "PairFlip": lambda rate: label.PairFlip(rate=rate),
    "Transition": lambda rate: label.Transition(strength=rate, matrix=MATRIX),
    "ClassConditional": lambda rate: label.ClassConditional(rate=rate),
    "Ordinal": lambda rate: label.Ordinal(rate=rate, decay=0.3),
    "PartDependent": lambda rate: label.PartDependent(rate=rate),
    "InstanceDependent": lambda rate: label.InstanceDependent(rate=rate),
    "FeatureMargin": lambda rate: label.FeatureMargin(rate=rate),
    "OneAnnotator": lambda rate: label.OneAnnotator(rate=rate, annotators=4),
    "CrowdMajority": lambda rate: label.CrowdMajority(error=rate, voters=3),
}
EXACT = set(NOISES) - {
    "Transition",
    "PartDependent",
    "CrowdMajority",
}  # whose rate is the mean probability of a wrong label


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    y = np.arange(N) % K
    x = rng.normal(size=(N, D)) + 1.5 * np.eye(K, D)[y]
    return Dataset(x.reshape(N, 2, D // 2).astype(np.float32), y, ids=rng.permutation(10 * N)[:N])


@pytest.fixture(scope="module")
def observed(data):
    """Every noise at every rate, on the same data with the same key."""
    fitted = {(n, r): make(np.float32(r)).fit(data.x, data.y, K) for n, make in NOISES.items() for r in RATES}
    return {at: (noise, noise(KEY, data.y, data.x, ids=data.ids)) for at, noise in fitted.items()}


@pytest.mark.parametrize("name", NOISES)
def test_identity_at_zero_and_nested_in_the_rate(observed, name):
    noise, clean = observed[name, 0.0]
    assert noise.is_identity() and not np.asarray(clean.wrong).any() and not np.asarray(clean.probability).any()
    before = np.asarray(clean.wrong)
    for rate in RATES[1:]:
        noise, result = observed[name, rate]
        assert not noise.is_identity()
        wrong = np.asarray(result.wrong)
        assert (wrong >= before).all() and wrong.sum() > before.sum()
        before = wrong


@pytest.mark.parametrize("name", NOISES)
def test_transition_is_what_is_observed(data, observed, name):
    """K x K counts against their binomial bands, 99.9 % family-wise over the 16 entries (Bonferroni)."""
    noise, result = observed[name, 0.45]
    T = noise.transition(KEY, data.y, data.x, ids=data.ids)
    np.testing.assert_allclose(T.sum(axis=1), 1, atol=1e-6)
    counts = np.zeros((K, K), int)
    np.add.at(counts, (data.y, np.asarray(result.labels)), 1)
    low, high = binom.ppf([[[0.001 / 32]], [[1 - 0.001 / 32]]], N // K, np.clip(T, 0, 1))
    assert (counts >= low).all() and (counts <= high).all()
    np.testing.assert_allclose(1 - np.diag(T).mean(), np.asarray(result.probability).mean(), atol=1e-5)


@pytest.mark.parametrize("name", sorted(EXACT))
def test_the_mean_probability_of_a_wrong_label_is_the_rate(observed, name):
    # Flip rates, and who labels what, are drawn: 5 sigma.
    drawn = 5 * 0.5 / np.sqrt(N) if name in ("InstanceDependent", "OneAnnotator") else 1e-5
    for rate in RATES:
        mean = float(np.asarray(observed[name, rate][1].probability, np.float64).mean())
        assert abs(mean - rate) < drawn


@pytest.mark.parametrize("name", NOISES)
def test_a_label_depends_on_its_id_alone(data, observed, name):
    """A quarter of the examples, in another order, among others that were not there: nothing changes for them."""
    noise, whole = observed[name, 0.45]
    part = np.random.default_rng(0).permutation(N)[: N // 4]
    others = np.resize(part, N - len(part))
    y = np.concatenate([data.y[part], (data.y[others] + 1) % K])
    x = np.concatenate([data.x[part], data.x[others][:, ::-1]])
    mixed = noise(KEY, y, x, ids=np.concatenate([data.ids[part], 10 * N + np.arange(len(others))]))
    for had, has in zip(columns(whole), columns(mixed), strict=True):
        np.testing.assert_array_equal(has[: len(part)], had[part])


def columns(result):
    return np.asarray(result.labels), np.asarray(result.probability), np.asarray(result.annotator)


@pytest.mark.parametrize("name", NOISES)
def test_noises_are_pytrees_that_stack(data, observed, name):
    """One program for a stack of fitted noises gives what each gives alone."""
    fitted = [observed[name, rate] for rate in (0.05, 0.45)]
    stack = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *(n for n, _ in fitted))
    ids = np.stack([data.ids >> 32, data.ids & (2**32 - 1)], axis=1).astype(np.uint32)
    x = data.x.reshape(N, D)
    p = jax.jit(jax.vmap(lambda noise: noise.distributions(KEY, jnp.asarray(data.y), x, ids)))(stack)
    for (_, result), alone in zip(fitted, np.asarray(p), strict=True):
        np.testing.assert_allclose(1 - alone[np.arange(N), data.y], result.probability, atol=2e-6)
        np.testing.assert_allclose(alone.sum(axis=1), 1, atol=1e-5)


def test_part_dependent_has_the_published_distribution(data, observed):
    """Quantiles and mean are SciPy's truncated normal's; the wrong class has the largest projection most often."""
    place = np.linspace(0.001, 0.999, 101, dtype=np.float32)
    for rate in (0.1, 0.4, 0.95):
        peer = truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1)
        ours = jax.jit(truncated_quantile)(jnp.asarray(place), jnp.float32(rate), jnp.float32(0.1))
        np.testing.assert_allclose(ours, peer.ppf(place), atol=2e-5)
        assert abs(float(jax.jit(truncated_mean)(jnp.float32(rate), jnp.float32(0.1))) - peer.mean()) < 1e-6
    noise, _ = observed["PartDependent", 0.45]
    x = data.x.reshape(N, D)
    W = np.asarray(jax.random.normal(jax.random.fold_in(KEY, 2**32 - 1), (K, D, K), jnp.float32), np.float64)
    scores = np.einsum("nd,ndk->nk", x, W[data.y])
    scores[np.arange(N), data.y] = -np.inf
    share = np.exp(scores - scores.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    ids = np.stack([data.ids >> 32, data.ids & (2**32 - 1)], axis=1).astype(np.uint32)
    p = np.asarray(_distributions(noise, KEY, data.y.astype(np.int32), x, ids), np.float64)
    q = 1 - p[np.arange(N), data.y]
    p[np.arange(N), data.y] = 0
    np.testing.assert_allclose(p, q[:, None] * share, atol=2e-5)


def test_matrices_of_the_noises_of_classes(observed):
    eye, far = np.eye(K), np.abs(np.arange(K)[:, None] - np.arange(K)[None])
    near = np.where(far > 0, 0.3 ** (far - 1.0), 0)
    expected = {
        "Symmetric": 0.4 * eye + 0.15,
        "PairFlip": 0.55 * eye + 0.45 * np.roll(eye, 1, axis=1),
        "Transition": 0.55 * eye + 0.45 * MATRIX,
        "Ordinal": 0.55 * eye + 0.45 * near / near.sum(axis=1, keepdims=True),
    }
    for name, T in expected.items():
        np.testing.assert_allclose(observed[name, 0.45][0].transition(), T, atol=1e-6)


def test_class_conditional_matrix_belongs_to_the_key(observed):
    T = {rate: observed["ClassConditional", rate][0].transition(KEY) for rate in (0.05, 0.2)}
    assert abs(T[0.2].trace() - K * 0.8) < 1e-5
    np.testing.assert_allclose((1 - np.diag(T[0.2])) / (1 - np.diag(T[0.05])), 4, rtol=1e-4)  # scaled, not redrawn
    assert np.diag(T[0.2]).std() > 0.01
    assert not np.allclose(T[0.2], observed["ClassConditional", 0.2][0].transition(jax.random.key(4)))
    sparse = label.ClassConditional(rate=0.3, sparsity=0.67, classes=K).transition(KEY)
    assert ((sparse > 0).sum(axis=1) == 2).all()
    even = label.ClassConditional(rate=0.3, spread=0.0, classes=K).transition(KEY)
    np.testing.assert_allclose(np.diag(even), 0.7, atol=1e-6)


def test_feature_margin_mistakes_the_hardest_for_the_nearest(data, observed):
    noise, result = observed["FeatureMargin", 0.2]
    hard = label.difficulty(data.x, data.y)
    p = np.asarray(result.probability)
    assert (np.diff(p[np.argsort(hard)]) >= -1e-6).all() and abs(hard.mean() - 0.5) < 1e-6
    z = data.x.reshape(N, D)
    z = (z - z.mean(axis=0)) / z.std(axis=0)
    centroids = np.stack([z[data.y == k].mean(axis=0) for k in range(K)])
    d = np.linalg.norm(z[:, None] - centroids[None], axis=2)
    d[np.arange(N), data.y] = np.inf
    wrong = np.asarray(result.wrong)
    np.testing.assert_array_equal(np.asarray(result.labels)[wrong], d.argmin(axis=1)[wrong])


def test_one_annotator_for_each_item(data, observed):
    """Shares of the items and errors of each annotator in their binomial bands, 99.9 % family-wise."""
    noise, result = observed["OneAnnotator", 0.45]
    who, when, wrong = (np.asarray(a) for a in (result.annotator, result.when, result.wrong))
    rates, tail = np.asarray(noise.error_rates(KEY), np.float64), 0.001 / 16
    assert abs(rates.mean() - 0.45) < 1e-6 and rates.std() > 0.1
    for a in range(4):
        mine = who == a
        for seen, n, p in ((mine.sum(), N, 0.25), (wrong[mine].sum(), mine.sum(), rates[a])):
            low, high = binom.ppf([tail, 1 - tail], n, p)
            assert low <= seen <= high
        np.testing.assert_array_equal(np.sort(when[mine]), np.arange(mine.sum()))
        assert abs(np.corrcoef(when[mine], np.flatnonzero(mine))[0, 1]) < 5 / np.sqrt(mine.sum())
        np.testing.assert_allclose(np.asarray(result.probability)[mine], rates[a], atol=1e-6)
    back = noise(KEY, data.y[::-1], data.x[::-1], ids=data.ids[::-1])  # the same job, handed over in another order
    np.testing.assert_array_equal(np.asarray(back.when)[::-1], when)
    np.testing.assert_array_equal(observed["OneAnnotator", 0.05][1].annotator, who)


@pytest.mark.parametrize(("voters", "classes"), [(1, 3), (2, 2), (3, 4), (4, 3), (5, 2), (6, 3)])
def test_majority_of_a_crowd_by_counting_all_votes(voters, classes):
    errors = np.float32([0, 0.01, 0.3, 0.6, 1])
    expected = np.zeros(len(errors))
    for votes in itertools.product(range(classes), repeat=voters):
        counts = np.bincount(votes, minlength=classes)
        right = counts[0]
        p = (1.0 - errors) ** right * (errors / (classes - 1.0)) ** (voters - right)
        wins = (counts[0] == counts.max()) / (counts == counts.max()).sum()
        expected += p * (1 - wins)
    found = label.CrowdMajority(error=errors, voters=voters, classes=classes).effective_rate()
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    assert found[0] == 0 and found[-1] == 1


def test_majority_of_two_classes_needs_an_odd_number_and_a_good_half():
    shares = win_shares(500, 1000)
    assert np.isfinite(shares).all() and (np.diff(shares) >= -1e-12).all()
    rate = {
        m: label.CrowdMajority(error=np.float32([0.3, 0.5]), voters=m, classes=2).effective_rate() for m in (4, 5, 6)
    }
    np.testing.assert_allclose(rate[6], rate[5], rtol=1e-6)
    np.testing.assert_allclose(rate[5], [binom.cdf(2, 5, 0.7), 0.5], rtol=1e-6)
    assert rate[5][0] < rate[4][0]


def test_relabel_says_who_wrote_each_label(data, observed):
    _, result = observed["OneAnnotator", 0.45]
    noisy = label.relabel(data, result)
    np.testing.assert_array_equal(noisy.groups["annotator"], result.annotator)
    rates = [
        np.mean(noisy.y[noisy.groups["annotator"] == a] != data.y[noisy.groups["annotator"] == a]) for a in range(4)
    ]
    assert np.ptp(rates) > 0.2
    assert "annotator" not in label.relabel(data, observed["PairFlip", 0.45][1]).groups


def test_relabel_keeps_the_truth_beside(data, observed):
    _, result = observed["Symmetric", 0.2]
    noisy = label.relabel(data, result)
    np.testing.assert_array_equal(noisy.y, result.labels)
    np.testing.assert_array_equal(noisy.groups["true_label"], data.y)
    np.testing.assert_array_equal(noisy.ids, data.ids)
    with pytest.raises(ArgumentError, match="not the data's"):
        label.relabel(data.take(np.arange(N)[::-1]), result)
    with pytest.raises(ArgumentError, match="relabelled before|not the data's"):
        label.relabel(noisy, result)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: label.PairFlip(rate=1.2), "`rate`: got 1.2"),
        (lambda: label.Symmetric(rate=np.nan), "`rate`: got nan"),
        (lambda: label.Transition(matrix=[[0.5, 0.4], [0, 1]]), "row 0 sums to 0.9"),
        (lambda: label.Transition(matrix=[[1.5, -0.5], [0, 1]]), "an entry 1.5"),
        (lambda: label.Transition(matrix=[[0.5, 0.5]]), "square"),
        (lambda: label.Transition(matrix=MATRIX).fit(np.zeros((2, 1)), np.arange(2), 3), "for 3 classes"),
        (lambda: label.ClassConditional(rate=0.1, sparsity=1.0), "below 1"),
        (lambda: label.ClassConditional(rate=0.1, classes=3).transition(), "`key`: got None"),
        (lambda: label.PartDependent(rate=0.1, spread=0.0), "`spread`: got 0"),
        (lambda: label.PartDependent(rate=0.1, classes=2)(KEY, [0, 1]), "`x`: got None"),
        (lambda: label.PartDependent(rate=0.1, classes=2)(KEY, [0, 1], [[np.nan], [0.0]]), "1 examples with NaN"),
        (lambda: label.InstanceDependent(rate=0.1, classes=2)(KEY, [0, 1], [[1.0], [0.0]]), "before fit"),
        (lambda: label.FeatureMargin(rate=0.1).fit(np.eye(2), np.zeros(2, int), 2), "no example of class 1"),
        (lambda: label.FeatureMargin(rate=0.1).fit(np.ones((4, 2)), np.arange(4) % 2, 2), "all constant"),
        (lambda: label.OneAnnotator(rate=0.1, annotators=0), "`annotators`: got 0"),
        (lambda: label.OneAnnotator(rate=0.1, classes=2).transition(KEY), "`y`: got None"),
        (lambda: label.CrowdMajority(error=1.5), "`error`: got 1.5"),
        (lambda: label.CrowdMajority(error=0.1, voters=501), "`voters`: got 501"),
        (lambda: label.CrowdMajority(error=0.1).effective_rate(), "2 or more"),
        (lambda: label.PairFlip(rate=0.1, classes=2)(KEY, [0, 2]), "a class in 0..1"),
        (lambda: label.PairFlip(rate=0.1)(KEY, [0, 1]), "2 or more"),
    ],
)
def test_bad_input_is_refused_in_words(make, message):
    with pytest.raises(ArgumentError, match=message.replace("(", r"\(")):
        make()


@pytest.mark.parametrize("key", [0, None, np.zeros(2, np.uint32), jax.random.split(KEY, 2)], ids=str)
def test_what_is_no_key_is_refused_at_the_door(key):
    y, noise = np.arange(8) % K, label.Symmetric(rate=0.1, classes=K)
    crowd, vote = label.Crowd.of_accuracy([0.9, 0.8], classes=K), label.CrowdVote(rate=0.2, classes=K)
    one = label.OneAnnotator(rate=0.2, classes=K)
    for call in (noise, noise.votes, crowd, vote.votes, vote.transition, one.votes, one.transition):
        with pytest.raises(ArgumentError, match="key"):
            call(key, y)
