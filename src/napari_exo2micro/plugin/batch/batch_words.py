"""What the batch dock says of numbers, time, and what the pairs need."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from napari_exo2micro.core.batch_board import BatchBoard, clock_words
from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.value_text import value_words

if TYPE_CHECKING:
    from napari_exo2micro.core.resources import Preflight

__all__ = [
    "count_words",
    "needs_words",
    "params_words",
    "progress_words",
    "time_words",
]

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
