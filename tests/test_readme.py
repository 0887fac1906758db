"""Every Python block of the README and of the documentation runs as it stands, in order, in an empty folder."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ["README.md", "docs/tutorial.md", *sorted(f"docs/howto/{p.name}" for p in (ROOT / "docs/howto").glob("*.md"))]
WITH_BLOCKS = [name for name in FILES if PYTHON.search((ROOT / name).read_text())]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_files_that_have_blocks():
    assert {"README.md", "docs/tutorial.md", "docs/howto/own-perturbation.md"} <= set(WITH_BLOCKS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "docs/tutorial.md" else name for name in WITH_BLOCKS]
)
def test_blocks_run(name, capsys):
    text = (ROOT / name).read_text()
    namespace = {"__name__": "__main__"}
    for block in PYTHON.finditer(text):
        before = text.count("\n", 0, block.start(1))  # so that a traceback has the line of the page
        exec(compile("\n" * before + block[1], str(ROOT / name), "exec"), namespace)
        printed = capsys.readouterr().out
        if said := output_said(block[1]):
            assert printed == said


def output_said(block: str) -> str:
    """Comments at the end of a block are what it prints."""
    lines = block.splitlines()
    end = len(lines)
    while end and lines[end - 1].startswith("# "):
        end -= 1
    return "".join(f"{line[2:]}\n" for line in lines[end:])


def test_readme_begins_with_the_two_commands():
    blocks = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert blocks[0] == (
        "pip install -e . && sensijax demo            # the main job on embedded real data\n"
        "pip install -e '.[test]' && pytest           # the tests\n"
    )
