"""Windows, thresholds for an expected run time, and the judgement of alarms."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Int32
from scipy import stats

from sensijax.core import ArgumentError
from sensijax.core.struct import static
from sensijax.drift import detect
from sensijax.drift.detect.online._calibrate import _simulate
from sensijax.drift.detect.online._detector import say
from sensijax.drift.detect.online.kswin import _p_values

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "river.npz")


class Drawn(detect.KSWIN):
    """KSWIN with draws out of a table."""

    table: Int32[Array, "t latest"] = None  # type: ignore[assignment]

    def draw(self, state):
        return self.table[state.n]


def test_kswin_with_river_s_draws_alarms_as_river():
    """river empties the window after an alarm and seeds its generator anew: the table is given from there on."""
    stream, draws = GOLDEN["real"], GOLDEN["kswin_real_draws"].astype(np.int32)
    alarms, start = [], 0
    while start < len(stream):
        rest = np.zeros_like(draws)
        rest[: len(draws) - start] = draws[start:]
        padded = np.concatenate([stream[start:], np.zeros(start, np.float32)])
        found = detect.run(Drawn(table=jnp.asarray(rest)), padded, key=jax.random.key(0)).alarms  # type: ignore[call-arg]
        found = found[found < len(stream) - start]
        if not len(found):
            break
        alarms.append(start + int(found[0]))
        start = alarms[-1] + 1
    assert alarms == GOLDEN["kswin_real"].tolist() and len(alarms) == 5


def test_kswin_keeps_its_latest_values_and_its_draws_are_addressed():
    stream = np.random.default_rng(3).normal(size=(2, 400)) + np.repeat([0, 3], 200)
    both = detect.run(detect.KSWIN(), stream, key=jax.random.key(1))
    alone = detect.run(detect.KSWIN(), stream[0], key=jax.random.key(1))
    np.testing.assert_array_equal(both.drift[0], alone.drift)
    first = alone.alarms[0]
    assert 203 <= first <= 230 and alone.width is not None and alone.width[first] == 30
    assert alone.width[first + 1] == 31
    other = detect.run(detect.KSWIN(), stream, key=jax.random.key(2))
    assert (other.statistic != both.statistic).any()


def test_p_values_of_kswin_are_exact():
    for n in (2, 30):
        x, expected = np.arange(n), []
        for h in range(2, n + 1):  # h of the second sample lie above all of the first, the others are shuffled in
            y = np.concatenate([x[: n - h] + 0.5, n + np.arange(h)]) if h < n else x + n
            found = stats.ks_2samp(x, y, method="exact")
            expected.append((round(found.statistic * n), found.pvalue))
        for h, p in expected:
            assert _p_values(n)[h] == pytest.approx(p, rel=1e-5)
        assert len(expected) == n - 1 and _p_values(n)[0] == 1


@pytest.fixture(scope="module")
def reference():
    return np.random.default_rng(11).normal(size=(2000, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def mmd(reference):
    return detect.calibrate(jax.random.key(0), detect.OnlineMMD(window=10), reference, ert=150, streams=512)


def test_online_mmd_is_the_unbiased_estimate(reference, mmd):
    stream = np.random.default_rng(5).normal(size=(12, 2)).astype(np.float32) + np.float32(10)
    detector = detect.OnlineMMD(window=10, bandwidth=1.5).fit(reference + np.float32(10))  # offsets cost no digits
    x, y = (reference + np.float32(10)).astype(np.float64), stream[-10:].astype(np.float64)

    def kernel(a, b):
        return np.exp(-np.square(a[:, None] - b[None]).sum(-1) / (2 * 1.5**2))

    xx, yy = kernel(x, x), kernel(y, y)
    expected = (xx.sum() - 2000) / (2000 * 1999) + (yy.sum() - 10) / 90 - 2 * kernel(x, y).mean()
    found = detect.run(detector, stream)
    assert found.statistic is not None and found.statistic[-1] == pytest.approx(expected, abs=2e-6)
    assert not found.statistic[:9].any()


def test_a_replayed_window_is_compared_with_the_rest_of_the_reference():
    x = np.random.default_rng(2).normal(size=(60, 2)).astype(np.float32)
    detector = detect.OnlineMMD(window=6, bandwidth=1.5).fit(x)
    prepared, state, order = jax.jit(detector.prepare)(x), detector.init(), np.random.default_rng(3).permutation(60)
    replay = jax.jit(detector.replay)
    for row in order[:8]:
        state, info = replay(state, jnp.asarray(x[row]), prepared[row])
    rest = detect.OnlineMMD(window=6, bandwidth=1.5).fit(np.delete(x, order[2:8], axis=0))
    found = detect.run(rest, x[order[2:8]]).statistic
    assert found is not None and float(info.statistic) == pytest.approx(found[-1], abs=1e-6)


class Echo(detect.Detector):
    """Its statistic is the value; a window of five, in which no row may come twice."""

    window: int = static(default=5)
    distinct = True

    def init(self, key=None):
        return jnp.int32(0)

    def update(self, state, value):
        return state, say(value < 0, value, state)


def test_rows_are_drawn_evenly_and_not_twice_within_a_window():
    """Of 10 rows, 400 streams of 30: each about 1,200 times, a band of 4 binomial standard errors; any after any."""
    rows = np.asarray(_simulate(Echo(), jax.random.key(4), jnp.arange(10.0), 30, 400)).T  # type: ignore[call-arg]
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(rows, 5, axis=1), axis=2)
    assert (np.diff(windows, axis=2) > 0).all()
    for place in (0, 4, 29):
        counts = np.bincount(rows[:, place].astype(int), minlength=10)
        assert (np.abs(counts - 40) < 4 * np.sqrt(400 * 0.09)).all()
    after = np.bincount(((rows[:, 5:] - rows[:, :-5]) % 10).astype(int).ravel(), minlength=10)
    assert (np.abs(after[1:] / after.sum() - after[1:].mean() / after.sum()) < 0.02).all() and after[0] > 0


def test_online_mmd_has_the_run_time_that_was_asked_for(mmd):
    """Twice 512 streams: the standard error of the ratio is about 6 %; the band is 4 of them."""
    assert mmd.run_length == pytest.approx(150, rel=4 * np.sqrt(2) * mmd.standard_error / mmd.run_length)
    assert 0.03 < mmd.standard_error / mmd.run_length < 0.06


def test_and_has_it_on_new_data(mmd):
    """About 770 alarms, so 4 % of standard error, 5 % of the threshold's own; the band is 4 of both."""
    new = np.random.default_rng(12).normal(size=(256, 450, 2)).astype(np.float32)
    assert new[..., 0].size / detect.run(mmd.detector, new).drift.sum() == pytest.approx(150, rel=0.25)
    shifted = detect.run(mmd.detector, new + np.float32(1.5)).drift
    assert shifted.argmax(axis=1).mean() < 15


