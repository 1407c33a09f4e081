"""Simulated pairs: what their truth says is what the images show."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from napari_exo2micro.core.base import (
    CancelledError,
    Monitor,
    OutputError,
    ParameterError,
    RawDataError,
)
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.simulate import (
    SectionSettings,
    SimulatedPair,
    Truth,
    camera,
    read_truth,
    registration_error,
    scene,
    simulate_section,
    write_large_pair,
    write_pair,
)

SHAPE = (520, 600)
MOVE: dict[str, Any] = {"angle_deg": 9.0, "scale": 1.04, "shift": (11.3, -7.6)}
MICROSCOPE: dict[str, Any] = {
    **{"seam_px": 3.0, "tile_px": 150, "tile_light": 0.1, "deformation_px": 2.0},
    **{"mineral_ratio": 0.1, "mineral_stain": 0.2, "hot_pixels": 20, "dust": 5},
    **{"defocus": 1.5, "astigmatism": 2.0, "exposure": 1.2},
}


def aligned_pre(
    pair: SimulatedPair, *, off: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """Return pre as the truth, off by (x, y) px, warps it; NaN outside its frame."""
    rows, columns = pair.truth.post_shape
    y, x = np.mgrid[0:rows, 0:columns]
    places = pair.truth(np.stack([x.ravel(), y.ravel()], axis=1)) + off
    values = ndimage.map_coordinates(
        pair.pre.astype(np.float64), places[:, ::-1].T, order=3, cval=np.nan
    )
    return np.asarray(values.reshape(rows, columns))


def section_mask(pair: SimulatedPair, grow: int = 2) -> NDArray[np.bool_]:
    """Return px around the points on the section that both images show."""
    mask = np.zeros(pair.truth.post_shape, dtype=bool)
    x, y = np.rint(pair.truth.points).astype(int).T
    mask[y, x] = True
    inner = np.zeros_like(mask)
    inner[12:-12, 12:-12] = True
    return (ndimage.binary_dilation(mask, iterations=grow) if grow else mask) & inner


def residual(
    pair: SimulatedPair, *, off: tuple[float, float] = (0.0, 0.0), grow: int = 2
) -> NDArray[np.float64]:
    """Return post - gain * aligned pre - offset, on the section."""
    difference = (
        pair.post - pair.truth.gain * aligned_pre(pair, off=off) - pair.truth.offset
    )
    values = difference[section_mask(pair, grow)]
    return values[np.isfinite(values)]


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def exact(**kwargs: Any) -> SimulatedPair:
    """Return a pair without noise, microbes and rounding."""
    asked = {**MOVE, "noise": 0.0, "microbes": 0, "dtype": "float32", **kwargs}
    return simulate_section(SHAPE, **asked)


@pytest.mark.parametrize(
    "geometry",
    [
        MOVE,
        {"shift": (0.5, 0.25)},
        {"angle_deg": 130.0, "scale": 0.9},
        {"mirrored": True, "angle_deg": -15.0},
        {**MOVE, "perspective": 0.03},
        {**MOVE, "deformation_px": 4.0},
        {**MOVE, "frame_filling": True, "pre_shape": (480, 640)},
    ],
)
def test_truth_tells_where_each_point_is(geometry: dict[str, Any]) -> None:
    pair = exact(**{"angle_deg": 0.0, "scale": 1.0, "shift": (0.0, 0.0), **geometry})
    best = rms(residual(pair))
    assert best < 0.3
    for off in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.1), (0.0, -0.1)):
        assert rms(residual(pair, off=off)) > 2.5 * best


def test_truth_has_no_bias_below_a_fiftieth_of_a_pixel() -> None:
    pair = exact()
    for axis in (0, 1):
        off = np.array([-0.1, 0.0, 0.1])
        steps = [(o, 0.0) if axis == 0 else (0.0, o) for o in off]
        squares = [rms(residual(pair, off=step)) ** 2 for step in steps]
        curve = np.polyfit(off, squares, 2)
        assert abs(-curve[1] / (2 * curve[0])) < 0.01


def test_difference_leaves_noise_without_structure() -> None:
    pair = simulate_section(SHAPE, microbes=0, gain=1.5, offset=6.0, **MOVE)
    left = residual(pair)
    scene = exact(gain=1.0).post[section_mask(pair)]
    of_post = 1.0 + np.mean(1.5 * scene) / 40
    of_pre = 1.5**2 * (1.0 + np.mean(scene) / 40)
    assert rms(left) < 1.05 * np.sqrt(of_post + of_pre)
    assert rms(left) > 0.9 * np.sqrt(of_post)
    assert abs(np.mean(left)) < 0.15
    assert abs(np.corrcoef(left, scene)[0, 1]) < 0.03


@pytest.mark.parametrize(("gain", "offset"), [(0.7, 0.0), (1.6, 12.0)])
def test_gain_and_offset_are_as_told(gain: float, offset: float) -> None:
    pair = simulate_section(SHAPE, microbes=0, gain=gain, offset=offset)
    assert (pair.truth.gain, pair.truth.offset) == (gain, offset)
    smooth = [
        ndimage.gaussian_filter(i.astype(float), 3) for i in (pair.pre, pair.post)
    ]
    slope, start = np.polyfit(smooth[0].ravel(), smooth[1].ravel(), 1)
    assert slope == pytest.approx(gain, rel=0.005)
    assert start == pytest.approx(offset, abs=0.3)


def test_microbes_are_where_the_table_says_and_as_bright() -> None:
    with_microbes = exact(microbes=40)
    difference = with_microbes.post - exact().post
    table = with_microbes.truth.microbes
    assert len(table) == 40
    assert difference.sum() == pytest.approx(table["flux"].sum(), rel=0.01)
    at = ndimage.map_coordinates(difference, [table["y"], table["x"]], order=3)
    np.testing.assert_array_less(table["brightness"] * 0.97, at)
    one = simulate_section(SHAPE, noise=0.0, microbes=1, dtype="float32")
    spot = one.truth.microbes[0]
    alone = (
        one.post - simulate_section(SHAPE, noise=0, microbes=0, dtype="float32").post
    )
    assert alone.max() == pytest.approx(spot["brightness"], rel=0.1)
    centre = ndimage.center_of_mass(alone)
    assert centre == pytest.approx((spot["y"], spot["x"]), abs=0.02)
    np.testing.assert_array_equal(exact(microbes=40).pre, exact().pre)


def test_same_seed_same_pair_other_seed_other_pair() -> None:
    first, again, other = (
        simulate_section((200, 240), seed=seed, dense=True) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.post, again.post)
    np.testing.assert_array_equal(first.pre, again.pre)
    assert first.truth.to_dict() == again.truth.to_dict()
    assert rms(first.post.astype(float) - other.post) > 10.0


def test_the_section_does_not_depend_on_the_move() -> None:
    still, moved = simulate_section(SHAPE), simulate_section(SHAPE, **MOVE)
    np.testing.assert_array_equal(still.post, moved.post)
    assert rms(still.pre.astype(float) - moved.pre) > 5.0


def test_noise_of_the_two_images_is_independent() -> None:
    noise = [
        image.astype(float) - quiet
        for image, quiet in zip(
            (lambda p: (p.post, p.pre))(
                simulate_section(SHAPE, dtype="float32", gain=1.0)
            ),
            (lambda p: (p.post, p.pre))(
                simulate_section(SHAPE, dtype="float32", gain=1.0, noise=0.0)
            ),
            strict=True,
        )
    ]
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.01


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 20, 120), ("uint16", 4000, 24000), ("float32", 20, 120)],
)
def test_type_and_level(dtype: str, low: float, high: float) -> None:
    pair = simulate_section(SHAPE, dtype=dtype, gain=1.0)
    assert pair.post.dtype == pair.pre.dtype == np.dtype(dtype)
    on_section = pair.pre[section_mask(pair)]
    assert low < np.median(on_section) < high
    if dtype != "float32":
        top = np.iinfo(pair.post.dtype).max
        assert (
            np.mean(simulate_section(SHAPE, dtype=dtype, gain=1.6).post == top) < 1e-3
        )
        assert not (pair.pre == top).any()


@pytest.mark.parametrize("signal_channel", [0, 2])
def test_colour_has_the_signal_in_one_channel(signal_channel: int) -> None:
    grey = simulate_section((120, 150))
    colour = simulate_section((120, 150), channels="rgb", signal_channel=signal_channel)
    assert colour.post.shape == (120, 150, 3)
    np.testing.assert_array_equal(colour.post[..., signal_channel], grey.post)
    assert colour.pre.sum() == grey.pre.sum()


@pytest.mark.parametrize("which", ["pre", "post"])
def test_a_piece_is_missing_from_one_image(which: str) -> None:
    whole, broken = exact(), exact(piece_missing=which)
    gone = getattr(whole, which) - getattr(broken, which) > 5.0
    section = getattr(whole, which) > 10.0
    assert 0.1 < gone.sum() / section.sum() < 0.5
    other = "post" if which == "pre" else "pre"
    np.testing.assert_array_equal(getattr(whole, other), getattr(broken, other))
    assert rms(residual(broken, grow=0)) < 0.3
    if which == "post":
        table = exact(piece_missing="post", microbes=50).truth.microbes
        assert not gone[
            np.rint(table["y"]).astype(int), np.rint(table["x"]).astype(int)
        ].any()


def test_other_field_of_view_moves_a_part_out_of_frame() -> None:
    pair = exact(field_of_view=(220.0, 0.0))
    assert (pair.pre > 10).mean() < 0.8 * (pair.post > 10).mean()
    seen = pair.truth(pair.truth.points)
    assert (seen >= 0).all()
    assert (seen <= [599, 519]).all()
    assert rms(residual(pair)) < 0.3


def test_frame_filling_has_no_outline() -> None:
    pair = exact(frame_filling=True)
    for image in (pair.post, pair.pre):
        edge = np.concatenate([image[:4].ravel(), image[:, -4:].ravel()])
        assert np.median(edge) > 15.0
    assert np.median(exact().post[:4]) < 8.0


def test_uneven_light_differs_between_the_images() -> None:
    even, uneven = exact(), exact(uneven_light=0.4)
    light = uneven.pre / even.pre
    assert light.max() == pytest.approx(1.4, abs=0.05) or light.min() == pytest.approx(
        0.6, abs=0.05
    )
    assert 0.55 < light.min() < light.max() < 1.45
    of_post = uneven.post / even.post
    assert of_post.std() > 0.05
    assert rms(of_post / of_post.mean() - light / light.mean()) > 0.05


def test_the_gain_is_the_median_gain_under_uneven_light() -> None:
    pair = exact(uneven_light=0.4, gain=1.1, microbes=0)
    columns, rows = np.rint(pair.truth.points).astype(int).T
    there = np.rint(pair.truth(pair.truth.points)).astype(int)
    ratio = pair.post[rows, columns] / pair.pre[there[:, 1], there[:, 0]]
    assert np.median(ratio) == pytest.approx(1.1, rel=0.02)


@pytest.mark.parametrize("which", ["pre", "post"])
def test_defocus_blurs_one_image(which: str) -> None:
    sharp, soft = exact(), exact(defocus=2.0, defocus_image=which)
    expected = ndimage.gaussian_filter(getattr(sharp, which), 2.0)
    inner = (slice(20, -20),) * 2
    assert rms((getattr(soft, which) - expected)[inner]) < 0.05
    other = "post" if which == "pre" else "pre"
    np.testing.assert_array_equal(getattr(sharp, other), getattr(soft, other))


def test_glow_is_broad_and_in_post_only() -> None:
    plain, glowing = exact(), exact(glow=30.0)
    added = glowing.post - plain.post
    assert added.max() == pytest.approx(30.0, rel=0.05)
    assert np.abs(np.diff(added, axis=0)).max() < 1.0
    np.testing.assert_array_equal(plain.pre, glowing.pre)


def test_dim_has_few_grey_levels_and_dense_many_microbes() -> None:
    dim = simulate_section(SHAPE, dim=True, microbes=0)
    assert 3 < np.median(dim.post[section_mask(dim)]) < 16
    plain, dense = simulate_section(SHAPE), simulate_section(SHAPE, dense=True)
    assert len(plain.truth.microbes) == 520 * 600 // 20_000
    assert len(dense.truth.microbes) == 10 * len(plain.truth.microbes)


def test_deformation_is_as_long_as_told_and_no_projective_map() -> None:
    truth = exact(deformation_px=5.0).truth
    assert truth.deformation is not None
    y, x = np.mgrid[0:520:10, 0:600:10]
    grid = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    moved = truth.deformation(grid)
    assert np.hypot(*moved.T).max() == pytest.approx(5.0, rel=0.02)
    np.testing.assert_allclose(truth.deformation.undo(grid + moved), grid, atol=1e-6)
    # What is left of it after the best affine map.
    design = np.column_stack([grid, np.ones(len(grid))])
    left = moved - design @ np.linalg.lstsq(design, moved, rcond=None)[0]
    assert np.hypot(*left.T).max() > 1.0


def at(image: NDArray[Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an image at points (x, y)."""
    return ndimage.map_coordinates(image.astype(float), points.T[::-1], order=3)


