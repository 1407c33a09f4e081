"""Stage 3 on simulated pairs: known transforms, and what it says of itself."""

from __future__ import annotations

import inspect

import cv2
import numpy as np
import pytest

from napari_exo2micro.core.alignment import refine_interior_ecc, refine_interior_sift
from napari_exo2micro.core.alignment.interior import MAX_MISFIT
from napari_exo2micro.core.base import (
    CancelledError,
    Monitor,
    ParameterError,
    RegistrationError,
)
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.simulate import registration_error, simulate_section

PAD = 60
SHAPE = (460, 540)
CENTRE = (PAD + 270.0, PAD + 230.0)
#: A start that is a few px off, as stage 2 leaves it.
OFF = Transform.similarity(
    angle_deg=0.4, scale=1.004, translation=(4.0, -3.0), centre=CENTRE
)


def canvas(image, shape):
    padded = np.zeros((shape[0] + 2 * PAD, shape[1] + 2 * PAD), image.dtype)
    padded[PAD : PAD + image.shape[0], PAD : PAD + image.shape[1]] = image
    return padded


def align(pair, off=OFF, pre=None, **options):
    """Run stage 3 from the truth times `off`; return its result and the TRE."""
    pre = pair.pre if pre is None else pre
    shape = np.maximum(pair.post.shape, pre.shape)
    result = refine_interior_sift(
        canvas(pair.post, shape),
        canvas(pre, shape),
        pair.truth.canvas_transform(PAD) @ off,
        post_frame=(PAD, PAD, pair.post.shape[1], pair.post.shape[0]),
        pre_frame=(PAD, PAD, pre.shape[1], pre.shape[0]),
        **options,
    )
    return result, registration_error(pair.truth, result.transform, PAD)


@pytest.fixture(scope="module")
def plain():
    return simulate_section(
        SHAPE, seed=21, angle_deg=6.0, scale=1.04, shift=(20.0, -15.0)
    )


@pytest.fixture(scope="module")
def aligned(plain):
    return align(plain)


@pytest.mark.parametrize(
    "settings",
    [
        {"dtype": "uint16", "dense": True},
        {"dtype": "float32", "perspective": 0.02},
        {"angle_deg": 131.0, "mirrored": True},
        {"defocus": 2.0},
        {"dim": True, "uneven_light": 0.4},
        {"frame_filling": True, "field_of_view": (200.0, -60.0)},
        {"piece_missing": "pre"},
    ],
    ids=lambda settings: "-".join(settings),
)
def test_a_known_transform_comes_back(settings):
    pair = simulate_section(SHAPE, seed=22, **settings)
    result, error = align(pair)
    assert result.verdict.state == "ok"
    assert result.method == "tiles"
    assert np.median(error) < 0.1
    assert np.percentile(error, 95) < 0.2


def test_a_clean_pair_is_known_to_a_few_hundredths(aligned):
    result, error = aligned
    rms = float(np.sqrt((error**2).mean()))
    assert rms < 0.02
    assert rms / 3 < result.accuracy_px < 0.05
    numbers = result.verdict.numbers
    assert numbers["accuracy_px"] == result.accuracy_px
    assert numbers["n_inliers"] == np.count_nonzero(result.matches.inliers)
    assert numbers["n_matches"] == len(result.matches.post_xy) > 100
    assert numbers["n_tiles"] == np.count_nonzero(result.tiles.used) > 30
    assert numbers["residual_median_px"] < numbers["residual_p95_px"] < 0.2
    assert all(np.isfinite(value) for value in numbers.values())


def test_features_of_a_large_image_are_where_they_were_seen():
    # so long that features are sought in images that are halved once more
    pair = simulate_section((640, 3260), seed=23, angle_deg=2.0, shift=(9.0, -7.0))
    result, error = align(pair, Transform.identity())
    assert result.verdict.state == "ok"
    assert result.verdict.reason == ""
    assert np.median(error) < 0.02
    matches = result.matches
    off = matches.transform(matches.post_xy) - pair.truth.canvas_transform(PAD)(
        matches.post_xy
    )
    assert np.abs(np.median(off[matches.inliers], axis=0)).max() < 0.2


def test_pictures_get_matches_and_tiles_in_canvas_pixels(plain, aligned):
    result, _ = aligned
    truth = plain.truth.canvas_transform(PAD)
    matches, tiles = result.matches, result.tiles
    off = matches.pre_xy - truth(matches.post_xy)
    assert np.linalg.norm(off[matches.inliers], axis=1).max() < 8.0
    assert tiles.x.min() >= PAD
    assert tiles.y.max() <= PAD + SHAPE[0]
    used = tiles.used
    assert np.hypot(tiles.dx[used], tiles.dy[used]).max() < 0.3
    assert ((tiles.weight >= 0) & (tiles.weight <= 1)).all()
    assert (tiles.weight[used] > 0).all()


