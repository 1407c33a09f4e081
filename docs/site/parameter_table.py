"""A directive that shows the parameters of a stage, read from the registry.

In a page: ``:::{parameter-table} 2``. The table is made when the site is built, so
it cannot say anything but what the program does.
"""

from __future__ import annotations

from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, Parameter

COLUMNS = (("parameter", 34), ("default", 12), ("range", 18), ("what it does", 36))


class ParameterTable(Directive):
    """The parameters of one stage, a row each, in groups as the forms have them."""

    required_arguments: ClassVar[int] = 1
    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """Return one table with a heading row for each group."""
        stage = int(self.arguments[0])
        entries = [e for e in PARAMETER_REGISTRY.values() if e.stage == stage]
        if not entries:
            raise self.error(f"stage {stage} has no parameters")
        table = nodes.table(classes=["parameters", "colwidths-given"])
        group = nodes.tgroup(cols=len(COLUMNS))
        table += group
        for _, width in COLUMNS:
            group += nodes.colspec(colwidth=width)
        head = nodes.thead()
        group += head
        head += _row([nodes.paragraph("", title)] for title, _ in COLUMNS)
        body = nodes.tbody()
        group += body
        for name in dict.fromkeys(entry.group for entry in entries):
            if name:
                body += _heading(name)
            for entry in entries:
                if entry.group == name:
                    row = _row(_cells(entry))
                    row["ids"] = [f"parameter-{entry.name}"]
                    body += row
        return [table]


def _row(cells: Any) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", *cell)
    return row


def _heading(name: str) -> nodes.row:
    row = nodes.row(classes=["group"])
    row += nodes.entry("", nodes.paragraph("", name), morecols=len(COLUMNS) - 1)
    return row


def _cells(entry: Parameter) -> list[list[nodes.Node]]:
    names = nodes.line_block(
        "",
        nodes.line("", "", nodes.strong("", entry.title)),
        nodes.line("", "", nodes.literal("", entry.name)),
        nodes.line("", "in file names ", nodes.literal("", entry.abbreviation)),
    )
    default = nodes.literal("", str(entry.default))
    limits = entry.limits() or ("on or off" if entry.kind is bool else "any")
    return [
        [names],
        [nodes.paragraph("", "", default)],
        [nodes.paragraph("", limits)],
        [nodes.paragraph("", entry.description)],
    ]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("parameter-table", ParameterTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