@pytest.mark.parametrize("more", [{}, {"deformation_px": 3.0, "mirrored": True}])
def test_tiles_of_a_stitched_pair_are_where_the_truth_says(more: Any) -> None:
    pair = exact(seam_px=4.0, tile_px=150, **more)
    truth = pair.truth
    assert truth.post_seams is not None
    assert truth.pre_seams is not None
    for seams in (truth.post_seams, truth.pre_seams):
        assert np.hypot(*seams.moves.T).max() == pytest.approx(4.0, abs=1e-3)
        assert seams.distance(np.array([[300.0, 200.0]])) <= 75
        points = np.random.default_rng(1).uniform(0, 500, (500, 2))
        far = points[seams.distance(points) > 6.0]
        np.testing.assert_allclose(seams.undo(far + seams(far)), far)
    points = truth.points
    assert len(points) > 300
    left = [
        rms(at(pair.post, points) - truth.gain * at(pair.pre, truth(points) + off))
        for off in ([0.0, 0.0], [0.2, 0.0], [0.0, 0.2])
    ]
    assert left[0] < 0.4
    assert min(left[1:]) > 2 * left[0]
    # No plane map is right everywhere.
    assert rms(truth(points) - truth.transform(points)) > 1.0
    assert read_back(truth).to_dict() == truth.to_dict()
    assert np.array_equal(read_back(truth)(points), truth(points))


