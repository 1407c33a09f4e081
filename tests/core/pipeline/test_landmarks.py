"""Landmarks: as a start of stage 2, as a check of stage 3, and in what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_exo2micro import core as e2m
from napari_exo2micro.core.raw import find_pair
from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.core.store import read_result_sets

HARD = {"angle_deg": 140.0, "frame_filling": True, "photons": 5, "defocus": 5.0}
PLACES = np.array([[350.0, 300.0], [650.0, 330.0], [500.0, 620.0]])


def table(path: Path, pair, places=PLACES, off=0.0) -> Path:
    """Write landmarks of a simulated pair, each `off` px beside its place."""
    there = pair.truth(places)
    turns = 2.0 * np.arange(len(places))
    there = there + off * np.column_stack([np.cos(turns), np.sin(turns)])
    rows = np.column_stack([places, there])
    lines = ["name,post_x,post_y,pre_x,pre_y"]
    lines += [
        f"L{n},{','.join(f'{v:.3f}' for v in row)}" for n, row in enumerate(rows, 1)
    ]
    path.write_text("\n".join(lines))
    return path


def error_px(pair, task, stage) -> float:
    """Return the median error of a stage's transform on raw px."""
    x, y = np.meshgrid(np.linspace(200, 700, 8), np.linspace(200, 600, 8))
    points = np.column_stack([x.ravel(), y.ravel()])
    pad = task.params["pad"]
    moved = task.transform(stage)(points + pad) - pad
    return float(np.median(np.linalg.norm(moved - pair.truth(points), axis=1)))


@pytest.fixture(scope="module")
def hard_pair():
    return simulate_section((900, 1000), seed=3, **HARD)


@pytest.mark.usefixtures("plain_pictures")
def test_three_landmarks_align_a_pair_that_nothing_else_does(tmp_path, hard_pair):
    write_pair(hard_pair, tmp_path / "raw", "S", "DAPI")
    without = e2m.SampleDye("S", "DAPI", tmp_path / "without", tmp_path / "raw")
    without.set_params(pad=60, orientation_search=False)
    result = without.run(to_stage=2)
    assert result["registration"][2]["state"] == "failed"
    assert error_px(hard_pair, without, 2) > 100
    marks = table(tmp_path / "marks.csv", hard_pair, off=1.5)
    task = e2m.SampleDye(
        "S", "DAPI", tmp_path / "out", tmp_path / "raw", landmarks=marks
    )
    task.set_params(pad=60)
    result = task.run(to_stage=3)
    assert result["status"] == "complete"
    assert error_px(hard_pair, task, 3) < 0.3
    numbers = result["registration"][3]["numbers"]
    assert numbers["n_landmarks"] == 3
    assert 1 < numbers["landmarks_px"] < 2
    stored = task.checkpoint(3, "pre").details["landmarks"]
    assert stored["names"] == ["L1", "L2", "L3"]
    assert np.allclose(np.hypot(*np.transpose(stored["residuals"])), 1.5, atol=0.3)


@pytest.fixture
def soft_pair():
    return simulate_section((500, 600), seed=2, angle_deg=3.0, shift=(5.0, -4.0))


@pytest.fixture
def folders(tmp_path, soft_pair):
    write_pair(soft_pair, tmp_path / "raw", "S", "DAPI")
    return {"raw_dir": tmp_path / "raw", "output_dir": tmp_path / "out"}


def made(folders, **more) -> e2m.SampleDye:
    task = e2m.SampleDye("S", "DAPI", **folders, **more)
    task.set_params(pad=40)
    return task


SOFT = np.array([[150.0, 150.0], [450.0, 160.0], [300.0, 400.0], [200.0, 300.0]])


