"""Plots called as in the reference system: what they draw and return."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from napari_exo2micro.core.alignment import BoundaryAlignment, register_highorder
from napari_exo2micro.core.base import ParameterError, RegistrationError
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.parameters import Verdict
from napari_exo2micro.core.plotting import (
    plot_difference_image,
    plot_excess_heatmap,
    plot_ratio_histogram_simple,
    plot_zoom,
    plot_zoom_multi,
)

LEVELS = np.arange(200 * 300, dtype=np.uint16).reshape(200, 300)


def test_any_image_is_zoomed_into_from_its_upper_left_pixel(tmp_path: Path) -> None:
    path = tmp_path / "zoom.png"
    figure, crop = plot_zoom(LEVELS, 50, 60, 40, title="here", save_path=path)
    np.testing.assert_array_equal(crop, LEVELS[50:90, 60:100].astype(np.float32))
    assert crop.dtype == np.float32
    assert figure.axes[0].get_xlim() == (59.5, 99.5)
    with Image.open(path) as picture:
        assert len(picture.getcolors(2**24)) > 20
    blurred = plot_zoom(LEVELS, row=50, col=60, size=40, sigma=3.0, diverging=True)[1]
    assert blurred.shape == (40, 40)
    assert not np.array_equal(blurred, crop)


@pytest.mark.parametrize(
    ("row", "column", "shape"),
    [(190, 0, (10, 40)), (-5, 999, (40, 1)), (0, 0, (40, 40))],
)
def test_a_crop_at_the_edge_is_cut(
    row: int, column: int, shape: tuple[int, int]
) -> None:
    assert plot_zoom(LEVELS, row, column, 40)[1].shape == shape


def test_any_number_of_images_stand_side_by_side() -> None:
    images = [LEVELS, LEVELS / 2, np.full(LEVELS.shape, np.nan), -1.0 * LEVELS]
    figure, crops = plot_zoom_multi(
        images,
        labels=["a", "b", "nothing", "d"],
        row=10,
        col=20,
        size=30,
        cmaps=["gray", "viridis", "gray", "gray"],
        diverging_flags=[False, False, False, True],
        sample="S",
        dye="D",
    )
    assert len(figure.axes) == 8
    for image, crop in zip(images, crops, strict=True):
        np.testing.assert_array_equal(crop, image[10:40, 20:50].astype(np.float32))
    with pytest.raises(ParameterError, match="2 images and 1 labels"):
        plot_zoom_multi([LEVELS, LEVELS], ["one"], 0, 0, 10)


def test_our_own_forms_return_a_figure(pair: Any) -> None:
    post, pre = pair.post, pair.pre
    for figure in (
        plot_zoom(post, pre, size=50),
        plot_zoom(post_im=post, pre_im=pre, row=100, column=100, size=50),
        plot_zoom_multi(post, pre, size=50),
        plot_difference_image(post, pre, scale=1.2),
        plot_excess_heatmap(post, pre),
    ):
        assert isinstance(figure, Figure)


def test_a_scale_by_its_place_returns_the_difference(pair: Any) -> None:
    figure, difference = plot_difference_image(pair.post, pair.pre, 1.25, "S", "D")
    wanted = pair.post.astype(float) - 1.25 * pair.pre
    np.testing.assert_allclose(difference, wanted, atol=1e-3)
    assert "sample S, dye D" in " ".join(text.get_text() for text in figure.texts)


def test_lines_have_labels_values_and_colours(pair: Any) -> None:
    lines = [("ratio p50", 1.198, "#ff9933"), ("none", None, "#ff3366")]
    for arguments, more, wanted in (
        ((), {"scales": lines}, {"scale-ratio p50": "#ff9933"}),
        ((), {"scale": 1.3}, {"scale-scale": "#00cc88"}),
        ((1.3,), {}, {"scale-scale": "#00cc88"}),
    ):
        figure = plot_excess_heatmap(pair.post, pair.pre, *arguments, **more)
        lines_drawn = [line for line in figure.axes[0].lines if line.get_gid()]
        assert {one.get_gid(): one.get_color() for one in lines_drawn} == wanted


def test_the_simple_ratio_histogram_tells_the_scale(pair: Any, tmp_path: Path) -> None:
    fixed = np.pad(pair.post, 60)
    alignment = register_highorder(fixed, np.pad(pair.pre, 60))
    post, aligned, coarse, matrix, rest = alignment
    np.testing.assert_array_equal(post, fixed)
    assert aligned.shape == coarse.shape == post.shape
    assert {image.dtype for image in (post, aligned, coarse)} == {np.dtype("float32")}
    np.testing.assert_array_equal(matrix, alignment.transform.matrix)
    assert rest["verdict"] is alignment.verdict
    figure, scale = plot_ratio_histogram_simple(
        post, aligned, save_path=tmp_path / "ratio.png"
    )
    assert isinstance(figure, Figure)
    assert (tmp_path / "ratio.png").is_file()
    assert scale == pytest.approx(pair.scales[0].scale, rel=0.05)


def test_an_alignment_without_images_cannot_be_unpacked() -> None:
    same, none = Transform.identity(), np.empty((0, 2))
    alignment = BoundaryAlignment(same, same, Verdict("ok"), "boundary", none, none)
    with pytest.raises(RegistrationError, match="does not hold its images"):
        list(alignment)
