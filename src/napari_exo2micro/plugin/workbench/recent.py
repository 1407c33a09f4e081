"""Folders and files that were used lately, kept beside napari's own settings."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

__all__ = ["recent", "recent_file", "remember"]

_MOST = 8


def recent_file() -> Path | None:
    """Return where the lists are kept; None where napari keeps no settings."""
    from napari.settings import get_settings

    settings = get_settings().config_path
    return Path(settings).parent / "napari-exo2micro-recent.json" if settings else None


def recent(kind: str) -> list[str]:
    """Return what was used lately, the last one first.

    Parameters
    ----------
    kind : str
        Which list, for example ``'raw folder'``.
    """
    found = _lists().get(kind, [])
    return [one for one in found if isinstance(one, str)][:_MOST]


def remember(kind: str, path: Path | str) -> None:
    """Put a path at the head of a list; where that cannot be kept, nothing happens."""
    file, name = recent_file(), str(path)
    if file is None:
        return
    lists = _lists()
    others = [one for one in recent(kind) if one != name]
    lists[kind] = [name, *others[: _MOST - 1]]
    part = file.with_suffix(".part")
    # A list of conveniences is not worth a message.
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(lists, indent=1), encoding="utf-8")
        part.replace(file)


def _lists() -> dict[str, list[Any]]:
    file = recent_file()
    try:
        stored = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(stored, dict):
        return {}
    return {kind: one for kind, one in stored.items() if isinstance(one, list)}
