"""Transforms that bend and jump: points, warps, composition, storage."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.images import (
    Displacement,
    Transform,
    mapped_frame,
    moved_levels,
    nearest_window,
    outline_of,
    warp_window,
)
from napari_exo2micro.core.images.warp import valid_spans, warped_bands

RANDOM = np.random.default_rng(5)
KEYSTONE = Transform([[1, 0, 0], [0, 1, 0], [2e-6, -1e-6, 1]])
MATRIX = (
    KEYSTONE
    @ Transform.similarity(
        angle_deg=4, scale=1.02, translation=(6.5, -9.25), centre=(300, 250)
    )
).matrix


def bend(rows=14, columns=17, spacing=40.0, size=4.0):
    y, x = np.mgrid[:rows, :columns] * spacing
    dx = size * np.sin(x / 180) * np.cos(y / 210)
    return np.stack([dx, 0.7 * size * np.cos((x + y) / 250)], axis=-1)


SMOOTH = Displacement(origin=(-10.0, 5.0), spacing=40.0, values=bend())
SEAMS = Displacement(
    cuts_x=[180.5, 402.25],
    cuts_y=[260.0],
    moves=RANDOM.uniform(-4, 4, (2, 3, 2)),
)
BOTH = Displacement(
    origin=SMOOTH.origin,
    spacing=SMOOTH.spacing,
    values=SMOOTH.values,
    cuts_x=SEAMS.cuts_x,
    cuts_y=SEAMS.cuts_y,
    moves=SEAMS.moves,
)
KINDS = {"smooth": SMOOTH, "seams": SEAMS, "both": BOTH}
TURNED = BOTH.conjugated(Transform.similarity(angle_deg=30, centre=(300, 250)).matrix)
CHAIN = Transform(MATRIX, (BOTH, TURNED, SMOOTH.conjugated(KEYSTONE.matrix)))
TRANSFORMS = {name: Transform(MATRIX, (one,)) for name, one in KINDS.items()} | {
    "turned": Transform(MATRIX, (TURNED,)),
    "chain": CHAIN,
    "back": Transform(MATRIX, (SMOOTH,)).inverse(),
}
by_kind = pytest.mark.parametrize("kind", TRANSFORMS)


def by_definition(one: Displacement, point):
    """Return u at a point, worked out number by number."""
    x, y = point
    rows, columns = one.values.shape[:2]
    column = min(max((x - one.origin[0]) / one.spacing, 0), columns - 1)
    row = min(max((y - one.origin[1]) / one.spacing, 0), rows - 1)
    u = np.zeros(2)
    for r in range(rows):
        for c in range(columns):
            u += (
                one.values[r, c]
                * max(1 - abs(r - row), 0)
                * max(1 - abs(c - column), 0)
            )
    tile_row = sum(y >= cut for cut in one.cuts_y)
    tile_column = sum(x >= cut for cut in one.cuts_x)
    return u + one.moves[tile_row, tile_column]


def points(n=300, low=-60, high=700, seed=1):
    return np.random.default_rng(seed).uniform(low, high, (n, 2))


def grid(y0, y1, x0, x1):
    y, x = np.mgrid[y0:y1, x0:x1]
    return np.stack([x.ravel(), y.ravel()], axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_points_move_by_grid_and_tile(kind):
    one = KINDS[kind]
    xy = np.concatenate([points(), [(180.5, 260.0), (180.49, 259.99)]])
    expected = [point + by_definition(one, point) for point in xy]
    np.testing.assert_allclose(one(xy), expected, atol=2e-5)
    (alone,) = one(xy[:1])
    np.testing.assert_allclose(alone, expected[0], atol=2e-5)
    assert one(np.empty((0, 2))).shape == (0, 2)


def test_the_largest_move_is_the_largest_there_is():
    for one in KINDS.values():
        moved = one(grid(-30, 600, -30, 700)) - grid(-30, 600, -30, 700)
        seen = np.hypot(*moved.T).max()
        assert seen - 1e-4 <= one.largest <= 1.1 * seen
    doubled = BOTH.conjugated(np.diag([0.5, 0.5, 1.0]))
    assert doubled.reach == pytest.approx(2 * BOTH.largest)


def test_many_points_are_moved_as_few_are():
    many = np.tile(points(1000), (1100, 1))
    np.testing.assert_allclose(BOTH(many)[-1000:], BOTH(many[:1000]), atol=1e-5)


@by_kind
def test_a_product_applies_the_right_one_first(kind):
    displaced, xy = TRANSFORMS[kind], points()
    plain = Transform.similarity(angle_deg=-50, scale=0.5, translation=(40, 30))
    for first, second in (
        (displaced, plain),
        (plain, displaced),
        (displaced, CHAIN),
        (CHAIN, displaced),
        (KEYSTONE, displaced),
    ):
        expected = second(first(xy))
        off = np.abs((second @ first)(xy) - expected).max(axis=1)
        # a point that rounding has put on the other side of a seam may be among them
        assert np.sort(off)[-2] < 1e-4


@pytest.mark.parametrize("kind", ["smooth", "turned", "both", "seams", "chain"])
def test_the_inverse_brings_points_back(kind):
    displaced, xy = TRANSFORMS[kind], points(2000)
    there = displaced(xy)
    back = displaced.inverse()(there)
    # Where tiles overlap two points go to one place: it comes back from there, too.
    np.testing.assert_allclose(displaced(back), there, atol=1e-3)
    off = np.hypot(*(back - xy).T)
    assert (off < 1e-4).mean() > (0.99 if kind == "smooth" else 0.95)
    again = displaced.inverse().inverse()
    np.testing.assert_allclose(again(xy), there, atol=1e-4)


def test_a_point_in_a_gap_goes_to_the_edge_of_a_tile():
    gap = Displacement(cuts_x=[100.0], moves=[[[-2.0, 0.0], [3.0, 0.0]]])
    back = gap.inverse()([[98.5, 7.0], [102.5, 7.0], [90.0, 1.0], [110.0, 1.0]])
    np.testing.assert_allclose(
        back, [[100.0, 7.0], [100.0, 7.0], [92.0, 1.0], [107.0, 1.0]], atol=1e-6
    )


@given(st.floats(0.1, 10), st.floats(-500, 500), st.floats(-500, 500))
@settings(max_examples=25)
def test_another_pixel_grid_changes_the_numbers_and_not_the_map(k, sx, sy):
    displaced, xy = TRANSFORMS["both"], points(50)
    other = displaced.conjugated(scale=k, shift=(sx, sy))
    np.testing.assert_allclose(
        other(xy * k + (sx, sy)), displaced(xy) * k + (sx, sy), atol=1e-3 * max(k, 1)
    )


def test_what_moves_nothing_is_no_displacement():
    still = Transform(
        MATRIX, (Displacement(), Displacement(values=np.zeros((3, 4, 2))))
    )
    assert still == Transform(MATRIX)
    assert still.to_dict()["version"] == 1


# Images -------------------------------------------------------------------------


@by_kind
@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_a_warp_looks_at_the_exact_places(kind, interpolation):
    """Of ramps, which both kernels keep, the pixels tell where they come from."""
    displaced = TRANSFORMS[kind]
    y, x = np.mgrid[:620, :760].astype(np.float32)
    window = (90, 420, 70, 560)
    seen = np.stack(
        [warp_window(ramp, displaced, *window, interpolation) for ramp in (x, y)]
    )
    expected = displaced(grid(*window)).T.reshape(seen.shape)
    off = np.abs(seen - expected).max(axis=0)
    assert (off > 0.003).mean() < (1e-4 if kind in ("turned", "chain") else 1e-9)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("interpolation", ["linear", "cubic", "lanczos"])
def test_a_warped_window_shows_the_image_at_the_displaced_points(dtype, interpolation):
    def pattern(x, y):
        return 120 + 60 * np.sin(x / 9) * np.cos(y / 11) + 20 * np.sin((x + y) / 17)

    y, x = np.mgrid[:620, :700]
    whole = pattern(x, y)
    image = (np.rint(whole) if dtype[0] in "ui" else whole).astype(dtype)
    displaced = TRANSFORMS["both"]
    window = warp_window(image, displaced, 150, 350, 120, 520, interpolation)
    assert window.dtype == image.dtype
    places = displaced(grid(150, 350, 120, 520))
    expected = pattern(*places.T).reshape(window.shape)
    rounding = 1.0 if dtype[0] in "ui" else 0
    exact = 0.1 if interpolation == "cubic" else 0.5
    assert np.abs(window - expected).max() < rounding + exact
    assert abs((window - expected).mean()) < 0.02


@by_kind
def test_windows_of_a_warp_fit_together(kind):
    image = np.random.default_rng(2).integers(0, 255, (600, 700)).astype(np.uint8)
    whole = warp_window(image, TRANSFORMS[kind], 0, 600, 0, 700)
    tiled = np.zeros_like(whole)
    for y0 in range(0, 600, 130):
        for x0 in range(0, 700, 170):
            y1, x1 = min(y0 + 130, 600), min(x0 + 170, 700)
            part = warp_window(image, TRANSFORMS[kind], y0, y1, x0, x1)
            tiled[y0:y1, x0:x1] = part
    different = np.abs(tiled.astype(int) - whole)
    assert np.count_nonzero(different > 1) <= 3  # a pixel on a turned seam itself
    assert (different > 0).mean() < 0.01


def test_bands_leave_no_displaced_pixel_out():
    image = np.zeros((2600, 500), np.uint16)
    image[1000:1030, 100:300] = 500
    far = Displacement(values=[[[0.0, 40.0]]])
    parts = dict(
        warped_bands(
            image, Transform(np.eye(3), (far,)), image.shape, frame=(100, 1000, 200, 30)
        )
    )
    seen = sum(int((band > 0).sum()) for band in parts.values())
    assert seen == 30 * 200


@by_kind
def test_labels_are_those_of_the_displaced_pixels(kind):
    image = np.random.default_rng(3).integers(1, 2**40, (600, 700))
    window = (50, 350, 40, 460)
    seen = nearest_window(image, TRANSFORMS[kind], *window)
    places = np.floor(TRANSFORMS[kind](grid(*window)) + 0.5).astype(int)
    inside = ((places >= 0) & (places < (700, 600))).all(axis=1)
    expected = np.where(
        inside, image[places[:, 1].clip(0, 599), places[:, 0].clip(0, 699)], 0
    )
    np.testing.assert_array_equal(seen.ravel(), expected)


def test_smaller_levels_are_displaced_as_the_large_one():
    rows, columns = np.mgrid[0:2600, 0:2300]
    image = (rows * 3 + columns * 5).astype(np.float32)
    levels = moved_levels(
        [image], TRANSFORMS["smooth"], image.shape, interpolation="linear"
    )
    full = np.asarray(levels[0][100:500, 100:500])
    means = full.reshape(200, 2, 200, 2).mean(axis=(1, 3))
    # a level is every second pixel of the one before: half a pixel of the large one
    off = levels[1][50:250, 50:250] - means
    assert off.std() < 0.1


@by_kind
def test_inside_of_the_outline_every_pixel_has_data(kind):
    frame = (60, 80, 400, 300)
    image = np.zeros((600, 700), np.float32)
    image[80:380, 60:460] = 100
    displaced = TRANSFORMS[kind]
    seen = warp_window(image, displaced, 0, 600, 0, 700)
    first, end = valid_spans(mapped_frame(displaced, frame), 0, 600)
    inside = np.zeros(seen.shape, bool)
    for row, start, stop in zip(inside, first, end, strict=True):
        row[start:stop] = True
    assert inside.sum() > 0.7 * 300 * 400
    np.testing.assert_allclose(seen[inside], 100, atol=0.01)


@by_kind
def test_the_outline_holds_the_whole_image(kind):
    image = np.full((300, 400), 200, np.uint8)
    displaced = TRANSFORMS[kind]
    (x, y), shape = outline_of(image.shape, displaced)
    start = Transform.similarity(translation=(float(x), float(y)))
    inside = nearest_window(image, displaced @ start, 0, shape[0], 0, shape[1])
    wider = nearest_window(
        image, displaced @ start, -30, shape[0] + 30, -30, shape[1] + 30
    )
    assert np.count_nonzero(inside) == np.count_nonzero(wider) > 0


# Kept and told -------------------------------------------------------------------


@by_kind
def test_a_saved_transform_is_loaded_the_same(kind, tmp_path):
    displaced = TRANSFORMS[kind]
    displaced.save(tmp_path / "t.json")
    loaded = Transform.load(tmp_path / "t.json")
    assert loaded == displaced
    assert hash(loaded) == hash(displaced)
    np.testing.assert_array_equal(loaded(points()), displaced(points()))
    assert pickle.loads(pickle.dumps(displaced)) == displaced
    assert loaded != Transform(displaced.matrix)
    assert loaded != Transform(displaced.matrix, displaced.displacements[:1] * 2)


def test_a_displaced_transform_says_so():
    assert "17 x 14 nodes every 40 px" in repr(TRANSFORMS["both"])
    assert "3 x 2 tiles" in repr(TRANSFORMS["both"])
    assert "displaced" in repr(TRANSFORMS["both"].__rich__())
    assert "displaced" not in repr(Transform(MATRIX).__rich__())
    assert TRANSFORMS["both"].decompose() == Transform(MATRIX).decompose()


@pytest.mark.parametrize(
    "changes",
    [
        {"values": []},
        {"values": [[]]},
        {"values": [[[1.0, 2.0], [3.0]]]},
        {"values": [[[1.0, 2.0, 3.0]]]},
        {"values": [[[float("nan"), 0.0]]]},
        {"values": [[[1e300, 0.0]]]},
        {"values": [["ab"]]},
        {"values": 7},
        {"values": None},
        {"values": [[[0.0, 0.0]] * 2] * 1_100_000},
        {"spacing": 0.0},
        {"spacing": -3.0},
        {"spacing": float("inf")},
        {"spacing": None},
        {"origin": [0.0]},
        {"origin": [0.0, float("nan")]},
        {"origin": 3.0},
        {"cuts_x": [5.0, 4.0]},
        {"cuts_x": [4.0, 4.0]},
        {"cuts_x": [float("inf")]},
        {"cuts_y": [1.0, 2.0]},
        {"cuts_y": [[1.0]]},
        {"moves": [[[0.0, 0.0]]] * 3},
        {"frame": [[1, 0], [0, 1]]},
        {"frame": np.zeros((3, 3)).tolist()},
        {"frame": np.full((3, 3), 1e400).tolist()},
        "everything",
    ],
)
def test_a_file_whose_displacement_is_none_is_told(changes, tmp_path):
    stored = copy.deepcopy(TRANSFORMS["both"].to_dict())
    if changes == "everything":
        stored["displacements"] = [3]
    else:
        stored["displacements"][0].update(changes)
    path = tmp_path / "t.json"
    path.write_text(json.dumps(stored))
    with pytest.raises(CheckpointError):
        Transform.load(path)
