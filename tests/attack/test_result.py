"""What a result says of itself: shares, intervals, words."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from sensijax import attack
from sensijax.core import Model

LOOP = attack.Loop(8, 1, False)


@pytest.fixture(scope="module")
def result():
    """Of eight points by a line: robust, broken, misclassified, and one without an answer."""

    def apply(w, x):
        return jnp.where((x[:, :1] == 0) & (x[:, 1:] == 0), jnp.float32(jnp.nan), x @ w)

    model = Model(apply, jnp.array([[1.0, -1.0], [-1.0, 1.0]]), name="line")
    x = np.array([[0.9, 0.1], [0.8, 0.1], [0.6, 0.5], [0.55, 0.5], [0.1, 0.9], [0.5, 0.6], [0.2, 0.3], [0, 0]])
    y = np.array([0, 0, 0, 0, 1, 1, 0, 0])
    return attack.PGD(eps=0.1, steps=5)(
        jax.random.key(0), model, x.astype(np.float32), y, ids=np.arange(8) + 100, loop=LOOP, diagnose=False
    )


def test_every_example_has_one_status(result):
    names = [attack.STATUSES[s] for s in result.status]
    assert names == ["robust", "robust", "broken", "broken", "robust", "broken", "misclassified", "nonfinite"]
    assert result.robust.tolist() == [name == "robust" for name in names]
    assert (result.clean_accuracy, result.robust_accuracy) == (6 / 8, 3 / 8)


def test_what_is_not_broken_is_its_own_input(result):
    same = (result.x_adv == result.x).all(axis=1)
    assert same.tolist() == (result.status != 1).tolist()
    assert np.isinf(result.distance[[0, 1, 4, 7]]).all() and result.distance[6] == 0
    assert (result.distance[[2, 3, 5]] <= 0.1 * (1 + 1e-6)).all()
    assert result.broken_by.tolist() == [-1, -1, 0, 0, -1, 0, -1, -1]


def test_misclassified_and_nonfinite_are_not_attacked(result):
    assert (result.forwards[[6, 7]] == 0).all() and (result.forwards[:6] > 0).all()
    assert (result.queries == result.forwards).all()


@pytest.mark.parametrize("count, n", [(0, 5), (3, 8), (97, 100), (612, 1000), (7, 7)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(count, n, level):
    expected = stats.binomtest(count, n).proportion_ci(level, method="wilson")
    np.testing.assert_allclose(attack.wilson(count, n, level), expected, rtol=1e-12, atol=1e-15)


def test_the_interval_covers(result):
    """Exact coverage at n = 60: near 95 % for every p, and in the mean over p."""
    k, p = np.arange(61), np.linspace(0.05, 0.95, 181)
    bounds = np.array([attack.wilson(int(i), 60) for i in k])
    covers = (bounds[:, :1] <= p[None]) & (p[None] <= bounds[:, 1:])
    coverage = (stats.binom.pmf(k[:, None], 60, p[None]) * covers).sum(axis=0)
    assert coverage.min() > 0.91 and 0.945 < coverage.mean() < 0.96
    assert result.interval() == attack.wilson(3, 8)


def test_words(result):
    text = dataclasses.replace(result, diagnosed=True).summary()
    assert text == str(dataclasses.replace(result, diagnosed=True))
    assert text.splitlines()[0].startswith("PGD(eps=0.1, norm=linf") and text.splitlines()[0].endswith("on line")
    assert "clean accuracy: 75.0 % of 8 examples" in text
    assert "robust accuracy: 37.5 % (95 % interval over examples: 13.7 to 69.4 %)" in text
    assert "a better one may break more" in text and "at most" not in text
    assert "broken by PGD: 3" in text
    assert "misclassified without an attack: 1, not counted robust" in text
    assert "nonfinite without an attack: 1, not counted robust" in text


def test_flags_in_words(result):
    caution = attack.Flag("still_rising", "caution", "SAW", "WHY", "REMEDY")
    distrust = attack.Flag("zero_gradient", "distrust", "SAW", "WHY", "REMEDY")
    text = dataclasses.replace(result, flags=(caution,)).summary()
    assert "at most 37.5 %" in text and "more effort may well lower it: still_rising" in text
    assert "should not be trusted" not in text
    text = dataclasses.replace(result, flags=(distrust, caution)).summary()
    assert "at most 37.5 %" in text and "this number should not be trusted: zero_gradient." in text
    assert "flag zero_gradient (distrust): SAW; WHY. Do: REMEDY." in text
    assert repr(dataclasses.replace(result, flags=(distrust,))) == (
        "<AttackResult of 8 examples: 37.5 % robust, flags: zero_gradient>"
    )


def test_worst_flags_come_first_and_once():
    from sensijax.attack.flags._flag import worst_first

    a = attack.Flag("a", "caution", "", "", "")
    b = attack.Flag("b", "distrust", "", "", "")
    worse = dataclasses.replace(a, severity="distrust")
    assert worst_first([a, b]) == (b, a)
    assert worst_first([a, b, worse, a]) == (worse, b)


def test_a_table_of_examples(result):
    frame = result.frame()
    assert frame["id"].tolist() == list(range(100, 108))
    assert frame["status"].tolist() == [attack.STATUSES[s] for s in result.status]
    assert frame["broken_by"].tolist() == ["", "", "PGD", "PGD", "", "PGD", "", ""]
    assert frame.columns.tolist() == ["id", "label", "status", "broken_by", "distance", "forwards", "backwards"]
