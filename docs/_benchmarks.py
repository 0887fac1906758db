"""Directives that show what `bench` measured: the tables are made from the files in `bench/results/`."""

import json
import pathlib
from collections.abc import Sequence

from docutils import nodes
from docutils.parsers.rst import Directive

from bench.suites.table import TABLES, heading

RESULTS = pathlib.Path(__file__).parents[1] / "bench" / "results"


class Benchmarks(Directive):
    """One section for each file of results."""

    def run(self) -> list[nodes.Node]:
        paths = [path for path in sorted(RESULTS.glob("*cores.json")) if not path.name.startswith("suites-")]
        return [_section(json.loads(path.read_text())) for path in paths]


class Suites(Directive):
    """One section for each file of suites, `bench/results/suites-*.json`."""

    def run(self) -> list[nodes.Node]:
        return [_suites(json.loads(path.read_text())) for path in sorted(RESULTS.glob("suites-*.json"))]


class Conformance(Directive):
    """How far each corruption is from its published definition, from `bench/results/conformance.json`."""

    def run(self) -> list[nodes.Node]:
        found = json.loads((RESULTS / "conformance.json").read_text())
        out: list[nodes.Node] = [
            nodes.paragraph(
                text=f"sensijax {found['sensijax']}, JAX {found['jax']}, {found['device']}, {found['date']}; "
                f"{found['images']} images, {found['keys']} keys where something is drawn."
            )
        ]
        for size in ("224", "32"):
            rows = [
                [name, *(f"{cell['max']:.2f}" for cell in sizes[size]), f"{max(c['mean'] for c in sizes[size]):.3f}"]
                for name, sizes in found["cells"].items()
            ]
            head = ["corruption", *(f"severity {severity}" for severity in range(1, 6)), "largest mean"]
            out.append(_table(f"constants and images of {size} px: largest difference, in steps of 1/255", head, rows))
        shared = ", ".join(f"{name} {apart:.1g}" for name, apart in found["reference"].items())
        out.append(
            nodes.paragraph(
                text="The published definitions as they ran here, against imagecorruptions-imaug 1.1.5 on the same "
                f"draws, at 224 px, where that has the same definition; largest difference in steps of 1/255: {shared}."
            )
        )
        return out


class ErrorRates(Directive):
    """How often each batch detector of drift fires, from `bench/results/error_rates.json`."""

    def run(self) -> list[nodes.Node]:
        found = json.loads((RESULTS / "error_rates.json").read_text())
        runs, (low, high) = found["runs"], found["band"]
        cells: dict[str, list[int]] = {}
        for cell in found["false_positives"]:
            cells.setdefault(cell["detector"], []).append(cell["fired"])
        rows = [
            [
                name,
                str(len(fired)),
                f"{sum(fired) / len(fired) / runs:.3f}",
                f"{min(fired) / runs:.3f} to {max(fired) / runs:.3f}",
                str(sum(k > high for k in fired)),
                str(sum(k < low for k in fired)),
            ]
            for name, fired in cells.items()
        ]
        rows += [[name, "", f"{rate:.3f}", "", "", ""] for name, rate in found["baselines"].items()]
        head = ["detector", "cells", "fired, mean", "fired, least to most", "above the band", "below"]
        title = (
            f"Without drift at alpha = {found['alpha']}: {runs} pairs of samples in each cell; "
            f"the 99 % binomial band is {low / runs:.3f} to {high / runs:.3f}"
        )
        out = [_table(title, head, rows)]
        names = [name for name in found["power"][0] if name not in ("d", "shift")]
        out.append(
            _table(
                f"With a shift of the mean: the share of {found['power_runs']} pairs in which it fires",
                ["d", "shift, standard deviations", *names],
                [[str(p["d"]), f"{p['shift']:g}", *(f"{p[name]:.2f}" for name in names)] for p in found["power"]],
            )
        )
        rule = [
            [str(r["n"]), str(r["m"]), f"{r['above 0.1']:.3f}", f"{r['above 0.25']:.3f}"]
            for r in found["psi_rule_of_thumb"]
        ]
        out.append(
            _table(
                "What the rules of thumb for PSI do without any drift: the share of pairs above 0.1 and above 0.25",
                ["n", "m", "above 0.1", "above 0.25"],
                rule,
            )
        )
        out.append(
            nodes.paragraph(
                text=f"sensijax {found['sensijax']}, JAX {found['jax']}, Python {found['python']}, {found['device']}, "
                f"{found['cores']} cores, {found['date']}; {found['permutations']} permutations."
            )
        )
        return out


