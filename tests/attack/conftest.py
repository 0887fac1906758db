"""Models whose nearest adversarial examples are known in closed form, and a small trained network."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sensijax.core import Model

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
N, D = 16, 12
QUICKLY = (
    *("test_apgd", "test_archive", "test_diagnose", "test_doctests", "test_door", "test_fab", "test_minimal"),
    *("test_pgd", "test_result", "test_spatial", "test_square", "test_targeted", "test_through", "test_transfer"),
    "test_victim",
)


@pytest.fixture(scope="module", autouse=True)
def compiled_quickly(request):
    """Without a compiler's costly passes, where they cost more than they save and no batch's bits are compared.

    The other files keep them: they say that verdicts do not depend on the batch, or may train the demonstration's
    model, which is shared and has to be the one that users have.
    """
    jax.config.update("jax_disable_most_optimizations", request.path.stem in QUICKLY)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(autouse=True)
def compiled_otherwise(request, compiled_quickly):
    """A file's tests whose names hold one of its `EXCEPT` are compiled the other way than the rest of it."""
    quickly, named = request.path.stem in QUICKLY, getattr(request.module, "EXCEPT", ())
    jax.config.update("jax_disable_most_optimizations", quickly ^ any(name in request.node.name for name in named))
    yield
    jax.config.update("jax_disable_most_optimizations", quickly)


def surface_logits(p, x):
    """Two classes; class 1 where `w @ u + q |u|^2 > c`, with u the distance from the middle of the box.

    Where `hard`, the logits say which class, and nothing else. (One function for all, so that programs are shared.)
    """
    u = x.reshape(len(x), -1) - 0.5
    score = u @ p["w"] + p["q"] * jnp.sum(u**2, axis=1) - p["c"]
    score = jnp.where(p["hard"], jnp.sign(score), score)
    return jnp.stack([jnp.zeros_like(score), score], axis=1)


@dataclasses.dataclass(frozen=True)
class Surface:
    """A model, examples of class 0, and the exact distance of each from the decision surface in every norm."""

    model: Model
    x: np.ndarray
    y: np.ndarray
    exact: dict


def model_of(w, q, c):
    params = {"w": jnp.asarray(w, jnp.float32), "q": jnp.float32(q), "c": jnp.float32(c), "hard": jnp.bool_(False)}
    return Model(surface_logits, params, name="surface")


@pytest.fixture(scope="session")
def plane():
    """A half-space: distances t, t |w|_2 / |w|_1 and t |w|_2 / |w|_inf."""
    rng = np.random.default_rng(0)
    w = rng.normal(size=D)
    u = 0.1 * rng.uniform(-1, 1, (N, D))
    t = rng.uniform(0.05, 0.2, N)
    length = np.linalg.norm(w)
    u += (-(u @ w) / length - t)[:, None] * w[None] / length
    x = (0.5 + u).astype(np.float32)
    exact = {"l2": t, "linf": t * length / np.abs(w).sum(), "l1": t * length / np.abs(w).max()}
    return Surface(model_of(w, 0, 0), x, np.zeros(N, np.int64), exact)


@pytest.fixture(scope="session")
def ball():
    """Class 0 is a ball of radius 0.35 in L2: distances 0.35 - |u|."""
    rng = np.random.default_rng(1)
    u = rng.normal(size=(N, D))
    u *= rng.uniform(0.15, 0.3, (N, 1)) / np.linalg.norm(u, axis=1, keepdims=True)
    x = (0.5 + u).astype(np.float32)
    return Surface(
        model_of(np.zeros(D), 1, 0.35**2), x, np.zeros(N, np.int64), {"l2": 0.35 - np.linalg.norm(u, axis=1)}
    )


def digits_logits(p, x):
    def convolved(x, name, stride):
        out = jax.lax.conv_general_dilated(
            x,
            p[f"{name}.weight"],
            (stride, stride),
            [(1, 1), (1, 1)],
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
        )
        return jax.nn.relu(out + p[f"{name}.bias"][None, None, None])

    x = convolved(convolved(x, "c1", 1), "c2", 2)
    x = jnp.transpose(x, (0, 3, 1, 2)).reshape(len(x), -1)
    x = jax.nn.relu(x @ p["f1.weight"].T + p["f1.bias"][None])
    return x @ p["f2.weight"].T + p["f2.bias"][None]


@pytest.fixture(scope="session")
def golden_digits():
    """(model, images `[497, 8, 8, 1]`, labels): the trained network of `autoattack_digits.npz`."""
    stored = np.load(GOLDEN / "autoattack_digits.npz")
    params = {name[2:]: jnp.asarray(stored[name]) for name in stored if name.startswith("w.")}
    model = Model(digits_logits, params, name="digits of 8 x 8")
    return model, stored["x"][..., None], stored["y"].astype(np.int64)
