"""Jacobians of a LeNet by `torch.func`: prints one line of JSON with seconds, and stores the reverse-mode one.

python jacobian_peer.py FOLDER THREADS REPEATS

Runs in the environment of `requirements.txt`, and knows nothing of sensijax. FOLDER holds `lenet.npz`.
"""

import json
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import jacfwd, jacrev, vmap


def main(folder, threads, repeats):
    torch.set_num_threads(threads)
    w = {name: torch.from_numpy(value) for name, value in np.load(f"{folder}/lenet.npz").items()}
    x = w.pop("x")

    def lenet(one):
        h = one[None, None]
        for name in ("c1", "c2"):
            h = F.avg_pool2d(F.relu(F.conv2d(h, w[f"{name}.weight"], w[f"{name}.bias"])), 2)
        h = h.flatten(1)
        for name in ("f1", "f2"):
            h = F.relu(F.linear(h, w[f"{name}.weight"], w[f"{name}.bias"]))
        return F.linear(h, w["f3.weight"], w["f3.bias"])[0]

    def seconds(function, rows):
        function(x[:rows])
        best = float("inf")
        for _ in range(repeats):
            started = time.perf_counter()
            function(x[:rows])
            best = min(best, time.perf_counter() - started)
        return best * len(x) / rows

    reverse, forward = vmap(jacrev(lenet)), vmap(jacfwd(lenet))
    np.save(f"{folder}/jacobian.npy", reverse(x).numpy())
    print(json.dumps({"torch jacrev": seconds(reverse, len(x)), "torch jacfwd": seconds(forward, len(x) // 16)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
