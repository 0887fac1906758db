"""Comparisons of files of suites: false verdicts are as rare as stated, other work is refused, gates close."""

import copy

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import binom

from bench.__main__ import main
from bench.compare import Comparison, Ratio, compare, exit_code, ratio_of_means, show
from bench.results_file import read, written
from bench.suites.gather import gathered, latency
from bench.suites.table import TABLES, heading
from sensijax.core import ArgumentError

FACTS = {
    "device": "cpu",
    "platform": "cpu",
    "processor": "some",
    "cores": 2,
    "jax": "0.10.2",
    "jaxlib": "0.10.2",
    "python": "3.11.9",
    "sensijax": "0.1.0",
    "date": "2026-11-24",
    "load_before": 0.1,
    "commit": "abc",
    "dirty": False,
    "suites_version": 1,
    "dtype": "float32",
    "size": "small",
    "total_seconds": 1.0,
    "amounts": {"processes": 3, "repeats": 4},
}


def answers(rng, factor=1.0, processes=3, between=0.02, within=0.02, queries=230, points=12.0):
    """What processes would have sent, with variation between and within them; `factor` times as long."""
    out = []
    for process in range(processes):
        level = factor * np.exp(between * rng.normal())
        out.append(
            {
                "about": "a job",
                "asked": "a query",
                "work": {"model": "m", "images": 10},
                "model_digest": "d",
                "parameters": 1000,
                "unit": "rows",
                "units": 500,
                "rate": 100.0,
                "forwards": 500,
                "raw": {
                    "offline_seconds": (level * np.exp(within * rng.normal(size=4))).tolist(),
                    "single_stream_seconds": (0.005 * level * np.exp(within * rng.normal(size=queries))).tolist(),
                    "server_seconds": (0.009 * level * np.exp(within * rng.normal(size=queries))).tolist(),
                    "server_busy": 0.5,
                    "server_offered": 100.0,
                    "driver_lag_seconds": 1e-5,
                    "compile": {
                        "warm_up_seconds": 9.0 if process == 0 else 1.0 + 0.1 * rng.random(),
                        "xla_seconds": 1.0,
                        "programs": 7,
                        "cache_hits": 0 if process == 0 else 7,
                    },
                    "memory_mib": {
                        "process_peak": 400.0 + rng.normal(),
                        "before_the_model": 100.0,
                        "device_peak": None,
                        "largest_program": 1.5,
                    },
                },
                "robustness": {
                    "clean_accuracy": [0.98, 0.97, 0.99],
                    "stressed": "fog@5",
                    "stressed_accuracy": [0.86, 0.83, 0.9],
                    "points_lost": [points, points - 3, points + 3],
                },
            }
        )
    return out


def file_of(rng, **options):
    model = answers(rng, **options)
    for one in model:
        one |= {
            "ceilings": {"matmul_flops_per_second": 1e9, "copy_bytes_per_second": 1e8},
            "program": {"flops": 500e6, "bytes": 1e6},
        }
    part = gathered(model)
    return FACTS | {"suites": {"model": part, "sweep": gathered(answers(rng, **options), part)}}


@pytest.fixture
def before():
    return file_of(np.random.default_rng(0))


def test_a_file_says_the_same_of_itself(before):
    found = compare(before, before)
    assert {one.ratio for one in found.ratios} == {1.0}
    assert {one.verdict for one in found.ratios} <= {"no difference shown", "the same"}
    assert not found.warnings and not found.answers
    assert exit_code(found, 0.999) == 0


def test_every_metric_of_both_is_there(before):
    names = {one.metric.removeprefix("sweep: ") for one in compare(before, before).ratios if "sweep" in one.metric}
    percentiles = {f"{scenario} p{p}" for scenario in ("single-stream", "server") for p in (50, 90, 99)}
    others = {"throughput", "peak memory", "largest program", "warm-up, cold cache", "warm-up, warm cache"}
    assert names == percentiles | others


def test_a_slower_file_is_called_slower_and_closes_the_gate(before):
    found = compare(before, file_of(np.random.default_rng(1), factor=1.5))
    speeds = {one.metric: one for one in found.ratios if one.speed}
    assert len(speeds) == 14
    for one in speeds.values():
        assert one.verdict == "slower" and one.ratio == pytest.approx(1 / 1.5, rel=0.06)
        assert (one.after < one.before) == ("throughput" in one.metric)
    assert exit_code(found, 0.95) == 1
    assert exit_code(found, 0.5) == 0
    assert exit_code(found, None) == 0


def test_a_faster_file_is_called_faster(before):
    found = compare(before, file_of(np.random.default_rng(1), factor=0.7))
    assert {one.verdict for one in found.ratios if one.speed} == {"faster"}
    assert exit_code(found, 0.95) == 0


def test_false_verdicts_are_as_rare_as_stated_and_resampling_repeats_would_make_more():
    # 4,000 pairs of runs that do not differ, three processes of four repeats: at most 5 % have an interval without 1,
    # but for chance (0.001). Intervals over all repeats, as if they were independent, leave it far more often.
    rng = np.random.default_rng(5)
    runs, missed, naive = 4000, 0, 0
    for _ in range(runs):
        logs = 0.02 * rng.normal(size=(2, 3, 1)) + 0.02 * rng.normal(size=(2, 3, 4))
        _, low, high = ratio_of_means(*np.exp(logs.mean(axis=2)).tolist())
        missed += not low <= 1 <= high
        _, low, high = ratio_of_means(*np.exp(logs.reshape(2, -1)).tolist())
        naive += not low <= 1 <= high
    assert missed <= binom.ppf(0.999, runs, 0.05)
    assert naive > 3 * 0.05 * runs


