"""What results show: tidy tables, tornados, heatmaps; and convergence by doubling n."""

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from sensijax import sensitivity as s  # noqa: E402
from sensijax.core import ArgumentError  # noqa: E402

SPACE = {"a": s.Uniform(0.0, 1.0), "b": s.Uniform(0.0, 1.0)}


def two(x):
    return jnp.stack([x[0] + 2 * x[1] + x[0] * x[1], x[0]])


@pytest.fixture(scope="module")
def found():
    return s.sobol(two, SPACE, key=jax.random.key(0), n=2**10, second_order=True)


def test_a_tidy_table(found):
    table = found.frame()
    assert list(table.columns) == ["index", "input", "with", "output", "estimate", "low", "high"]
    assert len(table) == 2 * 2 + 2 * 2 + 2
    row = table[(table["index"] == "ST") & (table["input"] == "b") & (table["output"] == 0)].iloc[0]
    assert row.estimate == found.ST[1, 0] and (row.low, row.high) == tuple(found.ST_interval[1, :, 0])
    pair = table[table["index"] == "S2"].iloc[1]
    assert (pair["input"], pair["with"], pair.output, pair.estimate) == ("a", "b", 1, found.S2[0, 1, 1])


def test_a_tornado_has_the_longest_bar_on_top(found):
    ax = found.plot(output=0)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]  # from below: b matters more
    widths = np.concatenate([line.get_xdata() for line in ax.lines[:2]])
    np.testing.assert_allclose(widths, [*found.S1[:, 0], *found.ST[:, 0]])
    assert len(ax.get_legend().get_texts()) == 2
    assert len(found.plot(most=1).get_yticklabels()) == 1
    with pytest.raises(ArgumentError, match="output"):
        found.plot(output=2)


def test_a_heatmap_of_pairs(found):
    ax = found.plot_pairs(output=0)
    assert ax.images[0].get_array()[0, 1] == pytest.approx(found.S2[0, 1, 0])
    assert {t.get_text() for t in ax.texts} == {f"{found.S2[0, 1, 0]:.2f}"}
    with pytest.raises(ArgumentError, match="second_order=True"):
        s.morris(two, SPACE, key=jax.random.key(0)).plot_pairs()


def test_n_is_doubled_until_the_interval_is_short(caplog):
    def f(x):
        return x[0] * x[1]

    found = s.converge(s.sobol, f, SPACE, key=jax.random.key(0), tolerance=0.01, start=2**8, indices=("ST",), chunk=16)
    assert found.converged and found.half_width[-1] <= 0.01 < found.half_width[-2]
    assert list(found.n) == [2**8 << i for i in range(len(found.n))]
    np.testing.assert_allclose(found.half_width[-1], np.diff(found.result.ST_interval).max() / 2)
    assert set(found.frame()["n"]) == set(found.n) and len(found.plot().lines) == 3
    short = s.converge(s.sobol, f, SPACE, key=jax.random.key(0), tolerance=1e-9, start=2**8, most=2**9, chunk=16)
    assert not short.converged and len(short.results) == 2 and "above the tolerance" in caplog.text
    with pytest.raises(ArgumentError, match="of S1, ST"):
        s.converge(s.sobol, f, SPACE, key=jax.random.key(0), tolerance=0.1, start=2**8, indices=("S3",), chunk=16)
