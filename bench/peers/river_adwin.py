"""river's ADWIN over sixteen streams, one after the other.

    python river_adwin.py LENGTH CHANGE

prints JSON: seconds, how many values they were for, and the alarms of each stream.
"""

import json
import sys
import time

import numpy as np
from river import drift

STREAMS = 16


def main(length: int, change: float) -> None:
    """Times the updates alone, on streams that lie ready as lists."""
    rng = np.random.default_rng(0)
    p = np.where(np.arange(length) < length // 2, 0.2, 0.2 + change)
    streams = [(rng.random(length) < p).astype(float).tolist() for _ in range(STREAMS)]
    alarms, seconds = [], 0.0
    for stream in streams:
        detector, found = drift.ADWIN(), []
        start = time.perf_counter()
        for i, value in enumerate(stream):
            detector.update(value)
            if detector.drift_detected:
                found.append(i)
        seconds += time.perf_counter() - start
        alarms.append(found)
    print(json.dumps({"seconds": seconds, "values": STREAMS * length, "alarms": alarms}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