class RunLengths(Directive):
    """How long calibrated online detectors run without drift, from `bench/results/run_lengths.json`."""

    def run(self) -> list[nodes.Node]:
        found = json.loads((RESULTS / "run_lengths.json").read_text())
        rows = []
        for name, about in found["calibrated"].items():
            spans = [
                f"{cell['mean']:.2f} ± {cell['standard_error']:.2f}, "
                f"{min(cell['run_length_over_ert']):.2f} to {max(cell['run_length_over_ert']):.2f} ({size})"
                for size, cell in about.items()
                if size.endswith(" rows")
            ]
            delay = about["delay"].get("1.0")
            rows.append([name, str(about["ert"]), *spans, f"{delay['mean_delay']:.1f}" if delay else ""])
        head = [
            "detector",
            "expected run time asked for",
            "measured over asked (mean over references ± its standard error, least to most), a long reference",
            "a short one",
            "mean delay, shift of 1",
        ]
        return [_table("Run lengths without drift of detectors calibrated to an expected run time", head, rows)]


class Coverage(Directive):
    """How often intervals and sets hold the truth, from `bench/results/coverage.json`."""

    def run(self) -> list[nodes.Node]:
        found = json.loads((RESULTS / "coverage.json").read_text())
        about = found["effects_design"]
        terms = ["adversary x labels", "adversary x drift", "adversary x drift x labels"]
        rows = [
            [
                name,
                *(f"{cells[term]['share']:.3f}" for term in terms),
                f"{cells['zero interactions that cover zero']['share']:.3f}"
                if "zero interactions that cover zero" in cells
                else "",
                f"{cells['holm family-wise error']['share']:.3f}" if "holm family-wise error" in cells else "",
            ]
            for name, cells in found["effects"].items()
        ]
        out = [
            _table(
                f"Effects, nominal {about['level']}: share of {about['runs']} synthetic campaigns "
                f"({about['examples']} examples, {about['seeds']} seeds) whose interval holds the planted effect",
                ["campaigns", *terms, "effects of zero that are covered", "Holm: a false effect named"],
                rows,
            )
        ]
        out.append(
            _table(
                "Prediction sets: coverage of new examples, alike, under a shift of the prior, and there with ratios",
                ["method", "n", "1 - alpha", "expected", "exchangeable", "prior shift", "prior shift, with ratios"],
                [
                    [
                        cell["method"],
                        str(cell["n"]),
                        f"{1 - cell['alpha']:g}",
                        f"{cell['expected']:.3f}",
                        *(
                            f"{cell[kind]['coverage']:.3f} ± {2 * cell[kind]['standard_error']:.3f}"
                            for kind in ("exchangeable", "prior shift", "prior shift, ratios")
                        ),
                    ]
                    for cell in found["conformal"]
                ],
            )
        )
        out.append(
            nodes.paragraph(
                text=f"sensijax {found['versions']['sensijax']}, JAX {found['versions']['jax']}, {found['device']}, "
                f"{found['date']}; ± is two standard errors of {found['conformal_design']['runs']} runs."
            )
        )
        return out


def _suites(found: dict) -> nodes.section:
    title = f"{found['model']}, {found['dtype']}, {found['device']}, {found['cores']} cores"
    section = nodes.section(ids=[nodes.make_id(title)])
    section += nodes.title(text=title)
    section += nodes.paragraph(text=heading(found))
    section += nodes.bullet_list(
        "",
        *(
            nodes.list_item("", nodes.paragraph(text=f"{name}: {part['about']}. A query: {part['query']}."))
            for name, part in found["suites"].items()
        ),
    )
    section += [_table(name, head, rows(found)) for name, head, rows in TABLES]
    return section


