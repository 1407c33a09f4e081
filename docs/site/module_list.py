"""A directive that lists the modules of a package, each with its own first sentence.

In a page: ``:::{module-list} core/raw``. With ``:pattern:`` only modules whose names
match one of the patterns are listed, such as ``batch* tasks``; with ``:rest:`` all but
those. Packages inside are not entered.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.application import Sphinx

PACKAGE = Path(__file__).parents[2] / "src" / "napari_exo2micro"


def modules(folder: str, pattern: str = "", rest: str = "") -> Iterator[Path]:
    """Yield the modules of a folder of the package, those that were asked for."""
    for path in sorted((PACKAGE / folder).glob("*.py")):
        if path.stem == "__init__":
            continue
        if pattern and not _matches(path.stem, pattern):
            continue
        if rest and _matches(path.stem, rest):
            continue
        yield path


def _matches(name: str, patterns: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns.split())


def sentence(path: Path) -> str:
    """Return the first sentence or two of a module's docstring, in one line."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


class ModuleList(Directive):
    """A definition list: name and sentence."""

    required_arguments: ClassVar[int] = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "pattern": directives.unchanged_required,
        "rest": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Return the list; an empty one is an error."""
        folder = self.arguments[0]
        made = nodes.field_list(classes=["modules"])
        for path in modules(folder, **self.options):
            text = sentence(path)
            if not text:
                raise self.error(f"{path} has no docstring")
            made += nodes.field(
                "",
                nodes.field_name("", "", nodes.literal("", path.name)),
                nodes.field_body("", nodes.paragraph("", "", *_marked(text))),
            )
        if not len(made):
            raise self.error(f"no module of {folder} is meant: {self.options}")
        return [made]


def _marked(text: str) -> Iterator[nodes.Node]:
    """Yield text, and what stands between backticks as code."""
    for number, part in enumerate(text.split("`")):
        if part:
            yield nodes.literal("", part) if number % 2 else nodes.Text(part)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("module-list", ModuleList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
