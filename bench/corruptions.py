"""The image corruptions against the programs that people use, on the same images in the same run.

    python -m bench.corruptions --peers PEERS/bin/python --cores 1

PEERS is an environment with `bench/peers/requirements.txt`. Both sides get the same images, the same number of cores
and the same constants, those of severity 3 at 224 px (the peers have no others, at any size); they take turns, and the
best run of each counts, so that a busy machine slows both alike. Ours is `jit(vmap(...))` over float32 images, in
chunks within the memory that `map_variants` allows itself; theirs is given its own favourite form (bytes, or a float
tensor for kornia), one process a core. Neither side's conversion from and to files is counted.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

REPEATS = 5
BATCH = {224: 32, 32: 512}
CORRUPTIONS = {
    "GaussianNoise": "gaussian_noise",
    "ShotNoise": "shot_noise",
    "ImpulseNoise": "impulse_noise",
    "DefocusBlur": "defocus_blur",
    "GlassBlur": "glass_blur",
    "MotionBlur": "motion_blur",
    "ZoomBlur": "zoom_blur",
    "Snow": "snow",
    "Frost": "frost",
    "Fog": "fog",
    "Brightness": "brightness",
    "Contrast": "contrast",
    "Elastic": "elastic_transform",
    "Pixelate": "pixelate",
    "JPEG": "jpeg_compression",
}
TOTAL = {224: 5.0, 32: 10.0}  # what we want to be, in total over the 15: times as fast
OTHERS = {
    "GaussianNoise": "gaussian_noise",
    "GaussianBlur": "gaussian_blur",
    "JPEG": "jpeg_compression",
    "Elastic": "elastic_transform",
}


class Peer:
    """Servers of `bench/peers/speed.py`, one a core."""

    def __init__(self, python: str, cores: int):
        program = os.path.join(os.path.dirname(__file__), "peers", "speed.py")
        self.servers = [
            subprocess.Popen([python, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(cores)
        ]

    def seconds(self, **job: Any) -> float:
        """One pass over the batch, shared out; the slowest server counts."""
        line = json.dumps(job | {"batch": job["batch"] // len(self.servers)}) + "\n"
        for server in self.servers:
            server.stdin.write(line)  # type: ignore[union-attr]
            server.stdin.flush()  # type: ignore[union-attr]
        return max(float(server.stdout.readline()) for server in self.servers)  # type: ignore[union-attr]

    def close(self) -> None:
        for server in self.servers:
            server.stdin.close()  # type: ignore[union-attr]
            server.wait()


def measure(peers: str) -> dict[str, Any]:
    """Images per second of both sides, on one core and on all.

    Args:
      peers: the Python of the environment of `bench/peers/requirements.txt`.

    Returns:
      `{"1": one core, "2": two, ...}`, each `{"224" | "32": {"rows": {op: {...}}, "total": ratio, "target": ratio},
      "others": [...]}`.
    """
    found = {}
    for cores in sorted({1, os.cpu_count() or 1}):
        command = [sys.executable, "-m", "bench.corruptions", "--peers", peers, "--cores", str(cores)]
        found[str(cores)] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def _measure(peers: str, cores: int) -> dict[str, Any]:
    # Before JAX starts: its threads are as many as the cores it sees.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import jax
    import jax.numpy as jnp

    import sensijax as sj
    from sensijax.core.rows import fitting_chunk
    from sensijax.perturb import image

    sj.enable_compile_cache()
    peer = Peer(peers, cores)

    def ours(name: str, size: int) -> tuple[Any, int, int]:
        op = getattr(image, name)
        keys = jax.random.split(jax.random.key(0), BATCH[size])
        x = jnp.asarray(_pictures(size, BATCH[size]))
        perturbation = op.at(jnp.float32(3))
        program = jax.jit(jax.vmap(lambda p, key, x: p(key, x), in_axes=(None, 0, 0)))
        chunk, compiled = fitting_chunk(
            lambda rows: program.lower(perturbation, keys[:rows], x[:rows]).compile(), BATCH[size], most=BATCH[size]
        )
        while BATCH[size] % chunk:  # chunks of one length, with nothing left over
            chunk -= 1
        compiled = program.lower(perturbation, keys[:chunk], x[:chunk]).compile()
        memory: Any = compiled.memory_analysis()
        used = memory.temp_size_in_bytes + memory.output_size_in_bytes + memory.argument_size_in_bytes
        given = [(keys[i : i + chunk], x[i : i + chunk]) for i in range(0, BATCH[size], chunk)]

        def run() -> float:
            start = time.perf_counter()
            jax.block_until_ready([compiled(perturbation, *rows) for rows in given])
            return time.perf_counter() - start

        run()
        return run, used // chunk, chunk

    def against(name: str, size: int, contenders: dict[str, str]) -> dict[str, Any]:
        run, memory, chunk = ours(name, size)
        best = dict.fromkeys(("sensijax", *contenders), float("inf"))
        for _ in range(REPEATS):
            best["sensijax"] = min(best["sensijax"], run())
            for contender, op in contenders.items():
                job = {"peer": contender, "op": op, "severity": 3, "size": size, "batch": BATCH[size]}
                best[contender] = min(best[contender], peer.seconds(**job))
        print(name, size, {k: round(BATCH[size] / v) for k, v in best.items()}, file=sys.stderr)
        return {
            "images_per_second": {who: round(BATCH[size] / seconds, 1) for who, seconds in best.items()},
            "ratio": {who: round(best[who] / best["sensijax"], 2) for who in contenders},
            "bytes_per_image": memory,
            "chunk": chunk,
        }

    found: dict[str, Any] = {}
    for size in (224, 32):
        rows = {name: against(name, size, {"imagecorruptions": op}) for name, op in CORRUPTIONS.items()}
        ours_total, theirs = (
            sum(1 / row["images_per_second"][who] for row in rows.values()) for who in ("sensijax", "imagecorruptions")
        )
        found[str(size)] = {"rows": rows, "total": round(theirs / ours_total, 2), "target": TOTAL[size]}
    found["others"] = {
        name: against(name, 224, {"albumentations": op, "kornia": op}) for name, op in OTHERS.items()
    } | {"target": 2.0}
    peer.close()
    return found


def _pictures(size: int, batch: int) -> Any:
    import numpy as np

    from sensijax.data import photo

    whole = np.asarray(photo())
    rng = np.random.default_rng(0)
    if size > 32:  # mirrored and shifted round; what is in an image does not change its time
        return np.stack([np.roll(whole, rng.integers(0, size, 2), (0, 1)) for _ in range(batch)])
    corners = rng.integers(0, len(whole) - size, (batch, 2))
    return np.stack([whole[r : r + size, c : c + size] for r, c in corners])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m bench.corruptions", description=__doc__)
    arguments.add_argument(
        "--peers", required=True, help="the Python of the environment of bench/peers/requirements.txt"
    )
    arguments.add_argument("--cores", type=int, default=1, help="how many cores either side may use")
    chosen = arguments.parse_args()
    print(json.dumps(_measure(chosen.peers, chosen.cores), indent=1))


if __name__ == "__main__":
    main()
