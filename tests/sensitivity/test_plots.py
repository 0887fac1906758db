"""Figures show the numbers of the results they are given, on axes that nobody else draws on."""

import io
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax import sensitivity as s
from sensijax.core import ArgumentError
from sensijax.perturb import image
from sensijax.sensitivity import plots
from sensijax.sensitivity.derivatives._nonfinite import NonFinite
from sensijax.sensitivity.derivatives._spectrum import singular
from sensijax.sensitivity.indices._response import ResponseCurve
from sensijax.sensitivity.severities._critical import CriticalSeverity

SPACE = {"a": s.Uniform(-1.0, 1.0), "b": s.Uniform(-1.0, 1.0), "c": s.Uniform(-1.0, 1.0)}


@pytest.fixture(scope="module")
def chaos():
    x = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    return s.pce_given(x, x[:, 0] + 3 * x[:, 1] * x[:, 2], SPACE, degree=[2])


def drawn(ax):
    """What a reader gets: the bytes of the figure, which must not be empty."""
    file = io.BytesIO()
    ax.figure.savefig(file, format="png")
    assert len(file.getvalue()) > 2000
    return ax


def test_a_tornado_has_the_largest_on_top_with_its_intervals(chaos):
    ax = drawn(plots.tornado(chaos))
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [chaos.names[i] for i in np.argsort(-chaos.ST, kind="stable")[::-1]]
    shown = {line.get_label(): line.get_xdata() for line in ax.lines if not line.get_label().startswith("_")}
    np.testing.assert_allclose(sorted(shown["ST"]), sorted(chaos.ST))
    np.testing.assert_allclose(sorted(shown["S1"]), sorted(chaos.S1))
    assert "1 smaller" in plots.tornado(chaos, most=2).get_xlabel()


def test_pairs_are_written_into_their_fields(chaos):
    ax = drawn(plots.pairs(chaos))
    np.testing.assert_allclose(np.ma.filled(ax.images[0].get_array(), np.nan), chaos.S2)
    assert {text.get_text() for text in ax.texts} == {f"{v:.2f}" for v in chaos.S2[np.triu_indices(3, 1)]}
    with pytest.raises(ArgumentError, match="second order"):
        plots.pairs(s.sobol_given(np.random.default_rng(0).normal(size=5 * 8), ["a", "b", "c"]))


def test_convergence_shows_the_half_widths(chaos):
    found = s.Convergence((chaos, chaos), (64, 128), np.array([0.2, 0.1]), 0.05)
    ax = drawn(plots.convergence(found))
    assert ax.lines[0].get_ydata().tolist() == [0.2, 0.1] and ax.get_xscale() == "log"


def test_a_curve_has_a_line_of_its_exact_slope_at_every_node():
    severity = np.linspace(0, 4, 5)
    response = np.stack([severity**2, severity**2 + 1], axis=1)
    slope = np.stack([2 * severity] * 2, axis=1)
    ax = drawn(plots.curve(ResponseCurve(severity, response, slope, "forward", NonFinite(0, 20, ()))))
    slopes = [np.diff(line.get_ydata())[0] / np.diff(line.get_xdata())[0] for line in ax.lines[1:]]
    np.testing.assert_allclose(slopes, 2 * severity, atol=1e-12)


def test_contours_are_of_the_surrogate():
    scales = {"light": image.Brightness, "contrast": image.Contrast}

    def first(outputs, y):
        return outputs[0] * outputs[0]

    x = jnp.full((2, 8, 8, 1), 0.2) + jnp.arange(2, dtype=jnp.float32)[:, None, None, None] / 10
    model = jax.jit(lambda x: x.mean(axis=(1, 2)))
    found = s.surface(model, scales, jax.random.key(0), x, np.zeros(2), response=first, design=s.Grid(3), top=3.0)
    ax = drawn(plots.contours(found))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("light", "contrast") and "% of the variance" in ax.get_title()
    assert len(ax.lines[0].get_xdata()) == 9
    with pytest.raises(ArgumentError, match="light, contrast"):
        plots.contours(found, "fog")
    with pytest.raises(ArgumentError, match="another stressor"):
        plots.contours(found, "light", "light")


def test_survival_falls_from_one_and_has_a_curve_for_each():
    grid = np.linspace(0, 5, 6)
    severity = np.array([1.5, 2.5, np.inf, np.inf])
    kept = grid[:, None] < severity[None]
    none = np.zeros(4, int)
    status = np.where(np.isfinite(severity), "flips", "never")
    one = CriticalSeverity(severity, status, none, none, grid, kept, 0.01, "label")
    ax = drawn(plots.survival({"fog": one, "noise": one}))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 1, 0.75, 0.5, 0.5, 0.5])
    assert len(ax.lines) == 2 and drawn(plots.survival(one)).get_legend() is None


def test_singular_directions_are_images():
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(3, 16)), jnp.float32)
    found = singular(lambda x: weights @ x.reshape(-1), jnp.zeros((4, 4, 1)), k=2)
    ax = drawn(plots.directions(found))
    assert ax.images[0].get_array().shape == (4, 9)
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"{v:.3g}" for v in found.values]
    flat = singular(lambda x: weights @ x, jnp.zeros(16), k=2)
    assert plots.directions(flat, shape=(4, 4)).images[0].get_array().shape == (4, 9)
    with pytest.raises(ArgumentError, match="shape"):
        plots.directions(flat)


def test_they_draw_on_the_axes_they_are_given_and_leave_pyplot_alone(chaos):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    before = "matplotlib.pyplot" in sys.modules and len(sys.modules["matplotlib.pyplot"].get_fignums())
    assert plots.tornado(chaos, ax) is ax and chaos.plot(ax) is ax and chaos.plot_pairs() is not ax
    after = "matplotlib.pyplot" in sys.modules and len(sys.modules["matplotlib.pyplot"].get_fignums())
    assert before == after