def test_microbes_do_not_pull():
    quiet = simulate_section(SHAPE, seed=23, microbes=0)
    crowded = simulate_section(SHAPE, seed=23, microbes=1000)
    _, before = align(quiet)
    result, after = align(crowded)
    assert result.verdict.state == "ok"
    assert np.median(after) < np.median(before) + 0.1


@pytest.mark.parametrize("bend", [2.0, 5.0])
def test_a_deformed_section_is_noticed(bend):
    pair = simulate_section(SHAPE, seed=24, deformation_px=bend)
    result, error = align(pair, local="off")
    assert result.verdict.state == "fell_back"
    assert "the section is deformed: residual" in result.verdict.reason
    assert result.verdict.numbers["misfit_p95_px"] > MAX_MISFIT
    rms = float(np.sqrt((error**2).mean()))
    assert 0.5 < result.accuracy_px / rms < 2.0


def test_same_input_same_output_on_any_number_of_threads(plain, aligned):
    first, _ = aligned
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        again, _ = align(plain)
    finally:
        cv2.setNumThreads(before)
    assert again.transform == first.transform
    assert again.verdict == first.verdict
    np.testing.assert_array_equal(again.tiles.dx, first.tiles.dx)


def test_frames_are_found_when_not_given(plain, aligned):
    shape = np.maximum(plain.post.shape, plain.pre.shape)
    result = refine_interior_ecc(
        canvas(np.maximum(plain.post, 1), shape),
        canvas(np.maximum(plain.pre, 1), shape),
        plain.truth.canvas_transform(PAD) @ OFF,
    )
    error = registration_error(plain.truth, result.transform, PAD)
    assert result.verdict.state == "ok"
    assert np.median(error) < 0.05


def test_a_start_that_is_far_off_is_corrected(plain):
    result, error = align(plain, Transform.similarity(translation=(300.0, 0.0)))
    assert result.verdict.state == "ok"
    assert np.median(error) < 0.05
    assert result.verdict.numbers["correction_px"] == pytest.approx(312.0, abs=5.0)


def test_too_large_a_correction_is_refused(plain):
    off = Transform.similarity(translation=(60.0, 0.0))
    result, _ = align(plain, off, interior_max_correction=50)
    assert result.verdict.state == "failed"
    assert "correction of 50 px at most, found 62 px" in result.verdict.reason
    assert result.transform == plain.truth.canvas_transform(PAD) @ off
    assert result.accuracy_px == -1.0


def test_tiles_have_to_keep_the_limit_too(plain):
    result, _ = align(plain, interior_max_correction=2.0, interior_min_inlier_ratio=1.0)
    assert result.verdict.state == "failed"
    assert result.method == "initial"
    assert "correction of 2 px at most" in result.verdict.reason


def test_a_low_inlier_ratio_is_told_and_tiles_may_vouch(aligned):
    noisy = simulate_section(SHAPE, seed=21, noise=10.0)
    assert aligned[0].verdict.reason == ""
    strict, error = align(noisy, interior_min_inlier_ratio=1.0)
    ratio = strict.verdict.numbers["inlier_ratio"]
    assert ratio < 1.0
    wanted = f"wanted an inlier ratio of 1 or more, found {ratio:.3f}"
    assert wanted in strict.verdict.reason
    assert "tiles alone vouch for it" in strict.verdict.reason
    assert strict.verdict.state == "ok"
    assert np.median(error) < 0.2


def test_more_blur_leaves_fewer_features(plain, aligned):
    sharp, _ = aligned
    soft, _ = align(plain, interior_blur_base=200.0)
    counts = [len(result.matches.inliers) for result in (soft, sharp)]
    assert counts[0] < 0.7 * counts[1]


@pytest.mark.parametrize("filling", [False, True])
def test_another_section_is_never_ok(plain, filling):
    pair = simulate_section(SHAPE, seed=21, frame_filling=filling)
    other = simulate_section(SHAPE, seed=77, frame_filling=filling)
    result, _ = align(pair, pre=other.pre)
    assert result.verdict.state in ("fell_back", "failed")
    assert result.method == "initial"
    assert result.accuracy_px == -1.0
    assert "wanted 15 features that agree, found" in result.verdict.reason
    assert "tiles to agree, found" in result.verdict.reason


@pytest.mark.parametrize(
    "off",
    [
        Transform.similarity(angle_deg=180.0, centre=CENTRE),
        Transform.similarity(mirrored=True, centre=CENTRE),
        Transform.similarity(translation=(700.0, 0.0)),
    ],
    ids=["upside down", "wrong hand", "700 px off"],
)
def test_a_wrong_start_is_never_called_ok_when_it_stays_wrong(plain, off):
    result, error = align(plain, off)
    assert np.median(error) < 0.1 or result.verdict.state != "ok"


