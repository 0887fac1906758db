"""Samples and streams: their distributions, their coupling, what is true of them."""

import jax
import numpy as np
import pytest
import scipy.stats

from sensijax import drift
from sensijax.core import ArgumentError, Dataset
from sensijax.drift import Gradual, Incremental, Recurring, Sudden

KEY = jax.random.key(11)
RNG = np.random.default_rng(84)
DATA = Dataset(RNG.normal(size=(60, 2)).astype(np.float32), np.repeat([0, 1, 2], [30, 20, 10]))
PRIOR = drift.PriorShift(1.0, target=(0.1, 0.2, 0.7))
T = 4000


def test_a_sample_has_the_weights():
    shifted = drift.shift(PRIOR, KEY, DATA)
    counts = np.bincount(drift.resample(KEY, shifted, T), minlength=60)
    w = shifted.weights.astype(np.float64)
    # Chi-squared with 59 degrees of freedom; refused one time in 1000 for a sampler that is right.
    assert scipy.stats.chisquare(counts, T * w / w.sum()).pvalue > 1e-3


def test_two_samples_of_one_key_differ_as_seldom_as_they_can():
    plain = drift.resample(KEY, drift.shift(drift.PriorShift(0.0), KEY, DATA), T)
    before = np.zeros(T, bool)
    for strength in (0.3, 0.6, 1.0):
        shifted = drift.shift(drift.PriorShift(strength, target=PRIOR.target), KEY, DATA)
        other = drift.resample(KEY, shifted, T) != plain
        variation = 0.5 * np.abs(shifted.weights - 1).mean()
        assert abs(other.mean() - variation) < 4 * np.sqrt(variation / T)
        assert not (before & ~other).any()  # nested
        before = other


def test_a_draw_depends_neither_on_their_number_nor_on_the_order():
    shifted = drift.shift(PRIOR, KEY, DATA)
    long = drift.resample(KEY, shifted, 5000)
    np.testing.assert_array_equal(drift.resample(KEY, shifted, 100), long[:100])
    turned = DATA.take(RNG.permutation(60))
    again = drift.shift(PRIOR, KEY, turned)
    np.testing.assert_array_equal(again.ids[drift.resample(KEY, again, 100)], DATA.ids[long[:100]])


def test_a_stream_is_the_uniform_sample_before_and_the_shifted_after():
    drawn = drift.stream(KEY, DATA, PRIOR, Sudden(at=2000), T)
    plain = drift.resample(KEY, drift.shift(drift.PriorShift(0.0), KEY, DATA), T)
    after = drift.resample(KEY, drift.shift(PRIOR, KEY, DATA), T)
    np.testing.assert_array_equal(drawn.positions[:2000], plain[:2000])
    np.testing.assert_array_equal(drawn.positions[2000:], after[2000:])
    assert drawn.changes == (drift.Change(2000, 2000, "sudden", "PriorShift", 0.0, 1.0),)
    np.testing.assert_array_equal(drawn.y, DATA.y[drawn.positions])


