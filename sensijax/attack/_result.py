"""What an attack found out about every example."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sensijax.attack._pursuit import Pursued
from sensijax.attack._setting import Setting
from sensijax.attack.flags._flag import Flag

if TYPE_CHECKING:
    import pandas as pd

    from sensijax.attack._door import Admitted

STATUSES = ("robust", "broken", "misclassified", "nonfinite")
"""What an example may be: withstood every attempt; broken by one; wrong without an attack; logits not finite."""


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class AttackResult:
    """The outcome of an attack, example by example, on the host. `str(result)` says it in words.

    Attributes:
      x_adv: float32 `[N, ...]` the adversarial example of what is broken; elsewhere the input itself.
      status: uint8 `[N]`, an index into `STATUSES`.
      distance: float32 `[N]` of the adversarial example in the attack's norm: 0 for what is misclassified without an
        attack, infinite where none was found.
      broken_by: int32 `[N]`, an index into `attacks`; -1 where nothing broke it.
      attacks: the names of the attacks, in their order.
      forwards, backwards: int64 `[N]` passes through the model that the attack took.
      ids: int64 `[N]` the examples' ids.
      strongest: float32 `[N, ...]` like `x_adv`, and where none was found, the attempt of the first attack that came
        closest.
      x: float32 `[N, ...]` the inputs.
      y: int32 `[N]` the labels.
      setting: the model, the attack, the budget and the key; None where nobody said.
      flags: what makes the robust accuracy look better than it is, worst first.
      diagnosed: whether anybody looked for flags.
    """

    x_adv: np.ndarray
    status: np.ndarray
    distance: np.ndarray
    broken_by: np.ndarray
    attacks: tuple[str, ...]
    forwards: np.ndarray
    backwards: np.ndarray
    ids: np.ndarray
    strongest: np.ndarray
    x: np.ndarray
    y: np.ndarray
    setting: Setting | None = None
    flags: tuple[Flag, ...] = ()
    diagnosed: bool = False

    def __len__(self) -> int:
        return len(self.status)

    @property
    def robust(self) -> np.ndarray:
        """bool `[N]`: correct, and withstood every attempt."""
        return self.status == STATUSES.index("robust")

    @property
    def queries(self) -> np.ndarray:
        """int64 `[N]`: forward passes."""
        return self.forwards

    @property
    def clean_accuracy(self) -> float:
        """The share of examples that are correct without an attack."""
        return float(np.isin(self.status, (STATUSES.index("robust"), STATUSES.index("broken"))).mean())

    @property
    def robust_accuracy(self) -> float:
        """The share of examples that are robust: an upper bound, for a better attack may break more."""
        return float(self.robust.mean())

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Wilson's interval of the robust accuracy: what other examples of the same kind would give.

        It speaks of the examples' sampling alone. What a better attack would break is no part of it.

        Args:
          level: the confidence, in (0, 1).

        Reference:
          Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
        """
        return wilson(int(self.robust.sum()), len(self), level)

    def summary(self) -> str:
        """The outcome in words: accuracies with their interval, what broke what, and every flag.

        A robust accuracy that is flagged is printed as an upper bound that should not be trusted.
        """
        return "\n".join(_words(self))

    def frame(self) -> "pd.DataFrame":
        """One row an example: id, label, status, the attack that broke it, distance, passes through the model."""
        import pandas as pd

        names = np.array([*self.attacks, ""], dtype=object)
        return pd.DataFrame(
            {
                "id": self.ids,
                "label": self.y,
                "status": np.array(STATUSES, dtype=object)[self.status],
                "broken_by": names[self.broken_by],
                "distance": self.distance,
                "forwards": self.forwards,
                "backwards": self.backwards,
            }
        )

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes a folder that anybody can check. See `sensijax.attack.archive`."""
        from sensijax.attack.archive import save

        return save(self, path)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        flags = f", flags: {', '.join(flag.name for flag in self.flags)}" if self.flags else ""
        return f"<AttackResult of {len(self)} examples: {100 * self.robust_accuracy:.1f} % robust{flags}>"


def wilson(count: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion.

    Example:
      >>> [round(bound, 3) for bound in wilson(8, 10)]
      [0.49, 0.943]
    """
    from scipy.special import ndtri

    z2 = float(ndtri(0.5 + level / 2)) ** 2
    p = count / n
    centre, half = p + z2 / (2 * n), math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n * n)))
    low, high = (centre - half) / (1 + z2 / n), (centre + half) / (1 + z2 / n)
    return (0.0 if count == 0 else low), (1.0 if count == n else high)


