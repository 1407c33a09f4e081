"""What an output folder holds, told from names and headers."""

from __future__ import annotations

import os
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import CheckpointError, DataWarning, RawDataError
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.parameters import RunSettings
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.raw.tiff import open_tiff
from napari_exo2micro.core.store import (
    find_result_folders,
    may_be_checkpoint,
    read_result_sets,
    read_stored_image,
    results,
)
from napari_exo2micro.core.store.checkpoints import CheckpointStore
from napari_exo2micro.core.store.provenance import CheckpointName, parse_checkpoint_name


def make_run(raw_dir: Path, output_dir: Path, stages: int = 3, **params) -> SampleDye:
    """Write checkpoints of stages 1 to `stages` without computing much."""
    task = SampleDye("Rock", "DAPI", output_dir, raw_dir, checkpoint_format="tiff")
    task.set_params(pad=20, **params)
    task.run(to_stage=1)
    pre = task._load_image(1, "pre")
    move = Transform.similarity(translation=(1.0, 2.0))
    for stage in range(2, stages + 1):
        task._save_image(pre, stage, "pre", transform=move)
    return task


@pytest.fixture(scope="module")
def made(shared_raw_dir, tmp_path_factory) -> Path:
    """An output folder with two runs that share stage 1; not to be changed."""
    output = tmp_path_factory.mktemp("runs") / "processed"
    make_run(shared_raw_dir, output)
    make_run(shared_raw_dir, output, boundary_width=30)
    for path in (output / "Rock" / "DAPI" / "tiff").iterdir():
        newer = 2_000_000_000 if "bw30" in path.name else 1_900_000_000
        os.utime(path, (newer, newer))
    return output


@pytest.fixture
def output(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "processed"))


# Names --------------------------------------------------------------------------


NAMES = [
    (1, "post"),
    (1, "pre"),
    (2, "pre"),
    (2, "coarse_pre"),
    (3, "pre"),
    (4, "difference"),
    (4, "difference_manual"),
    (4, "difference_percentile_p99.1"),
    (4, "difference_percentile_p50"),
]


@given(
    stage_name=st.sampled_from(NAMES),
    width=st.integers(1, 99),
    percentile=st.none() | st.floats(0.1, 99.9),
    extension=st.sampled_from(["tiff", "fits"]),
)
def test_a_name_that_the_store_makes_is_understood(
    stage_name, width, percentile, extension
):
    stage, name = stage_name
    params = {"boundary_width": width, "scale_percentile": percentile}
    store = CheckpointStore("Rock", "DAPI", RunSettings(params=params))
    make = store.tiff_path if extension == "tiff" else store.fits_path
    found = parse_checkpoint_name(make(stage, name))
    assert found is not None
    assert (found.stage, found.name) == stage_name


@pytest.mark.parametrize(
    "name",
    [
        "cells.tiff",
        "02_icp_aligned.tiff",
        "02_icp_aligned_other.tiff",
        "01_padded_post.png",
        "04_difference_differences.fits",
        "05_more_pre.tiff",
    ],
)
def test_other_names_are_none(name):
    assert parse_checkpoint_name(name) is None


def test_the_suffix_is_the_rest_of_the_name():
    found = parse_checkpoint_name("04_difference_difference_manual_msc1.42.tiff")
    assert found == CheckpointName(4, "difference_manual", "_msc1.42")


# Folders ------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "Rock", "Rock/DAPI", "Rock/DAPI/tiff"])
def test_results_are_found_from_any_folder_above(made, below):
    assert find_result_folders(made / below) == (made / "Rock" / "DAPI",)


@pytest.fixture
def listings(monkeypatch) -> list[str]:
    """The folders that were listed, one entry for each time."""
    listed: list[str] = []
    scandir = os.scandir

    def noted(path):
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    return listed


@pytest.fixture
def many(tmp_path) -> Path:
    """An output folder of 12 results; the files are empty."""
    for number in range(6):
        for dye in ("DAPI", "TxRed"):
            folder = tmp_path / f"R{number}" / dye / "tiff"
            folder.mkdir(parents=True)
            (folder / "01_padded_post.tiff").touch()
    return tmp_path


def test_many_results_are_found_and_each_folder_is_listed_once(many, listings):
    assert len(find_result_folders(many)) == 12
    there = [path for path in listings if Path(path).is_dir()]
    assert len(there) == len(set(there)) == 1 + 6 + 12


