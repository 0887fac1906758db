"""The autopilot: what a search may cost, what is remembered, what happens without memory, and that nothing recompiles.

No clock is asked: searches run on one that the calls themselves move on.
"""

import json

import jax
import numpy as np
import pandas as pd
import pytest

import sensijax as sj
from sensijax import attack, drift, label
from sensijax.campaign import _attacking, _engine
from sensijax.campaign._engine import Engine, gathered
from sensijax.campaign._programs import Programs
from sensijax.campaign._tuning import CANDIDATES, LEAST_SECONDS, ROUND_SECONDS, RUN_SHARE, Tuning
from sensijax.campaign.store._store import Store
from sensijax.core import Layout
from sensijax.perturb import image

AT = {"noise": 3, "adversary": 0.25, "moved": 0.5, "drift": 0.5, "labels": 0.4}
FULL = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1234 bytes.")


@pytest.fixture(scope="module")
def campaign(make_campaign):
    stages = {
        "noise": sj.sweep(image.GaussianNoise, severity=[0, 3]),
        "adversary": sj.sweep(attack.PGD, eps=[0, 0.25], steps=16),
        "moved": sj.sweep(drift.MeanShift, strength=[0, 0.5]),
        "drift": sj.sweep(drift.PriorShift, strength=[0, 0.5], target=(0.7, 0.2, 0.1)),
        "labels": sj.sweep(label.Symmetric, rate=[0, 0.4]),
    }
    return make_campaign(stages=stages, design=sj.design.pairs(at=AT), seeds=2, name="autopilot")


@pytest.fixture(scope="module")
def programs(campaign):
    return Programs(campaign)


@pytest.fixture(scope="module")
def plan(campaign, programs):
    return sj.make_plan(campaign, programs)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class Clock:
    """Seconds that pass only while something is called."""

    def __init__(self):
        self.now = 0.0
        self.calls = 0

    def __call__(self):
        return self.now

    def takes(self, seconds, result=None):
        def call():
            self.calls += 1
            self.now += seconds
            return result

        return call


def tuning_of(campaign, plan, programs, store=None, clock=None, **more):
    return Tuning(campaign, plan, programs, "here", store, clock=clock or Clock(), **more)


def with_probes(tuning, seconds_of, compiling=0.0):
    """A tuning whose programs are nothing but the time that they take."""

    def probe(width, can_do_without):
        tuning.clock.takes(compiling)()
        return tuning.clock.takes(seconds_of(width))

    tuning._probe = probe
    tuning.tile_rows = [4096] * 3
    tuning._probed = lambda width: max(512, width)
    return tuning


# --- the micro-batch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("knee", [64, 256, 1024])
def test_the_smallest_micro_batch_near_the_best_is_chosen(campaign, plan, programs, knee):
    def seconds(width):  # a call of narrow batches pays for each of them
        rows = max(512, width)
        return 1e-6 * rows * max(1, knee / width) * (1 + max(0, width - knee) / 1e6)

    tuning = with_probes(tuning_of(campaign, plan, programs), seconds)
    assert tuning._measure()["micro_batch"] == knee


@pytest.mark.parametrize("compiling", [0.001, 0.4, 3.0, 60.0])
@pytest.mark.parametrize("row", [1e-7, 1e-4, 0.01])
@pytest.mark.parametrize("passes", [1e3, 1e7])
def test_a_search_costs_two_seconds_or_two_percent(campaign, plan, programs, compiling, row, passes):
    tuning = with_probes(tuning_of(campaign, plan, programs), lambda width: row * max(512, width) ** 0.99, compiling)
    tuning.passes = passes
    found = tuning._measure()
    at_all = compiling + 2 * row * 512 + max(ROUND_SECONDS, row * 512)  # the first width, as it has to be
    assert tuning.clock.now <= max(LEAST_SECONDS, RUN_SHARE * passes * found["seconds_per_row"]) * 1.1 + 2 * at_all
    if compiling > LEAST_SECONDS and passes * row < 1e3:
        assert found["micro_batch"] == CANDIDATES[0] and tuning.clock.calls <= 3 + ROUND_SECONDS / (row * 450)
    if compiling < 1 and row < 1e-3 and passes * row > 1e2:
        assert found["micro_batch"] == 512 or tuning.clock.calls > 30  # there was time for all of them


@pytest.mark.parametrize(("most", "chosen"), [(300, 256), (64, 64), (20, 16), (1, 1)])
def test_what_does_not_fit_while_measuring_is_not_chosen(campaign, plan, programs, most, chosen):
    tuning = with_probes(tuning_of(campaign, plan, programs), lambda width: 1e-3 * 512 / width)
    fits = tuning._probe

    def probe(width, can_do_without):
        if width > most:
            raise FULL
        return fits(width, can_do_without)

    tuning._probe = probe
    assert tuning._measure()["micro_batch"] == chosen
    most = 0
    with pytest.raises(jax.errors.JaxRuntimeError):
        tuning._measure()


