"""Whether a folder can take results: asked before a run, not in its middle."""

from __future__ import annotations

import os
from pathlib import Path

from napari_exo2micro.core.errors import OutputError

__all__ = ["check_output", "output_problem"]


def output_problem(output_dir: Path | str, raw_dir: Path | str | None = None) -> str:
    """Return why results cannot go to a folder, with the fix; empty when they can.

    Nothing is written: a folder that does not exist yet will be made by the run.

    Parameters
    ----------
    output_dir : Path or str
        Where results would go; it need not exist.
    raw_dir : Path or str, optional
        The raw folder, which results must stay out of: its folders are samples.

    Examples
    --------
    >>> output_problem("raw/processed", "raw").partition(":")[2]
    ' it lies in the raw folder; choose a folder outside of it'
    """
    output = Path(os.path.abspath(output_dir))  # noqa: PTH100 - links stay as named
    if raw_dir is not None:
        raw, real = Path(raw_dir).resolve(), output.resolve()
        if real == raw:
            return (
                f"Results cannot go to {output}: it is the raw folder; choose "
                "another folder, best beside it"
            )
        if raw in real.parents:
            return (
                f"Results cannot go to {output}: it lies in the raw folder; choose a "
                "folder outside of it"
            )
    there = output
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        what = "is a file" if there.exists() else "leads nowhere"
        return f"Results cannot go to {output}: {there} {what}; choose another folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return (
            f"Results cannot go to {output}: writing in {there} is not permitted; "
            "choose another folder"
        )
    return ""


def check_output(output_dir: Path | str, raw_dir: Path | str | None = None) -> None:
    """Stop before any work when results cannot go to a folder.

    Parameters
    ----------
    output_dir, raw_dir
        As `output_problem` takes them.

    Raises
    ------
    OutputError
        With the reason and the fix.

    Examples
    --------
    >>> check_output("raw/processed", "raw")
    Traceback (most recent call last):
        ...
    napari_exo2micro.core.errors.OutputError: Results cannot go to ...
    """
    problem = output_problem(output_dir, raw_dir)
    if problem:
        raise OutputError(problem)