def test_it_says_when_it_stops_counting(many, monkeypatch):
    monkeypatch.setattr(results, "_MOST_FOLDERS", 4)
    with pytest.warns(DataWarning, match=r"results in 2 of its folders, and in those"):
        assert len(find_result_folders(many)) == 4


def test_checkpoints_of_many_settings_are_sorted_in_one_pass(made, tmp_path):
    folder = Path(shutil.copytree(made / "Rock" / "DAPI", tmp_path / "Rock" / "DAPI"))
    source = folder / "tiff" / "02_icp_aligned_pre_pad20_bw30.tiff"
    stored = read_stored_image(source)
    pixels = np.zeros(stored.checkpoint.image.shape, np.uint8)
    for width in range(31, 91):
        params = {**stored.parameters, "boundary_width": width}
        header = replace(stored.checkpoint.provenance, parameters=params).to_header()
        path = source.with_name(f"02_icp_aligned_pre_pad20_bw{width}.tiff")
        write_raster([path], pixels.shape, "uint8", [(0, pixels)], header=header)
    sets, problems = read_result_sets(folder)
    assert problems == ()
    assert len(sets) == 62
    for one in sets:  # stage 1 belongs to all of them
        assert {(1, "post"), (1, "pre"), (2, "pre")} <= set(one.images)
        own = one.images[2, "pre"].parameters["boundary_width"]
        assert own == one.parameters["boundary_width"]


def test_a_raw_folder_has_no_results(shared_raw_dir, tmp_path):
    assert find_result_folders(shared_raw_dir) == ()
    assert find_result_folders(tmp_path / "missing") == ()


# Sets ---------------------------------------------------------------------------


def test_each_set_of_parameters_is_a_set_and_the_newest_comes_first(
    made, shared_raw_dir
):
    sets, problems = read_result_sets(made / "Rock" / "DAPI")
    assert problems == ()
    assert [one.suffix for one in sets] == ["_pad20_bw30", "_pad20"]
    for one in sets:
        assert list(one.images) == [(1, "post"), (1, "pre"), (2, "pre"), (3, "pre")]
        assert one.stages == (1, 2, 3)
        assert (one.sample, one.dye) == ("Rock", "DAPI")
        assert one.raw_dir == shared_raw_dir
        assert one.output_dir == made
    newest = sets[0].checkpoint(3, "pre")
    assert newest is not None
    assert newest.provenance.parameters["boundary_width"] == 30
    assert "30" in sets[0].title
    assert sets[0].checkpoint(4, "difference") is None


def test_sets_read_no_raw_files_and_survive_without_them(made, tmp_path):
    folder = tmp_path / "elsewhere" / "Rock" / "DAPI"
    shutil.copytree(made / "Rock" / "DAPI", folder)
    sets, problems = read_result_sets(folder)
    assert len(sets) == 2
    assert problems == ()
    assert sets[0].output_dir == tmp_path / "elsewhere"


def test_a_renamed_folder_is_not_an_output_folder(output):
    folder = output / "Rock" / "copy"
    (output / "Rock" / "DAPI").rename(folder)
    sets, _ = read_result_sets(folder)
    assert (sets[0].dye, sets[0].output_dir) == ("DAPI", None)


def test_a_damaged_file_is_left_out_and_told(output):
    path = output / "Rock" / "DAPI" / "tiff" / "03_interior_aligned_pre_pad20.tiff"
    path.write_bytes(path.read_bytes()[:5000])
    sets, problems = read_result_sets(output / "Rock" / "DAPI")
    assert [list(one.images)[-1] for one in sets] == [(3, "pre"), (2, "pre")]
    assert len(problems) == 1
    assert path.name in problems[0]


def test_what_was_made_from_other_images_is_left_out_and_told(output, shared_raw_dir):
    task = SampleDye("Rock", "DAPI", output, shared_raw_dir, checkpoint_format="tiff")
    task.set_params(pad=20)
    changed = np.array(task._load_image(2, "pre")) // 2
    task._save_image(changed, 2, "pre", transform=Transform.identity())
    sets, problems = read_result_sets(output / "Rock" / "DAPI")
    stages = {one.suffix: one.stages for one in sets}
    assert stages == {"_pad20_bw30": (1, 2, 3), "_pad20": (1, 2)}
    assert "03_interior_aligned_pre_pad20.tiff is left out" in problems[0]
    assert "run stage 3 again" in problems[0]


