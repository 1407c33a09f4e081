"""Two images in one picture: every pixel against a picture made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.images import Composite, LazyImage, Look, Side, Split

GREY = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
RED = GREY * np.array([1, 0, 0], np.uint8)
PLAIN = Look(GREY, 0.0, 255.0)


def image(shape, seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


def halves(full, n):
    """Return a pyramid of 2 x 2 means, as results have it."""
    levels = [full]
    for _ in range(n):
        last = levels[-1].astype(float)
        last = np.pad(last, [(0, side % 2) for side in last.shape], mode="edge")
        rows, columns = last.shape
        means = last.reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        levels.append(np.rint(means).astype(full.dtype))
    return levels


@pytest.mark.parametrize("kind", ["columns", "rows"])
@pytest.mark.parametrize("position", [-50.0, 0.0, 33.0, 99.5, 1000.0])
def test_curtain_shows_the_first_image_before_it(kind, position):
    a, b = image((90, 120), 1), image((90, 120), 2)
    both = Composite(
        Side([a], (0.0, 0.0), PLAIN),
        Side([b], (0.0, 0.0), PLAIN),
        Split(kind, position),
    )
    picture = np.asarray(both.levels[0])[:90, :120]
    place = np.indices(a.shape)[1 if kind == "columns" else 0]
    np.testing.assert_array_equal(picture[..., 0], np.where(place < position, a, b))
    assert (picture[..., 3] == 255).all()


def test_checkerboard_begins_with_the_first_image_at_zero():
    a, b = image((64, 80), 1), image((64, 80), 2)
    both = Composite(
        Side([a], (-7.0, -21.0), PLAIN),
        Side([b], (-7.0, -21.0), PLAIN),
        Split("checkerboard", square=10),
    )
    rows, columns = np.indices(a.shape)
    of_first = ((rows - 7) // 10 + (columns - 21) // 10) % 2 == 0
    assert of_first[7, 21]
    truth = np.where(of_first, a, b)
    assert both.origin == (-7.0, -21.0)
    np.testing.assert_array_equal(np.asarray(both.levels[0])[:64, :80, 0], truth)


@pytest.mark.parametrize("offset", [(-60, -60), (5, -3), (-129, 77), (40, 300)])
def test_images_at_other_places_lie_where_they_belong(offset):
    a, b = image((200, 150), 1), image((180, 260), 2)
    both = Composite(
        Side([a], (0.0, 0.0), PLAIN),
        Side([b], (float(offset[0]), float(offset[1])), PLAIN),
        Split("columns", 50.0),
    )
    picture = np.asarray(both.levels[0])
    origin = np.array(both.origin, int)
    truth = np.zeros((*picture.shape[:2], 2), np.uint8)

    def put(pixels, place, mask):
        r, c = np.array(place) - origin
        box = truth[r : r + pixels.shape[0], c : c + pixels.shape[1]]
        keep = mask[r : r + pixels.shape[0], c : c + pixels.shape[1]]
        box[keep] = np.stack([pixels, np.full_like(pixels, 255)], -1)[keep]

    left = np.broadcast_to(np.arange(truth.shape[1]) + origin[1] < 50, truth.shape[:2])
    put(a, (0, 0), left)
    put(b, offset, ~left)
    np.testing.assert_array_equal(picture[..., [0, 3]], truth)


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("offset", [(0, 0), (-60, -60), (-61, 7)])
def test_small_levels_lie_on_one_another(level, offset):
    """A ramp has the same height in both images, at every level and offset."""
    rows, columns = np.indices((400, 500)).astype(np.float32)
    ramp = 2 * rows + columns
    moved = 2 * (rows + offset[0]) + columns + offset[1]
    look = Look(GREY, -300, 1500)
    both = Composite(
        Side(halves(ramp, 4), (0.0, 0.0), look),
        Side(halves(moved, 4), offset, look),
        Split("columns", -1e9),
    )
    second = np.asarray(both.levels[level]).astype(int)
    both.split = Split("columns", 1e9)
    first = np.asarray(both.levels[level]).astype(int)
    inside = (first[..., 3] == 255) & (second[..., 3] == 255)
    # The outermost pixels of a level may be means of less than a whole block.
    inside[[0, -1]] = inside[:, [0, -1]] = False
    rows, columns = np.nonzero(inside)
    keep = (rows > rows.min()) & (rows < rows.max())
    keep &= (columns > columns.min()) & (columns < columns.max())
    apart = (first - second)[rows[keep], columns[keep], 0]
    assert len(apart) > 1000
    assert np.abs(apart).max() <= 1


def test_first_image_is_exact_at_every_level():
    levels = halves(image((400, 500), 3), 3)
    both = Composite(
        Side(levels, (0.0, 0.0), PLAIN),
        Side([image((300, 300))], (-37.0, -91.0), PLAIN),
        Split("rows", 1e9),
    )
    for number, level in enumerate(levels):
        start = -np.array(both.origin, int) // 2**number
        picture = np.asarray(both.levels[number])[start[0] :, start[1] :]
        np.testing.assert_array_equal(
            picture[: level.shape[0], : level.shape[1], 0], level
        )


def test_only_the_window_is_read_and_a_moving_curtain_reads_nothing():
    asked = []

    def read(window):
        asked.append(window)
        return np.zeros([part.stop - part.start for part in window], np.uint8)

    huge = LazyImage((30000, 25000), np.uint8, read)
    both = Composite(
        Side([huge], (0.0, 0.0), PLAIN), Side([huge], (0.0, 0.0), PLAIN), Split()
    )
    picture = both.levels[0]
    assert picture[100:300, 2000:2400].shape == (200, 400, 4)
    assert asked == [(slice(100, 300), slice(2000, 2400))] * 2
    both.split = Split("rows", 200.0)
    picture[100:300, 2000:2400]
    assert len(asked) == 2


def test_levels_end_with_one_for_a_thumbnail():
    both = Composite(
        Side([image((3000, 100))], (0.0, 0.0), PLAIN),
        Side([image((3000, 100))], (0.0, 0.0), PLAIN),
        Split(),
    )
    sides = [level.shape[0] for level in both.levels]
    assert sides[0] == 3008
    assert sides[-1] <= 64 < sides[-2]
    for level in both.levels:
        assert np.asarray(level).shape == level.shape


def test_images_without_small_levels_take_every_nth_pixel():
    rows = np.indices((512, 512))[0]
    ramp = (rows // 4).astype(np.uint8)
    both = Composite(
        Side([ramp], (0.0, 0.0), PLAIN), Side([ramp], (0.0, 0.0), PLAIN), Split()
    )
    third = np.asarray(both.levels[3])[..., 0].astype(int)
    np.testing.assert_array_equal(third[:, 0], np.arange(64) * 2 + 1)


def test_look_follows_colours_range_and_gamma():
    values = np.array([[0, 50, 100, 150, 200]], np.uint8)
    look = Look(RED, 50.0, 150.0, gamma=0.5)
    painted = look.painted(values)
    seen = painted.view(np.uint8).reshape(1, 5, 4)
    half = round(0.5**0.5 * 255)
    np.testing.assert_array_equal(seen[0, :, 0], [0, 0, half, 255, 255])
    assert (seen[..., 1:3] == 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_every_type_of_pixel_is_coloured_alike(dtype):
    values = np.arange(0, 200, dtype=dtype).reshape(10, 20)
    look = Look(GREY, 20.0, 180.0)
    painted = look.painted(values)
    red = painted.view(np.uint8).reshape(10, 20, 4)[..., 0].astype(int)
    truth = np.clip((values.astype(float) - 20) / 160, 0, 1) * 255
    assert np.abs(red - truth).max() <= 1


def test_what_is_no_number_is_dark():
    values = np.array([[np.nan, np.inf, -np.inf, 5.0]], np.float32)
    look = Look(GREY, 0.0, 10.0)
    painted = look.painted(values).view(np.uint8)
    assert painted.reshape(4, 4)[:, 0].tolist()[:3] == [0, 255, 0]


def test_a_new_look_is_seen_at_once():
    pixels = image((64, 64))
    both = Composite(
        Side([pixels], (0.0, 0.0), PLAIN),
        Side([pixels], (0.0, 0.0), PLAIN),
        Split("columns", 32.0),
    )
    assert np.asarray(both.levels[0])[:, :32, 1].any()
    both.first = Side([pixels], (0.0, 0.0), Look(RED, 0.0, 255.0))
    picture = np.asarray(both.levels[0])
    assert not picture[:, :32, 1].any()
    np.testing.assert_array_equal(picture[:, 32:, 1], pixels[:, 32:])


def test_windows_outside_of_both_images_are_transparent():
    both = Composite(
        Side([image((50, 50))], (0.0, 0.0), PLAIN),
        Side([image((50, 50))], (500.0, 500.0), PLAIN),
        Split("columns", 200.0),
    )
    assert not both.levels[0][200:300, 100:300].any()