def _section(found: dict) -> nodes.section:
    title = f"{found['processor']}, {found['cores']} cores, {found['device']}"
    section = nodes.section(ids=[nodes.make_id(title)])
    section += nodes.title(text=title)
    section += nodes.paragraph(
        text=f"sensijax {found['sensijax']}, JAX {found['jax']}, Python {found['python']}, {found['date']}; "
        f"load average {found['load_before']} before the run."
    )
    if start := found.get("start"):
        section += _table(
            "sensijax demo, seconds from the command to the report",
            ["empty caches", "warm caches, new folder", "finished folder", "sensijax --help"],
            [
                [
                    f"{start['cold']} (limit {start['limit_cold']})",
                    f"{start['warm']} (limit {start['limit_warm']})",
                    f"{start['resumed']}",
                    f"{start['help']} (limit {start['limit_help']})",
                ]
            ],
        )
    if campaign := found.get("campaign"):
        contenders = ("engine", "hand loop", "nested vmap", "bare forward")
        section += _table(
            f"{campaign['rows']:,} rows of {campaign['model']}: rows per second, "
            f"median of {campaign['repeats']} interleaved runs",
            ["stage", *contenders, "engine / hand loop", "hand loop / bare", "tile p50, p99", "accuracy lost, points"],
            [
                [
                    stage,
                    *(f"{m['rows_per_second'][c]:,}" for c in contenders),
                    f"{m['engine_over_hand_loop']:.2f}",
                    f"{m['hand_loop_over_bare_forward']:.2f}",
                    f"{m['tile_latency_p50_ms']:.0f}, {m['tile_latency_p99_ms']:.0f} ms",
                    m["accuracy_lost_points"],
                ]
                for stage, m in campaign["stages"].items()
            ],
        )
        for name, words in (
            ("engine_over_hand_loop", "Engine over hand loop, the median stage"),
            ("hand_loop_over_bare_forward_cheap", "Hand loop over bare forward, the worst of the cheap stages"),
        ):
            target = campaign[f"target_{name}"]
            met = "met" if campaign[name] >= target else "missed"
            section += nodes.paragraph(text=f"{words}: {campaign[name]:.2f}, target {target}: {met}.")
    for cores, sizes in found.get("corruptions", {}).items():
        section += _corruptions(cores, sizes)
    if sweep := found.get("sweep"):
        section += nodes.paragraph(
            text=f"{sweep['variants']} variants (15 corruptions at 5 severities) of {sweep['images']} images "
            f"of 224 px, judged by EfficientNet-Lite0, take {sweep['ratio']:.2f} times "
            f"as long as the model alone on as many images, target {sweep['target']}: "
            f"{'met' if sweep['ratio'] <= sweep['target'] else 'missed'}."
        )
    if attack := found.get("attack"):
        section += [block for item in attack["budgets"].items() for block in _attack(*item, attack)]
    if sensitivity := found.get("sensitivity"):
        section += _sensitivity(sensitivity)
    if jacobian := found.get("jacobian"):
        seconds = ", ".join(f"{name} {value:.3f} s" for name, value in jacobian["seconds"].items())
        ratios = ", ".join(f"{ratio:.1f} times {name}" for name, ratio in jacobian["ratio"].items())
        section += nodes.paragraph(
            text=f"Jacobians of a LeNet, 10 logits by 784 pixels, on {jacobian['images']} images: {seconds}. That is "
            f"{ratios} (target {jacobian['target']:.0f}); the largest difference from torch is "
            f"{jacobian['largest_difference']['torch']:g}, of entries up to {jacobian['largest_entry']:g}; one block "
            f"takes {jacobian['block_mib']} MiB; the first call, with compilation, {jacobian['cold']:.1f} s."
        )
    if random := found.get("random"):
        section += _table(
            "addressed random numbers: how many times faster than the baseline",
            ["keys x shape", "against", "ratio"],
            [[spec, baseline, f"{ratio}"] for spec, m in random.items() for baseline, ratio in m["ratio"].items()],
        )
    return section


