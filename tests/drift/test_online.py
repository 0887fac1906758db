"""Online detectors: river's alarms to the index, one by one or in one program, refusals at the door."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.drift import detect
from sensijax.drift.detect.online import _run

GOLDEN = np.load(pathlib.Path(__file__).parents[1] / "golden" / "river.npz")
NAMES = ("integers", "binary", "real")
STREAMS = np.stack([GOLDEN[name] for name in NAMES]).astype(np.float32)
BINARY = GOLDEN["binary"]
FIELDS = ("drift", "warning", "statistic", "width")
ROWS = 10  # 5,115 values
PUBLISHED = detect.ADWIN(shorter=0.0, rows=ROWS)
OF_BITS = {
    "ddm": detect.DDM(),
    "eddm": detect.EDDM(),
    "hddm_a": detect.HDDM_A(),
    "hddm_w": detect.HDDM_W(),
    "hddm_a_two": detect.HDDM_A(two_sided=True),
    "hddm_w_two": detect.HDDM_W(two_sided=True),
}


def in_two_pieces(detector, restart=None):
    """The whole stream in halves, which meet in the middle of a clock."""
    first = detect.run(detector, STREAMS[:, :2000], restart=restart)
    second = detect.run(detector, STREAMS[:, 2000:], restart=restart, state=first.state)
    both = {f: np.concatenate([getattr(first, f), getattr(second, f)], axis=1) for f in FIELDS}
    return detect.Alarms(**both, state=second.state)


@pytest.fixture(scope="module")
def adwin():
    """As river has it: each part counted 4 values shorter, an empty window after an alarm."""
    return in_two_pieces(detect.ADWIN(shorter=4.0, rows=ROWS), restart=True)


@pytest.fixture(scope="module")
def published():
    return in_two_pieces(PUBLISHED)


@pytest.fixture(scope="module")
def page_hinkley():
    return detect.run(detect.PageHinkley(), STREAMS)


def test_adwin_s_alarms_are_river_s(adwin):
    assert [a.alarms.tolist() for a in adwin] == [GOLDEN[f"adwin_{name}"].tolist() for name in NAMES]
    assert adwin.drift[0].argmax() == 1023


def test_page_hinkley_s_alarms_are_river_s(page_hinkley):
    assert [a.alarms.tolist() for a in page_hinkley] == [GOLDEN[f"page_hinkley_{name}"].tolist() for name in NAMES]


def test_page_s_own_test_without_forgetting_alarms_as_river_s():
    up = detect.PageHinkley(threshold=20.0, delta=0.05, forgetting=1.0, minimum=10, side="up")
    found = detect.run(up, STREAMS)
    assert [a.alarms.tolist() for a in found] == [GOLDEN[f"page_hinkley_up_{name}"].tolist() for name in NAMES]


@pytest.mark.parametrize("name", OF_BITS)
def test_detectors_of_errors_alarm_and_warn_as_river_s(name):
    found = detect.run(OF_BITS[name], BINARY)
    assert found.alarms.tolist() == GOLDEN[f"{name}_binary"].tolist()
    assert found.warnings.tolist() == GOLDEN[f"{name}_binary_warnings"].tolist()


def test_the_bound_is_the_published_one():
    golden = json.loads((pathlib.Path(__file__).parents[1] / "golden/statistics.json").read_text())
    given = golden["adwin"]["epsilon_cut"]
    found = detect.epsilon_cut(given["n0"], given["n1"], given["variance"], given["delta"])
    assert float(found) == pytest.approx(given["value"], abs=5e-6)


def plain_adwin(values, delta=0.002, shorter=0, clock=32, most=5):
    """ADWIN with lists, in float64: buckets (n, sum, squared deviations), the oldest first in each row."""
    rows, alarms, widths = [[]], [], []
    for t, value in enumerate(values):
        rows[0].append((1, float(value), 0.0))
        for r, row in enumerate(rows):
            if len(row) <= most:
                break
            (n, u, v), (_, u2, v2) = row.pop(0), row.pop(0)
            if r + 1 == len(rows):
                rows.append([])
            rows[r + 1].append((2 * n, u + u2, v + v2 + (u - u2) ** 2 / (2 * n)))
        buckets = [b for row in reversed(rows) for b in row]
        fired = False
        while (t + 1) % clock == 0:
            n, u = np.array([b[0] for b in buckets]), np.array([b[1] for b in buckets])
            width, mean = n.sum(), u.sum() / n.sum()
            if not fired and width <= 10:
                break
            variance = (sum(b[2] for b in buckets) + (n * (u / n - mean) ** 2).sum()) / width
            n0, u0 = n.cumsum()[:-1], u.cumsum()[:-1]
            n1, u1 = width - n0, u.sum() - u0
            allowed = (n0 >= 5) & (n1 >= 5)
            n0, n1, u0, u1 = n0[allowed], n1[allowed], u0[allowed], u1[allowed]
            inverse, confidence = 1 / (n0 - shorter) + 1 / (n1 - shorter), np.log(2 * np.log(width) / delta)
            epsilon = np.sqrt(2 * inverse * variance * confidence) + 2 / 3 * confidence * inverse
            if not (np.abs(u0 / n0 - u1 / n1) > epsilon).any():
                break
            fired = True
            oldest = next(row for row in reversed(rows) if row)
            oldest.pop(0)
            buckets.pop(0)
        alarms += [t] if fired else []
        widths.append(sum(b[0] for b in buckets))
    return alarms, widths


def test_adwin_as_published_goes_on_with_the_shortened_window(published):
    for stream, one in zip(STREAMS, published, strict=True):
        alarms, widths = plain_adwin(stream)
        assert one.alarms.tolist() == alarms and len(alarms) > 3
        assert one.width.tolist() == widths


def test_a_state_from_elsewhere_is_refused(adwin):
    with pytest.raises(ArgumentError, match="`state`"):
        detect.run(PUBLISHED, STREAMS[:2, :2000], state=adwin.state)
    torn = jax.tree.map(lambda leaf: leaf, adwin.state)
    torn = type(torn)(torn.mean, torn.squares, torn.count, torn.tick + jnp.arange(3))
    with pytest.raises(ArgumentError, match="different places of the clock"):
        detect.run(PUBLISHED, STREAMS[:, :2000], state=torn)


def test_value_by_value_is_the_whole_stream(published):
    """`update`, which many may call on their own, and `run`, which takes ADWIN's values 32 at a time."""
    detector = PUBLISHED
    _, info = jax.lax.scan(detector.update, detector.init(), jnp.asarray(STREAMS[2, :1200]))
    whole = published
    assert np.flatnonzero(info.drift).tolist() == np.flatnonzero(whole.drift[2, :1200]).tolist() == [1119, 1151]
    np.testing.assert_array_equal(info.width, whole.width[2, :1200])
    np.testing.assert_allclose(info.statistic, whole.statistic[2, :1200], rtol=1e-4)


