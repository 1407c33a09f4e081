"""The expected error of a registration: as numbers, and in the header of stage 3."""

import json

import numpy as np
import pytest

from napari_exo2micro.core.alignment import ErrorMap, error_map_from_details
from napari_exo2micro.core.alignment.error_map import expected_error, nodes_over
from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.pipeline import SampleDye

MAP = ErrorMap((10.0, 20.0), 50.0, [[0.1, 0.2, 0.3], [0.5, 0.4, 0.3]])


def test_between_nodes_it_is_bilinear_and_beyond_them_constant() -> None:
    points = [[10, 20], [35, 20], [10, 45], [85, 45], [-900, 45], [9000, 9000]]
    expected = [0.1, 0.15, 0.3, 0.3, 0.3, 0.3]
    np.testing.assert_allclose(MAP(points), expected, atol=1e-6)


def test_a_window_is_what_points_are() -> None:
    window = MAP.window(-5, 95, 0, 130)
    y, x = np.mgrid[-5:95, 0:130]
    points = np.column_stack([x.ravel(), y.ravel()])
    assert window.dtype == np.float32
    np.testing.assert_allclose(window, MAP(points).reshape(window.shape), atol=2e-4)


def test_it_is_kept_as_text_to_a_ten_thousandth_of_a_pixel() -> None:
    fine = ErrorMap((0.5, 0.25), 32.0, [[0.012345, 1.0]])
    again = ErrorMap.from_dict(json.loads(json.dumps(fine.to_dict())))
    assert again == fine
    assert hash(again) == hash(fine)
    assert again != MAP
    np.testing.assert_allclose(again.values, [[0.0123, 1.0]])


def test_its_summary_is_that_of_the_nodes() -> None:
    assert MAP.median == pytest.approx(0.3)
    assert MAP.p95 == pytest.approx(np.percentile(MAP.values, 95))


@pytest.mark.parametrize(
    ("origin", "spacing", "values", "words"),
    [
        ((np.nan, 0), 1.0, [[0.1]], "finite origin"),
        ((0, 0), 0.0, [[0.1]], "spacing above 0"),
        ((0, 0), 1.0, [[-0.1]], "0 or more"),
        ((0, 0), 1.0, [[np.inf]], "finite values"),
        ((0, 0), 1.0, [0.1], "found the shape"),
        ((0, 0), 1.0, np.zeros((0, 3)), "found the shape"),
    ],
)
def test_numbers_that_are_no_map_are_refused(origin, spacing, values, words) -> None:
    with pytest.raises(ValueError, match=words):
        ErrorMap(origin, spacing, values)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("jump", [1.0, 2.0])
def test_beside_a_line_that_was_missed_it_is_large(axis, jump):
    # A smooth field runs through the jump: half of it too far on either side.
    def missed(points):
        away = points[:, axis] - 600.0
        share = 0.5 * jump * np.sign(away) * np.exp(-np.abs(away) / 100.0)
        return share[:, None] * (0.6, 0.8)

    rng = np.random.default_rng(3)
    frame = (0, 0, 1200, 1200)
    tiles = np.stack(np.meshgrid(*2 * [np.arange(60, 1150, 45)]), axis=-1)
    tiles = tiles.reshape(-1, 2) + rng.uniform(-5, 5, (tiles.size // 2, 2))
    inner = np.stack(np.meshgrid(*2 * [np.arange(-30, 31, 4)]), axis=-1).reshape(-1, 2)
    seen = np.array([missed(tile + inner).mean(axis=0) for tile in tiles])
    seen += rng.normal(0.0, 0.05, seen.shape)
    nodes, _ = nodes_over(frame)
    noise = np.full(nodes[..., 0].size, 0.02**2)
    error = expected_error(frame, noise, tiles, seen, apart=48.0)

    def ratio(low, high):
        across, along = np.arange(low, high, 4.0), np.arange(100.0, 1100.0, 10.0)
        points = np.stack(np.meshgrid(across, along), axis=-1).reshape(-1, 2)
        points = points if axis == 0 else points[:, ::-1]
        true = (missed(points) ** 2).sum(axis=1) + 0.02**2
        return np.sqrt((error(points) ** 2).mean() / true.mean())

    for low, high in ((480, 560), (640, 720), (100, 350)):
        assert 1 / 1.5 < ratio(low, high) < 1.5


def test_a_header_may_have_none_and_damage_is_told() -> None:
    assert error_map_from_details({}) is None
    assert error_map_from_details({"error_map": None}) is None
    assert error_map_from_details({"error_map": MAP.to_dict()}) == MAP
    for damaged in ({"values": [[1]]}, [1], {**MAP.to_dict(), "values": [["a"]]}):
        with pytest.raises(CheckpointError, match="run stage 3 again"):
            error_map_from_details({"error_map": damaged})


def test_a_run_keeps_it_and_another_process_reads_it(
    shared_results, shared_raw_dir, pair
) -> None:
    task = SampleDye("Rock", "DAPI", shared_results, shared_raw_dir)
    task.set_params(pad=60)
    error = task.registration_error()
    assert error is not None
    numbers = task.result().verdicts[3].numbers
    assert numbers["error_median_px"] == error.median
    assert numbers["error_p95_px"] == error.p95
    points = pair.truth.section_points(500)
    off = np.linalg.norm(
        task.transform(3)(points + 60) - (pair.truth(points) + 60), axis=1
    )
    expected = error(points + 60)
    ratio = np.sqrt(np.mean(off**2) / np.mean(expected**2))
    assert 1 / 3 < ratio < 3


def test_what_nothing_vouches_for_has_none(tmp_path, shared_raw_dir) -> None:
    task = SampleDye("Rock", "DAPI", tmp_path, shared_raw_dir)
    task.set_params(pad=60, interior_ecc=False)
    with pytest.raises(CheckpointError, match="stage 3"):
        task.registration_error()
    task.run(to_stage=3)
    assert task.registration_error() is None
