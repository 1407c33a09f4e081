"""Landmarks on the command line, and in what repeats a run."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app
from napari_exo2micro.core import ParameterError
from napari_exo2micro.core.batch import plan_batch
from napari_exo2micro.core.parameters import as_command_line, as_python
from napari_exo2micro.core.simulate import SimulatedPair

pytestmark = pytest.mark.usefixtures("plain_pictures")


def call(*words: object):
    runner = CliRunner(env={"COLUMNS": "200"})
    return runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def marks(tmp_path: Path, pair: SimulatedPair) -> Path:
    places = np.array([[150.0, 150.0], [400.0, 160.0], [300.0, 350.0]])
    rows = np.column_stack([places, pair.truth(places)]).round(2)
    lines = ["post_x;post_y;pre_x;pre_y"]
    lines += [";".join(f"{v}".replace(".", ",") for v in row) for row in rows]
    path = tmp_path / "marks.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_run_takes_landmarks(tmp_path: Path, raw_dir: Path, marks: Path) -> None:
    places = ("--raw-dir", raw_dir, "--output-dir", tmp_path / "out", "--pad", 60)
    words = ("run", "Rock", "DAPI", *places, "--to-stage", 3, "--json")
    ended = call(*words, "--landmarks", marks)
    assert ended.exit_code == 0, ended.stderr
    numbers = json.loads(ended.stdout)["registration"]["3"]["numbers"]
    assert numbers["n_landmarks"] == 3
    assert numbers["landmarks_px"] < 0.1
    states = call("status", "Rock", "DAPI", *places, "--json", "--landmarks", marks)
    assert [f["state"] for f in json.loads(states.stdout)["files"][:4]] == 4 * ["valid"]
    marks.write_text("post_x,post_y,pre_x,pre_y\n1,2,3,4\n")
    ended = call(*words, "--landmarks", marks)
    assert ended.exit_code == 2
    assert "3 pairs of points or more, found 1" in ended.output


def test_a_run_takes_regions(tmp_path: Path, raw_dir: Path) -> None:
    labels = np.zeros((480, 540), np.uint8)
    labels[150:200, 100:150] = 1
    path = tmp_path / "labels.png"
    cv2.imwrite(str(path), labels)
    places = ("--raw-dir", raw_dir, "--output-dir", tmp_path / "out", "--pad", 60)
    words = ("run", "Rock", "DAPI", *places, "--json", "--regions", path)
    ended = call(*words)
    assert ended.exit_code == 0, ended.output
    warnings = " ".join(json.loads(ended.stdout)["warnings"])
    assert "1.0% of post-stain is left out of registration and scale" in warnings
    assert str(path) in warnings
    assert as_command_line("S", "D", regions=path).endswith(f"--regions {path}")
    assert f'regions="{path}",' in as_python("S", "D", regions=path)
    path.write_bytes(b"")
    ended = call(*words)
    assert ended.exit_code == 2
    assert "the regions cannot be read" in ended.output


def test_what_repeats_a_run_tells_its_landmarks(marks: Path) -> None:
    one = as_command_line("S", "D", landmarks=marks)
    assert one.endswith(f"--landmarks {marks}")
    two = as_command_line("S", "D", landmarks=[marks, "pre.csv"])
    assert two.endswith(f"--landmarks {marks} --landmarks pre.csv")
    assert f'landmarks="{marks}",' in as_python("S", "D", landmarks=marks)
    rows = [(1, 2, 3, 4), (5, 6, 7, 8), (9, 1, 2, 3)]
    assert "(5.0, 6.0, 7.0, 8.0)," in as_python("S", "D", landmarks=np.array(rows))
    with pytest.raises(ParameterError, match="takes landmarks from a file"):
        as_command_line("S", "D", landmarks=rows)


def test_a_batch_takes_them_from_the_table_only(raw_dir: Path, marks: Path) -> None:
    with pytest.raises(ParameterError, match=r"each pair in pairs\.csv"):
        plan_batch(raw_dir=raw_dir, landmarks=marks)


@pytest.mark.parametrize("given", [[(1, 2, 3)], 5, [(1, 2, 3, float("nan"))], ["a", 1]])
def test_what_is_no_landmarks_is_refused(given: object) -> None:
    with pytest.raises(ParameterError, match="give four finite numbers"):
        as_python("S", "D", landmarks=given)
