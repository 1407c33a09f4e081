"""`exo2micro`: the core's verbs on the command line.

Results go to the standard output, everything else (progress, warnings, errors)
to the standard error. Heavy libraries are loaded by the command that needs them,
so that ``exo2micro --help`` answers at once.
"""

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of the process's own arguments.

    Raises
    ------
    SystemExit
        Always; see `output.EXIT_CODES`.
    """
    from napari_exo2micro.cli.app import app

    app(arguments, prog_name="exo2micro")
