"""A campaign that tests run in processes of their own, to be killed."""

import jax
import numpy as np

import sensijax as sj
from sensijax.perturb import image

SIDE, EXAMPLES = 16, 256
SEVERITIES = np.linspace(0, 5, 51)


def campaign() -> sj.Campaign:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (EXAMPLES, SIDE, SIDE, 1)).astype(np.float32)
    widths = (SIDE * SIDE, 1024, 1024, 4)  # heavy enough to keep the device busier than the disk, as real models do
    weights = [
        (rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32) for a, b in zip(widths, widths[1:], strict=False)
    ]

    def apply(weights, x):
        x = x.reshape(len(x), -1)
        for w in weights:
            x = jax.nn.tanh(x @ w)
        return 3 * x

    model = sj.Model(apply, weights, name="random")
    stages = {
        "noise": sj.sweep(image.GaussianNoise, severity=SEVERITIES),
        "blur": sj.sweep(image.GaussianBlur, severity=SEVERITIES),
        "impulse": sj.sweep(image.ImpulseNoise, severity=SEVERITIES),
    }
    return sj.Campaign(
        model, sj.Dataset(x, rng.integers(0, 4, EXAMPLES)), stages, design=sj.design.pairs(at=3), seeds=4, name="killed"
    )


def run(folder, log, programs):
    """Runs the campaign into a folder; every line of the log is a phase and the rows computed so far."""
    jax.config.update("jax_compilation_cache_dir", str(programs))  # not the other tests': a kill may strike a writer
    with open(log, "a", buffering=1) as lines:
        sj.run(campaign(), folder, progress=lambda p: lines.write(f"{p.phase} {p.computed}\n"))


if __name__ == "__main__":
    run(*ARGUMENTS)  # given by whoever runs this file
