"""What there is on disk: the check-list, and what it comes to in plain words."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qtpy import QtGui, QtWidgets
from qtpy.QtCore import Qt, QUrl

from napari_exo2micro.core import pipeline
from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.parameters import STAGES, ParameterValue, State
from napari_exo2micro.core.photometry import further_scales, scale_title
from napari_exo2micro.core.plotting import DIAGNOSTICS
from napari_exo2micro.core.store import CheckpointStatus
from napari_exo2micro.plugin.layers import layers
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.layers.stages import checkpoint_spec
from napari_exo2micro.plugin.session.session import Session, TaskSource
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal, notify_error
from napari_exo2micro.plugin.widgets.rows import capitalised, scale_words, with_titles
from napari_exo2micro.plugin.workbench.picture import PictureOfChoice, stored_layers
from napari_exo2micro.plugin.workbench.source import TROUBLE

_SHARE_OF_SCREEN = 0.8
_LINE = Qt.ItemDataRole.UserRole
_NAMES = {
    (1, "post"): "post-stain, padded",
    (1, "pre"): "pre-stain, padded",
    (2, "pre"): "pre-stain, boundary aligned",
    (2, "coarse_pre"): "pre-stain, coarsely aligned",
    (3, "pre"): "pre-stain, interior aligned",
    (3, "displacement"): "its displacement",
    (4, "difference"): "difference",
    (5, "snr"): "signal-to-noise ratio",
    (5, "labels"): "areas of the microbes",
    (5, "catalogue"): "table of the microbes",
}
#: What shows a result that is no image: what it moves, what it lists.
_SHOWN_BY = {"displacement": "pre", "catalogue": "labels"}
#: From good to bad, to tell the worst of several plots.
_ORDER = (State.VALID, State.STALE, State.MISSING, State.FAILED)
_Row = tuple[tuple[int, str, str], str, State, str, CheckpointStatus | None]


class PictureWindow(QtWidgets.QDialog):
    """Shows the image of a file as large as it fits; it is closed with Escape."""

    def __init__(
        self, path: Path, image: QtGui.QImage, parent: QtWidgets.QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("picture_window")
        self.setWindowTitle(path.name)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        scene = QtWidgets.QGraphicsScene(self)
        self._item = QtWidgets.QGraphicsPixmapItem(QtGui.QPixmap.fromImage(image))
        self._item.setTransformationMode(Qt.TransformationMode.SmoothTransformation)
        scene.addItem(self._item)
        self._view = QtWidgets.QGraphicsView(scene, self)
        self._view.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
        self._view.setMinimumSize(200, 150)
        controls.column(self._view, parent=self, margin=0)
        screen = QtGui.QGuiApplication.primaryScreen()
        assert screen is not None
        size, most = image.size(), screen.availableSize() * _SHARE_OF_SCREEN
        fits = size.boundedTo(most) == size
        self.resize(
            size if fits else size.scaled(most, Qt.AspectRatioMode.KeepAspectRatio)
        )

    def resizeEvent(self, a0: QtGui.QResizeEvent | None) -> None:
        """Draw the picture as large as it fits now, in its own proportions."""
        super().resizeEvent(a0)
        self._view.fitInView(self._item, Qt.AspectRatioMode.KeepAspectRatio)


def result_name(line: CheckpointStatus) -> str:
    """Return in words what a line of the check-list is about."""
    if line.kind == "plot":
        known = DIAGNOSTICS.get(line.name)
        title = known.title if known else ""
        return title or line.name.replace("_", " ")
    return _NAMES.get((line.stage, line.name), line.name.replace("_", " "))


class StatusList(QtWidgets.QWidget):
    """Every image and plot of the sample, by stage, with its state in word and mark."""

    def __init__(
        self,
        session: Session,
        message: Callable[[str], None] | None = None,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("status_list")
        self._session = session
        self._message = message if message is not None else notify_error
        self._items: dict[tuple[int, str, str], QtWidgets.QTreeWidgetItem] = {}
        #: Whether a row is unfolded, also of rows that are not there at the moment.
        self._unfolded: dict[tuple[int, str, str], bool] = {}
        self._tree = QtWidgets.QTreeWidget(self)
        self._tree.setObjectName("check_list")
        self._tree.setColumnCount(2)
        self._tree.setHeaderHidden(True)
        self._tree.setEditTriggers(self._tree.EditTrigger.NoEditTriggers)
        self._tree.setMinimumHeight(90)
        self._tree.setIndentation(14)
        header = self._tree.header()
        assert header is not None
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, header.ResizeMode.Stretch)
        header.setSectionResizeMode(1, header.ResizeMode.ResizeToContents)
        self._tree.itemActivated.connect(lambda item: self.open(item))
        self._why = controls.WordsLabel("why", self)
        self._tree.currentItemChanged.connect(lambda *_items: self._explain())
        self._folder = controls.button(
            self,
            "open_folder",
            "Open the folder",
            "Show the folder of the results in the file manager.",
            self.open_folder,
        )
        self._open = controls.button(
            self,
            "open_result",
            "Open",
            "Show the chosen image as a layer, or the chosen plot.",
            lambda: self.open(self._tree.currentItem()),
        )
        controls.column(
            (self._tree, 1),
            self._why,
            controls.row(self._open, self._folder),
            parent=self,
            margin=0,
        )
        session.status_changed.connect(self._fill)
        self._fill(session.status)

    def open(self, item: QtWidgets.QTreeWidgetItem | None) -> None:
        """Show the layer or the picture of a row."""
        line: CheckpointStatus | None = None if item is None else item.data(0, _LINE)
        if line is None:
            return
        if line.state == State.MISSING:
            self._message(
                f"{result_name(line)} does not exist yet; run stage {line.stage} first"
            )
        elif line.kind == "plot":
            self._session.jobs.start(
                _read_picture,
                title=f"opening {line.path.name}",
                on_result=self._show_picture,
                on_error=self._message,
                newest="open a result",
                line=line,
            )
        elif line.state != State.VALID:
            self._message(
                f"{line.path.name} is not used: {line.reason}; run stage "
                f"{line.stage} again"
            )
        else:
            self._open_layer(line)

    def open_folder(self) -> None:
        """Show the folder of the results in the system's file manager."""
        session = self._session
        session.jobs.start(
            _find_folder,
            title="looking for the folder of the results",
            on_result=self._show_folder,
            on_error=self._message,
            newest="open the folder",
            show_progress=False,
            folder=session.output_dir / session.sample / session.dye,
        )

    def _show_folder(self, folder: Path) -> None:
        url = QUrl.fromLocalFile(str(folder.absolute()))
        if not QtGui.QDesktopServices.openUrl(url):
            self._message(f"no file manager was found here; the folder is {folder}")

    def _show_picture(self, read: tuple[Path, QtGui.QImage]) -> None:
        PictureWindow(*read, self).show()

    def _open_layer(self, line: CheckpointStatus) -> None:
        session = self._session
        for layer, known in stored_layers(session):
            # The same image made with other parameters has another file.
            if str(line.path) in known["paths"]:
                layer.visible = True
                session.viewer.layers.selection.active = layer
                return
        session.jobs.start(
            _one_layer,
            title=f"opening {line.path.name}",
            on_result=self._place,
            on_error=self._message,
            newest="open a result",
            source=session.task_source(),
            params=session.params,
            stage=line.stage,
            name=_SHOWN_BY.get(line.name, line.name),
        )

    def _place(self, specs: Sequence[layers.LayerSpec]) -> None:
        for layer in place_layers(self._session.viewer, specs):
            layer.visible = True
            self._session.viewer.layers.selection.active = layer

    def _fill(self, lines: Sequence[CheckpointStatus]) -> None:
        """Show the lines; rows that were there keep their place and their fold."""
        wanted = _rows(lines, self._session.stored_result) if lines else []
        keys = [key for key, *_ in wanted]
        if keys != list(self._items):
            self._rebuild(keys)
        for key, name, state, why, line in wanted:
            item = self._items[key]
            item.setText(0, name)
            item.setText(1, state.word)
            item.setIcon(1, controls.state_icon(state))
            item.setData(0, _LINE, line)
            item.setData(1, _LINE, why)
            path = str(line.path) if line is not None else ""
            for column in (0, 1):
                item.setToolTip(column, literal(f"{why}\n{path}".strip()))
        self._folder.setEnabled(self._session.has_pair)
        self._explain()

    def _rebuild(self, keys: Sequence[tuple[int, str, str]]) -> None:
        for key, item in self._items.items():
            self._unfolded[key] = item.isExpanded()
        self._tree.clear()
        self._items = {}
        above = {"checkpoint": "stage", "plots": "stage", "plot": "plots"}
        for number, kind, name in keys:
            parent = self._items.get((number, above.get(kind, ""), ""), self._tree)
            item = QtWidgets.QTreeWidgetItem(parent)
            self._items[number, kind, name] = item
        for key, item in self._items.items():
            item.setExpanded(self._unfolded.get(key, key[1] == "stage"))

    def _explain(self) -> None:
        """Say why the chosen row is as it is."""
        item = self._tree.currentItem()
        line = item.data(0, _LINE) if item is not None else None
        why = str(item.data(1, _LINE) or "") if item is not None else ""
        self._why.say(why)
        missing = line is None or line.state in (State.MISSING, State.FAILED)
        self._open.setEnabled(not missing)


