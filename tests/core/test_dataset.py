"""Data: what is taken, what is refused, and ids that last."""

import numpy as np
import pytest

from sensijax.core import ArgumentError, Dataset

X = np.arange(5 * 8 * 8, dtype=np.float32).reshape(5, 8, 8, 1) / 320
Y = np.array([0, 1, 2, 1, 0])
GROUPS = {"light": np.array(["day", "day", "night", "night", "day"]), "camera": np.array([0, 1, 0, 1, 0])}


@pytest.fixture
def data():
    return Dataset(X, Y, name="five", ids=np.array([3, 2**40, 7, 2**63 - 1, 0]), groups=GROUPS)


def test_what_comes_is_kept_in_the_canonical_dtypes():
    data = Dataset(X.astype(np.float64), Y.astype(np.uint8))
    assert (data.x.dtype, data.y.dtype, data.ids.dtype) == (np.float32, np.int32, np.int64)
    assert data.ids.tolist() == [0, 1, 2, 3, 4] and data.is_classification
    assert Dataset(X, Y.astype(np.float64)).y.dtype == np.float32
    assert not Dataset(X, Y.astype(float)).is_classification
    assert Dataset(X, np.zeros((5, 3))).y.shape == (5, 3)
    assert Dataset(np.arange(10).reshape(5, 2), Y).x.dtype == np.int64


def test_nan_is_data():
    assert np.isnan(Dataset(np.full((1, 2), np.nan), [0]).x).all()


@pytest.mark.parametrize(
    ("argument", "changed"),
    [
        ("x", {"x": X[:0], "y": Y[:0]}),
        ("x", {"x": np.float32(1)}),
        ("x", {"x": X > 0.5}),
        ("x", {"x": X.astype(complex)}),
        ("x", {"x": np.array([["a"]] * 5)}),
        ("x", {"x": [[1.0], [1.0, 2.0], [1.0], [1.0], [1.0]]}),
        ("x", {"x": None}),
        ("y", {"y": Y[:4]}),
        ("y", {"y": np.zeros((5, 3), int)}),
        ("y", {"y": Y > 0}),
        ("y", {"y": np.array(list("abcde"))}),
        ("y", {"y": Y + 2**32}),
        ("y", {"y": Y - 2**31 - 1}),
        ("y", {"y": 3}),
        ("ids", {"ids": np.array([0, 1, 2, 3, 3])}),
        ("ids", {"ids": np.array([0, 1, 2, 3, -1])}),
        ("ids", {"ids": np.arange(4)}),
        ("ids", {"ids": np.arange(5.0)}),
        ("ids", {"ids": np.arange(5, dtype=np.uint64) + np.uint64(2**63 - 2)}),
        ("ids", {"ids": np.arange(10).reshape(5, 2)}),
        ("name", {"name": ""}),
        ("name", {"name": 3}),
        ("groups", {"groups": {"not a name": Y}}),
        ("groups", {"groups": {3: Y}}),
        ("groups", {"groups": [Y]}),
        ("groups['g']", {"groups": {"g": Y[:3]}}),
        ("groups['g']", {"groups": {"g": Y * 0.5}}),
        ("groups['g']", {"groups": {"g": np.zeros((5, 2), int)}}),
    ],
)
def test_bad_input_is_refused_by_name(argument, changed):
    with pytest.raises(ArgumentError) as caught:
        Dataset(**{"x": X, "y": Y, **changed})
    assert caught.value.argument == argument


def test_the_digest_does_not_depend_on_the_order(data):
    assert data.take([4, 2, 0, 1, 3]).digest == data.digest


@pytest.mark.parametrize(
    "changed",
    [
        {"x": X + np.float32(1e-6)},
        {"y": Y[::-1].copy() + 1},
        {"ids": np.arange(5)},
        {"groups": {}},
        {"groups": {**GROUPS, "camera": np.array([1, 1, 0, 1, 0])}},
    ],
)
def test_the_digest_knows_every_part(data, changed):
    parts = {"x": X, "y": Y, "ids": data.ids, "groups": GROUPS}
    assert Dataset(**parts).digest == data.digest
    assert Dataset(**{**parts, **changed}).digest != data.digest


def test_the_name_is_no_content(data):
    assert Dataset(X, Y, "other", data.ids, GROUPS).digest == data.digest


@pytest.mark.parametrize("index", [slice(1, 4), np.array([3, 1]), np.array([False, True, True, False, True])])
def test_take_keeps_ids_labels_and_groups_together(data, index):
    part = data.take(index)
    assert part.ids.tolist() == data.ids[index].tolist() and part.name == "five"
    np.testing.assert_array_equal(part.x, X[index])
    np.testing.assert_array_equal(part.y, Y[index])
    assert {name: group.tolist() for name, group in part.groups.items()} == {
        n: g[index].tolist() for n, g in GROUPS.items()
    }


def test_taking_nothing_or_something_twice_is_refused(data):
    with pytest.raises(ArgumentError, match="at least one example"):
        data.take([])
    with pytest.raises(ArgumentError, match="more than once"):
        data.take([1, 1])
