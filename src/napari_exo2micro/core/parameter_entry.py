"""What a parameter is: its type, its range and how it is checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from napari_exo2micro.core.errors import ParameterError

__all__ = ["Parameter", "ParameterValue", "parameter"]

ParameterValue = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tuning parameter.

    Attributes
    ----------
    name : str
        As scripts and the command line spell it.
    default : bool, int, float, str or None
        The value that adds nothing to a file name.
    abbreviation : str
        Up to 8 lower-case letters: the part of a file name and the FITS key.
    stage : int
        The first stage that the parameter has an effect on.
    description : str
        One sentence for a tooltip.
    kind : type
        `bool`, `int`, `float` or `str`; of the values that are not None.
    optional : bool
        Whether None is a value, meaning "not asked for".
    minimum, maximum : float or None
        Inclusive limits of a number.
    exclusive_minimum : bool
        Whether `minimum` itself is refused.
    choices : tuple of str
        The values that a string can take.
    unit : str
        For people, for example "px" or "deg".
    label : str
        What a form calls it, in plain words; `title` when empty.
    group : str
        Heading under which a form shows it, within its stage.
    rare : bool
        Seldom needs a change: a form folds a group away that holds nothing else.
    """

    name: str
    default: ParameterValue
    abbreviation: str
    stage: int
    description: str
    kind: type
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    choices: tuple[str, ...] = ()
    unit: str = ""
    label: str = ""
    group: str = ""
    rare: bool = False

    def __iter__(self) -> Iterator[Any]:
        """Yield default, abbreviation, stage and description."""
        return iter((self.default, self.abbreviation, self.stage, self.description))

    def __getitem__(self, index: int) -> Any:
        """Return default, abbreviation, stage or description by its place."""
        return tuple(self)[index]

    @property
    def title(self) -> str:
        """What a person reads: the label, else the name in words."""
        return self.label or self.name.replace("_", " ")

    def check(self, value: Any) -> ParameterValue:
        """Return `value` as this parameter's type.

        Parameters
        ----------
        value : bool, int, float, str or None
            What is asked for.

        Returns
        -------
        bool, int, float, str or None
            Of the parameter's own type; None only where it is optional.

        Raises
        ------
        ParameterError
            When it has another type or lies out of range.
        """
        if value is None and self.optional:
            return None
        try:
            number = _as_kind(value, self.kind)
            fits = number is not None and self._in_range(number)
        except OverflowError:  # whole numbers of hundreds of digits
            number, fits = 0, False
        if number is None:
            raise ParameterError(
                f"parameter '{self.name}' takes {self.wanted()}, found {value!r} "
                f"({type(value).__name__})"
            )
        if not fits:
            raise ParameterError(
                f"parameter '{self.name}' takes {self.wanted()}, found {value!r}"
            )
        return number

    def _in_range(self, value: ParameterValue) -> bool:
        if isinstance(value, str):
            return value in self.choices if self.choices else bool(_WORD(value))
        if isinstance(value, bool) or value is None:
            return True
        if not math.isfinite(value):
            return False
        above = self.minimum is None or (
            value > self.minimum if self.exclusive_minimum else value >= self.minimum
        )
        return above and (self.maximum is None or value <= self.maximum)

    def limits(self) -> str:
        """Return the range or the choices with the unit: ``1 to 200 px``.

        Returns
        -------
        str
            Empty when there is no limit.
        """
        if self.choices:
            return ", ".join(self.choices)
        words = ""
        if self.minimum is not None:
            words = f"{'above ' if self.exclusive_minimum else ''}{self.minimum:g}"
            if self.maximum is None and not self.exclusive_minimum:
                words = f"from {words}"
        if self.maximum is not None:
            up = "up to" if self.exclusive_minimum or not words else "to"
            words = f"{words} {up} {self.maximum:g}".strip()
        return f"{words} {self.unit}".strip()

    def wanted(self) -> str:
        """Return in words what values the parameter takes.

        Returns
        -------
        str
            Such as ``a whole number from 1 to 200 (px)``.
        """
        if self.choices:
            words = "one of " + ", ".join(self.choices)
        else:
            words = {
                bool: "True or False",
                int: "a whole number",
                float: "a number",
                str: "a word of letters and digits",
            }[self.kind]
        if self.minimum is not None and self.maximum is not None:
            low = "above" if self.exclusive_minimum else "from"
            high = "up" if self.exclusive_minimum else ""
            words += (
                f" {low} {self.minimum:g} {high}".rstrip() + f" to {self.maximum:g}"
            )
        elif self.minimum is not None:
            low = "above" if self.exclusive_minimum else "of at least"
            words += f" {low} {self.minimum:g}"
        if self.unit:
            words += f" ({self.unit})"
        return words + (" or None" if self.optional else "")


_WORD = re.compile(r"[A-Za-z0-9.]+").fullmatch


def _as_kind(value: Any, kind: type) -> ParameterValue:
    """Return `value` as `kind`, or None when it is of another type."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a numpy scalar counts as the number it holds
    if kind is bool:
        return value if isinstance(value, bool) else None
    if kind is str:
        return value if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if kind is float:
        return float(value)
    return value if isinstance(value, int) else None


def parameter(
    name: str,
    default: ParameterValue,
    abbreviation: str,
    stage: int,
    description: str,
    **more: Any,
) -> Parameter:
    """Return a `Parameter` whose type follows from its default.

    Parameters
    ----------
    name : str
        A Python name.
    default : bool, int, float, str or None
        None means an optional number.
    abbreviation : str
        1 to 8 lower-case letters, for file names and FITS cards.
    stage : int
        The stage that it changes.
    description : str
        One sentence for a person.
    **more : object
        Further fields of `Parameter`, such as `minimum` or `unit`.

    Returns
    -------
    Parameter
        Not registered yet.
    """
    more.setdefault("kind", float if default is None else type(default))
    return Parameter(
        name,
        default,
        abbreviation,
        stage,
        description,
        optional=default is None,
        **more,
    )
