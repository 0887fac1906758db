"""Blocks of examples: the right ones whatever came before, the next one early, and what that may not change."""

import dataclasses
import threading

import jax
import numpy as np
import pytest

import sensijax as sj
from sensijax.campaign import _plan
from sensijax.campaign._engine import Engine, gathered
from sensijax.campaign._programs import Programs
from sensijax.core import Layout
from sensijax.perturb import image

BLOCK, WIDTH = 16, 8


@pytest.fixture(scope="module")
def campaign(make_campaign):
    return make_campaign(
        stages={"noise": sj.sweep(image.GaussianNoise, severity=[0, 2, 4])}, design=sj.design.isolated()
    )


@pytest.fixture(scope="module")
def programs(campaign):
    return Programs(campaign)


@pytest.fixture(scope="module")
def plan(campaign, programs):
    """60 examples in blocks of 16: the last one is padded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "BLOCK_EXAMPLES", BLOCK)
        return sj.make_plan(campaign, programs)


@pytest.fixture(scope="module")
def executables(campaign, plan, programs):
    engine = Engine(campaign, plan, programs, WIDTH)
    engine.compile(plan.structures)
    return engine._executables


@pytest.fixture
def fresh(campaign, plan, programs, executables):
    """An engine that has computed nothing yet, and has nothing to compile; after the test it sends nothing more."""
    made = []

    def make():
        made.append(Engine(campaign, plan, programs, WIDTH))
        made[-1]._executables = executables
        return made[-1]

    yield make
    for engine in made:
        engine._blocks._sender.shutdown()


@pytest.fixture(scope="module")
def expected(campaign, plan, programs, executables):
    """Every tile by an engine of its own."""
    found = {}
    for tile in plan.tiles:
        engine = Engine(campaign, plan, programs, WIDTH)
        engine._executables = executables
        found[tile.id] = gathered(tile, engine.dispatch(tile))
        engine._blocks._sender.shutdown()
    return found


def same(found, expected):
    assert set(found) == set(expected)
    for name, column in expected.items():
        assert found[name].tobytes() == column.tobytes(), name


def test_there_are_several_blocks(plan):
    spans = list(dict.fromkeys((tile.start, tile.stop) for tile in plan.tiles))
    assert spans == [(0, 16), (16, 32), (32, 48), (48, 60)] and len(plan.tiles) > len(spans)


@pytest.mark.parametrize("order", ["plan", "backwards", "shuffled"])
def test_a_tile_does_not_depend_on_those_before_it(order, fresh, plan, expected):
    tiles = list(plan.tiles)
    if order == "backwards":
        tiles = tiles[::-1]
    elif order == "shuffled":
        np.random.default_rng(0).shuffle(tiles)
    engine = fresh()
    for tile in tiles:
        same(gathered(tile, engine.dispatch(tile)), expected[tile.id])


def test_tiles_that_begin_alike_and_end_elsewhere_are_two_blocks(fresh, plan, expected):
    """As those of an attack, which are cut finer: a run that is taken up again may meet them in any order."""
    whole = next(tile for tile in plan.tiles if tile.structures)
    few = dataclasses.replace(whole, stop=whole.start + 5)
    alone = gathered(few, fresh().dispatch(few))
    engine = fresh()
    same(gathered(few, engine.dispatch(few)), alone)
    same(gathered(whole, engine.dispatch(whole)), expected[whole.id])
    same(gathered(few, engine.dispatch(few)), alone)
    columns = {name: column.reshape(whole.shape)[..., :5].ravel() for name, column in expected[whole.id].items()}
    for name in ("prediction", "status", "correct"):
        np.testing.assert_array_equal(alone[name], columns[name])


def sent_by(monkeypatch, fail=()):
    """Notes which thread sends each block; sending one that is in `fail` runs out of memory the first time."""
    sent, put, failing = [], Layout.put, list(fail)

    def noting(self, tree, place):
        if isinstance(tree, np.ndarray) and tree.dtype == np.bool_:  # one of the arrays of every block
            sent.append(threading.current_thread().name.startswith("sensijax-block"))
            if len(sent) in failing:
                failing.remove(len(sent))
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")
        return put(self, tree, place)

    monkeypatch.setattr(Layout, "put", noting)
    return sent


def test_the_next_block_comes_early_and_once(fresh, plan, monkeypatch):
    sent = sent_by(monkeypatch)
    engine = fresh()
    for tile in plan.tiles:
        engine.dispatch(tile)
    assert sent == [False, True, True, True], "the first is waited for, the others come from their own thread"


def test_a_part_of_a_tile_has_no_follower(fresh, plan, monkeypatch):
    tile = next(a for a, b in zip(plan.tiles, plan.tiles[1:], strict=False) if a.start != b.start)
    sent = sent_by(monkeypatch)
    engine = fresh()
    engine.dispatch(dataclasses.replace(tile, stop=tile.stop - 1))
    assert engine._blocks._coming is None and sent == [False]
    engine.dispatch(tile)
    assert engine._blocks._coming is not None


def test_two_blocks_that_do_not_fit_come_one_after_the_other(fresh, plan, expected, monkeypatch):
    sent = sent_by(monkeypatch, fail=[2])
    engine = fresh()
    for tile in plan.tiles:
        same(gathered(tile, engine.dispatch(tile)), expected[tile.id])
    assert sent == [False, True, False, True, True]


def test_examples_that_come_early_wait_for_no_device(fresh, plan, monkeypatch):
    """Only of the first block is it looked at on the host whether the model's outputs are probabilities."""
    judged = []
    engine = fresh()
    judge = engine._blocks._judge
    monkeypatch.setattr(engine._blocks, "_judge", lambda *given: judged.append(given) or judge(*given))
    for tile in plan.tiles:
        engine.dispatch(tile)
    assert len(judged) == 1


def test_outputs_that_are_no_numbers_prove_nothing(fresh):
    engine = fresh()
    unseen, seen = np.full((3, 3), np.nan, np.float32), np.array([[2.0, -1.0, 0.0]], np.float32)
    engine._blocks._judge(unseen, np.ones(3, bool))
    assert not engine._blocks._judged
    with pytest.raises(sj.ArgumentError, match="probabilities"):
        engine._blocks._judge(np.full((3, 4), 0.25, np.float32), np.ones(3, bool))
    engine._blocks._judge(seen, np.ones(1, bool))
    assert engine._blocks._judged