def read_back(truth: Truth) -> Truth:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        path.write_text(json.dumps(truth.to_dict()))
        return read_truth(path)


def test_photons_give_the_noise_of_a_counting_camera() -> None:
    asked: dict[str, Any] = {"dtype": "float32", "microbes": 0, **MOVE}
    clean = simulate_section(SHAPE, noise=0.0, **asked).post.astype(float)
    noisy = simulate_section(SHAPE, noise=2.0, photons=100.0, **asked).post
    for low, high in ((2, 6), (40, 60), (90, 130)):
        here = (clean > low) & (clean < high)
        variance = np.mean((noisy[here] - clean[here]) ** 2)
        expected = 4.0 + np.mean(clean[here]) * 255 / 100
        assert variance == pytest.approx(expected, rel=0.05)


def test_minerals_have_ratios_of_their_own_and_the_gain_is_their_median() -> None:
    def ratio(**more: float) -> NDArray[np.float64]:
        pair = exact(angle_deg=0.0, scale=1.0, shift=(0.0, 0.0), gain=1.2, **more)
        points = pair.truth.points
        return at(pair.post, points) / at(pair.pre, points)

    assert ratio().std() < 1e-3
    spread = ratio(mineral_ratio=0.2)
    assert np.median(spread) == pytest.approx(1.2, rel=0.02)
    assert np.log(spread).std() == pytest.approx(0.2, rel=0.3)
    stained = ratio(mineral_stain=0.4)
    assert np.median(stained) == pytest.approx(1.2, rel=0.02)
    assert 0.1 < np.mean(stained > 1.05 * stained.min()) < 0.6
    assert 1.15 < stained.max() / stained.min() < 1.45
    lit = ratio(tile_light=0.2, tile_px=150)
    assert np.median(lit) == pytest.approx(1.2, rel=0.02)
    assert 0.05 < np.log(lit).std() < 0.3


