"""Whether a checkpoint's header has the form that this package writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_exo2micro.core.errors import CheckpointError

__all__ = ["check_header"]

_FORM: dict[str, type] = {
    "sample": str,
    "dye": str,
    "stage": int,
    "name": str,
    "created": str,
    "parameters": dict,
    "inputs": str,
    "raw": dict,
    "canvas": dict,
    "verdicts": dict,
    "scale": dict,
    "registered_on": str,
    "details": dict,
    "notes": list,
    "content": str,
    "extra": dict,
    "software": dict,
}
_STATES = ("ok", "fell_back", "failed", "skipped")
_WORDS = {str: "text", int: "a whole number", dict: "named entries", list: "a list"}


def check_header(header: Mapping[str, Any]) -> None:
    """Refuse a header whose entries are not those of `Provenance.to_header`.

    Its checksum shows damage; this shows what another program wrote.

    Parameters
    ----------
    header : mapping
        Without its kind, version and checksum.

    Raises
    ------
    CheckpointError
        When an entry is missing, unknown or of another type.
    """
    for name in (*_FORM, "transform"):
        if name not in header:
            raise CheckpointError(f"its header cannot be read: it lacks '{name}'")
    for name, value in header.items():
        if name == "transform":
            _need(value is None or isinstance(value, dict), name, "a transform", value)
            continue
        kind = _FORM.get(name)
        if kind is None:
            raise CheckpointError(
                f"its header cannot be read: nobody here knows its '{name:.60}'"
            )
        fits = isinstance(value, kind) and not isinstance(value, bool)
        _need(fits, name, _WORDS[kind], value)
    for side in ("post_frame", "pre_frame"):
        frame = header["canvas"].get(side)
        fits = frame is None or (
            isinstance(frame, list)
            and len(frame) == 4
            and all(type(number) is int for number in frame)
        )
        _need(fits, side, "four whole numbers", frame)
    for number, verdict in header["verdicts"].items():
        fits = (
            number.isdecimal()
            and isinstance(verdict, dict)
            and verdict.get("state") in _STATES
            and isinstance(verdict.get("reason"), str)
            and _are_numbers(verdict.get("numbers"))
        )
        _need(fits, "verdicts", "state, reason and numbers", verdict)
    raw = header["raw"]
    _need(isinstance(raw.get("loader", ""), str), "loader", "a name", raw)
    for side in ("post", "pre"):
        one = raw.get(side, {})
        fits = isinstance(one, dict) and isinstance(one.get("file", ""), str)
        _need(fits, side, "a raw file", one)
    scale = header["scale"]
    if scale:
        known = {name: scale.get(name) for name in ("value", "uncertainty", "offset")}
        fits = _are_numbers(known) and isinstance(scale.get("kind"), str)
        _need(fits, "scale", "kind, value, uncertainty and offset", scale)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, dict) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool)
        for value in values.values()
    )


def _need(fits: bool, name: str, wanted: str, found: Any) -> None:
    if not fits:
        raise CheckpointError(
            f"its header cannot be read: '{name}' should be {wanted}, found "
            f"{found!r:.60}"
        )
