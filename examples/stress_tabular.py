"""An adversary, a drifting sensor and wrong labels on a table: alone, in pairs, all at once.

    python examples/stress_tabular.py [--out DIR]

Notebook style: every `# %%` begins a cell. The table is scikit-learn's copy of the Wisconsin breast-cancer data
(`pip install scikit-learn`).
"""

# %% What is asked
# A classifier of tumours is to be used in a clinic whose instrument drifts, by people who write down wrong diagnoses,
# and somebody may tamper with the measurements. What does each cost, and do they make each other worse?
import argparse

import numpy as np

import sensijax as sj
from sensijax import attack, drift, label

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default="runs/stress-tabular", metavar="DIR", help="the folder (%(default)s)")
folder = parser.parse_args().out
sj.enable_compile_cache()

# %% The table: 569 tumours, 30 measurements; every second one is for testing
try:
    from sklearn.datasets import load_breast_cancer
except ImportError:
    raise SystemExit("this example reads a table of scikit-learn: pip install scikit-learn") from None
table = load_breast_cancer()
x = ((table.data - table.data[::2].mean(axis=0)) / table.data[::2].std(axis=0)).astype(np.float32)
y = table.target.astype(np.int32)
size = np.where(x[1::2, 0] > 0, "large", "small")
test = sj.Dataset(x[1::2], y[1::2], name="breast cancer, held out", groups={"size": size})

# %% The model: ridge regression on the two classes, in closed form
design = np.concatenate([x[::2], np.ones((len(x[::2]), 1), np.float32)], axis=1)
onehot = np.eye(2, dtype=np.float32)[y[::2]] * 8 - 4
weights = np.linalg.solve(design.T @ design + 5 * np.eye(31, dtype=np.float32), design.T @ onehot)
model = sj.Model(
    lambda w, x: x @ w[:-1] + w[-1],
    weights.astype(np.float32),
    name="ridge",
    classes=("malignant", "benign"),
)

# %% Three stressors, in the order in which they act
# The instrument drifts first; the adversary moves each measurement by up to eps standard deviations; annotators err
# where a tumour is hard to tell.
campaign = sj.Campaign(
    model,
    test,
    stages={
        "sensor": sj.sweep(drift.MeanShift, strength=[0, 0.25, 0.5], features=tuple(range(10))),
        "adversary": sj.sweep(attack.PGD, eps=[0, 0.1, 0.2], steps=10, box=(-50.0, 50.0)),
        "labels": sj.sweep(label.FeatureMargin, rate=[0, 0.05, 0.15]),
    },
    design=sj.design.staged(),
    seeds=5,
    name="tumours under stress",
)
results = sj.run(campaign, folder)

# %% What is kept, and what adds up
print(f"clean accuracy {results.baseline()[0]:.3f}")
print(
    results.profile()[["axis", "scenarios", "retained", "low", "high", "worst"]].round(3).to_string(index=False), "\n"
)
effects = results.effects(order=3, averaged=True)
print(effects[["stages", "drop", "effect", "low", "high", "p_holm"]].round(3).to_string(index=False), "\n")

# %% What wrong labels hide
print(results.annotation().set_index("scenario").loc[["labels@0.05", "labels@0.15"]].round(3).to_string(), "\n")

# %% What it is still sure of, and who pays
# Sets that should hold the right diagnosis nine times in ten; and how far apart large and small tumours are treated.
worst = sj.campaign.strongest_of(results)
sets = results.coverage(alpha=0.1, scenarios=["clean", *worst])
print(
    sets[["scenario", "coverage", "low", "high", "observed", "band_low", "band_high"]].round(3).to_string(index=False)
)
gaps = results.gaps("size", scenarios=["clean", *worst])
print(
    gaps[["scenario", "accuracy_gap", "low", "high", "worst", "worst_accuracy"]].round(3).to_string(index=False), "\n"
)

# %% Which component amplifies it
inside = results.propagation()
moved = inside[inside.scenario.isin(["adversary@0.2", worst[-1]])]
print(
    moved[["scenario", "component", "gain", "step", "separability_clean", "separability"]]
    .round(3)
    .to_string(index=False)
)
print(f"report: {results.report()}")
