"""The demonstration's model: the same each time, trained once (how accurate, tests/cli/test_process.py sees)."""

import logging

import jax
import numpy as np
import pytest

from sensijax import demo
from sensijax.data import digits, split
from sensijax.demo import model as module

SHORT = demo.Recipe(epochs=1)


def accuracy(model):
    data = demo.data()
    return float(np.mean(np.argmax(jax.jit(model.apply)(model.params, data.x), -1) == data.y))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def short(cache):
    return demo.load(cache, recipe=SHORT)


@pytest.fixture
def no_training(monkeypatch):
    def fit(*args):
        raise AssertionError("trained although there is a checkpoint")

    monkeypatch.setattr(module, "fit", fit)


def test_the_data_are_the_held_out_third():
    train, test = split(digits(32))
    data = demo.data()
    assert data.digest == test.digest and data.name == "digits" and len(data) == 599
    assert not set(data.ids) & set(train.ids)


def test_one_epoch_learns(short):
    # Guessing gives 0.1; with 599 examples its standard deviation is 0.012.
    assert accuracy(short) > 0.5
    assert short.name == "digits-cnn" and short.classes == tuple("0123456789")


def test_training_is_deterministic(short):
    assert jax.tree.all(jax.tree.map(np.array_equal, short.params, module.fit(SHORT, split(digits(32))[0])))


def test_a_second_load_restores(short, cache, no_training):
    again = demo.load(cache, recipe=demo.Recipe(epochs=1))
    assert again.digest == short.digest
    assert np.array_equal(again(demo.data().x[:4]), short(demo.data().x[:4]))


def test_another_recipe_has_another_folder(short, cache, monkeypatch):
    before = set(cache.iterdir())
    monkeypatch.setattr(module, "fit", lambda recipe, train: short.params)
    demo.load(cache, recipe=demo.Recipe(epochs=1, seed=1))
    assert len(set(cache.iterdir()) - before) == 1


def test_a_damaged_checkpoint_is_replaced(short, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "fit", lambda recipe, train: short.params)
    demo.load(tmp_path, recipe=SHORT)
    (folder,) = tmp_path.iterdir()
    for file in (folder / "tree").iterdir():
        if file.is_file():
            file.write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        assert demo.load(tmp_path, recipe=SHORT).digest == short.digest
    assert "training again" in caplog.text
    monkeypatch.undo()
    caplog.clear()
    assert demo.load(tmp_path, recipe=SHORT).digest == short.digest
    assert not caplog.text and list(tmp_path.iterdir()) == [folder]


def test_a_cache_that_cannot_be_written_costs_a_warning(short, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "fit", lambda recipe, train: short.params)
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING, logger=module.__name__):
        assert demo.load(tmp_path / "file", recipe=SHORT).digest == short.digest
    assert "for this process only" in caplog.text


def test_the_default_cache_follows_the_xdg_convention(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert module.default_cache() == tmp_path / "sensijax" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module.default_cache() == tmp_path / ".cache" / "sensijax" / "models"
