"""`exo2micro info`: everything that a checkpoint's header says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_exo2micro.cli.application import COMPLETE
from napari_exo2micro.cli.options import AsJson
from napari_exo2micro.cli.output import console, print_json, table
from napari_exo2micro.cli.report import number_words
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import CheckpointError

if TYPE_CHECKING:
    from napari_exo2micro.core.rasters import Raster

__all__ = ["info"]

_LONGEST = 12
_MEGA = 1e6


def info(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint, TIFF or FITS.")
    ],
    as_json: AsJson = False,
) -> int:
    """Show everything that a checkpoint's header says.

    Long lists, such as contours, are given in full with --json only.
    """
    from napari_exo2micro.core.raster_files import open_raster

    if not file.is_file():
        raise CheckpointError(f"{file}: no such file; name a checkpoint, TIFF or FITS")
    raster = open_raster(file)
    header = dict(raster.header) or _cards(file)
    if as_json:
        print_json({"file": _facts(file, raster), "header": header})
        return COMPLETE
    made = table("", "")
    made.show_header = False
    made.columns[0].no_wrap = True
    for name, value in _facts(file, raster).items():
        made.add_row(name.replace("_", " "), str(value))
    if not header:
        made.add_row("header", "none: it is not known how this file was made")
    try:
        rows = list(_rows(header))
    except (CheckpointError, AttributeError, KeyError, TypeError):
        rows = [("header", "of another program, in a form not known here (--json)")]
    for name, value in rows:
        made.add_row(name, value)
    console().print(made)
    return COMPLETE


def _facts(file: Path, raster: Raster) -> dict[str, Any]:
    rows, columns = raster.shape
    return {
        "file": str(file),
        "size_px": f"{columns} x {rows}",
        "type": str(raster.dtype),
        "levels": raster.n_levels,
        "megabytes": round(file.stat().st_size / _MEGA, 1),
    }


def _cards(file: Path) -> dict[str, Any]:
    """Return the cards of a FITS file that has no other header."""
    if file.suffix.lower() not in (".fits", ".fit"):
        return {}
    from astropy.io import fits

    with fits.open(file, memmap=True) as hdus:
        cards = {key: value for key, value in hdus[0].header.items() if key}
    structure = ("SIMPLE", "BITPIX", "EXTEND", "BZERO", "BSCALE", "COMMENT")
    return {
        key: value
        for key, value in cards.items()
        if key not in structure and not key.startswith("NAXIS")
    }


def _rows(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each entry; the parameters come last."""
    rest = dict(header)
    parameters = rest.pop("parameters", {})
    transform = rest.pop("transform", None)
    verdicts = rest.pop("verdicts", {})
    yield from _flat("", rest)
    if isinstance(transform, Mapping) and "matrix" in transform:
        yield from _transform_rows(transform)
    for number, verdict in verdicts.items():
        yield f"stage {number}", f"{verdict['state']} {verdict['reason']}".strip()
        for name, value in verdict["numbers"].items():
            yield "", number_words(name, value)
    for name, value in parameters.items():
        entry = PARAMETER_REGISTRY.get(name)
        note = "" if entry is None or value == entry.default else "  (not the default)"
        yield f"parameter {name}", f"{value}{note}"


def _transform_rows(stored: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    from napari_exo2micro.core.transforms import Transform

    parts = Transform.from_dict(stored).decompose()
    yield "transform", str(stored.get("direction", ""))
    for row in stored["matrix"]:
        yield "", "  ".join(f"{value:14.8g}" for value in row)
    yield (
        "",
        f"turn {parts['angle_deg']:.4f} deg, magnification {parts['scale']:.6f}"
        + (", mirrored" if parts["mirrored"] else ""),
    )


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(f"{prefix} {key}".strip().replace("_", " "), item)
    elif isinstance(value, (list, tuple)):
        if not value:
            return
        short = len(value) <= _LONGEST and not isinstance(value[0], (list, tuple))
        text = ", ".join(map(str, value)) if short else f"{len(value)} entries (--json)"
        yield prefix, text
    elif isinstance(value, float):
        yield prefix, f"{value:.7g}"
    elif value is not None and value != "":
        yield prefix, str(value)
