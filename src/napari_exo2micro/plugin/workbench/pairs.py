"""Pairs of any name: files dragged, or chosen with a button, into a table."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from qtpy import QtWidgets
from qtpy.QtCore import QMimeData, Qt, Signal
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent

from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.raw import (
    TABLE_NAME,
    PairProposal,
    propose_pairs,
    row_texts,
    suggested_names,
    table_row,
    write_pair_table,
)
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

_COLUMNS = {
    "sample": "sample",
    "dye": "dye",
    "post": "post-stain",
    "pre": "pre-stain",
    "page": "page",
    "channel": "channel",
    "pixel_size": "pixel, µm",
    "landmarks": "landmarks",
    "regions": "regions",
}
_NAMES = tuple(_COLUMNS)
_SIDES = {"post": _NAMES.index("post"), "pre": _NAMES.index("pre")}
_HELP = (
    "Drag an image onto post-stain or pre-stain of a pair, or choose it and press a "
    "button; a double click puts it where one is missing. Sample, dye and the "
    "columns after pre-stain are typed."
)


class ImageList(QtWidgets.QListWidget):
    """Images without a partner, which can be dragged."""

    def mimeData(self, items: Iterable[QtWidgets.QListWidgetItem]) -> QMimeData:
        """Return the name of the image that is dragged."""
        data = QMimeData()
        data.setText(next((item.text() for item in items), ""))
        return data


class PairList(QtWidgets.QTableWidget):
    """Pairs, one a row; images are dropped on it."""

    dropped = Signal(str, int, int)  # image, row (-1: below the last one), column

    def __init__(self, parent: QtWidgets.QWidget) -> None:
        super().__init__(0, len(_COLUMNS), parent)
        self.setObjectName("pair_table")
        self.setHorizontalHeaderLabels(list(_COLUMNS.values()))
        self.setSelectionBehavior(self.SelectionBehavior.SelectRows)
        self.setSelectionMode(self.SelectionMode.SingleSelection)
        self.setAcceptDrops(True)
        header = self.horizontalHeader()
        assert header is not None
        header.setSectionResizeMode(header.ResizeMode.ResizeToContents)
        for column in _SIDES.values():
            header.setSectionResizeMode(column, header.ResizeMode.Stretch)

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take images of the list beside it only."""
        if event is not None and isinstance(event.source(), ImageList):
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent | None) -> None:
        """Take them anywhere."""
        if event is not None and isinstance(event.source(), ImageList):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Tell what was dropped where."""
        data = event.mimeData() if event is not None else None
        if event is None or data is None:
            return
        place = event.position().toPoint()
        self.dropped.emit(data.text(), self.rowAt(place.y()), self.columnAt(place.x()))
        event.acceptProposedAction()


class PairsWindow(QtWidgets.QDialog):
    """Makes pairs of the images of a raw folder, and writes them to its table."""

    def __init__(
        self,
        session: Session,
        on_saved: Callable[[], None],
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        assert session.raw_dir is not None
        self._raw_dir: Path = session.raw_dir
        self._on_saved = on_saved
        self.setObjectName("pairs")
        self.setWindowTitle(f"Pairs of images in {self._raw_dir}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(1100, 480)
        self._words = controls.WordsLabel("pairs_words", self)
        self.images = ImageList(self)
        self.images.setObjectName("images")
        self.images.setDragEnabled(True)
        self.images.setToolTip("Images of the raw folder without a partner.")
        self.pairs = PairList(self)
        tip = "Put the chosen image there, in the chosen pair or in a new one."
        as_post, as_pre = (
            controls.button(self, f"as_{side}", f"As {side}-stain", tip)
            for side in _SIDES
        )
        take_out = controls.button(
            self, "take_out", "Take the pair apart", "Its images go back to the list."
        )
        self._save = controls.button(
            self, "save_pairs", "Save", f"Write {TABLE_NAME} in the raw folder."
        )
        left = controls.column("Images without a partner", (self.images, 1))
        right = controls.column("Pairs", (self.pairs, 1))
        self.problem = controls.WordsLabel("pairs_problem", self)
        controls.column(
            self._words,
            (controls.row((left, 2), (right, 5)), 1),
            self.problem,
            controls.row(as_post, as_pre, take_out, None, self._save),
            parent=self,
        )
        self.images.itemDoubleClicked.connect(lambda _item: self.use_image())
        self.pairs.dropped.connect(self._drop)
        as_post.clicked.connect(lambda: self.use_image("post"))
        as_pre.clicked.connect(lambda: self.use_image("pre"))
        take_out.clicked.connect(lambda: self.take_apart())
        self._save.clicked.connect(lambda: self.save())
        self._words.say(f"Looking into {self._raw_dir} …")
        self._save.setEnabled(False)
        self._job = session.jobs.start(
            propose_pairs,
            title="looking for images without a partner",
            on_result=self._fill,
            on_error=self._fail,
            newest="pairs",
            raw_dir=self._raw_dir,
        )
        self.finished.connect(self._job.cancel)

    def _fail(self, text: str) -> None:
        self._words.say(text)

    def _fill(self, found: PairProposal) -> None:
        """Show the pairs of the table and those that names suggest."""
        told = [row for row in found.known if row.number]
        for row in (*told, *found.proposed):
            self._add(row_texts(self._raw_dir, row))
        for path in found.left:
            self.images.addItem(path.relative_to(self._raw_dir).as_posix())
        by_name = len(found.known) - len(told)
        words = [_HELP]
        if found.proposed:
            words.append(f"Suggested by names, to be checked: {len(found.proposed)}.")
        if by_name:
            words.append(f"Found by their names, without a row: {by_name}.")
        self._words.say(" ".join(words))
        self._save.setEnabled(True)

    def _add(self, texts: Mapping[str, str]) -> int:
        """Add a pair and return its row."""
        number = self.pairs.rowCount()
        self.pairs.insertRow(number)
        for column, name in enumerate(_NAMES):
            item = QtWidgets.QTableWidgetItem(texts.get(name, ""))
            item.setToolTip(literal(texts.get(name, "")))
            if name in _SIDES:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
            self.pairs.setItem(number, column, item)
        return number

    def _text(self, row: int, name: str) -> str:
        item = self.pairs.item(row, _NAMES.index(name))
        return item.text().strip() if item is not None else ""

    def use_image(self, side: str = "") -> None:
        """Put the chosen image on a side of the chosen pair, or where one is missing.

        Where that is taken, in a new pair.
        """
        item = self.images.currentItem()
        if item is None:
            self.problem.say("Choose an image in the list first.")
            return
        row = self.pairs.currentRow()
        free = [s for s in _SIDES if row >= 0 and not self._text(row, s)]
        if side and side not in free:
            row = -1
        self._put(item.text(), row if free else -1, side or next(iter(free), "post"))

    def _drop(self, image: str, row: int, column: int) -> None:
        free = [s for s in _SIDES if row >= 0 and not self._text(row, s)]
        side = next((s for s, at in _SIDES.items() if at == column), "")
        self._put(image, row, side or next(iter(free), "post"))

    def _put(self, image: str, row: int, side: str) -> None:
        """Put an image on a side of a pair; what was there goes back to the list."""
        if row < 0:
            sample, dye = suggested_names(self._raw_dir, self._raw_dir / image)
            row = self._add({"sample": sample, "dye": dye})
        cell = self.pairs.item(row, _SIDES[side])
        assert cell is not None
        if cell.text():
            self.images.addItem(cell.text())
        cell.setText(image)
        cell.setToolTip(literal(image))
        for item in self.images.findItems(image, Qt.MatchFlag.MatchExactly):
            self.images.takeItem(self.images.row(item))
        self.pairs.selectRow(row)
        self.problem.say("")

    def take_apart(self) -> None:
        """Remove the chosen pair; its images are without a partner again."""
        row = self.pairs.currentRow()
        if row < 0:
            self.problem.say("Choose a pair in the table first.")
            return
        for side in _SIDES:
            if image := self._text(row, side):
                self.images.addItem(image)
        self.pairs.removeRow(row)

    def save(self) -> None:
        """Write the table and close, or say what is missing."""
        try:
            rows = [
                table_row(
                    self._raw_dir,
                    number + 2,
                    {name: self._text(number, name) for name in _NAMES},
                )
                for number in range(self.pairs.rowCount())
            ]
            write_pair_table(self._raw_dir, rows)
        except Exo2MicroError as error:
            self.problem.say(str(error), controls.label_style("warning"))
            return
        self._on_saved()
        self.accept()
