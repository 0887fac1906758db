"""A small convolutional network for the handwritten digits, trained on first use and kept."""

import dataclasses
import logging
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from sensijax import adapt
from sensijax.core.dataset import Dataset
from sensijax.core.digest import digest
from sensijax.core.errors import StoreError
from sensijax.core.model import Model
from sensijax.data import digits, split
from sensijax.demo import checkpoint
from sensijax.sensitivity import tap

_log = logging.getLogger(__name__)
_SIZE = 32
_CLASSES = tuple("0123456789")


class DigitsCNN(nnx.Module):
    """Three 3x3 convolutions of stride 2 with ReLU, then a linear layer: images `[B, 32, 32, 1]` to logits `[B, 10]`.

    No normalisation and no dropout, so training and evaluation are the same function.

    Args:
      widths: channels of the three convolutions; (16, 32, 64) makes 33,546 parameters.
      rngs: where the initial weights come from (`load` trains from others, which are drawn faster).
    """

    def __init__(self, widths: tuple[int, int, int], *, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, widths[0], (3, 3), strides=2, rngs=rngs)
        self.conv2 = nnx.Conv(widths[0], widths[1], (3, 3), strides=2, rngs=rngs)
        self.conv3 = nnx.Conv(widths[1], widths[2], (3, 3), strides=2, rngs=rngs)
        self.logits = nnx.Linear((_SIZE // 8) ** 2 * widths[2], len(_CLASSES), rngs=rngs)

    def __call__(self, x: Float[Array, "b 32 32 1"]) -> Float[Array, "b 10"]:
        for name, conv in (("conv1", self.conv1), ("conv2", self.conv2), ("conv3", self.conv3)):
            x = tap(name, nnx.relu(conv(x)))
        return tap("logits", self.logits(x.reshape(x.shape[0], -1)))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, but for the data; its digest names the checkpoint.

    Attributes:
      widths: channels of the three convolutions.
      epochs: passes over the training part, >= 1.
      batch: examples in a step; an epoch's incomplete last batch is left out.
      peak_rate: AdamW's learning rate at the peak of a one-cycle cosine schedule.
      weight_decay: AdamW's decoupled weight decay.
      seed: of the initial weights and of the order of the examples, in [0, 2**32).
      revision: raised by whoever changes the code of the network or of its training.
    """

    widths: tuple[int, int, int] = (16, 32, 64)
    epochs: int = 20
    batch: int = 64
    peak_rate: float = 5e-3
    weight_decay: float = 1e-4
    seed: int = 0
    revision: int = 1


def data() -> Dataset:
    """The third of the handwritten digits that the model has not seen: 599 images `[32, 32, 1]`, named "digits".

    Example:
      >>> data().x.shape
      (599, 32, 32, 1)
    """
    return split(digits(_SIZE))[1]


def load(cache_dir: str | os.PathLike | None = None, *, recipe: Recipe | None = None) -> Model:
    """The demonstration's model: restored from its checkpoint, or trained (some seconds) and kept.

    The checkpoint's folder is named by the digest of the recipe and of the training data, so a model that was made
    another way is never taken for this one. A damaged checkpoint is replaced; where nothing can be written the model is
    trained for this process only; both are logged as warnings.

    Args:
      cache_dir: where checkpoints are kept; `default_cache()` (`~/.cache/sensijax/models`) unless given.
      recipe: how to train; the default reaches about 98 % on `data()`.

    Returns:
      A model named "digits-cnn", from images float32 `[B, 32, 32, 1]` in [0, 1] to logits `[B, 10]`; classes "0".."9".

    Example:
      >>> import tempfile
      >>> model = load(tempfile.mkdtemp(), recipe=Recipe(epochs=1))
      >>> model(data().x[:5]).shape
      (5, 10)
    """
    recipe = Recipe() if recipe is None else recipe
    train, test = split(digits(_SIZE))
    cache = default_cache() if cache_dir is None else pathlib.Path(cache_dir)
    path = cache / f"digits-cnn-{digest('demo', recipe, train.digest)[:16]}"
    damaged = False
    if path.exists():
        try:
            return _with_params(recipe, checkpoint.restore(path).tree)
        except StoreError as error:
            _log.warning("%s; training again", error)
            damaged = True
    model = _with_params(recipe, fit(recipe, train))
    logits = jax.jit(model.apply)(model.params, test.x)
    accuracy = float(np.mean(np.argmax(logits, axis=-1) == test.y))
    _log.info("trained %s: accuracy %.4f on %d held-out digits", model.name, accuracy, len(test))
    origin = {"recipe": dataclasses.asdict(recipe), "data": train.digest, "jax": jax.__version__}
    try:
        checkpoint.save(path, model.params, {"accuracy": accuracy, **origin}, replace=damaged)
    except StoreError as error:
        _log.warning("%s; the model is kept for this process only", error)
    return model


def default_cache() -> pathlib.Path:
    """Where checkpoints are kept: `$XDG_CACHE_HOME/sensijax/models`, or `~/.cache/sensijax/models`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "sensijax" / "models"


def fit(recipe: Recipe, train: Dataset) -> dict[str, Any]:
    """Trains the network: cross-entropy, AdamW, a one-cycle schedule; the same weights each time on the same backend.

    The steps are driven from the host: on a CPU a `lax.scan` over these same steps took ten times as long.

    Args:
      recipe: how.
      train: images float32 `[N, 32, 32, 1]` and labels in 0..9; N >= `recipe.batch`.

    Returns:
      The trained parameters, nested dicts of arrays.
    """
    steps = len(train) // recipe.batch
    schedule = optax.cosine_onecycle_schedule(recipe.epochs * steps, recipe.peak_rate)
    optimizer = optax.adamw(schedule, weight_decay=recipe.weight_decay)
    network = _network(recipe)

    def step(params: Any, moments: Any, x: Array, y: Array) -> tuple[Any, Any]:
        def loss(params: Any) -> Array:
            return optax.softmax_cross_entropy_with_integer_labels(network.apply(params, x), y).mean()

        updates, moments = optimizer.update(jax.grad(loss)(params), moments, params)
        return optax.apply_updates(params, updates), moments

    step = jax.jit(step, donate_argnums=(0, 1))
    rng = np.random.default_rng(recipe.seed)
    params = _initial(network.params, rng)
    # Optax raises a float to an integer power, which a caller's strict promotion would refuse.
    with jax.numpy_dtype_promotion("standard"):
        moments = jax.jit(optimizer.init)(params)
        for _ in range(recipe.epochs):
            for rows in rng.permutation(len(train))[: steps * recipe.batch].reshape(steps, recipe.batch):
                params, moments = step(params, moments, train.x[rows], train.y[rows])
    return jax.block_until_ready(params)


def _initial(shapes: Any, rng: np.random.Generator) -> Any:
    """He-normal kernels and zero biases, by NumPy: compiling the initialisers took longer than training."""

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        if len(leaf.shape) == 1:
            return jnp.zeros(leaf.shape, leaf.dtype)
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return jnp.asarray(spread * rng.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree.map(draw, shapes)


def _network(recipe: Recipe) -> Model:
    """The network with shapes in the place of weights."""
    module = nnx.eval_shape(lambda: DigitsCNN(recipe.widths, rngs=nnx.Rngs(0)))
    return adapt.nnx(module, name="digits-cnn", classes=_CLASSES)


def _with_params(recipe: Recipe, params: Any) -> Model:
    return dataclasses.replace(_network(recipe), params=jax.tree.map(jnp.asarray, params))
