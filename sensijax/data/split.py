"""Dividing a dataset in two, so that an example's side lasts."""

import hashlib

import numpy as np

from sensijax.core.dataset import Dataset
from sensijax.core.errors import ArgumentError


def split(dataset: Dataset, fraction: float = 1 / 3, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Divides a dataset into two parts, class by class, by the order of a hash.

    Within each class the examples are ordered by a hash of (seed, id), and the first `fraction` of them (rounded half
    up) are the test part. So an example's side is a function of the seed, its id and the ids of its class: the order of
    the examples, their values and the other classes change nothing. Regression data are one class.

    Args:
      dataset: what to divide.
      fraction: the test part's share of every class, in (0, 1).
      seed: an integer in [0, 2**64).

    Returns:
      (train, test): two datasets with the original ids, groups and relative order; together they are `dataset`.

    Raises:
      ArgumentError: if the fraction or the seed is out of range, or one part would be empty.

    Example:
      >>> data = Dataset(np.zeros((8, 2), np.float32), np.repeat([0, 1], 4))
      >>> train, test = split(data, fraction=0.25)
      >>> train.y.tolist(), test.y.tolist()
      ([0, 0, 0, 1, 1, 1], [0, 1])
    """
    if not 0 < fraction < 1:
        raise ArgumentError("fraction", fraction, "the test part's share, in (0, 1)")
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 1 << 64:
        raise ArgumentError("seed", repr(seed), "an integer in [0, 2**64)")
    hashes = [_hash(int(seed), int(example_id)) for example_id in dataset.ids]
    order = np.array(sorted(range(len(dataset)), key=hashes.__getitem__))
    classes = dataset.y if dataset.is_classification else np.zeros(len(dataset), np.int32)
    in_test = np.zeros(len(dataset), bool)
    for label in np.unique(classes):
        members = order[classes[order] == label]
        in_test[members[: int(fraction * len(members) + 0.5)]] = True
    if in_test.all() or not in_test.any():
        part = "train" if in_test.all() else "test"
        raise ArgumentError(
            "fraction",
            f"{fraction:g}, which leaves the {part} part empty",
            f"with {len(dataset)} examples choose one that gives both parts an example of some class",
        )
    return dataset.take(~in_test), dataset.take(in_test)


def _hash(seed: int, example_id: int) -> bytes:
    return hashlib.blake2b(example_id.to_bytes(8, "big"), digest_size=16, key=seed.to_bytes(8, "big")).digest()