def test_a_map_that_misses_the_landmarks_is_degraded(tmp_path, folders, soft_pair):
    marks = table(tmp_path / "marks.csv", soft_pair, SOFT)
    lines = marks.read_text().splitlines()
    moved = [lines[0]]
    for line in lines[1:]:  # all of them 25 px off: they fit each other
        name, a, b, c, d = line.split(",")
        moved.append(f"{name},{a},{b},{float(c) + 25},{d}")
    marks.write_text("\n".join(moved))
    task = made(folders, landmarks=marks)
    task.set_params(pixel_size=0.5)
    result = task.run(to_stage=3)
    assert result["status"].startswith("degraded: stage 3")
    numbers = result["registration"][3]["numbers"]
    in_um = 0.5 * numbers["landmarks_px"]  # magnification 1
    assert numbers["landmarks_um"] == pytest.approx(in_um, rel=0.01)
    assert numbers["landmarks_left_out_um"] < 0.1
    assert "misses the landmarks by 25.0 px" in result["status"]


def test_other_landmarks_make_the_stages_stale(tmp_path, folders, soft_pair):
    marks = table(tmp_path / "marks.csv", soft_pair, SOFT)
    made(folders, landmarks=marks).run(to_stage=3)
    again = made(folders, landmarks=marks)
    states = {(line.stage, line.name): line for line in again.status()}
    assert str(states[3, "pre"].state) == "valid"
    header = again.checkpoint(3, "pre").provenance
    assert header.raw["given"]["landmarks"]["file"] == str(marks)
    assert len(header.raw["given"]["landmarks"]["digest"]) == 16
    # opened without a raw folder it is one run, too
    (found,), problems = read_result_sets(folders["output_dir"] / "S" / "DAPI")
    assert (found.stages, problems) == ((1, 2, 3), ())
    without = {(line.stage, line.name): line for line in made(folders).status()}
    assert str(without[1, "pre"].state) == "valid"
    assert str(without[2, "pre"].state) == "stale"
    why = without[2, "pre"].reason
    assert f"made with the landmarks of {marks}, and now none are given" in why
    assert str(without[3, "pre"].state) == "stale"
    table(marks, soft_pair, SOFT + 1)
    line = next(li for li in again.status() if (li.stage, li.name) == (2, "pre"))
    assert str(line.state) == "stale"
    # the same points, given as numbers, are the same landmarks
    table(marks, soft_pair, SOFT)
    rows = [[float(c) for c in r.split(",")[1:]] for r in marks.read_text().split()[1:]]
    assert made(folders, landmarks=rows).checkpoint(3, "pre") is not None


def test_the_table_of_pairs_names_landmarks(folders, soft_pair):
    raw = folders["raw_dir"]
    table(raw / "S" / "marks.csv", soft_pair, SOFT)
    post, pre = (p.name for p in find_pair("S", "DAPI", raw)[:2])
    (raw / "pairs.csv").write_text(
        f"sample;dye;post;pre;landmarks\nS;DAPI;S/{post};S/{pre};S/marks.csv\n"
    )
    result = made(folders).run(to_stage=2)
    assert result["registration"][2]["numbers"]["n_landmarks"] == 4
    (raw / "S" / "marks.csv").unlink()
    with pytest.raises(e2m.ParameterError, match="landmarks cannot be read"):
        made(folders).run(to_stage=2)


def test_a_run_with_landmarks_that_cannot_be_used_changes_nothing(folders, tmp_path):
    made(folders).run(to_stage=2)
    before = sorted((folders["output_dir"] / "S").rglob("*.tiff"))
    with pytest.raises(e2m.ParameterError, match="3 pairs of points or more, found 2"):
        made(folders, landmarks=[(1, 2, 3, 4), (5, 6, 7, 8)]).run()
    on_a_line = [(100, 100, 100, 100), (200, 200, 200, 200), (300, 301, 300, 301)]
    with pytest.raises(e2m.RegistrationError, match="lie on one line in post-stain"):
        made(folders, landmarks=on_a_line).run()
    outside = [(100, 100, 100, 100), (2000, 200, 200, 200), (300, 400, 300, 400)]
    with pytest.raises(e2m.ParameterError, match="lies at x 2000, y 200 in post"):
        made(folders, landmarks=outside).run()
    wild = [(100, 100, 400, 400), (400, 110, 120, 110), (300, 400, 100, 400)]
    wild += [(200, 300, 400, 100)]
    with pytest.raises(e2m.RegistrationError, match="do not fit each other"):
        made(folders, landmarks=wild).run()
    assert sorted((folders["output_dir"] / "S").rglob("*.tiff")) == before
    assert str(made(folders).status()[2].state) == "valid"
