"""MMD by alibi-detect on torch: prints one line of JSON with seconds and what it found.

python alibi_mmd.py FILE.npz PERMUTATIONS BANDWIDTH THREADS

Runs in the environment of `requirements-alibi.txt`, and knows nothing of sensijax. FILE holds `x` and `y`.
"""

import json
import logging
import sys
import time
import warnings

import numpy as np
import torch
from alibi_detect.cd import MMDDrift

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")


def main(path, permutations, bandwidth, threads):
    torch.set_num_threads(threads)
    data = np.load(path)
    started, cpu = time.perf_counter(), time.process_time()
    detector = MMDDrift(
        data["x"], backend="pytorch", n_permutations=permutations, sigma=np.array([bandwidth], np.float32)
        if bandwidth else None, configure_kernel_from_x_ref=False,
    )  # fmt: skip
    found = detector.predict(data["y"])["data"]
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(
        json.dumps(
            {"seconds": seconds, "cpu_seconds": cpu, "mmd2": float(found["distance"]), "p": float(found["p_val"])}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
