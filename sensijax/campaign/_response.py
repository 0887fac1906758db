"""A campaign's damage as a function of its severities: what sensitivity analysis asks of a model under stress."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax import measure as measures
from sensijax.campaign._campaign import campaign_faults
from sensijax.campaign._scenario import Sweep
from sensijax.campaign.design import isolated
from sensijax.core import ArgumentError, CampaignError, Dataset, Model, example_key
from sensijax.core.errors import did_you_mean
from sensijax.core.keys import stage_key_data, words
from sensijax.perturb import Perturbation
from sensijax.sensitivity import Space, Uniform

TOP = 5.0
ROWS_AT_ONCE = 4096
"""Perturbed examples, of all points, that are in memory together."""
Measure = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class CampaignResponse:
    """The mean of a measure over a campaign's examples, as a pure function of severities. Made by `campaign_response`.

    Random draws are those of a campaign with this seed: a function of (seed, stage, example id), so all severities
    share them, and the response at the settings of a scenario is the mean of what `run` stores for it.

    Attributes:
      space: the inputs, a setting for each stage in the order in which they act; `Uniform(0, 5)`, or from the smallest
        to the largest value where a parameter is swept. Hand over another with the same names where severities have
        another distribution.
      names: of the stages.
      measured: the name of the measure.
      n_examples: over which the mean is taken.
    """

    def __init__(self, model: Model, data: Dataset, stages: Mapping[str, Sweep], seed: int, measure: Any, chunk: int):
        examples = data.take(np.argsort(data.ids, kind="stable"))
        self.names = tuple(stages)
        self.space = Space({name: Uniform(*_range(name, sweep)) for name, sweep in stages.items()})
        self.measured, self._measure = _measure(measure, examples.is_classification)
        self.n_examples = len(examples)
        self._apply, self._params, self._stages = model.apply, model.params, tuple(stages.values())
        self._keys = np.stack([stage_key_data(seed, name) for name in stages])
        # Chunks of one shape; the examples that fill the last one up weigh nothing.
        count = -(-len(examples) // chunk)
        rows = np.minimum(np.arange(count * chunk), len(examples) - 1)
        weight = (np.arange(count * chunk) < len(examples)).astype(np.float32)
        parts = (examples.x[rows], examples.y[rows], words(examples.ids)[rows], weight)
        parts = tuple(jnp.asarray(part.reshape(count, chunk, *part.shape[1:])) for part in parts)
        clean = jax.jit(lambda params, x: jax.lax.map(functools.partial(self._apply, params), x))(
            self._params, parts[0]
        )
        self._parts = (*parts, clean)

        at = jax.ShapeDtypeStruct((len(stages),), jnp.float32)
        try:
            jax.eval_shape(jax.grad(self._mean), at)
            gradient = jax.grad(self._mean)
        except (
            TypeError,
            ValueError,
            NotImplementedError,
        ):  # a loop of unknown length, or a model without reverse mode
            gradient = jax.jacfwd(self._mean)
        self._bounded = _bounded(self._mean, gradient, max(1, ROWS_AT_ONCE // chunk))

    def __call__(self, severities: jax.Array) -> jax.Array:
        """The mean at one point: severities `[d]` to a scalar. Under `vmap` memory does not grow with the points."""
        severities = jnp.asarray(severities)
        if severities.shape != (len(self.names),):
            raise ArgumentError("severities", f"shape {list(severities.shape)}", f"[{len(self.names)}]: {self.names}")
        return self._bounded(severities.astype(jnp.float32))

    def _mean(self, severities: jax.Array) -> jax.Array:
        stages = [_at(stage, severities[i]) for i, stage in enumerate(self._stages)]

        def example(ids: jax.Array, x: jax.Array) -> jax.Array:
            for key, stage in zip(self._keys, stages, strict=True):
                x = stage(example_key(jnp.asarray(key), ids), x)
            return x

        def step(total: jax.Array, part: Any) -> tuple[jax.Array, None]:
            x, y, ids, weight, clean = part
            outputs = self._apply(self._params, jax.vmap(example)(ids, x))
            value = self._measure(outputs, y, clean).astype(jnp.float32)
            return total + jnp.sum(jnp.where(weight > 0, value, jnp.zeros((), value.dtype))), None

        total, _ = jax.lax.scan(step, jnp.zeros((), jnp.float32), self._parts)
        return total / self.n_examples


def _bounded(mean: Callable, gradient: Callable, most: int) -> Callable:
    """A function whose `vmap` runs at most so many points at once, and which can still be differentiated both ways.

    Batching is by a rule of its own, which JAX cannot transpose; so the derivative is stated, as the product of the
    gradient, batched by the same rule, with the tangent.
    """

    def in_groups(f: Callable) -> Callable:
        batched = jax.custom_batching.custom_vmap(f)

        @batched.def_vmap
        def rule(axis_size: int, in_batched: Any, severities: jax.Array) -> tuple[jax.Array, bool]:
            group = max(k for k in range(1, min(most, axis_size) + 1) if axis_size % k == 0)
            return jax.lax.map(f, severities, batch_size=group), True

        return batched

    value, slope = in_groups(mean), in_groups(gradient)

    @jax.custom_jvp
    def response(severities: jax.Array) -> jax.Array:
        return value(severities)

    @response.defjvp
    def push(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
        return value(*primals), jnp.dot(slope(*primals), *tangents)

    return response


def campaign_response(
    model: Model,
    data: Dataset,
    stages: Mapping[str, Any],
    *,
    seed: int = 0,
    response: str | Measure = "loss",
    chunk: int = 16,
) -> CampaignResponse:
    """The mean loss (or another measure) of a model as a pure function of the severities of stages.

    For `sensitivity.sobol(r, r.space, ...)`, which says which stressor, and which pair, drives the damage; and for
    every other method there. All stages act, one after the other in their order, each at its own severity.

    Args:
      model: the model.
      data: labelled examples; take a sample of them where one call is too dear: `data.take(...)`.
      stages: name to a `Sweep` or a perturbation class. A sweep says the range of a parameter; of severities the range
        is [0, 5], whatever was swept.
      seed: of the random draws, in [0, 2**64).
      response: the name of a numeric response of `sensijax.measure`, such as "loss", "margin", "confidence", "correct"
        (whose mean is the accuracy), "flipped", "kl", or "shift" of a regression; or a pure function
        `(outputs[B, ...], y[B], clean_outputs[B, ...]) -> [B]`. "correct" and "flipped" move in steps: no derivatives.
      chunk: examples put through the model at once for one point; of points so many are taken together under `vmap`
        that about four thousand examples are in memory.

    Returns:
      A `CampaignResponse`.

    Raises:
      CampaignError: if model, data and stages do not fit one another: all faults at once.
      ArgumentError: if another argument does not fit.

    Example:
      >>> from sensijax.perturb import image
      >>> model = Model(lambda w, x: x.reshape(len(x), -1) @ w, np.eye(64, 2, dtype=np.float32), name="linear")
      >>> data = Dataset(np.full((3, 8, 8, 1), 0.5, np.float32), np.array([0, 1, 1]))
      >>> r = campaign_response(model, data, {"noise": image.GaussianNoise, "light": image.Brightness})
      >>> r.space.names, round(float(r(jnp.zeros(2))), 3)
      (('noise', 'light'), 0.693)
    """
    if not isinstance(stages, Mapping):
        raise ArgumentError("stages", type(stages).__name__, "name to a sweep or a perturbation class")
    swept = {n: v if isinstance(v, Sweep) else Sweep(v, "severity", (0.0, TOP)) for n, v in stages.items()}
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ArgumentError("chunk", repr(chunk), "at least one example")
    if faults := list(campaign_faults(_Asked(model, data, swept, seed))):
        raise CampaignError(faults)
    for name, stage in swept.items():
        if not isinstance(stage.at(max(stage.values)), Perturbation):
            right = (
                "a perturbation: what looks at the model or the labels has no response as a function of severity alone"
            )
            raise ArgumentError(f"stages[{name!r}]", stage.kind, right)
    if np.issubdtype(data.x.dtype, np.floating):
        finite = np.isfinite(data.x).reshape(len(data), -1).all(axis=1)
        if not finite.all():
            right = "finite ones: data.take(np.isfinite(data.x).all(axis=...)); they have no response"
            raise ArgumentError("data.x", f"{(~finite).sum()} examples that are not finite", right)
    return CampaignResponse(model, data, swept, seed, response, min(chunk, len(data)))


class _Asked:
    """What a campaign's door looks at."""

    name, tolerance, timelines = "response", 0.05, {}

    def __init__(self, model: Any, data: Any, stages: Any, seed: Any):
        self.model, self.data, self.stages, self.seeds, self.design = model, data, stages, [seed], isolated()