def test_the_interval_is_that_of_scipys_welch_test():
    from scipy.stats import ttest_ind

    one, other = [1.0, 1.2, 0.9], [1.6, 1.5, 1.9, 1.4]
    expected = ttest_ind(np.log(one), np.log(other), equal_var=False).confidence_interval(0.95)
    assert np.log(ratio_of_means(one, other)[1:]) == pytest.approx([expected.low, expected.high])


def test_the_gate_closes_on_the_whole_interval_alone():
    def gate(high, speed=True):
        return exit_code(Comparison([Ratio("sweep: throughput", 1.0, 1.2, "s", 0.85, 0.75, high, speed)], [], []), 0.95)

    assert gate(0.94) == 1
    assert gate(0.96) == 0  # most likely slower, but not shown to be
    assert gate(0.94, speed=False) == 0


def test_one_process_gives_no_interval():
    found = compare(*(file_of(np.random.default_rng(i), processes=1, queries=700) for i in range(2)))
    throughput = next(one for one in found.ratios if one.metric == "sweep: throughput")
    assert np.isnan(throughput.low) and throughput.verdict.startswith("no interval")


def test_percentiles_that_are_refused_are_not_compared():
    found = compare(*(file_of(np.random.default_rng(i), queries=100) for i in range(2)))
    names = [one.metric for one in found.ratios]
    assert "sweep: server p90" in names and "sweep: server p99" not in names


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.update(suites_version=2), "versions 1 and 2"),
        (lambda f: f["suites"]["sweep"]["work"].update(images=11), "different work in sweep: images: 10 before, 11"),
        (lambda f: f["suites"]["sweep"]["work"].update(units=501), "units: 500 before, 501 after"),
        (lambda f: f.update(suites={"attack": {}}), "no suite in common"),
        (lambda f: f.pop("suites_version"), "no suites in it"),
    ],
)
def test_other_work_is_refused(before, change, words):
    after = copy.deepcopy(before)
    change(after)
    with pytest.raises(ArgumentError, match=words):
        compare(before, after)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.update(device="H100"), "device: 'cpu' before, 'H100' after"),
        (lambda f: f.update(load_before=3.0), "the load was 3.0"),
        (lambda f: f["suites"]["sweep"]["work"].update(rate=200.0), "other rates"),
        (lambda f: f["suites"]["sweep"]["latency_ms"]["server"].update(saturated=True), "was behind"),
        (lambda f: f["suites"]["sweep"].update(model_digest="e"), "weights differ"),
    ],
)
def test_what_weakens_a_comparison_is_said(before, change, words):
    after = copy.deepcopy(before)
    change(after)
    found = compare(before, after)
    assert any(words in warning for warning in found.warnings)
    served = any(one.metric == "sweep: server p50" for one in found.ratios)
    assert served == (words not in ("other rates", "was behind"))


def test_other_answers_close_the_gate(before):
    after = file_of(np.random.default_rng(0), points=13.0)
    found = compare(before, after)
    assert ["sweep: points lost" in words for words in found.answers] == [False, True]
    assert exit_code(found, 0.5) == 1
    # Another machine rounds otherwise: there a point within the intervals is no other answer, five points are.
    elsewhere = {"device": "H100"}
    assert not compare(before, after | elsewhere).answers
    assert compare(before, file_of(np.random.default_rng(0), points=17.0) | elsewhere).answers


def test_the_command(tmp_path, capsys, before):
    paths = [str(tmp_path / name) for name in ("a.json", "b.json")]
    for path, found in zip(paths, (before, file_of(np.random.default_rng(1), factor=1.5)), strict=True):
        written(tmp_path / path, found)
    assert main(["compare", *paths]) == 0
    assert main(["compare", *paths, "--fail-below", "0.95"]) == 1
    assert "slower" in capsys.readouterr().out
    assert main(["compare", paths[0], str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().out


def test_files_keep_the_raw_numbers(tmp_path, before):
    written(tmp_path / "a.json", before)
    again = read(tmp_path / "a.json")
    kept = again["suites"]["sweep"]["processes"][1]["server_seconds"]
    assert kept == pytest.approx(before["suites"]["sweep"]["processes"][1]["server_seconds"], rel=1e-5)
    assert len((tmp_path / "a.json").read_text().splitlines()) < 400
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(ArgumentError, match="python -m bench"):
        read(tmp_path / "b.json")


def test_latencies_say_what_they_refuse():
    found = latency([[0.001] * 30, [0.002] * 40])
    assert found["queries"] == 70 and found["p50"] == 2.0 and found["p90_at_most"] == 2.0
    assert found["refused"] == {"p99": "needs 662 queries"}


def test_fractions_of_the_ceilings(before):
    # 500 forward passes of 1 MFLOP and 2 kB each in about a second, under ceilings of 1 GFLOP/s and 100 MB/s.
    part = before["suites"]["sweep"]
    rate = part["throughput"]["per_second"] / 500
    assert part["of_the_ceilings"]["matmul"] == pytest.approx(0.5 * rate, rel=1e-3)
    assert part["of_the_ceilings"]["copy"] == pytest.approx(0.01 * rate, rel=2e-2)


def test_tables_have_a_cell_for_every_head(before):
    assert "1,000 parameters" in heading(before)
    for _, head, rows in TABLES:
        assert all(len(row) == len(head) for row in rows(before))
    assert [row[0] for row in TABLES[0][2](before)] == ["model", "sweep"]
    show(compare(before, before), Console(quiet=True))
