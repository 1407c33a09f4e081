"""What the channels of the raw files hold: a table in a window of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from napari_exo2micro.core.raw.survey import ChannelSurvey

__all__ = ["ChannelSurveyWindow"]

_HEADERS = ("file", "size, px", "type", "channel", "mean", "maximum", "not 0")
_NUMBERS_FROM = 4


class ChannelSurveyWindow(QDialog):
    """A table of the raw files: size, type and brightness of each channel.

    The files are read in the background, a centre of 1000 x 1000 px of each. The
    window says itself when that fails or is stopped.

    Parameters
    ----------
    session : Session
        Tells the raw folder and the sample; without a sample all are looked at.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("channel_survey")
        what = session.sample or "all samples"
        self.setWindowTitle(f"Channels of the raw files of {what}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 320)
        self._words = QLabel(f"Looking at the raw files of {what} …", self)
        self._words.setObjectName("survey_words")
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._table = QTableWidget(0, len(_HEADERS), self)
        self._table.setObjectName("survey_table")
        self._table.setHorizontalHeaderLabels(list(_HEADERS))
        self._table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self._table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        layout = QVBoxLayout(self)
        layout.addWidget(self._words)
        layout.addWidget(self._table, 1)
        self._is_looking = True
        self._job = session.jobs.start(
            _survey,
            title="looking at the channels of the raw files",
            on_result=self._fill,
            on_error=self._on_error,
            on_finished=self._on_finished,
            newest="channel survey",
            raw_dir=session.raw_dir,
            sample=session.sample,
        )
        self.finished.connect(self._job.cancel)

    def _on_error(self, text: str) -> None:
        self._is_looking = False
        self._words.setText(f"The channels cannot be shown: {text}")

    def _on_finished(self) -> None:
        if self._is_looking:
            self._words.setText(
                "Stopped before the files were read. Close this window and press "
                "'Channels…' to look again."
            )

    def _fill(self, files: Sequence[ChannelSurvey]) -> None:
        self._is_looking = False
        rows = [row for file in files for row in _rows(file)]
        self._table.setRowCount(len(rows))
        for index, row in enumerate(rows):
            for column, text in enumerate(row):
                item = QTableWidgetItem(text)
                item.setToolTip(literal(text))
                if column >= _NUMBERS_FROM:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                self._table.setItem(index, column, item)
        self._table.resizeColumnsToContents()
        header = self._table.horizontalHeader()
        if header is not None:
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        troubles = [
            f"{file.path.name}: {text}" if file.path.name not in text else text
            for file in files
            for text in (file.problem, *file.warnings)
            if text
        ]
        count = f"{len(files)} files, the centre of each was looked at."
        self._words.setText("\n".join([count, *troubles]))


def _survey(raw_dir: Path, sample: str, monitor: Monitor) -> Sequence[ChannelSurvey]:
    from napari_exo2micro.core.raw import survey_raw_channels

    return survey_raw_channels(raw_dir, [sample] if sample else None, monitor=monitor)


def _rows(file: ChannelSurvey) -> list[tuple[str, ...]]:
    """Return a row for each channel; what concerns the file stands in the first."""
    size = f"{file.width} × {file.height}" if file.width else "cannot be read"
    head: tuple[str, ...] = (file.path.name, size, file.mode)
    if not file.channels:
        return [(*head, "", "", "", "")]
    area = max(file.crop[0] * file.crop[1], 1)
    rows = []
    for one in file.channels:
        share = f"{100 * one.nonzero / area:.0f} %"
        rows.append((*head, one.name, f"{one.mean:.2f}", f"{one.maximum:g}", share))
        head = ("", "", "")
    return rows