def test_hot_pixels_are_the_cameras_and_dust_is_the_slides() -> None:
    clean, hot = exact(), exact(hot_pixels=40)
    places = []
    for before, after in ((clean.post, hot.post), (clean.pre, hot.pre)):
        changed = np.argwhere(before != after)
        assert 35 <= len(changed) <= 40
        assert after[tuple(changed.T)].min() >= 120.0
        places.append(changed)
    np.testing.assert_array_equal(*places)
    dusty = exact(dust=6)
    masks = [dusty.post != clean.post, dusty.pre != clean.pre]
    for mask in masks:
        assert 3 <= ndimage.label(mask)[1] <= 6
        assert 6 * 20 < mask.sum() < 6 * 1000
    assert not np.array_equal(*masks)


def test_an_exposure_clips_the_brightest_and_keeps_the_gain() -> None:
    pair = simulate_section(SHAPE, exposure=3.0, gain=1.2, noise=0.0, **MOVE)
    assert 0.02 < np.mean(pair.post[section_mask(pair)] == 255) < 0.6
    plain = simulate_section(SHAPE, gain=1.2, noise=0.0, **MOVE)
    np.testing.assert_allclose(
        pair.truth.microbes["flux"], 3 * plain.truth.microbes["flux"]
    )
    points = pair.truth.points
    post, pre = at(pair.post, points), at(pair.pre, pair.truth(points))
    fits = (post < 200) & (pre > 30)
    assert np.median(post[fits] / pre[fits]) == pytest.approx(1.2, rel=0.02)


