"""The states of files, stages, tasks and results, with their words and colours."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

Mark = Literal["tick", "cross", "dash", "warning", "ring"]


class _Look(NamedTuple):
    """How a state is shown to a person."""

    word: str
    colour: str
    mark: Mark


class State(StrEnum):
    """The state of a file, a stage, a task or a result.

    A member equals its text: that is what headers, JSON and scripts hold.
    """

    # Files, and what a stage has left.
    MISSING = "missing"
    STALE = "stale"
    VALID = "valid"
    PART = "part"
    # A task under way.
    QUEUED = "queued"
    WAITING = "waiting"
    RUNNING = "running"
    # What a stage says of its own work.
    OK = "ok"
    FELL_BACK = "fell_back"
    SKIPPED = "skipped"
    # How a run ended; FAILED is a verdict, too.
    DONE = "done"
    DEGRADED = "degraded"
    FAILED = "failed"
    NO_FILES = "no files"
    STOPPED = "stopped"

    @property
    def word(self) -> str:
        """What a person reads."""
        return _LOOKS[self].word

    @property
    def colour(self) -> str:
        """Colour as ``#rrggbb``."""
        return _LOOKS[self].colour

    @property
    def mark(self) -> Mark:
        """The sign that a viewer draws: states differ in shape, not colour alone."""
        return _LOOKS[self].mark

    @property
    def is_good(self) -> bool:
        """Whether nothing has gone wrong: vouched for, or left out on request."""
        return self in _GOOD


_GOOD = (State.VALID, State.OK, State.SKIPPED, State.DONE)

# Middle tones: they stand out on dark and on light themes alike.
_GREEN, _AMBER, _RED, _BLUE, _GREY = (
    "#2fa05a",
    "#d98e04",
    "#d64545",
    "#3b82c4",
    "#7f8c99",
)

_LOOKS = {
    State.MISSING: _Look("missing", _GREY, "ring"),
    State.STALE: _Look("stale", _AMBER, "warning"),
    State.VALID: _Look("valid", _GREEN, "tick"),
    State.PART: _Look("begun", _GREY, "ring"),
    State.QUEUED: _Look("queued", _GREY, "ring"),
    State.WAITING: _Look("waiting", _AMBER, "warning"),
    State.RUNNING: _Look("running", _BLUE, "ring"),
    State.OK: _Look("ok", _GREEN, "tick"),
    State.FELL_BACK: _Look("fell back", _AMBER, "warning"),
    State.SKIPPED: _Look("skipped", _GREY, "dash"),
    State.DONE: _Look("done", _GREEN, "tick"),
    State.DEGRADED: _Look("degraded", _AMBER, "warning"),
    State.FAILED: _Look("failed", _RED, "cross"),
    State.NO_FILES: _Look("no files", _AMBER, "warning"),
    State.STOPPED: _Look("stopped", _GREY, "dash"),
}
