"""A run whose stage 3 bends: pixels, files, headers, and what makes them stale."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app
from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.images import (
    Displacement,
    Transform,
    open_raster,
    warp_window,
)
from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.pipeline import SampleDye, sample_dye
from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.core.store import (
    Provenance,
    export_image,
    read_result_sets,
    read_stored_image,
)

PAD = 60
NAME = "03_interior_aligned_pre_pad60_displacement.json"


def displacement() -> Displacement:
    """Return what bends by up to 4 px, and jumps, on the canvas of the small pair."""
    y, x = np.mgrid[:22, :24] * 30.0
    values = np.stack([3 * np.sin(x / 150), 2.5 * np.cos(y / 170)], axis=-1)
    return Displacement(
        spacing=30.0,
        values=values,
        cuts_x=[330.5],
        moves=[[[0.0, 0.0], [1.5, -1.25]]],
    )


def find_bent(*args, **options):
    """Do stage 3 and bend what it found, as if it had been measured."""
    found = _refine(*args, **options)
    matrix = section().truth.canvas_transform(PAD).matrix
    return replace(found, transform=Transform(matrix, (displacement(),)))


def find_straight(*args, **options):
    """Do stage 3 with nothing but a matrix."""
    return _refine(*args, **options, local="off")


_refine = sample_dye.refine_interior_sift


@cache
def section():
    return simulate_section(
        (500, 540), seed=5, angle_deg=4.0, shift=(12.0, -9.0), gain=1.25
    )


@pytest.fixture(scope="module")
def bent_raw(tmp_path_factory):
    """A small pair, whose post was bent before it was photographed."""
    pair = section()
    folder = tmp_path_factory.mktemp("bent")
    place = displacement().conjugated(
        Transform.similarity(translation=(float(PAD), float(PAD))).matrix
    )
    rows, columns = pair.post.shape
    move = Transform(np.eye(3), (place,))
    post = warp_window(pair.post, move, 0, rows, 0, columns)
    write_pair(replace(pair, post=post), folder, "Rock", "DAPI")
    return folder


def opened(raw, output, kind="both", dye="DAPI", **options):
    task = SampleDye("Rock", dye, output, raw, kind, **options)
    task.set_params(pad=PAD)
    return task


@pytest.fixture(scope="module", params=["both", "tiff", "fits"])
def done(request, tmp_path_factory, bent_raw):
    """A run up to stage 3 of that kind; not to be changed by tests."""
    output = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_dye, "refine_interior_sift", find_bent)
        task = opened(bent_raw, output, request.param)
        result = task.run(to_stage=3)
    return task, result


@pytest.fixture(scope="module")
def finished(tmp_path_factory, bent_raw):
    """All stages, stored as TIFF; not to be changed by tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample_dye, "refine_interior_sift", find_bent)
        task = opened(bent_raw, tmp_path_factory.mktemp("finished"), "tiff")
        result = task.run()
    return task, result


@pytest.fixture(scope="module")
def straight(tmp_path_factory, bent_raw):
    """A run on the same pair with the best homography."""
    task = opened(bent_raw, tmp_path_factory.mktemp("straight"), "tiff")
    task.set_params(local="off")
    task.run()
    return task


@pytest.fixture
def place(done, tmp_path):
    """A copy of the run."""
    shutil.copytree(done[0].output_dir, tmp_path / "out")
    return opened(done[0].raw_dir, tmp_path / "out", done[0].checkpoint_format)


@pytest.fixture
def bending(monkeypatch):
    """Have stage 3 bend."""
    monkeypatch.setattr(sample_dye, "refine_interior_sift", find_bent)


def displacement_files(task):
    return sorted((task.output_dir / "Rock").rglob("*_displacement.json"))


def line_of(task, name):
    (line,) = [one for one in task.status() if (one.stage, one.name) == (3, name)]
    return line


def test_the_transform_comes_back_whole_and_did_the_warp(done):
    task, _ = done
    transform = task.transform(3)
    assert transform.displacements == (displacement(),)
    pre = task._load_image(1, "pre")
    expected = warp_window(np.asarray(pre), transform, 200, 500, 250, 600)
    off = task._load_image(3, "pre")[200:500, 250:600].astype(int) - expected
    assert np.abs(off).max() <= 1
    assert np.count_nonzero(off) < off.size / 100


def test_what_was_bent_is_left_out_of_the_difference(finished, straight):
    def spread(task):
        return np.median(np.abs(task._load_image(4, "difference")[150:450, 150:500]))

    assert spread(finished[0]) < 0.7 * spread(straight)
    assert finished[1]["scale_estimate"] == pytest.approx(1.25, rel=0.002)