def _attack(budget: str, found: dict, about: dict) -> list[nodes.Node]:
    ours = {f"sensijax, {name}": run for name, run in found["sensijax"].items()}
    theirs = {name: run for name, run in found["peers"].items() if isinstance(run, dict)}
    rows = [
        [name, *(f"{run[what]}" for what in ("seconds", "cpu_seconds", "robust")), str(run.get("forwards", ""))]
        for name, run in (ours | theirs).items()
    ]
    title = f"{budget}: {about['images']} digits of 8 x 8, {about['threads']} threads each, without compilation"
    met = "met" if found["standard / pyautoattack"] >= 3 else "missed"
    norm = budget.split()[0]
    words = (
        f"AutoAttack's standard version is {found['standard / pyautoattack']:.1f} times as fast as its authors' code, "
        f"target 3: {met}. The fast version needs {found['fewer forward passes of fast']:.1f} times fewer forward "
        f"passes (target 5) and is {found['points that fast is weaker']:.1f} points weaker (target 0.2). PGD-40 is "
        f"{found['pgd-40 / foolbox']:.1f} times as fast as foolbox's, {found['pgd-40 / torchattacks']:.1f} times as "
        f"torchattacks'. Compilation of the standard version before that: "
        f"{about['compile_seconds'][f'standard {norm}']} s for {about['programs'][f'standard {norm}']} programs. "
        f"Memory of the whole process at its highest: {about['memory_mib']} MiB (ours), "
        f"{found['peers']['memory_mib']} MiB (the peers')."
    )
    return [
        _table(title, ["attack", "seconds", "CPU seconds", "robust", "forward passes"], rows),
        nodes.paragraph(text=words),
    ]


def _sensitivity(found: dict) -> list[nodes.Node]:
    rows = [
        [
            name,
            f"{m['evaluations']:,}",
            f"{m['seconds']['sensijax']:.3f}",
            f"{m['seconds']['NumPy']:.2f}",
            f"{m['seconds']['SALib']:.1f}" if m["salib_finished"] else f"stopped after {m['seconds']['SALib']:.0f}",
            f"{'' if m['salib_finished'] else 'over '}{m['ratio']['SALib']:.0f}",
            f"{m['ratio']['NumPy']:.1f}",
            f"{m['cold']:.1f}",
        ]
        for name, m in found["cases"].items()
    ]
    head = ["case", "evaluations", "sensijax", "NumPy", "SALib", "times SALib", "times NumPy", "first call"]
    title = "Sobol indices with second order and 100 bootstraps, seconds from nothing to intervals"
    shares = "; ".join(
        f"{name} {m['ratio']:.2f} ({'met' if m['ratio'] >= found['target_throughput'] else 'missed'})"
        for name, m in found["throughput"].items()
    )
    words = (
        f"Target against SALib at 2^18: {found['target_salib']:.0f}. Rows per second of the whole streamed program "
        f"over those of the bare model on rows in memory, target {found['target_throughput']}: {shares}."
    )
    return [_table(title, head, rows), nodes.paragraph(text=words)]


def _corruptions(cores: str, sizes: dict) -> list[nodes.Node]:
    out: list[nodes.Node] = []
    of = "one core" if cores == "1" else f"{cores} cores"
    for size, batch in (("224", 32), ("32", 512)):
        found = sizes[size]
        rows = [
            [
                name,
                f"{m['images_per_second']['sensijax']:,.0f}",
                f"{m['images_per_second']['imagecorruptions']:,.0f}",
                f"{m['ratio']['imagecorruptions']:.1f}",
                f"{m['bytes_per_image'] / 1e6:.2f} MB",
            ]
            for name, m in found["rows"].items()
        ]
        slower = [name for name, m in found["rows"].items() if m["ratio"]["imagecorruptions"] < 1]
        head = ["corruption", "sensijax", "imagecorruptions", "ratio", "memory per image"]
        out.append(_table(f"severity 3 at {size} px, batches of {batch}, {of}: images per second", head, rows))
        met = "met" if found["total"] >= found["target"] else "missed"
        words = f"All 15: {found['total']:.1f} times as fast, target {found['target']:.0f}: {met}. "
        out.append(nodes.paragraph(text=words + f"Slower: {', '.join(slower) or 'none'}."))
    rows = [
        [
            name,
            *(f"{m['images_per_second'][who]:,.0f}" for who in ("sensijax", "albumentations", "kornia")),
            *(f"{m['ratio'][who]:.1f}" for who in ("albumentations", "kornia")),
        ]
        for name, m in sizes["others"].items()
        if name != "target"
    ]
    head = ["operation", "sensijax", "albumentations", "kornia", "against albumentations", "against kornia"]
    out.append(_table(f"224 px, batches of 32, {of}: images per second (target of both ratios: 2)", head, rows))
    return out


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> nodes.table:
    table = nodes.table()
    table += nodes.title(text=title)
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *map(_row, rows))
    table += group
    return table


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=cell)) for cell in cells))
