"""What the peers find, and how long they take: AutoAttack by its authors' code, PGD-40 by two libraries.

Runs in the environment of `requirements.txt`, and knows nothing of sensijax. Arguments: the file with weights, images
and labels, the norm, the budget, the number of threads. Prints one line of JSON.
"""

import json
import logging
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

logging.disable(logging.CRITICAL)


class Digits(torch.nn.Module):
    """Two convolutions, two linear layers."""

    def __init__(self, stored):
        super().__init__()
        self.c1, self.c2 = torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.f1, self.f2 = torch.nn.Linear(512, 64), torch.nn.Linear(64, 10)
        self.load_state_dict({k[2:]: torch.from_numpy(stored[k]) for k in stored if k.startswith("w.")})

    def forward(self, x):
        x = F.relu(self.c2(F.relu(self.c1(x))))
        return self.f2(F.relu(self.f1(x.flatten(1))))


def main(path, norm, eps, threads):
    import foolbox
    import pyautoattack
    import torchattacks

    torch.set_num_threads(threads)
    stored = np.load(path)
    model = Digits(stored).eval()
    x, y = torch.from_numpy(stored["x"])[:, None], torch.from_numpy(stored["y"])

    def autoattack():
        attack = pyautoattack.AutoAttack(model, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, seed=0)
        return attack.run_standard_evaluation(x, y, batch_size=len(x))[0]

    def foolbox_pgd():
        attack = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm](steps=40)
        return attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=[eps])[1][0]

    def torchattacks_pgd():
        alpha = 2.5 * eps / 40
        return {"linf": torchattacks.PGD, "l2": torchattacks.PGDL2}[norm](model, eps=eps, alpha=alpha, steps=40)(x, y)

    found = {}
    runs = {"foolbox pgd-40": foolbox_pgd, "torchattacks pgd-40": torchattacks_pgd, "pyautoattack": autoattack}
    for name, run in runs.items():
        torch.manual_seed(0)
        started, cpu = time.perf_counter(), time.process_time()
        adversarial = run()
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        with torch.no_grad():
            robust = int((model(adversarial).argmax(1) == y).sum())
        found[name] = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "robust": robust}
    with open("/proc/self/status") as status:  # getrusage would begin with the memory of the parent
        found["memory_mib"] = round(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))