def test_a_stream_does_not_depend_on_the_others(adwin):
    detector = detect.ADWIN(shorter=4.0, rows=ROWS)
    turned = detect.run(detector, STREAMS[::-1, :2000], restart=True)
    np.testing.assert_array_equal(turned.drift[::-1], adwin.drift[:, :2000])


def test_the_change_is_dated(published):
    assert np.abs(np.array([list(published)[0].changes[i] for i in (1, 3, 5)]) - [1000, 2000, 3000]).max() <= 40
    hddm = detect.run(OF_BITS["hddm_a_two"], BINARY)
    assert np.abs(hddm.changes - [1000, 2000, 3000]).max() <= 200


def test_run_lengths_of_cusum_are_those_of_the_textbook():
    """Montgomery, table of ARL for k = 1/2: 168 (h = 4) and 465 (h = 5) in control; 8.38 and 10.4 at one deviation.

    The standard error of a mean run length is about its size over the root of the number of alarms; the bands are 4.
    """
    z = np.random.default_rng(7).normal(size=(256, 4000)).astype(np.float32)
    for threshold, shift, published in ((4.0, 0.0, 168.0), (5.0, 0.0, 465.0), (4.0, 1.0, 8.38), (5.0, 1.0, 10.4)):
        drift = detect.run(detect.CUSUM(threshold=threshold), z + np.float32(shift)).drift
        alarms = drift.sum()
        mean = drift.size / alarms
        assert mean == pytest.approx(published, rel=4 / np.sqrt(alarms) + 0.01)


