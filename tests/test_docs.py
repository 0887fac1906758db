"""What the documentation says of the code is so: rooms, names, commands, links."""

import importlib
import pathlib
import re
import shlex
import tomllib

import pytest

from sensijax import demo
from sensijax.campaign import RunStatistics
from sensijax.cli import parser

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def rooms():
    """The floor table of architecture.md: room to floor."""
    text = (ROOT / "docs/architecture.md").read_text()
    return {name: int(floor) for floor, name in re.findall(r"^\| (\d) \| `sensijax\.(\w+)` \|", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def contract():
    """The layers of the import contract, lowest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (c["layers"] for c in settings["contracts"] if c["type"] == "layers")
    return [{room.strip().removeprefix("sensijax.") for room in layer.split("|")} for layer in reversed(layers)]


def test_floors_are_those_of_the_import_contract(rooms, contract):
    assert [{room for room, floor in rooms.items() if floor == i} for i in range(max(rooms.values()) + 1)] == contract


def test_every_room_is_in_the_table(rooms):
    packages = {path.parent.name for path in (ROOT / "sensijax").glob("*/__init__.py")}
    assert packages == set(rooms)


def test_every_room_has_a_line_in_the_readme(rooms):
    table = (ROOT / "README.md").read_text().split("## Where things are")[1]
    assert {room for room in rooms if f"`sensijax/{room}`" in table} >= set(rooms) - {"demo"}


def test_store_layout_is_that_of_the_store():
    import sensijax.campaign.store._store as store

    blocks = [text for _, text in FENCE.findall((ROOT / "docs/architecture.md").read_text())]
    (block,) = [text for text in blocks if "campaign.json" in text]
    names = set(re.findall(r"^    (\S+)", store.__doc__, re.MULTILINE))
    assert len(names) >= 8
    # The command line and the report add theirs.
    assert set(re.findall(r"^(\S+?),? ", block, re.MULTILINE)) == names | {
        "spec.toml",
        "report.html",
        "sensitivity.json",
    }


def test_every_speed_number_is_a_field():
    speed = (ROOT / "docs/numbers.md").read_text().split("## Speed")[1].split("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", speed, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert len(named) >= 9
    assert named <= set(RunStatistics.__dataclass_fields__)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_names_exist(page):
    text = FENCE.sub("", page.read_text())
    for name in re.findall(r"`(?:sj|sensijax|sensijax_kernels)(?:\.[A-Za-z_]+)+", text):
        assert exists(re.sub(r"^`sj\b", "sensijax", name).strip("`")), name


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_parse(page):
    for kind, block in FENCE.findall(page.read_text()):
        for line in block.splitlines() if kind == "sh" else []:
            for command in line.split("#")[0].split("&&"):
                if command.split()[:1] == ["sensijax"]:
                    parser().parse_args(shlex.split(command)[1:])


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", FENCE.sub("", page.read_text())):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_cells_of_the_demonstration_exist():
    ids = set(demo.data().ids.tolist())
    for page in PAGES:
        assert {int(i) for i in re.findall(r"fog@3:0:(\d+)", page.read_text())} <= ids


def exists(name: str) -> bool:
    module, *rest = name.split(".")
    found = importlib.import_module(module)
    for part in rest:
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(f"{found.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
    return True
