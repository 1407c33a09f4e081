"""Saving a layer of ours with its header, and an alignment by itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_exo2micro.core.base import CancelledError, OutputError, ParameterError
from napari_exo2micro.plugin.layers.layers import KEY, Ground, role_of

_ENDINGS_OF_NAPARI = (".tif", ".tiff")


def write_image(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save an image layer as TIFF or FITS, with the header of what it shows.

    It is written window by window, whole or not at all; a large one in the
    background, while a box shows the progress. A layer of others is handed to
    napari's own writer.

    Parameters
    ----------
    path : str
        Ends in `.tiff`, `.tif` or `.fits`.
    data, meta
        The layer's data, of a multiscale layer all levels, and its attributes.

    Returns
    -------
    list of str
        The file; empty when the person asked to stop.

    Raises
    ------
    OutputError
        When it cannot be written, also for a layer of others where the ending is none
        that napari writes. (napari takes a `ValueError` as "another writer, please"
        and says nothing of it.)
    """
    known = _known(meta)
    image = data[0] if meta.get("multiscale") else data
    if not known:
        return _write_foreign(path, image, meta)
    from napari_exo2micro.core.store import export_image, provenance_of
    from napari_exo2micro.plugin.files.opening import wait_for

    size = _pixel_size(meta)
    if size is not None:
        side = "pre" if known.get("role") == "pre" else "post"
        known["canvas"] = {f"{side}_pixel_size": list(size)}
    role, header = str(known.get("role", "image")), known.get("header") or {}
    stored = role_of(int(header.get("stage", -1)), str(header.get("name", "")))
    provenance = provenance_of(known, role.replace(" ", "_"), as_stored=role == stored)
    try:
        written = wait_for(
            export_image,
            title=f"Saving {Path(path).name}",
            path=path,
            image=image,
            provenance=provenance,
        )
    except CancelledError:
        return []
    except ParameterError as error:
        raise OutputError(str(error)) from error
    return [str(written)]


def write_alignment(path: str, data: Any, meta: Mapping[str, Any]) -> list[str]:
    """Save the alignment of a layer as a JSON file; its data are not looked at.

    Raises
    ------
    OutputError
        When the layer has no alignment, or the file cannot be written.
    """
    del data
    from napari_exo2micro.core.alignment import Alignment

    alignment = Alignment.from_header(_known(meta).get("header") or _known(meta))
    if alignment is None:
        raise OutputError(
            f"the layer '{meta.get('name', '')}' has no alignment; choose an aligned "
            "pre-stain image or a difference, run stage 2 or 3 if there is none"
        )
    alignment.save(path)
    return [os.fspath(path)]


def _pixel_size(meta: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return width and height of a layer's pixels, um; None where it has none."""
    if meta.get("units") is None or meta.get("scale") is None:
        return None
    height, width = map(float, meta["scale"][-2:])
    return Ground(step=(height, width), units=tuple(meta["units"])).pixel_size


def _known(meta: Mapping[str, Any]) -> dict[str, Any]:
    known = (meta.get("metadata") or {}).get(KEY)
    return dict(known) if isinstance(known, Mapping) else {}


def _write_foreign(path: str, image: Any, meta: Mapping[str, Any]) -> list[str]:
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS_OF_NAPARI:
        raise OutputError(
            f"the layer '{meta.get('name', '')}' was not made by this plugin, so there "
            f"is no header to save; save it as {' or '.join(_ENDINGS_OF_NAPARI)}"
        )
    from npe2 import PluginManager

    commands = PluginManager.instance().commands
    written = commands.execute("napari.write_image", (os.fspath(path), image, meta))
    return [str(written)] if written else []