def test_every_file_is_listed(done):
    task, result = done
    paths = displacement_files(task)
    folders = {"both": ["fits", "tiff"]}.get(
        task.checkpoint_format, [task.checkpoint_format]
    )
    assert [path.parent.name for path in paths] == folders
    assert {path.name for path in paths} == {NAME}
    assert len({path.read_bytes() for path in paths}) == 1
    assert set(paths) <= set(result.outputs)
    assert result.outputs == task.result(3).outputs
    line = line_of(task, "displacement")
    assert (line.state, line.kind) == (State.VALID, "checkpoint")
    assert line.path in paths
    assert not line.is_image
    assert {one.state for one in task.status() if one.stage < 4} == {State.VALID}


def test_headers_refer_to_the_file(done):
    refers_to_the_file(done[0], [(3, "pre")])


def test_headers_of_stage_4_refer_to_the_file(finished):
    refers_to_the_file(finished[0], [(3, "pre"), (4, "difference")])


def test_info_tells_of_the_displacement(done):
    task, _ = done
    for path in task.store.paths(3, "pre"):
        ended = CliRunner().invoke(app, ["info", str(path)])
        assert ended.exit_code == 0, ended.output
        assert NAME in "".join(ended.output.split())
        assert "magnification" in ended.output


def refers_to_the_file(task, images):
    transform = task.transform(3)
    for stage, name in images:
        for path in task.store.paths(stage, name):
            stored = open_raster(path).header["transform"]
            assert stored["version"] == 2
            np.testing.assert_array_equal(stored["matrix"], transform.matrix)
            told = stored["displacement"]
            assert told["file"] == NAME
            assert told["unit"] == "px"
            assert told["largest"] == transform.largest_displacement
            assert told["extent"] == list(displacement().extent)
            assert "displacements" not in stored
            if path.suffix == ".fits":
                cards = fits.getheader(path)
                assert cards["DISPFILE"] == NAME
                assert cards["DISPMAX"] == transform.largest_displacement
                assert cards["DISPSUM"] == told["digest"]
                assert cards["T00"] == transform.matrix[0, 0]
            else:
                with tifffile.TiffFile(path) as tif:
                    assert len(tif.pages[0].description) < 500_000
    (first, *_) = displacement_files(task)
    assert Transform.load(first) == transform
    alignment = Alignment.load(first)
    assert alignment.knows_its_canvas
    assert (alignment.sample, alignment.dye, alignment.stage) == ("Rock", "DAPI", 3)


def test_nothing_is_done_twice(place, bending):
    before = {
        path: path.read_bytes()
        for path in place.output_dir.rglob("*")
        if path.suffix in (".tiff", ".fits", ".json", ".png")
    }
    place.run(to_stage=3)
    for path, content in before.items():
        assert path.read_bytes() == content, path.name


