"""Spatial attacks: the image is turned and shifted, by a grid of poses or along the gradient."""

import dataclasses
import functools
import itertools
import math
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sensijax.attack._attack import Attack
from sensijax.attack._goal import Goal, Trace, fools
from sensijax.attack._norm import choose
from sensijax.attack._parameters import Parameters, is_new, pulled, slopes
from sensijax.attack._pursuit import Pursued
from sensijax.attack._result import AttackResult
from sensijax.attack._victim import Victim
from sensijax.attack.losses import Loss, cross_entropy, margin
from sensijax.core.errors import ArgumentError
from sensijax.core.one_program import one_program
from sensijax.core.struct import static, struct
from sensijax.perturb.image._maps import Affine, frame_centre
from sensijax.perturb.image._warp import Step, Warp

pose = Parameters("pose", 1.0)
"""The budget of spatial attacks: the share of the largest turn and shift that is allowed."""


def posed(image: Float[Array, "H W C"], degrees: Any, down: Any, right: Any) -> Float[Array, "H W C"]:
    """An image turned about its centre and shifted, in one bilinear resampling; differentiable in all arguments.

    What comes into the frame continues the border's last pixel, as in `sensijax.perturb.image.Rotation`.

    One compiled program also where no `jit` surrounds it.

    Args:
      image: float32 `[H, W, C]`.
      degrees: the angle, counter-clockwise.
      down, right: the shift, as a fraction of the image's shorter side.

    Returns:
      float32 `[H, W, C]`, within the range of `image`; at the pose (0, 0, 0) the image, bit for bit.

    Example:
      >>> image = jnp.zeros((9, 9, 1)).at[4, 8].set(1.0)
      >>> round(float(posed(image, 90.0, 0.0, 0.0)[0, 4, 0]), 3)
      1.0
    """
    degrees, down, right = (jnp.asarray(value, jnp.float32) for value in (degrees, down, right))
    return _posed(image, degrees, down, right)


@one_program
def _posed(image: Array, degrees: Array, down: Array, right: Array) -> Array:
    height, width, _ = image.shape
    angle = degrees * np.float32(math.pi / 180)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    matrix = jnp.stack([jnp.stack([cos, sin]), jnp.stack([-sin, cos])])
    centre = frame_centre(height, width)
    shift = jnp.stack([down, right]) * np.float32(min(height, width))
    turn = Affine(matrix, matrix.T, origin=centre + shift, reads=centre)
    still = (degrees == 0) & (down == 0) & (right == 0)
    return Warp((Step(turn),), still, height, width).image(image)


@struct
class PoseTrace(Trace):
    """Attributes: `at`, `[B, 3]` the pose to evaluate next, in shares of its bounds; `found_at` that of `found`."""

    at: Float[Array, "B 3"]
    found_at: Float[Array, "B 3"]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SpatialResult(AttackResult):
    """An `AttackResult` with the pose of each adversarial example: `posed(x[i], degrees[i], down[i], right[i])` is it.

    Attributes:
      degrees, down, right: float32 `[N]`; 0 for what is not broken. See `posed`.
    """

    degrees: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    down: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))
    right: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))


class _Spatial(Attack):
    """What both share: the bounds, and how a pose is looked at."""

    eps: Any = 1.0
    norm: Any = static(default=pose)
    degrees: float = static(default=30.0)
    shift: float = static(default=0.1)
    carries: ClassVar = ("found_at",)

    def __post_init__(self):
        super().__post_init__()
        if not (0 <= self.degrees <= 180 and 0 <= self.shift <= 1 and self.degrees + self.shift > 0):
            raise ArgumentError("degrees, shift", f"{self.degrees}, {self.shift}", "in [0, 180] and [0, 1], not both 0")
        if self.norm != pose:
            raise ArgumentError("norm", str(self.norm), "a spatial attack is bounded by `degrees`, `shift` and `eps`")

    def _bounds(self) -> np.ndarray:
        return np.array([self.degrees, self.shift, self.shift], np.float32)

    def _begun(self, goal: Goal, at: Float[Array, "B 3"]) -> PoseTrace:
        if goal.x.ndim != 4:
            raise ArgumentError("x", f"shape {list(goal.x.shape)}", "images [N, H, W, C]")
        return PoseTrace(**self.trace(goal, goal.x), at=at, found_at=jnp.zeros_like(at))

    def _images(self, goal: Goal, at: Float[Array, "B 3"]) -> Array:
        poses = at * jnp.asarray(self._bounds())[None]
        return jax.vmap(lambda x, p: posed(x, p[0], p[1], p[2]))(goal.x, poses)

    def _kept(self, goal: Goal, state: PoseTrace, x: Array, logits: Array, strength: Array) -> PoseTrace:
        state = dataclasses.replace(state, x=x)
        after = self.noted(goal, state, fools(logits, goal), strength, jnp.max(jnp.abs(state.at), axis=1))
        return dataclasses.replace(after, found_at=choose(is_new(after, state), state.at, state.found_at))

    def told(self, result: AttackResult, index: np.ndarray, pursued: list[Pursued]) -> SpatialResult:
        poses = np.zeros((len(result), 3), np.float32)
        if len(index):
            poses[index] = pursued[0].carried["found_at"] * self._bounds() * pursued[0].broken[:, None]
        fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
        return SpatialResult(**fields, degrees=poses[:, 0], down=poses[:, 1], right=poses[:, 2])


