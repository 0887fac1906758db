"""What a timeline is: a drift stage on a schedule, what else acts all along, and who watches."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sensijax.drift.detect import Detection, Detector
from sensijax.drift.simulate.schedule import Shape


@dataclasses.dataclass(frozen=True, eq=False)
class Monitor:
    """An online detector that looks at one signal of the model, step by step.

    Attributes:
      signal: what it watches; `Timeline` lists the signals, and says which need labels.
      detector: one of `sensijax.drift.detect`. One that must know the stream as it is without drift is fitted to the
        signal of the reference.
      ert: the expected run time, in steps: the detector's threshold is calibrated on the reference to one false alarm
        in so many steps (`drift.detect.calibrate` on 512 streams, which know it to 5 %; for detectors with such a
        threshold). The detector's own threshold stands unless given.

    Example:
      >>> from sensijax.drift import detect
      >>> Monitor("confidence", detect.ADWIN(delta=0.01)).signal
      'confidence'
    """

    signal: str
    detector: Detector
    ert: float | None = None


@dataclasses.dataclass(frozen=True, eq=False, init=False)
class Windowed:
    """A batch test that compares window after window with the reference.

    Windows follow each other without a gap. One that the stream does not fill is not looked at. An alarm stands at the
    last step of its window, where the test can first be made.

    The stream draws from the very examples that are the reference, with replacement. A two-sample test allows for the
    chance in both samples, where here only the window varies, so without drift its p-values are on the large side:
    false alarms come in a fraction of at most `alpha` of the windows. The longer the windows against the reference, the
    fewer. On average at most 10,000 alpha / size come in 10,000 quiet steps. Where a stage beside the drift draws anew
    at every step, the reference is a sample like the window, and the level is the test's own.

    Attributes:
      signal: what it watches; `Timeline` lists the signals.
      test: `(reference, sample, alpha=..., **options) -> Detection`: one of `sensijax.drift.detect`, or your own. If it
        takes a `key`, it gets one for each window.
      size: steps in a window, 2 or more.
      alpha: the level of one window's test, in (0, 1).
      options: further arguments of the test, such as `permutations=200`.

    Example:
      >>> from sensijax.drift import detect
      >>> Windowed("outputs", detect.mmd, size=250, permutations=200).options
      {'permutations': 200}
    """

    signal: str
    test: Callable[..., Detection]
    size: int
    alpha: float
    options: Mapping[str, Any]

    def __init__(self, signal: str, test: Callable[..., Detection], *, size: int, alpha: float = 0.01, **options: Any):
        for name, value in {"signal": signal, "test": test, "size": size, "alpha": alpha, "options": options}.items():
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """A drift that comes and goes in time, and the monitors that watch the model meanwhile.

    For each seed of the campaign a stream of examples is drawn with replacement, step by step, while the drift stage
    follows the schedule; the other stages in `beside` act on every step, in the campaign's order. Step t is a function
    of (seed, stage, t): timelines of one stage share their random numbers, so two that differ in `beside` meet the same
    examples. What an annotator writes on an example is that of the campaign, a function of (seed, stage, id), however
    often the example comes; a perturbation or an attack draws anew at every step.

    The **reference** of the monitors is every example once, under the stages of `beside` and without the drift: what
    was seen before anything changed.

    Signals of a classifier, for each step:

    - `error`: 1 where the prediction is not what was written on the example. Needs labels.
    - `loss`: cross-entropy against what was written, nats. Needs labels.
    - `label`: what was written, a class. Needs labels.
    - `confidence`: the largest probability, in [0, 1].
    - `entropy`: of the probabilities, nats.
    - `prediction`: the predicted class.
    - `outputs`: the logits `[K]`.
    - `inputs`: what the model is shown, flattened `[d]`.

    Of a regression: `loss` (squared error; needs labels), `outputs` `[d]`, `inputs`. Online detectors take numbers
    (`error`, `loss`, `confidence`, `entropy`) or, like `OnlineMMD`, vectors (`outputs`, `inputs`); classes are for
    windowed tests.

    Attributes:
      stage: a drift stage of the campaign.
      schedule: a shape in time: `Sudden`, `Gradual`, `Incremental`, `Recurring`, or several with `>>`.
      length: T, steps in a stream.
      at: the stage's setting at level 1 of the schedule; its last setting farthest from no drift unless given. Level 0
        is no drift.
      beside: other stages of the campaign by name, at the setting at which they act all along: label noise,
        perturbations, attacks. Wrong labels beside mean that errors are counted against wrong labels, as they would be.
      monitors: by name. Unless given, for a classifier: `errors` and `confidence`, ADWIN on those signals; `classes`,
        chi-squared on the predictions, and `outputs`, MMD on the logits, in windows of `length // 16` steps (from 20 to
        250) at level 0.01. For a regression: `losses`, Kolmogorov and Smirnov's test on the loss, in such windows, and
        `outputs`.
      horizon: steps within which a change counts as found; up to the next change unless given. After a return it is how
        long alarms are not held against a monitor.

    An evaluation asks for the changes that lead away from no drift. The first alarm from such a change on, before the
    next one, finds it; later ones are repeats. Alarms are false where nothing is wrong: before the first change, and,
    with a horizon, once a return is complete and the horizon over. Elsewhere they count neither way: a monitor that
    compares with the reference is right to go on while the drift lasts, and one that compares with the recent past is
    right to speak up when it ends.

    Example:
      >>> from sensijax.drift import Gradual, Sudden
      >>> outbreak = Timeline("drift", Gradual(1000, 500) >> Sudden(3000, to=0.0), length=4000, beside={"labels": 0.2})
      >>> outbreak.schedule([0, 1249, 2000, 3000]).round(1).tolist()
      [0.0, 0.5, 1.0, 0.0]
    """

    stage: str
    schedule: Shape
    length: int
    at: float | None = None
    beside: Mapping[str, float] = dataclasses.field(default_factory=dict)
    monitors: Mapping[str, Monitor | Windowed] | None = None
    horizon: int | None = None
