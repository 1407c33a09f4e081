"""Draw the house, from the folders that it has: ``python docs/make_house_picture.py``.

A test tells when a folder has come or gone since.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "src" / "napari_exo2micro"
PICTURE = HERE / "images" / "house.svg"

WIDTH, HEIGHT = 940, 525
ROOMS_IN_A_ROW = 5
STYLE = """
text { font-family: 'DejaVu Sans', Verdana, sans-serif; fill: #1b2a33; }
.name { font-size: 20px; font-weight: bold; }
.words { font-size: 14px; }
.room { font-size: 14px; font-family: 'DejaVu Sans Mono', monospace; }
.arrow { stroke: #44545f; stroke-width: 2.5; fill: none; marker-end: url(#head); }
"""
HEAD = (
    '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="#44545f"/>'
    "</marker>"
)


def rooms(floor: str) -> list[str]:
    """Return the packages inside one of the three floors."""
    return sorted(path.parent.name for path in (PACKAGE / floor).glob("*/__init__.py"))


def picture() -> str:
    """Return the picture as SVG."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-label="The plugin and the command line import the core; '
        'the core imports neither">',
        f"<style>{STYLE}</style><defs>{HEAD}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        *_floor(
            "plugin",
            "the only place with Qt and napari: shows and steers, computes nothing",
            (20, 20, 900, 180),
            "#dcebf5",
        ),
        *_floor(
            "cli",
            "the command exo2micro: words in, words out",
            (20, 250, 270, 100),
            "#f6ead2",
        ),
        *_floor(
            "core",
            "all of the science and all files; knows no screen",
            (330, 280, 590, 190),
            "#ddf0df",
        ),
        '<path class="arrow" d="M625 200 V276"/>',
        '<text class="words" x="640" y="245">imports</text>',
        '<path class="arrow" d="M290 320 H326"/>',
        '<text class="words" x="330" y="505">numpy, scipy, OpenCV, scikit-image, '
        "astropy, tifffile, matplotlib</text>",
        '<path class="arrow" d="M625 470 V488"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _floor(
    name: str, words: str, frame: tuple[int, int, int, int], colour: str
) -> list[str]:
    x, y, width, height = frame
    found = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" '
        f'fill="{colour}" stroke="#8a9aa5"/>',
        f'<text class="name" x="{x + 18}" y="{y + 32}">{escape(name)}/</text>',
    ]
    found += [
        f'<text class="words" x="{x + 18}" y="{y + 56 + 18 * number}">{line}</text>'
        for number, line in enumerate(_lines(escape(words), width // 9))
    ]
    columns = min(ROOMS_IN_A_ROW, width // 140)
    for number, room in enumerate(rooms(name)):
        row, column = divmod(number, columns)
        pitch = (width - 36) / columns
        left, top = x + 18 + column * pitch, y + 82 + row * 44
        found += [
            f'<rect x="{left:.0f}" y="{top}" width="{pitch - 12:.0f}" height="34" '
            'rx="6" fill="#ffffff" stroke="#8a9aa5"/>',
            f'<text class="room" x="{left + 10:.0f}" y="{top + 22}">{room}/</text>',
        ]
    return found


def _lines(words: str, most: int) -> list[str]:
    lines = [""]
    for word in words.split():
        if len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