def test_a_calibrated_cusum_has_the_threshold_of_the_textbook():
    """h = 4 has 168 (Montgomery). 512 streams know the run time to 4.5 %, and it grows by 2.6 in a unit of h."""
    reference = np.random.default_rng(1).normal(loc=50, scale=3, size=40_000)
    found = detect.calibrate(jax.random.key(3), detect.CUSUM(), reference, ert=168, streams=512)
    assert found.threshold == pytest.approx(4.0, abs=0.2)
    assert found.run_length == pytest.approx(168, rel=0.25)
    assert float(found.detector.mean) == pytest.approx(50, abs=0.06)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"detector": detect.ADWIN()}, "CUSUM, PageHinkley, OnlineMMD"),
        ({"reference": np.ones(100)}, "constant values"),
        ({"reference": np.r_[np.nan, np.arange(100)]}, "1 values that are no numbers"),
        ({"reference": np.arange(5.0)}, "N >= 20"),
        ({"ert": 5}, "above 10"),
        ({"streams": 3}, "`streams`"),
        ({"key": 3}, "`key`"),
        ({"detector": detect.OnlineMMD(window=20), "reference": np.zeros((30, 2)) + np.arange(30)[:, None]}, "N >= 40"),
    ],
    ids=range(8),
)
def test_what_cannot_be_calibrated_is_refused(change, words):
    given = {"detector": detect.CUSUM(), "reference": np.arange(100.0), "ert": 100} | change
    with pytest.raises(ArgumentError, match=words):
        detect.calibrate(given.pop("key", jax.random.key(0)), given.pop("detector"), given.pop("reference"), **given)


