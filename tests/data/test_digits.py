"""The embedded digits are scikit-learn's, and are enlarged as JAX and Pillow do."""

import jax
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sensijax.core import ArgumentError
from sensijax.data import digits


@pytest.fixture(scope="module")
def source():
    return load_digits()


def test_the_embedded_copy_is_scikit_learns(source):
    data = digits(size=8)
    assert np.array_equal(data.x[..., 0] * 16, source.images)
    assert np.array_equal(data.y, source.target)
    assert np.array_equal(data.ids, np.arange(1797))


def test_shapes_dtypes_and_range():
    data = digits()
    assert data.x.shape == (1797, 32, 32, 1) and data.x.dtype == np.float32
    assert data.y.dtype == np.int32 and data.name == "digits"
    assert data.x.min() == 0.0 and data.x.max() == 1.0


@pytest.mark.parametrize("size", [8, 17, 28, 32])
def test_enlarging_is_bilinear_with_half_pixel_centres(source, size):
    enlarged = digits(size).x[:64]
    images = (source.images[:64] / 16).astype(np.float32)
    by_jax = jax.image.resize(images, (64, size, size), "bilinear")
    np.testing.assert_allclose(enlarged[..., 0], by_jax, atol=1e-6)
    by_pillow = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) for image in images]
    np.testing.assert_allclose(enlarged[..., 0], by_pillow, atol=1e-6)
    assert 0.0 <= enlarged.min() and enlarged.max() <= 1.0


def test_the_default_has_the_same_bits_everywhere():
    # Enlarging by 4 multiplies by eighths and sixteenths only, so every value is exact; computed on jax 0.10.2, x86-64.
    assert digits().digest == "3de224ac06d9ecd84e37fb2143e858e0"


def test_ink_groups_are_terciles_of_the_original_ink(source):
    data, ink = digits(), source.images.sum((1, 2))
    groups = data.groups["ink"]
    ranges = {name: ink[groups == name] for name in ("light", "medium", "heavy")}
    assert ranges["light"].max() < ranges["medium"].min() and ranges["medium"].max() < ranges["heavy"].min()
    assert all(abs(len(values) - 599) <= 10 for values in ranges.values())


def test_the_embedded_arrays_cannot_be_changed_by_a_caller():
    digits(8).x[:] = 0
    assert digits(8).x.max() == 1.0


@pytest.mark.parametrize("size", [7, 1025, 32.0, True, "32"])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ArgumentError, match="`size`: got .*8 to 1024 px"):
        digits(size)
