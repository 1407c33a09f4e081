from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex

from napari_exo2micro.core.photometry.scale import manual_scale
from napari_exo2micro.core.plotting import plot_excess_heatmap, plot_pre_post_heatmap

WHITE = (255, 255, 255, 255)


def scale_lines(figure: Any) -> dict[str, Any]:
    lines = figure.axes[0].get_lines()
    return {line.get_gid(): line for line in lines if line.get_gid()}


def test_each_scale_has_its_line_in_its_colour(pair: Any) -> None:
    figure = plot_excess_heatmap(
        pair.post, pair.pre, statistics=pair.statistics, scales=pair.scales
    )
    lines = scale_lines(figure)
    colours = {name: to_hex(line.get_color()) for name, line in lines.items()}
    assert colours == {
        "scale-moffat": "#00cc88",
        "scale-percentile_p99.1": "#ff9933",
        "scale-manual": "#ff3366",
    }
    x, y = lines["scale-manual"].get_data()
    assert y[-1] / x[-1] == pytest.approx(1.42)


def test_scale_line_includes_the_offset(pair: Any) -> None:
    estimate = manual_scale(2.0)
    shifted = type(estimate)("manual", 2.0, 0.0, 10.0, 0.0, estimate.verdict)
    figure = plot_excess_heatmap(
        pair.post, pair.pre, statistics=pair.statistics, scales=[shifted]
    )
    x, y = scale_lines(figure)["scale-manual"].get_data()
    assert y == pytest.approx(10 + 2 * x)


def test_default_scale_is_drawn_when_none_is_given(pair: Any) -> None:
    lines = scale_lines(plot_excess_heatmap(pair.post, pair.pre))
    assert list(lines) == ["scale-moffat"]
    x, y = lines["scale-moffat"].get_data()
    assert (y[-1] - y[0]) / (x[-1] - x[0]) == pytest.approx(1.4, rel=0.05)


def test_excess_lies_above_the_identity_line_only() -> None:
    post = np.repeat(np.array([[60], [20]], np.uint8), 50, axis=1)
    pre = np.repeat(np.array([[20], [60]], np.uint8), 50, axis=1)
    post[1, :20], pre[1, :20] = 40, 10
    figure = plot_excess_heatmap(post, pre, scales=[manual_scale(1.5)])
    colours = figure.axes[0].get_images()[0].get_array()
    below = np.triu(np.ones(colours.shape[:2], bool))
    assert np.all(colours[below] == WHITE)
    # 50 pixels at (20, 60) less 30 at (60, 20) remain, and 20 at (10, 40).
    assert not np.array_equal(colours[60, 20], colours[50, 20])
    assert np.array_equal(colours[60, 20], colours[40, 10])
    assert np.array_equal(colours[20, 60], WHITE)


def test_density_counts_every_pixel_and_has_the_identity_line(pair: Any) -> None:
    figure = plot_pre_post_heatmap(pair.post, pair.pre, statistics=pair.statistics)
    axes = figure.axes[0]
    x, y = axes.get_lines()[0].get_data()
    assert np.array_equal(x, y)
    colours = axes.get_images()[0].get_array()
    joint = pair.statistics.joint[: colours.shape[0], : colours.shape[1]]
    empty = np.all(colours == colours[0, -1], axis=-1)
    assert np.array_equal(~empty, joint > 0)


def test_levels_far_apart_get_square_root_axes(words: Any) -> None:
    rng = np.random.default_rng(2)
    pre = rng.integers(100, 300, (200, 200)).astype(np.uint16)
    post = (1.5 * pre).astype(np.uint16)
    post[:3] = 60_000
    figure = plot_pre_post_heatmap(post, pre)
    assert "square-root axis" in words(figure)
    figure.canvas.draw()
    labels = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert labels[0] == "0"
    assert "60000" in labels
    assert "square-root" not in words(plot_pre_post_heatmap(pre, pre))


def test_images_that_never_overlap_are_said_to(words: Any) -> None:
    post = np.full((40, 40), 9, np.uint8)
    figure = plot_excess_heatmap(post, post)
    assert "Nowhere are there more" in words(figure).replace("\n", " ")
