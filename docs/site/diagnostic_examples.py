"""A directive that shows a diagnostic plot twice: as it should be, and with a fault.

In a page: ``:::{diagnostic-examples} ratio_histogram``, and in it what is wrong in the
bad example. Caption and sentences are those that the program shows.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx

from napari_exo2micro.core.plotting import DIAGNOSTICS

_PAGE = """\
{caption}

Its file is `{name}.png`.

::::{{grid}} 2
:gutter: 2

:::{{grid-item-card}} Good
:class-card: good-example

```{{image}} images/diagnostics/{name}_good.png
:alt: {title}, a good example
:target: _images/{name}_good.png
```
{good}
:::

:::{{grid-item-card}} Bad
:class-card: bad-example

```{{image}} images/diagnostics/{name}_bad.png
:alt: {title}, a bad example
:target: _images/{name}_bad.png
```
{bad}
:::
::::

*The bad example:* {fault}
"""


class DiagnosticExamples(Directive):
    """Caption, good and bad example of one plot."""

    required_arguments: ClassVar[int] = 1
    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return the parsed examples."""
        name = self.arguments[0]
        if name not in DIAGNOSTICS:
            raise self.error(f"no plot is called {name!r}")
        plot = DIAGNOSTICS[name]
        text = _PAGE.format(
            name=name,
            title=plot.title,
            caption=plot.caption,
            good=plot.good,
            bad=plot.bad,
            fault=" ".join(self.content),
        )
        found = nodes.container()
        lines = StringList(text.splitlines(), source=str(Path(__file__)))
        self.state.nested_parse(lines, self.content_offset, found)
        return list(found.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("diagnostic-examples", DiagnosticExamples)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
