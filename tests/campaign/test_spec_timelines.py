"""Timelines in a spec: a sound one becomes its timeline, and every fault has its line."""

import numpy as np
import pytest

import sensijax as sj
from sensijax.campaign import load_spec, make_plan
from sensijax.core import CampaignError
from sensijax.drift import Gradual, PriorShift, Recurring, Sudden, detect
from sensijax.label import Symmetric

MODULE = """
import numpy as np
import sensijax as sj
from sensijax.drift import detect

def model():
    return sj.Model(lambda w, x: x @ w, np.eye(4, 3, dtype=np.float32), name="linear")

def data():
    return sj.Dataset(np.eye(4, dtype=np.float32)[np.arange(30) % 3], np.arange(30) % 3, name="corners")

def test(reference, sample, *, alpha, twice=False):
    return detect.ks(reference, sample, alpha=alpha)
"""
SOUND = """\
schema = 1
[campaign]
seeds = 2
[model]
load = "corners:model"
[data]
load = "corners:data"
[[stage]]
name = "drift"
kind = "prior_shift"
strength = [0, 0.5, 1]
[[stage]]
name = "labels"
kind = "symmetric"
rate = [0, 0.2]

[[timeline]]
name = "outbreak"
stage = "drift"
at = "1/2"
length = 300
schedule = [
    {kind = "gradual", start = 100, width = 50},
    {kind = "sudden", at = 200, to = 0},
]
beside = {labels = 0.2}
horizon = 60
[[timeline.monitor]]
name = "errors"
signal = "error"
kind = "hddm_a"
two_sided = true
[[timeline.monitor]]
name = "losses"
signal = "loss"
kind = "cusum"
ert = 500
[[timeline.monitor]]
name = "classes"
signal = "prediction"
kind = "chi2"
size = 50
alpha = 0.02
[[timeline.monitor]]
name = "own"
signal = "entropy"
kind = "corners:test"
size = 60
twice = true

[[timeline]]
name = "again"
stage = "drift"
length = 400
schedule = [{kind = "recurring", period = 200}]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "corners.py").write_text(MODULE)
        (tmp_path / "spec.toml").write_text(text)
        return tmp_path / "spec.toml"

    return write


def faults(path):
    with pytest.raises(CampaignError) as caught:
        load_spec(path)
    return [str(fault).removeprefix(f"{path}:") for fault in caught.value.faults]


def test_a_sound_spec_becomes_its_timelines(written):
    spec = load_spec(written(SOUND))
    own = spec.campaign.timelines["outbreak"].monitors["own"].test
    monitors = {
        "errors": sj.Monitor("error", detect.HDDM_A(two_sided=True)),
        "losses": sj.Monitor("loss", detect.CUSUM(), ert=500),
        "classes": sj.Windowed("prediction", detect.chi2, size=50, alpha=0.02),
        "own": sj.Windowed("entropy", own, size=60, twice=True),
    }
    shape = Gradual(100, 50) >> Sudden(200, to=0)
    timelines = {
        "outbreak": sj.Timeline("drift", shape, 300, at=0.5, beside={"labels": 0.2}, monitors=monitors, horizon=60),
        "again": sj.Timeline("drift", Recurring(200), 400),
    }
    stages = {"drift": sj.sweep(PriorShift, strength=[0, 0.5, 1]), "labels": sj.sweep(Symmetric, rate=[0, 0.2])}
    same = sj.Campaign(spec.campaign.model, spec.campaign.data, stages, seeds=2, timelines=timelines)
    assert spec.campaign.timelines["outbreak"].horizon == 60 and own.__name__ == "test"
    assert [timeline.at for timeline in spec.campaign.timelines.values()] == [0.5, 1.0]
    for name in timelines:
        read, built = (campaign.addresses.of(make_plan(campaign), name, 1) for campaign in (spec.campaign, same))
        assert read == built
    assert not np.array_equal(*(t.schedule(np.arange(300)) for t in spec.campaign.timelines.values()))


WRONG = {
    'at = "1/2"': ("at = 2", "20: timeline.outbreak.at: 2; a number in [0, 1]"),
    "length = 300": ("lenght = 300", "21: timeline.outbreak.lenght: an unknown key; did you mean 'length'?"),
    "start = 100, width = 50": ("at = 100, width = 50", "22: timeline.outbreak.schedule[0].at: an unknown key"),
    "at = 200, to = 0": ("at = 120, to = 0", "22: timeline.outbreak.schedule: a start at 120"),
    '"sudden", at': ('"suden", at', "22: timeline.outbreak.schedule[1].kind: 'suden'; did you mean 'sudden'?"),
    "beside = {labels": (
        "beside = {label",
        "26: timeline.outbreak.beside.label: stage 'label'; did you mean 'labels'?",
    ),
    "horizon = 60": ("horizon = 59", "27: timeline.outbreak.horizon: 59; a number of steps of at least 60"),
    "two_sided = true": (
        "two_sidd = true",
        "32: timeline.outbreak.monitor.errors.two_sidd: an unknown key; did you mean",
    ),
    'kind = "hddm_a"': ('kind = "hdm_a"', "31: timeline.outbreak.monitor.errors.kind: 'hdm_a'; did you mean 'hddm_a'?"),
    'signal = "loss"': ('signal = "los"', "35: timeline.outbreak.monitor.losses.signal: 'los'; did you mean 'loss'?"),
    "ert = 500": ("ert = 5", "37: timeline.outbreak.monitor.losses.ert: 5; a number of steps above 10"),
    "size = 50": ("", "38: timeline.outbreak.monitor.classes.size: missing; the steps in a window"),
    "alpha = 0.02": ("alpha = 2", "43: timeline.outbreak.monitor.classes.alpha: 2; a level strictly between 0 and 1"),
    "corners:test": ("corners:tset", "47: timeline.outbreak.monitor.own.kind: 'corners:tset'"),
    "size = 60": ("size = 301", "48: timeline.outbreak.monitor.own.size: 301; steps in a window"),
    "twice = true": ("thrice = true", "49: timeline.outbreak.monitor.own.thrice: an unknown key"),
    'name = "again"': ('name = "outbreak"', "52: timeline.outbreak.name: 'outbreak'; a name of its own"),
    "length = 400": ("length = 0", "54: timeline.again.length: 0; a number of steps"),
    "period = 200": ("period = 1", "55: timeline.again.schedule[0].period: 1; an integer of at least 2"),
    '[[timeline]]\nname = "again"': ("[timelin]", "51: timelin: an unknown key; did you mean 'timeline'?"),
}


@pytest.mark.parametrize("right", WRONG)
def test_a_fault_has_its_line(written, right):
    wrong, told = WRONG[right]
    assert SOUND.count(right) == 1
    found = faults(written(SOUND.replace(right, wrong)))
    assert any(fault.startswith(told) for fault in found), found
    assert len(found) == 1 or right in ("length = 300", "start = 100, width = 50"), found  # what is missing is told too


def test_faults_are_told_together(written):
    text = SOUND
    for right in ('signal = "loss"', "size = 60", "length = 400", "beside = {labels"):
        text = text.replace(right, WRONG[right][0])
    assert sorted(int(fault.split(":")[0]) for fault in faults(written(text))) == [26, 35, 48, 54]
