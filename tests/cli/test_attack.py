"""`sensijax attack`, end to end: what it says, what it leaves behind, what a kill does to it."""

import json
import multiprocessing
import shutil
import time

import jax
import numpy as np
import pytest

import sensijax as sj
from sensijax import attack, cli
from sensijax.campaign import Evaluated, Evaluation, evaluate, load_subject

MODEL = """
import jax.numpy as jnp
import numpy as np

import sensijax as sj
from sensijax.data import digits

SUMS = np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32) / 4


def load(scale=4.0):
    data = digits(size=8)
    x, y = data.x[:900].reshape(900, -1), data.y[:900]
    hidden = np.concatenate([x, np.tanh(x @ SUMS), np.ones((900, 1), np.float32)], axis=1)
    target = 2 * np.eye(10, dtype=np.float32)[y] - 1
    v = np.linalg.solve(hidden.T @ hidden + 3 * np.eye(77), hidden.T @ target).astype(np.float32)

    def apply(v, x):
        x = x.reshape(len(x), -1)
        hidden = jnp.concatenate([x, jnp.tanh(x @ SUMS), jnp.ones((len(x), 1), jnp.float32)], axis=1)
        return scale * hidden @ v

    return sj.Model(apply, v, name="ridge[8]")


def blunt():
    return sj.Model(lambda v, x: load().apply(v, jnp.round(x * 3) / 3), load().params, name="blunt")


def data():
    return digits(size=8).take(slice(1000, 1040))
"""
SPEC = """schema = 1
[model]
load = "subject:load"
[data]
load = "subject:data"
limit = 30
"""
ATTACK = ["--attack", "pgd", "--steps", "5", "--restarts", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subject")
    (folder / "subject.py").write_text(MODEL)
    (folder / "attack.toml").write_text(SPEC)
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    out = folder / "finished"
    assert cli.main(["attack", str(folder / "attack.toml"), *ATTACK, "--eps", "1/50", "0.1", "--out", str(out)]) == 0
    return out


def units(folder):
    return sorted(path.name for path in (folder / "units").glob("*.npz"))


def test_a_curve_is_told_budget_by_budget(command, folder, finished):
    code, out, err = command("attack", folder / "attack.toml", *ATTACK, "--eps", "1/50", "0.1", "--out", finished)
    assert code == cli.OK and "nothing was computed" in out and len(units(finished)) == 2
    found = Evaluated.open(finished)
    small, large = found.results
    assert found.budgets == (0.02, 0.1) and 0 < large.robust.sum() < small.robust.sum() < 30
    assert not (large.robust & ~small.robust).any(), "what a small budget breaks, a larger one does"
    rows = [line.split() for line in out.splitlines()]
    assert any(row[:3] == ["0.02", f"{100 * small.robust_accuracy:.1f}", "%"] for row in rows)
    assert any(row[:3] == ["0.1", f"{100 * large.robust_accuracy:.1f}", "%"] for row in rows)
    assert "upper bound" in out.replace("\n", " ") and "ridge[8]" in out
    assert (finished / "report.html").stat().st_size > 10_000
    # Not a terminal: plain lines, no cursor movements, no colours.
    assert "\x1b" not in out + err and [line.split("] ")[1] for line in err.splitlines()][0] == "planning"


def test_verdicts_are_those_of_the_attack(folder, finished):
    model, data = load_subject(folder / "attack.toml")
    pgd = attack.PGD(eps=np.float32(0.02), steps=5, restarts=2)
    alone = pgd(jax.random.key(0), model, data.x, data.y, ids=data.ids, diagnose=False)
    small, large = Evaluated.open(finished).results
    assert np.array_equal(alone.status, small.status) and np.array_equal(alone.x_adv, small.x_adv)
    both = small.status == attack.STATUSES.index("broken")
    assert np.array_equal(large.x_adv[both], small.x_adv[both]) and (large.forwards[both] == 0).all()


def test_no_verdict_depends_on_the_blocks(folder, finished, tmp_path):
    model, data = load_subject(folder / "attack.toml")
    sweep = sj.sweep(attack.PGD, eps=[0.02, 0.1], steps=5, restarts=2)
    found = evaluate(Evaluation(model, data, sweep), tmp_path / "blocks", block=7)
    assert len(units(tmp_path / "blocks")) == 2 * 5
    for a, b in zip(found.results, Evaluated.open(finished).results, strict=True):
        assert np.array_equal(a.status, b.status) and np.array_equal(a.x_adv, b.x_adv)
        assert np.array_equal(a.forwards, b.forwards)


def test_one_budget_is_told_part_by_part(command, folder, tmp_path):
    code, out, _ = command(
        "attack", folder / "attack.toml", *ATTACK, "--eps", "0.1", "--out", tmp_path / "one", "--no-report"
    )
    assert code == cli.OK and "no attack" in out and "PGD" in out and "1 of 1 units computed" in out
    assert not (tmp_path / "one" / "report.html").exists()


def test_verify_judges_each_stored_input_again(command, finished, tmp_path):
    code, out, err = command("verify", finished)
    assert (code, err) == (cli.OK, "")
    assert "2 units of the ledger and 60 stored inputs, each judged again alone: all sound" in out
    copy = shutil.copytree(finished, tmp_path / "copy")
    damaged = copy / "units" / units(copy)[0]
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"x" + damaged.read_bytes()[-8:])
    (archived,) = (copy / "adversarial" / "eps-0.1").glob("*.npz")
    archived.write_bytes(archived.read_bytes()[:-9] + b"x" + archived.read_bytes()[-8:])
    code, out, err = command("verify", copy)
    assert code == cli.FOUND and "moved to quarantine" in err and "eps-0.1" in err


