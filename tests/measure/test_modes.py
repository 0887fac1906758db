"""Error modes, on cases small enough to count by hand."""

import numpy as np
import pytest

from sensijax.core import ArgumentError
from sensijax.measure import confusion_changes, distribution_shift, worst_group


def test_confusions_that_grew():
    labels = [0] * 10 + [1] * 10 + [2] * 4
    clean = [0] * 9 + [1] + [1] * 8 + [2] * 2 + [2] * 3 + [0]
    perturbed = [0] * 4 + [1] * 4 + [2] * 2 + [1] * 10 + [-1] * 3 + [0]
    changes = confusion_changes(labels, clean, perturbed, classes=3)
    found = [(c.label, c.predicted, c.clean_count, c.count, c.change, c.share) for c in changes]
    assert found == [
        (0, 1, 1, 4, 3, 0.3),
        (2, -1, 0, 3, 3, 0.75),  # a row without a prediction is a confusion of its own
        (0, 2, 0, 2, 2, 0.2),
    ]  # (1 -> 2) shrank, (2 -> 0) stayed: neither is named
    assert confusion_changes(labels, clean, perturbed, classes=3, top=1) == changes[:1]
    assert confusion_changes(labels, clean, clean, classes=3) == ()


def test_getting_better_is_no_confusion():
    assert confusion_changes([0, 0, 1], [1, 1, 0], [0, 0, 1], classes=2) == ()


def test_distribution_shift_by_hand():
    shift = distribution_shift([0, 0, 1, 1, 2, -1], [0, 0, 0, 0, -1, -1], classes=3)
    np.testing.assert_allclose(shift.clean, [0.4, 0.4, 0.2])
    np.testing.assert_allclose(shift.perturbed, [1, 0, 0])
    np.testing.assert_allclose(shift.change, [0.6, -0.4, -0.2])
    assert shift.total_variation == pytest.approx(0.6) and shift.change.sum() == pytest.approx(0)
    assert distribution_shift([0, 1], [1, 0], classes=2).total_variation == 0
    assert np.isnan(distribution_shift([0, 1], [-1, -1], classes=2).total_variation)


def test_worst_group_ranks_only_what_is_large_enough():
    sizes, hits = {"large": 100, "middle": 40, "tiny": 9}, {"large": 90, "middle": 28, "tiny": 0}
    groups = np.repeat(list(sizes), list(sizes.values()))
    correct = np.concatenate([np.arange(n) < hits[name] for name, n in sizes.items()])[None]
    result = worst_group(correct, groups)
    assert [(g.group, g.n, g.accuracy, g.too_small) for g in result.groups] == [
        ("large", 100, 0.9, False),
        ("middle", 40, 0.7, False),
        ("tiny", 9, 0.0, True),
    ]
    assert result.worst == result.groups[1]
    assert all(0 <= g.low < g.high <= 1 and g.low <= g.accuracy <= g.high for g in result.groups)
    assert worst_group(correct[:, -9:], groups[-9:]).worst is None
    assert worst_group(correct, groups, smallest=9).worst.group == "tiny"


def test_group_integers_seeds_and_exclusions():
    correct = np.ones((2, 40))
    correct[0, :20], correct[1, 3] = 0.0, np.nan
    result = worst_group(correct, np.repeat([7, 3], 20))
    assert [(g.group, g.n, g.accuracy) for g in result.groups] == [(3, 20, 1.0), (7, 19, 0.5)]
    assert result.worst.group == 7
    perfect = result.groups[0]
    assert perfect.high == 1 and 0.75 < perfect.low < 0.95  # a group without an error still has a width


def test_coverage_of_a_groups_accuracy():
    """400 groups of 50, true accuracy 0.85; nominal 95%, accepted [92%, 98%]: a right one leaves in 1 run of 100."""
    rng = np.random.default_rng(0)
    result = worst_group(rng.random((1, 400 * 50)) < 0.85, np.repeat(np.arange(400), 50), resamples=1000)
    covered = np.mean([g.low <= 0.85 <= g.high for g in result.groups])
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize(
    "call, argument",
    [
        (lambda: confusion_changes([0, 2], [0, 1], [0, 1], classes=2), "labels"),
        (lambda: confusion_changes([0], [0, 1], [0, 1], classes=2), "labels"),
        (lambda: confusion_changes([], [], [], classes=2), "labels"),
        (lambda: confusion_changes([0, -1], [0, 1], [0, 1], classes=2), "labels"),
        (lambda: confusion_changes([0, 1], [0, 1], [0, 1], classes=1), "classes"),
        (lambda: confusion_changes([0, 1], [0, 1], [0, 1], classes=2, top=0), "top"),
        (lambda: distribution_shift([0, 2], [0, 1], classes=2), "clean_prediction"),
        (lambda: distribution_shift([0, 1], [0, -2], classes=2), "prediction"),
        (lambda: distribution_shift([0, 1], [0.0, 1.0], classes=2), "prediction"),
        (lambda: distribution_shift([0, 1], [0], classes=2), "prediction"),
        (lambda: worst_group(np.ones((1, 3)), np.zeros(3)), "groups"),
        (lambda: worst_group(np.ones((1, 3)), [0, 1]), "groups"),
        (lambda: worst_group(np.ones(3), [0, 1, 2]), "correct"),
        (lambda: worst_group(np.full((1, 3), 0.5), [0, 1, 2]), "correct"),
        (lambda: worst_group(np.ones((1, 3)), [0, 1, 2], smallest=0), "smallest"),
    ],
)
def test_refuses(call, argument):
    with pytest.raises(ArgumentError) as error:
        call()
    assert error.value.argument == argument