def test_streams_shorter_than_a_window_are_refused(reference):
    with pytest.raises(ArgumentError, match="at least the 100 of the window"):
        detect.run(detect.KSWIN(), np.zeros(99), key=jax.random.key(0))
    with pytest.raises(ArgumentError, match="draws at random"):
        detect.run(detect.KSWIN(), np.zeros(100))
    detector = detect.OnlineMMD(window=10, bandwidth=1.0).fit(reference[:50])
    with pytest.raises(ArgumentError, match="at least the 10 of the window"):
        detect.run(detector, np.zeros((9, 2)))
    with pytest.raises(ArgumentError, match="3 features"):
        detect.run(detector, np.zeros((20, 3)))
    with pytest.raises(ArgumentError, match="fit"):
        detect.run(detect.OnlineMMD(), np.zeros((20, 3)))


def fired(*at, length=1000):
    drift = np.zeros(length, bool)
    drift[list(at)] = True
    return drift


def test_alarms_are_counted_by_episode():
    found = detect.evaluate(fired(10, 205, 210, 420, 990), [200, 400, 600], horizon=50)
    assert (found.found, found.missed, found.repeats, found.false_alarms, found.quiet) == (2, 1, 1, 2, 850)
    assert (found.mean_delay, found.median_delay) == (12.5, 12.5)
    assert found.recall == pytest.approx(2 / 3) and found.false_per_10k == pytest.approx(2e4 / 850)
    assert found.time_between_false_alarms == 425 and found.f1 == pytest.approx(4 / 7)
    assert found.chance == pytest.approx(1 - (1 - 2 / 850) ** 50)  # alarms that come as often as the false ones


def test_firing_always_looks_good_only_where_nobody_looks_at_false_alarms():
    found = detect.evaluate(np.stack([fired(), fired(510)]), [[500], [500]], horizon=100)
    always, never = found.baselines["always"], found.baselines["never"]
    assert found.recall == 0.5 and always.recall == 1.0 == always.chance and never.recall == 0 == never.chance
    assert always.mean_delay == 0 and always.false_per_10k == 1e4 and always.time_between_false_alarms == 1
    assert never.false_alarms == 0 and np.isnan(never.mean_delay) and never.time_between_false_alarms == np.inf


def test_what_is_ignored_counts_neither_way():
    left_out = np.zeros(1000, bool)
    left_out[[*range(300, 400), *range(420, 430), *range(700, 1000)]] = True
    found = detect.evaluate(fired(10, 310, 425, 440, 450, 720), [300, 405], horizon=100, ignore=left_out)
    assert (found.changes, found.found, found.alarms, found.repeats, found.false_alarms) == (2, 1, 3, 1, 1)
    assert found.mean_delay == 35 and found.quiet == 500  # 0..299, 400..404, 505..699
    always = found.baselines["always"]
    assert (always.alarms, always.false_alarms, always.quiet) == (590, 500, 500)
    assert detect.evaluate(fired(10, 440), [405], ignore=~fired()).alarms == 0
    assert repr(detect.evaluate(fired(9), [405], ignore=fired())) == repr(detect.evaluate(fired(9), [405]))


def test_a_stream_without_changes_has_no_recall():
    found = detect.evaluate(fired(3), [])
    assert np.isnan(found.recall) and found.false_per_10k == 10 and found.quiet == 1000


@pytest.mark.parametrize(
    ("alarms", "changes", "options", "words"),
    [
        (fired(), [1000], {}, r"0\.\.999"),
        (fired(), [5, 5], {}, "indices that rise"),
        (fired(), [[1], [2]], {}, "2 streams"),
        (fired(), [5], {"horizon": 0}, "`horizon`"),
        (fired(), [5], {"horizon": np.nan}, "`horizon`"),
        (fired(), [5], {"horizon": "all"}, "`horizon`"),
        (np.zeros(5), [1], {}, "booleans"),
        (fired(), [5], {"ignore": np.zeros(999, bool)}, "`ignore`"),
    ],
)
def test_alarms_that_cannot_be_judged_are_refused(alarms, changes, options, words):
    with pytest.raises(ArgumentError, match=words):
        detect.evaluate(alarms, changes, **options)
