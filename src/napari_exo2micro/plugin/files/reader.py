"""Opening pairs and results by drag and drop or by napari's File menu.

napari asks `get_reader` of every TIFF, FITS and folder, so nothing heavy is imported
here before it is known that the file is for us.

napari calls readers in the thread of its window and wants the answer at once. So all
that may take long (listing folders, reading headers and pixels) is done in a thread
that is waited for, while the window lives; after a moment a box shows the progress and
offers to cancel. What stays in the window's thread is bounded: for a single file one
look at its folder's names and at its first 64 kB.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_exo2micro.core.base import Monitor


logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]
LayerTuple = tuple[Any, ...]
Reader = Callable[[PathLike | Sequence[PathLike]], list[LayerTuple]]

#: What a reader returns that has done its work without a new layer.
_NO_LAYERS: list[LayerTuple] = [(None,)]


def get_reader(path: PathLike | Sequence[PathLike]) -> Reader | None:
    """Return the function that opens a file or folder, or None if it is not for us.

    For us are: a file of a pair, the folder of a sample, the raw folder, an output
    folder, the folder of its results for a sample and dye, and any image that this
    package wrote. Several paths were to be opened as a stack.
    """
    from napari_exo2micro.core.base import CancelledError

    try:
        paths = _listed(path)
        return read_paths if paths and all(map(_is_ours, paths)) else None
    except CancelledError:
        return _read_nothing  # no other reader is wanted either
    except (OSError, ValueError, TypeError):
        logger.debug("not opened: %s", path, exc_info=True)
        return None


def read_paths(path: PathLike | Sequence[PathLike]) -> list[LayerTuple]:
    """Return the layers of a file or folder, as napari takes them.

    What the viewer that asks shows already is not opened again, so that dropping
    both files of a pair gives one pair of layers, bottom first; ``[(None,)]``
    is returned when nothing is to be added.

    Raises
    ------
    Exo2MicroError
        In words for a person: which file cannot be used and what to do. Where there
        is a window, it shows these words, once, and nothing is raised.
    """
    from napari_exo2micro.core.base import CancelledError, Exo2MicroError
    from napari_exo2micro.plugin.files.opening import main_window, open_path
    from napari_exo2micro.plugin.layers.layers import role_name

    viewer = asking_viewer()
    opened: dict[tuple[str, ...], LayerTuple] = {}
    for place in map(Path, _listed(path)):
        try:
            specs = open_path(place, viewer)
        except CancelledError:
            break
        except Exo2MicroError as error:
            if main_window() is None:
                raise
            _show(error, place)
            break
        for spec in specs:
            known = spec.about
            key = (role_name(spec), *known.get("paths", ()))
            opened.setdefault(key, spec.as_tuple())
    return list(opened.values()) or _NO_LAYERS


def asking_viewer() -> ViewerModel | None:
    """Return the viewer that called a reader or a sample; None if none did.

    napari does not hand it over, and the window in front need not be the one that a
    file was dropped on, so it is looked for among the callers.
    """
    import napari
    from napari.components import ViewerModel

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, ViewerModel):
            return caller
        frame = frame.f_back
    viewer: ViewerModel | None = napari.current_viewer()
    return viewer


def _show(error: Exception, path: Path) -> None:
    """Show an error in the window; its first line, seen at once, names the file."""
    from napari_exo2micro.plugin.widgets.controls import notify_error

    logger.error("%s", error)
    folder = path.absolute().parent
    notify_error(f"{str(error).replace(f'{folder}{os.sep}', '')} (in {folder})")


def _listed(path: PathLike | Sequence[PathLike]) -> list[str]:
    if isinstance(path, (str, os.PathLike)):
        return [os.fspath(path)]
    return [os.fspath(place) for place in path]


def _read_nothing(_path: PathLike | Sequence[PathLike]) -> list[LayerTuple]:
    return _NO_LAYERS


def _is_ours(path: str) -> bool:
    place = Path(path)
    if place.is_dir():
        from napari_exo2micro.plugin.files.opening import wait_for

        return wait_for(
            _folder_is_ours,
            title=f"Looking into {place.name or place}",
            viewer=asking_viewer(),
            folder=place,
        )
    if not place.is_file():
        return False
    from napari_exo2micro.core.store import may_be_checkpoint

    if may_be_checkpoint(place):
        return True
    if not _has_marker(place.name):
        return False
    from napari_exo2micro.core.raw import may_be_raw

    return may_be_raw(place)


def _folder_is_ours(folder: Path, monitor: Monitor) -> bool:
    """Tell from names alone, up to the first one that is for us."""
    from napari_exo2micro.core.raw import may_be_raw
    from napari_exo2micro.core.store import holds_results

    return holds_results(folder, monitor) or may_be_raw(folder, monitor)


def _has_marker(name: str) -> bool:
    lowered = name.lower()
    return "_" in name and ("pre" in lowered or "post" in lowered)
