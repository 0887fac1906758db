"""The adversarial set on disk, and the check that its verdicts hold: each stored input is judged again, alone.

Layout of a folder:

    adversarial.json     what was attacked, with what, under which key; the digests of all that follows, and its own
    <digest>.npz         the arrays, named by the BLAKE2b digest of the file's bytes

Both are written to a temporary name, flushed to disk and renamed, the arrays first: a folder holds a whole result, or
the one before it.
"""

import dataclasses
import io
import json
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sensijax.attack._result import STATUSES, AttackResult
from sensijax.attack._setting import Setting
from sensijax.attack._victim import Victim
from sensijax.attack.flags._flag import Flag
from sensijax.core import Model
from sensijax.core.digest import digest, file_digest
from sensijax.core.errors import ArgumentError, StoreError
from sensijax.core.keys import GENERATOR
from sensijax.core.writing import replace, temporary_file

MANIFEST = "adversarial.json"
LAYOUT = 1
_ARRAYS = (
    *("x_adv", "status", "distance", "broken_by", "forwards", "backwards", "ids", "strongest", "x", "y"),
    "eps",
)


@dataclasses.dataclass(frozen=True)
class Findings:
    """What `verify` found.

    Attributes:
      faults: in words; none if every verdict holds.
      notes: what could not be checked, and why.
      examples: how many are stored.
      rejudged: how many were put before the model, one at a time.
      robust_accuracy: the share of examples that are stored as robust.
    """

    faults: tuple[str, ...]
    notes: tuple[str, ...]
    examples: int
    rejudged: int
    robust_accuracy: float


def is_archive(path: str | os.PathLike) -> bool:
    """Whether a folder holds an adversarial set."""
    return (pathlib.Path(path) / MANIFEST).is_file()


def save(result: AttackResult, path: str | os.PathLike) -> pathlib.Path:
    """Writes a result to a folder: arrays, digests, and under what it was found.

    Args:
      result: with its `setting`.
      path: the folder; made if it is not there. A result that it holds is replaced as a whole.

    Returns:
      The folder.

    Raises:
      ArgumentError: if the result does not say under what it was found.
      StoreError: if it cannot be written; what was there before stays.

    Example:
      >>> import tempfile
      >>> from sensijax import attack
      >>> model = Model(lambda w, x: x @ w, np.eye(2, dtype=np.float32), name="linear")
      >>> x, y = np.array([[0.6, 0.4], [0.9, 0.1]], np.float32), np.array([0, 0])
      >>> result = attack.PGD(eps=0.2)(jax.random.key(0), model, x, y)
      >>> folder = result.save(tempfile.mkdtemp())
      >>> verify(folder, model).faults
      ()
    """
    setting = result.setting
    if setting is None:
        raise ArgumentError("result", "a result without a setting", "one that an attack returned")
    folder = pathlib.Path(path)
    arrays = {name: np.asarray(setting.eps if name == "eps" else getattr(result, name)) for name in _ARRAYS}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = {found.name for found in folder.glob("*.npz")}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        with temporary_file(folder / MANIFEST, buffer.getvalue()) as temporary:
            name = f"{file_digest(temporary)}.npz"
            os.replace(temporary, folder / name)
        about = dataclasses.asdict(setting)
        del about["eps"]  # an array
        manifest = {
            "layout": LAYOUT,
            "file": name,
            "arrays": {name: digest(array) for name, array in arrays.items()},
            "data": digest(arrays["x"], arrays["y"], arrays["ids"]),
            "statuses": list(STATUSES),
            "attacks": list(result.attacks),
            "setting": about,
            "flags": [dataclasses.asdict(flag) | {"numbers": dict(flag.numbers)} for flag in result.flags],
            "diagnosed": result.diagnosed,
            "accuracy": {"clean": result.clean_accuracy, "robust": result.robust_accuracy},
        }
        manifest = json.loads(json.dumps(manifest))
        replace(folder / MANIFEST, _text(manifest | {"digest": digest(manifest)}).encode())
        for old in before - {name}:
            (folder / old).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error}; what was there before stays") from error
    return folder


