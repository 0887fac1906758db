"""A regression on a table: two linear models, whose R^2 falls as the measurements get worse, compared pair by pair.

    python examples/regression_tabular.py [--out DIR]

The table is real: the digits of the UCI repository come as 64 counts of ink a digit. The target is the column of a
digit's centre of mass, which a linear model predicts well from clean counts. One model is fitted by least squares, the
other by ridge regression, whose smaller weights amplify noise less.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from sensijax.data import digits, split
from sensijax.perturb import Perturbation


class Jitter(Perturbation):
    """Independent Gaussian noise on every value of a row.

    Attributes:
      std: standard deviation, in the unit of the table (ink, 0..1); >= 0.
    """

    std: jax.Array

    def is_identity(self):
        return self.std == 0

    def apply(self, key, x):
        return x + self.std * jax.random.normal(key, x.shape, x.dtype)


class Missing(Perturbation):
    """Values that were not recorded, and stand in the table as 0.

    Attributes:
      rate: the probability that a value is missing; in [0, 1]. What is missing at one rate is missing at higher ones.
    """

    rate: jax.Array

    def is_identity(self):
        return self.rate == 0

    def apply(self, key, x):
        return jnp.where(jax.random.uniform(key, x.shape, x.dtype) < self.rate, 0.0, x)


def table() -> sj.Dataset:
    """64 columns of ink in 0..1, and the centre of mass of each row's digit along the image's columns, in px (0..7)."""
    images = digits(size=8)
    ink = images.x[..., 0]
    centre = (ink.sum(axis=1) @ np.arange(8, dtype=np.float32)) / ink.sum(axis=(1, 2))
    return sj.Dataset(x=ink.reshape(len(ink), 64), y=centre, name="ink-table", groups=images.groups)


def fit(train: sj.Dataset, penalty: float, name: str) -> sj.Model:
    """Linear regression with an L2 penalty on the weights; the intercept goes free."""
    mean, centre = train.x.mean(axis=0), train.y.mean()
    x = (train.x - mean).astype(np.float64)
    # The penalty as extra rows: columns that are always blank (the corners) have no weight of their own.
    rows = np.concatenate([x, np.sqrt(penalty * len(x)) * np.eye(64)])
    weight = np.linalg.lstsq(rows, np.concatenate([train.y - centre, np.zeros(64)]), rcond=1e-6)[0].astype(np.float32)
    params = {"weight": weight, "mean": mean, "intercept": np.float32(centre)}
    return sj.Model(lambda p, x: (x - p["mean"]) @ p["weight"] + p["intercept"], params, name=name)


def show(table) -> None:
    print(table.round(3).to_string(index=False), "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/regression-tabular", metavar="DIR", help="the folder (%(default)s)")
    folder = pathlib.Path(parser.parse_args().out)

    sj.enable_compile_cache()
    train, test = split(table(), fraction=1 / 3)
    stages = {
        "jitter": sj.sweep(Jitter, std=[0.0, 0.02, 0.05, 0.1, 0.2]),
        "missing": sj.sweep(Missing, rate=[0.0, 0.02, 0.05, 0.1, 0.2]),
    }
    results = {}
    for name, penalty in (("least-squares", 0.0), ("ridge", 0.01)):
        campaign = sj.Campaign(fit(train, penalty, name), test, stages, seeds=5, name=name)
        results[name] = sj.run(campaign, folder / name)
        r2, low, high = results[name].baseline()
        print(f"{name}: clean R^2 {r2:.3f} ({low:.3f} to {high:.3f})")
        show(results[name].scenarios()[["scenario", "r2", "drop", "low", "high", "verdict"]])

    difference = sj.compare(results["least-squares"], results["ridge"])
    print("ridge minus least squares, the same rows with the same noise (above 0: ridge is better)")
    show(difference[["scenario", "a", "b", "difference", "low", "high", "p_holm"]])


if __name__ == "__main__":
    main()