def _rows(
    lines: Sequence[CheckpointStatus], result: pipeline.RunResult | None
) -> list[_Row]:
    """Return key, name, state, why and line of each row, in order."""
    rows: list[_Row] = []
    for number, stage in pipeline.stage_states(lines, result).items():
        title = f"{number} {STAGES[number].title}"
        why = with_titles(stage.reason)
        rows.append(((number, "stage", ""), title, stage.state, why, None))
        own: dict[str, list[_Row]] = {"checkpoint": [], "plot": []}
        for line in lines:
            if line.stage == number:
                key = (number, line.kind, line.name)
                row = (key, result_name(line), line.state, line.reason, line)
                own[line.kind].append(row)
        rows += own["checkpoint"]
        if plots := own["plot"]:
            _, _, state, why, _ = max(plots, key=lambda row: _ORDER.index(row[2]))
            count = sum(row[2] == State.VALID for row in plots)
            name = f"{count} of {len(plots)} plots"
            rows += [((number, "plots", ""), name, state, why, None), *plots]
    return rows


def _one_layer(
    source: TaskSource,
    params: dict[str, ParameterValue],
    stage: int,
    name: str,
) -> list[layers.LayerSpec]:
    """Return the layer of one checkpoint."""
    task = source.task(params)
    checkpoint = task.checkpoint(stage, name)  # it may be gone meanwhile
    if checkpoint is None:
        raise CheckpointError(
            f"the image '{name}' of stage {stage} is gone or was changed; run stage "
            f"{stage} again"
        )
    return [checkpoint_spec(checkpoint, stage, name, task=task)]


