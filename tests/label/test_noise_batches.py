"""Annotation noise that looks at the examples, as users compile it: no bit of a label depends on the batch."""

import jax
import numpy as np
import pytest

from sensijax import label

N, K = 2000, 4


@pytest.mark.parametrize("make", [label.PartDependent, label.FeatureMargin])  # these sum over an example's features
def test_no_sum_depends_on_how_many_examples_there_are(make):
    rng, key = np.random.default_rng(11), jax.random.key(3)
    y = np.arange(N) % K
    x = (rng.normal(size=(N, 6)) + 1.5 * np.eye(K, 6)[y]).astype(np.float32)
    ids = rng.permutation(10 * N)[:N]
    noise = make(rate=np.float32(0.45)).fit(x, y, K)
    whole, few = noise(key, y, x, ids=ids), noise(key, y[7:50], x[7:50], ids=ids[7:50])
    for had, has in zip(columns(whole), columns(few), strict=True):
        np.testing.assert_array_equal(has, had[7:50])


def columns(result):
    return np.asarray(result.labels), np.asarray(result.probability), np.asarray(result.annotator)
