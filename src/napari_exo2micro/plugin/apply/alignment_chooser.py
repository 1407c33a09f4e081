"""The list of alignments that are at hand: of layers, of the session, of files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from napari_exo2micro.core.alignments import Alignment
from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.core.transforms import Transform
from napari_exo2micro.plugin.layers import about
from napari_exo2micro.plugin.session import Session

__all__ = ["AlignmentChoice", "AlignmentChooser", "alignments_in"]


@dataclass(frozen=True, slots=True)
class AlignmentChoice:
    """One line of the list.

    Attributes
    ----------
    title : str
        In words.
    alignment : Alignment or callable
        Or a function that reads it, to be called in a thread.
    owner : tuple of str
        Sample and dye; empty texts where they are not known.
    """

    title: str
    alignment: Alignment | Callable[[], Alignment]
    owner: tuple[str, str] = ("", "")


def alignments_in(viewer: ViewerModel) -> list[AlignmentChoice]:
    """Return the alignments of the viewer's layers, the topmost first, each once."""
    found: dict[tuple[object, ...], AlignmentChoice] = {}
    for layer in reversed(list(viewer.layers)):
        known = about(layer)
        if not known.get("transform") or "direction" in known:
            continue
        try:
            one = Alignment.from_header(known.get("header") or {})
            if one is None:
                x, y = (-int(side) for side in reversed(known["canvas_offset"]))
                one = Alignment(
                    Transform.from_dict(known["transform"]),
                    (x, y, 0, 0),
                    (x, y, 0, 0),
                    str(known.get("sample", "")),
                    str(known.get("dye", "")),
                    int(known.get("stage", 0)),
                )
        except (CheckpointError, KeyError, TypeError, ValueError):
            continue
        key = (one.sample, one.dye, one.transform)
        owner = (one.sample, one.dye)
        found.setdefault(key, AlignmentChoice(_title(one), one, owner))
    return list(found.values())


def _title(one: Alignment) -> str:
    what = STAGES[one.stage].title if one.stage in STAGES else "alignment"
    return f"{one.sample} {one.dye}: {what}".strip(": ")


class AlignmentChooser(QComboBox):
    """A list of alignments; what is chosen stays so while layers come and go.

    Parameters
    ----------
    session : Session
        Its viewer's layers, and the results of its sample and dye, are listed.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    chosen : Signal()
        Another one is chosen.
    """

    chosen = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._choices: list[AlignmentChoice] = []
        self._files: dict[Path, Alignment] = {}
        self.setObjectName("alignment")
        self.setToolTip(
            "Which alignment is applied: one of a layer in the viewer, the result of "
            "the chosen sample and dye, or one from a file"
        )
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)
        self.currentIndexChanged.connect(lambda _: self.chosen.emit())

    @property
    def choice(self) -> AlignmentChoice | None:
        """What is chosen; None when there is nothing to choose from."""
        index = self.currentIndex()
        return self._choices[index] if 0 <= index < len(self._choices) else None

    def load(self, path: Path | str) -> None:
        """Read an alignment from a file and choose it.

        Raises
        ------
        CheckpointError
            When the file holds none.
        """
        path = Path(path)
        self._files[path] = Alignment.load(path)
        self.refresh()
        first = self.count() - len(self._files)  # files stand last
        self.setCurrentIndex(first + list(self._files).index(path))

    def prefer(self, sample: str, dye: str) -> None:
        """Choose an alignment of a sample and dye, if there is one, not another's.

        Parameters
        ----------
        sample, dye : str
            Of the layer that is to be moved; empty if nobody knows.
        """
        owners = [choice.owner for choice in self._choices]
        chosen = self.choice
        if not sample or chosen is None or chosen.owner == (sample, dye):
            return
        if "" not in chosen.owner and (sample, dye) in owners:
            self.setCurrentIndex(owners.index((sample, dye)))

    def refresh(self) -> None:
        """List anew."""
        before = self.currentText()
        self._choices = alignments_in(self._session.viewer)
        session = self._session
        if session.sample and session.dye:
            title = f"{session.sample} {session.dye}: result in the output folder"
            owner = (session.sample, session.dye)
            self._choices.append(AlignmentChoice(title, _reader(session), owner))
        self._choices += [
            AlignmentChoice(_file_title(path), one, (one.sample, one.dye))
            for path, one in self._files.items()
        ]
        self._choices = _told_apart(self._choices)
        self.blockSignals(True)
        self.clear()
        self.addItems([choice.title for choice in self._choices])
        self.setCurrentIndex(max(self.findText(before), 0) if self._choices else -1)
        self.blockSignals(False)
        self.chosen.emit()


def _file_title(path: Path) -> str:
    return f"file {path.parent.name}/{path.name}"


def _told_apart(choices: list[AlignmentChoice]) -> list[AlignmentChoice]:
    """Return choices whose titles differ: those of equal ones are numbered."""
    seen: Counter[str] = Counter()
    named = []
    for choice in choices:
        seen[choice.title] += 1
        count = seen[choice.title]
        title = choice.title if count == 1 else f"{choice.title} ({count})"
        named.append(replace(choice, title=title))
    return named


def _reader(session: Session) -> Callable[[], Alignment]:
    """Return a function that reads the best alignment of the session's results."""

    def read() -> Alignment:
        task = session.task()
        for stage in (3, 2):
            found = task.checkpoint(stage, "pre")
            header = found.provenance.to_header() if found and found.provenance else {}
            one = Alignment.from_header(header)
            if one is not None:
                return one
        raise CheckpointError(
            f"{session.sample} {session.dye} has no valid alignment for these "
            "parameters yet; run stages 1 to 3 in the workbench first"
        )

    return read
