"""What all figures have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from napari_exo2micro.core import plotting
from napari_exo2micro.core.base import OutputError
from napari_exo2micro.core.parameters import Verdict
from napari_exo2micro.core.plotting.style import WARNING_COLOUR

NAMES = sorted(
    name
    for name in dir(plotting)
    if name.startswith("plot_") and not name.endswith("_simple")  # returns a scale, too
)
NARROW = [name for name in NAMES if not name.startswith("plot_zoom")]


def draw(name: str, pair: Any, **more: Any) -> Any:
    """Draw a figure with everything that is known of a pair."""
    context = plotting.PlotContext(**pair.context)
    return getattr(plotting, name)(pair.post, pair.pre, context=context, **more)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pydantic")
@pytest.mark.filterwarnings("error")
def test_figure_is_written_and_names_sample_and_dye(
    name: str, dtype: str, pairs: dict[str, Any], words: Any, tmp_path: Path
) -> None:
    path = tmp_path / "new folder" / "figure.png"
    # No mathematics, and a character that the font does not have.
    names = {"sample": "CD_07$^{0$ \\frac", "dye": "Sybr試"}
    figure = draw(name, pairs[dtype], **names, save_path=path)
    assert "sample CD_07$^{0$ \\frac, dye Sybr\u25a1" in words(figure)
    with Image.open(path) as picture:
        assert picture.size == pytest.approx(
            (figure.bbox.width, figure.bbox.height), abs=1
        )
        assert len(picture.getcolors(2**24)) > 20
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]
    assert_all_inside(figure)


def assert_all_inside(figure: Any) -> None:
    """No text, legend or label ends beyond the edge of the figure."""
    boxes = [t.get_window_extent() for t in figure.texts if t.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    for box in boxes:
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width + 1
        assert box.y1 <= figure.bbox.height + 1


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_narrow_layout_keeps_every_word_inside_and_apart(
    name: str, dtype: str, pairs: dict[str, Any]
) -> None:
    names = {"sample": "CD070_core_12_upper", "dye": "SybrGold"}
    figure = draw(name, pairs[dtype], **names, narrow=True)
    wide = draw(name, pairs[dtype], **names)
    assert figure.bbox.width < 0.8 * wide.bbox.width
    assert_all_inside(figure)
    boxes = [t.get_window_extent() for t in figure.texts if t.get_text()]
    boxes += [legend.get_window_extent() for legend in figure.legends]
    panels = [axes.get_tightbbox() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in [*boxes[:i], *panels])


@pytest.mark.parametrize("name", NAMES)
def test_stage_that_fell_back_is_said_in_red(name: str, pair: Any) -> None:
    def red(figure: Any) -> str:
        found = [t for t in figure.texts if to_hex(t.get_color()) == WARNING_COLOUR]
        return " ".join(t.get_text() for t in found)

    assert red(draw(name, pair)) == ""
    verdicts = {
        2: Verdict("ok"),
        3: Verdict("fell_back", "too few features agree"),
        4: Verdict("skipped", "not asked for"),
    }
    note = red(draw(name, pair, verdicts=verdicts))
    assert note == ("Stage 3 (interior alignment) fell back: too few features agree")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_does_not_exist_is_refused(name: str, pair: Any) -> None:
    with pytest.raises(TypeError, match="statistic"):
        getattr(plotting, name)(pair.post, pair.pre, statistic=None)


@pytest.mark.parametrize("name", NAMES)
def test_two_images_are_enough(name: str, pair: Any) -> None:
    figure = getattr(plotting, name)(pair.post, pair.pre)
    assert figure.texts[0].get_text()


@pytest.mark.parametrize(
    ("post", "pre"),
    [
        (np.full((1, 1), 3, np.uint8), np.full((1, 1), 2, np.uint8)),
        (np.zeros((20, 300), np.uint16), np.zeros((20, 300), np.uint16)),
    ],
    ids=["one pixel", "all zero"],
)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pydantic")
@pytest.mark.filterwarnings("error")
def test_images_without_content_are_drawn_without_a_warning(
    name: str, post: Any, pre: Any, tmp_path: Path
) -> None:
    path = tmp_path / "figure.png"
    getattr(plotting, name)(post, pre, save_path=path)
    assert path.stat().st_size > 1000


def test_red_note_is_wrapped_and_cut(pair: Any) -> None:
    reason = "the outline could not be matched " * 40
    figure = draw(
        "plot_pre_post_heatmap", pair, verdicts={2: Verdict("failed", reason)}
    )
    red = [t for t in figure.texts if to_hex(t.get_color()) == WARNING_COLOUR]
    assert len(red) == 3
    assert red[-1].get_text().endswith("\u2026")
    figure.canvas.draw()
    width = figure.bbox.width
    assert all(t.get_window_extent().x1 < width for t in red)


class Guarded:
    """An image that refuses to be read whole."""

    def __init__(self, image: Any, most: int) -> None:
        self._image, self._most = image, most
        self.shape, self.dtype = image.shape, image.dtype

    def __getitem__(self, key: Any) -> Any:
        window = self._image[key]
        assert window.size <= self._most, f"{window.shape} px were read at once"
        return window


@pytest.mark.parametrize("name", NAMES)
def test_large_images_are_read_in_parts(name: str) -> None:
    tile = np.random.default_rng(0).integers(1, 90, (500, 400), dtype=np.uint8)
    whole = np.tile(tile, (9, 10))
    limit = 8_500_000
    assert whole.size > 2 * limit
    image = Guarded(whole, limit)
    more = {"size": 5000} if name.startswith("plot_zoom") else {}
    figure = getattr(plotting, name)(image, image, raw_pre=image, **more)
    assert figure.axes


def test_unknown_format_and_unusable_folder_are_refused(
    pair: Any, tmp_path: Path
) -> None:
    with pytest.raises(OutputError, match=r"must end in \.png"):
        draw("plot_pre_post_heatmap", pair, save_path=tmp_path / "figure.docx")
    (tmp_path / "file").write_text("here")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        draw("plot_pre_post_heatmap", pair, save_path=tmp_path / "file" / "a.png")


def test_failed_write_leaves_the_old_picture(
    pair: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figure.png"
    path.write_bytes(b"old")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OutputError, match="the disk is full"):
        draw("plot_pre_post_heatmap", pair, save_path=path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_vector_formats_are_written(pair: Any, tmp_path: Path) -> None:
    draw("plot_ratio_histogram", pair, save_path=tmp_path / "figure.svg")
    assert "<svg" in (tmp_path / "figure.svg").read_text(encoding="utf-8")
