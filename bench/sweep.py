"""What 75 variants of every image cost beside the model that judges them.

15 ImageNet-C corruptions at 5 severities each, then EfficientNet-Lite0 at 224 px, against the model alone on as many
unperturbed images. Both in batches of one size, 5 severities of 2 images; they take turns, and the better of two runs
of each counts. Convolutions of single channels are sums of shifted images on both sides: XLA's own are 25 times slower
on a CPU, which would hide what the variants cost.
"""

import pathlib
import subprocess
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.corruptions import CORRUPTIONS
from sensijax.data import photo
from sensijax.perturb import image

IMAGES, REPEATS, TARGET = 2, 2, 1.5
KERNELS = [3] + [3] * 2 + [5] * 2 + [3] * 3 + [5] * 3 + [5] * 4 + [3]
STRIDES = [1] + [2, 1] + [2, 1] + [2, 1, 1] + [1, 1, 1] + [2, 1, 1, 1] + [1]


def weights(peers: str) -> dict[str, jax.Array]:
    """The published weights of EfficientNet-Lite0 (Apache-2.0), from the peers' environment."""
    with tempfile.TemporaryDirectory() as folder:
        program = str(pathlib.Path(__file__).parent / "peers" / "efficientnet.py")
        subprocess.run([peers, program, f"{folder}/weights.npz"], check=True)
        return {name: jnp.asarray(value) for name, value in np.load(f"{folder}/weights.npz").items()}


def forward(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """EfficientNet-Lite0: images [B, 224, 224, 3] in [0, 1] to logits [B, 1000]."""

    def convolve(x: jax.Array, name: str, stride: int = 1, relu: bool = True) -> jax.Array:
        kernel = params[name]
        if kernel.shape[2] == x.shape[3]:
            x = jax.lax.conv_general_dilated(
                x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
        else:
            x = by_channel(x, kernel[:, :, 0], stride)
        x = x + params[f"{name}.bias"]
        return jnp.clip(x, 0, 6) if relu else x

    x = convolve((255 * x - 127) / 128, "_conv_stem", stride=2)
    for i, stride in enumerate(STRIDES):
        name, inside = f"_blocks.{i}", x
        if f"{name}._expand_conv" in params:
            inside = convolve(inside, f"{name}._expand_conv")
        inside = convolve(inside, f"{name}._depthwise_conv", stride)
        inside = convolve(inside, f"{name}._project_conv", relu=False)
        x = x + inside if x.shape == inside.shape else inside
    x = convolve(x, "_conv_head")
    return x.mean(axis=(1, 2)) @ params["_fc"] + params["_fc.bias"]


def by_channel(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Each channel of `[B, H, W, C]` with its own `[K, K, C]` kernel, padded as "SAME" pads."""
    side = len(kernel)
    out = [-(-n // stride) for n in x.shape[1:3]]
    missing = [max((m - 1) * stride + side - n, 0) for m, n in zip(out, x.shape[1:3], strict=True)]
    x = jnp.pad(x, ((0, 0), *((gap // 2, gap - gap // 2) for gap in missing), (0, 0)))
    reach = [(m - 1) * stride + 1 for m in out]
    taps = [(i, j) for i in range(side) for j in range(side)]
    return sum(kernel[i, j] * x[:, i : i + reach[0] : stride, j : j + reach[1] : stride] for i, j in taps)  # type: ignore[return-value]


def measure(peers: str) -> dict[str, Any]:
    """Times the sweep and the bare forward.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.

    Returns:
      Seconds of both, their ratio and its target.
    """
    params = weights(peers)
    judge = jax.jit(forward)
    x = jnp.tile(jnp.stack([jnp.roll(photo(), 50 * i, axis=1) for i in range(IMAGES)]), (5, 1, 1, 1))
    keys = jax.random.split(jax.random.key(0), len(x))
    severities = jnp.repeat(jnp.arange(1.0, 6.0), IMAGES)
    ops = [getattr(image, name) for name in CORRUPTIONS]
    programs = [jax.jit(jax.vmap(lambda s, key, x, op=op: op.at(s)(key, x))) for op in ops]

    def swept() -> list[jax.Array]:
        return [judge(params, program(severities, keys, x)) for program in programs]

    def bare() -> list[jax.Array]:
        return [judge(params, x) for _ in programs]

    best = {"swept": float("inf"), "bare": float("inf")}
    for repeat in range(REPEATS + 1):
        for name, run in (("swept", swept), ("bare", bare)):
            start = time.perf_counter()
            jax.block_until_ready(run())
            if repeat:  # the first run compiles
                best[name] = min(best[name], time.perf_counter() - start)
    return {
        "images": IMAGES,
        "variants": 5 * len(programs),
        "programs": len(programs) + 1,
        "seconds": {name: round(seconds, 2) for name, seconds in best.items()},
        "ratio": round(best["swept"] / best["bare"], 2),
        "target": TARGET,
    }
