"""From what a person opened to the layers of it.

Folders are listed and headers are read in a thread, with a box that shows the progress
and can be cancelled: a folder on a slow network drive must not freeze the window.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from napari.components import ViewerModel
from napari.layers import Layer
from napari.utils.notifications import show_info, show_warning
from qtpy import QtWidgets
from qtpy.QtCore import QCoreApplication, QEventLoop, Qt, QThread, QTimer

from napari_exo2micro.core import base, raw, store
from napari_exo2micro.core.images import pair_pixel_sizes
from napari_exo2micro.core.parameters import STAGES
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    find_layers,
    image_spec,
    pair_grounds,
    role_name,
)
from napari_exo2micro.plugin.layers.presenter import presenter_of
from napari_exo2micro.plugin.layers.sets import best_roles
from napari_exo2micro.plugin.layers.stages import checkpoint_spec, stage_specs
from napari_exo2micro.plugin.session.job import Jobs
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal, notify_error

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

#: Before the box with the progress is shown, ms.
_SHOWN_AFTER_MS = 700


def main_window() -> QtWidgets.QMainWindow | None:
    """Return the window of napari that is in front; None where there is none."""
    if not isinstance(QtWidgets.QApplication.instance(), QtWidgets.QApplication):
        return None
    active = QtWidgets.QApplication.activeWindow()
    shown = [
        widget
        for widget in QtWidgets.QApplication.topLevelWidgets()
        if isinstance(widget, QtWidgets.QMainWindow) and widget.isVisible()
    ]
    return active if active in shown else (shown[0] if shown else None)


def wait_for(
    function: Callable[..., Result],
    *,
    title: str,
    viewer: ViewerModel | None = None,
    **arguments: Any,
) -> Result:
    """Call ``function(monitor=..., **arguments)`` and return its result.

    napari asks readers and writers for a result at once. Where there is a window,
    the work is done in a thread, a job of the viewer's session, and after a moment a
    box with the title shows the progress and offers to cancel; without a window it is
    simply done. The function may not touch the viewer.

    Raises
    ------
    CancelledError
        When the person asked to stop.
    Exception
        What the function raised.
    """
    window = main_window()
    application = QCoreApplication.instance()
    if (
        window is None
        or application is None
        or QThread.currentThread() is not application.thread()
    ):
        return function(monitor=base.Monitor(), **arguments)
    jobs = Session.of(viewer).jobs if viewer is not None else Jobs()
    done: dict[str, Any] = {}
    loop = QEventLoop()
    box = QtWidgets.QProgressDialog(title, "Cancel", 0, 100, window)
    box.setObjectName("waiting")
    words = QtWidgets.QLabel(title, box)
    words.setTextFormat(Qt.TextFormat.PlainText)
    box.setLabel(words)
    box.setWindowTitle("Exo2Micro")
    box.setWindowModality(Qt.WindowModality.ApplicationModal)
    box.setMinimumDuration(_SHOWN_AFTER_MS)
    box.setAutoReset(False)

    def show(fraction: float, text: str) -> None:
        box.setLabelText(f"{title}\n{text}")
        box.setValue(min(int(100 * fraction), 99))

    job = jobs.start(
        partial(function, **arguments),
        title=title,
        on_result=lambda result: done.update(result=result),
        on_error=lambda _text: None,  # it is raised here instead
        on_progress=show,
        on_finished=loop.quit,
    )
    job.failed.connect(lambda error: done.update(error=error))
    box.canceled.connect(job.cancel)
    jobs.closed.connect(loop.quit)
    if job.is_running:
        loop.exec()
    jobs.closed.disconnect(loop.quit)
    box.canceled.disconnect(job.cancel)
    box.close()
    box.deleteLater()
    if viewer is None:
        jobs.close()
    if "error" in done:
        raise done["error"]
    if "result" not in done:
        raise base.CancelledError("stopped on request; nothing was opened or written")
    result: Result = done["result"]
    return result


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the dialog: a text for each column."""

    columns: tuple[str, ...]
    tooltip: str = ""


Chooser = Callable[[str, Sequence[str], Sequence[Choice]], int | None]