def _spoil(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif how == "changed":
        stored = json.loads(path.read_text())
        stored["displacements"][0]["values"][3][4][0] += 0.0001
        path.write_text(json.dumps(stored))
    elif how == "of another run":
        Transform(np.eye(3), (Displacement(values=[[[1.0, 0.0]]]),)).save(path)
    else:
        Transform(np.eye(3)).save(path)


REASONS = {
    "missing": "is missing",
    "cut": "cannot be read",
    "changed": "another run",
    "of another run": "another run",
    "plain": "another run",
}


@pytest.mark.parametrize("how", REASONS)
def test_without_the_file_the_stage_counts_no_more(place, how, bending):
    before = place.transform(3)
    for path in displacement_files(place):
        _spoil(path, how)
    line = line_of(place, "pre")
    assert line.state == State.STALE
    assert NAME in line.reason
    assert REASONS[how] in line.reason
    wanted = State.MISSING if how == "missing" else State.STALE
    assert line_of(place, "displacement").state == wanted
    assert place.checkpoint(3, "pre") is None
    sets, problems = read_result_sets(place.output_dir / "Rock" / "DAPI")
    assert all((3, "pre") not in one.images for one in sets)
    assert any(NAME in problem for problem in problems)
    place.run(to_stage=3)
    assert place.transform(3) == before
    assert {one.state for one in place.status() if one.stage == 3} == {State.VALID}


def test_one_of_two_copies_is_enough(place):
    first, *others = displacement_files(place)
    first.unlink()
    state = State.VALID if others else State.STALE
    assert line_of(place, "pre").state == state
    assert line_of(place, "displacement").path in (others or [first])


def test_a_run_that_fails_loses_nothing(place, bending, monkeypatch):
    before = {path: path.read_bytes() for path in displacement_files(place)}
    transform = place.transform(3)

    def other(*args, **options):
        found = find_bent(*args, **options)
        moved = (Displacement(values=[[[9.0, 0.0]]]),)
        return replace(found, transform=Transform(found.transform.matrix, moved))

    def full(*_args, **_options):
        yield from ()
        raise OSError(28, "no space left")

    monkeypatch.setattr(sample_dye, "refine_interior_sift", other)
    monkeypatch.setattr(sample_dye.stages.warp, "warped_bands", full)
    with pytest.raises(Exception, match="disk is full"):
        place.run(from_stage=3, to_stage=3, force=True)
    assert {path: path.read_bytes() for path in displacement_files(place)} == before
    assert place.transform(3) == transform
    assert line_of(place, "pre").state == State.VALID


def test_later_stages_rest_on_it(finished, tmp_path, monkeypatch):
    shutil.copytree(finished[0].output_dir, tmp_path / "out")
    place = opened(finished[0].raw_dir, tmp_path / "out", "tiff")
    assert place.checkpoint(4, "difference").transform == place.transform(3)
    (path,) = displacement_files(place)
    content = path.read_bytes()
    path.unlink()
    assert place.checkpoint(4, "difference") is None
    path.write_bytes(content)
    assert {one.state for one in place.status()} == {State.VALID}

    def other(*args, **options):
        found = find_bent(*args, **options)
        moved = (Displacement(values=[[[0.5, 0.0]]]),)
        return replace(found, transform=Transform(found.transform.matrix, moved))

    monkeypatch.setattr(sample_dye, "refine_interior_sift", other)
    place.run(from_stage=3, to_stage=3, force=True)
    assert line_of(place, "pre").state == State.VALID
    assert place.checkpoint(4, "difference") is None


def test_a_straight_result_leaves_no_displacement_behind(place, monkeypatch):
    monkeypatch.setattr(sample_dye, "refine_interior_sift", find_straight)
    place.run(from_stage=3, to_stage=3, force=True)
    assert not place.transform(3).displacements
    assert not displacement_files(place)
    assert {one.name for one in place.status() if one.stage == 3} == {"pre"}
    assert line_of(place, "pre").state == State.VALID


def test_another_dye_takes_it_over(bent_raw, tmp_path, bending):
    raw = Path(shutil.copytree(bent_raw, tmp_path / "raw"))
    for path in list((raw / "Rock").glob("*_DAPI.tif*")):
        shutil.copy(path, path.with_name(path.name.replace("_DAPI", "_Cy5")))
    mine = opened(raw, tmp_path / "two")
    mine.run(to_stage=3)
    other = opened(raw, tmp_path / "two", dye="Cy5", register_on="DAPI")
    other.run(to_stage=3)
    assert other.transform(3) == mine.transform(3)
    assert other.transform(3).displacements
    folder = tmp_path / "two" / "Rock" / "Cy5"
    copies = sorted(folder.rglob("*_displacement.json"))
    assert len(copies) == 2
    assert line_of(other, "displacement").state == State.VALID
    for path in displacement_files(mine):
        if path.parent.parent.name == "DAPI":
            path.unlink()
    assert other.checkpoint(3, "pre") is None


def test_results_are_read_without_the_parameters(finished):
    task, _ = finished
    (found,), problems = read_result_sets(task.output_dir / "Rock" / "DAPI")
    assert not problems
    assert found.checkpoint(3, "pre").transform == task.transform(3)
    assert found.checkpoint(4, "difference").transform == task.transform(3)
    assert (3, "displacement") in {(one.stage, one.name) for one in found.status()}


def test_an_image_that_is_saved_by_itself_holds_it(finished, tmp_path):
    task, _ = finished
    checkpoint = task.checkpoint(4, "difference")
    for name in ("alone.tiff", "alone.fits"):
        path = export_image(tmp_path / name, checkpoint.image, checkpoint.provenance)
        again = read_stored_image(path)
        assert again.checkpoint.transform == task.transform(3)
    header = checkpoint.provenance.to_header()
    assert Provenance.from_header(header).transform == task.transform(3)
    assert Alignment.from_header(header).transform == task.transform(3)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_displacement import find_bent, opened, sample_dye
sample_dye.refine_interior_sift = find_bent
task = opened(sys.argv[2], sys.argv[3], sys.argv[4])
for stage in (1, 2, 3):
    opened(sys.argv[2], sys.argv[3], sys.argv[4]).run(stage, stage)
"""


def test_another_process_writes_the_same_files(
    bent_raw, tmp_path, monkeypatch, bending
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for number in (1, 2):
        if number == 1:
            opened(bent_raw, tmp_path / "1").run(to_stage=3)
            continue
        words = [str(Path(__file__).parent), str(bent_raw), str(tmp_path / "2"), "both"]
        subprocess.run(
            [sys.executable, "-c", SCRIPT, *words], check=True, env=os.environ.copy()
        )
    contents = [
        {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.suffix in (".tiff", ".fits", ".json") and "busy" not in path.name
        }
        for folder in (tmp_path / "1", tmp_path / "2")
    ]
    assert contents[0].keys() == contents[1].keys()
    assert sum(name.endswith(NAME) for name in contents[0]) == 2
    different = [n for n in contents[0] if contents[0][n] != contents[1][n]]
    assert not different