def load(path: str | os.PathLike) -> AttackResult:
    """Reads a result back, and checks every digest.

    Raises:
      StoreError: if there is none, or it is damaged: then it says what is.
    """
    found, faults = _read(pathlib.Path(path))
    if found is None or faults:
        raise StoreError("; ".join(faults))
    return found


def verify(path: str | os.PathLike, model: Model, x: Any = None, y: Any = None) -> Findings:
    """Puts every stored input before the model alone, in a batch of one, and checks what is claimed of it.

    Broken: the stored input is misclassified, its change is within the budget, and it lies in the box. Robust: the
    unperturbed input is classified correctly. Misclassified and nonfinite: so it is. (That nothing breaks a robust
    example cannot be checked from what is stored: that is what flags are for.)

    Tolerances: none for the box, whose bounds are taken as float32. For the budget, 1e-5 of it, which is the rounding
    of a projection, and one unit in the last place of a float32 at the box's larger bound for every value, which is the
    rounding of x + delta: so in L-inf that unit itself, in L2 sqrt(D) units, in L1 D units. Distances are computed in
    float64.

    Args:
      path: the folder.
      model: what was attacked.
      x, y: the data, to compare with what is stored: `[M, ...]` and `[M]`, where the stored ids are their rows' numbers
        if there are more than the stored examples, else in the stored order. Optional.

    Returns:
      Every violation, in words; a damaged file is one.

    Raises:
      StoreError: if the folder holds no adversarial set, or it cannot be read.
    """
    found, faults = _read(pathlib.Path(path))
    if found is None:
        return Findings(tuple(faults), (), 0, 0, float("nan"))
    faults, notes = list(faults), []
    faults += _compare(found, x, y)
    setting = found.setting
    assert setting is not None  # a stored result has one
    if model.digest != setting.model_digest:
        faults.append(
            f"the model's parameters have the digest {model.digest}; attacked were those of {setting.model_digest}"
        )
    victim = Victim.of(model)
    faults += _judge(victim, found)
    sizes, slack = _sizes(found, setting)
    if sizes is None:
        notes.append(
            f"the norm {setting.norm!r} is unknown here: whether changes are within the budget was not checked"
        )
    else:
        faults += _within(found, setting, sizes, slack)
    low, high = (np.float32(bound) for bound in setting.box)
    for i in np.flatnonzero(~((found.x_adv >= low) & (found.x_adv <= high)).reshape(len(found), -1).all(axis=1)):
        faults.append(f"example {found.ids[i]}: the stored input leaves the box [{low:g}, {high:g}]")
    return Findings(tuple(faults), tuple(notes), len(found), len(found), found.robust_accuracy)


def _judge(victim: Victim, found: AttackResult) -> list[str]:
    faults = []
    for i in range(len(found)):
        logits = np.asarray(_alone(victim, jnp.asarray(found.x_adv[i : i + 1])))[0]
        status, label = STATUSES[found.status[i]], int(found.y[i])
        finite, predicted = bool(np.isfinite(logits).all()), int(np.argmax(logits))
        who = f"example {found.ids[i]} ({status})"
        if status == "nonfinite":
            if finite:
                faults.append(f"{who}: its logits are finite")
            continue
        if np.isnan(logits).any() or (status != "broken" and not finite):
            faults.append(f"{who}: its logits are not finite")
        elif status == "robust" and predicted != label:
            faults.append(f"{who}: without an attack it is classified {predicted}, and its label is {label}")
        elif status != "robust" and predicted == label:
            faults.append(f"{who}: judged alone the stored input is classified correctly, {label}")
    return faults


