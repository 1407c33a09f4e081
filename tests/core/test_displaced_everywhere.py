"""Every public function that takes a transform, given one that bends and jumps."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable

import numpy as np
import pytest

from napari_exo2micro import core
from napari_exo2micro.core.alignment import Alignment, check_landmarks
from napari_exo2micro.core.alignment.alignments import residuals_from_details
from napari_exo2micro.core.images import (
    Displacement,
    Landmarks,
    Transform,
    mapped_frame,
    moved_image,
    moved_levels,
    nearest_window,
    outline_of,
    warp_window,
)
from napari_exo2micro.core.plotting import PlotContext
from napari_exo2micro.core.plotting.pictures import take_picture, warp_picture
from napari_exo2micro.core.preview import PreviewSource, preview_scale
from napari_exo2micro.core.preview.source import ReducedImage
from napari_exo2micro.core.raw.pair import RawPair
from napari_exo2micro.core.simulate import registration_error, simulate_section

SHAPE = (420, 480)
FRAME = (0, 0, SHAPE[1], SHAPE[0])
_Y, _X = np.mgrid[:12, :13] * 40.0
BEND = Displacement(
    spacing=40.0,
    values=np.stack([5 * np.sin(_X / 90), 4 * np.cos(_Y / 80)], axis=-1),
    cuts_x=[240.5],
    moves=[[[0.0, 0.0], [2.0, -3.0]]],
)
PLAIN = Transform.similarity(angle_deg=3, translation=(4, -6), centre=(240, 210))
BENT = Transform(PLAIN.matrix, (BEND,))
PLACES = np.random.default_rng(2).uniform(40, 380, (200, 2))
RAMPS = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
WINDOW = (60, 340, 60, 400)


def places(transform: Transform, window=WINDOW):
    """Return where the pixels of a window map to: rows and columns."""
    y, x = np.mgrid[window[0] : window[1], window[2] : window[3]]
    points = transform(np.stack([x.ravel(), y.ravel()], axis=1))
    return points.T[::-1].reshape(2, *x.shape)


def check_warp_window() -> None:
    seen = np.stack([warp_window(ramp, BENT, *WINDOW) for ramp in RAMPS])
    np.testing.assert_allclose(seen, places(BENT), atol=0.003)


def check_nearest_window() -> None:
    seen = np.stack([nearest_window(ramp, BENT, *WINDOW) for ramp in RAMPS])
    np.testing.assert_array_equal(seen, np.floor(places(BENT) + 0.5))


def check_moved_levels() -> None:
    (level,) = moved_levels([RAMPS[1]], BENT, SHAPE)
    y0, y1, x0, x1 = WINDOW
    found = moved_image(level)[y0:y1, x0:x1]
    np.testing.assert_allclose(found, places(BENT)[1], atol=0.003)


def check_outline_of() -> None:
    (x, y), (rows, columns) = outline_of((80, 90), BENT)
    edge = np.linspace(0, 1, 50)
    rim = np.concatenate(
        [np.stack([89 * edge, 79 * side + 0 * edge], axis=1) for side in (0, 1)]
        + [np.stack([89 * side + 0 * edge, 79 * edge], axis=1) for side in (0, 1)]
    )
    moved = BENT.inverse()(rim)
    assert (moved >= (x, y)).all()
    assert (moved <= (x + columns, y + rows)).all()


def check_mapped_frame() -> None:
    inner = mapped_frame(BENT, (100, 100, 200, 150))
    edges = [
        np.linspace(a, b, 60) for a, b in zip(inner, np.roll(inner, -1, 0), strict=True)
    ]
    seen = BENT(np.concatenate(edges))
    assert (seen >= 100).all()
    assert (seen <= (299, 249)).all()


def check_missing() -> None:
    image = np.full(SHAPE, 90, np.uint8)
    image[200:264, 128:192] = 0
    missing = RawPair.from_arrays(image, image).post.missing
    assert missing is not None
    mask = np.asarray(missing.warped(image, BENT, SHAPE)[:, :])
    y, x = np.floor(places(BENT, (0, SHAPE[0], 0, SHAPE[1])) + 0.5)
    within = (y >= 200) & (y < 264) & (x >= 128) & (x < 192)
    assert mask[within].all()
    assert mask.sum() < 1.4 * within.sum()  # and what looks at it


def check_alignment() -> None:
    alignment = Alignment(BENT, FRAME, FRAME)
    there = alignment.points_moved(PLACES, "onto pre")
    np.testing.assert_allclose(there, BENT(PLACES), atol=1e-9)
    back = alignment.points_moved(there, "onto post")
    assert np.median(np.abs(back - PLACES)) < 1e-4
    window = alignment.sampling("onto pre")
    y0, y1, x0, x1 = WINDOW
    seen = warp_window(RAMPS[1], window, y0, y1, x0, x1)
    np.testing.assert_allclose(seen, places(window)[1], atol=0.003)


def check_residuals() -> None:
    zeros = np.zeros(len(PLACES))
    tiles = {"x": PLACES[:, 0], "y": PLACES[:, 1], "dx": zeros, "dy": zeros}
    left = residuals_from_details({"tiles": {**tiles, "used": zeros == 0}}, BENT)
    assert np.median(left.lengths) < 1e-3


def bent_pair():
    """Return a pair without a turn whose post was bent, and its gain."""
    pair = simulate_section(SHAPE, seed=7, gain=1.3)
    truth = pair.truth.transform
    post = warp_window(
        pair.post, Transform(np.eye(3), (BEND,)), 0, SHAPE[0], 0, SHAPE[1]
    )
    return post, pair, Transform(truth.matrix, (BEND,))


def check_preview() -> None:
    post, pair, bent = bent_pair()
    source = PreviewSource(post, pair.pre, post_frame=FRAME, pre_frame=FRAME)
    found = preview_scale(source, bent, {}).scales["moffat"]
    straight = preview_scale(source, Transform(bent.matrix), {}).scales["moffat"]
    assert found.scale == pytest.approx(1.3, rel=0.01)
    assert found.uncertainty < straight.uncertainty


def check_masks() -> None:
    image = np.full(SHAPE, 90, np.uint8)
    image[200:264, 128:192] = 0
    missing = RawPair.from_arrays(image, image).post.missing
    source = PreviewSource(image, image, pre_missing=missing)
    ((mask, *_),) = source.missing(BENT)
    y, x = np.floor(places(BENT, (0, SHAPE[0], 0, SHAPE[1])) + 0.5)
    within = (y >= 200) & (y < 264) & (x >= 128) & (x < 192)
    np.testing.assert_array_equal(np.asarray(mask[:, :]) > 0, within)


def check_reduced() -> None:
    half = Transform.similarity(scale=2, translation=(0.5, 0.5))
    ramp = RAMPS[1].reshape(210, 2, 240, 2).mean(axis=(1, 3))
    reduced = ReducedImage(ramp, half)
    seen = reduced.warped_onto(reduced, BENT).values[40:160, 40:190]
    small = places(BENT @ half, (40, 160, 40, 190))[1]
    np.testing.assert_allclose(seen, small, atol=0.01)


def check_pictures() -> None:
    picture = take_picture(RAMPS[1], FRAME, 240)
    seen = warp_picture(picture, BENT, picture).pixels[40:160, 40:190]
    small = places(BENT @ picture.to_full, (40, 160, 40, 190))[1]
    np.testing.assert_allclose(seen, small, atol=0.01)


def check_context() -> None:
    context = PlotContext(final_transform=BENT, pre_frame=(100, 100, 200, 150))
    expected = mapped_frame(BENT, (100, 100, 200, 150))
    np.testing.assert_array_equal(context.pre_quad, expected)


def check_error() -> None:
    truth = simulate_section(SHAPE, seed=7).truth
    bent = Transform(truth.matrix, (Displacement(values=[[[3.0, 4.0]]]),))
    off = registration_error(truth, bent)
    np.testing.assert_allclose(off, 5.0, rtol=0.01)


def check_landmarks_of() -> None:
    landmarks = Landmarks(PLACES[:8], BENT(PLACES[:8]))
    np.testing.assert_allclose(check_landmarks(landmarks, BENT).residuals, 0, atol=1e-9)


CHECKS: dict[str, Callable[[], None] | None] = {
    "warp_window": check_warp_window,
    "nearest_window": check_nearest_window,
    "moved_levels": check_moved_levels,
    "outline_of": check_outline_of,
    "mapped_frame": check_mapped_frame,
    "Missing.warped": check_missing,
    "Alignment": check_alignment,
    "residuals_from_details": check_residuals,
    "preview_scale": check_preview,
    "PreviewSource.statistics": None,  # preview_scale counts them
    "PreviewSource.missing": check_masks,
    "ReducedImage.warped_onto": check_reduced,
    "warp_picture": check_pictures,
    "PlotContext": check_context,
    "registration_error": check_error,
    "check_landmarks": check_landmarks_of,
    # tests/core/pipeline/test_displacement.py: what is stored is read again whole
    "Provenance": None,
    "CheckpointStore.provenance": None,
    "CheckpointStore.write_array": None,
    # they hold what was found
    "BoundaryAlignment": None,
    "LandmarkFit": None,
    "InteriorAlignment": None,
    "BoundaryPreview": None,
    "InteriorPreview": None,
    "ScalePreview": None,
    "ReducedImage": None,  # an image and its grid: a magnification and a shift
    "Transform.of": None,  # tests/core/images/test_displacement.py
    # of a start only its matrix counts: what bends is found anew
    "refine_interior_sift": None,
    "refine_interior_ecc": None,
    "preview_interior": None,
    "PreviewSource.matching": None,
    "PreviewSource.tiles": None,
}


def test_no_public_function_with_a_transform_is_left_out() -> None:
    found = set()
    for module in pkgutil.iter_modules(core.__path__, f"{core.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            own = getattr(value, "__module__", "").startswith(core.__name__)
            if name.startswith("_") or not own or not callable(value):
                continue
            members = vars(value) if inspect.isclass(value) else {}
            parts = {f"{name}.{n}": m for n, m in members.items() if n[0] != "_"}
            for part, thing in {name: value, **parts}.items():
                function = getattr(thing, "__func__", thing)
                if callable(function) and _takes_a_transform(function):
                    found.add(part)
    assert found - CHECKS.keys() == set()
    assert CHECKS.keys() - found == {"warp_picture"}  # of all plots that warp


def _takes_a_transform(function: Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any("Transform" in str(one.annotation) for one in parameters)


@pytest.mark.parametrize("name", [name for name, check in CHECKS.items() if check])
def test_it_follows_the_displacement(name: str) -> None:
    check = CHECKS[name]
    assert check is not None
    check()
