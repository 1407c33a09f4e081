"""The raw folder of a session: what it holds, and which of its pairs is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.raw import diagnose_raw_layout, discover_tasks
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.session.settings import default_source, read_defaults


@dataclass(frozen=True, slots=True)
class RawOverview:
    """What a raw folder holds."""

    raw_dir: Path
    #: Sample and dye of each pair that can be used.
    pairs: tuple[tuple[str, str], ...] = ()
    #: Why none can be used, with the fix; empty when one can.
    problem: str = ""
    #: What was left out or looks odd, and why; one line each.
    troubles: tuple[str, ...] = ()
    #: Pairs with files that cannot be used, and why.
    problems: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def samples(self) -> list[str]:
        """Samples with a pair that can be used."""
        return list(dict.fromkeys(sample for sample, _ in self.pairs))

    def dyes(self, sample: str) -> list[str]:
        """Return the dyes of a sample's pairs."""
        return [dye for known, dye in self.pairs if known == sample]

    def in_words(self) -> str:
        """Return the problem, or how much there is."""
        if self.problem:
            return self.problem
        samples = _count(len(self.samples), "sample")
        return f"{samples}, {_count(len(self.pairs), 'pair')} of images"


def look_into(raw_dir: Path, monitor: Monitor) -> RawOverview:
    """Return what a raw folder holds; nothing is opened, only names are read."""
    monitor.check()
    layout = diagnose_raw_layout(raw_dir)
    if not layout.is_usable:
        return RawOverview(raw_dir, problem=layout.message)
    monitor.check()
    tasks = discover_tasks(raw_dir=layout)
    skipped = [f"{task.sample}: {task.reason}" for task in tasks.skipped]
    empty = [f"{name}: no TIFF files in it" for name in layout.empty_samples]
    troubles = tuple(dict.fromkeys([*skipped, *tasks.warnings, *empty]))
    problem = ""
    if not tasks.present:
        why = troubles[0] if troubles else "no file name tells a pair"
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        problem = (
            f"{raw_dir}: no sample has a pair of one pre-stain and one post-stain "
            f"image; {why}{more}"
        )
    problems = {(task.sample, task.dye): task.reason for task in tasks.skipped}
    return RawOverview(raw_dir, tasks.present, problem, troubles, problems)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


class RawFolder(QObject):
    """What the raw folder of a session holds; get it with `RawFolder.of`.

    All panels of a viewer share it, so that a slow network drive is read once. A
    pair that nobody chose, the first one of a folder, gives way to a pair that a
    person opens in the viewer.

    Attributes
    ----------
    changed : Signal()
        The folder is being looked at, or was.
    other_opened : Signal(str)
        A person who works on one pair opened another one, in words.
    overview : RawOverview or None
        What the folder holds; None before one was looked at.
    looking : Path or None
        The folder that is being looked at.
    """

    changed = Signal()
    other_opened = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.overview: RawOverview | None = None
        self.looking: Path | None = None
        self._has_own_output = session.output_dir != Path("processed")
        self._automatic: tuple[object, ...] = ()
        self._may_choose = False  # a pair that a person left is not chosen again
        session.source_changed.connect(self._follow)
        if session.raw_dir is None and not session.sample:
            session.set_source(**default_source())
            self._has_own_output = read_defaults().output_dir is not None
        self._follow()

    @classmethod
    def of(cls, session: Session) -> RawFolder:
        """Return the raw folder of a session, made when it is first asked for."""
        folder = session.findChild(cls)
        return folder if isinstance(folder, cls) else cls(session)

    @property
    def is_automatic(self) -> bool:
        """Whether the session works on the first pair, which nobody chose."""
        return self._source() == self._automatic

    def choose(self, folder: Path) -> None:
        """Take another raw folder, look for its pairs and choose the first one."""
        output = None
        if not self._has_own_output:
            output = read_defaults().output_dir_for(folder)
        self._session.set_source(raw_dir=folder, output_dir=output, sample="", dye="")

    def choose_output(self, folder: Path) -> None:
        """Take another folder for the results."""
        self._has_own_output = True
        self._session.set_source(output_dir=folder)

    def look_again(self) -> None:
        """Look into the raw folder anew: files may have come."""
        folder = self._session.raw_dir
        if folder is None:
            return
        self.looking = folder
        self._may_choose = not self._session.sample
        self.changed.emit()
        self._session.jobs.start(
            look_into,
            title=f"looking into {folder}",
            on_result=self._on_look,
            on_error=self._on_look_failed,
            newest="raw folder",
            show_progress=False,
            raw_dir=folder,
        )

    def _follow(self) -> None:
        """Look at a folder that was chosen elsewhere."""
        if not self.is_automatic:
            self._automatic = ()
        folder = self._session.raw_dir
        seen = self.overview.raw_dir if self.overview else None
        if folder not in (None, self.looking, seen):
            self.overview = None
            self.look_again()

    def _on_look(self, overview: RawOverview) -> None:
        self.overview, self.looking = overview, None
        session = self._session
        if overview.pairs and self._may_choose and not session.sample:
            sample, dye = overview.pairs[0]
            self._automatic = (session.raw_dir, sample, dye)
            session.set_source(sample=sample, dye=dye)
        self.changed.emit()

    def _on_look_failed(self, text: str) -> None:
        self._on_look(RawOverview(self._session.raw_dir or Path(), problem=text))

    def _source(self) -> tuple[object, ...]:
        session = self._session
        return (session.raw_dir, session.sample, session.dye)

    def take_opened(self, known: Mapping[str, Any]) -> bool:
        """Choose the source that an opened layer's metadata name; return whether.

        Where a person works on another pair, `other_opened` is emitted instead.
        """
        session = self._session
        if session.jobs.is_busy:
            return False
        if not session.has_source or self.is_automatic:
            return take_source(session, known)
        pair = (str(known.get("sample") or ""), str(known.get("dye") or ""))
        if all(pair) and pair != (session.sample, session.dye):
            self.other_opened.emit(" / ".join(pair))
        return False


def take_source(session: Session, known: Mapping[str, Any]) -> bool:
    """Choose the source that a layer's metadata name; false when they name none."""
    sample, dye = str(known.get("sample") or ""), str(known.get("dye") or "")
    raw_dir, output_dir = known.get("raw_dir"), known.get("output_dir")
    if not (sample and dye and (raw_dir or output_dir)):
        return False
    if raw_dir and not output_dir and Path(raw_dir) != session.raw_dir:
        output_dir = read_defaults().output_dir_for(raw_dir)
    session.set_source(
        raw_dir=raw_dir or None, output_dir=output_dir or None, sample=sample, dye=dye
    )
    return True
