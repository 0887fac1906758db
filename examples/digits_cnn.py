"""What hurts a small CNN on handwritten digits: noise, fog and rotation, alone and in pairs.

    python examples/digits_cnn.py [--out DIR]

Run it twice: the second time nothing is computed, because every finished tile is in the folder already.
"""

import argparse

import sensijax as sj
from sensijax import demo
from sensijax.perturb import image


def show(table) -> None:
    print(table.round(3).to_string(index=False), "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/digits-cnn", metavar="DIR", help="the folder (%(default)s)")
    folder = parser.parse_args().out

    sj.enable_compile_cache()
    severity = [0, 1, 2, 3, 4, 5]
    campaign = sj.Campaign(
        model=demo.load(),  # trained on two thirds of the digits the first time, some seconds; then restored
        data=demo.data(),  # the other third: 599 images
        stages={
            "noise": sj.sweep(image.GaussianNoise, severity=severity),  # the scale of 224 px, coarser
            "fog": sj.sweep(image.Fog, severity=severity, size=32),  # the scale of 32 px
            "rotation": sj.sweep(image.Rotation, severity=severity),
        },
        design=sj.design.pairs(at=3),
        seeds=3,
        name="digits-cnn",
    )
    results = sj.run(campaign, folder)

    accuracy, low, high = results.baseline()
    print(f"clean accuracy {accuracy:.3f} ({low:.3f} to {high:.3f})\n")

    for stage in campaign.stages:
        print(f"{stage}: accuracy lost at each severity, with its 95 % interval")
        show(results.curve(stage)[["severity", "accuracy", "drop", "low", "high", "verdict"]])

    print("What hurts most, averaged over severities")
    show(results.ranking()[["stage", "mean_drop", "low", "high", "worst_drop", "worst_at", "breaks_at"]])

    print("Pairs: interaction = drop(both) - drop(first) - drop(second)")
    pairs = results.interactions()
    show(pairs[["first", "second", "drop_pair", "interaction", "low", "high", "p_holm"]])

    print("report:", results.report())


if __name__ == "__main__":
    main()
