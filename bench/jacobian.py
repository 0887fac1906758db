"""Exact Jacobians of a LeNet on a batch of images, against `torch.func`.

All 10 logits by all 784 pixels for each of 256 images of 28 x 28, random weights, float32, the same numbers on both
sides, two threads each. Ours is `sensijax.sensitivity.jacobian`; a hand-written `vmap(jacrev)` under `jit` is what one
would write with JAX alone. Theirs is `vmap(jacrev)` and `vmap(jacfwd)`, the latter one image in sixteen: it needs 784
passes, and is scaled up. Compilation is stated apart.
"""

import json
import pathlib
import subprocess
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax import sensitivity as s
from sensijax.core import Model

IMAGES, REPEATS, THREADS, TARGET = 256, 5, 2, 2.0


def made() -> dict[str, np.ndarray]:
    """Weights in PyTorch's layout, and images `[256, 28, 28]`."""
    rng = np.random.default_rng(0)
    shapes = {"c1": (6, 1, 5, 5), "c2": (16, 6, 5, 5), "f1": (120, 256), "f2": (84, 120), "f3": (10, 84)}
    found = {}
    for name, shape in shapes.items():
        found[f"{name}.weight"] = rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        found[f"{name}.bias"] = rng.normal(0, 0.1, shape[0])
    found["x"] = rng.uniform(0, 1, (IMAGES, 28, 28))
    return {name: value.astype(np.float32) for name, value in found.items()}


def lenet(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Images `[B, 28, 28]` to logits `[B, 10]`: two convolutions with average pooling, three linear layers."""
    x = x[..., None]
    for name in ("c1", "c2"):
        kernel = w[f"{name}.weight"].transpose(2, 3, 1, 0)
        x = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + w[f"{name}.bias"])
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2, -1).mean(axis=(2, 4))
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    for name in ("f1", "f2"):
        x = jax.nn.relu(x @ w[f"{name}.weight"].T + w[f"{name}.bias"])
    return x @ w["f3.weight"].T + w["f3.bias"]


def measure(peers: str) -> dict[str, Any]:
    """Times both sides, and compares their numbers.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.

    Returns:
      Seconds (the best of five), ratios theirs over ours, the largest difference, and the memory of one block.
    """
    stored = made()
    x = jnp.asarray(stored.pop("x"))
    model = Model(lenet, {name: jnp.asarray(value) for name, value in stored.items()}, name="lenet")
    by_hand = jax.jit(jax.vmap(jax.jacrev(lambda one: model(one[None])[0])))

    def ours() -> Any:
        return s.jacobian(model, x, batched=True)

    def hand() -> np.ndarray:
        return np.asarray(by_hand(x))

    started = time.perf_counter()
    found = ours()
    cold = time.perf_counter() - started
    apart = np.abs(found.value - hand()).max()
    best = {"sensijax": np.inf, "jit(vmap(jacrev)), by hand": np.inf}
    for _ in range(REPEATS):
        for name, run in zip(best, (ours, hand), strict=True):
            started = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - started)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/lenet.npz", x=np.asarray(x), **stored)  # type: ignore[arg-type]
        program = str(pathlib.Path(__file__).parent / "peers" / "jacobian_peer.py")
        done = subprocess.run(
            [peers, program, folder, str(THREADS), str(REPEATS)], check=True, capture_output=True, text=True
        )
        theirs = json.loads(done.stdout.splitlines()[-1])
        differs = np.abs(np.load(f"{folder}/jacobian.npy") - found.value).max()
    return {
        "images": IMAGES,
        "threads": THREADS,
        "seconds": {name: round(float(value), 4) for name, value in (best | theirs).items()},
        "ratio": {name: round(value / best["sensijax"], 2) for name, value in theirs.items()},
        "by_hand": round(best["jit(vmap(jacrev)), by hand"] / best["sensijax"], 2),
        "target": TARGET,
        "largest_entry": round(float(np.abs(found.value).max()), 4),
        "largest_difference": {"torch": float(f"{differs:.2g}"), "by hand": float(f"{apart:.2g}")},
        "mode": found.mode,
        "passes": found.passes,
        "block_mib": round(found.peak_bytes / 2**20, 1),
        "cold": round(cold, 2),
    }