def _at(sweep: Sweep, value: jax.Array) -> Any:
    """The perturbation at a traced setting."""
    if sweep.axis == "severity":
        return sweep.target.at(value, **sweep.options)
    return sweep.target(**{sweep.axis: value, **sweep.options})


def _range(name: str, sweep: Sweep) -> tuple[float, float]:
    if sweep.axis == "severity":
        try:
            sweep.at(TOP)
        except ArgumentError:  # a scale of the user's own, that ends elsewhere
            return 0.0, max(sweep.values)
        return 0.0, TOP
    low, high = min(sweep.values), max(sweep.values)
    if not low < high:
        raise ArgumentError(f"stages[{name!r}]", f"one setting, {low:g}", "at least two: a range")
    return low, high


def _measure(response: Any, classification: bool) -> tuple[str, Measure]:
    if callable(response):
        return getattr(response, "__name__", type(response).__name__), response  # type: ignore[reportReturnType]
    respond = measures.classification_responses if classification else measures.regression_responses
    known = _numeric(classification)
    if response not in known:
        raise ArgumentError("response", repr(response), did_you_mean(str(response), known))

    def measured(outputs: jax.Array, y: jax.Array, clean: jax.Array) -> jax.Array:
        return respond(outputs, y, clean, jnp.ones(len(outputs), bool))[response]

    return response, measured


def _numeric(classification: bool) -> list[str]:
    if not classification:
        return ["loss", "shift"]
    return ["brier", "confidence", "correct", "entropy", "flipped", "kl", "loss", "margin"]