def test_verify_of_an_adversarial_set_alone_needs_the_model(command, folder, finished, monkeypatch):
    code, _, err = command("verify", finished / "adversarial" / "eps-0.1")
    assert code == cli.BAD_INPUT and "--model" in err
    monkeypatch.chdir(folder)
    code, out, _ = command("verify", finished / "adversarial" / "eps-0.1", "--model", "subject:load")
    assert code == cli.OK and "30 stored inputs" in out
    code, _, err = command("verify", finished / "adversarial" / "eps-0.1", "--model", "subject:blunt")
    assert code == cli.FOUND and "judged alone the stored input" in err


def test_what_is_missing_or_damaged_alone_is_computed(command, folder, finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    names = units(copy)
    (copy / "units" / names[0]).unlink()
    code, out, _ = command(
        "attack", folder / "attack.toml", *ATTACK, "--eps", "1/50", "0.1", "--out", copy, "--no-report"
    )
    assert code == cli.OK and units(copy) == names and "1 of 2 units computed" in out


def test_another_seed_model_or_attack_is_another_ledger(command, folder, finished, tmp_path, monkeypatch):
    copy = shutil.copytree(finished, tmp_path / "copy")
    start = ["attack", folder / "attack.toml", *ATTACK, "--out", copy, "--no-report"]
    assert command(*start, "--eps", "1/50", "--seed", "1")[0] == cli.OK and len(units(copy)) == 3
    assert command(*start, "--eps", "1/50")[0] == cli.OK and len(units(copy)) == 3, "a shorter curve is there already"
    monkeypatch.chdir(folder)
    code, out, _ = command(*start, "--eps", "1/50", "--model", "subject:blunt")
    assert code == cli.OK and len(units(copy)) == 4 and len(list((copy / "history").iterdir())) >= 2
    flat = " ".join(out.split())
    assert "Do not trust these robust accuracies: they are upper bounds" in flat and "flag zero_derivative" in flat


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--eps", "8/0"], "--eps"),
        (["--eps", "none"], "a number, or a fraction such as 8/255"),
        (["--eps", "0"], "budgets above 0"),
        (["--eps", "0.1", "2"], "a budget in [0, 1]"),
        (["--eps", "0.1", "0.1"], "more than once"),
        (["--eps", "0.1", "--norm", "l3"], "norm"),
        (["--eps", "0.1", "--attack", "pdg"], "did you mean 'pgd'?"),
        (["--eps", "0.1", "--version", "standard"], "--version"),
        (["--eps", "0.1", "--limit", "0"], "--limit"),
        (["--eps", "0.1", "--seed", "-1"], "seed"),
        (["--eps", "0.1", "--model", "subject:gone"], "--model"),
    ],
)
def test_wrong_arguments_are_told_and_nothing_runs(command, folder, tmp_path, arguments, said):
    start = ["attack", folder / "attack.toml", "--attack", "pgd", "--out", tmp_path / "new"]
    code, out, err = command(*start, *arguments)
    assert (code, out) == (cli.BAD_INPUT, "") and said in err
    assert not (tmp_path / "new" / "attack.json").exists()