def test_an_astigmatic_blur_has_a_direction_and_keeps_the_light() -> None:
    def slopes(**more: Any) -> NDArray[np.float64]:
        post = exact(defocus_image="post", defocus=2.0, **more).post
        gy, gx = np.gradient(post[100:-100, 100:-100].astype(float))
        tensor = [[np.mean(gx * gx), np.mean(gx * gy)]] * 2
        tensor[1] = [np.mean(gx * gy), np.mean(gy * gy)]
        return np.linalg.eigvalsh(np.array(tensor))

    least, most = slopes(astigmatism=3.0)
    assert most / least > 1.5 * np.divide(*slopes()[::-1])
    asked: dict[str, Any] = {"microbes": 30, "defocus_image": "post", "defocus": 2.0}
    spots = [
        exact(**asked, astigmatism=a).post
        - exact(**asked | {"microbes": 0}, astigmatism=a).post
        for a in (1.0, 2.5)
    ]
    assert spots[1].sum() == pytest.approx(spots[0].sum(), rel=0.01)
    assert spots[1].max() != spots[0].max()


@settings(max_examples=25, deadline=None)
@given(
    angle_deg=st.floats(-180, 180),
    scale=st.floats(0.5, 2.0),
    dx=st.floats(-300, 300),
    mirrored=st.booleans(),
)
def test_transform_turns_about_the_centres(
    angle_deg: float, scale: float, dx: float, mirrored: bool
) -> None:
    asked = SectionSettings(
        shape=(201, 301),
        angle_deg=angle_deg,
        scale=scale,
        shift=(dx, 5.0),
        mirrored=mirrored,
        pre_shape=(101, 401),
    )
    transform = asked.transform
    parts = transform.decompose()
    assert parts["scale"] == pytest.approx(scale)
    assert parts["mirrored"] == float(mirrored)
    assert np.cos(np.radians(parts["angle_deg"] - angle_deg)) == pytest.approx(1.0)
    np.testing.assert_allclose(
        asked.transform([[150, 100]]), [[200 + dx, 55]], atol=1e-9
    )


