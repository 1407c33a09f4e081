"""Saved views: places with a name, to go back to."""

from __future__ import annotations

import itertools
from pathlib import Path

from qtpy.QtCore import QObject, QSize, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
)

from napari_exo2micro.core.alignment import (
    VIEWS_FILE,
    SavedView,
    load_views,
    save_views,
)
from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.plugin.inspection.box import InspectionBox, Shared
from napari_exo2micro.plugin.inspection.zoom import ZoomBox
from napari_exo2micro.plugin.layers.layers import camera_place, move_camera
from napari_exo2micro.plugin.layers.pair import find_section
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import (
    ask_to_save,
    button,
    column,
    row,
)
from napari_exo2micro.plugin.widgets.errors import literal

_FILTER = "Saved views (*.json)"


class ViewLists(QObject):
    """Keeps a list for each folder, sample and dye that a session works on.

    The file next to the results is read once; from then on the list is what a person
    makes of it, until they write it. The lists live as long as the viewer does, a dock
    that shows them may come and go: get them with `ViewLists.of`.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._lists: dict[Path | None, list[SavedView]] = {}
        self._read: set[Path] = set()

    @classmethod
    def of(cls, session: Session) -> ViewLists:
        """Return those of a session, made when they are first asked for."""
        lists = session.findChild(cls)
        return lists if isinstance(lists, cls) else cls(session)

    @property
    def path(self) -> Path | None:
        """Where the file of the present list lies; None without a sample."""
        session = self._session
        if not (session.sample and session.dye):
            return None
        folder = session.output_dir.absolute()
        return folder / session.sample / session.dye / VIEWS_FILE

    @property
    def views(self) -> list[SavedView]:
        """The present list, to be changed."""
        return self._lists.setdefault(self.path, [])

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
        path, views = self.path, self.views
        if path is None:
            return 0
        unowned = self._lists.get(None, [])
        owner = self._session.sample, self._session.dye
        own = [view for view in unowned if (view.sample, view.dye) == owner]
        self._lists[None] = [view for view in unowned if view not in own]
        names = {view.name for view in views}
        views += [view for view in own if view.name not in names]
        if path in self._read or not path.is_file():
            return 0
        self._read.add(path)
        names = {view.name for view in views}
        new = [view for view in load_views(path) if view.name not in names]
        views[:0] = new
        return len(new)

    def was_written(self, path: Path) -> None:
        """Tell that the present list was written: its own file needs no reading."""
        if path.absolute() == self.path:
            self._read.add(path.absolute())


class SavedViewsBox(InspectionBox):
    """A list of views; each holds the camera and the zoom box.

    Each sample and dye has a list of its own, see `ViewLists`; the one that lies next
    to the results is read when the sample is chosen.

    Parameters
    ----------
    zoom : ZoomBox
        Whose place they hold.
    shared : Shared
        As for every box.
    """

    HEADING = "Saved views"
    NAME = "saved_views_box"

    def __init__(self, zoom: ZoomBox, shared: Shared) -> None:
        super().__init__(shared)
        self._zoom = zoom
        self._lists = ViewLists.of(self._session)
        self._shown: list[SavedView] = []
        self._name = QLineEdit(self)
        self._name.setObjectName("view_name")
        self._name.setPlaceholderText("name of this view")
        self._name.setToolTip("What to call the place that you look at now")
        self._name.returnPressed.connect(self.keep)
        self._list = QListWidget(self)
        self._list.setObjectName("view_list")
        self._list.setToolTip("Double-click to go there")
        self._list.setFixedHeight(110)
        self._list.itemDoubleClicked.connect(lambda _: self.go())
        save = button(
            self, "view_save", "Keep", "Keep this view and this zoom box under the name"
        )
        go = button(self, "view_go", "Go there", "Look at the chosen view again")
        remove = button(self, "view_remove", "Remove", "Take the view off the list")
        write = button(
            self,
            "view_write",
            "Write list…",
            "Save the list as a file, next to the results",
        )
        read = button(self, "view_read", "Read list…", "Open a list that was saved")
        save.clicked.connect(self.keep)
        go.clicked.connect(self.go)
        remove.clicked.connect(self.remove)
        write.clicked.connect(self._ask_write)
        read.clicked.connect(self._ask_read)
        column(
            row((self._name, 1), save),
            self._list,
            row(go, remove),
            row(write, read),
            parent=self,
        )
        self._connections.add(self._session.source_changed, self._show_present)
        self._connections.add(self._session.results_changed, self._show_present)
        self._show_present()

    @property
    def views(self) -> list[SavedView]:
        """The views on the list, to be changed."""
        return self._lists.views

    def keep(self) -> None:
        """Keep the camera and the zoom box under the name; a same name is replaced."""
        names = [view.name for view in self.views]
        numbered = (f"view {number}" for number in itertools.count(1))
        free = (name for name in numbered if name not in names)
        name = self._name.text().strip() or next(free)
        section = find_section(self._session)
        row, column, zoom = camera_place(self._viewer)
        box_row, box_column, size, blur = self._zoom.place
        owner = section.sample, section.dye
        view = SavedView(
            name, row, column, zoom, box_row, box_column, size, blur, *owner
        )
        if name in names:
            self.views[names.index(name)] = view
        else:
            self.views.append(view)
        self._name.clear()
        self._show(name)

    def go(self) -> None:
        """Look at the chosen view again."""
        view = self._chosen()
        if view is None:
            return
        section = find_section(self._session)
        if section.sample and view.sample and section.words != _owner(view):
            self._message.warning(
                f"The view '{view.name}' was saved of {_owner(view)}; {section.words} "
                "is shown now. Its place may show something else there."
            )
        else:
            self._message.clear()
        move_camera(self._viewer, view.row, view.column, view.zoom)
        self._zoom.set_place(view.box_row, view.box_column, view.box_size, view.blur)

    def remove(self) -> None:
        """Take the chosen view off the list."""
        view = self._chosen()
        if view is not None:
            self.views.remove(view)
            self._show()

    def write(self, path: str | Path) -> None:
        """Write the list as a file."""
        try:
            written = save_views(path, self.views)
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
            return
        self._lists.was_written(written)
        self._message.note(f"{_count(len(self.views))} written to {written}.")

    def read(self, path: str | Path) -> None:
        """Open a list; views of the same names are replaced."""
        try:
            new = load_views(path)
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
            return
        names = {view.name for view in new}
        self.views[:] = [view for view in self.views if view.name not in names] + new
        self._message.note(f"{_count(len(new))} read from {path}.")
        self._show()

    def _show_present(self, _stage: int = 0) -> None:
        """Show the list of the present sample; its file is read the first time."""
        try:
            count = self._lists.read_file()
        except (Exo2MicroError, OSError) as error:
            self._message.error(str(error))
        else:
            if count:
                self._message.note(f"{_count(count)} read from {self._lists.path}.")
        if self._shown != self.views:
            self._show()

    def _chosen(self) -> SavedView | None:
        number = self._list.currentRow()
        if 0 <= number < len(self.views):
            return self.views[number]
        self._message.note(
            "Choose a view in the list first."
            if self.views
            else "There are no saved views yet: give this one a name and press 'Keep'."
        )
        return None

    def _show(self, name: str = "") -> None:
        self._shown = list(self.views)
        self._list.clear()
        for view in self.views:
            item = QListWidgetItem(view.name, self._list)
            item.setSizeHint(QSize(0, 22))
            told = (
                f"{view.name}: {_owner(view)}\nrow {view.row:.0f}, column "
                f"{view.column:.0f}, zoom {view.zoom:.3g}; zoom box at row "
                f"{view.box_row}, column {view.box_column}, {view.box_size} px"
            )
            item.setToolTip(literal(told))
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            if view.name == name:
                self._list.setCurrentItem(item)

    def _ask_write(self) -> None:
        if not self.views:
            self._chosen()
            return
        start = self._lists.path or Path.cwd() / VIEWS_FILE
        path = ask_to_save(self, "Write the saved views", start, _FILTER)
        if path is not None:
            self.write(path)

    def _ask_read(self) -> None:
        start = (self._lists.path or Path.cwd() / VIEWS_FILE).parent
        path, _ = QFileDialog.getOpenFileName(
            self, "Read saved views", str(start), _FILTER
        )
        if path:
            self.read(path)


def _owner(view: SavedView) -> str:
    return f"{view.sample}, {view.dye}" if view.sample else "no sample of ours"


def _count(number: int) -> str:
    return "1 view" if number == 1 else f"{number} views"
