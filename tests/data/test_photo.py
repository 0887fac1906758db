"""The embedded photograph is the one that NOTICE names, and small."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from sensijax import data
from sensijax.core import digest, file_digest
from sensijax.perturb.image._image import check_image

FILE = pathlib.Path(data.__file__).with_name("photo.png")
NOTICE = pathlib.Path(__file__).resolve().parent.parent.parent / "NOTICE"


def test_it_is_an_image_for_every_perturbation():
    x = data.photo()
    check_image(x)
    assert x.shape == (224, 224, 3) and 0 <= x.min() < 0.1 and 0.8 < x.max() <= 1


def test_its_bits_are_those_that_were_embedded():
    assert file_digest(FILE) == "18f640d737c9bbf90129a66a34e52214"
    assert digest(data.photo()) == "faa2a8f50a9c3f372e860d941ef8819c"
    with Image.open(FILE) as file:
        np.testing.assert_array_equal(data.photo(), np.asarray(file) / np.float32(255))


def test_a_caller_cannot_change_it():
    with pytest.raises(ValueError, match="read-only"):
        data.photo()[0] = 0


def test_it_is_small_and_its_licence_is_told():
    assert FILE.stat().st_size < 120_000
    assert "sensijax/data/photo.png" in NOTICE.read_text() and "CC0" in NOTICE.read_text()
