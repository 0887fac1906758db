"""A model under a perturbation, as a function of the perturbation's parameters or of its severity."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.core import ArgumentError
from sensijax.core.errors import did_you_mean
from sensijax.perturb import ChainScale, Perturbation


def example_keys(key: Any, n: int) -> jax.Array:
    """One typed key for each example: those given `[n]`, or `fold_in(key, i)` of one for example i.

    Keys by place in the batch are right where the batch is always the same; for draws that belong to an example give
    `sensijax.key_for(seed, stage, ids)`.
    """
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        came = type(key).__name__ if not hasattr(key, "dtype") else f"{key.dtype}{list(key.shape)}"
        raise ArgumentError("key", came, "a typed key, jax.random.key(0), or one for each example: key_for(seed, ...)")
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n, dtype=jnp.uint32))
    if key.shape != (n,):
        raise ArgumentError("key", f"keys {list(key.shape)}", f"one key, or one for each of {n} examples")
    return key


def check_scale(scale: Any, argument: str = "scale") -> None:
    """Refuses what has no severity scale: an instance in the place of its class, a function, a name."""
    if isinstance(scale, Perturbation):
        right = f"the class, which has the scale: {type(scale).__name__}"
        raise ArgumentError(argument, f"a {type(scale).__name__} at one setting", right)
    if not callable(getattr(scale, "at", None)):
        raise ArgumentError(argument, repr(scale), "a perturbation class, or anything else with .at(severity)")


def scales_of(scales: Any, options: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, Any, tuple], ...]:
    """(name, scale, options) of each stressor of a box, checked."""
    if not isinstance(scales, Mapping) or not scales:
        raise ArgumentError("scales", type(scales).__name__, '{"noise": image.GaussianNoise, "fog": image.Fog, ...}')
    for name, scale in scales.items():
        check_scale(scale, f"scales[{name!r}]")
    for name in options:
        if name not in scales:
            raise ArgumentError("options", repr(name), did_you_mean(name, scales))
    return tuple((name, scale, tuple(sorted(options.get(name, {}).items()))) for name, scale in scales.items())


def labels(y: Any, n: int, classes: int) -> jax.Array:
    """Class labels `[n]` in [0, classes) as int32."""
    y = np.asarray(y)
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise ArgumentError("y", f"{y.dtype}{list(y.shape)}", f"integer labels, one for each of {n} examples")
    if len(wrong := y[(y < 0) | (y >= classes)]):
        raise ArgumentError("y", int(wrong[0]), f"a class in 0..{classes - 1}")
    return jnp.asarray(y, jnp.int32)


def require_logits(spec: jax.ShapeDtypeStruct, name: str) -> int:
    """The number of classes of a model that returns logits `[B, K]`."""
    if len(spec.shape) != 2 or spec.shape[1] < 2:
        raise ArgumentError(
            "model", f"{name!r} returns {list(spec.shape)}", "logits [B, K], K >= 2: a flip needs classes"
        )
    return spec.shape[1]


class Family(NamedTuple):
    """The perturbations that one varies over, by its floating parameters.

    Attributes:
      names: of the scalars, `"density"`, `"links[1].std"`, `"weights[0]"`, or `("severity",)`.
      theta: the floating leaves, where one stands.
      rest: the other leaves.
      rebuild: hashable; `rebuild(theta, rest)` is the perturbation.
      skipped: names of leaves that have no derivative (integers, booleans).
    """

    names: tuple[str, ...]
    theta: tuple[jax.Array, ...]
    rest: tuple[Any, ...]
    rebuild: Callable[[Any, Any], Any]
    skipped: tuple[str, ...]


class _Rebuild(NamedTuple):
    """A perturbation from its leaves; compares by structure, so that its program is kept."""

    structure: Any
    floating: tuple[bool, ...]

    def __call__(self, theta: Any, rest: Any) -> Any:
        theta, rest = iter(theta), iter(rest)
        return jax.tree.unflatten(self.structure, [next(theta) if f else next(rest) for f in self.floating])


class _At(NamedTuple):
    """A scale at a severity."""

    scale: Any
    options: tuple[tuple[str, Any], ...]

    def __call__(self, theta: Any, rest: Any) -> Any:
        return self.scale.at(theta[0], **dict(self.options))


def of_severity(scale: Any, severity: float, options: Mapping[str, Any]) -> Family:
    """The family of a severity scale; refuses a severity that its `.at` refuses."""
    check_scale(scale, "perturbation")
    scale.at(severity, **options)
    return Family(
        ("severity",), (jnp.asarray(severity, jnp.float32),), (), _At(scale, tuple(sorted(options.items()))), ()
    )


def of_parameters(perturbation: Perturbation) -> Family:
    """The family of all floating parameters of a perturbation, chains and choices included."""
    if not isinstance(perturbation, Perturbation):
        came = perturbation.__name__ if isinstance(perturbation, (type, ChainScale)) else type(perturbation).__name__
        raise ArgumentError(
            "perturbation", came, "a perturbation at one setting, image.Fog.at(3); or its class with `severity=`"
        )
    names, theta, rest, floating, skipped = [], [], [], [], []
    found, structure = jax.tree_util.tree_flatten_with_path(perturbation)
    for path, leaf in found:
        name = jax.tree_util.keystr(path).removeprefix(".")
        floating.append(bool(jnp.issubdtype(jnp.result_type(leaf), jnp.floating)))
        if not floating[-1]:
            skipped.append(name)
            rest.append(leaf)
            continue
        # A Python float has a weak type, which a program would see as another one.
        theta.append(jnp.asarray(leaf, jnp.result_type(leaf)))
        shape = np.shape(leaf)
        names += [name + (str([int(i) for i in index]) if shape else "") for index in np.ndindex(shape)]
    if not theta:
        raise ArgumentError("perturbation", type(perturbation).__name__, "at least one floating parameter")
    return Family(tuple(names), tuple(theta), tuple(rest), _Rebuild(structure, tuple(floating)), tuple(skipped))


def at_identity(perturbation: Any) -> np.ndarray:
    """For each leaf, bool `[leaves]`: does it belong to a perturbation that is the identity here?

    There `Perturbation.__call__` selects the input itself, so that derivatives with respect to the leaf are zero on
    paper, whatever happens on either side.
    """
    if isinstance(perturbation, Perturbation) and bool(perturbation.is_identity()):
        return np.ones(len(jax.tree.leaves(perturbation)), bool)
    if jax.tree_util.all_leaves([perturbation]):
        return np.zeros(1, bool)
    children = jax.tree.leaves(perturbation, is_leaf=lambda child: child is not perturbation)
    return np.concatenate([np.zeros(0, bool), *(at_identity(child) for child in children)])


def under(apply: Callable, rebuild: Callable) -> Callable:
    """`(params, theta, rest, keys, x) -> outputs`: the model on a batch that one perturbation has passed."""

    def run(params: Any, theta: Any, rest: Any, keys: jax.Array, x: jax.Array) -> jax.Array:
        return apply(params, jax.vmap(rebuild(theta, rest))(keys, x))

    return run


def at_severities(apply: Callable, scale: Any, options: tuple) -> Callable:
    """`(params, severity[R], keys[R], x[R]) -> outputs[R, ...]`: every row at a severity of its own."""

    def run(params: Any, severity: jax.Array, keys: jax.Array, x: jax.Array) -> jax.Array:
        return apply(params, jax.vmap(lambda s, k, v: scale.at(s, **dict(options))(k, v))(severity, keys, x))

    return run