@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_images_without_texture_fall_back(plain, kind):
    rng = np.random.default_rng(0)
    shape = (200, 240)
    images = [
        np.full(shape, 50, np.uint8)
        if kind == "flat"
        else rng.integers(0, 255, shape).astype(np.uint8)
        for _ in range(2)
    ]
    start = Transform.similarity(translation=(2.0, 1.0))
    frame = (0, 0, shape[1], shape[0])
    result = refine_interior_sift(*images, start, post_frame=frame, pre_frame=frame)
    assert result.verdict.state == "fell_back"
    assert result.transform == start


@pytest.mark.parametrize("shape", [(64, 64), (130, 300)])
def test_small_sections_are_aligned_too(shape):
    pair = simulate_section(shape, seed=4, frame_filling=True)
    result, error = align(pair, Transform.similarity(translation=(2.0, -1.0)))
    assert result.verdict.state == "ok"
    assert np.median(error) < 0.1


def test_a_small_section_in_a_large_frame():
    pair = simulate_section((300, 340), seed=5)
    rng = np.random.default_rng(0)
    images = []
    for image in (pair.post, pair.pre):
        large = np.clip(rng.normal(3.0, 1.0, (800, 900)), 0, 255).astype(np.uint8)
        large[PAD : PAD + 300, PAD : PAD + 340] = image
        images.append(large)
    start = pair.truth.canvas_transform(PAD)
    frame = (0, 0, 900, 800)
    result = refine_interior_sift(
        *images,
        start @ Transform.similarity(translation=(3.0, 2.0)),
        post_frame=frame,
        pre_frame=frame,
    )
    assert result.verdict.state == "ok"
    assert np.median(registration_error(pair.truth, result.transform, PAD)) < 0.05


def test_bad_input_is_told(plain):
    with pytest.raises(ParameterError, match="'interior_blur_base' takes a number"):
        align(plain, interior_blur_base=-1.0)
    with pytest.raises(ParameterError, match=r"'interior_max_correction' .* above 0"):
        align(plain, interior_max_correction=0)
    with pytest.raises(ParameterError, match=r"from 0 to 1, found 1\.5"):
        align(plain, interior_min_inlier_ratio=1.5)
    with pytest.raises(ParameterError, match="unknown parameter 'interior_ecc'"):
        align(plain, interior_ecc=False)
    empty = np.zeros((100, 100), np.uint8)
    with pytest.raises(RegistrationError, match="zero everywhere"):
        refine_interior_sift(empty, empty, Transform.identity())
    with pytest.raises(RegistrationError, match="does not lie inside"):
        refine_interior_sift(
            plain.post, plain.pre, Transform.identity(), post_frame=(0, 0, 9000, 10)
        )


def test_progress_rises_and_a_request_to_stop_is_heard(plain):
    seen: list[float] = []
    align(plain, monitor=Monitor(lambda fraction, _: seen.append(fraction)))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(CancelledError):
        align(plain, monitor=Monitor(should_stop=lambda: len(seen) > 0))


def test_every_step_hears_a_request_to_stop_and_no_other_one_follows(plain):
    """Whichever question is answered with yes is the last one that is asked."""
    asked: list[tuple[str, ...]] = []
    limit = 10**9

    def should_stop() -> bool:
        frame, names = inspect.currentframe(), []
        while frame is not None:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
        asked.append(tuple(names))
        return len(asked) >= limit

    calm = align(plain, monitor=Monitor(should_stop=should_stop))[0]
    steps = {name for names in asked for name in names}
    assert steps >= {
        "prepare_pair",
        "find_features",
        "detect_features",
        "match_interiors",
        "match_features",
        "choose_tiles",
        "measure_tiles",
        "choose_model",
        "assess_accuracy",
    }
    # How often it is asked while something is waited for depends on the machine, so
    # only the first half of these questions is sure to come again.
    for limit in np.linspace(1, len(asked) // 2, 8).astype(int):
        asked.clear()
        with pytest.raises(CancelledError):
            align(plain, monitor=Monitor(should_stop=should_stop))
        assert len(asked) == limit
    plain_result = align(plain)[0]
    np.testing.assert_array_equal(calm.transform.matrix, plain_result.transform.matrix)
    np.testing.assert_array_equal(calm.tiles.dx, plain_result.tiles.dx)
    np.testing.assert_array_equal(calm.matches.pre_xy, plain_result.matches.pre_xy)


def test_a_start_that_features_do_not_support_hears_it_too(plain):
    reduced: list[bool] = []

    def should_stop() -> bool:
        frame = inspect.currentframe()
        while frame is not None and frame.f_code.co_name != "align_reduced_tiles":
            frame = frame.f_back
        reduced.append(frame is not None)
        return sum(reduced) >= 5

    with pytest.raises(CancelledError):
        align(
            plain,
            interior_min_inlier_ratio=1.0,
            monitor=Monitor(should_stop=should_stop),
        )
    assert sum(reduced) == 5