def test_replaced_raw_files_are_told(tmp_path, raw_dir):
    make_run(raw_dir, tmp_path / "processed", stages=2)
    file = raw_dir / "Rock" / "Rock_PreStain_DAPI.tif"
    file.write_bytes(file.read_bytes() + b"more")
    sets, problems = read_result_sets(tmp_path / "processed" / "Rock" / "DAPI")
    assert len(sets) == 1
    assert len(problems) == 1
    assert str(file) in problems[0]


def test_files_of_the_reference_system_are_read_by_their_names(tmp_path):
    folder = tmp_path / "processed" / "S1" / "DAPI" / "tiff"
    folder.mkdir(parents=True)
    image = np.arange(400, dtype=np.uint8).reshape(20, 20) % 200
    for name in ("01_padded_post", "01_padded_pre"):
        tifffile.imwrite(folder / f"{name}_pad5.tiff", image)
    tifffile.imwrite(folder / "02_icp_aligned_pre_pad5_bw20.tiff", image)
    (found,), problems = read_result_sets(folder.parent)
    assert problems == ()
    assert (found.sample, found.dye, found.suffix) == ("S1", "DAPI", "_pad5_bw20")
    aligned = found.images[2, "pre"]
    assert aligned.checkpoint.provenance is None
    assert aligned.canvas_offset == (-5.0, -5.0)


# Single files -------------------------------------------------------------------


def test_a_file_of_ours_is_known_under_any_name(made, tmp_path):
    copy = tmp_path / "figure.tiff"
    source = made / "Rock" / "DAPI" / "tiff" / "02_icp_aligned_pre_pad20_bw30.tiff"
    shutil.copy(source, copy)
    assert may_be_checkpoint(copy)
    found = read_stored_image(copy)
    assert (found.sample, found.dye, found.stage, found.name) == (
        "Rock",
        "DAPI",
        2,
        "pre",
    )
    assert found.parameters["boundary_width"] == 30
    assert found.canvas_offset == (-20.0, -20.0)


def test_a_file_of_others_is_none(tmp_path):
    path = tmp_path / "cells.tiff"
    tifffile.imwrite(path, np.zeros((20, 20), np.uint8))
    assert not may_be_checkpoint(path)
    assert read_stored_image(path) is None
    assert not may_be_checkpoint(tmp_path / "missing.fits")


def test_a_name_with_unknown_parameters_is_refused(tmp_path):
    path = tmp_path / "01_padded_post_zz7.tiff"
    tifffile.imwrite(path, np.zeros((20, 20), np.uint8))
    with pytest.raises(CheckpointError, match="zz7"):
        read_stored_image(path)


def chain_of_directories(path: Path, count: int) -> None:
    """Write a TIFF of many thumbnails behind one image, which share their pixels."""
    entries = [(254, 0), (256, 64), (257, 64), (258, 8), (259, 1), (262, 1)]
    entries += [(273, 8), (277, 1), (278, 64), (279, 4096)]
    size, start = 2 + 12 * len(entries) + 4, 8 + 4096
    parts = [struct.pack("<2sHI", b"II", 42, start), bytes(range(64)) * 64]
    for number in range(count):
        entries[0] = (254, int(number > 0))
        after = start + (number + 1) * size if number + 1 < count else 0
        parts.append(struct.pack("<H", len(entries)))
        parts += [struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries]
        parts.append(struct.pack("<I", after))
    path.write_bytes(b"".join(parts))


def test_a_chain_of_many_images_is_not_followed(tmp_path, monkeypatch):
    path = tmp_path / "02_icp_aligned_pre.tiff"
    chain_of_directories(path, 5000)
    looked_at = 0
    init = tifffile.TiffPage.__init__

    def counted(*args, **more):
        nonlocal looked_at
        looked_at += 1
        init(*args, **more)

    monkeypatch.setattr(tifffile.TiffPage, "__init__", counted)
    with pytest.raises(CheckpointError, match="one image, found more than 32"):
        read_stored_image(path)
    with pytest.raises(RawDataError, match="more than 4096 pages"):
        open_tiff(path)
    assert looked_at < 100
