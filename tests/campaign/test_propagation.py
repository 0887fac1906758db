"""Where it breaks inside: the component that amplifies is found, and classes that melt away are seen."""

import jax.numpy as jnp
import numpy as np
import pytest

import sensijax as sj
from sensijax import drift, label
from sensijax.campaign.exhibits._inside import separability
from sensijax.sensitivity import tap


@pytest.fixture(scope="module")
def table(make_campaign, make_data):
    data = make_data()
    rng = np.random.default_rng(3)
    w = jnp.asarray(rng.normal(size=(144, 3)), jnp.float32)

    def apply(w, x):
        flat = tap("flat", x.reshape(len(x), -1))
        # The mean is what a shift moves, and this component makes it ten times as large.
        zoomed = tap("zoom", flat + 9 * flat.mean(axis=1, keepdims=True))
        return tap("head", zoomed @ w)

    stages = {
        "means": sj.sweep(drift.MeanShift, strength=[0, 1]),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.5]),
    }
    campaign = make_campaign(model=sj.Model(apply, w), data=data, stages=stages, design=sj.design.staged(), seeds=1)
    return sj.propagation(campaign, resamples=100).set_index(["scenario", "component"])


def test_the_component_that_amplifies_has_the_largest_step(table):
    steps = table.loc["means@1"].step
    assert steps.idxmax() == "zoom" and steps["flat"] == pytest.approx(1, abs=1e-5)


def test_wrong_labels_move_nothing_and_blur_the_classes(table):
    assert table.loc["labels@0.5"].gain.isna().all()
    flat = table.loc[("labels@0.5", "flat")]
    assert flat.separability < 0.5 * flat.separability_clean


def test_a_shift_of_all_means_keeps_the_classes_apart(table):
    flat = table.loc[("means@1", "flat")]
    assert flat.separability == pytest.approx(flat.separability_clean, rel=1e-4)
    assert set(table.index.get_level_values(0)) == {"means@1", "labels@0.5", "means@1+labels@0.5"}


def test_separability_is_fishers_ratio_with_weights():
    features, labels = np.array([[0.0], [2.0], [10.0], [12.0]]), np.array([0, 0, 1, 1])
    twice = np.repeat(features, [1, 1, 2, 2], axis=0), np.repeat(labels, [1, 1, 2, 2])
    weighted = separability(features, labels, np.array([1.0, 1, 2, 2]))
    assert weighted == pytest.approx(separability(*twice, np.ones(6)))
    assert np.isnan(separability(features, np.zeros(4, int), np.ones(4)))


def test_what_cannot_be_asked_is_refused(make_campaign):
    with pytest.raises(sj.ArgumentError, match="scenarios"):
        sj.propagation(make_campaign(), ["fog@9"])
