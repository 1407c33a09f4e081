"""A role that names a parameter as the forms do, and as scripts do in brackets.

In a page: ``{parameter}`orientation_search```. The label comes from the registry, so it
cannot say anything but what the window says.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

from napari_exo2micro.core.parameters.parameters import PARAMETERS

TITLES = {entry.name: entry.title for entry in PARAMETERS}


class ParameterRole(SphinxRole):
    """Label and name; a name that no parameter has is an error."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the words."""
        title = TITLES.get(self.text)
        if title is None:
            error = self.inliner.reporter.error(
                f"no parameter is called {self.text!r}", line=self.lineno
            )
            wrong = self.inliner.problematic(self.rawtext, self.rawtext, error)
            return [wrong], [error]
        label = title[:1].upper() + title[1:]
        name = nodes.literal("", self.text)
        return [nodes.emphasis("", label), nodes.Text(" ("), name, nodes.Text(")")], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the role known to Sphinx."""
    app.add_role("parameter", ParameterRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
