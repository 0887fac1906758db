"""Which columns drive a regression model's answers, and which flaw of the table drives its error.

    python examples/tabular_sensitivity.py [--out DIR]

The table is made by a formula, so the right answer is known (Friedman, "Multivariate adaptive regression splines",
Annals of Statistics 19 (1991)): eight columns, independent and uniform on [0, 1], of which the last three have no part
in the target,

    y = 10 sin(pi x1 x2) + 20 (x3 - 1/2)^2 + 10 x4 + 5 x5 + noise of standard deviation 1.

A small network learns it. Then: does the network rely on the columns that it should, and in the shares that it should?
Three ways to the same indices are compared by what they cost. And: if measurements get noisy, values go missing and a
column drifts, all at once and each by an unknown amount, which of them does the damage?
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sensijax as sj
from sensijax import sensitivity as s
from sensijax.perturb import Perturbation

COLUMNS = 8
S1 = [0.1973, 0.1973, 0.0933, 0.3498, 0.0874, 0, 0, 0]  # of the formula: by Gauss quadrature, to four digits
ST = [0.2722, 0.2722, 0.0933, 0.3498, 0.0874, 0, 0, 0]


class Jitter(Perturbation):
    """Independent Gaussian noise on every value of a row, of standard deviation `std`, in the table's unit; >= 0."""

    std: jax.Array

    def is_identity(self):
        return self.std == 0

    def apply(self, key, x):
        return x + self.std * jax.random.normal(key, x.shape, x.dtype)


class Missing(Perturbation):
    """Values that were not recorded, with probability `rate`, and stand in the table as the column's middle, 1/2."""

    rate: jax.Array

    def is_identity(self):
        return self.rate == 0

    def apply(self, key, x):
        return jnp.where(jax.random.uniform(key, x.shape, x.dtype) < self.rate, 0.5, x)


class Drift(Perturbation):
    """A sensor that has drifted: the fourth column reads `shift` too much; >= 0."""

    shift: jax.Array

    def is_identity(self):
        return self.shift == 0

    def apply(self, key, x):
        return x.at[3].add(self.shift)


def table(n: int, seed: int) -> sj.Dataset:
    """n rows of the formula."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, COLUMNS))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return sj.Dataset(x.astype(np.float32), (y + rng.normal(size=n)).astype(np.float32), name="friedman")


def network(params, x):
    """A network of two hidden layers of 32, smooth, for a batch `[B, 8]`; outputs `[B]`."""
    *hidden, (weight, bias) = params
    for w, b in hidden:
        x = jnp.tanh(x @ w + b)
    return (x @ weight + bias)[:, 0]


def train(data: sj.Dataset, steps: int = 1000) -> sj.Model:
    """Fits the network to squared error by Adam, whole table at a time."""
    keys = jax.random.split(jax.random.key(0), 3)
    sizes = [COLUMNS, 32, 32, 1]
    params = [
        (jax.random.normal(k, (a, b)) * np.float32(a**-0.5), jnp.zeros(b))
        for k, a, b in zip(keys, sizes, sizes[1:], strict=False)
    ]
    x, y = jnp.asarray(2 * data.x - 1), jnp.asarray(data.y)
    centre, spread = y.mean(), y.std()
    optimiser = optax.chain(optax.add_decayed_weights(1e-3), optax.adam(optax.cosine_decay_schedule(1e-2, steps)))

    @jax.jit
    def fit(params):
        def step(carry, _):
            params, state = carry
            gradient = jax.grad(lambda p: jnp.mean((network(p, x) - (y - centre) / spread) ** 2))(params)
            updates, state = optimiser.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimiser.init(params)), length=steps)[0][0]

    return sj.Model(lambda p, x: network(p, 2 * x - 1) * spread + centre, fit(params), name="network")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/tabular-sensitivity", metavar="DIR", help="the folder (%(default)s)")
    folder = pathlib.Path(parser.parse_args().out)
    folder.mkdir(parents=True, exist_ok=True)

    sj.enable_compile_cache()
    model, test = train(table(2000, seed=1)), table(500, seed=2)
    r2 = 1 - np.mean((np.asarray(model(jnp.asarray(test.x))) - test.y) ** 2) / test.y.var()
    print(f"R^2 on rows that it has not seen: {r2:.3f}\n")

    space = {f"x{i + 1}": s.Uniform(0.0, 1.0) for i in range(COLUMNS)}

    def answer(x):
        return model(x[None])[0]

    key = jax.random.key(0)
    sobol = s.sobol(answer, space, key=key, n=2**12)
    chaos = s.pce(answer, space, key=key, n=256, most_terms=700)
    enhanced = s.gradient_pce(answer, space, key=key, n=128, most_terms=700)
    print("total index of every column: of the formula, and of the network by three methods")
    print("column   formula   sobol   pce     gradient_pce")
    for i, name in enumerate(space):
        print(f"{name:8s} {ST[i]:.3f}     {sobol.ST[i]:.3f}   {chaos.ST[i]:.3f}   {enhanced.ST[i]:.3f}")
    print(
        f"calls            {sobol.n_evaluations:8,} {chaos.n_evaluations:7,} {enhanced.n_evaluations:7,} (with slopes)"
    )
    print(f"missed at unseen points: pce {chaos.cross_validated:.1%}, gradient_pce {enhanced.cross_validated:.1%}")
    print(f"x1 with x2: {enhanced.interaction('x1', 'x2'):.3f} (formula: 0.075)\n")
    sobol.plot().figure.savefig(folder / "columns.png", dpi=150)

    stages = {
        "jitter": sj.sweep(Jitter, std=[0.0, 0.1]),
        "missing": sj.sweep(Missing, rate=[0.0, 0.2]),
        "drift": sj.sweep(Drift, shift=[0.0, 0.2]),
    }
    error = sj.campaign_response(model, test.take(slice(100)), stages, chunk=100)
    clean = float(error(jnp.zeros(3)))
    flaws = s.sobol(error, error.space, key=key, n=2**9, second_order=True)
    print(f"mean squared error: clean {clean:.2f}; over the box of flaws {flaws.mean:.2f} on average")
    print("flaw     by itself   in all   95 %")
    for i in np.argsort(-flaws.ST):
        low, high = flaws.ST_interval[i]
        print(f"{flaws.names[i]:8s} {flaws.S1[i]:.2f}        {flaws.ST[i]:.2f}     {low:.2f} to {high:.2f}")
    low = flaws.ST_interval[flaws.ST.argmax(), 0]
    leaders = [name for name, bounds in zip(flaws.names, flaws.ST_interval, strict=True) if bounds[1] >= low]
    print(f"{' and '.join(leaders)} {'drive' if len(leaders) > 1 else 'drives'} the damage")
    flaws.plot().figure.savefig(folder / "flaws.png", dpi=150)


if __name__ == "__main__":
    main()
