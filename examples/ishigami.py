"""Which inputs drive a function, three ways, beside the closed form: Ishigami's function, and a beam under load.

python examples/ishigami.py [--out DIR]
"""

import argparse
import pathlib

import duckdb
import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas as pd

import sensijax as sj
from sensijax import sensitivity as s

matplotlib.use("Agg")

ANGLES = {name: s.Uniform(-np.pi, np.pi) for name in ("x1", "x2", "x3")}
EXACT = {  # Sobol and Levitan 1999; Sobol and Kucherenko 2009
    "S1": (0.313905, 0.442411, 0.0),
    "ST": (0.557589, 0.442411, 0.243684),
    "nu": (7.719588, 24.5, 10.987305),
}


def ishigami(x):
    """The function that every method is tried on: x3 does nothing by itself, and a quarter together with x1."""
    return jnp.sin(x[0]) + 7 * jnp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * jnp.sin(x[0])


def deflection(x):
    """How far a steel cantilever of rectangular section bends at its tip, mm, and its largest stress, MPa."""
    force, length, modulus, width, height = x
    tip = 4 * force * length**3 / (modulus * width * height**3)
    return jnp.stack([1e3 * tip, 6 * force * length / (width * height**2) / 1e6])


BEAM = s.Space(
    {
        "force, N": s.Truncated(s.Normal(500.0, 100.0), low=0.0),
        "length, m": s.Uniform(0.98, 1.02),
        "modulus, Pa": s.LogNormal(float(np.log(200e9)), 0.05),
        "width, m": s.Triangular(0.019, 0.02, 0.021),
        "height, m": s.Discrete((0.038, 0.04, 0.042), (1, 2, 1)),  # the mill rolls three sizes
    },
    groups={"section": ["width, m", "height, m"]},
)


def show(table: pd.DataFrame) -> None:
    print(table.round(4).to_string(index=False), "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/ishigami", metavar="DIR", help="the folder (%(default)s)")
    folder = pathlib.Path(parser.parse_args().out)
    folder.mkdir(parents=True, exist_ok=True)
    sj.enable_compile_cache()

    key = jax.random.key(0)
    sobol = s.sobol(ishigami, ANGLES, key=key, n=2**15, second_order=True)
    morris = s.morris(ishigami, ANGLES, key=key, n=64)
    dgsm = s.dgsm(ishigami, ANGLES, key=key)
    rows = []
    for i, name in enumerate(sobol.names):
        row = {"input": name}
        for index, result in (("S1", sobol), ("ST", sobol), ("nu", dgsm)):
            value, (low, high) = getattr(result, index)[i], getattr(result, f"{index}_interval")[i]
            row |= {index: value, f"{index} low": low, f"{index} high": high, f"{index} exact": EXACT[index][i]}
        rows.append(row | {"ST at most": dgsm.bound[i], "Morris mu*": morris.mu_star[i]})
    table = pd.DataFrame(rows)
    print(f"Ishigami: {sobol.n_evaluations:,} evaluations for Sobol, {morris.n_evaluations} for Morris,")
    print(f"{dgsm.n_evaluations:,} values with gradients for the derivative-based measures")
    for index in EXACT:
        show(table[["input", index, f"{index} low", f"{index} high", f"{index} exact"]])
    show(table[["input", "ST at most", "ST", "Morris mu*"]])
    print(
        f"x1 with x3: {sobol.S2[0, 2]:.4f} of the variance (exact 0.2437); x1 with x2: {sobol.S2[0, 1]:.4f} (exact 0)\n"
    )
    for index in ("S1", "ST"):
        if np.abs(table[index] - table[f"{index} exact"]).max() > 0.01:
            raise SystemExit(f"{index} and the closed form disagree")

    beam = s.converge(s.sobol, deflection, BEAM, key=key, tolerance=0.01, start=2**12)
    result = beam.result
    print(f"the beam, with n = {beam.n[-1]:,}: every interval is within +-{beam.half_width[-1]:.4f}")
    show(pd.DataFrame({"input": result.names, "ST of the bend": result.ST[:, 0], "ST of the stress": result.ST[:, 1]}))

    store = duckdb.connect()
    store.register("indices", pd.concat([sobol.frame().assign(of="Ishigami"), result.frame().assign(of="beam")]))
    store.sql(f"copy (select * from indices) to '{folder / 'indices.parquet'}' (format parquet)")
    for name, ax in (("tornado", sobol.plot()), ("pairs", sobol.plot_pairs()), ("convergence", beam.plot())):
        ax.figure.savefig(folder / f"{name}.svg")
    print(f"indices.parquet and three figures: {folder}")


if __name__ == "__main__":
    main()
