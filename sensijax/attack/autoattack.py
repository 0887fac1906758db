"""AutoAttack: attacks without parameters to tune, one after another, each on what the earlier ones have left."""

import logging
from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from sensijax.attack import losses
from sensijax.attack._attack import Attack
from sensijax.attack._norm import check_norm, l1, l2, linf
from sensijax.attack.apgd import APGD, APGDT
from sensijax.attack.fab import FAB
from sensijax.attack.square import Square
from sensijax.core.errors import ArgumentError, did_you_mean
from sensijax.core.struct import static

_log = logging.getLogger(__name__)
Parts = tuple[tuple[str, Attack], ...]


def dlr(logits: Array, y: Array, target: Array) -> Array:
    """`losses.dlr`; with two classes, where there is no third logit to divide by, `losses.margin`."""
    return (losses.dlr if logits.shape[1] > 2 else losses.margin)(logits, y, target)


def targeted_dlr(logits: Array, y: Array, target: Array) -> Array:
    """`losses.targeted_dlr`; with fewer than four classes, where there is no fourth, `losses.targeted_margin`."""
    return (losses.targeted_dlr if logits.shape[1] > 3 else losses.targeted_margin)(logits, y, target)


def standard(attack: "AutoAttack") -> Parts:
    """APGD on the cross-entropy, APGD towards 9 classes, FAB towards 9, Square; in L1 5 restarts, and 5 classes."""
    restarts, classes = (5, 5) if attack.norm == l1 else (1, 9)
    return (
        ("apgd-ce", attack.made(APGD, restarts=restarts)),
        ("apgd-t", attack.made(APGDT, loss=targeted_dlr, target_classes=classes)),
        ("fab-t", attack.made(FAB, minimal=False)),
        ("square", attack.made(Square, axes=attack.axes)),
    )


def plus(attack: "AutoAttack") -> Parts:
    """With 5 restarts, and with APGD and FAB towards no class in particular too."""
    return (
        ("apgd-ce", attack.made(APGD, restarts=5)),
        ("apgd-dlr", attack.made(APGD, loss=dlr, restarts=5)),
        ("fab", attack.made(FAB, minimal=False, target_classes=0, restarts=5)),
        ("square", attack.made(Square, axes=attack.axes)),
        ("apgd-t", attack.made(APGDT, loss=targeted_dlr)),
        ("fab-t", attack.made(FAB, minimal=False)),
    )


def rand(attack: "AutoAttack") -> Parts:
    """For models with randomness: APGD on both losses, its gradients averaged over the `RandomModel`'s draws."""
    return (("apgd-ce", attack.made(APGD)), ("apgd-dlr", attack.made(APGD, loss=dlr)))


def fast(attack: "AutoAttack") -> Parts:
    """Targets first, for they find the most, in 30 steps each; 500 queries of Square, on a shortened schedule."""
    return (
        ("apgd-t", attack.made(APGDT, loss=targeted_dlr, steps=30)),
        ("apgd-ce", attack.made(APGD, steps=50)),
        ("fab-t", attack.made(FAB, minimal=False, steps=30, target_classes=3)),
        ("square", attack.made(Square, queries=500, rescale=True, axes=attack.axes)),
    )


VERSIONS: dict[str, Callable[["AutoAttack"], Parts]] = {"standard": standard, "plus": plus, "rand": rand, "fast": fast}


class AutoAttack(Attack):
    """The ensemble that robust accuracy is compared by. An example is robust if no attack of it succeeds.

    Attributes:
      eps: the budget, in the norm's unit, > 0.
      norm: `linf`, `l2` or `l1`, or its name.
      box: the closed range of valid inputs.
      version: "standard", what leaderboards show; "plus", with more restarts and attacks; "rand", for a
        `RandomModel`, whose draws should be 20; "fast", for while you develop.
      axes: which axes of an example are height and width, for `Square`.

    What "fast" gives up: on a convolutional network for 497 digits of 8 x 8 as many examples were robust as for
    "standard" (277 in L-infinity at 0.15, 298 in L2 at 0.6, 188 in L1 at 1.5), with 7.7, 7.7 and 7.4 times fewer
    forward passes. It is for models whose gradients are sound: Square, which is there for those that are not, has a
    tenth of its queries.

    With fewer than four classes (three for the untargeted one) the ratio of logits is not defined: the margin takes its
    place, with a warning. With fewer than ten there are fewer targets.

    Reference:
      Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
      attacks", ICML 2020; L1: "Mind the box: l1-APGD for sparse adversarial attacks on image classifiers", ICML 2021.
      Where its parts differ from the authors' code stands with each of them. In "plus", L1 keeps its schedule of
      budgets, which the code leaves out there.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from sensijax.core import Model
      >>> model = Model(lambda w, x: x @ w, jnp.eye(4) - 0.1, name="linear")
      >>> x, y = jnp.array([[0.6, 0.4, 0.1, 0.0], [0.9, 0.1, 0.2, 0.0]]), jnp.array([0, 0])
      >>> result = AutoAttack(eps=0.2, version="rand")(jax.random.key(0), model, x, y, diagnose=False)
      >>> result.robust.tolist(), result.attacks[result.broken_by[0]]
      ([False, True], 'apgd-ce')
    """

    version: str = static(default="standard")
    axes: tuple[int, int] = static(default=(0, 1))

    def __post_init__(self):
        super().__post_init__()
        check_norm(type(self), self.norm, linf, l2, l1)
        if self.version not in VERSIONS:
            raise ArgumentError("version", repr(self.version), did_you_mean(str(self.version), VERSIONS))

    @property
    def most_steps(self) -> int:
        return max(part.most_steps for _, part in self.parts())

    @property
    def attempts(self) -> int:
        return max(part.attempts for _, part in self.parts())

    def parts(self) -> Parts:
        return VERSIONS[self.version](self)

    def made(self, attack: type[Attack], **options: Any) -> Attack:
        """An attack with this one's budget, norm and box."""
        return attack(eps=self.eps, norm=self.norm, box=self.box, **options)

    def against(self, classes: int) -> "AutoAttack":
        if classes < 4:
            _log.warning(
                "%d classes: the ratio of logits needs 4 (3 without a target); the margin takes its place, and there "
                "are %d targets",
                classes,
                classes - 1,
            )
        return self