def _read_picture(line: CheckpointStatus) -> tuple[Path, QtGui.QImage]:
    """Return a plot's file and its pixels."""
    image = QtGui.QImage(str(line.path))
    if image.isNull():
        raise CheckpointError(
            f"{line.path} cannot be read as a picture; run stage {line.stage} again "
            "with Force"
        )
    return line.path, image


def _find_folder(folder: Path) -> Path:
    """Return a folder that exists."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} does not exist yet; a run makes it")
    return folder


def summary_words(result: pipeline.RunResult | None, done: int) -> str:
    """Return what a result comes to; empty when there is none.

    `done` is the last stage in a row whose results are valid.
    """
    if result is None or done < 1:
        return ""
    if result.state == State.DEGRADED:
        first = f"Done, but look at the result: {with_titles(result.reason)}."
    elif done == max(STAGES):
        first = "Complete: every stage vouches for its result."
    else:
        stages = "Stage 1 is" if done == 1 else f"Stages 1 to {done} are"
        first = f"{stages} done."
    figures = ", ".join(_figures(result))
    notes = [f"Note: {text}" for text in result.warnings]
    lines = [first, f"{capitalised(figures)}." if figures else "", *notes]
    return "\n".join(filter(None, lines))


def _figures(result: pipeline.RunResult) -> Iterator[str]:
    """Yield the scale and the accuracy, where they are known."""
    scale = result.scale
    if scale is not None:
        title = scale_title(scale.kind)
        yield f"scale {scale_words(scale.value, scale.uncertainty, title)}"
    if result.manual_scale is not None:
        yield f"by hand {result.manual_scale:.5g}"
    for title, value, _ in further_scales(result):
        yield f"{title} {value:.5g}"
    if result.accuracy:
        yield f"alignment accurate to {result.accuracy}"


class ResultSummary(QtWidgets.QWidget):
    """The state, scale and accuracy of the valid results, and a button to see them."""

    def __init__(
        self,
        session: Session,
        message: controls.MessageStrip,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("result_summary")
        self._session = session
        self._picture = PictureOfChoice.of(session)
        self._message = message
        self._words = controls.WordsLabel("summary", self)
        self._results = controls.button(
            self,
            "show_results",
            "Show results",
            "Open the valid results of all stages as layers, without running anything.",
            self.show_results,
        )
        self._raw = controls.button(
            self,
            "show_raw",
            "Show the raw images",
            "Open the pre-stain and the post-stain image as layers.",
            self.show_raw,
        )
        controls.column(self._words, self._results, self._raw, parent=self, margin=0)
        session.source_changed.connect(self.offer)
        session.status_changed.connect(self._on_status)
        session.jobs.busy_changed.connect(self.offer)
        self._on_status()

    def show_results(self) -> None:
        """Open the valid results of all stages as layers."""
        self._message.clear()
        self._session.show_results(
            on_error=self._message.error, on_result=self._on_shown
        )

    def show_raw(self) -> None:
        """Open the raw pair as layers."""
        self._message.clear()
        self._picture.show_raw(self._message.error)

    def _on_shown(self, count: int) -> None:
        if not count:
            self._message.warning(
                "There are no valid results with these settings; press Run all."
            )

    def _on_status(self, _lines: object = None) -> None:
        result = self._session.stored_result
        words = summary_words(result, pipeline.stages_done(self._session.status))
        is_done = result is None or result.state == State.DONE
        self._words.say(words, "" if is_done else TROUBLE)
        self.offer()

    def offer(self, _what: object = None) -> None:
        """Offer the results that are valid and not in the viewer, or the raw images."""
        idle = not self._session.jobs.is_busy
        self._results.setVisible(idle and self._picture.has_more)
        self._raw.setVisible(idle and self._picture.has_raw_only)
