"""The command line, end to end, in this process: what it prints, what it leaves behind, and its exit codes."""

import csv
import io
import json
import re
import shlex
import shutil
import sys

import pytest

from sensijax import cli

ROWS = 12 * (1 + 2 + 1 + 1 + 2)  # clean, noise@2 under 2 seeds, bright@2, bright@5, noise@2+bright@2 under 2 seeds


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def computed(folder):
    """How many inputs each run so far has judged."""
    return [json.loads(line)["rows_computed"] for line in (folder / "runs.jsonl").read_text().splitlines()]


@pytest.fixture
def copy(finished, tmp_path):
    """The finished run, copied, to be damaged."""
    return shutil.copytree(finished[1], tmp_path / "copy")


@pytest.fixture
def incomplete(copy):
    """The copy without one of its tiles."""
    sorted((copy / "parts").glob("*.parquet"))[0].unlink()
    return copy


# --- init, check, plan, run ------------------------------------------------------------------------------------------


def test_init_writes_a_spec_that_is_sound_and_overwrites_nothing(command, tmp_path):
    folder = tmp_path / "my [red]campaign"
    code, out, _ = command("init", folder)
    assert code == cli.OK and sorted(p.name for p in folder.iterdir()) == ["campaign.toml", "model.py"]
    assert f"wrote {folder}/campaign.toml" in out and f"next: sensijax run '{folder}/campaign.toml'" in out
    (folder / "model.py").write_text("mine")
    (folder / "campaign.toml").unlink()
    code, _, err = command("init", folder)
    assert code == cli.BAD_INPUT and "model.py" in err and "nothing is overwritten" in err
    assert (folder / "model.py").read_text() == "mine" and not (folder / "campaign.toml").exists()


