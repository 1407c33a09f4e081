"""The demonstration: its folder, its microbes and its figures against the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_exo2micro.core.base import OutputError
from napari_exo2micro.core.batch import run_demo
from napari_exo2micro.core.batch.demo import count_microbes
from napari_exo2micro.core.simulate import Truth, simulate_section


def blank_with_spots(truth: Truth, spots: list[tuple[float, float]]) -> np.ndarray:
    """Return noise of one grey level with round spots at points (x, y)."""
    rows, columns = truth.post_shape
    image = np.random.default_rng(0).normal(0.0, 1.0, (rows, columns))
    y, x = np.mgrid[:rows, :columns]
    for spot_x, spot_y in spots:
        image[np.hypot(x - spot_x, y - spot_y) <= 2.0] += 60.0
    return image


@pytest.fixture(scope="module")
def truth() -> Truth:
    return simulate_section((300, 320), seed=3, microbes=6).truth


def test_all_microbes_are_found_where_all_are_visible(truth: Truth) -> None:
    places = [(m["x"], m["y"]) for m in truth.microbes]
    count = count_microbes(blank_with_spots(truth, places), truth)
    assert (count.true, count.found, count.false) == (6, 6, 0)


def test_spots_elsewhere_are_false_and_microbes_unseen_are_missed(
    truth: Truth,
) -> None:
    far = max(
        ((x, y) for x in range(20, 300, 20) for y in range(20, 280, 20)),
        key=lambda p: np.hypot(
            truth.microbes["x"] - p[0], truth.microbes["y"] - p[1]
        ).min(),
    )
    count = count_microbes(blank_with_spots(truth, [far]), truth)
    assert (count.true, count.found, count.false) == (6, 0, 1)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_an_empty_difference_shows_nothing(truth: Truth, value: float) -> None:
    count = count_microbes(np.full(truth.post_shape, value), truth)
    assert (count.true, count.found, count.false) == (6, 0, 0)


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="choose a folder"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        run_demo(mine)
