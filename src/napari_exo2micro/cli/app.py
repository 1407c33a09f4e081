"""The application: which verbs there are, in the order of the help page."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand

from napari_exo2micro.cli import run
from napari_exo2micro.cli.batch import batch
from napari_exo2micro.cli.options import as_command
from napari_exo2micro.cli.output import EXIT_CODES, Application, console

_NAME_WIDTH = 36
_MOST_WIDTH = 110


class Command(TyperCommand):
    """A command whose help page has room for long names and explanations."""

    def format_help(self, ctx: Any, _: Any) -> None:
        """Print usage, purpose, arguments and options in their groups."""
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        out = console()
        out.soft_wrap = False
        width = min(out.width, _MOST_WIDTH)
        groups: dict[str, list[Any]] = {}
        for parameter in self.get_params(ctx):
            title = getattr(parameter, "rich_help_panel", None) or "Output"
            if isinstance(parameter, TyperArgument):
                title = "Arguments"
            groups.setdefault(title, []).append(parameter)
        usage = [
            ctx.command_path,
            "[OPTIONS]",
            *map(_name, groups.get("Arguments", ())),
        ]
        out.print(Text(f"Usage: {' '.join(usage)}", style="bold"))
        purpose = " \n".join(
            " ".join(part.split()) for part in (self.help or "").split("\n\n")
        )
        out.print(Padding(Text(purpose), (1, 0)), width=width)
        for title, parameters in groups.items():
            grid = Table.grid(padding=(0, 2))
            grid.add_column(min_width=_NAME_WIDTH, max_width=_NAME_WIDTH)
            grid.add_column()
            for parameter in parameters:
                name = Text(_name(parameter), style="cyan")
                grid.add_row(name, _explanation(parameter))
            out.print(Text(title, style="bold"))
            out.print(Padding(grid, (0, 0, 1, 2)), width=width)


def _name(parameter: Any) -> str:
    """Return how an argument or an option is given."""
    if isinstance(parameter, TyperArgument):
        name = str(parameter.metavar or parameter.name).upper()
        return name if parameter.required else f"[{name}]"
    if parameter.secondary_opts:
        first, second = parameter.opts[0], parameter.secondary_opts[0]
        if second == first.replace("--", "--no-", 1):
            return f"--[no-]{first[2:]}"
        return f"{first} / {second}"
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {parameter.metavar or 'VALUE'}"


def _explanation(parameter: Any) -> str:
    words = str(parameter.help or "")
    shown = parameter.show_default
    if isinstance(shown, str):
        return f"{words} [{shown}]"
    plain = parameter.default is not None and not getattr(parameter, "is_flag", False)
    if shown and plain:
        return f"{words} [{parameter.default}]"
    return words


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


for _function in (
    run.run,
    batch,
    run.status,
    run.microbes,
    run.compare,
    run.survey,
    run.diagnose,
    run.pair,
    run.info,
    run.params,
    run.demo,
):
    app.command(_function.__name__, cls=Command)(as_command(_function))
