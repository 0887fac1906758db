"""The documentation: `sphinx-build docs docs/_build`."""

import os
import pathlib
import re
import sys

from docutils import nodes
from docutils.parsers.rst import Directive

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "docs")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["COLUMNS"] = "90"  # the width of argparse's help

from _benchmarks import Benchmarks, Conformance, Coverage, ErrorRates, RunLengths, Suites  # noqa: E402
from _clusters import Scaling  # noqa: E402
from _faults import Faults  # noqa: E402

import sensijax  # noqa: E402 - after the path is set

project = "sensijax"
author = "The sensijax authors"
release = version = sensijax.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "sensijax"

myst_heading_anchors = 3

default_role = "code"  # docstrings are written with single backticks
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Class attributes", "Attributes")]


class CommandLine(Directive):
    """The help of `sensijax` and of every command, from the parser itself."""

    def run(self) -> list[nodes.Node]:
        from sensijax.cli import parser

        top = parser()
        (commands,) = (action.choices for action in top._actions if isinstance(action.choices, dict))
        found: list[nodes.Node] = [_literal(top.format_help())]
        for name, command in commands.items():
            section = nodes.section(ids=[f"sensijax-{name}"])
            section += nodes.title(text=f"sensijax {name}")
            section += _literal(command.format_help())
            found.append(section)
        return found


def _literal(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="text")


class Kinds(Directive):
    """The names that a spec's `kind` may have, with the first line of each class's documentation."""

    def run(self) -> list[nodes.Node]:
        from sensijax.campaign import kinds

        found = nodes.bullet_list()
        for kind, cls in kinds().items():
            item = nodes.paragraph()
            item += [nodes.literal(text=kind), nodes.Text(f" ({cls.__name__}): {cls.__doc__.strip().splitlines()[0]}")]
            found += nodes.list_item("", item)
        return [found]


def escape(app, what, name, obj, options, lines) -> None:
    """Docstrings are plain text: outside backticks a star or a bar is itself, and a letter may follow a backtick."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...", "- ")):
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"(?<!\\)([*|])", r"\\\1", part) for part in parts[::2]]
            parts[2::2] = [rf"\ {part}" if re.match(r"\w", part) else part for part in parts[2::2]]
            lines[i] = "".join(parts)


def join(app, what, name, obj, options, lines) -> None:
    """`low, high: ...` is one entry for two attributes, where Sphinx would take the first for a type."""
    for i, line in enumerate(lines):
        if match := re.match(r":ivar ((?:\w+, )+\w+):", line):
            lines[i] = line.replace(match[1], match[1].replace(" ", ""), 1)


def setup(app) -> None:
    app.add_directive("command-line", CommandLine)
    app.add_directive("kinds", Kinds)
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("conformance", Conformance)
    app.add_directive("error-rates", ErrorRates)
    app.add_directive("coverage", Coverage)
    app.add_directive("run-lengths", RunLengths)
    app.add_directive("suites", Suites)
    app.add_directive("scaling", Scaling)
    app.add_directive("faults", Faults)
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon adds markup of its own
    app.connect("autodoc-process-docstring", join, priority=600)
