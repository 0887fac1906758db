"""How long SALib takes for Sobol indices: prints one line of JSON with the seconds of each step.

python salib_sobol.py FUNCTION N

Runs in the environment of `requirements.txt`, and knows nothing of sensijax. FUNCTION is `ishigami` or `g100`; N is the
number of base points. Second order, 100 resamples, SALib's defaults otherwise; the model is vectorised NumPy.
"""

import json
import sys
import time

import numpy as np
from SALib.analyze import sobol as analyze
from SALib.sample import sobol as sample


def ishigami(x):
    return np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])


def g100(x):
    a = np.arange(100) / 2
    return np.prod((np.abs(4 * x - 2) + a) / (1 + a), axis=1)


CASES = {"ishigami": (ishigami, 3, (-np.pi, np.pi)), "g100": (g100, 100, (0.0, 1.0))}


def main():
    function, d, bounds = CASES[sys.argv[1]]
    problem = {"num_vars": d, "names": [f"x{i}" for i in range(d)], "bounds": [list(bounds)] * d}
    seconds, start = {}, time.perf_counter()

    def lap(name):
        nonlocal start
        seconds[name], start = time.perf_counter() - start, time.perf_counter()

    x = sample.sample(problem, int(sys.argv[2]), calc_second_order=True, seed=0)
    lap("sample")
    y = function(x)
    lap("evaluate")
    found = analyze.analyze(problem, y, calc_second_order=True, num_resamples=100, seed=0)
    lap("analyse")
    print(json.dumps({"seconds": seconds, "S1": list(found["S1"][:3]), "ST": list(found["ST"][:3])}))


if __name__ == "__main__":
    main()