def _words(result: AttackResult) -> list[str]:
    n = len(result)
    low, high = (f"{100 * bound:.1f}" for bound in result.interval())
    number = f"{100 * result.robust_accuracy:.1f} %"
    within = f"95 % interval over examples: {low} to {high} %"
    lines = [] if result.setting is None else [str(result.setting)]
    lines.append(f"clean accuracy: {100 * result.clean_accuracy:.1f} % of {n} examples")
    distrusted = [flag for flag in result.flags if flag.severity == "distrust"]
    if distrusted:
        names = ", ".join(flag.name for flag in distrusted)
        lines.append(
            f"robust accuracy: at most {number} ({within}), and this number should not be trusted: {names}. "
            "The model may be far less robust"
        )
    elif result.flags:
        names = ", ".join(flag.name for flag in result.flags)
        lines.append(f"robust accuracy: at most {number} ({within}); more effort may well lower it: {names}")
    else:
        looked = "" if result.diagnosed else "; nobody has looked for flags"
        lines.append(
            f"robust accuracy: {number} ({within}), against these attacks; a better one may break more{looked}"
        )
    for i, name in enumerate(result.attacks):
        lines.append(f"  broken by {name}: {int((result.broken_by == i).sum())}")
    for status in ("misclassified", "nonfinite"):
        count = int((result.status == STATUSES.index(status)).sum())
        if count:
            lines.append(f"  {status} without an attack: {count}, not counted robust")
    return lines + [f"  flag {flag}" for flag in result.flags]


def gather(attacks: Sequence[str], admitted: "Admitted", pursued: Sequence[Pursued], **more: Any) -> AttackResult:
    """The result of attacks that were made one after another, each on what the earlier ones had left.

    Args:
      attacks: their names.
      admitted: all examples.
      pursued: for each attack, the outcome of all examples that are attacked (`admitted.index`); those that it was not
        asked about are not broken, at a cost of 0.
      **more: further fields of the result, such as `setting`.
    """
    x, index = admitted.examples.x, admitted.index
    status = np.where(admitted.finite, STATUSES.index("misclassified"), STATUSES.index("nonfinite")).astype(np.uint8)
    status[index] = STATUSES.index("robust")
    distance = np.where(admitted.finite & ~admitted.correct, np.float32(0), np.float32(np.inf))
    broken_by = np.full(len(x), -1, np.int32)
    x_adv, strongest = x.copy(), x.copy()
    forwards, backwards = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    attempted = np.zeros(len(index), bool)
    for i, outcome in enumerate(pursued):
        forwards[index] += outcome.forwards
        backwards[index] += outcome.backwards
        new = outcome.broken & (outcome.distance < distance[index])
        tried = outcome.forwards > 0
        open_ = tried & ~outcome.broken & ~attempted
        attempted |= tried
        strongest[index[open_ | new]] = outcome.found[open_ | new]
        rows = index[new]
        x_adv[rows], distance[rows], broken_by[rows] = outcome.found[new], outcome.distance[new], i
        status[rows] = STATUSES.index("broken")
    return AttackResult(
        x_adv=x_adv,
        status=status,
        distance=distance,
        broken_by=broken_by,
        attacks=tuple(attacks),
        forwards=forwards,
        backwards=backwards,
        ids=admitted.ids,
        strongest=strongest,
        x=x,
        y=admitted.examples.y,
        **more,
    )
