"""The demonstration: its folder, its microbes and its figures against the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from napari_exo2micro.core.base import OutputError
from napari_exo2micro.core.batch import run_demo
from napari_exo2micro.core.batch.demo import count_microbes
from napari_exo2micro.core.detection import count_of
from napari_exo2micro.core.pipeline import Microbes
from napari_exo2micro.core.simulate import Truth, simulate_section


def found_at(places: list[tuple[float, float]]) -> Microbes:
    """Return what stage 5 would tell of candidates at points (x, y)."""
    table = Table(np.array(places, float).reshape(-1, 2), names=("x", "y"))
    table["counted"] = True
    count = count_of(len(places), 0)
    return Microbes("S", "D", table, count, 5.0, 1e5, None, Path("x.ecsv"))


@pytest.fixture(scope="module")
def truth() -> Truth:
    return simulate_section((300, 320), seed=3, microbes=6).truth


def test_all_microbes_are_found_where_all_are_seen(truth: Truth) -> None:
    places = [(m["x"] + 1, m["y"]) for m in truth.microbes]
    count = count_microbes(found_at(places), truth)
    assert (count.true, count.found, count.false) == (6, 6, 0)
    assert count.counted.startswith("6 (")


def test_spots_elsewhere_are_false_and_microbes_unseen_are_missed(
    truth: Truth,
) -> None:
    far = max(
        ((x, y) for x in range(20, 300, 20) for y in range(20, 280, 20)),
        key=lambda p: np.hypot(
            truth.microbes["x"] - p[0], truth.microbes["y"] - p[1]
        ).min(),
    )
    count = count_microbes(found_at([far]), truth)
    assert (count.true, count.found, count.false) == (6, 0, 1)


def test_a_candidate_that_is_not_counted_is_not_compared(truth: Truth) -> None:
    found = found_at([(m["x"], m["y"]) for m in truth.microbes])
    found.table["counted"] = False
    assert count_microbes(found, truth).found == 0


def test_nothing_found_is_all_missed(truth: Truth) -> None:
    count = count_microbes(found_at([]), truth)
    assert (count.true, count.found, count.false) == (6, 0, 0)
    assert count.counted == "< 3"


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "thesis.txt"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="choose a folder"):
        run_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        run_demo(mine)