def test_out_of_memory_while_compiling_a_candidate(campaign, plan, programs, monkeypatch):
    real, tried = Engine.compile, []

    def compiled(self, structures):
        tried.append(self.micro_batch)
        if self.micro_batch > 16:
            raise FULL
        real(self, structures)

    monkeypatch.setattr(Engine, "compile", compiled)
    assert Tuning(campaign, plan, programs, "here", None)._measure()["micro_batch"] == 16
    assert list(dict.fromkeys(tried)) == [64, 32, 16]


@pytest.mark.parametrize("shares", [1, 2])
def test_widths_are_those_that_cut_the_tiles_with_little_padding(campaign, plan, programs, monkeypatch, shares):
    monkeypatch.setattr(Layout, "shares", shares)
    tuning = tuning_of(campaign, plan, programs)
    tuning.tile_rows = [599] * 5 + [1797] * 52 + [2396] * 20
    found = tuning.candidates()
    assert all(3 * p // 4 <= width < 3 * p // 2 and not width % 8 for p, width in zip(CANDIDATES, found, strict=True))
    filled = [[tuning._filled(width) for width in widths] for widths in (CANDIDATES[:4], found[:4])]
    assert all(after >= before for before, after in zip(*filled, strict=True))
    assert min(filled[0]) < 0.9 and min(filled[1]) > 0.93
    tuning.tile_rows = [2048] * 7
    assert tuple(tuning.candidates()[:5]) == CANDIDATES[:5]


def test_several_devices_fill_their_micro_batches_together(campaign, plan, programs, monkeypatch):
    one = with_probes(tuning_of(campaign, plan, programs), lambda width: 1e-6 * 512)
    assert one._filled(2048) == one._filled(64) == 1
    monkeypatch.setattr(Layout, "shares", 8)
    eight = with_probes(tuning_of(campaign, plan, programs), lambda width: 1e-6 * 512)
    assert eight._filled(512) == 1 and eight._filled(1024) == 0.5
    assert [name for _, name in eight._places("a")] == ["tuning/a-8.json"]


# --- memory ----------------------------------------------------------------------------------------------------------


def test_the_first_to_measure_decides_for_the_folder(campaign, plan, programs, tmp_path, monkeypatch):
    store, found = Store(tmp_path / "run"), []
    for user, width in (("one", 64), ("two", 128)):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / user))
        tuning = tuning_of(campaign, plan, programs, store)
        tuning._measure = lambda width=width: {"micro_batch": width, "seconds_per_row": 1.0}
        monkeypatch.setattr(tuning, "_known", lambda address: None)  # both looked before either wrote
        found.append(tuning.micro_batch())
    assert found == [64, 64]
    assert tuning_of(campaign, plan, programs, store).micro_batch() == 64


def test_a_damaged_memory_is_measured_anew(campaign, plan, programs, own_cache, tmp_path):
    store = Store(tmp_path / "run")
    tuning = tuning_of(campaign, plan, programs, store)
    tuning._measure = lambda: {"micro_batch": 32, "seconds_per_row": 1.0}
    assert tuning.micro_batch() == 32
    (file,) = (tmp_path / "run/tuning").iterdir()
    file.write_text(file.read_text().replace("32", "33"))
    for cached in (tmp_path / "cache").rglob("*.json"):
        cached.unlink()
    assert tuning.micro_batch() == 32 and json.loads(file.read_text())["micro_batch"] == 32
    assert tuning.halve(32) == 16 and tuning.micro_batch() == 16


# --- loop styles -----------------------------------------------------------------------------------------------------


def adversary(plan):
    return next(s for s in plan.structures if isinstance(s, _attacking.AttackStructure))


def with_looks(tuning, one_by_one, fused, compiling=0.0, other=None):
    """Looks that take time and leave a state: the fused style's is `other`, where that is given."""
    states = {False: [np.zeros(3)], True: [np.zeros(3) if other is None else other]}
    seen = set()

    def first_look(structure, micro_batch, style):
        def look():
            first = style not in seen
            seen.add(style)
            return tuning.clock.takes((fused if style else one_by_one) + first * compiling, states[style])()

        return look

    tuning._first_look = first_look
    return tuning


