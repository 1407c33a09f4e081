"""States of files, stages and tasks with their words and colours, and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, Self

from napari_exo2micro.core.base import ParameterError, visible
from napari_exo2micro.core.base.text import Listing, Shown

Mark = Literal["tick", "cross", "dash", "warning", "ring"]

# Middle tones: they stand out on dark and on light themes alike.
_GREEN, _AMBER, _RED = "#2fa05a", "#d98e04", "#d64545"
_BLUE, _GREY = "#3b82c4", "#7f8c99"


class State(StrEnum):
    """The state of a file, a stage, a task or a result, and how it is shown.

    A member equals its text: that is what headers, JSON and scripts hold.

    Attributes
    ----------
    word : str
        What a person reads.
    colour : str
        As ``#rrggbb``.
    mark : {'tick', 'cross', 'dash', 'warning', 'ring'}
        The sign that a viewer draws: states differ in shape, not colour alone.
    """

    word: str
    colour: str
    mark: Mark

    def __new__(
        cls, text: str, word: str = "", colour: str = "", mark: Mark = "ring"
    ) -> Self:
        """Make a member that equals its text."""
        state = str.__new__(cls, text)
        state._value_ = text
        state.word, state.colour, state.mark = word, colour, mark
        return state

    # Files, and what a stage has left.
    MISSING = "missing", "missing", _GREY, "ring"
    STALE = "stale", "stale", _AMBER, "warning"
    VALID = "valid", "valid", _GREEN, "tick"
    PART = "part", "begun", _GREY, "ring"
    # A task under way.
    QUEUED = "queued", "queued", _GREY, "ring"
    WAITING = "waiting", "waiting", _AMBER, "warning"
    RUNNING = "running", "running", _BLUE, "ring"
    # What a stage says of its own work.
    OK = "ok", "ok", _GREEN, "tick"
    FELL_BACK = "fell_back", "fell back", _AMBER, "warning"
    SKIPPED = "skipped", "skipped", _GREY, "dash"
    # How a run ended; FAILED is a verdict, too.
    DONE = "done", "done", _GREEN, "tick"
    DEGRADED = "degraded", "degraded", _AMBER, "warning"
    FAILED = "failed", "failed", _RED, "cross"
    NO_FILES = "no files", "no files", _AMBER, "warning"
    STOPPED = "stopped", "stopped", _GREY, "dash"

    @property
    def is_good(self) -> bool:
        """Whether nothing has gone wrong: vouched for, or left out on request."""
        return self in (State.VALID, State.OK, State.SKIPPED, State.DONE)


_VERDICTS = (State.OK, State.FELL_BACK, State.FAILED, State.SKIPPED)

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
    words, _, unit = name.removeprefix("n_").rpartition("_")
    if unit not in ("px", "um", "deg", "percent"):
        words, unit = name.removeprefix("n_"), ""
    is_count = float(value).is_integer() and abs(value) < 1e7
    number = str(int(value)) if is_count else f"{value:.3g}"
    unit = unit.replace("percent", "%")
    return f"{words.replace('_', ' ')} {number} {unit}".strip()


def length_words(px: float, um: float | None = None) -> str:
    """Return a length for a person, also in micrometres where that is known.

    Examples
    --------
    >>> length_words(0.012, 0.0078), length_words(3.5)
    ('0.012 px (7.8 nm)', '3.5 px')
    """
    return f"{px:.3g} px" if um is None else f"{px:.3g} px ({um_words(um)})"


def um_words(um: float) -> str:
    """Return a length in micrometres for a person: ``0.0078`` is `7.8 nm`."""
    if um < 0.9995:
        nm = 1000 * um
        return f"{nm:.0f} nm" if nm >= 99.5 else f"{nm:.2g} nm"
    return f"{um:.3g} um" if um < 999.5 else f"{um / 1000:.3g} mm"


def with_error(value: float, error: float | None) -> str:
    """Return a figure, with its uncertainty where it has one: ``1.2503 ± 0.0004``."""
    return f"{value:.5g}" + (f" ± {error:.1g}" if error else "")


@dataclass(frozen=True, slots=True, repr=False)
class Verdict(Shown):
    """What a stage says of its own work.

    Attributes
    ----------
    state : State
        `ok`: done and vouched for. `fell_back`: a lesser result stands in.
        `failed`: no result that can be vouched for. `skipped`: not asked for.
        May be given as text.
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
    reason: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the state, and put it in its type."""
        if self.state not in _VERDICTS:
            raise ParameterError(
                f"the state of a verdict is one of {', '.join(_VERDICTS)}, found "
                f"{self.state!r}"
            )
        object.__setattr__(self, "state", State(self.state))

    def __repr__(self) -> str:
        """Return the state, the reason and the most telling numbers."""
        state = ": ".join(filter(None, (self.state.word, self.reason)))
        words = ", ".join(filter(None, (state, self.figures())))
        return visible(f"{type(self).__name__}({words})")

    def __rich__(self) -> Listing:
        """Return state, reason and numbers as one row."""
        row = (self.state, self.reason, self.figures())
        return Listing(("verdict", "why", "numbers"), [row])

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
        numbers = dict(self.numbers)
        words = {}
        if "accuracy_um" in numbers:
            words["accuracy_px"] = f"accuracy {self.accuracy}"
            del numbers["accuracy_um"]
        names = [name for name in _FIRST if name in numbers]
        names += [name for name in numbers if name not in _FIRST]
        figures = (words.get(n) or number_words(n, numbers[n]) for n in names[:most])
        return ", ".join(figures)

    @property
    def accuracy(self) -> str:
        """The estimated accuracy in words, ``0.012 px (7.8 nm)``; empty without one."""
        px = self.numbers.get("accuracy_px", -1.0)
        return length_words(px, self.numbers.get("accuracy_um")) if px >= 0 else ""

    def in_um(self, pixel: float | None) -> Verdict:
        """Return it with the accuracy in micrometres, too.

        Parameters
        ----------
        pixel : float or None
            The size of a pixel, um; None where it is not known.

        Returns
        -------
        Verdict
            With the number `accuracy_um` where both are known.
        """
        numbers = {n: v for n, v in self.numbers.items() if n != "accuracy_um"}
        px = numbers.get("accuracy_px", -1.0)
        if pixel is not None and px >= 0:
            numbers["accuracy_um"] = px * pixel
        return replace(self, numbers=numbers)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready built-in types.

        Returns
        -------
        dict
            `state`, `reason` and `numbers`.
        """
        numbers = dict(self.numbers)
        return {"state": str(self.state), "reason": self.reason, "numbers": numbers}

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
