"""AutoAttack and PGD-40 beside the programs that people use, on the same weights and the same images.

A small trained network for digits of 8 x 8 pixels and all 497 of its images (`tests/golden/autoattack_digits.npz`).
Everybody gets the same number of threads, one after the other; seconds are of whole calls, compilation apart.
"""

import json
import pathlib
import subprocess
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack import PGD, Attack, AttackResult, AutoAttack, Loop, Victim, compile_ahead
from sensijax.core import Model

THREADS, TARGET, TARGET_FAST = 2, 3.0, 5.0
BUDGETS = {"linf": 0.15, "l2": 0.6}
STORED = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "autoattack_digits.npz"


def forward(w: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Images [B, 8, 8, 1] in [0, 1] to logits [B, 10]: two convolutions, two linear layers."""
    for name, stride in (("c1", 1), ("c2", 2)):
        kernel = w[f"{name}.weight"].transpose(2, 3, 1, 0)
        x = jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + w[f"{name}.bias"])
    x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
    x = jax.nn.relu(x @ w["f1.weight"].T + w["f1.bias"])
    return x @ w["f2.weight"].T + w["f2.bias"]


def measure(peers: str) -> dict[str, Any]:
    """Runs every attack once on each side.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.

    Returns:
      Seconds, CPU seconds, robust examples and forward passes; ratios are theirs over ours.
    """
    stored = np.load(STORED)
    model = Model(forward, {k[2:]: jnp.asarray(v) for k, v in stored.items() if k.startswith("w.")}, name="digits 8x8")
    x, y = stored["x"][..., None], stored["y"]
    loop = Loop.here()
    loop = Loop(loop.width, loop.every, loop.fused, THREADS)
    found: dict[str, Any] = {"threads": THREADS, "images": len(x), "budgets": {}, "compile_seconds": {}}
    found["programs"] = {}
    for norm, eps in BUDGETS.items():
        ours: dict[str, Any] = {}
        attacks: dict[str, Attack] = {
            "standard": AutoAttack(eps=eps, norm=norm),
            "fast": AutoAttack(eps=eps, norm=norm, version="fast"),
            "pgd-40": PGD(eps=eps, norm=norm, steps=40),
        }
        for name, one in attacks.items():
            started = time.perf_counter()
            programs = compile_ahead(one, Victim.of(model), jax.ShapeDtypeStruct(x.shape, x.dtype), loop)
            found["compile_seconds"][f"{name} {norm}"] = round(time.perf_counter() - started, 2)
            found["programs"][f"{name} {norm}"] = programs
            ours[name] = _run(one, model, x, y, loop)
        theirs = _peer(peers, norm, eps)
        standard, fast = ours["standard"], ours["fast"]
        found["budgets"][f"{norm} {eps:g}"] = {
            "sensijax": ours,
            "peers": theirs,
            "standard / pyautoattack": round(theirs["pyautoattack"]["seconds"] / standard["seconds"], 2),
            "fewer forward passes of fast": round(standard["forwards"] / fast["forwards"], 2),
            "points that fast is weaker": round(100 * (fast["robust"] - standard["robust"]) / len(x), 2),
            "pgd-40 / foolbox": round(theirs["foolbox pgd-40"]["seconds"] / ours["pgd-40"]["seconds"], 2),
            "pgd-40 / torchattacks": round(theirs["torchattacks pgd-40"]["seconds"] / ours["pgd-40"]["seconds"], 2),
        }
    found["memory_mib"] = _most_memory()  # of this process so far: compilers, and what was measured before, included
    return found


def _run(one: Attack, model: Model, x: np.ndarray, y: np.ndarray, loop: Loop) -> dict[str, Any]:
    def attacked(rows: int) -> AttackResult:
        return one(jax.random.key(0), model, x[:rows], y[:rows], loop=loop, diagnose=False)

    attacked(1)  # what is left to compile: clean logits and keys
    started, cpu = time.perf_counter(), time.process_time()
    result = attacked(len(x))
    return {
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "robust": int(result.robust.sum()),
        "forwards": int(result.forwards.sum()),
        "backwards": int(result.backwards.sum()),
    }


def _peer(peers: str, norm: str, eps: float) -> dict[str, Any]:
    program = str(pathlib.Path(__file__).parent / "peers" / "attack_peer.py")
    command = [peers, program, str(STORED), norm, str(eps), str(THREADS)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _most_memory() -> int:
    """The most memory this process has had, MiB. (`getrusage` would begin with the memory of the parent.)"""
    (line,) = (line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)
