"""The coarse search recovers turn, magnification and shift of a pattern."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.alignment.correlation import (
    Pattern,
    refine_candidates,
    search_grid,
)
from napari_exo2micro.core.alignment.settings import grid_nodes
from napari_exo2micro.core.alignment.views import View
from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.images import Transform

SHAPE = (150, 170)
CENTRE = (84.5, 74.5)


def drawing(transform: Transform) -> Pattern:
    """Three soft spots of different size, seen through a transform."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    points = transform(np.column_stack([x.ravel(), y.ravel()]))
    px, py = points.T.reshape(2, *SHAPE)
    spots = [(60, 60, 12, 5), (110, 70, 5, 14), (80, 105, 8, 8)]
    values = sum(
        np.exp(-(((px - a) / c) ** 2) - ((py - b) / d) ** 2) for a, b, c, d in spots
    )
    image = np.asarray(values, np.float32)
    view = View(image, np.ones(SHAPE, bool), Transform.identity())
    return Pattern(view, np.where(image > 0.01, image, np.float32(0)))


@pytest.mark.parametrize(
    ("angle", "scale", "shift", "mirrored"),
    [
        (0.0, 1.0, (0.0, 0.0), False),
        (7.0, 1.1, (4.0, -6.0), False),
        (-16.5, 0.93, (-9.0, 5.0), False),
        (5.0, 1.0, (3.0, 3.0), True),
    ],
)
def test_a_known_move_is_recovered(angle, scale, shift, mirrored):
    truth = Transform.similarity(
        angle_deg=angle,
        scale=scale,
        translation=shift,
        centre=CENTRE,
        mirrored=mirrored,
    )
    post, pre = drawing(truth), drawing(Transform.identity())
    found = search_grid(
        post,
        pre,
        angles=grid_nodes(-20, 20, 2),
        scales=grid_nodes(0.85, 1.15, 0.05),
        hands=(False, True),
        monitor=Monitor(),
    )
    (best,) = refine_candidates(
        post,
        pre,
        found[:1],
        angle_step=2,
        scale_step=0.05,
        angle_limits=(-20, 20),
        scale_limits=(0.85, 1.15),
        rounds=5,
        monitor=Monitor(),
    )
    assert best.score > 0.98
    assert best.score >= found[0].score - 1e-6
    assert best.mirrored == mirrored
    corners = np.array([(50.0, 50), (120, 60), (80, 110)])
    off = best.transform(corners) - truth(corners)
    assert np.hypot(*off.T).max() < 1.0


def test_candidates_are_apart_and_best_first():
    same = drawing(Transform.identity())
    angles = grid_nodes(-20, 20, 1)
    found = search_grid(
        same, same, angles=angles, scales=[1.0], keep=3, monitor=Monitor()
    )
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    turns = sorted(c.angle_deg for c in found)
    assert len(turns) == 3
    assert min(np.diff(turns)) > 2


def test_empty_patterns_have_no_candidates():
    same = drawing(Transform.identity())
    empty = Pattern(same.view, np.zeros_like(same.values))
    found = search_grid(same, empty, angles=[0.0], scales=[1.0], monitor=Monitor())
    assert found == []
