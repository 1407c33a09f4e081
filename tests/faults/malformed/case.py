"""What a malformed input is: how it is made, how it is used, how it must end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Case", "Ending", "Place", "Told"]

#: refused: one of our errors. redone: noticed, named, made again. used: it does no
#: harm, and what is sound in it is used.
Ending = Literal["refused", "redone", "used"]

#: How it ended and what was told.
Told = tuple[Ending, str]


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one case.

    Attributes
    ----------
    folder : Path
        Of the case; nothing in it may change but what is in `out`.
    base : Path
        Of all cases of one process: for what is slow to make.
    """

    folder: Path
    base: Path

    @property
    def raw(self) -> Path:
        """The raw folder."""
        return self.folder / "raw"

    @property
    def out(self) -> Path:
        """The output folder, the only one that may be written to."""
        return self.folder / "out"


@dataclass(frozen=True, slots=True)
class Case:
    """One malformed input.

    Attributes
    ----------
    group, name : str
        For the table; together unique.
    make : callable
        Makes the input in a place.
    use : callable
        Uses it as a person would. Raises what the package raises; otherwise returns
        how it ended and what was told. An `AssertionError` is a fault.
    says : str
        Regular expression that must be found in what is told.
    ends : {'refused', 'redone', 'used'}
        How it must end.
    """

    group: str
    name: str
    make: Callable[[Place], object]
    use: Callable[[Place], Told]
    says: str = ""
    ends: Ending = "refused"

    @property
    def title(self) -> str:
        """Group and name."""
        return f"{self.group}: {self.name}"
