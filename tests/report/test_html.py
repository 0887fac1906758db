"""The report as a file: whole, self-contained, escaped, the same each time, and true to its results."""

import html.parser
import re

import numpy as np
import pytest

from sensijax.core import StoreError
from sensijax.report import write_report

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "line", "circle", "rect", "use"}


class Page(html.parser.HTMLParser):
    """Tags in order, attributes, ids, and the text in between; an unbalanced tag is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)

    def said(self):
        return re.sub(r"\s+", " ", "".join(self.text))


@pytest.fixture(scope="module")
def page(classification, tmp_path_factory):
    return Page(write_report(classification, tmp_path_factory.mktemp("page") / "r.html").read_text())


def test_goes_to_the_campaigns_folder_unless_told(classification, copy_of):
    results = copy_of(classification)
    before = {p.name for p in results.folder.iterdir()}
    assert results.report() == results.folder / "report.html"
    assert {p.name for p in results.folder.iterdir()} - before == {"report.html"}  # no temporary file stays


def test_is_whole_or_not_there(classification, tmp_path, monkeypatch):
    (tmp_path / "r.html").write_text("the old one")
    monkeypatch.setattr(
        "sensijax.report._html.os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(StoreError, match="No space left"):
        write_report(classification, tmp_path / "r.html")
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").read_text() == "the old one"


def test_a_path_that_cannot_be_written_is_named(classification, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write .*file/r.html"):
        write_report(classification, tmp_path / "file" / "r.html")


def test_needs_no_network_no_script_no_other_file(page):
    assert not {"script", "link", "img", "iframe", "metadata", "object"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on"), (name, value)
        if name in {"src", "href", "xlink:href", "action", "data"}:
            assert value.startswith("#"), (name, value)
    assert "url(http" not in "".join(v for _, v in page.attributes if v)


def test_ids_are_unique_and_every_reference_has_its_target(page):
    ids = [v for k, v in page.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    references = {v[1:] for k, v in page.attributes if k.endswith("href")}
    for _, value in page.attributes:
        references |= set(re.findall(r"url\(#([^)]+)\)", value or ""))
    assert any(r.startswith("curve-") for r in references)  # matplotlib's own, renamed
    assert references <= set(ids)


def test_hostile_names_are_text(page, hostile):
    said = page.said()
    for where in (f"model {hostile}", f"data {hostile}", f"name {hostile}", "$\\frac{}$"):
        assert where in said
    assert said.count(hostile) > 6  # the class and the group too


def test_figures_can_be_described_without_seeing_them(page):
    assert page.tags.count("svg") > 8
    labels = [v for k, v in page.attributes if k == "aria-label"]
    assert len(labels) >= page.tags.count("svg") and all(labels)
    assert any(re.match(r"noise, accuracy by setting: 0: \d", v) for v in labels)


def test_the_same_results_give_the_same_bytes(classification, tmp_path):
    one, two = (write_report(classification, tmp_path / f"{k}.html").read_bytes() for k in range(2))
    assert one == two
    assert len(one) < 300_000


def test_sections_stand_in_order(page):
    drawn = ("curve-", "pairs-", "reliability-", "shares-", "survival-")
    ids = [v for k, v in page.attributes if k == "id" and not v.startswith(drawn)]
    assert ids == [
        "headline",
        "ranking",
        "curves",
        "pairs",
        "thresholds",
        "drivers",
        "modes",
        "groups",
        "confidence",
        "still-sure",
        "speed",
        "all",
        "provenance",
        "limitations",
        "glossary",
    ]


def test_numbers_are_those_of_the_results(classification, page):
    said = page.said()
    worst = classification.ranking().iloc[0]
    assert (
        f"{worst.stage}: averaged" in said
        or f"{worst.stage.capitalize()} hurts most." in said
        or f"{worst.stage}: at std" in said
    )
    assert f"{100 * worst.mean_drop:.1f} points of accuracy ({100 * worst.low:.1f} to {100 * worst.high:.1f})" in said
    assert "It withstands 1 of 3 stages." in said and "under calm." in said
    assert f"{classification.completeness.rows:,} judged inputs" in said
    assert classification.manifest["model"]["digest"] in said and classification.manifest["id"] in said
    assert f"{len(classification.scenario_names)} finished scenarios" in said
    assert "This run is not complete" not in said


def test_regression(regression, tmp_path):
    page = Page(write_report(regression, tmp_path / "r.html").read_text())
    said = page.said()
    assert "How far the outputs move" in said and "Whom it hits" not in said and "of accuracy" not in said
    assert "Some outputs are not finite." in said
    assert "1 example of 60 holds NaN" in said
    assert not re.search(r"\b(nan|inf)\b", said)


def test_an_unfinished_run_says_so_first(classification, copy_of):
    def lose(folder):
        manifest = classification.manifest
        tiles = {t["id"]: t["scenarios"] for t in manifest["tiles"]}
        lost = [
            p
            for p in (folder / "parts").iterdir()
            if "spread@0.5" in tiles[p.name[:32]] and "clean" not in tiles[p.name[:32]]
        ]
        for path in lost:
            path.unlink()
        assert lost

    results = copy_of(classification, lose)
    page = Page(results.report().read_text())
    said = page.said()
    missing = len(classification.scenario_names) - len(results.scenario_names)
    assert missing > 0
    assert said.index("This run is not complete") < said.index("In short")
    assert f"{len(results.scenario_names)} of {len(classification.scenario_names)} scenarios" in said
    assert "It withstands all" not in said


def test_a_damaged_part_says_so(classification, copy_of):
    def damage(folder):
        tiles = {t["id"]: t["scenarios"] for t in classification.manifest["tiles"]}
        path = next(p for p in sorted((folder / "parts").iterdir()) if "clean" not in tiles[p.name[:32]])
        content = bytearray(path.read_bytes())
        content[100] ^= 1
        path.write_bytes(content)

    said = Page(copy_of(classification, damage).report().read_text()).said()
    assert "1 part of the results did not match its digest and was moved to quarantine" in said
    assert "1 part in quarantine" in said


def test_a_design_without_single_stages(classification, tmp_path, monkeypatch):
    results = classification
    table = results.scenarios()
    kept = table[(table.scenario == "clean") | table.stages.str.contains("+", regex=False)].reset_index(drop=True)
    names = {name: results._complete[name] for name in kept.scenario}
    monkeypatch.setitem(results.__dict__, "_complete", names)
    monkeypatch.setitem(results.__dict__, "_summary", kept)
    said = Page(write_report(results, tmp_path / "r.html").read_text()).said()
    assert "The largest loss observed is" in said and "No stage ran alone" in said


def test_only_the_baseline(classification, tmp_path, monkeypatch):
    results = classification
    monkeypatch.setitem(results.__dict__, "_complete", {"clean": results._complete["clean"]})
    monkeypatch.setitem(results.__dict__, "_summary", results.scenarios().iloc[:1])
    said = Page(write_report(results, tmp_path / "r.html").read_text()).said()
    assert "Nothing was perturbed." in said
    assert np.isfinite(results.baseline()).all()
