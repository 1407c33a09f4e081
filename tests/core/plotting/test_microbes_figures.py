"""The plots of stage 5: what is drawn where, against the numbers that it stands for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from matplotlib.offsetbox import TextArea

from napari_exo2micro.core.detection import Completeness, Flag, purity_of
from napari_exo2micro.core.images import io, raster
from napari_exo2micro.core.plotting import (
    PlotContext,
    plot_candidates,
    plot_purity_completeness,
    plot_snr_map,
)
from napari_exo2micro.core.plotting.microbes import chosen, strongest

PAD = 60
HALF = 20


def draw(plot: Any, pair: Any, **more: Any) -> Figure:
    context = PlotContext(**pair.context | more)
    figure: Figure = plot(pair.post, pair.pre, context=context, sample="S", dye="D")
    return figure


def by_gid(figure: Figure, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def many(number: int) -> Table:
    """Return candidates all over the section, nine of ten of them counted."""
    rng = np.random.default_rng(5)
    table = Table({"id": np.arange(number), "x": rng.uniform(50, 350, number)})
    table["y"] = rng.uniform(50, 250, number)
    table["snr"] = table["snr_own"] = 8.0 + rng.exponential(5, number)
    table["flags"] = np.where(np.arange(number) % 10, 0, int(Flag.HOT_PIXEL))
    table["counted"] = table["flags"] == 0
    table["grade"] = "probable"
    return table


# The map -----------------------------------------------------------------------------


def test_each_counted_candidate_has_a_circle_at_its_place(pair: Any) -> None:
    (circles,) = by_gid(draw(plot_snr_map, pair), "candidates")
    table = pair.candidates[pair.candidates["counted"]]
    assert 20 < len(table) < 30
    wanted = np.column_stack([table["x"], table["y"]]) + PAD
    np.testing.assert_allclose(circles.get_xydata(), wanted)
    assert circles.get_markerfacecolor() == "none"


def test_the_map_shows_the_extremes_and_is_white_where_nothing_was_searched(
    pair: Any,
) -> None:
    figure = draw(plot_snr_map, pair)
    image = figure.axes[0].images[0]
    colours = np.asarray(image.get_array())
    left, _, _, top = image.get_extent()
    assert (left, top) == (PAD - 0.5, PAD - 0.5)  # post at full resolution
    row = pair.candidates[0]
    red, _, blue = colours[round(row["y"]), round(row["x"])]
    assert red > 240 > blue
    snr = np.array(pair.snr)
    snr[:, : PAD + 100] = 0
    half = np.asarray(draw(plot_snr_map, pair, snr=snr).axes[0].images[0].get_array())
    assert (half[:, :100] == 255).all()
    assert not (half[:, 100:] == 255).all(axis=-1).any()


def test_noise_is_dark_beside_what_lies_above_the_threshold(pair: Any) -> None:
    snr = np.full(pair.post.shape, 0.1, np.float32)
    snr[:, 200:300], snr[:, 300:] = 4.0, 12.0
    image = draw(plot_snr_map, pair, snr=snr).axes[0].images[0].get_array()
    nothing, noise, real = (int(image[100, x].max()) for x in (50, 190, 300))
    assert nothing < noise < 90 < 160 < real


def test_a_block_is_shown_by_its_value_farthest_from_zero() -> None:
    snr = np.random.default_rng(0).uniform(-1, 1, (230, 310)).astype(np.float32)
    snr[100, 200], snr[40, 9] = 9.0, -7.0
    picture = strongest(snr, (0, 0, 310, 230), 100)
    assert (picture.factor, picture.pixels.shape) == (4, (58, 78))
    assert picture.pixels[25, 50] == 9.0
    assert picture.pixels[10, 2] == -7.0
    block = snr[228:, 304:308]
    assert picture.pixels[57, 76] == block.flat[np.argmax(np.abs(block))]


def test_a_large_image_is_read_from_a_level_in_which_a_spot_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    side = 4096
    y, x = np.mgrid[-15:16, -15:16]
    spot = 10 * np.exp(-(x**2 + y**2) / (2 * 3.0**2)).astype(np.float32)
    snr = np.full((side, side), 0.01, np.float32)
    snr[1006 - 15 : 1006 + 16, 501 - 15 : 501 + 16] += spot
    path = tmp_path / "snr.tiff"
    bands = ((y0, snr[y0:y1]) for y0, y1 in raster.bands(snr.shape))
    io.write_raster([path], snr.shape, "float32", bands, header={}, cards=[])
    image = io.open_raster(path)
    read: list[tuple[int, int]] = []
    original = type(image).read

    def noted(self: Any, key: Any, level: int = 0) -> Any:
        window = original(self, key, level)
        read.append((level, window.size))
        return window

    monkeypatch.setattr(type(image), "read", noted)
    picture = strongest(image, (0, 0, side, side), 128)
    assert {level for level, _ in read} == {2}
    assert picture.factor == 32
    row, column = np.unravel_index(int(picture.pixels.argmax()), picture.pixels.shape)
    assert (row, column) == (1006 // 32, 501 // 32)
    assert 7.5 < picture.pixels.max() <= 10.1


@pytest.mark.parametrize(("size", "unit"), [((0.5, 0.5), "mm²"), (None, "10⁶ px")])
def test_of_many_candidates_the_density_is_drawn(
    pair: Any, words: Any, size: Any, unit: str
) -> None:
    table = many(900)
    figure = draw(plot_snr_map, pair, candidates=table, pixel_size=size)
    assert not by_gid(figure, "candidates")
    (density,) = by_gid(figure, "density")
    values = np.ma.filled(np.ma.masked_invalid(density.get_array()), 0.0)
    left, right, bottom, top = density.get_extent()
    rows, columns = values.shape
    cell = (right - left) / columns * (bottom - top) / rows / 1e6
    cell *= 0.25 if size else 1.0
    counted = np.count_nonzero(table["counted"])
    assert values.sum() * cell == pytest.approx(counted, rel=0.05)
    assert f"Counted candidates per {unit}" in words(figure)
    assert f"{counted} counted of 900 candidates" in words(figure)


# The purity --------------------------------------------------------------------------


def test_test_microbes_are_drawn_with_the_part_that_is_found(pair: Any, words: Any):
    rng = np.random.default_rng(3)
    flux = np.exp(rng.uniform(3, 8, 900))
    snr = flux / 40
    measured = np.where(rng.random(900) < 0.95 / (1 + (6 / snr) ** 6), flux, np.nan)
    it = Completeness.of(flux, flux * 0 + 9, snr, measured, snr)
    figure = draw(plot_purity_completeness, pair, recovery=it)
    (line,) = by_gid(figure, "completeness")
    levels, part = line.get_data()
    np.testing.assert_allclose(part, it.by_snr(levels))
    points = next(
        one for one in figure.axes[1].containers if one.get_label().startswith("Test")
    )
    levels, part = points.lines[0].get_data()
    assert np.abs(part - it.by_snr(levels)).mean() < 0.08
    said = words(figure)
    assert f"50 % at a flux of {it.limit(0.5):.3g} grey levels" in said
    assert "Test microbes found, of 900" in said


def test_the_line_and_the_band_are_the_purity_above(pair: Any, words: Any) -> None:
    purity = pair.context["purity"]
    figure = draw(plot_purity_completeness, pair)
    (line,) = by_gid(figure, "purity")
    levels, real = line.get_data()
    wanted = [purity.above(level) for level in levels]
    np.testing.assert_allclose(real, [value for value, _ in wanted])
    assert set(purity.positives) <= set(levels)
    (band,) = figure.axes[1].collections
    corners = band.get_paths()[0].vertices
    for level, (_, ends) in zip(levels, wanted, strict=True):
        heights = corners[np.isclose(corners[:, 0], level), 1]
        assert np.isclose(heights[:, None], ends).any(axis=0).all()
    middle, (low, high) = (purity.above(6.0)[0], purity.above(6.0)[1])
    legends = [t.get_text() for one in figure.legends for t in one.get_texts()]
    shown = [float(it) for it in re.findall(r"[\d.]+", legends[-1])]
    assert shown == pytest.approx([100 * middle, 100 * low, 100 * high], abs=0.06)
    assert "completeness: not measured" in words(figure)


def test_the_steps_are_the_numbers_above_each_snr(pair: Any) -> None:
    purity = pair.context["purity"]
    figure = draw(plot_purity_completeness, pair)
    for gid, values in (("candidates", purity.positives), ("dark", purity.negatives)):
        (steps,) = by_gid(figure, gid)
        levels, counts = steps.get_data()
        assert steps.get_drawstyle() == "steps-pre"
        for level, count in zip(levels[1:-1], counts[1:-1], strict=True):
            assert count == np.count_nonzero(values >= level)
        assert counts[0] == len(values)
    lines = by_gid(figure, "snr_min")
    assert [line.get_xdata()[0] for line in lines] == [6.0, 6.0]


def test_of_many_candidates_the_line_keeps_its_faint_and_its_bright_end(
    pair: Any,
) -> None:
    rng = np.random.default_rng(1)
    purity = purity_of(5 + rng.pareto(1.2, 20_000), 5 + rng.exponential(0.3, 3000))
    (line,) = by_gid(draw(plot_purity_completeness, pair, purity=purity), "purity")
    levels = line.get_xdata()[1:]
    assert len(levels) < 300
    assert levels[-1] == purity.positives[-1]
    assert set(purity.positives[-20:]) <= set(levels)
    assert levels[0] < 5.05


@pytest.mark.parametrize("dark", [[], [5.0, 6.0]])
def test_without_a_candidate_it_is_said(pair: Any, words: Any, dark: Any) -> None:
    figure = draw(plot_purity_completeness, pair, purity=purity_of([], dark))
    assert "There is no candidate" in words(figure)


# Cut-outs ----------------------------------------------------------------------------


def test_cut_outs_hold_the_pixels_of_the_images(pair: Any) -> None:
    difference = pair.post.astype(np.float32) - 7
    figure = draw(plot_candidates, pair, difference=difference)
    order = chosen(pair.candidates, 6.0)
    panels = [axes for axes in figure.axes if len(axes.images) == 4]
    assert len(panels) == len(order) == 24
    scale, offset = pair.scales[0].scale, pair.scales[0].offset
    for axes, row in zip(panels, pair.candidates[order], strict=True):
        x, y = round(row["x"]) + PAD, round(row["y"]) + PAD
        window = slice(y - HALF, y + HALF + 1), slice(x - HALF, x + HALF + 1)
        post, pre, left, snr = (np.asarray(im.get_array()) for im in axes.images)
        np.testing.assert_array_equal(post, pair.post[window])
        wanted = offset + scale * pair.pre[window].astype(np.float32)
        np.testing.assert_allclose(pre, wanted, rtol=1e-5)
        np.testing.assert_array_equal(left, difference[window])
        np.testing.assert_array_equal(snr, pair.snr[window])
        assert snr[HALF, HALF] == pytest.approx(row["snr"])


def test_contrasts_can_be_compared(pair: Any) -> None:
    figure = draw(plot_candidates, pair)
    panels = [axes.images for axes in figure.axes if len(axes.images) == 4]
    for post, pre, difference, _ in panels:
        assert post.get_clim() == pre.get_clim()
        low, high = difference.get_clim()
        assert low == -high == -np.abs(difference.get_array()).max()
    assert len({snr.get_clim() for *_, snr in panels}) == 1


def test_beyond_the_edge_nothing_is_shown(pair: Any) -> None:
    table = pair.candidates[:1]
    table["x"], table["y"] = float(5 - PAD), float(2 - PAD)
    figure = draw(plot_candidates, pair, candidates=table)
    post = np.ma.filled(figure.axes[0].images[0].get_array().astype(float), np.nan)
    assert np.isnan(post[: HALF - 2]).all()
    assert np.isnan(post[:, : HALF - 5]).all()
    np.testing.assert_array_equal(
        post[HALF - 2 :, HALF - 5 :], pair.post[: HALF + 3, : HALF + 6]
    )


def test_a_label_tells_number_snr_grade_and_flags(pair: Any, words: Any) -> None:
    text = words(draw(plot_candidates, pair))
    assert "1   S/N 60.0   certain" in text
    assert "edge of grain" in text
    assert "30   S/N 5.2   candidate   refused: broad" in text
    assert "candidate   below the threshold" in text
    assert "24 of 30" in text


@pytest.mark.parametrize(("size", "bar"), [((0.5, 0.5), "µm"), (None, "px")])
def test_one_cut_out_has_a_scale_bar(pair: Any, size: Any, bar: str) -> None:
    figure = draw(plot_candidates, pair, pixel_size=size)
    (area,) = figure.findobj(TextArea)
    assert re.fullmatch(rf"\d+ {bar}", area.get_text())


def test_the_choice_shows_strong_ones_those_at_the_threshold_and_refused_ones() -> None:
    table = many(500)
    picked = chosen(table, 9.0)
    assert len(set(picked.tolist())) == len(picked) == 24
    np.testing.assert_array_equal(picked, chosen(table, 9.0))
    own, is_kept = np.asarray(table["snr_own"]), np.asarray(table["flags"]) == 0
    kept = picked[is_kept[picked]]
    assert len(kept) == 18
    assert (np.diff(own[kept]) <= 0).all()
    strong = np.flatnonzero(is_kept)[np.argsort(-own[is_kept])]
    assert set(strong[:6]) <= set(kept)
    near = np.flatnonzero(is_kept)[np.argsort(np.abs(own[is_kept] - 9.0))]
    assert set(near[:6]) <= set(kept)
    refused = picked[~is_kept[picked]]
    assert own[refused[0]] == own[~is_kept].max()


@pytest.mark.parametrize("number", [1, 2, 5, 23, 24, 25])
def test_of_few_candidates_all_are_shown(number: int) -> None:
    picked = chosen(many(number), None)
    assert len(set(picked.tolist())) == min(number, 24)


def test_no_candidate_is_said_in_words(pair: Any, words: Any) -> None:
    text = words(draw(plot_candidates, pair, candidates=pair.candidates[:0]))
    assert "There is no candidate: no spot has" in text
    assert "6.00" in text
    assert "Stage 5 has no result yet" in words(
        draw(plot_candidates, pair, candidates=None)
    )
