"""Stage 2 on simulated pairs: known transforms, each parameter, honest verdicts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from napari_exo2micro.core.alignment import recover_transform, register_highorder
from napari_exo2micro.core.alignment.boundary import SCORE_NEEDED
from napari_exo2micro.core.base import (
    CancelledError,
    Monitor,
    ParameterError,
    RegistrationError,
)
from napari_exo2micro.core.images import Transform, warp_window
from napari_exo2micro.core.simulate import registration_error, simulate_section

PAD = 120
SHAPE = (440, 500)
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "real"


def canvas(image, shape=SHAPE, pad=PAD):
    padded = np.zeros((shape[0] + 2 * pad, shape[1] + 2 * pad), image.dtype)
    padded[pad : pad + image.shape[0], pad : pad + image.shape[1]] = image
    return padded


def frame(image, pad=PAD):
    return (pad, pad, image.shape[1], image.shape[0])


@cache
def section(**settings):
    return simulate_section(SHAPE, **settings)


def align(pair, **options):
    options.setdefault("post_frame", frame(pair.post))
    options.setdefault("pre_frame", frame(pair.pre))
    return register_highorder(canvas(pair.post), canvas(pair.pre), **options)


@cache
def moved_alignment():
    """The result for `MOVED` with all parameters at their defaults."""
    return align(section(**MOVED))


def worst(pair, transform):
    return registration_error(pair.truth, transform, PAD).max()


#: Within the range of the search, moved enough that no step may be left out.
MOVED = {"seed": 21, "angle_deg": 13.0, "scale": 1.08, "shift": (15.0, -9.0)}
#: Moved so little that ICP alone can do it.
NUDGED = {"seed": 22, "angle_deg": 1.0, "scale": 1.005, "shift": (4.0, 3.0)}


@pytest.mark.parametrize(
    ("seed", "angle", "scale", "shift"),
    [
        (1, 0.0, 1.0, (0.0, 0.0)),
        (2, 18.0, 0.88, (20.0, -15.0)),
        (3, -19.0, 1.13, (-25.0, 10.0)),
        (4, 7.5, 1.12, (5.0, 30.0)),
    ],
)
def test_a_known_transform_in_the_documented_range(seed, angle, scale, shift):
    pair = section(seed=seed, angle_deg=angle, scale=scale, shift=shift)
    found = align(pair)
    assert found.verdict.state == "ok"
    assert found.verdict.reason == ""
    assert worst(pair, found.transform) < 0.5
    numbers = found.verdict.numbers
    assert numbers["angle_deg"] == pytest.approx(angle, abs=0.2)
    assert numbers["scale"] == pytest.approx(scale, abs=0.003)
    assert numbers["overlap_score"] > 2 * SCORE_NEEDED
    assert 0 < numbers["accuracy_px"] < 1
    assert all(np.isfinite(list(numbers.values())))


def test_the_outlines_alone_are_right_to_a_few_px():
    pair = section(**MOVED)
    found = moved_alignment()
    assert found.method == "boundary"
    assert worst(pair, found.coarse_transform) < 25
    assert worst(pair, found.icp_transform) < 4
    # Contours are those of the two images, on their canvases.
    there = found.transform(found.post_contour)
    gaps = np.linalg.norm(there[::20, None] - found.pre_contour[None], axis=2)
    assert np.median(gaps.min(axis=1)) < 2.0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_every_type_gives_the_same_transform(dtype):
    pair = section(**MOVED)
    gain = 200.0 if dtype == "uint16" else 1.0
    post = (canvas(pair.post) * gain).astype(dtype)
    pre = (canvas(pair.pre) * gain).astype(dtype)
    found = register_highorder(post, pre)
    assert found.verdict.state == "ok"
    assert worst(pair, found.transform) < 0.5


@pytest.mark.parametrize(
    "difficulty",
    [
        {"angle_deg": 150.0},
        {"angle_deg": -65.0, "scale": 0.95},
        {"mirrored": True, "angle_deg": 8.0},
        {"mirrored": True, "angle_deg": 120.0},
        {"piece_missing": "pre", "angle_deg": 6.0},
        {"frame_filling": True, "angle_deg": 5.0},
        {"field_of_view": (150.0, 40.0)},
        {"scale": 1.3},
        {"perspective": 0.02},
    ],
)
def test_what_the_outline_cannot_decide_is_found_by_the_interior(difficulty):
    pair = section(seed=31, **difficulty)
    found = align(pair)
    assert found.verdict.state == "ok"
    assert worst(pair, found.transform) < 0.7
    assert found.transform.mirrored == difficulty.get("mirrored", False)


def test_without_orientation_search_a_turned_section_fails_loudly():
    pair = section(seed=31, angle_deg=150.0)
    found = align(pair, orientation_search=False)
    assert found.verdict.state == "failed"
    assert "interiors do not agree" in found.verdict.reason
    assert "orientation_search" in found.verdict.reason
    assert found.verdict.numbers["overlap_score"] < SCORE_NEEDED
    assert found.verdict.numbers["accuracy_px"] == -1


@pytest.mark.parametrize(("search", "filling"), [(True, False), (False, True)])
def test_two_different_sections_are_never_ok(search, filling):
    post = section(seed=41, frame_filling=filling)
    pre = section(seed=42, frame_filling=filling)
    found = register_highorder(
        canvas(post.post),
        canvas(pre.pre),
        orientation_search=search,
        scale_search=False,
    )
    assert found.verdict.state == "failed"
    assert f"{SCORE_NEEDED:g} needed" in found.verdict.reason


@pytest.mark.parametrize(
    "limit", ["max_translation", "max_rotation", "max_scale_delta", "max_scale_diff"]
)
def test_beyond_a_limit_the_coarse_result_stands_and_says_so(limit):
    pair = section(**MOVED)
    found = align(pair, orientation_search=False, **{limit: 0.0})
    assert found.transform == found.coarse_transform
    assert found.verdict.state == "fell_back"
    assert f"above {limit} = 0" in found.verdict.reason
    assert found.verdict.numbers["coarse_off_px"] > 0.1
    error = worst(pair, found.transform)
    assert found.verdict.numbers["accuracy_px"] == pytest.approx(error, rel=0.7)


def test_a_broken_limit_lets_features_decide():
    pair = section(**MOVED)
    found = align(pair, max_rotation=0.0)
    assert found.verdict.state == "ok"
    assert found.method == "features"
    assert found.verdict.numbers["feature_inliers"] > 20
    assert worst(pair, found.transform) < 0.5


def test_rotation_search_covers_the_angle_range():
    pair = section(**MOVED)
    options = {"orientation_search": False, "max_rotation": 4.0}
    assert align(pair, **options, angle_range=5).verdict.state != "ok"
    still = align(pair, **options, rotation_search=False)
    assert still.verdict.state != "ok"
    assert still.coarse_transform.decompose()["angle_deg"] == pytest.approx(0.0)


def test_scale_search_covers_its_range():
    pair = section(seed=23, scale=1.12, angle_deg=3.0)

    def scale(**options):
        found = align(pair, orientation_search=False, **options)
        return found.coarse_transform.decompose()["scale"]

    assert scale() == pytest.approx(1.12, abs=0.015)
    assert scale(scale_search=False) == pytest.approx(1.0)
    assert scale(scale_max=1.05) <= 1.05 + 1e-9
    assert scale(scale_min=1.14) >= 1.14 - 1e-9


@pytest.mark.parametrize(
    "options",
    [
        {"use_edges": False},
        {"boundary_width": 4},
        {"boundary_smooth": 2},
        {"down_scale": 1.0},
        {"angle_step": 3},
        {"scale_step": 0.15},
    ],
)
def test_what_the_coarse_search_looks_at_changes_its_result(options):
    pair = section(**MOVED)
    default, changed = moved_alignment(), align(pair, **options)
    assert changed.coarse_transform != default.coarse_transform
    assert changed.verdict.state == "ok"
    assert worst(pair, changed.transform) < 0.5


def test_without_the_coarse_pass_icp_starts_from_the_images_as_they_lie():
    pair = section(**NUDGED)
    found = align(pair, multiscale=False)
    assert found.coarse_transform == Transform.identity()
    assert found.verdict.state == "ok"
    assert found.method == "boundary"
    assert worst(pair, found.transform) < 0.5
    lost = align(section(**MOVED), multiscale=False, orientation_search=False)
    assert lost.verdict.state != "ok"


def test_fine_ecc_is_kept_when_it_does_better():
    pair = section(**MOVED)
    plain, fine = moved_alignment(), align(pair, fine_ecc=True)
    numbers = fine.verdict.numbers
    assert "ecc_after" not in plain.verdict.numbers
    assert fine.ecc_transform is not None
    assert numbers["ecc_after"] > numbers["ecc_before"] - 1e-3
    assert fine.verdict.state == "ok"
    assert worst(pair, fine.transform) < 0.5
    if numbers["ecc_after"] > numbers["ecc_before"]:
        assert fine.transform == fine.ecc_transform
    else:
        assert fine.transform == plain.transform
    short = align(pair, fine_ecc=True, stopit=1)
    assert short.ecc_transform != fine.ecc_transform
    loose = align(pair, fine_ecc=True, stopdelta=0.5)
    assert loose.ecc_transform != fine.ecc_transform


def test_fine_ecc_does_not_hide_a_failure():
    pair = section(seed=31, angle_deg=150.0)
    found = align(pair, orientation_search=False, fine_ecc=True)
    assert found.verdict.state == "failed"
    assert "fine_ecc was not tried" in found.verdict.reason


def test_the_frame_is_found_when_it_is_not_given():
    pair = section(**MOVED)
    given, found = moved_alignment(), align(pair, post_frame=None, pre_frame=None)
    corners = np.array([(200.0, 200), (500, 220), (480, 450)])
    off = given.transform(corners) - found.transform(corners)
    assert np.hypot(*off.T).max() < 0.3


def test_canvases_of_different_shapes():
    pair = section(**MOVED)
    found = register_highorder(
        canvas(pair.post), canvas(pair.pre, (SHAPE[0] + 90, SHAPE[1] + 31))
    )
    assert worst(pair, found.transform) < 0.5


def test_the_same_input_gives_the_same_bits_on_any_number_of_threads():
    pairs = [section(**MOVED), section(seed=31, angle_deg=150.0)]
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = [align(pair, fine_ecc=True) for pair in pairs]
        cv2.setNumThreads(4)
        four = [align(pair, fine_ecc=True) for pair in pairs]
    finally:
        cv2.setNumThreads(before)
    for a, b in zip(one, four, strict=True):
        assert a.transform == b.transform
        assert a.verdict == b.verdict


@pytest.mark.parametrize("side", ["post", "pre"])
@pytest.mark.parametrize("value", [0, 9])
def test_an_image_without_a_section_is_an_error(side, value):
    pair = section(**MOVED)
    images = {"post": pair.post, "pre": pair.pre}
    images[side] = np.full_like(images[side], value)
    with pytest.raises(RegistrationError, match="check the raw file"):
        register_highorder(canvas(images["post"]), canvas(images["pre"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale_min": 1.2, "scale_max": 0.9}, "scale_min must not exceed scale_max"),
        ({"scale_min": 1.2}, "scale_min must not exceed scale_max"),
        ({"angle_step": 0.0}, r"'angle_step' takes a number from 0\.05 to 45 \(deg\)"),
        ({"down_scale": 0.0}, "down_scale"),
        ({"boundary_size": 3}, "unknown parameter 'boundary_size'; this stage takes"),
        ({"pad": 30}, "unknown parameter 'pad'"),
    ],
)
def test_tuning_that_does_not_fit_is_an_error(options, message):
    with pytest.raises(ParameterError, match=message):
        align(section(**MOVED), **options)


def test_the_monitor_hears_of_progress_and_can_stop():
    heard = []
    pair = section(seed=31, angle_deg=150.0)
    align(pair, monitor=Monitor(lambda fraction, _: heard.append(fraction)))
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert len(heard) > 10
    with pytest.raises(CancelledError):
        align(pair, monitor=Monitor(should_stop=lambda: len(heard) > 0))


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real pairs at {REAL}")
@pytest.mark.parametrize(
    ("sample", "dye", "matrix"),
    [
        ("GSKsection", "DAPI", [[1, 0.0033, 1.859], [-0.0033, 1, -10.359]]),
        ("MIRAGE2", "nuclei", [[1.001, 0.0007, -2.4], [-0.0007, 1.001, -8.27]]),
    ],
)
def test_real_pairs_agree_with_what_was_measured(sample, dye, matrix):
    folder = REAL / sample
    post = tifffile.imread(folder / f"{sample}_PostStain_{dye}.tiff")
    pre = tifffile.imread(folder / f"{sample}_PreStain_{dye}.tiff")
    shape = np.maximum(post.shape, pre.shape)
    found = register_highorder(
        canvas(post, shape),
        canvas(pre, shape),
        post_frame=frame(post),
        pre_frame=frame(pre),
    )
    assert found.verdict.state == "ok"
    # The measured matrix maps pre to post, both without padding.
    measured = Transform([*matrix, [0, 0, 1]]).inverse()
    height, width = post.shape
    corners = np.array([(0.0, 0), (width, 0), (0, height), (width, height)])
    off = found.transform(corners + PAD) - PAD - measured(corners)
    assert np.hypot(*off.T).max() < 1.5


@pytest.mark.parametrize(
    ("dtype", "move"),
    [
        ("uint8", {"angle_deg": 11.0, "scale": 1.06}),
        ("float32", {"angle_deg": -160.0, "mirrored": True}),
    ],
)
def test_the_transform_of_a_warped_image_is_recovered(dtype, move):
    original = canvas(section(**MOVED).pre)
    truth = Transform.similarity(
        **move, translation=(21.0, -13.0), centre=(PAD + 250.0, PAD + 220.0)
    )
    rows, columns = original.shape
    warped = warp_window(
        original.astype(dtype), truth, 0, rows, 0, columns, interpolation="linear"
    )
    found = recover_transform(warped, original)
    assert found is not None
    points = np.array([(250.0, 240), (480, 260), (300, 430), (470, 420)])
    assert np.hypot(*(found(points) - truth(points)).T).max() < 0.1


def test_no_transform_is_recovered_between_different_images():
    a, b = canvas(section(seed=41).pre), canvas(section(seed=42).pre)
    assert recover_transform(a, b) is None
    assert recover_transform(np.zeros_like(a), b) is None
