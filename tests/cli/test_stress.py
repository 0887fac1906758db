"""The demonstration of stress, in small: the packaged spec runs, its report tells the story, a second run is free."""

import importlib.resources

from sensijax import cli
from sensijax.cli import _commands

TEXT = importlib.resources.files("sensijax.demo").joinpath("stress.toml").read_text()
SMALL = TEXT.replace("seeds = 10", "seeds = 2").replace(
    'load = "sensijax.demo:data"', 'load = "sensijax.demo:data"\nlimit = 80'
)


def test_the_packaged_spec_runs_in_small(command, tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(SMALL.replace("steps = 20", "steps = 3"))
    code, out, _ = command("run", spec)
    assert code == cli.OK and "What hurts digits-cnn on digits" in out and "Drift in time, and who saw it" in out
    report = (tmp_path / "report.html").read_text()
    for said in ("Everything at once", "All 3 together", "What wrong labels hide"):
        assert said in report
    code, out, _ = command("run", spec)
    assert code == cli.OK and "nothing was computed" in out
    assert command("verify", tmp_path)[0] == cli.OK


def test_stress_is_an_option_of_the_demonstration(command, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(_commands, "_run", lambda arguments: seen.append(arguments) or cli.OK)
    monkeypatch.chdir(tmp_path)
    assert command("demo", "--stress")[0] == command("demo")[0] == cli.OK
    assert [arguments.out for arguments in seen] == ["sensijax-demo-stress", "sensijax-demo"]
    assert (tmp_path / "sensijax-demo-stress" / "spec.toml").read_text() == TEXT
