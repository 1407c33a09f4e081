"""The application: which verbs there are, in the order of the help page."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from napari_exo2micro.cli import demonstrate, header, inspect, process
from napari_exo2micro.cli.application import EXIT_CODES, Application
from napari_exo2micro.cli.batch import batch
from napari_exo2micro.cli.help import Command
from napari_exo2micro.cli.options import as_command

__all__ = ["app"]

app = typer.Typer(
    cls=Application,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
)


def _show_version(asked: bool) -> None:
    if asked:
        from napari_exo2micro import __version__

        sys.stdout.write(f"exo2micro {__version__}\n")
        raise typer.Exit


_EXIT_CODES = [f"{code}: {meaning}." for code, meaning in EXIT_CODES.items()]


@app.callback(epilog="\n\n".join(["Exit codes:", *_EXIT_CODES]))
def exo2micro(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Find microbes on rock: align, scale and subtract fluorescence images."""


for _function, _takes_parameters in (
    (process.run, True),
    (batch, True),
    (process.status, True),
    (process.compare, True),
    (inspect.survey, False),
    (inspect.diagnose, False),
    (header.info, False),
    (inspect.params, False),
    (demonstrate.demo, False),
):
    app.command(_function.__name__, cls=Command)(
        as_command(_function, parameters=_takes_parameters)
    )
