"""How long crowd-kit takes for Dawid and Skene's model: prints one line of JSON.

python crowdkit_dawid_skene.py VOTES.npz ITERATIONS POSTERIOR.npy

Runs in the environment of `requirements.txt`, and knows nothing of sensijax. VOTES has `item`, `worker`, `label` and
`classes`; the posterior is written with items and classes in order.
"""

import json
import sys
import time

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene


def main():
    data = np.load(sys.argv[1])
    frame = pd.DataFrame({"task": data["item"], "worker": data["worker"], "label": data["label"]})
    model = DawidSkene(n_iter=int(sys.argv[2]), tol=-np.inf)
    start = time.perf_counter()
    model.fit(frame)
    seconds = time.perf_counter() - start
    table = model.probas_.sort_index().reindex(columns=range(int(data["classes"])), fill_value=0.0)
    np.save(sys.argv[3], table.to_numpy())
    print(json.dumps({"seconds": seconds, "iterations": len(model.loss_history_)}))


if __name__ == "__main__":
    main()