def test_a_model_and_data_have_to_be_named(command, tmp_path):
    code, _, err = command("attack", "--attack", "pgd", "--eps", "0.1", "--out", tmp_path / "new")
    assert code == cli.BAD_INPUT and "--model MODULE:FUNCTION" in err and "--data MODULE:FUNCTION" in err


def test_a_campaigns_folder_is_left_alone(command, folder, tmp_path):
    (tmp_path / "campaign.json").write_text("{}")
    code, _, err = command("attack", folder / "attack.toml", *ATTACK, "--eps", "0.1", "--out", tmp_path)
    assert code == cli.IO_ERROR and "campaign's folder" in err


# --- kills -----------------------------------------------------------------------------------------------------------

BUDGETS = [f"{k}/100" for k in range(1, 13)]


@pytest.mark.slow
def test_twenty_kills(folder, tmp_path):
    """kill -9 at random moments: the ledger is that of an uninterrupted run, to the byte, and nothing is done twice."""
    # Each run is a process of its own, forked from a server that has imported what takes long, and no more.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sensijax.cli._commands", "sensijax.campaign"])

    def start(out):
        arguments = [
            "attack",
            str(folder / "attack.toml"),
            *ATTACK,
            "--eps",
            *BUDGETS,
            "--out",
            str(out),
            "--no-report",
        ]
        process = context.Process(target=cli.main, args=(arguments,), daemon=True)
        process.start()
        return process

    def there(out):
        return {p.name: p.stat().st_mtime_ns for p in (out / "units").glob("*.npz")}

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    first = start(whole)
    first.join(200)
    assert first.exitcode == 0
    rng, acknowledged, struck = np.random.default_rng(3), {}, set()
    for _ in range(20):
        process = start(killed)
        goal = len(acknowledged) + int(rng.integers(0, 2))
        deadline = time.monotonic() + 60
        while len(there(killed)) < goal and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.8) if goal == len(acknowledged) else rng.uniform(0, 0.02))
        process.kill()
        process.join()
        now = there(killed)
        assert {name: now.get(name) for name in acknowledged} == acknowledged, "a finished unit was lost or done again"
        acknowledged = now
        struck.add(len(now))
    assert len(struck) > 3, "the kills struck in mid-run"
    last = start(killed)
    last.join(200)
    assert last.exitcode == 0
    assert set(there(killed)) == set(there(whole)) and len(there(whole)) == len(BUDGETS)
    assert not list(killed.rglob(".tmp*"))
    assert json.loads((killed / "finished.json").read_text()) == json.loads((whole / "finished.json").read_text())
    for a, b in zip(Evaluated.open(whole).results, Evaluated.open(killed).results, strict=True):
        assert np.array_equal(a.status, b.status) and np.array_equal(a.x_adv, b.x_adv)
        assert [flag.name for flag in a.flags] == [flag.name for flag in b.flags]


def test_a_budget_beyond_the_box_is_numbered_as_it_was_given(command, tmp_path):
    given = ["--model", "sensijax.demo:load", "--data", "sensijax.demo:data", "--limit", "8", "--out", tmp_path / "run"]
    code, _, err = command("attack", *given, "--eps", "0.1", "2")
    assert code == cli.BAD_INPUT and "eps[1]: 2" in err