class ChooserDialog(QtWidgets.QDialog):
    """Asks for one of several lines; the first one is chosen at first."""

    def __init__(
        self,
        question: str,
        headings: Sequence[str],
        choices: Sequence[Choice],
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("pair_chooser")
        self.setWindowTitle("Exo2Micro: choose what to open")
        label = controls.WordsLabel("question", self)
        label.say(question)
        self._list = QtWidgets.QTreeWidget(self)
        self._list.setObjectName("choices")
        self._list.setToolTip("Choose a line, then press Open; or double-click it")
        self._list.setRootIsDecorated(False)
        self._list.setHeaderLabels(list(headings))
        for choice in choices:
            item = QtWidgets.QTreeWidgetItem(list(choice.columns))
            for column in range(len(choice.columns)):
                item.setToolTip(column, literal(choice.tooltip))
            self._list.addTopLevelItem(item)
        self._list.setCurrentItem(self._list.topLevelItem(0))
        for column in range(len(headings)):
            self._list.resizeColumnToContents(column)
        self._list.itemDoubleClicked.connect(self.accept)
        opens = controls.button(self, "open", "Open", "Open what is chosen")
        opens.setDefault(True)
        leaves = controls.button(self, "cancel", "Cancel", "Open nothing")
        buttons = QtWidgets.QDialogButtonBox(self)
        buttons.addButton(opens, QtWidgets.QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.addButton(leaves, QtWidgets.QDialogButtonBox.ButtonRole.RejectRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        controls.column(label, self._list, buttons, parent=self)
        self.resize(640, min(170 + 20 * len(choices), 480))

    @property
    def chosen(self) -> int:
        """The number of the chosen line, from 0."""
        return self._list.currentIndex().row()


def choose(question: str, headings: Sequence[str], choices: Sequence[Choice]) -> int:
    """Return which line a person chose, from 0; without a window the first one.

    The lines stand with the likeliest first; a single one is not asked for.

    Raises
    ------
    CancelledError
        When the person wants none.
    """
    if len(choices) == 1:
        return 0
    chosen = _CHOOSERS[-1](question, headings, choices)
    if chosen is None:
        raise base.CancelledError("nothing was chosen to be opened")
    return chosen


def set_chooser(chooser: Chooser | None) -> None:
    """Answer in a person's place, for scripts and tests; None asks the person again.

    The chooser takes question, headings and choices as `choose` does, and returns a
    number, or None to open nothing.
    """
    del _CHOOSERS[1:]
    if chooser is not None:
        _CHOOSERS.append(chooser)


def _ask(
    question: str, headings: Sequence[str], choices: Sequence[Choice]
) -> int | None:
    window = main_window()
    if window is None:
        logger.warning(
            "%s Without a window the first of %d is taken: %s",
            question,
            len(choices),
            ", ".join(choices[0].columns),
        )
        return 0
    dialog = ChooserDialog(question, headings, choices, window)
    dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
    accepted = dialog.exec()
    chosen = dialog.chosen
    dialog.deleteLater()
    return chosen if accepted and chosen >= 0 else None


_CHOOSERS: list[Chooser] = [_ask]


def open_pair(
    files: raw.PairFiles,
    monitor: base.Monitor | None = None,
    on_error: Callable[[base.RawDataError], None] | None = None,
    quick: bool = False,
    pixel_size: float | None = None,
) -> tuple[raw.LazyPair, list[LayerSpec]]:
    """Open a pair as `open_lazy_pair` does and return it with its layers.

    A size of post's pixels, um, counts before what the files note.
    """
    pair = raw.open_lazy_pair(
        files.post,
        files.pre,
        files.choices,
        on_error=on_error,
        monitor=monitor,
        quick=quick,
    )
    return pair, raw_specs(files, pair, pixel_size or files.pixel_size)


def raw_specs(
    files: raw.PairFiles, pair: raw.LazyPair, pixel_size: float | None = None
) -> list[LayerSpec]:
    """Return the layers of a raw pair: pre-stain below, post-stain above.

    Both begin at the world's origin: the canvas of stage 1 keeps them there.
    """
    notes = [*pair.warnings, *_about_channels(pair)]
    for note in notes:
        logger.info("%s %s: %s", files.sample, files.dye, note)
    sizes = pair_pixel_sizes(
        (files.post, pair.post.image.shape[:2]),
        (files.pre, pair.pre.image.shape[:2]),
        pixel_size,
    )
    on_post, on_pre = pair_grounds(*sizes)
    specs = []
    for side, path, levels, ground in (
        ("pre", files.pre, pair.pre, on_pre),
        ("post", files.post, pair.post, on_post),
    ):
        known: dict[str, Any] = {
            "sample": files.sample,
            "dye": files.dye,
            "stage": 0,
            "checkpoint": "",
            "parameters": {},
            "paths": [str(path)],
            "header": {},
            "transform": None,
            "canvas_offset": (0.0, 0.0),
            "raw_dir": str(files.raw_dir),
            "channels": pair.channels,
            "notes": notes,
        }
        specs.append(
            image_spec(
                levels.levels(),
                side,
                name=f"{files.sample} {files.dye}: {side}-stain, raw",
                known=known,
                ground=ground,
            )
        )
    return specs


def _about_channels(pair: raw.LazyPair) -> list[str]:
    if pair.channels is None:
        return []
    names = " + ".join(raw.channel_name(index) for index in pair.channels)
    word = "channels" if len(pair.channels) > 1 else "channel"
    text = f"shown: {names} {word}"
    if pair.is_estimate:
        text += ", chosen from a sample of the pixels; stage 1 looks at all of them"
    return [text]


def result_specs(
    results: store.ResultSet, monitor: base.Monitor | None = None
) -> list[LayerSpec]:
    """Return the layers of all checkpoints of one run, bottom first."""
    specs: list[LayerSpec] = []
    for stage in sorted(STAGES):
        if monitor is not None:
            monitor.check()
        own = stage_specs(results, stage)
        shown = {path for spec in own for path in spec.about.get("paths", ())}
        images = {
            str(image.path): image
            for (number, _), image in results.images.items()
            if number == stage
        }
        specs += [_completed(spec, images) for spec in own]
        specs += [
            image_layer(image) for path, image in images.items() if path not in shown
        ]
    # One picture is shown, and the other images are hidden.
    picture = best_roles(set(map(role_name, specs)))
    for spec in specs:
        spec.options["visible"] = role_name(spec) in picture
    return specs


def image_layer(image: store.StoredImage) -> LayerSpec:
    """Return the layer of one checkpoint file."""
    spec = checkpoint_spec(image.checkpoint, image.stage, image.name)
    return _completed(spec, {str(image.path): image})


def _completed(spec: LayerSpec, images: dict[str, store.StoredImage]) -> LayerSpec:
    """Add what a file without a header cannot tell of itself."""
    paths = spec.about.get("paths", ())
    image = images.get(paths[0]) if paths else None
    if image is None or image.checkpoint.provenance is not None:
        return spec
    known = spec.about | {
        "sample": image.sample,
        "dye": image.dye,
        "parameters": dict(image.parameters),
        "canvas_offset": image.canvas_offset,
    }
    title = str(spec.options["name"]).partition(": ")[2]
    options = spec.options | {
        "name": f"{image.sample} {image.dye}: {title}",
        "translate": image.canvas_offset,
        "metadata": {KEY: known},
    }
    return replace(spec, options=options)


def open_path(path: Path, viewer: ViewerModel | None = None) -> list[LayerSpec]:
    """Return the layers that a file or a folder stands for and that are not there.

    They are shown, and what else is ours is hidden; `layers.sets` says what becomes of
    layers of the same pair that the viewer has already. The path is one that
    `reader.get_reader` takes.

    Raises
    ------
    Exo2MicroError
        When there is nothing that can be shown: which file or folder it is about,
        and what to do.
    CancelledError
        When the person closed the dialog or asked to stop.
    """
    content = wait_for(
        _look_into, title=f"Looking into {path.name}", viewer=viewer, path=path
    )
    if isinstance(content, store.StoredImage):
        return _placed([image_layer(content)], viewer)
    if isinstance(content, raw.FoundPairs):
        return _open_raw(path, content, viewer)
    return _open_results(content, viewer)


def _look_into(
    path: Path, monitor: base.Monitor
) -> tuple[Path, ...] | store.StoredImage | raw.FoundPairs:
    """Return what a path stands for: folders of results, an image, or raw pairs."""
    if path.is_dir():
        return store.find_result_folders(path, monitor) or raw.find_pairs(path, monitor)
    if not store.may_be_checkpoint(path):
        return raw.find_pairs(path, monitor)
    image = store.read_stored_image(path)
    if image is None:
        raise base.CheckpointError(
            f"{path} is no image of this package; open it with napari's own reader"
        )
    return image


# Raw files -----------------------------------------------------------------------


def _open_raw(
    path: Path, found: raw.FoundPairs, viewer: ViewerModel | None
) -> list[LayerSpec]:
    files = _choose_pair(path, found)
    shown = _layers_of(viewer, [str(files.post), str(files.pre)])
    if viewer is not None and len(shown) == 2:
        presenter_of(viewer).choose(shown)
        return []
    pair, specs = wait_for(
        open_pair,
        title=f"Opening {files.sample} {files.dye}",
        viewer=viewer,
        files=files,
        on_error=tell_unreadable,
        quick=viewer is not None and main_window() is not None,
        pixel_size=given_size(viewer),
    )
    prepare_levels(files, pair, viewer)
    return _placed(specs, viewer)


def given_size(viewer: ViewerModel | None) -> float | None:
    """Return the size of post's pixels, um, that the settings of a viewer give."""
    size = Session.of(viewer).params["pixel_size"] if viewer is not None else None
    return size if isinstance(size, float) else None


def _choose_pair(path: Path, found: raw.FoundPairs) -> raw.PairFiles:
    if not found.pairs:
        reason = "; ".join(found.problems[:3]) or (
            "it holds no pair of files named like Sample_PreStain_Dye.tif and "
            "Sample_PostStain_Dye.tif; choose the raw folder or one of such files"
        )
        raise base.RawDataError(f"{path} cannot be opened: {reason}")
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
    return found.pairs[chosen]


def tell_unreadable(error: base.RawDataError) -> None:
    """Tell which part of a file cannot be read."""
    logger.error("%s", error)
    notify_error(f"{error}; what cannot be read is shown black")


def prepare_levels(
    files: raw.PairFiles, pair: raw.LazyPair, viewer: ViewerModel | None
) -> None:
    """Make middle levels of compressed files while a person looks at the pair."""
    slow = [levels for levels in (pair.post, pair.pre) if levels.is_slow]
    if not slow or viewer is None or main_window() is None:
        return
    if pair.is_partial:
        show_info(
            literal(
                f"{files.sample} {files.dye}: a part of the picture is shown until the "
                "compressed files are read; zoom in to see any place at once"
            )
        )

    def prepare(monitor: base.Monitor, send: Callable[[Any], None]) -> None:
        for index, levels in enumerate(slow):
            part = monitor.part(index / len(slow), (index + 1) / len(slow))
            try:
                levels.prepare(part)
            except base.RawDataError as error:
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
    folder = folders[number]
    sets, problems = wait_for(
        store.read_result_sets,
        title=f"Reading the headers in {folder}",
        viewer=viewer,
        folder=folder,
    )
    if not sets:
        reason = "; ".join(problems[:3]) or "no file in it can be read"
        raise base.CheckpointError(f"{folder} cannot be opened: {reason}")
    results = _choose_set(folder, sets)
    specs = wait_for(
        result_specs,
        title=f"Opening results of {results.sample} {results.dye}",
        viewer=viewer,
        results=results,
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


def _look_at_section(viewer: ViewerModel) -> None:
    """Fill the view with the section instead of the canvas around it."""
    outlines = find_layers(viewer, "ring post")
    if outlines:
        viewer.fit_to_view(layers=outlines, margin=0.15)


def _choose_set(folder: Path, sets: Sequence[store.ResultSet]) -> store.ResultSet:
    lines = []
    for results in sets:
        written = datetime.fromtimestamp(results.time).astimezone()
        stages = ", ".join(map(str, results.stages))
        columns = results.title, stages, f"{written:%Y-%m-%d %H:%M}"
        lines.append(Choice(columns, results.title))
    number = choose(
        f"{folder} holds results of {len(lines)} sets of parameters, the newest "
        "first. Which one is to be opened?",
        ("Parameters", "Stages", "Written"),
        lines,
    )
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
    return list(specs) if viewer is None else presenter_of(viewer).open(specs)
