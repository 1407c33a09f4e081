"""From what a person opened to the layers of it.

Folders are listed and headers are read in a thread, with a box that shows the progress
and can be cancelled: a folder on a slow network drive must not freeze the window.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import show_info, show_warning
from qtpy.QtCore import QTimer

from napari_exo2micro.core.errors import (
    CancelledError,
    CheckpointError,
    RawDataError,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.lazy import LazyPair
from napari_exo2micro.core.raw.pairs import FoundPairs, PairFiles, find_pairs
from napari_exo2micro.core.result_folders import (
    find_result_folders,
    may_be_checkpoint,
)
from napari_exo2micro.core.result_sets import (
    ResultSet,
    StoredImage,
    read_result_sets,
    read_stored_image,
)
from napari_exo2micro.plugin.files.pair_chooser import Choice, choose
from napari_exo2micro.plugin.files.raw_layers import open_pair
from napari_exo2micro.plugin.files.result_layers import image_layer, result_specs
from napari_exo2micro.plugin.files.waiting import main_window, wait_for
from napari_exo2micro.plugin.layer_sets import fit_into_sets, layer_key, show_set
from napari_exo2micro.plugin.layers import LayerSpec, about, find_layers
from napari_exo2micro.plugin.plain_text import literal, notify_error
from napari_exo2micro.plugin.session import Session

__all__ = ["open_path", "prepare_levels"]

logger = logging.getLogger(__name__)


def open_path(path: Path, viewer: ViewerModel | None = None) -> list[LayerSpec]:
    """Return the layers that a file or a folder stands for and that are not there.

    They are shown, and what else is ours is hidden; `layer_sets` says what becomes of
    layers of the same pair that the viewer has already.

    Parameters
    ----------
    path : Path
        One that `reader.get_reader` takes.
    viewer : ViewerModel, optional
        Layers that it shows already are chosen there instead of made again.

    Returns
    -------
    list of LayerSpec
        Bottom first.

    Raises
    ------
    Exo2MicroError
        When there is nothing that can be shown: which file or folder it is about,
        and what to do.
    CancelledError
        When the person closed the dialog or asked to stop.
    """
    found = wait_for(
        _look_into, title=f"Looking into {path.name}", viewer=viewer, path=path
    )
    if isinstance(found, StoredImage):
        return _placed([image_layer(found)], viewer)
    if isinstance(found, FoundPairs):
        return _open_raw(path, found, viewer)
    return _open_results(found, viewer)


def _look_into(
    path: Path, monitor: Monitor
) -> tuple[Path, ...] | StoredImage | FoundPairs:
    """Return what a path stands for: folders of results, an image, or raw pairs."""
    if path.is_dir():
        return find_result_folders(path, monitor) or find_pairs(path, monitor)
    if not may_be_checkpoint(path):
        return find_pairs(path, monitor)
    image = read_stored_image(path)
    if image is None:
        raise CheckpointError(
            f"{path} is no image of this package; open it with napari's own reader"
        )
    return image


# Raw files -----------------------------------------------------------------------


def _open_raw(
    path: Path, found: FoundPairs, viewer: ViewerModel | None
) -> list[LayerSpec]:
    files = _choose_pair(path, found)
    shown = _layers_of(viewer, [str(files.post), str(files.pre)])
    if len(shown) == 2:
        _choose(viewer, shown)
        return []
    pair, specs = wait_for(
        open_pair,
        title=f"Opening {files.sample} {files.dye}",
        viewer=viewer,
        files=files,
        on_error=_tell,
        quick=viewer is not None and main_window() is not None,
    )
    prepare_levels(files, pair, viewer)
    return _placed(specs, viewer)


def _choose_pair(path: Path, found: FoundPairs) -> PairFiles:
    if not found.pairs:
        reason = "; ".join(found.problems[:3]) or (
            "it holds no pair of files named like Sample_PreStain_Dye.tif and "
            "Sample_PostStain_Dye.tif; choose the raw folder or one of such files"
        )
        raise RawDataError(f"{path} cannot be opened: {reason}")
    lines = [
        Choice(
            (pair.sample, pair.dye, pair.post.name, pair.pre.name),
            f"{pair.post}\n{pair.pre}",
        )
        for pair in found.pairs
    ]
    chosen = choose(
        f"{path} holds {len(lines)} pairs. Which one is to be opened?",
        ("Sample", "Dye", "Post-stain file", "Pre-stain file"),
        lines,
    )
    if chosen is None:
        raise CancelledError("no pair was chosen")
    return found.pairs[chosen]


def _tell(error: RawDataError) -> None:
    logger.error("%s", error)
    notify_error(f"{error}; what cannot be read is shown black")


def prepare_levels(
    files: PairFiles, pair: LazyPair, viewer: ViewerModel | None
) -> None:
    """Make middle levels of compressed files while a person looks at the pair.

    Parameters
    ----------
    files : PairFiles
        Which pair it is.
    pair : LazyPair
        Its opened files.
    viewer : ViewerModel or None
        Which one shows them; without a window nothing is done.
    """
    slow = [levels for levels in (pair.post, pair.pre) if levels.is_slow]
    if not slow or viewer is None or main_window() is None:
        return
    if pair.is_partial:
        show_info(
            f"{files.sample} {files.dye}: a part of the picture is shown until the "
            "compressed files are read; zoom in to see any place at once"
        )

    def prepare(monitor: Monitor, send: Callable[[Any], None]) -> None:
        for index, levels in enumerate(slow):
            part = monitor.part(index / len(slow), (index + 1) / len(slow))
            try:
                levels.prepare(part)
            except RawDataError as error:
                levels.tell(error)  # once, whoever met it first
            send(str(levels.image.path))

    Session.of(viewer).jobs.start(
        prepare,
        title=f"reading {files.sample} {files.dye}",
        on_sent=partial(_show_again, viewer),
    )


def _show_again(viewer: ViewerModel, path: str) -> None:
    for layer in _layers_of(viewer, [path]):
        layer.refresh()


# Results -------------------------------------------------------------------------


def _open_results(
    folders: Sequence[Path], viewer: ViewerModel | None
) -> list[LayerSpec]:
    number = choose(
        f"There are results of {len(folders)} pairs. Which ones are to be opened?",
        ("Sample", "Dye", "Folder"),
        [Choice((f.parent.name, f.name, str(f)), str(f)) for f in folders],
    )
    if number is None:
        raise CancelledError("no results were chosen")
    folder = folders[number]
    sets, problems = wait_for(
        _read_sets,
        title=f"Reading the headers in {folder}",
        viewer=viewer,
        folder=folder,
    )
    if not sets:
        reason = "; ".join(problems[:3]) or "no file in it can be read"
        raise CheckpointError(f"{folder} cannot be opened: {reason}")
    found = _choose_set(folder, sets)
    specs = wait_for(
        _specs_of,
        title=f"Opening results of {found.sample} {found.dye}",
        viewer=viewer,
        found=found,
    )
    if problems:
        for problem in problems:
            logger.warning("%s", problem)
        more = f" And {len(problems) - 3} more, see the log." if problems[3:] else ""
        show_warning(literal("; ".join(problems[:3]) + "." + more))
    if viewer is not None and not viewer.layers and main_window() is not None:
        # The canvas is mostly margin; this runs when the layers are there.
        QTimer.singleShot(0, partial(_look_at_section, viewer))
    return _placed(specs, viewer)


def _read_sets(
    folder: Path, monitor: Monitor
) -> tuple[tuple[ResultSet, ...], tuple[str, ...]]:
    return read_result_sets(folder, monitor)


def _look_at_section(viewer: ViewerModel) -> None:
    """Fill the view with the section instead of the canvas around it."""
    outlines = find_layers(viewer, "ring post")
    if outlines:
        viewer.fit_to_view(layers=outlines, margin=0.15)


def _specs_of(found: ResultSet, monitor: Monitor) -> list[LayerSpec]:
    return result_specs(found, monitor)


def _choose_set(folder: Path, sets: Sequence[ResultSet]) -> ResultSet:
    lines = []
    for one in sets:
        written = datetime.fromtimestamp(one.time).astimezone()
        stages = ", ".join(map(str, one.stages))
        lines.append(
            Choice((one.title, stages, f"{written:%Y-%m-%d %H:%M}"), one.title)
        )
    number = choose(
        f"{folder} holds results of {len(lines)} sets of parameters, the newest "
        "first. Which one is to be opened?",
        ("Parameters", "Stages", "Written"),
        lines,
    )
    if number is None:
        raise CancelledError("no set of parameters was chosen")
    return sets[number]


# What is there already -----------------------------------------------------------


def _layers_of(viewer: ViewerModel | None, paths: Sequence[str]) -> list[Layer]:
    """Return the layers that show one of these files."""
    layers = viewer.layers if viewer is not None else ()
    return [
        layer for layer in layers if about(layer).get("paths") in [[p] for p in paths]
    ]


def _placed(specs: Sequence[LayerSpec], viewer: ViewerModel | None) -> list[LayerSpec]:
    """Leave out what the viewer has already, and hide what is not of this set."""
    if viewer is None:
        return list(specs)
    new, apart = fit_into_sets(viewer, specs)
    known = specs[0].about
    sample, dye = str(known.get("sample", "")), str(known.get("dye", ""))
    best = show_set(viewer, sample, dye, apart, specs)
    for spec in new:
        spec.options["visible"] = spec.about.get("role") in best
    if not new:
        keys = [layer_key(spec.about) for spec in specs]
        own = find_layers(viewer, None, sample, dye, apart)
        viewer.layers.selection = {x for x in own if layer_key(about(x)) in keys}
    return new


def _choose(viewer: ViewerModel | None, layers: Sequence[Layer]) -> None:
    """Select layers that the viewer has already, and show their set."""
    if viewer is not None:
        known = about(layers[0])
        show_set(viewer, known["sample"], known["dye"], known.get("apart", ""))
        viewer.layers.selection = set(layers)