@pytest.mark.parametrize(
    ("seconds", "compiling", "other", "style"),
    [
        ((0.02, 0.01), 0.1, None, True),
        ((0.01, 0.02), 0.1, None, False),
        ((0.01, 0.0099), 0.1, None, False),  # too little to change anything for
        ((0.02, 0.01), 0.1, np.array([0, 0, 1e-9]), False),  # a bit differs
        ((0.02, 0.01), 5.0, None, None),  # dear to compile
    ],
)
def test_the_faster_loop_is_taken_where_it_changes_no_bit(campaign, plan, own_cache, seconds, compiling, other, style):
    fresh = Programs(campaign)
    tuning = with_looks(tuning_of(campaign, plan, fresh), *seconds, compiling, other)
    tuning.passes, structure = 1e5, adversary(plan)
    tuning._keep(tuning.address, {"micro_batch": 64, "seconds_per_row": 1e-4})  # a run of 10 s: 2 s may go
    tuning.loops(64, plan.structures)
    assert fresh.fused.get(structure) is style
    assert tuning.clock.now <= compiling + LEAST_SECONDS + 2 * sum(seconds)
    again, calls = Programs(campaign), tuning.clock.calls
    later = with_looks(tuning_of(campaign, plan, again, clock=tuning.clock), *seconds, compiling, other)
    later.passes = 1e5
    later.loops(64, plan.structures)
    assert again.fused == fresh.fused
    assert (tuning.clock.calls > calls) is (style is None)  # remembered, where there was an answer


def test_no_loop_is_searched_for_a_run_shorter_than_the_search(campaign, plan, own_cache):
    tuning = with_looks(tuning_of(campaign, plan, Programs(campaign)), 0.02, 0.01, 0.1)
    tuning._keep(tuning.address, {"micro_batch": 64, "seconds_per_row": 1e-9})
    tuning.loops(64, plan.structures)
    assert tuning.clock.calls == 0 and not tuning.programs.fused


def test_both_styles_leave_the_same_bits(campaign, plan, programs):
    structure = adversary(plan)
    one, other = (tuning_of(campaign, plan, programs)._first_look(structure, 32, fused)() for fused in (False, True))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    moved = np.abs(one[0].x - campaign.examples.x[:32]).max(axis=(1, 2, 3))
    assert (one[0].step == 8).all() and (moved > 0.01).all()  # there was something to compare


def test_a_run_in_the_other_style_says_the_same(campaign, reference, tmp_path, monkeypatch):
    real = Programs.__init__

    def fused(self, campaign):
        real(self, campaign)
        self.fused = dict.fromkeys(sj.make_plan(campaign, Planned(campaign)).structures, True)

    class Planned(Programs):
        __init__ = real

    monkeypatch.setattr(Programs, "__init__", fused)
    other = sj.run(campaign, tmp_path / "run", micro_batch=32)
    pd.testing.assert_frame_equal(other.frame(), reference.frame())


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(campaign, tmp_path_factory):
    return sj.run(campaign, tmp_path_factory.mktemp("reference") / "run", micro_batch=32)


def test_out_of_memory_inside_an_attack_halves_and_goes_on(campaign, reference, tmp_path, monkeypatch):
    real, raised = _attacking._AttackStage.__call__, []

    def stage(self, *arguments):
        if self.width > 32:
            raised.append(self.width)
            raise FULL
        return real(self, *arguments)

    monkeypatch.setattr(_attacking._AttackStage, "__call__", stage)
    results = sj.run(campaign, tmp_path / "run", micro_batch=128)
    assert raised == [128, 64] and results.completeness.complete
    told = ["scenario", "seed", "example", "prediction", "correct", "observed", "weight"]
    pd.testing.assert_frame_equal(results.frame()[told], reference.frame()[told])


def test_out_of_memory_while_the_run_compiles(campaign, reference, tmp_path, monkeypatch):
    real = _engine.Engine.compile

    def compiled(self, structures):
        if self.micro_batch > 32:
            raise FULL
        real(self, structures)

    monkeypatch.setattr(_engine.Engine, "compile", compiled)
    results = sj.run(campaign, tmp_path / "run", micro_batch=64)
    pd.testing.assert_frame_equal(results.frame(), reference.frame())


def test_nothing_is_traced_or_compiled_once_every_program_has_run(campaign, plan, programs):
    """Attacks, drifts that move and that weigh, labels and noise: from the second pass over all tiles on."""
    seen = []

    def heard(event, duration, **about):
        if event in ("/jax/core/compile/backend_compile_duration", "/jax/core/compile/jaxpr_trace_duration"):
            seen.append((event, about))

    engine = Engine(campaign, plan, programs, 32)
    jax.monitoring.register_event_duration_secs_listener(heard)
    try:
        passes = []
        for _ in range(3):
            before = len(seen)
            for tile in plan.tiles:
                gathered(tile, engine.dispatch(tile))
            passes.append(seen[before:])
    finally:
        jax.monitoring.unregister_event_duration_listener(heard)
    assert passes[0]
    assert passes[1:] == [[], []]


def test_a_real_search_finds_one_of_the_candidates(campaign, plan, programs):
    tuning = Tuning(campaign, plan, programs, "here", None)
    found = tuning._measure()
    assert found["micro_batch"] in tuning.candidates() and 0 < found["seconds_per_row"] < 1
