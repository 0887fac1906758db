"""What holds from one process to the next: digests, and imports that wait until they are needed."""

import os
import subprocess
import sys

SOURCE = """
import jax, jax.numpy as jnp
import equinox as eqx, flax.linen as nn
from flax import nnx
from sensijax import adapt

x = jnp.ones((2, 4))
rngs = nnx.Rngs(0)
module = nnx.Sequential(nnx.Linear(4, 4, rngs=rngs), nnx.Dropout(0.5, rngs=rngs), nnx.BatchNorm(4, rngs=rngs))
module.eval()
dense = nn.Dense(3)
normed, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, axis_name="batch", mode="batch")
digests = [
    adapt.nnx(module).digest,
    adapt.linen(dense, dense.init(jax.random.key(0), x)).digest,
    adapt.equinox(eqx.nn.MLP(4, 3, 8, 2, key=jax.random.key(0))).digest,
    adapt.equinox(eqx.nn.inference_mode(normed), state=state).digest,
]
"""


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **environment},
    )
    return done.stdout.split()


def test_digests_are_the_same_in_another_process():
    here = {}
    exec(SOURCE, here)
    assert len(set(here["digests"])) == 4
    assert run(f"{SOURCE}\nprint(*digests)", PYTHONHASHSEED="7") == here["digests"]


def test_importing_adapt_imports_no_framework():
    assert run("import sys, sensijax.adapt\nprint(*{'flax', 'equinox', 'orbax'} & set(sys.modules))") == []
