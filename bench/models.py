"""Models to benchmark: the demonstration's, and two of the sizes that people run, with random weights.

Random weights cost what trained ones cost. What they answer means nothing, so their labels are their own answers on
clean images: "accuracy" is then the share of answers that a stressor leaves as they were, and every file says so.
"""

import dataclasses
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from sensijax import adapt, demo
from sensijax.core import ArgumentError, Dataset, Model
from sensijax.data import photo

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
NAMES = ("demo", "efficientnet-lite0", "resnet50")
SIDE = 224  # of the embedded photograph, pixels
BRANCH = 0.2  # scale of what a ResNet's branch adds: with 1 the activations of an untrained one double block by block


class _ConvNorm(nnx.Module):
    """A convolution without bias and a batch norm; "SAME" padding."""

    def __init__(
        self, inside: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1, epsilon: float, rngs: nnx.Rngs
    ):
        self.conv = nnx.Conv(
            inside,
            out,
            (kernel, kernel),
            strides=stride,
            padding="SAME",
            feature_group_count=groups,
            use_bias=False,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(out, epsilon=epsilon, use_running_average=True, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.norm(self.conv(x))


class Bottleneck(nnx.Module):
    """ResNet's block of three convolutions, the stride in the middle one ("v1.5")."""

    def __init__(self, inside: int, width: int, stride: int, *, rngs: nnx.Rngs):
        self.reduce = _ConvNorm(inside, width, 1, epsilon=1e-5, rngs=rngs)
        self.middle = _ConvNorm(width, width, 3, stride=stride, epsilon=1e-5, rngs=rngs)
        self.branch = _ConvNorm(width, 4 * width, 1, epsilon=1e-5, rngs=rngs)
        self.shortcut = (
            None
            if inside == 4 * width and stride == 1
            else _ConvNorm(inside, 4 * width, 1, stride=stride, epsilon=1e-5, rngs=rngs)
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.branch(nnx.relu(self.middle(nnx.relu(self.reduce(x)))))
        return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet50(nnx.Module):
    """ResNet-50: images `[B, H, W, 3]` in [0, 1] to logits `[B, classes]`.

    25,557,032 parameters with 1000 classes, running statistics apart.

    Reference:
      He et al., "Deep residual learning for image recognition", CVPR 2016; with the stride in the 3x3 convolution.
    """

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        self.stem = _ConvNorm(3, 64, 7, stride=2, epsilon=1e-5, rngs=rngs)
        blocks, inside = [], 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                blocks.append(Bottleneck(inside, width, stride if i == 0 else 1, rngs=rngs))
                inside = 4 * width
        self.blocks = nnx.List(blocks)
        self.logits = nnx.Linear(inside, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        mean, deviation = (np.array(v, x.dtype) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = nnx.relu(self.stem((x - mean[None, None, None]) / deviation[None, None, None]))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        for block in self.blocks:
            x = block(x)
        return self.logits(x.mean(axis=(1, 2)))


class InvertedBottleneck(nnx.Module):
    """MobileNetV2's block with ReLU6, as EfficientNet-Lite has it: without squeeze and excitation."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int, expansion: int, *, rngs: nnx.Rngs):
        width = inside * expansion
        self.expand = _ConvNorm(inside, width, 1, epsilon=1e-3, rngs=rngs) if expansion > 1 else None
        self.depthwise = _ConvNorm(width, width, kernel, stride=stride, groups=width, epsilon=1e-3, rngs=rngs)
        self.project = _ConvNorm(width, out, 1, epsilon=1e-3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = x if self.expand is None else nnx.relu6(self.expand(x))
        y = self.project(nnx.relu6(self.depthwise(y)))
        return x + y if x.shape == y.shape else y


class EfficientNetLite0(nnx.Module):
    """EfficientNet-Lite0: images `[B, H, W, 3]` in [0, 1] to logits `[B, classes]`.

    4,652,008 parameters with 1000 classes, running statistics apart: those of the published weights.

    Reference:
      Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", ICML 2019; the Lite
      variants of its authors' repository: no squeeze and excitation, ReLU6, stem and head not scaled.
    """

    STAGES = (  # expansion, channels, kernel, stride, blocks
        (1, 16, 3, 1, 1),
        (6, 24, 3, 2, 2),
        (6, 40, 5, 2, 2),
        (6, 80, 3, 2, 3),
        (6, 112, 5, 1, 3),
        (6, 192, 5, 2, 4),
        (6, 320, 3, 1, 1),
    )

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        self.stem = _ConvNorm(3, 32, 3, stride=2, epsilon=1e-3, rngs=rngs)
        blocks, inside = [], 32
        for expansion, out, kernel, stride, count in self.STAGES:
            for i in range(count):
                blocks.append(InvertedBottleneck(inside, out, kernel, stride if i == 0 else 1, expansion, rngs=rngs))
                inside = out
        self.blocks = nnx.List(blocks)
        self.head = _ConvNorm(inside, 1280, 1, epsilon=1e-3, rngs=rngs)
        self.logits = nnx.Linear(1280, classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu6(self.stem((255 * x - 127) / 128))
        for block in self.blocks:
            x = block(x)
        return self.logits(nnx.relu6(self.head(x)).mean(axis=(1, 2)))


MODULES = {"resnet50": ResNet50, "efficientnet-lite0": EfficientNetLite0}


def random_model(name: str, *, classes: int = 1000, seed: int = 0) -> Model:
    """A model of the given size with random weights.

    Args:
      name: "resnet50" or "efficientnet-lite0".
      classes: K, >= 1.
      seed: of the weights.

    Returns:
      A model from float32 images `[B, H, W, 3]` in [0, 1] to logits `[B, K]`. Kernels are He-normal, each addressed by
      its place in the tree; norms do nothing, but for scaling down what a residual branch adds.
    """
    module = nnx.eval_shape(lambda: MODULES[name](classes, rngs=nnx.Rngs(0)))
    model = adapt.nnx(module, name=f"{name} (random weights)")
    return dataclasses.replace(
        model, params=jax.tree_util.tree_map_with_path(lambda p, v: _draw(seed, p, v), model.params)
    )


def _draw(seed: int, path: tuple, leaf: Any) -> jax.Array:
    where = [str(getattr(entry, "key", entry)) for entry in path]
    if where[-1] == "kernel":
        rng = np.random.default_rng([seed, zlib.crc32("/".join(where).encode())])
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return jnp.asarray(spread * rng.standard_normal(leaf.shape, np.float32), leaf.dtype)
    if where[-1] == "scale":
        return jnp.full(leaf.shape, BRANCH if where[-3] == "branch" else 1.0, leaf.dtype)
    return jnp.full(leaf.shape, 1.0 if where[-1] == "var" else 0.0, leaf.dtype)


def parameters(params: Any) -> int:
    """How many numbers a tree of parameters holds, running means and variances of batch norms apart."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return sum(v.size for path, v in leaves if getattr(path[-1], "key", None) not in ("mean", "var"))


def in_dtype(model: Model, dtype: str) -> Model:
    """The model with weights and activations in another floating type; images and logits stay float32.

    Args:
      model: a float32 model.
      dtype: "float32" or "bfloat16".
    """
    if dtype not in DTYPES:
        raise ArgumentError("dtype", dtype, f"one of {', '.join(DTYPES)}")
    if dtype == "float32":
        return model
    to, inner = DTYPES[dtype], model.apply

    def apply(params: Any, x: jax.Array) -> jax.Array:
        return inner(params, x.astype(to)).astype(jnp.float32)

    params = jax.tree.map(lambda v: v.astype(to) if jnp.issubdtype(v.dtype, jnp.floating) else v, model.params)
    return dataclasses.replace(model, apply=apply, params=params, name=f"{model.name}, {dtype}")


def photos(images: int, side: int) -> np.ndarray:
    """Float32 `[images, side, side, 3]` in [0, 1]: the embedded photograph, shifted differently for each."""
    if not 1 <= side <= SIDE:
        raise ArgumentError("side", side, f"1 to {SIDE} pixels")
    whole = np.asarray(photo())[:: SIDE // side, :: SIDE // side][:side, :side]
    return np.stack([np.roll(whole, (17 * i, 31 * i), axis=(0, 1)) for i in range(images)]).astype(np.float32)


def load(name: str, dtype: str, images: int, side: int) -> tuple[Model, Dataset, str]:
    """A model, data for it, and what its labels are.

    Args:
      name: one of `NAMES`.
      dtype: "float32" or "bfloat16".
      images: how many at most; the demonstration has 599.
      side: height and width of the images of the random models, pixels; severities are published for 32 and 224.

    Returns:
      The model; the data; and a sentence about the labels.
    """
    if name == "demo":
        return in_dtype(demo.load(), dtype), demo.data().take(slice(images)), "true ones: held-out handwritten digits"
    if name not in MODULES:
        raise ArgumentError("model", name, f"one of {', '.join(NAMES)}")
    x = photos(images, side)
    model = in_dtype(_centred(random_model(name), x), dtype)
    y = _logits(model, x).argmax(-1)
    about = "the model's own answers on clean images: accuracy is the share of answers that stay"
    return model, Dataset(x, y.astype(np.int32), name="photos"), about


def _centred(model: Model, x: np.ndarray) -> Model:
    """With the last bias set so that logits are 0 in the mean over images: or one class would be every answer."""
    mean = _logits(model, x).mean(axis=0)
    last = dict(model.params["logits"])
    last["bias"] = last["bias"] - mean.astype(last["bias"].dtype)
    return dataclasses.replace(model, params={**model.params, "logits": last})


def _logits(model: Model, x: np.ndarray) -> np.ndarray:
    forward = jax.jit(model.apply)
    batch = min(8, len(x))
    return np.concatenate([np.asarray(forward(model.params, x[i : i + batch])) for i in range(0, len(x), batch)])