def test_init_into_what_is_no_folder_is_an_io_error(command, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = command("init", tmp_path / "file" / "folder")
    assert code == cli.IO_ERROR and str(tmp_path) in err


def test_check_of_a_sound_spec(command, finished):
    code, out, err = command("check", finished[0])
    assert (code, err) == (cli.OK, "")
    assert out.strip() == f"{finished[0]} is sound: 5 scenarios, {ROWS} judged inputs"


def test_check_of_a_bad_spec_tells_every_fault_with_its_line(command, tmp_path, make_spec):
    spec = make_spec(
        tmp_path, ('"gaussian_noise"', '"gausian_noise"'), ("seeds = 2", "seeds = 0"), ("[0, 2, 5]", "[0, 2, 7]")
    )
    for name in ("check", "plan", "run"):
        code, out, err = command(name, spec)
        assert (code, out) == (cli.BAD_INPUT, "")
        lines = err.splitlines()
        assert [line.split(": ")[0] for line in lines[:-1]] == [f"{spec}:{n}" for n in (4, 17, 22)]
        assert "did you mean 'gaussian_noise'?" in lines[1] and lines[-1] == "3 faults; nothing was run"
    assert not (tmp_path / "runs").exists()


def test_check_of_an_absent_spec(command, tmp_path):
    code, _, err = command("check", tmp_path / "absent.toml")
    assert code == cli.BAD_INPUT and "sensijax init" in err and "1 fault;" in err


def test_plan_says_what_a_spec_comes_to(command, finished):
    code, out, _ = command("plan", finished[0])
    facts = dict(line.split("  ", 1) for line in out.splitlines() if not line.startswith(" "))
    assert code == cli.OK and facts["scenarios"].strip() == "5" and facts["programs to compile"].strip() == "5"
    assert facts["cells"].strip().startswith(f"{ROWS} judged inputs in") and "linear[v2]" in facts["model"]


def test_a_plan_for_many_devices_stands_on_measured_costs(command, finished, tmp_path):
    code, _, err = command("plan", finished[0], "--devices", "256", "--kind", "h100")
    assert code == cli.BAD_INPUT and "no measured costs of this campaign on 'h100'" in err and "--measure FILE" in err
    code, out, _ = command("plan", finished[0], "--measure", tmp_path / "costs.json")
    assert code == cli.OK and "measured costs: " in out and "one cpu" in out
    code, out, _ = command("plan", finished[0], "--devices", "4", "--costs", tmp_path / "costs.json")
    facts = dict(line.split("  ", 1) for line in out.splitlines() if not line.startswith(" "))
    assert code == cli.OK and facts["devices"].strip() == "4 x cpu" and "device-hours" in facts["device time"]
    assert facts["programs to compile"].strip().startswith("5, about") and "parts" in facts["forecast size"]
    code, _, err = command("plan", finished[0], "--kind", "h100", "--costs", tmp_path / "costs.json")
    assert code == cli.BAD_INPUT and "that of the record: 'cpu'" in err


def test_a_run_says_what_it_found_and_a_second_one_computes_nothing(command, tmp_path, make_spec):
    spec = make_spec(tmp_path)
    folder = tmp_path / "elsewhere"
    code, out, err = command("run", spec, "--out", folder, "--no-report")
    assert code == cli.OK and computed(folder) == [ROWS]
    assert "What hurts linear[v2] on squares" in out and "Pairs" in out and f"{ROWS} inputs judged" in out
    assert (folder / "spec.toml").read_text() == spec.read_text() and not (tmp_path / "runs").exists()
    # Not a terminal: plain lines, no cursor movements, no colours.
    lines = err.splitlines()
    assert "\x1b" not in out + err and "\r" not in out + err
    phases = [line.split("] ")[1].split()[0] for line in lines]
    assert phases == ["planning", "compiling", "running", "done"]  # the micro-batch is given: nothing is measured

    code, out, _ = command("run", spec, "--out", folder, "--no-report")
    assert code == cli.OK and computed(folder) == [ROWS]
    assert "everything was there already: nothing was computed" in out


def test_run_computes_what_is_missing_and_what_is_damaged(command, finished, copy):
    parts = sorted((copy / "parts").glob("*.parquet"))
    names = {part.name for part in parts}
    parts[0].unlink()
    parts[1].write_bytes(parts[1].read_bytes()[:-9] + b"x" + parts[1].read_bytes()[-8:])
    assert command("run", finished[0], "--out", copy, "--no-report")[0] == cli.OK
    assert {part.name for part in (copy / "parts").glob("*.parquet")} == names  # the same bytes again
    assert 0 < computed(copy)[-1] < ROWS and len(list((copy / "quarantine").iterdir())) == 1


def test_a_wrong_micro_batch_is_refused(command, finished, tmp_path):
    for width in (0, -1):
        code, _, err = command("run", finished[0], "--out", tmp_path / "new", "--micro-batch", width, "--no-report")
        assert code == cli.BAD_INPUT and "micro_batch" in err


@pytest.mark.parametrize("name", ["run", "check"])
def test_a_folder_that_cannot_be_made_is_an_io_error(command, tmp_path, name, make_spec):
    (tmp_path / "file").write_text("")
    spec = make_spec(tmp_path, ("[run]\n", '[run]\nout = "file/run"\n'))
    code, _, err = command(name, spec)
    assert code == cli.IO_ERROR and "file/run" in err


def test_a_spec_that_cannot_be_copied_is_an_io_error(command, finished, tmp_path):
    (tmp_path / "run" / "spec.toml").mkdir(parents=True)
    assert command("run", finished[0], "--out", tmp_path / "run", "--no-report")[0] == cli.IO_ERROR


def test_the_report_is_one_file_without_the_network(command, finished, copy, tmp_path):
    code, out, _ = command("run", finished[0], "--out", copy)
    assert code == cli.OK and f"report: {copy / 'report.html'}" in out
    text = (copy / "report.html").read_text()
    assert "linear[v2]" in text and not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    code, out, _ = command("report", copy, "--out", tmp_path / "other.html")
    assert code == cli.OK and (tmp_path / "other.html").exists()


# --- reading ---------------------------------------------------------------------------------------------------------


def test_status_of_a_complete_run(command, finished):
    code, out, err = command("status", finished[1])
    assert (code, err) == (cli.OK, "")
    assert f"{ROWS} of {ROWS}" in out and "tiny" in out and "linear[v2] on squares" in out


def test_an_incomplete_run_says_so_and_exits_with_3(command, incomplete):
    for arguments in (("status",), ("query", "select count(*) from responses")):
        code, out, err = command(arguments[0], incomplete, *arguments[1:])
        assert code == cli.INCOMPLETE and "incomplete:" in err and out
    assert command("verify", incomplete)[0] == cli.INCOMPLETE


def test_query_answers_as_a_table_and_as_csv(command, finished):
    sql = "select scenario, count(*) as n, count(distinct seed) as seeds from responses group by all order by scenario"
    code, out, _ = command("query", finished[1], sql, "--csv")
    assert code == cli.OK
    assert [tuple(row.values()) for row in rows_of(out)] == [
        ("bright@2", "12", "1"),
        ("bright@5", "12", "1"),
        ("clean", "12", "1"),
        ("noise@2", "24", "2"),
        ("noise@2+bright@2", "24", "2"),
    ]
    code, out, _ = command("query", finished[1], sql)
    assert code == cli.OK and "noise@2+bright@2" in out and "5 rows" in out
    code, out, _ = command("query", finished[1], "select '[red]' as a, example from examples order by example limit 1")
    assert code == cli.OK and "[red]" in out


def test_a_long_table_is_cut_and_says_so(command, finished):
    _, out, _ = command("query", finished[1], "select * from range(500)")
    assert "500 rows, the first 200 shown; --csv prints all" in out
    assert len(rows_of(command("query", finished[1], "select * from range(500)", "--csv")[1])) == 500


@pytest.mark.parametrize("sql", ["select", "select nosuch from responses", "select * from nosuch"])
def test_a_bad_query_is_bad_input(command, finished, sql):
    code, out, err = command("query", finished[1], sql)
    assert (code, out) == (cli.BAD_INPUT, "") and "`query`" in err


def test_diff_of_a_run_with_another_model(command, finished, tmp_path, make_spec):
    other = make_spec(tmp_path, ('"model:load"', '"model:load"\nargs = { scale = -1.0 }'))
    assert command("run", other, "--no-report")[0] == cli.OK
    code, out, _ = command("diff", finished[1], tmp_path / "runs" / "tiny", "--csv")
    assert code == cli.OK and {row["scenario"] for row in rows_of(out)} == {
        "clean",
        "noise@2",
        "bright@2",
        "bright@5",
        "noise@2+bright@2",
    }
    code, out, _ = command("diff", finished[1], finished[1], "--csv")
    assert code == cli.OK and {float(row["difference"]) for row in rows_of(out)} == {0.0}
    assert command("diff", finished[1], finished[1])[0] == cli.OK


def test_diff_says_what_it_left_out(command, finished, tmp_path, make_spec):
    other = make_spec(tmp_path, ("[0, 2, 5]", "[0, 2]"))
    assert command("run", other, "--no-report")[0] == cli.OK
    code, _, err = command("diff", finished[1], tmp_path / "runs" / "tiny")
    assert code == cli.OK and "1 scenarios are not in both runs alike: bright@5" in err


def test_verify_finds_a_flipped_bit(command, finished, copy):
    code, out, _ = command("verify", copy)
    assert code == cli.OK and f"{ROWS} rows" in out and "are sound" in out
    part = sorted((copy / "parts").glob("*.parquet"))[0]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    code, _, err = command("verify", copy)
    assert code == cli.FOUND and part.name in err and "quarantine" in err


def test_show_tells_about_a_cell_and_its_command_recomputes_it(command, finished):
    for cell in ("noise@2+bright@2:1:70", "clean:0:0", "bright@5:0:110"):
        code, out, _ = command("show", finished[1], cell)
        assert code == cli.OK and cell in out
        (line,) = [line for line in out.splitlines() if line.startswith("recompute it alone: ")]
        program, *arguments = shlex.split(line.removeprefix("recompute it alone: "))
        assert program == "sensijax"
        code, out, _ = command(*arguments)
        assert code == cli.OK and "identical to what is stored, bit for bit" in out and "stored:" not in out


def test_recomputing_a_cell_with_another_model_differs(command, finished, tmp_path, make_spec):
    other = make_spec(tmp_path, ('"model:load"', '"model:load"\nargs = { scale = 2.0 }'))
    code, out, _ = command("run", other, "--out", finished[1], "--cell", "noise@2:1:70")
    assert code == cli.FOUND and "differs from what is stored" in out and "(stored:" in out


@pytest.mark.parametrize(
    "cell", ["noise@2", "noise@2:1", "noise@2:x:0", "nose@2:0:0", "noise@2:7:0", "noise@2:0:7", "bright@2:1:0", ""]
)
def test_a_cell_that_is_not_there_is_bad_input(command, finished, cell):
    code, out, err = command("show", finished[1], cell)
    assert (code, out) == (cli.BAD_INPUT, "") and err
    if cell:
        assert command("run", finished[0], "--cell", cell)[0] == cli.BAD_INPUT


@pytest.mark.parametrize("name", ["status", "query", "report", "verify", "show", "diff"])
def test_a_folder_that_is_no_run_is_an_io_error(command, tmp_path, name):
    more = {"query": ["select 1"], "show": ["clean:0:0"], "diff": [tmp_path]}.get(name, [])
    code, out, err = command(name, tmp_path, *more)
    assert (code, out) == (cli.IO_ERROR, "") and "no campaign.json" in err


# --- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [[], ["nosuch"], ["run"], ["query", "x"], ["run", "x", "--micro-batch", "many"], ["status", "x", "--csv"]],
)
def test_wrong_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == cli.BAD_INPUT and "usage: sensijax" in capsys.readouterr().err