def test_a_mean_far_from_zero_costs_no_digits():
    """A million values around 1: a plain float32 sum is off by some tenths in the third digit."""
    from sensijax.drift.detect.online._sums import add, no_values

    values = (1 + np.random.default_rng(0).random(2**20) / 8).astype(np.float32)
    mean, _ = jax.jit(lambda v: jax.lax.scan(lambda m, x: (add(m, x), None), no_values(), v))(values)
    assert float(mean.value) == pytest.approx(values.astype(np.float64).mean(), rel=2e-7)


BAD = [
    (detect.ADWIN(), [0.0, np.nan], r"nan at \[1\]"),
    (detect.ADWIN(), [[0.0, 1.0], [np.inf, 0.0]], r"inf at \[1, 0\]"),
    (detect.ADWIN(), [1e39], "1e"),
    (detect.ADWIN(), [], r"\[0\]"),
    (detect.ADWIN(), ["a"], "<U1"),
    (detect.ADWIN(), np.zeros((1, 1, 1)), r"\[T\] or \[S, T\]"),
    (detect.DDM(), [0, 1, 2], "0 and 1 only: DDM watches errors"),
    (detect.EDDM(), [0.0, 0.5], "0 and 1 only"),
    (detect.HDDM_A(), [0.0, 1.5], r"values in \[0, 1\]"),
]


@pytest.mark.parametrize(("detector", "stream", "words"), BAD, ids=range(len(BAD)))
def test_a_stream_that_cannot_be_watched_is_refused(detector, stream, words):
    with pytest.raises(ArgumentError, match=words):
        detect.run(detector, stream)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: detect.ADWIN(delta=0.0), "`delta`"),
        (lambda: detect.ADWIN(shorter=5.0), "`shorter`"),
        (lambda: detect.ADWIN(clock=0), "`clock`"),
        (lambda: detect.ADWIN(rows=40), "`rows`"),
        (lambda: detect.PageHinkley(threshold=np.array([1.0, -1.0])), "`threshold`: got -1"),
        (lambda: detect.PageHinkley(side="left"), "`side`"),
        (lambda: detect.CUSUM(deviation=0.0), "`deviation`"),
        (lambda: detect.CUSUM().fit(np.ones(9, np.float32)), "constant values"),
        (lambda: detect.EDDM(drift=0.9, warning=0.8), "`warning`"),
        (lambda: detect.HDDM_W(weight=2.0), "`weight`"),
        (lambda: detect.epsilon_cut(0, 5, 0.1, 0.002), "`n0`"),
        (lambda: detect.epsilon_cut(5, 5, -0.1, 0.002), "`variance`"),
        (lambda: detect.run(detect.KSWIN(), np.zeros(200), key=3), "`key`"),
    ],
)
def test_parameters_out_of_range_are_refused(make, words):
    with pytest.raises(ArgumentError, match=words):
        make()


def test_constant_streams_never_alarm():
    ones = np.ones((3, 4000), np.float32)
    assert not detect.run(PUBLISHED, ones[:, :2000]).drift.any()
    assert not detect.run(detect.PageHinkley(), ones).drift.any()
    for detector in (OF_BITS[name] for name in ("ddm", "eddm", "hddm_a", "hddm_w")):
        assert not detect.run(detector, ones[0]).drift.any()
        assert not detect.run(detector, ones[0] * 0).drift.any()


def test_groups_of_streams_say_what_all_at_once_say(monkeypatch):
    """On a CPU streams are stepped in groups; the last goes over streams of the one before again."""
    values = np.random.default_rng(3).normal(size=(7, 200)).astype(np.float32)
    values[:, 100:] += 2
    whole = detect.run(detect.CUSUM(), values)
    monkeypatch.setattr(_run, "_GROUP", 3)
    first = detect.run(detect.CUSUM(), values[:, :100])
    second = detect.run(detect.CUSUM(), values[:, 100:], state=first.state)
    assert whole.drift.any()
    for field in FIELDS:
        both = np.concatenate([getattr(first, field), getattr(second, field)], axis=1)
        np.testing.assert_array_equal(both, getattr(whole, field), field)
    jax.tree.map(np.testing.assert_array_equal, second.state, whole.state)
