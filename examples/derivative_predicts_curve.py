"""The derivative at one severity predicts the measured curve around it: fog on handwritten digits.

    python examples/derivative_predicts_curve.py [--out DIR]

Notebook style: every `# %%` begins a cell.
"""

# %% What is asked
# A campaign measures a loss at severities 0, 1, 2, ... and says nothing of what lies between. The exact derivative at
# one severity costs one more pass, and says what a little more fog will do. Here both are compared.
import argparse
import pathlib

import matplotlib
import numpy as np
import pandas as pd

import sensijax as sj
from sensijax import demo
from sensijax import sensitivity as s
from sensijax.perturb import image

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--out", default="runs/derivative", metavar="DIR", help="the folder (%(default)s)")
folder = pathlib.Path(parser.parse_args().out)
folder.mkdir(parents=True, exist_ok=True)
sj.enable_compile_cache()

# %% A model, images, and one key for each image
# The keys are those of a campaign with a stage named "fog" and seed 0: an image meets the same fog at every severity.
model, data = demo.load(), demo.data().take(slice(200))
keys = sj.key_for(0, "fog", data.ids)

# %% The curve, measured, and the slope at each of its points, exact
step = 0.1
severity = np.round(np.arange(0, 5 + step / 2, step), 6)
curve = s.response_curve(model, image.Fog, keys, data.x, data.y, severity, size=32)
loss, slope = curve.response.mean(axis=1), curve.slope.mean(axis=1)

# %% What the slope at one severity predicts around it
# A straight line, loss + slope * distance, against the measured curve. The published scale is a table that is straight
# between integers, so a line is asked to predict within its own piece: not across the bends at 1, 2, 3, 4.
rows = []
for at in (0.5, 1.5, 2.5, 3.5, 4.5):
    here = int(np.argmin(np.abs(severity - at)))
    for distance in (-0.3, -0.1, 0.1, 0.3):
        there = int(np.argmin(np.abs(severity - (at + distance))))
        predicted = loss[here] + slope[here] * distance
        rows.append((at, distance, loss[there], predicted, predicted - loss[there], loss[there] - loss[here]))
table = pd.DataFrame(rows, columns=["at", "distance", "measured", "predicted", "error", "change"])
print("Cross-entropy under fog, measured, and predicted from the derivative at one severity")
print(table.round(4).to_string(index=False), "\n")

# %% How good is that?
# Close by the line is right up to the curvature; further away the curve bends, and the error grows with the square of
# the distance. Both are read off the table.
near, far = (table[np.isclose(table.distance.abs(), d)] for d in (0.1, 0.3))
share = [float(np.sqrt(np.square(part.error).mean() / np.square(part.change).mean())) for part in (near, far)]
print(f"error over change: {share[0]:.1%} at a distance of 0.1, {share[1]:.1%} at 0.3")
if share[0] > 0.25:
    raise SystemExit("the derivative does not predict the curve")

# %% At severity 0, where the perturbation is the identity
# The plain derivative is zero there by construction. The one-sided derivative is not.
(start,) = s.severity_derivative(model, image.Fog, keys, data.x, severity=0, size=32).frame().to_dict("records")
slopes = f"exact {start['derivative_rms']:.3f}, by difference {start['finite_difference_rms']:.3f}"
print(f"at severity 0: slope to the {start['side']} of a logit, root mean square: {slopes};")
print(f"the two agree on {start['agrees']:.0%} of the images\n")

# %% And where the line must fail
# A curve that is steep somewhere has a threshold. Its place comes with an interval over images.
cliff = s.threshold(s.response_curve(model, image.Fog, keys, data.x, data.y, size=32))
where = "at the end of the range" if cliff.at_edge else "inside the range"
print(f"steepest at severity {cliff.severity:.2f} ({cliff.low:.2f} to {cliff.high:.2f}), {where}")

# %% The picture
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
axes.plot(severity, loss, color="black", label="measured")
for i, at in enumerate((0.5, 1.5, 2.5, 3.5, 4.5)):
    here = int(np.argmin(np.abs(severity - at)))
    around = np.array([-0.5, 0.5])
    label = "predicted from one severity" if i == 0 else None
    axes.plot(at + around, loss[here] + slope[here] * around, color="tab:red", linewidth=2.5, alpha=0.7, label=label)
    axes.plot(at, loss[here], "o", color="tab:red")
axes.set(xlabel="severity of fog", ylabel="mean cross-entropy", xlim=(0, 5))
axes.legend()
figure.savefig(folder / "derivative_predicts_curve.png", dpi=150)
print("figure:", folder / "derivative_predicts_curve.png")
