"""Outlines: found through uneven light, noise, holes and cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from napari_exo2micro.core.alignment.boundary import boundary_ring, masked_brightness
from napari_exo2micro.core.alignment.views import find_section, open_view

SHAPE = (400, 440)
CENTRE, RADIUS = (215.0, 190.0), 120.0


def section_image(centre=CENTRE, *, light=0.0, glow=0.0, noise=1.0, holes=0):
    """A grainy disc on dark glass."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = np.hypot(x - centre[0], y - centre[1]) < RADIUS
    grain = cv2.GaussianBlur(rng.normal(size=SHAPE), (0, 0), 3.0)
    image = np.where(disc, 60.0 + 250.0 * grain, 0.0)
    for _ in range(holes):
        turn, far = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.7 * RADIUS)
        at = (centre[0] + far * np.cos(turn), centre[1] + far * np.sin(turn))
        image[np.hypot(x - at[0], y - at[1]) < 9] = 0.0
    image *= 1.0 + light * (x / SHAPE[1] - 0.5)
    image += 6.0 + glow * np.exp(-((x / 300.0) ** 2) - (y / 300.0) ** 2)
    image += noise * rng.normal(size=SHAPE)
    return np.clip(image, 0, 255)


def look(image, side=1000):
    return open_view(image, (0, 0, image.shape[1], image.shape[0]), side, name="post")


@pytest.mark.parametrize(
    "trouble",
    [
        {},
        {"noise": 6.0},
        {"light": 1.2},
        {"glow": 40.0},
        {"holes": 25},
        {"light": -0.8, "glow": 25.0, "holes": 12, "noise": 3.0},
    ],
)
def test_the_outline_of_a_disc_is_found(trouble):
    section = find_section(look(section_image(**trouble)))
    radius = np.hypot(*(section.contour - CENTRE).T)
    assert abs(np.median(radius) - RADIUS) < 3.0
    assert np.percentile(np.abs(radius - np.median(radius)), 95) < 5.0
    assert section.trusted
    assert section.cut_fraction == 0.0
    assert section.area_fraction == pytest.approx(np.pi * RADIUS**2 / 176000, rel=0.06)


def test_the_frame_is_no_outline():
    section = find_section(look(section_image(centre=(440.0, 200.0))))
    assert section.cut_fraction > 0.3
    assert section.contour[:, 0].max() < SHAPE[1] - 3
    ring = boundary_ring(section, section.view, width=5, smooth=0)
    assert ring[200, -1] == 0.0
    assert ring[200, 310:330].max() > 0.9


def test_a_section_that_fills_the_frame_is_not_trusted():
    rng = np.random.default_rng(0)
    grain = cv2.GaussianBlur(rng.normal(size=SHAPE), (0, 0), 3.0)
    section = find_section(look(60.0 + 200.0 * grain))
    assert not section.trusted


def test_width_and_smooth_of_the_ring_are_pixels_of_its_view():
    section = find_section(look(section_image(), 400))
    view = section.view.reduced(200)
    length = 2 * np.pi * RADIUS * 200 / 440
    for width in (4.0, 12.0):
        ring = boundary_ring(section, view, width=width, smooth=0)
        assert ring.sum() == pytest.approx(length * (width + 0.5), rel=0.2)
        soft = boundary_ring(section, view, width=width, smooth=5)
        assert soft.max() < ring.max()
        assert soft.sum() == pytest.approx(ring.sum(), rel=0.02)


def test_brightness_is_zero_outside_the_section():
    section = find_section(look(section_image(glow=30.0)))
    bright = masked_brightness(section, section.view, smooth=0)
    assert bright[10, 10] == 0.0
    assert 0.3 < bright[190, 215] <= 1.0
    assert masked_brightness(section, section.view, smooth=8).std() < bright.std()
