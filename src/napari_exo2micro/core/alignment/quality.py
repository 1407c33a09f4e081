"""Verdicts: what a stage says of its own work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["State", "Verdict"]

State = Literal["ok", "fell_back", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a stage says of its own work.

    Attributes
    ----------
    state : {'ok', 'fell_back', 'failed', 'skipped'}
        `ok`: done and vouched for. `fell_back`: a lesser result stands in.
        `failed`: no result that can be vouched for. `skipped`: not asked for.
    reason : str
        Why, in words for a person; empty only when `ok`.
    numbers : mapping of str to float
        The figures behind it, finite, lengths in full-resolution px.
    """

    state: State
    reason: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready built-in types."""
        return {
            "state": self.state,
            "reason": self.reason,
            "numbers": dict(self.numbers),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_dict` stored."""
        return cls(stored["state"], stored["reason"], dict(stored["numbers"]))
