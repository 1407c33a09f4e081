"""Pyramids of a preview: what is seen at any zoom is the image itself, warped."""

from __future__ import annotations

import numpy as np

from napari_exo2micro.core.images import (
    Transform,
    moved_levels,
    pyramid,
    reduce_image,
    warp_window,
)


def test_levels_of_an_array_are_means_of_it():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (1500, 2050), np.uint8)
    levels = pyramid(image)
    assert [level.shape for level in levels] == [(1500, 2050), (750, 1025), (375, 513)]
    np.testing.assert_array_equal(np.asarray(levels[0]), image)
    means, _ = reduce_image(image, factor=4)
    assert np.abs(np.asarray(levels[2], float) - means).max() <= 0.5
    assert levels[2].dtype == np.uint8


def test_full_resolution_is_the_warp_of_the_image(source):
    transform = Transform.similarity(angle_deg=4.0, translation=(7.3, -3.1))
    levels = moved_levels(source.levels("pre"), transform)
    expected = warp_window(source.pre_image, transform, 200, 330, 150, 420)
    np.testing.assert_array_equal(levels[0][200:330, 150:420], expected)


def test_each_level_shows_the_same_place(pair):
    large = np.kron(pair.pre, np.ones((4, 4), np.uint8))
    transform = Transform.similarity(angle_deg=3.0, translation=(41.0, -23.0))
    levels = moved_levels(pyramid(large), transform, interpolation="linear")
    assert len(levels) >= 3
    full = np.asarray(levels[0], np.float32)
    for number in (1, 2):
        means, _ = reduce_image(full, factor=1 << number)
        shown = np.asarray(levels[number], np.float32)
        inner = (slice(60, -60), slice(60, -60))
        gap = np.abs(shown[inner] - means[inner])
        assert np.median(gap) < 1.0
        # A shift by one pixel would show.
        moved = np.abs(shown[inner] - np.roll(means, 1, axis=1)[inner])
        assert gap.mean() < 0.5 * moved.mean()
