"""Saved views: places with a name, to go back to."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.errors import Exo2MicroError
from napari_exo2micro.core.saved_views import (
    VIEWS_FILE,
    SavedView,
    load_views,
    save_views,
)
from napari_exo2micro.plugin.inspection.section_layers import find_section
from napari_exo2micro.plugin.inspection.zoom_box import ZoomBox
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.view import camera_place, move_camera

__all__ = ["SavedViewsBox"]

_FILTER = "Saved views (*.json)"


class SavedViewsBox(QGroupBox):
    """A list of views; each holds the camera and the zoom box.

    The list that lies next to a sample's results is read when the sample is chosen.

    Parameters
    ----------
    session : Session
        Whose viewer and sample they are of.
    zoom : ZoomBox
        Whose place they hold.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        session: Session,
        zoom: ZoomBox,
        message: MessageStrip,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Saved views", parent)
        self.setObjectName("saved_views_box")
        self._session, self._zoom, self._message = session, zoom, message
        self._views: list[SavedView] = []
        self._read_from: Path | None = None
        self._name = QLineEdit(self)
        self._name.setObjectName("view_name")
        self._name.setPlaceholderText("name of this view")
        self._name.setToolTip("What to call the place that you look at now")
        save = self._button(
            "Keep", "view_save", "Keep this view and this zoom box under the name"
        )
        self._list = QListWidget(self)
        self._list.setObjectName("view_list")
        self._list.setToolTip("Double-click to go there")
        self._list.setFixedHeight(110)
        go = self._button("Go there", "view_go", "Look at the chosen view again")
        remove = self._button("Remove", "view_remove", "Take the view off the list")
        write = self._button(
            "Write list…", "view_write", "Save the list as a file, next to the results"
        )
        read = self._button("Read list…", "view_read", "Open a list that was saved")
        first, second, third = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        first.addWidget(self._name, 1)
        first.addWidget(save)
        second.addWidget(go)
        second.addWidget(remove)
        third.addWidget(write)
        third.addWidget(read)
        layout = QVBoxLayout(self)
        layout.addLayout(first)
        layout.addWidget(self._list)
        layout.addLayout(second)
        layout.addLayout(third)
        save.clicked.connect(self.keep)
        self._name.returnPressed.connect(self.keep)
        go.clicked.connect(self.go)
        remove.clicked.connect(self.remove)
        self._list.itemDoubleClicked.connect(lambda _: self.go())
        write.clicked.connect(self._ask_write)
        read.clicked.connect(self._ask_read)
        session.source_changed.connect(self._read_stored)
        session.results_changed.connect(self._read_stored)
        self._read_stored()

    def _button(self, text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(name)
        button.setToolTip(tip)
        return button

    @property
    def views(self) -> list[SavedView]:
        """The views on the list."""
        return list(self._views)

    def keep(self) -> None:
        """Keep the camera and the zoom box under the name; a same name is replaced."""
        name = self._name.text().strip()
        if not name:
            number = 1
            known = {view.name for view in self._views}
            while f"view {number}" in known:
                number += 1
            name = f"view {number}"
        row, column, zoom = camera_place(self._session.viewer)
        section = find_section(self._session)
        box = self._zoom.place
        view = SavedView(
            name,
            row,
            column,
            zoom,
            box[0],
            box[1],
            box[2],
            box[3],
            section.sample,
            section.dye,
        )
        names = [one.name for one in self._views]
        if name in names:
            self._views[names.index(name)] = view
        else:
            self._views.append(view)
        self._name.clear()
        self._show(name)

    def go(self) -> None:
        """Look at the chosen view again."""
        view = self._chosen()
        if view is None:
            return
        section = find_section(self._session)
        if section.sample and view.sample and section.words != _words(view):
            self._message.warning(
                f"The view '{view.name}' was saved of {_words(view)}; {section.words} "
                "is shown now. Its place may show something else there."
            )
        else:
            self._message.clear()
        move_camera(self._session.viewer, view.row, view.column, view.zoom)
        self._zoom.set_place(view.box_row, view.box_column, view.box_size, view.blur)

    def remove(self) -> None:
        """Take the chosen view off the list."""
        view = self._chosen()
        if view is not None:
            self._views.remove(view)
            self._show()

    def write(self, path: str | Path) -> None:
        """Write the list as a file."""
        try:
            written = save_views(path, self._views)
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
            return
        self._read_from = written
        self._message.note(f"{_count(self._views)} written to {written}.")

    def read(self, path: str | Path) -> None:
        """Open a list; views of the same names are replaced."""
        try:
            found = load_views(path)
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
            return
        names = {view.name for view in found}
        self._views = [view for view in self._views if view.name not in names] + found
        self._message.note(f"{_count(found)} read from {path}.")
        self._show()

    def _read_stored(self, _stage: int = 0) -> None:
        """Read the list next to the results, once for each sample."""
        path = self._stored_path()
        if path is None or path == self._read_from or not path.is_file():
            return
        self._read_from = path
        self.read(path)

    def _stored_path(self) -> Path | None:
        session = self._session
        if not (session.sample and session.dye):
            return None
        return session.output_dir / session.sample / session.dye / VIEWS_FILE

    def _chosen(self) -> SavedView | None:
        row = self._list.currentRow()
        if 0 <= row < len(self._views):
            return self._views[row]
        self._message.note(
            "Choose a view in the list first."
            if self._views
            else "There are no saved views yet: give this one a name and press 'Keep'."
        )
        return None

    def _show(self, name: str = "") -> None:
        self._list.clear()
        for view in self._views:
            item = QListWidgetItem(view.name, self._list)
            item.setSizeHint(QSize(0, 22))
            item.setToolTip(
                f"{view.name}: {_words(view)}\nrow {view.row:.0f}, column "
                f"{view.column:.0f}, zoom {view.zoom:.3g}; zoom box at row "
                f"{view.box_row}, column {view.box_column}, {view.box_size} px"
            )
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            if view.name == name:
                self._list.setCurrentItem(item)

    def _ask_write(self) -> None:
        if not self._views:
            self._chosen()
            return
        start = self._stored_path() or Path.cwd() / VIEWS_FILE
        path, _ = QFileDialog.getSaveFileName(
            self, "Write the saved views", str(start), _FILTER
        )
        if path:
            self.write(path if Path(path).suffix else f"{path}.json")

    def _ask_read(self) -> None:
        start = self._stored_path() or Path.cwd()
        path, _ = QFileDialog.getOpenFileName(
            self, "Read saved views", str(start.parent), _FILTER
        )
        if path:
            self.read(path)


def _words(view: SavedView) -> str:
    return f"{view.sample}, {view.dye}" if view.sample else "no sample of ours"


def _count(views: list[SavedView]) -> str:
    return "1 view" if len(views) == 1 else f"{len(views)} views"
