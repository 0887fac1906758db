"""Importing a user's own code by `module:name`, from beside the spec that names it."""

import contextlib
import importlib
import pathlib
import sys
import traceback
from collections.abc import Iterator
from typing import Any

from sensijax.core.errors import did_you_mean

_MARK = "__sensijax_spec__"


class ImportFault(Exception):
    """What would be right in the place of a target that cannot be imported."""


def import_target(target: str, folder: pathlib.Path) -> Any:
    """Imports `module:name`; modules in the spec's folder come first.

    Raises:
      ImportFault: if there is no such module or name, or the module fails.
    """
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise ImportFault("module:name, such as model:load for `load` in model.py beside the spec")
    with beside(folder):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name and module_name.split(".")[0] == error.name.split(".")[0]:
                raise ImportFault(
                    f"a module that can be imported; there is no {module_name}.py in {folder.resolve()} "
                    "and none is installed"
                ) from error
            raise ImportFault(
                f"a module that can be imported; {module_name} needs {error.name}, which is not installed"
            ) from error
        except Exception as error:
            raise ImportFault(f"a module that can be imported; it fails: {failure(error, folder)}") from error
    try:
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except AttributeError as error:
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ImportFault(f"a name in {module_name}; {did_you_mean(name, public)}") from error


def failure(error: BaseException, folder: pathlib.Path) -> str:
    """An error in a user's code in words, with the last line of it beside the spec that was running."""
    own = [f for f in traceback.extract_tb(error.__traceback__) if pathlib.Path(f.filename).parent == folder.resolve()]
    place = f" ({pathlib.Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


@contextlib.contextmanager
def beside(folder: pathlib.Path) -> Iterator[None]:
    """Lets modules beside the spec be imported; one of the same name beside another spec is not mistaken for them."""
    folder = folder.resolve()
    for name, module in list(sys.modules.items()):
        if getattr(module, _MARK, folder) != folder:
            del sys.modules[name]
    before = set(sys.modules)
    importlib.invalidate_caches()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if _home(sys.modules.get(name.split(".")[0])) == folder:
                setattr(sys.modules[name], _MARK, folder)


def _home(module: Any) -> pathlib.Path | None:
    """The folder that a module or package was imported from."""
    file = getattr(module, "__file__", None)
    if not file:
        return None
    path = pathlib.Path(file).resolve()
    return path.parent.parent if path.stem == "__init__" else path.parent