class SpatialGrid(_Spatial):
    """Every pose of a grid of turns and shifts, the mildest first, until one is misclassified.

    Attributes:
      eps: the share of the bounds that is allowed, in (0, 1]: a curve over it is one sweep.
      box: the closed range of valid inputs.
      degrees: the largest turn to either side.
      shift: the largest shift in each of the four directions, as a fraction of the shorter side.
      turns: angles of the grid, odd, so that one of them is 0.
      shifts: shifts of the grid along each axis, odd.

    Reference:
      Engstrom, Tran, Tsipras, Schmidt and Madry, "Exploring the landscape of spatial robustness", ICML 2019: 31 turns
      by 5 x 5 shifts. There what comes into the frame is black; here the border's last pixel goes on.

    Example:
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: jnp.stack([x[:, :4].sum((1, 2, 3)), x[:, 4:].sum((1, 2, 3))], 1), 0, name="top?")
      >>> x = np.zeros((1, 8, 8, 1), np.float32)
      >>> x[0, 2:4, 3:5] = 1
      >>> result = SpatialGrid(degrees=0.0, shift=0.25)(jax.random.key(0), model, x, np.array([0]))
      >>> result.down.tolist()  # by two pixels; after one, it is a tie
      [0.25]
    """

    turns: int = static(default=31)
    shifts: int = static(default=5)
    backwards: ClassVar[int] = 0
    deterministic = True

    def __post_init__(self):
        super().__post_init__()
        for name in ("turns", "shifts"):
            if getattr(self, name) < 1 or getattr(self, name) % 2 == 0:
                raise ArgumentError(name, getattr(self, name), "an odd number")

    @property
    def most_steps(self) -> int:
        return len(self._grid())

    def _grid(self) -> np.ndarray:
        return _grid(self.turns if self.degrees else 1, self.shifts if self.shift else 1)

    def begin(self, goal: Goal) -> PoseTrace:
        return self._begun(goal, self.eps[:, None] * jnp.asarray(self._grid()[0])[None])

    def advance(self, victim: Victim, goal: Goal, state: PoseTrace) -> PoseTrace:
        x = self._images(goal, state.at)
        logits = victim.logits(x, goal.keys(state.step + 1))
        state = self._kept(goal, state, x, logits, margin(logits, goal.y, goal.target))
        grid = jnp.asarray(self._grid())
        after = jnp.minimum(state.step + 1, len(grid) - 1)
        return dataclasses.replace(state, at=self.eps[:, None] * grid[after])


@functools.cache
def _grid(turns: int, shifts: int) -> np.ndarray:
    """float32 `[M, 3]` in [-1, 1]: all poses but the original's own, the mildest first."""
    turned, shifted = (np.linspace(-1, 1, count) if count > 1 else np.zeros(1) for count in (turns, shifts))
    poses = np.array(list(itertools.product(turned, shifted, shifted)))
    poses = poses[np.abs(poses).max(axis=1) > 1e-9]
    return poses[np.argsort(np.abs(poses).max(axis=1).round(9), kind="stable")].astype(np.float32)


class SpatialGradient(_Spatial):
    """Gradient steps on the turn and the shift, from random poses, back into the bounds.

    The landscape over three parameters is bumpy, and gradients are often worse than the grid: for comparison, for
    models that were trained against the grid, and with `steps=0` for random poses alone ("worst of k").

    Attributes:
      eps, box, degrees, shift: as in `SpatialGrid`.
      step_size: in shares of the bounds; 2.5 eps / steps unless given.
      steps: gradient steps.
      restarts: random poses to start from.
      loss: what is raised.

    Reference:
      Engstrom et al., ICML 2019, section 3 ("first-order method", "worst-of-k").
    """

    step_size: Any = None
    steps: int = static(default=20)
    restarts: int = static(default=10)
    loss: Loss = static(default=cross_entropy)

    @property
    def most_steps(self) -> int:
        return self.steps + 1

    @property
    def attempts(self) -> int:
        return self.restarts

    def begin(self, goal: Goal) -> PoseTrace:
        start = jax.vmap(lambda key: jax.random.uniform(key, (3,), jnp.float32, -1.0, 1.0))(goal.keys(0))
        return self._begun(goal, self.eps[:, None] * start)

    def advance(self, victim: Victim, goal: Goal, state: PoseTrace) -> PoseTrace:
        x, tangents = slopes(lambda at: self._images(goal, at), state.at)
        gradient, loss, logits = victim.gradient(self.loss, x, goal.y, goal.target, goal.keys(state.step + 1))
        state = self._kept(goal, state, x, logits, loss)
        size = self.eps * np.float32(2.5 / max(1, self.steps)) if self.step_size is None else self.step_size
        at = state.at + size[:, None] * jnp.sign(pulled(gradient, tangents))
        return dataclasses.replace(state, at=jnp.clip(at, -self.eps[:, None], self.eps[:, None]))