def test_registration_error_is_the_distance_in_pre() -> None:
    truth = simulate_section((200, 240), mirrored=True, **MOVE).truth
    assert registration_error(truth, truth.canvas_transform(70), 70).max() < 1e-9
    shifted = Transform.similarity(translation=(3.0, 4.0)) @ truth.canvas_transform(70)
    np.testing.assert_allclose(registration_error(truth, shifted, 70), 5.0)
    assert len(registration_error(truth, shifted, 70)) == len(truth.section_points())
    assert len(truth.section_points(10)) == 10
    one = registration_error(truth, truth.transform, points=[[1.0, 2.0]])
    assert one.shape == (1,)
    with pytest.raises(ParameterError, match="at least one point"):
        registration_error(truth, shifted, 70, points=np.empty((0, 2)))


def test_pair_is_written_in_the_raw_layout_and_read_back(tmp_path: Path) -> None:
    pair = simulate_section((120, 150), deformation_px=1.5, dtype="uint16", **MOVE)
    post, pre, truth = write_pair(pair, tmp_path, "CD1", "Dye", channels="rgb")
    assert post == tmp_path / "CD1" / "CD1_PostStain_Dye.tif"
    assert pre == tmp_path / "CD1" / "CD1_PreStain_Dye.tif"
    np.testing.assert_array_equal(tifffile.imread(post)[..., 1], pair.post)
    assert not tifffile.imread(pre)[..., [0, 2]].any()
    again = read_truth(truth)
    assert again.to_dict() == pair.truth.to_dict()
    np.testing.assert_array_equal(again.microbes, pair.truth.microbes)
    np.testing.assert_array_equal(again([[3, 4]]), pair.truth([[3, 4]]))
    assert sorted(p.suffix for p in truth.parent.iterdir()) == [".json", ".tif", ".tif"]


@pytest.mark.parametrize("content", [None, "[]", "{", '{"kind": "other"}'])
def test_a_file_that_is_no_truth_is_refused(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "truth.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(RawDataError):
        read_truth(path)


def test_an_incomplete_truth_is_refused(tmp_path: Path) -> None:
    stored = simulate_section((80, 90)).truth.to_dict()
    del stored["matrix"]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(stored))
    with pytest.raises(RawDataError, match="incomplete"):
        read_truth(path)


@pytest.mark.parametrize(("channels", "dtype"), [("rgb", "uint8"), (None, "uint16")])
def test_large_writer_writes_what_is_made_in_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    channels: Any,
    dtype: str,
) -> None:
    small_windows(monkeypatch, 200)
    # The way of a large section: coarse light and texture tiles.
    monkeypatch.setattr(scene, "WHOLE_GRID_PIXELS", 1000)
    asked: dict[str, Any] = {"seed": 5, "dtype": dtype, **MOVE}
    pair = simulate_section((450, 530), channels=channels, **asked)
    paths = write_large_pair(
        tmp_path, "CD1", "Dye", (450, 530), channels=channels, **asked
    )
    np.testing.assert_array_equal(tifffile.imread(paths[0]), pair.post)
    np.testing.assert_array_equal(tifffile.imread(paths[1]), pair.pre)
    assert read_truth(paths[2]).to_dict() == pair.truth.to_dict()


def small_windows(monkeypatch: pytest.MonkeyPatch, side: int) -> None:
    monkeypatch.setattr(camera, "WINDOW", side)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    "difficulty", [{}, {"defocus": 2.0, "deformation_px": 3.0}, MICROSCOPE]
)
def test_windows_leave_no_seams(
    monkeypatch: pytest.MonkeyPatch, large: bool, difficulty: dict[str, Any]
) -> None:
    if large:
        monkeypatch.setattr(scene, "WHOLE_GRID_PIXELS", 1000)
    asked: dict[str, Any] = {
        "microbes": 100,
        "uneven_light": 0.3,
        "glow": 20.0,
        "defocus_image": "post",
        **difficulty,
    }
    whole = exact(**asked)
    small_windows(monkeypatch, 177)
    pieces = exact(**asked)
    np.testing.assert_allclose(pieces.post, whole.post, atol=0.02)
    np.testing.assert_allclose(pieces.pre, whole.pre, atol=0.02)


