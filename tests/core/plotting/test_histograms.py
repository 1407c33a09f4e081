from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.photometry import accumulate_statistics
from napari_exo2micro.core.photometry.scale import manual_scale
from napari_exo2micro.core.plotting import (
    plot_difference_histogram,
    plot_pre_post_histograms,
    plot_ratio_histogram,
)
from napari_exo2micro.core.plotting.charts import (
    difference_counts,
    rebin,
    spread_counts,
)


def curves(figure: Any) -> dict[str, Any]:
    """Return the step curves of a figure by label, on one line."""
    return {
        patch.get_label().replace("\n", " "): patch.get_data()
        for patch in figure.axes[0].patches
    }


def test_all_three_images_have_a_curve(pair: Any) -> None:
    figure = plot_pre_post_histograms(pair.post, pair.pre, statistics=pair.statistics)
    drawn = curves(figure)
    assert list(drawn) == [
        "Pre-stain, as photographed",
        "Pre-stain, aligned",
        "Post-stain",
    ]
    values = drawn["Post-stain"].values
    inside = pair.statistics.post.counts[: len(values)]
    assert values == pytest.approx(inside)


def test_original_pre_is_left_out_when_unknown(pair: Any) -> None:
    drawn = curves(plot_pre_post_histograms(pair.post, pair.pre))
    assert len(drawn) == 2


def test_count_axis_is_logarithmic_only_when_one_bin_dwarfs_the_rest() -> None:
    image = np.random.default_rng(1).integers(0, 200, (300, 300), dtype=np.uint8)
    assert plot_pre_post_histograms(image, image).axes[0].get_yscale() == "linear"
    padded = np.pad(image, 2000)
    assert plot_pre_post_histograms(padded, padded).axes[0].get_yscale() == "log"


def test_saturated_pixels_are_counted_in_words(words: Any) -> None:
    image = np.random.default_rng(1).integers(1, 200, (100, 100), dtype=np.uint8)
    image[:10] = 255
    assert "1000 pixels\n(10 %) are\nsaturated" in words(
        plot_pre_post_histograms(image, image)
    )


def test_difference_histogram_has_its_three_groups(pair: Any) -> None:
    figure = plot_difference_histogram(
        pair.post, pair.pre, statistics=pair.statistics, scales=pair.scales
    )
    drawn = curves(figure)
    assert list(drawn) == [
        "All pixels",
        "Signal before and after staining",
        "Signal only after staining",
    ]
    everything = drawn["All pixels"]
    assert everything.values.sum() == pytest.approx(pair.statistics.n_both, rel=1e-3)
    centres = (everything.edges[1:] + everything.edges[:-1]) / 2
    assert abs(centres[np.argmax(everything.values)]) < 2
    assert figure.axes[0].get_yscale() == "log"


def test_difference_counts_agree_with_the_difference_itself(pair: Any) -> None:
    joint = pair.statistics.joint
    post, pre = np.nonzero(joint)
    exact = post - 3.0 - 1.4 * pre  # an 8-bit level has a cell of its own
    edges = np.linspace(exact.min(), exact.max(), 13)
    drawn = difference_counts(pair.statistics, 1.4, 3.0, edges)
    for name, part in (
        ("all", post >= 0),
        ("post_only", (post > 0) & (pre == 0)),
        ("both", (post > 0) & (pre > 0)),
    ):
        weights = joint[post[part], pre[part]]
        expected, _ = np.histogram(exact[part], edges, weights=weights)
        assert np.abs(drawn[name] - expected).max() < 0.03 * joint.sum()


def test_offset_moves_the_difference(pair: Any) -> None:
    edges = np.linspace(-100, 100, 201)
    before, after = (
        difference_counts(pair.statistics, 1.4, offset, edges)["all"]
        for offset in (0.0, 5.0)
    )
    assert after[:-5] == pytest.approx(before[5:], abs=1e-3)


def test_title_says_what_was_subtracted(pair: Any, words: Any) -> None:
    figure = plot_difference_histogram(
        pair.post, pair.pre, statistics=pair.statistics, scale=1.25, offset=-2.0
    )
    assert words(figure).startswith("Difference: post \u2212 1.25 × pre + 2\n")


def test_ratio_shows_profile_bins_and_lines(pair: Any, words: Any) -> None:
    figure = plot_ratio_histogram(
        pair.post, pair.pre, statistics=pair.statistics, scales=pair.scales
    )
    axes = figure.axes[0]
    lines = {line.get_label().split("\n")[0]: line for line in axes.get_lines()}
    fit = pair.scales[0].fit
    x, y = lines["Moffat profile"].get_data()
    assert y == pytest.approx(fit.profile(x))
    assert len(lines["Bins of the fit"].get_xdata()) == np.isfinite(fit.mirrored).sum()
    assert lines["Moffat"].get_xdata()[0] == pytest.approx(
        np.log10(pair.scales[0].scale)
    )
    low, high = axes.get_xlim()
    assert low < fit.low < fit.high < high
    assert "By hand\n1.42" in words(figure)


def test_ratio_line_beyond_the_axis_is_said_to_be(pair: Any, words: Any) -> None:
    figure = plot_ratio_histogram(
        pair.post,
        pair.pre,
        statistics=pair.statistics,
        scales=[pair.scales[0], manual_scale(90.0)],
    )
    assert "By hand\n90\n(beyond the axis)" in words(figure)


def test_ratio_without_a_fit_shows_the_pixels(pair: Any) -> None:
    figure = plot_ratio_histogram(
        pair.post, pair.pre, statistics=pair.statistics, scales=[manual_scale(1.42)]
    )
    drawn = curves(figure)["All pixels"]
    centres = (drawn.edges[1:] + drawn.edges[:-1]) / 2
    peak = 10 ** centres[np.argmax(drawn.values)]
    assert peak == pytest.approx(1.4, rel=0.1)


def test_scale_that_fell_back_is_said_in_red(words: Any) -> None:
    rng = np.random.default_rng(3)
    post = rng.integers(1, 90, (20, 20), dtype=np.uint8)
    figure = plot_ratio_histogram(post, post)
    assert "Scale (moffat) fell back: only" in words(figure)


values = st.lists(
    st.tuples(st.floats(-50, 50), st.floats(0, 20), st.integers(1, 10**6)),
    min_size=1,
    max_size=30,
)


@given(values)
def test_spread_counts_keep_every_pixel(cells: list[tuple[float, float, int]]) -> None:
    middle, width, counts = (np.array(column) for column in zip(*cells, strict=True))
    edges = np.linspace(-61, 61, 400)
    found = spread_counts(middle, width, counts, edges)
    assert found.sum() == pytest.approx(counts.sum(), rel=1e-6)
    assert found.min() >= 0


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=40), st.integers(1, 60))
def test_rebinning_keeps_the_total(counts: list[int], bins: int) -> None:
    edges = np.arange(len(counts) + 1) ** 1.5
    new = np.linspace(-1, edges[-1] + 1, bins + 1)
    array = np.array(counts, dtype=np.int64)
    assert rebin(array, edges, new).sum() == pytest.approx(array.sum())


def test_padding_does_not_count_when_frames_are_known() -> None:
    image = np.pad(np.full((20, 30), 9, np.uint8), 50)
    frame = (50, 50, 30, 20)
    figure = plot_pre_post_histograms(image, image, post_frame=frame)
    statistics = accumulate_statistics(image, image, post_frame=frame)
    assert curves(figure)["Post-stain"].values.sum() == statistics.n_post == 600
