"""Writing figures: whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from napari_exo2micro.core.errors import OutputError
from napari_exo2micro.core.plotting.notes import NOTE_CHARACTER, NOTE_LINE, wrapped
from napari_exo2micro.core.plotting.style import (
    DPI,
    EDGE,
    SMALL,
    WARNING_COLOUR,
    printable,
)
from napari_exo2micro.core.whole_files import replace_file

__all__ = ["finish_figure", "save_figure", "stamp_png"]


def finish_figure(figure: Figure, save_path: str | Path | None) -> Figure:
    """Write the figure when a path is given, and return it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure whole or not at all; its folder is made when missing.

    Parameters
    ----------
    figure : Figure
        Any figure of matplotlib.
    path : str or Path
        The ending chooses the format: `.png`, `.pdf`, `.svg` and what else
        matplotlib writes.

    Raises
    ------
    OutputError
        If the format is unknown or the file cannot be written.
    """
    target = Path(path)
    form = target.suffix.lower().removeprefix(".")
    if form not in figure.canvas.get_supported_filetypes():
        raise OutputError(
            f"cannot write {target}: a picture's name must end in .png, .pdf or .svg; "
            "choose one of these"
        )
    with replace_file(target) as part:
        if form == "png" and isinstance(figure.canvas, FigureCanvasAgg):
            # Not by savefig: this takes half the time, and no user's matplotlibrc
            # changes the size of what is written.
            _write_png(_rendered(figure.canvas)[..., :3], part)
        else:
            figure.savefig(part, format=form, dpi=figure.dpi)


def stamp_png(path: Path, notes: Sequence[str]) -> None:
    """Add a strip with red notes above a PNG picture that lacks them.

    Raises
    ------
    OutputError
        If the picture cannot be read or written again.
    """
    try:
        with Image.open(path) as file:
            picture = np.asarray(file.convert("RGBA"))
    except (OSError, UnidentifiedImageError) as error:
        raise OutputError(
            f"{path} should be a PNG picture, it cannot be read ({error}); check the "
            "function that drew it"
        ) from error
    width = picture.shape[1] / DPI
    lines = wrapped(notes, max(int((width - 2 * EDGE) / NOTE_CHARACTER), 20))
    height = NOTE_LINE * len(lines) + 0.12
    strip = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(strip)
    for i, line in enumerate(lines):
        strip.text(
            min(EDGE / width, 0.5),
            1 - (0.06 + i * NOTE_LINE) / height,
            printable(line),
            fontsize=SMALL,
            color=WARNING_COLOUR,
            va="top",
            parse_math=False,
        )
    head = _rendered(canvas)
    columns = picture.shape[1]
    fitted = np.full((head.shape[0], columns, 4), 255, np.uint8)
    fitted[:, : min(columns, head.shape[1])] = head[:, :columns]
    with replace_file(path) as part:
        _write_png(np.concatenate([fitted, picture]), part)


def _rendered(canvas: FigureCanvasAgg) -> NDArray[np.uint8]:
    """Return a figure's pixels, shape (rows, columns, 4)."""
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels: NDArray[np.uint8] = np.asarray(
        canvas.buffer_rgba()  # type: ignore[no-untyped-call]
    )
    return pixels


def _write_png(pixels: NDArray[np.uint8], path: Path) -> None:
    about = PngInfo()
    about.add_text("Software", "napari-exo2micro")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(path, format="png", compress_level=1, pnginfo=about)
