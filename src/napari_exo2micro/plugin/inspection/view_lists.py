"""The lists of saved views of one viewer: one for each sample and dye."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qtpy.QtCore import QObject

from napari_exo2micro.core.saved_views import VIEWS_FILE, SavedView, load_views
from napari_exo2micro.plugin.session import Session

__all__ = ["ViewLists"]

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
