"""Make the pictures of the concept pages: ``python docs/make_concept_pictures.py``.

They show a simulated section, so everybody can make them again, and the true turn,
scale and microbes are known. FOLDER, if given, gets them instead of ``docs/images``.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from panels import IMAGES, TITLE, WORDS, crop, panels, save, show

from napari_exo2micro import core as e2m
from napari_exo2micro.core.photometry.minerals import fit_background, mineral_blocks
from napari_exo2micro.core.plotting.pictures import (
    colour_difference,
    difference_norm,
    drawn_limits,
    overlay,
    stretch,
)
from napari_exo2micro.core.plotting.style import POST_COLOUR, PRE_COLOUR
from napari_exo2micro.core.simulate import SimulatedPair, registration_error

SHAPE = (3000, 3600)
PAD = 400
STEP = 6
DETAIL = 170
Pixels = NDArray[Any]


@dataclass(frozen=True)
class Section:
    """A simulated section that went through all stages."""

    pair: SimulatedPair
    task: e2m.SampleDye
    post: Pixels
    pre: Pixels
    coarse: e2m.Transform
    scale: float

    def warped(self, transform: e2m.Transform | None, frame: tuple[int, ...]) -> Pixels:
        """Return a window of pre, aligned so or as it lies: (x, y, width, height)."""
        x, y, width, height = frame
        if transform is None:
            return crop(self.pre, *frame)
        return e2m.warp_window(
            self.pre, transform, y, y + height, x, x + width, "cubic"
        ).astype(np.float32)


def run_section(folder: Path) -> Section:
    """Simulate a section and run it."""
    pair = e2m.simulate_section(
        SHAPE,
        seed=3,
        angle_deg=7.0,
        scale=1.04,
        shift=(90.0, -60.0),
        perspective=0.004,
        gain=1.35,
    )
    e2m.write_pair(pair, folder / "raw", "CD070", "DAPI")
    task = e2m.SampleDye("CD070", "DAPI", folder / "processed", folder / "raw")
    task.set_params(pad=PAD)
    result = task.run()
    assert result["status"] == "complete", result["status"]
    stage_2 = task.checkpoint(2, "pre")
    return Section(
        pair,
        task,
        np.asarray(task.checkpoint(1, "post").image),
        np.asarray(task.checkpoint(1, "pre").image),
        e2m.Transform(stage_2.provenance.details["coarse_matrix"]),
        result["scale_estimate"],
    )


def choose_detail(section: Section) -> tuple[int, int, int, int]:
    """Return a square of rock with several microbes: (x, y, width, height)."""
    microbes = section.pair.truth.microbes
    rows, columns = SHAPE
    places = np.column_stack([microbes["x"], microbes["y"]])
    middle = np.array([columns / 2, rows / 2])
    near = np.abs(places - middle).max(axis=1) < 0.25 * min(SHAPE)
    near &= np.abs(places - middle).max(axis=1) > 0.12 * min(SHAPE)
    counts = [
        np.count_nonzero(np.abs(places - place).max(axis=1) < 0.4 * DETAIL)
        for place in places[near]
    ]
    x, y = places[near][int(np.argmax(counts))].astype(int) + PAD - DETAIL // 2
    return int(x), int(y), DETAIL, DETAIL


def reduced(image: Pixels, step: int = STEP) -> Pixels:
    """Return the means of blocks."""
    return e2m.reduce_image(image, factor=step)[0]


def grey(pixels: Pixels, limits: tuple[float, float]) -> Pixels:
    """Return brightness as RGB."""
    return np.repeat(stretch(pixels, limits)[..., None], 3, axis=-1)


def photographs(section: Section, detail: tuple[int, ...], folder: Path) -> None:
    """Show both photographs, as a whole and in a detail."""
    post, pre = (reduced(image) for image in (section.pair.post, section.pair.pre))
    limits = drawn_limits(post)
    figure, axes = panels(
        2,
        2,
        shape=0.83,
        titles=(
            "before staining (pre)",
            "after staining (post)",
            "the same place of the rock, before",
            "and after: microbes have appeared",
        ),
    )
    x, y, width, _ = detail
    truth = section.task.transform(3)
    for panel, image in zip(axes, (pre, post), strict=False):
        show(panel, grey(image, limits))
    wide = (x - width // 2, y - width // 3, 2 * width, 5 * width // 3)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * wide[2:] + wide[:2]
    for panel, where in ((axes[0], truth(corners)), (axes[1], corners)):
        panel.add_patch(
            Polygon(
                (where - PAD) / STEP, fill=False, edgecolor="#ffcc00", linewidth=1.2
            )
        )
    show(axes[2], grey(section.warped(truth, wide), limits))
    show(axes[3], grey(crop(section.post, *wide), limits))
    save(figure, "concepts/photographs", folder)


def differences(
    section: Section,
    detail: tuple[int, ...],
    cases: list[tuple[str, e2m.Transform | None, float]],
    name: str,
    folder: Path,
) -> None:
    """Show the difference in a detail, made in several ways, in one colour scale."""
    post = crop(section.post, *detail)
    best = post - section.scale * section.warped(section.task.transform(3), detail)
    norm = difference_norm(best)
    everywhere = np.ones(post.shape, bool)
    figure, axes = panels(1, len(cases), shape=1.0, titles=[case[0] for case in cases])
    for panel, (_, transform, scale) in zip(axes, cases, strict=True):
        difference = post - scale * section.warped(transform, detail)
        show(panel, colour_difference(difference, everywhere, norm))
    save(figure, name, folder)


def steps(section: Section, detail: tuple[int, ...], folder: Path) -> None:
    """Show both images on each other after each step, and how far they are off."""
    found = (
        ("as photographed", e2m.Transform.identity()),
        ("coarse search", section.coarse),
        ("stage 2", section.task.transform(2)),
        ("stage 3", section.task.transform(3)),
    )
    titles = []
    for title, transform in found:
        off = float(np.median(registration_error(section.pair.truth, transform, PAD)))
        words = f"{off:.0f}" if off > 10 else f"{off:.2g}"
        titles.append(f"{title}:\noff by {words} px")
    x, y, width, height = detail
    small = (x + width // 4, y + height // 4, width // 2, height // 2)
    figure, axes = panels(3, 4, shape=0.83, titles=titles, heads=(0.42, 0.08, 0.08))
    rows, columns = section.post.shape
    inner = (PAD, PAD, columns - 2 * PAD, rows - 2 * PAD)
    whole = reduced(crop(section.post, *inner), 2 * STEP)
    post = crop(section.post, *small)
    best = post - section.scale * section.warped(section.task.transform(3), small)
    norm = difference_norm(best)
    everywhere = np.ones(post.shape, bool)
    for column, (_, transform) in enumerate(found):
        pre = reduced(section.warped(transform, inner), 2 * STEP)
        show(axes[column], overlay(whole, pre))
        pre = section.warped(transform, small)
        show(axes[column + 4], overlay(post, pre))
        difference = post - section.scale * pre
        show(axes[column + 8], colour_difference(difference, everywhere, norm))
    save(figure, "concepts/steps", folder)


def padding(section: Section, folder: Path) -> None:
    """Show the aligned pre-stain image with and without an empty margin."""
    transform = section.task.transform(3)
    rows, columns = section.post.shape
    pre = reduced(section.warped(transform, (0, 0, columns, rows)))
    # The glass around the section is not quite dark: let it show where the image ends.
    limits = (-1.0, 0.7 * drawn_limits(pre)[1])
    figure, axes = panels(
        1,
        2,
        shape=rows / columns,
        titles=("pad = 0: its corners are cut off", "pad = 400: nothing is cut off"),
    )
    picture = grey(pre, limits)
    cut = np.full_like(picture, 255)
    first = PAD // STEP
    inner = slice(first, -first), slice(first, -first)
    cut[inner] = picture[inner]
    for panel, shown in zip(axes, (cut, picture), strict=True):
        show(panel, shown)
        high, wide = shown.shape[:2]
        panel.add_patch(
            Rectangle(
                (first, first),
                wide - 2 * first,
                high - 2 * first,
                fill=False,
                edgecolor="#ffcc00",
                linewidth=1.2,
            )
        )
    save(figure, "concepts/pad", folder)


def geometry(folder: Path) -> None:
    """Axes, canvas and direction of a transform."""
    figure, axes = panels(1, 2, shape=0.86, heads=(0.35,))
    transform = e2m.Transform(
        [[0.97, -0.22, 210.0], [0.22, 0.97, -90.0], [0.0, 0.0, 1.0]]
    )
    point = np.array([[620.0, 420.0]])
    moved = transform(point)
    for panel, title, colour, at, words in (
        (axes[0], "post-stain (fixed)", POST_COLOUR, point, "[[x, y]]"),
        (axes[1], "pre-stain (moving)", PRE_COLOUR, moved, "transform([[x, y]])"),
    ):
        _draw_canvas(panel, title, colour)
        panel.plot(*at[0], "o", color=colour, markersize=7)
        panel.annotate(
            words,
            at[0],
            (0, -18),
            textcoords="offset points",
            fontsize=TITLE,
            ha="center",
        )
    for panel, matrix in ((axes[0], None), (axes[1], transform)):
        angle = np.linspace(0, 2 * np.pi, 200)
        outline = np.column_stack(
            [
                560 + (250 + 30 * np.cos(2 * angle + 1)) * np.cos(angle),
                470 + (190 + 25 * np.cos(3 * angle)) * np.sin(angle),
            ]
        )
        if matrix is not None:
            outline = matrix(outline)
        panel.add_patch(Polygon(outline, facecolor="#dddddd", zorder=0))
    figure.text(0.5, 0.97, "Transform: post → pre", ha="center", va="top", fontsize=11)
    save(figure, "concepts/geometry", folder)


def _draw_canvas(panel: Axes, title: str, colour: str) -> None:
    panel.set_xlim(-90, 1130)
    panel.set_ylim(1000, -60)
    panel.add_patch(Rectangle((0, 0), 1100, 960, fill=False, edgecolor="#333333"))
    panel.add_patch(
        Rectangle((150, 150), 800, 660, fill=False, edgecolor=colour, linestyle="--")
    )
    panel.text(160, 800, title, fontsize=TITLE, color=colour, va="bottom")
    panel.text(1090, 950, "padded canvas", fontsize=WORDS, ha="right", va="bottom")
    arrow = {"arrowstyle": "->", "color": "#333333"}
    panel.annotate("", (260, -25), (0, -25), arrowprops=arrow)
    panel.annotate("", (-40, 260), (-40, 0), arrowprops=arrow)
    panel.text(270, -25, "x = column", fontsize=WORDS, va="center")
    panel.text(-40, 270, "y = row", fontsize=WORDS, va="top", ha="center", rotation=90)
    panel.annotate(
        "pad", (75, 480), fontsize=WORDS, ha="center", va="bottom", color="#555555"
    )
    panel.annotate("", (0, 490), (150, 490), arrowprops={"arrowstyle": "<->"})


def ridge(folder: Path) -> None:
    """Brightness of blocks after against before staining, without and with offset."""
    figure, axes = panels(1, 2, shape=0.85, heads=(0.35,), gap=0.2)
    for panel, offset in zip(axes, (0.0, 12.0), strict=True):
        pair = e2m.simulate_section((900, 1000), seed=8, gain=1.35, offset=offset)
        statistics = e2m.accumulate_statistics(pair.post, pair.pre)
        blocks = mineral_blocks(statistics.blocks)
        fit = fit_background(blocks, 1.35)
        ends = np.array([0.0, float(blocks.pre.max())])
        panel.plot(blocks.pre, blocks.post, ".", color="#888888", markersize=1.5)
        panel.plot(
            ends,
            fit.gain * ends + fit.offset,
            color="#00aa77",
            linewidth=1.6,
            label=f"post = {fit.gain:.3f} × pre + {fit.offset:.1f}",
        )
        ratio = float(np.median(blocks.post / blocks.pre))
        panel.plot(
            ends,
            ratio * ends,
            color="#ff3366",
            linewidth=1.2,
            linestyle="--",
            label=f"median ratio: {ratio:.3f}",
        )
        panel.set_title(
            f"true: gain 1.35, offset {offset:g}", fontsize=TITLE, loc="left"
        )
        panel.legend(fontsize=WORDS, loc="upper left", frameon=False)
        for spine in ("left", "bottom"):
            panel.spines[spine].set_visible(True)
        panel.set_xlim(0, ends[1])
        panel.set_ylim(0, float(np.quantile(blocks.post, 0.9995)))
        panel.set_xlabel("block mean before staining, grey levels", fontsize=WORDS)
        panel.set_ylabel("after staining, grey levels", fontsize=WORDS)
        panel.tick_params(labelsize=WORDS)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.yaxis.set_major_locator(MaxNLocator(5))
    # Room for the words of the axes.
    for panel in axes:
        box = panel.get_position()
        panel.set_position((box.x0 + 0.07, 0.15, box.width - 0.08, 0.74))
    save(figure, "concepts/ridge", folder)


def main(folder: Path = IMAGES) -> None:
    """Make all pictures."""
    geometry(folder)
    ridge(folder)
    with tempfile.TemporaryDirectory() as place:
        section = run_section(Path(place))
        detail = choose_detail(section)
        aligned = section.task.transform(3)
        scale = section.scale
        photographs(section, detail, folder)
        differences(
            section,
            detail,
            [
                ("not aligned", None, scale),
                ("aligned, not scaled", aligned, 1.0),
                ("aligned and scaled", aligned, scale),
            ],
            "concepts/subtraction",
            folder,
        )
        differences(
            section,
            detail,
            [
                (f"scale {0.93 * scale:.2f}: too low", aligned, 0.93 * scale),
                (f"scale {scale:.2f}: right", aligned, scale),
                (f"scale {1.07 * scale:.2f}: too high", aligned, 1.07 * scale),
            ],
            "concepts/scales",
            folder,
        )
        steps(section, detail, folder)
        padding(section, folder)


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
