"""Saved views: places with a name, to go back to."""

from __future__ import annotations

import itertools
from pathlib import Path

from qtpy.QtCore import QObject, QSize, Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem

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
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

_FILTER = "Saved views (*.json)"
_KEEP_TIP = "Keep this view and this zoom box under the name"
_WRITE_TIP = "Save the list as a file, next to the results"


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
        Returns how many views the file gave.
        """
        path, views = self.path, self.views
        if path is None:
            return 0
        unowned = self._lists.get(None, [])
        owner = self._session.sample, self._session.dye
        own = [view for view in unowned if (view.sample, view.dye) == owner]
        self._lists[None] = [view for view in unowned if view not in own]
        views += _others(own, views)
        if path in self._read or not path.is_file():
            return 0
        self._read.add(path)
        new = _others(load_views(path), views)
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
    """

    HEADING = "Saved views"
    NAME = "saved_views_box"

    def __init__(self, panel: Panel, zoom: ZoomBox) -> None:
        super().__init__(panel)
        self._zoom = zoom
        self._lists = ViewLists.of(self._session)
        self._shown: list[SavedView] = []
        tip = "What to call the place that you look at now"
        self._name = controls.line_edit(self, "view_name", tip, "name of this view")
        self._name.returnPressed.connect(self.keep)
        self._list = QListWidget(self)
        self._list.setObjectName("view_list")
        self._list.setToolTip("Double-click to go there")
        self._list.setFixedHeight(110)
        self._list.itemDoubleClicked.connect(lambda _: self.go())
        keep, go, remove, write, read = (
            controls.button(self, f"view_{name}", text, tip, slot)
            for name, text, tip, slot in (
                ("save", "Keep", _KEEP_TIP, self.keep),
                ("go", "Go there", "Look at the chosen view again", self.go),
                ("remove", "Remove", "Take the view off the list", self.remove),
                ("write", "Write list…", _WRITE_TIP, self._ask_write),
                ("read", "Read list…", "Open a list that was saved", self._ask_read),
            )
        )
        controls.column(
            controls.row((self._name, 1), keep),
            self._list,
            controls.row(go, remove),
            controls.row(write, read),
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
        self.views[:] = _others(self.views, new) + new
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
        path = controls.ask_to_save(self, "Write the saved views", start, _FILTER)
        if path is not None:
            self.write(path)

    def _ask_read(self) -> None:
        start = (self._lists.path or Path.cwd() / VIEWS_FILE).parent
        path = controls.ask_to_open(self, "Read saved views", start, _FILTER)
        if path is not None:
            self.read(path)


def _others(views: list[SavedView], known: list[SavedView]) -> list[SavedView]:
    """Return the views whose names are not known."""
    names = {view.name for view in known}
    return [view for view in views if view.name not in names]


def _owner(view: SavedView) -> str:
    return f"{view.sample}, {view.dye}" if view.sample else "no sample of ours"


def _count(number: int) -> str:
    return "1 view" if number == 1 else f"{number} views"