def test_a_gradual_change_is_a_mixture_and_an_incremental_one_a_ramp():
    drawn = drift.stream(KEY, DATA, PRIOR, Gradual(start=0, width=T), T)
    half = drawn.strength
    for strength, shares in ((0.0, (1 / 2, 1 / 3, 1 / 6)), (1.0, PRIOR.target)):  # each component as it is alone
        counts = np.bincount(drawn.y[half == strength], minlength=3)
        assert scipy.stats.chisquare(counts, counts.sum() * np.array(shares)).pvalue > 1e-3
    assert set(half.tolist()) == {0.0, 1.0}
    first, last = half[: T // 4].mean(), half[-T // 4 :].mean()  # 1/8 and 7/8, four standard errors 0.042
    assert abs(first - 0.125) < 0.045 and abs(last - 0.875) < 0.045
    ramp = drift.stream(KEY, DATA, PRIOR, Incremental(start=10, width=20), 40).strength
    assert (np.diff(ramp) >= 0).all() and ramp[9] == 0 and 0 < ramp[10] < 0.1 and (ramp[30:] == 1).all()


def test_a_recurring_one_is_logged_both_ways():
    schedule = Recurring(period=10, duty=0.3, start=5)
    strength = schedule(np.arange(30))
    steps = np.flatnonzero(np.diff(strength)) + 1
    assert steps.tolist() == [5, 8, 15, 18, 25, 28]
    assert [e.at for e in schedule.events(30)] == steps.tolist()
    assert all(strength[e.at] == e.after and strength[e.at - 1] == e.before for e in schedule.events(30))


def test_a_schedule_goes_from_level_to_level():
    schedule = Sudden(5, to=0.5) >> Incremental(10, 4) >> Gradual(20, 5, to=0.0)
    level = schedule(np.arange(30))
    assert level[[4, 5, 9, 14, 19, 25, 29]].tolist() == [0, 0.5, 0.5, 1, 1, 0, 0]
    assert [(e.kind, e.before, e.after) for e in schedule.events(30)] == [
        ("sudden", 0.0, 0.5),
        ("incremental", 0.5, 1.0),
        ("gradual", 1.0, 0.0),
    ]
    assert len(schedule.events(15)) == 2
    with pytest.raises(ArgumentError, match="after"):
        Gradual(5, 10) >> Sudden(12)
    with pytest.raises(ArgumentError, match="ends at inf"):
        Recurring(4) >> Sudden(100)


def test_inputs_do_not_depend_on_the_windows():
    drawn = drift.stream(KEY, DATA, drift.MissingFeatures(1.0, fill=9.0), Incremental(10, 60), 90)
    whole = drawn.x()
    assert whole[:10].tobytes() == DATA.x[drawn.positions[:10]].tobytes()
    assert (whole[70:] == 9).all() and 0.2 < (whole[10:70] == 9).mean() < 0.8
    windows = list(drawn.batches(32))
    assert [len(w.t) for w in windows] == [32, 32, 26]
    assert np.concatenate([w.x for w in windows]).tobytes() == whole.tobytes()
    assert np.concatenate([w.t for w in windows]).tolist() == list(range(90))


def test_an_example_has_one_name_at_one_strength():
    drawn = drift.stream(KEY, DATA, drift.ConceptShift(0.5), Sudden(100), 500)
    concept = drift.shift(drift.ConceptShift(0.5), KEY, DATA).y
    np.testing.assert_array_equal(drawn.y[100:], concept[drawn.positions[100:]])
    np.testing.assert_array_equal(drawn.y[:100], DATA.y[drawn.positions[:100]])


REFUSED = {
    "length": lambda: drift.stream(KEY, DATA, PRIOR, Sudden(1), 0),
    "strength": lambda: drift.stream(KEY, DATA, PRIOR, Sudden(1, to=2.0), 5),
    "n": lambda: drift.resample(KEY, drift.shift(PRIOR, KEY, DATA), 0),
    "at": lambda: Sudden(-1),
    "width": lambda: Gradual(1, 0),
    "duty": lambda: Recurring(4, duty=1.0),
    "size": lambda: next(drift.stream(KEY, DATA, PRIOR, Sudden(1), 5).batches(0)),
}


@pytest.mark.parametrize("argument", REFUSED)
def test_refused_at_the_door(argument):
    with pytest.raises(ArgumentError) as error:
        REFUSED[argument]()
    assert error.value.argument == argument


@pytest.mark.parametrize("key", [0, np.zeros(2, np.uint32)], ids=["number", "words"])
def test_what_is_no_key_is_refused_at_the_door(key):
    data = Dataset(np.zeros((6, 1), np.float32), np.arange(6) % 2)
    some = drift.PriorShift(strength=1.0, target=(0.2, 0.8))
    shifted = drift.shift(some, jax.random.key(0), data)
    for call in (
        lambda: drift.stream(key, data, some, drift.Sudden(at=2), 5),
        lambda: drift.shift(some, key, data),
        lambda: drift.resample(key, shifted, 3),
    ):
        with pytest.raises(ArgumentError, match="typed key"):
            call()
