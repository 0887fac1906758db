"""Faults, drawn from seeds: campaigns are killed, cut off, starved and damaged, run on, and judged.

python -m bench.faults --seed N     # one story, told step by step
python -m bench.faults --n 1000     # many, on both levels; the table goes to bench/results/faults.json

A *story* is one folder. A seed decides what happens to it: one fault after the other, and after each of them a run that
goes on. In the end the folder is compared with that of a run that nobody disturbed.
"""
