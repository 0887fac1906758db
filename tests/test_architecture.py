"""The house: who may import whom, what a module may hold, and that every public name is there and documented."""

import ast
import importlib
import inspect
import os
import pathlib
import subprocess
import sys

import pytest

import sensijax

ROOT = pathlib.Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "sensijax").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")])
TREES = {path: ast.parse(path.read_text()) for path in MODULES}


def named(path):
    return str(path.relative_to(ROOT))


def test_imports_run_down_the_house_only():
    # A process of its own, because the linter imports nothing but reads sys.path.
    path = os.pathsep.join([str(ROOT), str(ROOT / "kernels"), *sys.path])
    program = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_of_the_package_stands_on_a_floor():
    config = (ROOT / "pyproject.toml").read_text()
    rooms = {path.parent.name for path in (ROOT / "sensijax").glob("*/__init__.py")}
    assert len(rooms) >= 9 and not [room for room in rooms if f"sensijax.{room}" not in config]


def test_the_library_does_not_print():
    found = [
        f"{named(path)}:{node.lineno}"
        for path, tree in TREES.items()
        if "cli" not in path.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not found


def test_a_module_is_one_idea():
    lengths = {named(path): len(path.read_text().splitlines()) for path in MODULES}
    assert not {name: n for name, n in lengths.items() if n > 400}


def test_every_module_says_what_it_is():
    assert not [named(path) for path, tree in TREES.items() if not ast.get_docstring(tree) and path.read_text().strip()]


def test_nothing_is_called_utils_and_nothing_postpones_annotations():
    assert not [named(path) for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "misc")]
    assert not [
        named(path)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(a.name == "annotations" for a in node.names)
    ]


def test_the_package_is_typed():
    assert (ROOT / "sensijax" / "py.typed").exists()


@pytest.mark.parametrize("name", sensijax.__all__)
def test_every_public_name_can_be_loaded_and_is_documented(name):
    value = getattr(sensijax, name)
    assert inspect.getdoc(value), name
    assert name in dir(sensijax)


def test_the_names_that_type_checkers_see_are_the_names_that_load():
    tree = TREES[ROOT / "sensijax" / "__init__.py"]
    seen = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    rooms = set(sensijax._ROOMS)
    assert seen == set(sensijax.__all__) - rooms
    assert rooms == {path.parent.name for path in (ROOT / "sensijax").glob("*/__init__.py")} - {"cli"}


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        sensijax.nosuch  # noqa: B018


@pytest.mark.parametrize(
    "room",
    sorted(
        {named(p.parent).replace(os.sep, ".") for p in MODULES if p.name == "__init__.py" and "sensijax" in p.parts}
    ),
)
def test_what_a_room_gives_out_is_documented(room):
    if room.startswith("kernels"):
        pytest.skip("the kernels are documented in their own room")
    module = importlib.import_module(room)
    public = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value))
    }
    missing = [name for name, value in public.items() if value.__module__.startswith("sensijax") and not value.__doc__]
    assert not missing
