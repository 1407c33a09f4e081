"""The house as the code has it: floors from the contracts, sentences from the folders.

In a page: ``:::{house} core`` lists the folders of the core from the uppermost floor
down, each with the first sentence of its ``__init__`` and its modules with theirs.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "napari_exo2micro"


def floors() -> list[list[str]]:
    """Return the folders of each floor, the uppermost first.

    Those of `core` and `plugin` are what the import-linter contracts in
    ``pyproject.toml`` say; the command line is one folder on the uppermost floor.
    """
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = {c["id"]: c for c in settings["tool"]["importlinter"]["contracts"]}
    panels = [
        [f"plugin/{name.strip()}" for name in layer.split("|")]
        for layer in contracts["panels"]["layers"]
    ]
    below = [
        [name.strip().split(".", 1)[1].replace(".", "/") for name in layer.split("|")]
        for layer in contracts["floors"]["layers"]
    ]
    return [*panels, *([name for name in layer if name != "plugin"] for layer in below)]


def folders(part: str) -> list[str]:
    """Return the folders of `core`, `plugin` or `cli`, the uppermost first."""
    return [name for floor in floors() for name in floor if name.split("/")[0] == part]


def modules(folder: str) -> list[Path]:
    """Return the modules of a folder; packages inside are not entered."""
    paths = sorted((PACKAGE / folder).glob("*.py"))
    return [path for path in paths if path.stem != "__init__"]


def sentence(path: Path) -> str:
    """Return the first paragraph of a module's docstring, in one line."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split())


class House(Directive):
    """The folders of a part of the package, with their modules."""

    required_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """Return a paragraph and a list for each folder."""
        made: list[nodes.Node] = []
        for folder in folders(self.arguments[0]):
            text = sentence(PACKAGE / folder / "__init__.py")
            entries = nodes.field_list(classes=["modules"])
            for path in modules(folder):
                if not sentence(path):
                    raise self.error(f"{path} has no docstring")
                entries += nodes.field(
                    "",
                    nodes.field_name("", "", nodes.literal("", path.name)),
                    nodes.field_body(
                        "", nodes.paragraph("", "", *_marked(sentence(path)))
                    ),
                )
            made += [
                nodes.rubric("", "", nodes.literal("", f"{folder}/")),
                nodes.paragraph("", "", *_marked(text)),
                entries,
            ]
        if not made:
            raise self.error(f"no folder of {self.arguments[0]} is in the contracts")
        return made


def _marked(text: str) -> Iterator[nodes.Node]:
    """Yield text, and what stands between backticks as code."""
    for number, part in enumerate(text.split("`")):
        if part:
            yield nodes.literal("", part) if number % 2 else nodes.Text(part)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("house", House)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