def _within(found: AttackResult, setting: Setting, sizes: np.ndarray, slack: float) -> list[str]:
    faults = []
    broken = found.status == STATUSES.index("broken")
    eps = np.broadcast_to(setting.eps.astype(np.float64), sizes.shape)
    for i in range(len(found)):
        who = f"example {found.ids[i]} ({STATUSES[found.status[i]]})"
        if broken[i]:
            if not sizes[i] <= eps[i] * (1 + 1e-5) + slack:
                faults.append(f"{who}: the change is {sizes[i]:.9g} in {setting.norm}, and the budget {eps[i]:.9g}")
            if not abs(sizes[i] - found.distance[i]) <= 1e-5 * sizes[i] + slack:
                faults.append(f"{who}: the change is {sizes[i]:.9g}, and {found.distance[i]:.9g} is stored")
            if not 0 <= found.broken_by[i] < len(found.attacks):
                faults.append(f"{who}: no attack is named that broke it")
        elif not np.array_equal(found.x_adv[i], found.x[i]):
            faults.append(f"{who}: another input than its own is stored")
    return faults


def _sizes(found: AttackResult, setting: Setting) -> tuple[np.ndarray | None, float]:
    """Distances `[N]` in float64, and how much of them may be the rounding of float32."""
    delta = (found.x_adv.astype(np.float64) - found.x).reshape(len(found), -1)
    unit = float(np.spacing(np.float32(max(map(abs, setting.box)))))
    d = delta.shape[1]
    if setting.norm == "linf":
        return np.abs(delta).max(axis=1), unit
    if setting.norm == "l2":
        return np.sqrt((delta**2).sum(axis=1)), unit * d**0.5
    if setting.norm == "l1":
        return np.abs(delta).sum(axis=1), unit * d
    return None, 0.0


def _compare(found: AttackResult, x: Any, y: Any) -> list[str]:
    faults = []
    for name, data, stored in (("x", x, found.x), ("y", y, found.y)):
        if data is None:
            continue
        data = np.asarray(data)
        if len(data) > len(stored) and found.ids.max() < len(data):
            data = data[found.ids]
        if data.shape != stored.shape:
            faults.append(f"`{name}` has the shape {list(data.shape)}, and what is stored {list(stored.shape)}")
            continue
        differs = (data != stored).reshape(len(stored), -1).any(axis=1)
        faults += [
            f"example {i}: its {'label' if name == 'y' else 'input'} is not the data's" for i in found.ids[differs]
        ]
    return faults


def _read(folder: pathlib.Path) -> tuple[AttackResult | None, list[str]]:
    """What a folder holds, as far as it can be read, and what is wrong with its bytes."""
    if not is_archive(folder):
        raise StoreError(f"{folder} holds no adversarial set: it has no {MANIFEST}")
    try:
        text = (folder / MANIFEST).read_bytes()
        try:
            manifest = json.loads(text)
            intact = (
                manifest.pop("digest") == digest(manifest)
                and text == _text(manifest | {"digest": digest(manifest)}).encode()
            )
        except (ValueError, AttributeError, KeyError, TypeError):
            intact = False
        if not intact:
            return None, [f"{MANIFEST}: its content does not match its digest"]
        if manifest["layout"] != LAYOUT:
            return None, [f"{MANIFEST}: layout {manifest['layout']}, and this version reads {LAYOUT}"]
        path = folder / manifest["file"]
        if not path.is_file():
            return None, [f"{path.name}: missing"]
        if file_digest(path) != path.stem:
            return None, [f"{path.name}: its bytes do not match its digest"]
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
    except OSError as error:
        raise StoreError(f"cannot read {folder}: {error}") from error
    faults = [
        f"array {name}: not the one that was stored"
        for name in _ARRAYS
        if digest(arrays[name]) != manifest["arrays"][name]
    ]
    about = manifest["setting"]
    setting = Setting(**about | {"eps": arrays.pop("eps"), "box": tuple(about["box"]), "key": tuple(about["key"])})
    flags = tuple(Flag(**flag) for flag in manifest["flags"])
    result = AttackResult(
        **arrays, attacks=tuple(manifest["attacks"]), setting=setting, flags=flags, diagnosed=manifest["diagnosed"]
    )
    return result, faults


def _text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=1) + "\n"


@jax.jit
def _alone(victim: Victim, x: jax.Array) -> jax.Array:
    return victim.logits(x, jax.random.wrap_key_data(jnp.zeros((1, 2), jnp.uint32), impl=GENERATOR))