def test_every_command_has_help(capsys):
    from sensijax.cli._commands import _COMMANDS

    for name in _COMMANDS:
        with pytest.raises(SystemExit) as caught:
            cli.main([name, "--help"])
        assert caught.value.code == 0 and f"usage: sensijax {name}" in capsys.readouterr().out


def test_the_exit_codes_are_what_the_documentation_says():
    assert (cli.OK, cli.FOUND, cli.BAD_INPUT, cli.INCOMPLETE, cli.IO_ERROR) == (0, 1, 2, 3, 74)


@pytest.mark.parametrize(("package", "options"), [("ray", ["--on", "ray"]), ("s3fs", ["--out", "s3://bucket/run"])])
def test_a_missing_extra_is_named(command, finished, monkeypatch, package, options):
    monkeypatch.setitem(sys.modules, package, None)
    code, _, err = command("run", finished[0], *options)
    assert code == cli.BAD_INPUT and f"pip install 'sensijax[{package.removesuffix('fs')}]'" in err


def test_an_interrupt_is_no_failure(command, finished, monkeypatch):
    def interrupted(arguments):
        raise KeyboardInterrupt

    from sensijax.cli import _commands

    monkeypatch.setitem(_commands._COMMANDS, "status", interrupted)
    code, _, err = command("status", finished[1])
    assert code == cli.INCOMPLETE and "every finished tile is kept" in err
