"""Marks and words of a state: a shape and a colour for the eye, a word to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF

from napari_exo2micro.core.batch import BatchBoard, BatchSummary, clock_words
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    ParameterValue,
    State,
    value_words,
)

if TYPE_CHECKING:
    from napari_exo2micro.core.batch import Preflight


_SIDE = 32
_Lines = tuple[tuple[tuple[float, float], ...], ...]
_SIGNS: dict[str, _Lines] = {
    "tick": (((9, 17), (14, 22), (23, 11)),),
    "cross": (((11, 11), (21, 21)), ((21, 11), (11, 21))),
    "dash": (((10, 16), (22, 16)),),
    "warning": (((16, 12), (16, 19)), ((16, 24.5), (16, 25))),
    "ring": (),
}
_TRIANGLE = ((16, 3), (30, 29), (2, 29))


def state_icon(state: State | str) -> QIcon:
    """Return the mark of a state; the shapes differ too, not the colours alone."""
    state = State(state)
    pixmap = QPixmap(_SIDE, _SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour, whole = QColor(state.colour), QRectF(3, 3, _SIDE - 6, _SIDE - 6)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if state.mark == "ring":
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 3.2))
        painter.drawEllipse(whole.adjusted(3, 3, -3, -3))
    elif state.mark == "warning":
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in _TRIANGLE]))
    else:
        painter.drawEllipse(whole)
    pen = QPen(QColor("white"), 3.6)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for points in _SIGNS[state.mark]:
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))
    painter.end()
    return QIcon(pixmap)


def scale_words(value: float, uncertainty: float, title: str) -> str:
    """Return a scale with its error.

    Examples
    --------
    >>> scale_words(1.30012, 0.0004, "Moffat fit")
    '1.3001 ± 0.0004 (Moffat fit)'
    """
    error = f" ± {uncertainty:.1g}" if uncertainty else ""
    return f"{value:.5g}{error} ({title})"


#: What a batch's summary calls what became of a task -> what the window calls it.
KIND_WORDS = {
    "complete": "done",
    "degraded": "degraded",
    "failed": "failed",
    "skipped": "no files",
    "stopped": "stopped",
}


def pairs_sentence(summary: BatchSummary) -> str:
    """Return the counts of a batch: ``8 pairs: 6 done, 2 failed``.

    Parameters
    ----------
    summary : BatchSummary
        Of the batch.

    Examples
    --------
    >>> from napari_exo2micro.core.batch import summarise_batch
    >>> one = {"sample": "CD070", "dye": "DAPI", "status": "complete"}
    >>> pairs_sentence(summarise_batch([one, {**one, "status": "error: no disk"}]))
    '2 pairs: 1 done, 1 failed'
    """
    found = ((count, KIND_WORDS[kind]) for kind, count in summary.counts.items())
    counts = ", ".join(f"{count} {word}" for count, word in found if count)
    pairs = "1 pair" if summary.total == 1 else f"{summary.total} pairs"
    return f"{pairs}: {counts or 'nothing to do'}"


_MOST_TOLD = 3


def count_words(number: int) -> str:
    """Return a number of pairs.

    Examples
    --------
    >>> count_words(1), count_words(2)
    ('1 pair', '2 pairs')
    """
    return "1 pair" if number == 1 else f"{number} pairs"


def time_words(seconds: float) -> str:
    """Return a time that is not known to the second.

    Examples
    --------
    >>> time_words(23), time_words(200), time_words(7200)
    ('20 s', '3 min', '2.0 h')
    """
    if seconds < 50:
        return f"{max(round(seconds / 10), 1) * 10} s"
    if seconds < 5400:
        return f"{max(round(seconds / 60), 1)} min"
    return f"{seconds / 3600:.1f} h"


def progress_words(board: BatchBoard, *, is_stopping: bool) -> str:
    """Return how far a batch is and how long it still takes."""
    left = board.seconds_left
    if is_stopping:
        rest = "stopping: what runs ends at its next step"
    elif left is None:
        rest = "the time left is known when a pair is done"
    else:
        rest = f"about {time_words(left)} left"
    words = (board.counts_in_words(), clock_words(board.elapsed), rest)
    return "; ".join(filter(None, words))


def needs_words(needs: Preflight) -> str:
    """Return what a batch needs, and which of its pairs will fail."""
    words = [f"Needs {needs.summary()}."] if needs.memory_needed else []
    if needs.level != "enough":
        words.append(f"{needs.message}.")
    for text in needs.not_estimated[:_MOST_TOLD]:
        pair, _, why = text.partition(": ")
        words.append(f"{pair} will fail: {why}.")
    more = len(needs.not_estimated) - _MOST_TOLD
    if more > 0:
        words.append(f"So will {more} more.")
    return " ".join(words)


def params_words(
    params: Mapping[str, ParameterValue], before: Mapping[str, ParameterValue]
) -> str:
    """Return which parameters differ from what they were; empty when none does."""
    return "; ".join(
        f"{PARAMETER_REGISTRY[name].title} {value_words(value)} in place of "
        f"{value_words(before[name])}"
        for name, value in params.items()
        if value != before[name]
    )
