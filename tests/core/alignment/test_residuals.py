"""Displacements that an alignment leaves: geometry, figures and words."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.alignment import (
    Residuals,
    amplification,
    residuals_from_details,
    round_figure,
)
from napari_exo2micro.core.base import RegistrationError
from napari_exo2micro.core.images import Transform


def tiles(x, y, dx, dy, used=None):
    used = [True] * len(x) if used is None else used
    return {"tiles": {"x": x, "y": y, "dx": dx, "dy": dy, "used": used}}


def grid(count=20, distance=100.0):
    y, x = np.indices((count, count)) * distance
    return np.column_stack([x.ravel(), y.ravel()])


@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, 33.0])
def test_displacements_are_told_as_they_look_in_post(angle):
    """Pre's displacement is turned and magnified back through the transform."""
    transform = Transform.similarity(angle_deg=angle, scale=2.0, translation=(7, 3))
    seen = np.array([[0.5, -0.25], [0.0, 1.0]])
    places = np.array([[10.0, 20.0], [300.0, 40.0]])
    moved = transform(places + seen) - transform(places)
    found = residuals_from_details(
        tiles(*places.T.tolist(), *moved.T.tolist()), transform
    )
    np.testing.assert_allclose(found.displacements, seen, atol=1e-9)
    np.testing.assert_allclose(found.lengths, np.hypot(*seen.T), atol=1e-9)


def test_vectors_are_rows_and_columns_and_as_long_as_asked():
    found = residuals_from_details(
        tiles([10.0], [20.0], [0.3], [-0.4]), Transform.identity()
    )
    np.testing.assert_allclose(found.vectors(50.0), [[[20.0, 10.0], [-20.0, 15.0]]])
    assert np.hypot(*found.vectors(50.0)[0, 1]) == pytest.approx(50 * 0.5)


def test_figures_are_those_of_the_tiles_that_are_used():
    lengths = np.arange(1, 102) / 100
    used = np.arange(101) != 100  # the longest one is left out
    places = np.column_stack([np.arange(101.0) * 10, np.full(101, 500.0)])
    found = Residuals(places, np.column_stack([lengths, 0 * lengths]), used)
    assert found.median == pytest.approx(0.505)
    assert found.p95 == pytest.approx(np.percentile(lengths[:100], 95))
    assert found.largest == pytest.approx((1.0, 990.0, 500.0))


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((50, 50), "in the middle"),
        ((5, 5), "at the upper left"),
        ((95, 50), "at the right"),
        ((50, 5), "at the top"),
        ((5, 95), "at the lower left"),
        ((50, 95), "at the bottom"),
    ],
)
def test_where_the_largest_one_lies(place, words):
    found = Residuals(
        np.array([place, (50, 50)], float),
        np.array([[1.0, 0], [0.1, 0]]),
        np.ones(2, bool),
    )
    assert found.where((0, 0, 100, 100)) == words


@pytest.mark.parametrize("size", [0.003, 0.04, 0.7, 30.0])
def test_amplified_arrows_can_be_seen_and_do_not_tangle(size):
    places = grid()
    angle = np.linspace(0, 7, len(places))
    found = Residuals(
        places,
        size * np.column_stack([np.cos(angle), np.sin(angle)]),
        np.ones(len(places), bool),
    )
    drawn = amplification(found) * size
    assert 0.8 * 95 <= drawn <= 2.0 * 100


def test_amplification_never_shrinks():
    places = grid()
    found = Residuals(places, np.full_like(places, 900.0), np.ones(len(places), bool))
    assert amplification(found) == 1.0


def test_a_section_without_tiles_is_told_with_the_fix():
    with pytest.raises(RegistrationError, match="run stage 3"):
        residuals_from_details({"matches": {}}, Transform.identity())
    with pytest.raises(RegistrationError, match="none that agrees"):
        residuals_from_details(
            tiles([1.0], [1.0], [0.0], [0.0], [False]), Transform.identity()
        )


@pytest.mark.parametrize("value", [1e-7, 0.0123, 0.5, 1.0, 4.99, 73.0, 1e6])
def test_round_figures_are_near_and_not_above(value):
    found = round_figure(value)
    assert value / 2.5 < found <= value * (1 + 1e-9)
    assert f"{found:e}"[0] in "125"