def test_truth_of_the_large_way_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scene, "WHOLE_GRID_PIXELS", 1000)
    pair = exact()
    best = rms(residual(pair))
    assert best < 0.5
    assert rms(residual(pair, off=(0.1, 0.0))) > 2.5 * best


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": 0.0},
        {"gain": "1"},
        {"gain": True},
        {"angle_deg": float("nan")},
        {"seed": -1},
        {"seed": 1.5},
        {"microbes": -1},
        {"shift": (1.0,)},
        {"shift": ("a", 1.0)},
        {"dtype": "int16"},
        {"dtype": None},
        {"piece_missing": "both"},
        {"defocus_image": "none"},
        {"channels": "cmyk"},
        {"signal_channel": 3},
        {"deformation_px": 50.0},
        {"pre_shape": (10, 100)},
        {"dim": 3},
        {"photons": 0.0},
        {"astigmatism": 0.5},
        {"seam_px": -1.0},
        {"tile_px": 10},
        {"mineral_ratio": 1.5},
        {"hot_pixels": 0.5},
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        simulate_section((100, 120), **wrong)


@pytest.mark.parametrize("shape", [(10, 100), (100,), ("a", "b"), 100])
def test_a_wrong_shape_is_refused(shape: Any) -> None:
    with pytest.raises(ParameterError, match="shape"):
        simulate_section(shape)


def test_writers_refuse_what_cannot_be_written(tmp_path: Path) -> None:
    pair = simulate_section((80, 90))
    for sample, dye in (("a/b", "Dye"), ("..", "Dye"), ("S", "a_b"), ("S", "")):
        with pytest.raises(ParameterError, match="plain name"):
            write_pair(pair, tmp_path, sample, dye)
    with pytest.raises(ParameterError, match="unknown setting angle"):
        write_large_pair(tmp_path, "S", "Dye", (100, 120), angle=3)
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(OutputError, match="could not be made"):
        write_pair(pair, in_the_way, "S", "Dye")


def test_monitor_hears_of_the_progress_to_the_end(tmp_path: Path) -> None:
    heard: list[float] = []
    monitor = Monitor(lambda fraction, _: heard.append(fraction))
    simulate_section((80, 90), monitor=monitor)
    assert heard == sorted(heard)
    assert heard[-1] == pytest.approx(1.0)
    write_large_pair(tmp_path, "S", "Dye", (80, 90), monitor=monitor)
    assert heard[-1] == pytest.approx(1.0)


def test_a_stopped_large_writer_leaves_no_image_cut_short(tmp_path: Path) -> None:
    heard: list[float] = []
    monitor = Monitor(
        lambda fraction, _: heard.append(fraction), lambda: max(heard, default=0) > 0.3
    )
    with pytest.raises(CancelledError):
        write_large_pair(tmp_path, "S", "Dye", (80, 90), monitor=monitor)
    assert not (tmp_path / "S" / "S_PreStain_Dye.tif").exists()


@pytest.fixture(scope="module")
def pairs() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "pairs.py"
    spec = importlib.util.spec_from_file_location("benchmark_pairs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_benchmark_pairs_are_those_promised(pairs: ModuleType) -> None:
    ranged, difficult = pairs.documented_range_pairs(), pairs.difficult_pairs()
    deformed, realistic = pairs.deformed_pairs(), pairs.realistic_pairs()
    assert (len(ranged), len(difficult), len(deformed)) == (24, 40, 6)
    every = [*ranged, *difficult, *deformed, *realistic]
    assert len(realistic) == 66
    assert len({spec.name for spec in every}) == 136
    assert len({spec.kwargs["seed"] for spec in every}) == 136
    assert len(pairs.small_realistic_pairs()) == 12
    for spec in ranged:
        assert abs(spec.kwargs["angle_deg"]) <= 20
        assert 0.85 <= spec.kwargs["scale"] <= 1.15
        assert np.hypot(*spec.kwargs["shift"]) <= 170
    for spec in every:
        assert spec.shape == ((2000, 2400) if spec in realistic else (2400, 2800))
        SectionSettings(shape=spec.shape, **spec.kwargs)
        json.dumps(dict(spec.kwargs))
    assert ranged == pairs.documented_range_pairs()
