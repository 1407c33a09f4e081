"""Draw the house, floor by floor: ``python docs/make_house_picture.py``.

The floors are those of the import-linter contracts in ``pyproject.toml``. A test tells
when a folder has come, gone or moved since.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PICTURE = HERE / "images" / "house.svg"

sys.path.insert(0, str(HERE / "site"))
from house import floors  # noqa: E402 - beside this script, not installed

WIDTH, ROW, ROOM_HEIGHT = 940, 52, 36
LEFT, RIGHT = 160, 890
CLI_WIDTH = 90
COLOURS = {"plugin": "#dcebf5", "cli": "#f6ead2", "core": "#ddf0df"}
STYLE = """
text { font-family: 'DejaVu Sans', Verdana, sans-serif; fill: #1b2a33; }
.part { font-size: 17px; font-weight: bold; }
.words { font-size: 13px; }
.room { font-size: 12px; font-family: 'DejaVu Sans Mono', monospace; }
.arrow { stroke: #44545f; stroke-width: 2.5; fill: none; marker-end: url(#head); }
"""
HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#44545f"/>'
    "</marker>"
)
WORDS = {
    "plugin": ("napari and Qt", "live only here"),
    "core": ("all science", "and all files;", "knows no screen"),
}


def picture() -> str:
    """Return the picture as SVG."""
    rows = [rooms for rooms in floors() if rooms != ["cli"]]
    upper = sum(rooms[0].startswith("plugin/") for rooms in rows)
    bottom = 14 + len(rows) * ROW
    height = bottom + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-label="Floors of folders; each imports only from floors '
        'below it">',
        f"<style>{STYLE}</style><defs>{HEAD}</defs>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, rooms in enumerate(rows):
        right = RIGHT - CLI_WIDTH if number < upper else RIGHT
        parts += _floor(rooms, 14 + number * ROW, right)
    tall = (upper - 1) * ROW + ROOM_HEIGHT
    parts += _room("cli", RIGHT - CLI_WIDTH, 14, CLI_WIDTH, tall)
    parts += [*_words("plugin", 14), *_words("core", 14 + upper * ROW)]
    parts += [
        f'<path class="arrow" d="M{WIDTH - 14} 20 V{bottom - 20}"/>',
        f'<text class="words" x="{WIDTH - 36}" y="{bottom // 2}" text-anchor="middle" '
        f'transform="rotate(90 {WIDTH - 36} {bottom // 2})">',
        "imports go down only</text>",
        f'<text class="words" x="{LEFT}" y="{bottom + 22}">numpy, scipy, OpenCV, '
        "scikit-image, astropy, tifffile, matplotlib</text>",
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _words(part: str, top: int) -> list[str]:
    """Return the name of a part of the package with what it is."""
    lines = [f'<text class="part" x="16" y="{top + 24}">{part}/</text>']
    for number, words in enumerate(WORDS[part]):
        y = top + 44 + 17 * number
        lines.append(f'<text class="words" x="16" y="{y}">{words}</text>')
    return lines


def _floor(rooms: list[str], top: int, right: int) -> list[str]:
    """Return the boxes of one floor, which fill it from side to side."""
    pitch = (right - LEFT) / len(rooms)
    return [
        line
        for column, room in enumerate(rooms)
        for line in _room(room, LEFT + column * pitch, top, pitch, ROOM_HEIGHT)
    ]


def _room(room: str, left: float, top: int, width: float, height: int) -> list[str]:
    part, _, name = room.partition("/")
    middle = left + (width - 6) / 2
    return [
        f'<rect x="{left:.0f}" y="{top}" width="{width - 6:.0f}" height="{height}" '
        f'rx="6" fill="{COLOURS[part]}" stroke="#8a9aa5"/>',
        f'<text class="room" x="{middle:.0f}" y="{top + height / 2 + 5:.0f}" '
        f'text-anchor="middle">{escape(name or part)}/</text>',
    ]


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
