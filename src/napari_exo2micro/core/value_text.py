"""Values of parameters as people type and read them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from napari_exo2micro.core.defaults import check_parameters, format_value
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue

__all__ = ["parse_value", "parse_values", "suggest_values", "value_words"]

NOT_SET = "not set"
_NONE = ("none", NOT_SET)


def value_words(value: ParameterValue) -> str:
    """Return a value as a person reads it: ``on``, ``not set``, ``0.85``."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return NOT_SET if value is None else format_value(value)


def parse_value(entry: Parameter, text: str) -> ParameterValue:
    """Return the value that `text` writes for a parameter.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    text : str
        As typed: ``none`` or ``not set`` for an optional one, and for a flag any of
        on, off, true, false, yes, no, 1, 0.

    Raises
    ------
    ParameterError
        When it is of another type or out of range.
    """
    word = text.strip().lower()
    if entry.optional and word in _NONE:
        return None
    value: Any = text
    if entry.kind is bool:
        value = {
            **dict.fromkeys(("on", "true", "yes", "1"), True),
            **dict.fromkeys(("off", "false", "no", "0"), False),
        }.get(word, text)
    elif entry.kind in (int, float):
        try:
            value = entry.kind(text)
        except ValueError:
            value = text
    return entry.check(value)


def parse_values(
    entry: Parameter, text: str, params: Mapping[str, ParameterValue] | None = None
) -> list[ParameterValue]:
    """Return the values that a person typed in one line.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    text : str
        Values with commas or blanks between them, ``10, 15, 20``; with semicolons
        a comma is a decimal point, ``0,5; 0,75``. A value that comes twice counts
        once.
    params : mapping, optional
        The other parameters, which some values may not go with.

    Returns
    -------
    list
        At least two, in the order typed.

    Raises
    ------
    ParameterError
        When a value cannot be taken, or there are fewer than two; the message says
        which and what can be taken.

    Examples
    --------
    >>> from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
    >>> parse_values(PARAMETER_REGISTRY["scale_min"], "0.8, 0.85 0.9")
    [0.8, 0.85, 0.9]
    """
    values: list[ParameterValue] = []
    for word in _words(text):
        try:
            value = parse_value(entry, word)
        except ParameterError:
            wanted = _wanted(entry)
            raise ParameterError(f"'{word}' cannot be taken: type {wanted}") from None
        if params is not None:
            check_parameters({**params, entry.name: value})
        if not any(_same(value, known) for known in values):
            values.append(value)
    if len(values) < 2:
        found = "one is" if values else "none is"
        raise ParameterError(
            f"a comparison takes at least two values, {found} typed; for example "
            + ", ".join(map(value_words, suggest_values(entry, params=params)))
        )
    return values


def suggest_values(
    entry: Parameter,
    around: ParameterValue = None,
    params: Mapping[str, ParameterValue] | None = None,
) -> list[ParameterValue]:
    """Return a few values that are worth a comparison.

    Parameters
    ----------
    entry : Parameter
        The parameter.
    around : optional
        A value that others should lie around; its default when not given.
    params : mapping, optional
        The other parameters, which some values may not go with.

    Returns
    -------
    list
        All values of a flag or a choice; else the value itself between a third less
        and a third more, where these can be taken.
    """
    if entry.kind is bool:
        return [True, False]
    if entry.choices:
        return list(entry.choices)
    centre = entry.default if around is None else around
    if isinstance(centre, str):
        return [centre]
    candidates: list[float]
    if centre is None:
        high = entry.maximum
        candidates = [90, 95, 99] if high == 100 else [1, 1.25, 1.5]
    elif centre == 0:
        candidates = [0, 1, 2]
    elif abs(centre) < 0.01:
        candidates = [centre / 10, centre, centre * 10]
    else:
        candidates = [_rounded(centre * 2 / 3), centre, _rounded(centre * 4 / 3)]
    values: list[ParameterValue] = []
    for candidate in candidates:
        try:
            value = entry.check(
                round(candidate) if entry.kind is int else float(candidate)
            )
            if params is not None:
                check_parameters({**params, entry.name: value})
        except ParameterError:
            continue
        if value not in values:
            values.append(value)
    return values


def _words(text: str) -> list[str]:
    if ";" in text:
        words = [word.replace(",", ".") for word in text.split(";")]
    elif "," in text or text.strip().lower() in _NONE:
        words = text.split(",")
        # Blanks beside commas: "10, 15 20".
        words = [w for word in words for w in _apart(word)]
    else:
        words = text.split()
    return [word.strip() for word in words if word.strip()]


def _apart(word: str) -> list[str]:
    return [word] if word.strip().lower() in _NONE else word.split()


def _rounded(value: float) -> float:
    """Return a value with two significant digits."""
    return float(f"{value:.2g}")


def _same(first: ParameterValue, second: ParameterValue) -> bool:
    return type(first) is type(second) and first == second


def _wanted(entry: Parameter) -> str:
    words = re.sub("^True or False", "on or off", entry.wanted())
    return words.replace(" or None", f", or '{NOT_SET}'")
