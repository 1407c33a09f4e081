"""States of files, stages and tasks with their words and colours, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from napari_exo2micro.core.base.errors import ParameterError

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


_STATES = (State.OK, State.FELL_BACK, State.FAILED, State.SKIPPED)

# What a person asks for first.
_FIRST = (
    "accuracy_px",
    "residual_median_px",
    "residual_p95_px",
    "n_inliers",
    "n_tiles",
    "correction_px",
)


def number_words(name: str, value: float) -> str:
    """Return a figure for a person: ``accuracy_px, 0.0312`` is `accuracy 0.031 px`."""
    words = name.removeprefix("n_").replace("_", " ").strip()
    unit = ""
    for ending, written in ((" px", " px"), (" deg", " deg"), (" percent", " %")):
        if words.endswith(ending):
            words, unit = words.removesuffix(ending), written
    return f"{words} {_short(value)}{unit}"


def _short(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.3g}"


@dataclass(frozen=True, slots=True, init=False)
class Verdict:
    """What a stage says of its own work.

    Attributes
    ----------
    state : State
        `ok`: done and vouched for. `fell_back`: a lesser result stands in.
        `failed`: no result that can be vouched for. `skipped`: not asked for.
    reason : str
        Why, in words for a person; empty only when `ok`.
    numbers : mapping of str to float
        The figures behind it, finite, lengths in full-resolution px.

    Examples
    --------
    >>> Verdict("ok", numbers={"accuracy_px": 0.0312, "n_inliers": 412}).figures()
    'accuracy 0.0312 px, inliers 412'
    """

    state: State
    reason: str
    numbers: Mapping[str, float]

    def __init__(
        self,
        state: State | str,
        reason: str = "",
        numbers: Mapping[str, float] | None = None,
    ) -> None:
        if state not in _STATES:
            raise ParameterError(
                f"the state of a verdict is one of {', '.join(_STATES)}, found "
                f"{state!r}"
            )
        object.__setattr__(self, "state", State(state))
        object.__setattr__(self, "reason", reason)
        object.__setattr__(self, "numbers", {} if numbers is None else numbers)

    def figures(self, most: int = 5) -> str:
        """Return the most telling numbers in words.

        Parameters
        ----------
        most : int
            How many at most.

        Returns
        -------
        str
            Such as ``accuracy 0.0312 px, inliers 412``; empty without numbers.
        """
        names = [name for name in _FIRST if name in self.numbers]
        names += [name for name in self.numbers if name not in _FIRST]
        return ", ".join(number_words(n, self.numbers[n]) for n in names[:most])

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready built-in types.

        Returns
        -------
        dict
            `state`, `reason` and `numbers`.
        """
        return {
            "state": str(self.state),
            "reason": self.reason,
            "numbers": dict(self.numbers),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` stored.

        Parameters
        ----------
        stored : mapping
            As `to_dict` returned it.

        Returns
        -------
        Verdict
            An equal one.

        Raises
        ------
        ParameterError
            When an entry is of another type; a missing one raises `KeyError`.
        """
        reason, numbers = stored["reason"], dict(stored["numbers"])
        kinds = {type(number) for number in numbers.values()}
        if not isinstance(reason, str) or not kinds <= {int, float}:
            raise ParameterError(
                f"a verdict has a reason in words and numbers, found {stored!r:.80}"
            )
        return cls(stored["state"], reason, numbers)
