"""The contract of annotation noise: from true labels to the labels that people wrote down."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32

from sensijax.core.errors import ArgumentError
from sensijax.core.keys import SHARED, check_key, keys_of, words
from sensijax.core.struct import static, struct
from sensijax.label._validate import check_labels, flat_examples
from sensijax.label.votes import Votes

if TYPE_CHECKING:
    from sensijax.label.crowd import Crowd

LEARNED = {"learned": True}
"""Metadata of a field that `fit` fills in: no parameter, and not shown in the condition."""

VOTERS, _VOTER = 5, 0x766F7465  # how many say what they would have written, and where their keys begin


@struct
class LabelResult:
    """Observed labels, each with what it should have been, who wrote it, when, under which condition.

    Attributes:
      labels: int32 `[N]`, as observed.
      truth: int32 `[N]`, the true ones.
      probability: float32 `[N]` in [0, 1], the chance that this example's label came out wrong.
      annotator: int32 `[N]`, who wrote the label; -1 where no annotator is modelled.
      when: int32 `[N]`, which of that annotator's labels it was, from 0; -1 where no order is modelled.
      votes: int32 `[N, A]`, what each of several annotators said, -1 for no vote; None where one wrote the label.
      condition: under which noise, with its parameters, in words.
    """

    labels: Int32[Array, "n"]
    truth: Int32[Array, "n"]
    probability: Float[Array, "n"]
    annotator: Int32[Array, "n"]
    when: Int32[Array, "n"]
    votes: Int32[Array, "n a"] | None = None
    condition: str = static(default="")

    @property
    def wrong(self) -> Array:
        """bool `[N]`, whether the observed label is not the true one."""
        return self.labels != self.truth


@struct
@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static, dataclasses.field))
class LabelNoise:
    """A frozen pytree that turns true labels into observed ones: `(key, y, x) -> LabelResult`.

    Its rate is a leaf. A subclass states its fields, `is_identity` and `distributions`: for each example, with which
    probability each class is written down. The draw is made here, for all noises alike: one uniform number for each
    example, a function of (key, example id), against the distribution with the true class first. So with a higher rate
    more labels are wrong, and those that were wrong stay wrong; and no label depends on the others in the batch.

    What it must know of the data (how many classes there are, where they lie) it learns in `fit`, which a campaign
    calls by itself. The annotator sees the example as it is in the data, whatever other stages do to the model's input.

    Attributes:
      classes: K; 0 until it is given or learned.

    Class attributes:
      deterministic: True if no label depends on the key; such a scenario is computed for one seed only.
      looks: whether the noise depends on the examples, and not on their labels alone.
      drawn: whether the distributions themselves are drawn: they, and `transition`, depend on the key.
      varies: whether examples of one class have different distributions though nobody looks at them.
    """

    deterministic: ClassVar[bool] = False
    looks: ClassVar[bool] = False
    drawn: ClassVar[bool] = False
    varies: ClassVar[bool] = False

    classes: int = static(default=0, kw_only=True)

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        struct(cls)

    def fit(self, x: np.ndarray, y: np.ndarray, classes: int) -> Self:
        """The same noise, knowing the data.

        Args:
          x: `[N, ...]` the examples.
          y: integers `[N]` in [0, classes), the true labels.
          classes: K >= 2.

        Returns:
          A noise that can be called.

        Raises:
          ArgumentError: if the data do not allow this noise.
        """
        return dataclasses.replace(self, classes=classes)  # type: ignore[type-var]

    def is_identity(self) -> Any:
        """Whether the parameters are those of no noise at all."""
        return False

    def distributions(self, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
        """How likely each class is to be written down.

        Args:
          key: for draws that all examples share (`jax.random.fold_in(key, SHARED)`); an example's own are made from
            `keys_of(key, ids)`, and not from their first uniform number, which decides the label.
          y: int32 `[N]`, true labels.
          x: float32 `[N, D]`, the examples, flattened; None for noise that does not look.
          ids: uint32 `[N, 2]`, the examples' ids as words.

        Returns:
          float32 `[N, K]`, rows that sum to one.
        """
        raise NotImplementedError

    def provenance(self, key: Array, ids: Array) -> tuple[Array, Array]:
        """Who wrote each label, and which of that annotator's labels it was.

        Args:
          key: as in `distributions`.
          ids: uint32 `[N, 2]`.

        Returns:
          int32 `[N]` twice: `annotator` and `when` of the result. Both are -1 where no annotator is modelled.
        """
        nobody = jnp.full(len(ids), -1, jnp.int32)
        return nobody, nobody

    def check(self, x: np.ndarray | None) -> None:
        """Refuses what cannot be observed: examples of another kind than the noise was fitted to, or no fit at all.

        Args:
          x: float32 `[N, D]`, the examples, flattened; None for noise that does not look.

        Raises:
          ArgumentError: if so.
        """

    def crowd(self, key: Array) -> "Crowd | None":
        """The annotators behind the labels, with their confusion matrices; None where nobody in particular errs.

        Args:
          key: the key of the call.
        """
        return None

    def votes(self, key: Array, y: Any, x: Any = None, *, ids: Any = None) -> Votes:
        """What annotators would say who err in this way, each about every item and apart from the others.

        People seldom know how often their annotators are wrong, but how far they agree: the agreement of these votes
        (`krippendorff_alpha`) is how to find one's place on the axis of the rate.

        Args, Raises: as for a call.

        Returns:
          The votes of 5 annotators; of those behind the labels, where a noise knows them one by one.
        """
        their = jax.random.fold_in(check_key(key), SHARED)
        each = [self(jax.random.fold_in(their, _VOTER + a), y, x, ids=ids) for a in range(VOTERS)]
        votes, right = _as_columns([result.labels for result in each], [result.probability for result in each])
        return Votes(votes, jnp.full(votes.shape, -1, jnp.int32), right, each[0].truth, self.condition)

    def transition(self, key: Array | None = None, y: Any = None, x: Any = None, *, ids: Any = None) -> np.ndarray:
        """How often each class is written down for each true one: T[i, j] = P(observed j | true i).

        A measured accuracy is corrected by it, and a loss with forward or backward correction takes it.

        Args:
          key: the key that the noise is called with; needed where the distributions are drawn (`drawn`).
          y: true labels, as in a call; needed where examples of one class differ (`looks`, `varies`). The matrix is
            then the mean over the examples of each class.
          x: the examples, likewise.
          ids: their ids, likewise.

        Returns:
          float64 `[K, K]`, rows that sum to one.

        Raises:
          ArgumentError: if something that the noise needs is missing, or a class has no example to average over.

        Example:
          >>> from sensijax.label import PairFlip
          >>> PairFlip(rate=0.25, classes=3).transition().tolist()
          [[0.75, 0.25, 0.0], [0.0, 0.75, 0.25], [0.25, 0.0, 0.75]]
        """
        if self.drawn and key is None:
            raise ArgumentError("key", None, f"the key of the call: what {type(self).__name__} does is drawn from it")
        if not (self.looks or self.varies):
            y, x, ids = np.arange(max(self.classes, 1)), None, None
        elif y is None:
            raise ArgumentError("y", None, f"true labels: {type(self).__name__} is known as a mean over examples alone")
        key, (y, x, ids) = key if key is None else check_key(key), self._door(y, x, ids)
        counts = np.bincount(y, minlength=self.classes)
        if not counts.all():
            raise ArgumentError("y", f"no example of class {np.argmin(counts)}", "examples of every class")
        key = jax.random.key(0) if key is None else key
        p = np.asarray(_distributions(self, key, y, x, ids), np.float64)
        total = np.zeros((self.classes, self.classes))
        np.add.at(total, y, p)
        return total / total.sum(axis=1, keepdims=True)

    def __call__(self, key: Array, y: Any, x: Any = None, *, ids: Any = None) -> LabelResult:
        """Observes labels.

        Args:
          key: a typed PRNG key, scalar.
          y: integers `[N]` in [0, K), the true labels.
          x: `[N, ...]` the examples, for noise that looks at them.
          ids: integers `[N]` in [0, 2**63); 0..N-1 unless given. The draw of an example is a function of (key, id).

        Returns:
          The observed labels with their provenance. At the identity they are the true ones.

        Raises:
          ArgumentError: if the key is not typed, the labels are no classes, lengths differ, or the noise needs
            examples and has none.
        """
        key, (y, x, ids) = check_key(key), self._door(y, x, ids)
        p = _distributions(self, key, y, x, ids)
        labels, wrong = _draw(p, places(key, ids), y)
        return LabelResult(labels, jnp.asarray(y), wrong, *_provenance(self, key, ids), condition=self.condition)

    def _door(self, y: Any, x: Any, ids: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Checked: labels int32 `[N]`, examples float32 `[N, D]` if the noise looks, ids as words `[N, 2]`."""
        if self.classes < 2:
            raise ArgumentError("classes", self.classes, f"2 or more: {type(self).__name__}(..., classes=K), or fit")
        y = check_labels(y, self.classes)
        if x is None and self.looks:
            raise ArgumentError("x", None, f"the examples: {type(self).__name__} looks at them")
        if x is not None and len(x) != len(y):
            raise ArgumentError("x", f"{len(x)} examples", f"one for each of the {len(y)} labels")
        ids = np.arange(len(y)) if ids is None else np.asarray(ids)
        if ids.shape != y.shape:
            raise ArgumentError("ids", f"shape {list(ids.shape)}", f"one id for each of the {len(y)} labels")
        x = flat_examples(x) if self.looks else None
        self.check(x)
        return y, x, words(ids, "ids")

    @property
    def condition(self) -> str:
        """The noise with its parameters, in words: `Symmetric(rate=0.2)`."""
        given = [f for f in dataclasses.fields(self) if f.name != "classes" and not f.metadata.get("learned")]
        values = {f.name: getattr(self, f.name) for f in given}
        shown = [f"{name}={_shown(value)}" for name, value in values.items() if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


def _shown(value: Any) -> str:
    if np.ndim(value):
        return f"array{list(np.shape(value))}"
    return f"{float(value):.7g}" if hasattr(value, "dtype") or isinstance(value, (int, float)) else str(value)


@jax.jit
def _distributions(noise: LabelNoise, key: Array, y: Array, x: Array | None, ids: Array) -> Array:
    return noise.distributions(key, y, x, ids)


@jax.jit
def _provenance(noise: LabelNoise, key: Array, ids: Array) -> tuple[Array, Array]:
    return noise.provenance(key, ids)


# The draw is a program of its own, which all noises share: most of what compiling one of them costs is in it.
@jax.jit
def places(key: Array, ids: Array) -> Array:
    """The uniform number of each example: float32 `[N]` in [0, 1), a function of (key, id)."""
    return jax.vmap(lambda own: jax.random.uniform(own, (), jnp.float32))(keys_of(key, ids))


@jax.jit
def _as_columns(labels: list[Array], wrong: list[Array]) -> tuple[Array, Array]:
    return jnp.stack(labels, axis=1), 1 - jnp.stack(wrong, axis=1)


@jax.jit
def _draw(p: Array, u: Array, y: Array) -> tuple[Array, Array]:
    return draw_labels(u, p, y), 1 - jnp.take_along_axis(p, y[:, None], axis=1)[:, 0]


def draw_labels(u: Array, p: Array, y: Array) -> Array:
    """One class for each row, by inversion, the true class first.

    Args:
      u: float32 `[N]` in [0, 1), uniform.
      p: float32 `[N, K]`, rows that sum to one.
      y: int32 `[N]`, the true classes.

    Returns:
      int32 `[N]`: y where u < p[y], else one of the other classes, in their order.

    Example:
      >>> u, p = jnp.array([0.1, 0.9]), jnp.array([[0.2, 0.8], [0.5, 0.5]])
      >>> jax.jit(draw_labels)(u, p, jnp.array([1, 1])).tolist()
      [1, 0]
    """
    own = jnp.take_along_axis(p, y[:, None], axis=1)
    is_own = y[:, None] == jnp.arange(p.shape[1])[None]
    upper = own + jnp.cumsum(jnp.where(is_own, 0, p), axis=1)  # of each other class's stretch of [0, 1)
    # What rounding leaves above the last stretch belongs to the last class that is possible.
    possible = ~is_own & (p > 0)
    last = p.shape[1] - 1 - jnp.argmax(possible[:, ::-1], axis=1)
    other = jnp.minimum(jnp.argmax((u[:, None] < upper) & possible, axis=1), last)
    found = jnp.any((u[:, None] < upper) & possible, axis=1)
    drawn = jnp.where(found, other, jnp.where(possible.any(axis=1), last, y))
    return jnp.where(u < own[:, 0], y, drawn).astype(jnp.int32)
