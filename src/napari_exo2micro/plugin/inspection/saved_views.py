"""Saved views: places with a name, to go back to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtCore import QObject, QSize, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.alignment import (
    VIEWS_FILE,
    SavedView,
    load_views,
    save_views,
)
from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.plugin.inspection.box import InspectionBox
from napari_exo2micro.plugin.inspection.zoom import ZoomBox
from napari_exo2micro.plugin.layers.layers import camera_place, move_camera
from napari_exo2micro.plugin.layers.pair import find_section
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip, button
from napari_exo2micro.plugin.widgets.errors import literal

_Source = tuple[str, str, str]


@dataclass(slots=True)
class _List:
    views: list[SavedView] = field(default_factory=list)
    is_read: bool = False


class ViewLists(QObject):
    """Keeps a list for each folder, sample and dye that a session works on.

    The file next to the results is read once; from then on the list is what a person
    makes of it, until they write it. The lists live as long as the viewer does, a dock
    that shows them may come and go: get them with `ViewLists.of`.

    Parameters
    ----------
    session : Session
        Tells which list is the present one.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._lists: dict[_Source, _List] = {}

    @classmethod
    def of(cls, session: Session) -> ViewLists:
        """Return those of a session, made when they are first asked for."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    @property
    def path(self) -> Path | None:
        """Where the file of the present list lies; None without a sample."""
        session = self._session
        if not (session.sample and session.dye):
            return None
        return session.output_dir / session.sample / session.dye / VIEWS_FILE

    @property
    def views(self) -> list[SavedView]:
        """The present list, to be changed."""
        return self._present().views

    def read_file(self) -> int:
        """Read the file next to the results, if that was not done yet.

        Views that were kept before any sample was chosen join the list of theirs.

        Returns
        -------
        int
            How many views the file gave.

        Raises
        ------
        ParameterError
            When there is a file, and it cannot be read.
        """
        path, present = self.path, self._present()
        if path is None:
            return 0
        self._take_unowned(present)
        if present.is_read or not path.is_file():
            return 0
        present.is_read = True
        found = load_views(path)
        names = {view.name for view in present.views}
        new = [view for view in found if view.name not in names]
        present.views[:0] = new
        return len(new)

    def was_written(self, path: Path) -> None:
        """Tell that the present list was written: its own file needs no reading."""
        if self.path is not None and path.absolute() == self.path.absolute():
            self._present().is_read = True

    def _source(self) -> _Source:
        session = self._session
        if self.path is None:
            return "", "", ""
        return str(session.output_dir.absolute()), session.sample, session.dye

    def _present(self) -> _List:
        return self._lists.setdefault(self._source(), _List())

    def _take_unowned(self, present: _List) -> None:
        unowned = self._lists.get(("", "", ""))
        if unowned is None:
            return
        owner = self._session.sample, self._session.dye
        names = {view.name for view in present.views}
        own = [view for view in unowned.views if (view.sample, view.dye) == owner]
        present.views += [view for view in own if view.name not in names]
        unowned.views = [view for view in unowned.views if view not in own]


_FILTER = "Saved views (*.json)"


class SavedViewsBox(InspectionBox):
    """A list of views; each holds the camera and the zoom box.

    Each sample and dye has a list of its own, see `ViewLists`; the one that lies next
    to the results is read when the sample is chosen.

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
        super().__init__(
            "Saved views", "saved_views_box", session.viewer, message, parent
        )
        self._session, self._zoom = session, zoom
        self._lists = ViewLists.of(session)
        self._shown: list[SavedView] = []
        self._name = QLineEdit(self)
        self._name.setObjectName("view_name")
        self._name.setPlaceholderText("name of this view")
        self._name.setToolTip("What to call the place that you look at now")
        save = button(
            self, "view_save", "Keep", "Keep this view and this zoom box under the name"
        )
        self._list = QListWidget(self)
        self._list.setObjectName("view_list")
        self._list.setToolTip("Double-click to go there")
        self._list.setFixedHeight(110)
        go = button(self, "view_go", "Go there", "Look at the chosen view again")
        remove = button(self, "view_remove", "Remove", "Take the view off the list")
        write = button(
            self,
            "view_write",
            "Write list…",
            "Save the list as a file, next to the results",
        )
        read = button(self, "view_read", "Read list…", "Open a list that was saved")
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
        self._connections.add(session.source_changed, self._show_present)
        self._connections.add(session.results_changed, self._on_results)
        self._show_present()

    @property
    def views(self) -> list[SavedView]:
        """The views on the list."""
        return list(self._lists.views)

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
        self._lists.was_written(written)
        self._message.note(f"{_count(len(self._views))} written to {written}.")

    def read(self, path: str | Path) -> None:
        """Open a list; views of the same names are replaced."""
        try:
            found = load_views(path)
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
            return
        names = {view.name for view in found}
        self._views[:] = [one for one in self._views if one.name not in names] + found
        self._message.note(f"{_count(len(found))} read from {path}.")
        self._show()

    def _on_results(self, _stage: int) -> None:
        self._show_present()

    def _show_present(self) -> None:
        """Show the list of the present sample; its file is read the first time."""
        try:
            count = self._lists.read_file()
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
        else:
            if count:
                self._message.note(f"{_count(count)} read from {self._lists.path}.")
        if self._shown != self._lists.views:
            self._show()

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

    @property
    def _views(self) -> list[SavedView]:
        return self._lists.views

    def _show(self, name: str = "") -> None:
        self._shown = self.views
        self._list.clear()
        for view in self._views:
            item = QListWidgetItem(view.name, self._list)
            item.setSizeHint(QSize(0, 22))
            told = (
                f"{view.name}: {_words(view)}\nrow {view.row:.0f}, column "
                f"{view.column:.0f}, zoom {view.zoom:.3g}; zoom box at row "
                f"{view.box_row}, column {view.box_column}, {view.box_size} px"
            )
            item.setToolTip(literal(told))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            if view.name == name:
                self._list.setCurrentItem(item)

    def _ask_write(self) -> None:
        if not self._views:
            self._chosen()
            return
        start = self._lists.path or Path.cwd() / VIEWS_FILE
        path, _ = QFileDialog.getSaveFileName(
            self, "Write the saved views", str(start), _FILTER
        )
        if path:
            self.write(path if Path(path).suffix else f"{path}.json")

    def _ask_read(self) -> None:
        start = self._lists.path or Path.cwd()
        path, _ = QFileDialog.getOpenFileName(
            self, "Read saved views", str(start.parent), _FILTER
        )
        if path:
            self.read(path)


def _words(view: SavedView) -> str:
    return f"{view.sample}, {view.dye}" if view.sample else "no sample of ours"


def _count(number: int) -> str:
    return "1 view" if number == 1 else f"{number} views"
