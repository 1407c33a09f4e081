"""`SampleDye`: stages, resuming, validity, provenance, errors."""

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from threadpoolctl import threadpool_info

from napari_exo2micro.core.base import (
    CancelledError,
    CheckpointError,
    Monitor,
    OutputError,
    ParameterError,
    RawDataError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.images import Transform, open_raster
from napari_exo2micro.core.parameters import (
    ABBREVIATIONS,
    PARAMETER_REGISTRY,
    Stage,
    register_parameter,
    register_stage,
    unregister_parameter,
    unregister_stage,
)
from napari_exo2micro.core.pipeline import SampleDye, stage_states
from napari_exo2micro.core.plotting import (
    DIAGNOSTICS,
    register_diagnostic,
    unregister_diagnostic,
)
from napari_exo2micro.core.raw import RawFingerprint, load_image_pair
from napari_exo2micro.core.simulate import (
    registration_error,
    simulate_section,
    write_pair,
)
from napari_exo2micro.core.store import read_result_sets

PAD = 60

pytestmark = pytest.mark.usefixtures("plain_pictures")


def task_for(raw_dir, output_dir, *, checkpoint_format="tiff", loader=None, **params):
    task = SampleDye("Rock", "DAPI", output_dir, raw_dir, checkpoint_format, loader)
    task.set_params(pad=PAD, **params)
    return task


@pytest.fixture(scope="module")
def done(shared_raw_dir, shared_results):
    """The finished run, in both formats; not to be changed by tests."""
    task = task_for(shared_raw_dir, shared_results, checkpoint_format="both")
    return task, task.run()


@pytest.fixture
def finished(done, raw_dir, tmp_path):
    """A copy of the finished run with a raw folder of its own."""
    shutil.copytree(done[0].output_dir, tmp_path / "out")
    return task_for(raw_dir, tmp_path / "out", checkpoint_format="both")


def files_of(folder, *kinds):
    """Return the bytes of all files but the run log, which tells of every run."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
        and not path.name.startswith(".exo2micro_run_log")
        and (not kinds or path.suffix in kinds)
    }


# Results ---------------------------------------------------------------------


def test_a_plain_pair_is_complete_and_right(done, pair):
    task, result = done
    assert result["status"] == "complete"
    assert (result["sample"], result["dye"]) == ("Rock", "DAPI")
    errors = registration_error(pair.truth, task.transform(3), PAD)
    assert np.median(errors) < 0.1
    assert result["registration"][3]["numbers"]["accuracy_px"] < 0.2
    assert result["scale_estimate"] == pytest.approx(pair.truth.gain, rel=0.01)
    assert result["scale_percentile_value"] is None
    assert result["manual_scale"] is None
    assert all(Path(path).is_file() for path in result["outputs"])


def test_the_difference_is_post_minus_scale_times_aligned_pre(done):
    task, result = done
    post, pre = task._load_image(1, "post"), task._load_image(3, "pre")
    difference = task._load_image(4, "difference")
    header = fits.getheader(task._fits_path(4, "difference"))
    assert header["SCALE"] == result["scale_estimate"]
    expected = post.astype(np.float32) - header["OFFSET"] - header["SCALE"] * pre
    covered = difference != 0
    assert covered.mean() > 0.5
    np.testing.assert_allclose(difference[covered], expected[covered], atol=1e-3)
    assert difference.dtype == np.float32


def test_microbes_stand_out_of_the_difference(done, pair):
    difference = done[0]._load_image(4, "difference")
    microbes = pair.truth.microbes
    bright = microbes[microbes["brightness"] > 60]
    columns = np.rint(bright["x"] + PAD).astype(int)
    rows = np.rint(bright["y"] + PAD).astype(int)
    noise = np.median(np.abs(difference[difference != 0]))
    assert np.median(difference[rows, columns]) > 10 * noise


def test_the_pre_image_is_warped_once_from_the_padded_original(done):
    from napari_exo2micro.core.images import warp_window

    task, _ = done
    aligned, padded = task._load_image(3, "pre"), task._load_image(1, "pre")
    rows, columns = aligned.shape
    once = warp_window(padded, task.transform(3), 0, rows, 0, columns, "cubic")
    assert np.abs(aligned.astype(int) - once).max() <= 1
    assert aligned.dtype == padded.dtype == np.uint8


def test_files_are_where_the_reference_system_has_them(done):
    task, _ = done
    folder = task.output_dir / "Rock" / "DAPI"
    suffix = f"_pad{PAD}"
    for name in (
        "01_padded_post",
        "01_padded_pre",
        "02_icp_aligned_pre",
        "03_interior_aligned_pre",
        "04_difference_difference",
    ):
        assert (folder / "tiff" / f"{name}{suffix}.tiff").is_file()
        assert (folder / "fits" / f"{name}{suffix}.fits").is_file()
    plots = {path.name for path in (folder / "pipeline_output").glob("*.png")}
    assert plots == {f"{name}{suffix}.png" for name in DIAGNOSTICS}
    assert len(plots) >= 8


def test_both_formats_hold_the_same_pixels_and_the_same_header(done):
    task, _ = done
    for stage, name in ((1, "post"), (2, "pre"), (3, "pre"), (4, "difference")):
        tiff = open_raster(task._tiff_path(stage, name))
        fit = open_raster(task._fits_path(stage, name))
        np.testing.assert_array_equal(np.asarray(tiff), np.asarray(fit))
        assert tiff.header == fit.header


def test_headers_carry_the_whole_provenance(done, pair):
    task, _ = done
    header = open_raster(task._tiff_path(4, "difference")).header
    params = {n: v for n, v in task.params.items() if PARAMETER_REGISTRY[n].stage < 5}
    assert header["parameters"] == params
    assert header["raw"]["loader"] == "tiff"
    assert len(header["raw"]["post"]["sha256"]) == 64
    assert set(header["software"]) >= {"napari-exo2micro", "numpy", "scipy", "opencv"}
    stored = Transform.from_dict(header["transform"])
    assert np.median(registration_error(pair.truth, stored, PAD)) < 0.1
    assert header["verdicts"]["3"]["state"] == "ok"
    cards = fits.getheader(task._fits_path(4, "difference"))
    assert cards["SAMPLE"] == "Rock"
    assert cards["DYE"] == "DAPI"
    assert cards["STAGE"] == 4
    assert cards["PAD"] == PAD
    assert cards.comments["PAD"] == "pad"
    assert cards["SCALEK"] == "moffat"
    assert cards["CREATED"]
    third = fits.getheader(task._fits_path(3, "pre"))
    assert 0 <= third["IACC"] < 0.2
    assert third["ILVLOK"]
    assert third["T02"] == pytest.approx(task.transform(3).matrix[0, 2])


def test_headers_tell_parameters_of_their_own_stage_and_before(raw_dir, tmp_path):
    changed = {"boundary_width": 20, "interpolation": "linear", "manual_scale": 1.4}
    task = task_for(raw_dir, tmp_path / "out", checkpoint_format="both", **changed)
    task.run()
    keys = {"pad": "PAD"} | {name: ABBREVIATIONS[name].upper() for name in changed}
    for stage, name in ((1, "post"), (2, "pre"), (3, "pre"), (4, "difference")):
        own = {n for n, entry in PARAMETER_REGISTRY.items() if entry.stage <= stage}
        header = open_raster(task._tiff_path(stage, name)).header
        assert header["parameters"] == {n: task.params[n] for n in own}
        path = task._fits_path(stage, name)
        assert open_raster(path).header["parameters"] == header["parameters"]
        cards = fits.getheader(path)
        assert {n for n, key in keys.items() if key in cards} == own & keys.keys()


# Resuming --------------------------------------------------------------------


def run_in_a_new_process(raw_dir, output, first, last):
    code = (
        "import sys; from napari_exo2micro.core import SampleDye\n"
        "task = SampleDye('Rock', 'DAPI', sys.argv[2], sys.argv[1], 'both')\n"
        f"task.set_params(pad={PAD})\n"
        "task.run(from_stage=int(sys.argv[3]), to_stage=int(sys.argv[4]))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code, *map(str, (raw_dir, output, first, last))],
        check=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )


def test_stages_in_processes_of_their_own_write_the_same_bytes(
    shared_raw_dir, shared_results, tmp_path
):
    for stage in (1, 2, 3, 4, 5):
        run_in_a_new_process(shared_raw_dir, tmp_path / "steps", stage, stage)
    straight = files_of(shared_results, ".tiff", ".fits", ".json", ".npz")
    steps = files_of(tmp_path / "steps", ".tiff", ".fits", ".json", ".npz")
    assert straight.keys() == steps.keys()
    assert [name for name in straight if straight[name] != steps[name]] == []


def test_a_second_run_writes_nothing_and_says_the_same(finished):
    before = files_of(finished.output_dir)
    results = finished.output_dir / "Rock"
    stamps = {p: p.stat().st_mtime_ns for p in results.rglob("*")}
    again = finished.run()
    assert again["status"] == "complete"
    assert files_of(finished.output_dir) == before
    assert {p: p.stat().st_mtime_ns for p in results.rglob("*")} == stamps


def test_force_makes_the_files_again(finished):
    path = finished._tiff_path(3, "pre")
    before = path.stat().st_mtime_ns
    finished.run(from_stage=3, to_stage=3, force=True)
    assert path.stat().st_mtime_ns > before
    # the result is the same, so what was made from it stays valid
    assert finished._has_checkpoint(4, "difference")


def test_results_can_be_read_when_the_raw_files_are_gone(finished, raw_dir):
    shutil.rmtree(raw_dir)
    assert finished.run()["status"] == "complete"
    assert {line.state for line in finished.status()} == {"valid"}


def test_linear_algebra_keeps_to_its_thread_while_a_run_lasts(finished):
    def threads():
        libraries = threadpool_info()
        return [lib["num_threads"] for lib in libraries if lib["user_api"] == "blas"]

    usual, seen = threads(), []
    finished.run(on_stage=lambda number: seen.extend(threads()))
    assert set(seen) == {1}
    assert threads() == usual


def test_earlier_stages_run_by_themselves_when_they_are_missing(raw_dir, tmp_path):
    task = task_for(raw_dir, tmp_path / "out")
    result = task.run(from_stage=3, to_stage=3)
    assert result["status"] == "complete"
    assert [task._has_checkpoint(stage, "pre") for stage in (1, 2, 3)] == [True] * 3
    assert not task._has_checkpoint(4, "difference")


def test_formats_can_be_mixed_and_that_is_told_once(raw_dir, tmp_path, caplog):
    task_for(raw_dir, tmp_path / "out").run(to_stage=1)
    other = task_for(raw_dir, tmp_path / "out", checkpoint_format="fits")
    other.run(to_stage=2)
    told = [r for r in caplog.records if "mixed" in r.message]
    assert len(told) == 1
    assert other._fits_path(2, "pre").is_file()
    assert not other._fits_path(1, "pre").exists()


@pytest.mark.parametrize("checkpoint_format", ["tiff", "fits"])
def test_the_difference_exists_in_both_formats_always(
    raw_dir, tmp_path, checkpoint_format
):
    task = task_for(raw_dir, tmp_path / "out", checkpoint_format=checkpoint_format)
    task.run()
    assert task._tiff_path(4, "difference").is_file()
    assert task._fits_path(4, "difference").is_file()
    assert task._tiff_path(2, "pre").is_file() == (checkpoint_format != "fits")
    assert task._fits_path(2, "pre").is_file() == (checkpoint_format != "tiff")


# Validity --------------------------------------------------------------------


def states(task):
    return {
        (line.stage, line.name): line.state
        for line in task.status()
        if line.kind == "checkpoint"
    }


def test_a_replaced_raw_file_makes_everything_stale_and_is_redone(finished, raw_dir):
    other = simulate_section((480, 540), seed=6, angle_deg=-3.0, gain=0.8)
    write_pair(other, raw_dir, "Rock", "DAPI")
    assert set(states(finished).values()) == {"stale"}
    assert "not the file" in finished.status()[0].reason
    result = finished.run()
    assert result["scale_estimate"] == pytest.approx(0.8, rel=0.02)
    assert set(states(finished).values()) == {"valid"}


def test_a_raw_file_that_was_only_touched_is_still_the_same(finished, raw_dir):
    for path in raw_dir.rglob("*.tif*"):
        os.utime(path, (1, 1))
    assert set(states(finished).values()) == {"valid"}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_raw_file_with_the_old_size_and_time_is_noticed(finished, raw_dir, in_place):
    assert set(states(finished).values()) == {"valid"}
    path = next(raw_dir.rglob("*Post*.tif*"))
    status, content = path.stat(), bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = bytes(9000)
    new = path if in_place else path.with_suffix(".new")
    new.write_bytes(content)
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    new.replace(path)
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert set(states(finished).values()) == {"stale"}
    assert "is not the file that it was made from" in finished.status()[0].reason


def test_a_copied_raw_folder_is_read_once_and_the_same(finished, raw_dir, monkeypatch):
    shutil.copytree(raw_dir, raw_dir.with_name("copy"))
    shutil.rmtree(raw_dir)
    raw_dir.with_name("copy").rename(raw_dir)
    read, of = [], RawFingerprint.of
    spy = staticmethod(lambda path: read.append(path) or of(path))
    monkeypatch.setattr(RawFingerprint, "of", spy)
    for _ in range(3):
        assert set(states(finished).values()) == {"valid"}
    assert len(read) == 2
    finished.status(verify=True)
    assert len(read) == 4
    assert finished.run(verify=True).status == "complete"
    assert len(read) == 6


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_truncated_checkpoint_is_noticed_named_and_redone(finished, stage, caplog):
    name = "difference" if stage == 4 else "pre"
    before = {
        path: np.array(open_raster(finished.output_dir / path))
        for path in files_of(finished.output_dir, ".tiff")
    }
    for path in (finished._tiff_path(stage, name), finished._fits_path(stage, name)):
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size // 2)
    assert states(finished)[stage, name] == "stale"
    assert finished.run()["status"] == "complete"
    assert finished._tiff_path(stage, name).name in caplog.text
    for path, pixels in before.items():
        image = open_raster(finished.output_dir / path)
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("kind", ["tiff", "fits"])
@pytest.mark.parametrize(("stage", "name"), [(2, "pre"), (4, "difference")])
def test_one_damaged_format_is_enough_to_redo(finished, kind, stage, name):
    path = getattr(finished, f"_{kind}_path")(stage, name)
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(whole // 2)
    assert states(finished)[stage, name] == "stale"
    assert finished.run()["status"] == "complete"
    assert path.stat().st_size == pytest.approx(whole, abs=5000)
    assert set(states(finished).values()) == {"valid"}


def test_statistics_of_another_alignment_are_not_used(finished, tmp_path):
    """Left behind by a run that was stopped between statistics and record."""
    other = simulate_section((480, 540), seed=6, gain=0.7)
    write_pair(other, tmp_path / "raw2", "Rock", "DAPI")
    strange = task_for(tmp_path / "raw2", tmp_path / "out2")
    strange.run()
    name = f"04_difference_statistics_pad{PAD}.npz"
    folder = finished.output_dir / "Rock" / "DAPI" / "pipeline_output"
    shutil.copy(next((tmp_path / "out2").rglob(name)), folder / name)
    finished._tiff_path(4, "difference").unlink()
    assert finished.run()["scale_estimate"] == pytest.approx(1.25, rel=0.01)


def test_raw_files_that_were_copied_are_read_once_to_compare(
    finished, raw_dir, monkeypatch
):
    for path in raw_dir.rglob("*.tif*"):
        os.utime(path, (1, 1))
    read = []
    of = RawFingerprint.of
    spy = staticmethod(lambda path: read.append(path) or of(path))
    monkeypatch.setattr(RawFingerprint, "of", spy)
    assert finished.run()["status"] == "complete"
    finished.status()
    assert len(read) == 2


def test_a_damaged_header_is_noticed(finished):
    path = finished._tiff_path(2, "pre")
    data = path.read_bytes()
    at = data.index(b'"inputs"') + 14
    path.write_bytes(
        data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
    )
    finished._fits_path(2, "pre").unlink()
    assert states(finished)[2, "pre"] == "stale"
    reason = next(line.reason for line in finished.status() if line.stage == 2)
    assert "damaged" in reason


def test_a_checkpoint_of_another_sample_is_not_used(finished, raw_dir, tmp_path):
    other = simulate_section((480, 540), seed=9)
    write_pair(other, raw_dir, "Other", "DAPI")
    stranger = SampleDye("Other", "DAPI", finished.output_dir, raw_dir, "tiff")
    stranger.set_params(pad=PAD)
    stranger.run(to_stage=1)
    shutil.copy(stranger._tiff_path(1, "post"), finished._tiff_path(1, "post"))
    finished._fits_path(1, "post").unlink()
    line = finished.status()[0]
    assert line.state == "stale"
    assert "Other" in line.reason


def test_a_scale_is_not_reused_for_another_alignment(finished):
    moved = finished._load_image(3, "pre").copy()
    moved = np.roll(moved, 40, axis=1)
    finished._save_image(moved, 3, "pre", {"NOTE": "moved by hand"})
    assert states(finished)[4, "difference"] == "stale"
    plots = {line.state for line in finished.status() if line.kind == "plot"}
    assert plots == {"stale"}


# Parameters of stages 1, 3 and 4 (those of stage 2 are in test_coarse) ---------


def test_percentile_and_manual_scales_come_in_addition(finished):
    finished.set_params(scale_percentile=99.1, manual_scale=1.42)
    result = finished.run()
    suffix = f"_pad{PAD}_sp99.1_msc1.42"
    folder = finished.output_dir / "Rock" / "DAPI"
    for kind in ("difference", "difference_manual", "difference_percentile_p99.1"):
        path = folder / "fits" / f"04_difference_{kind}{suffix}.fits"
        header = fits.getheader(path)
        if kind == "difference_manual":
            assert header["SCALE"] == 1.42
            assert header["SCALEK"] == "manual"
        elif kind != "difference":
            assert header["SCALE"] == result["scale_percentile_value"]
            assert header["SCALEK"] == "percentile_p99.1"
    assert (
        folder / "pipeline_output" / f"difference_image_manual{suffix}.png"
    ).is_file()
    assert result["manual_scale"] == 1.42
    assert result["scale_percentile_value"] > result["scale_estimate"]


def test_interior_ecc_off_keeps_stage_2_and_says_so(raw_dir, tmp_path):
    task = task_for(raw_dir, tmp_path / "out", interior_ecc=False)
    result = task.run(to_stage=3)
    assert task.transform(3) == task.transform(2)
    assert result["registration"][3]["state"] == "skipped"
    assert "interior_ecc" in result["registration"][3]["reason"]
    assert result["status"] == "complete"


def test_interpolation_changes_the_pixels_and_nothing_else(finished):
    images = {}
    matrix = finished.transform(3).matrix
    for kind in ("linear", "cubic", "lanczos"):
        finished.set_params(interpolation=kind)
        finished.run(to_stage=3)
        images[kind] = finished._load_image(3, "pre").astype(int)
        np.testing.assert_array_equal(finished.transform(3).matrix, matrix)
    assert np.abs(images["linear"] - images["cubic"]).max() > 1
    assert np.abs(images["lanczos"] - images["cubic"]).max() > 1


def test_pad_sets_the_canvas(raw_dir, tmp_path, pair):
    task = task_for(raw_dir, tmp_path / "out")
    task.set_params(pad=10)
    task.run(to_stage=1)
    expected = np.maximum(pair.post.shape, pair.pre.shape) + 20
    post = task._load_image(1, "post")
    assert post.shape == tuple(expected)
    np.testing.assert_array_equal(post[10:-10, 10:-10], pair.post)


def test_a_constant_offset_does_not_spoil_the_scale(tmp_path):
    shifted = simulate_section((480, 540), seed=5, gain=1.25, offset=12.0)
    write_pair(shifted, tmp_path / "raw", "Rock", "DAPI")
    task = task_for(tmp_path / "raw", tmp_path / "out")
    result = task.run()
    assert result["scale_estimate"] == pytest.approx(1.25, rel=0.02)
    assert result["scale"]["offset"] == pytest.approx(12.0, abs=1.5)
    plain = task_for(tmp_path / "raw", tmp_path / "out", offset_correction=False)
    assert plain.run()["scale"]["offset"] == 0.0


def test_intermediates_are_kept_when_asked_for(raw_dir, tmp_path):
    task = task_for(raw_dir, tmp_path / "out", save_all_intermediates=True)
    task.run(to_stage=2)
    assert task._has_checkpoint(2, "coarse_pre")
    assert "_sai1" in task._tiff_path(2, "coarse_pre").name


# Comparing -------------------------------------------------------------------


def test_a_comparison_can_be_thrown_away(finished):
    before = files_of(finished.output_dir)
    results = finished.compare("manual_scale", [1.1, 1.3], keep=False)
    assert len(results) == 2
    assert files_of(finished.output_dir) == before


def test_each_value_is_kept_apart_and_one_that_fails_takes_none_with_it(
    finished, monkeypatch
):
    run = SampleDye.run

    def failing(self, *args, **kwargs):
        if self.params["manual_scale"] == 1.2:
            raise OutputError("the disk is full")
        return run(self, *args, **kwargs)

    monkeypatch.setattr(SampleDye, "run", failing)
    results = finished.compare("manual_scale", [1.1, 1.2, 1.3])
    assert [r["status"] for r in results] == [
        "complete",
        "error: the disk is full",
        "complete",
    ]
    assert [r["value"] for r in results] == [1.1, 1.2, 1.3]
    assert [r["manual_scale"] for r in (results[0], results[2])] == [1.1, 1.3]
    assert finished.params["manual_scale"] is None
    folder = finished.output_dir / "Rock" / "DAPI" / "tiff"
    for value in (1.1, 1.3):
        name = f"04_difference_difference_manual_pad{PAD}_msc{value}.tiff"
        assert (folder / name).is_file()


def test_a_comparison_with_a_wrong_value_runs_nothing(finished):
    before = files_of(finished.output_dir)
    with pytest.raises(ParameterError, match="manual_scale"):
        finished.compare("manual_scale", [1.1, -1])
    assert files_of(finished.output_dir) == before


# Folders of the reference system ----------------------------------------------


@pytest.fixture
def old_folder(done, raw_dir, tmp_path):
    """What the reference system leaves: flat float32 TIFFs without any header."""
    folder = tmp_path / "old" / "Rock" / "DAPI" / "tiff"
    folder.mkdir(parents=True)
    for path in (done[0].output_dir / "Rock" / "DAPI" / "tiff").glob("0[1-4]*.tiff"):
        tifffile.imwrite(folder / path.name, tifffile.imread(path).astype(np.float32))
    return tmp_path / "old"


def test_an_old_folder_is_resumed_but_for_stage_3(old_folder, raw_dir, pair, caplog):
    task = task_for(raw_dir, old_folder)
    assert states(task) == {
        (1, "post"): "valid",
        (1, "pre"): "valid",
        (2, "pre"): "valid",
        (3, "pre"): "stale",
        (4, "difference"): "stale",
        (5, "snr"): "missing",
        (5, "labels"): "missing",
        (5, "catalogue"): "missing",
    }
    kept = {n: p for n, p in files_of(old_folder, ".tiff").items() if n.name < "03"}
    result = task.run()
    assert "transform cannot be known" in caplog.text
    assert any("provenance is unknown" in warning for warning in result["warnings"])
    assert np.median(registration_error(pair.truth, task.transform(3), PAD)) < 0.2
    assert kept.items() <= files_of(old_folder, ".tiff").items()


def without_header(path):
    """Save a TIFF as another program does: other pixels, no header."""
    pixels = tifffile.imread(path)
    tifffile.imwrite(path, np.where(pixels > 0, pixels - 1, 0).astype(pixels.dtype))


def test_a_header_counts_more_than_the_format(finished, caplog):
    path = finished._tiff_path(1, "pre")
    without_header(path)
    sealed = finished._fits_path(1, "pre")
    found = finished.checkpoint(1, "pre")
    assert found.image.path == sealed
    lines = {(line.stage, line.name): line for line in finished.status()}
    assert lines[1, "pre"].state == "stale"
    assert f"no header, and {sealed.name} beside it does" in lines[1, "pre"].reason
    assert lines[2, "pre"].state == "valid"
    sets, _ = read_result_sets(finished.store.folder)
    assert {one.checkpoint(1, "pre").image.path for one in sets} == {sealed}
    before = path.read_bytes()
    fits_only = task_for(
        finished.raw_dir, finished.output_dir, checkpoint_format="fits"
    )
    assert fits_only.run().status == "complete"
    assert path.read_bytes() == before
    finished.run(to_stage=1)
    assert finished.status()[1].state == "valid"
    np.testing.assert_array_equal(
        tifffile.imread(path), finished.checkpoint(1, "pre").image.level(0)
    )


@pytest.mark.parametrize("side", ["post", "pre"])
def test_nobody_vouches_for_an_image_without_a_header(raw_dir, tmp_path, side):
    task = task_for(raw_dir, tmp_path / "out")
    task.run(to_stage=1)
    path = task._tiff_path(1, side)
    without_header(path)
    result = task.run(to_stage=2)
    assert result.state == "degraded"
    assert f"stage 1 padding: {path.name} carries no header" in result.status
    assert result.verdicts[1].state == "fell_back"
    state = stage_states(task.status(), task.result(2))[1]
    assert (state.state, path.name in state.reason) == ("fell_back", True)
    log = (tmp_path / "out" / ".exo2micro_run_log.txt").read_text(encoding="utf-8")
    assert f"degraded: stage 1 padding: {path.name} carries no header" in log
    header = open_raster(task._tiff_path(2, "pre")).header
    other = "pre" if side == "post" else "post"
    assert header["raw"].keys() == {other, "loader"}
    assert header["canvas"].keys() == {f"{other}_frame", "channels"}
    assert header["verdicts"]["1"]["state"] == "fell_back"


def test_a_file_system_without_locks_is_told(raw_dir, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    result = task_for(raw_dir, tmp_path / "out").run(to_stage=1)
    assert result.status == "complete"
    (warning,) = result.warnings
    assert "nobody guards Rock / DAPI" in warning
    assert "(No locks available)" in warning
    log = (tmp_path / "out" / ".exo2micro_run_log.txt").read_text(encoding="utf-8")
    assert log.count("nobody guards Rock / DAPI") == 1


@pytest.mark.parametrize("epoch", ["99999999999999", "9" * 5000, "-1e3", "soon"])
def test_a_time_that_no_header_can_hold_is_told_at_once(
    raw_dir, tmp_path, monkeypatch, epoch
):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(ParameterError, match=r"SOURCE_DATE_EPOCH takes .* unset it"):
        task_for(raw_dir, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_an_old_image_of_another_shape_is_not_used(old_folder, raw_dir):
    path = next(old_folder.rglob("01_padded_post*"))
    tifffile.imwrite(path, np.ones((50, 60), np.float32))
    task = task_for(raw_dir, old_folder)
    line = task.status()[0]
    assert line.state == "stale"
    assert "60 x 50" in line.reason


def test_every_parameter_reaches_the_work_that_it_tunes(raw_dir, tmp_path, monkeypatch):
    from napari_exo2micro.core.pipeline import sample_dye

    changed = {}
    for name, (default, _, stage, _) in PARAMETER_REGISTRY.items():
        if stage in (2, 3) and name != "interpolation":
            if isinstance(default, str):
                changed[name] = PARAMETER_REGISTRY[name].choices[-1]
                continue
            half = default is not None and not isinstance(default, bool)
            changed[name] = type(default)(default / 2) if half else not default
    changed["interior_ecc"] = True
    seen = {}
    for function in ("register_highorder", "refine_interior_sift"):
        original = getattr(sample_dye, function)

        def spy(*args, original=original, **kwargs):
            seen.update(asdict(kwargs["settings"]))
            return original(*args)

        monkeypatch.setattr(sample_dye, function, spy)
    task_for(raw_dir, tmp_path / "out", **changed).run(to_stage=3)
    here = {"save_all_intermediates", "interior_ecc"}
    assert {n: seen[n] for n in changed if n not in here} == {
        name: value for name, value in changed.items() if name not in here
    }


# One's own loaders, stages, parameters and plots ------------------------------


def test_a_loader_of_ones_own_replaces_the_file_rules(shared_raw_dir, tmp_path):
    calls = []

    def loader(sample, dye, raw_dir="raw"):
        calls.append((sample, dye))
        return load_image_pair("Rock", "DAPI", shared_raw_dir)

    task = SampleDye(
        "Elsewhere", "Any", tmp_path / "out", tmp_path / "raw", "tiff", loader
    )
    task.set_params(pad=PAD)
    assert task.run()["status"] == "complete"
    assert calls == [("Elsewhere", "Any")]


def test_a_loader_without_files_is_compared_by_its_pixels(shared_raw_dir, tmp_path):
    post, pre, _, _ = load_image_pair("Rock", "DAPI", shared_raw_dir)
    source = {"post": post}

    def loader(sample, dye, raw_dir="raw"):
        return source["post"], pre, None, None

    def fresh():
        task = SampleDye("A", "B", tmp_path / "out", tmp_path / "raw", "tiff", loader)
        task.set_params(pad=PAD)
        return task

    assert fresh().run()["scale_estimate"] == pytest.approx(1.25, rel=0.01)
    assert set(states(fresh()).values()) == {"valid"}
    source["post"] = (post * 0.8).astype(post.dtype)
    assert fresh().run()["scale_estimate"] == pytest.approx(1.0, rel=0.02)


def test_an_overridden_stage_1_may_use_another_canvas(raw_dir, tmp_path, pair):
    class Cropped(SampleDye):
        def _run_stage_1_padding(self, force=False):
            if not force and self._has_checkpoint(1, "post"):
                return
            for name in ("post", "pre"):
                self._save_image(np.pad(getattr(pair, name)[8:-8, 8:-8], 30), 1, name)

    task = Cropped("Rock", "DAPI", tmp_path / "out", raw_dir, "tiff")
    assert task.run(to_stage=3)["status"] == "complete"


def test_what_a_script_saves_is_known_by_its_pixels(finished):
    aligned = np.array(finished._load_image(3, "pre"))
    transform = finished.transform(3)
    finished._save_image(aligned, 3, "pre", transform=transform)
    first = finished.checkpoint(3, "pre").identity
    aligned[300, 300] += 1
    finished._save_image(aligned, 3, "pre", transform=transform)
    assert finished.checkpoint(3, "pre").identity != first
    assert finished.transform(3) == transform
    finished._save_image(aligned, 3, "pre")
    with pytest.raises(CheckpointError, match="does not tell its transform"):
        finished.transform(3)
    result = finished.run()
    assert "stage 3 interior alignment: its result was not made" in result["status"]


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int32", "int64", "uint32", "float16", "float64"]
)
def test_arrays_of_any_common_type_can_be_saved(finished, dtype):
    shape = finished._load_image(1, "post").shape
    image = (np.indices(shape).sum(axis=0) % 2).astype(dtype)
    finished._save_image(image, 2, "mine")
    np.testing.assert_array_equal(finished._load_image(2, "mine"), image)
    with fits.open(finished._fits_path(2, "mine")) as hdus:
        np.testing.assert_array_equal(hdus[0].data, image)


def test_what_cannot_be_saved_is_refused_before_anything_is_written(finished):
    shape = finished._load_image(1, "post").shape
    before = files_of(finished.output_dir)
    for image, extra, message in (
        (np.zeros((3, 4, 5)), {}, "2-D"),
        (np.zeros(shape, complex), {}, "complex"),
        (np.zeros((5, 5)), {}, "shape of the canvas"),
        (np.zeros(shape), {"X": float("nan")}, "finite"),
    ):
        with pytest.raises(ParameterError, match=message):
            finished._save_image(image, 2, "mine", extra)
    assert files_of(finished.output_dir) == before


def test_header_entries_of_ones_own_do_no_harm(finished):
    shape = finished._load_image(1, "post").shape
    image = np.ones(shape, np.uint8)
    entries = {
        "NAXIS": 3,
        "BZERO": 5,
        "END": 1,
        "GAIN": (1.5, "of the camera"),
        "count": np.int64(7),
        "where": Path("here"),
        "temperature_a": 1.0,
        "temperature_b": 2.0,
    }
    finished._save_image(image, 2, "mine", entries)
    with fits.open(finished._fits_path(2, "mine")) as hdus:
        np.testing.assert_array_equal(hdus[0].data, image)
        header = hdus[0].header
        assert header["NAXIS"] == 2
        assert header["GAIN"] == 1.5
        assert header["COUNT"] == 7
        assert header["TEMPERAT"] == 1.0
        assert header["X_TEMPER"] == 2.0
    stored = open_raster(finished._tiff_path(2, "mine")).header["extra"]
    assert stored["NAXIS"] == 3
    assert stored["where"] == "here"


def test_stage_1_can_be_overridden(shared_raw_dir, tmp_path, pair):
    class Mine(SampleDye):
        def _run_stage_1_padding(self, force=False):
            if not force and self._has_checkpoint(1, "post"):
                return
            for name in ("post", "pre"):
                image = np.pad(getattr(pair, name), PAD)
                self._save_image(image, 1, name)

    task = Mine("Anything", "Goes", tmp_path / "out", tmp_path / "none", "tiff")
    task.set_params(pad=PAD)
    assert task.run()["status"] == "complete"
    assert np.median(registration_error(pair.truth, task.transform(3), PAD)) < 0.2


def test_a_stage_of_ones_own_follows_the_others(finished):
    class Masked(SampleDye):
        def _run_stage_6_mask(self, force=False):
            if not force and self._has_checkpoint(6, "mask"):
                return
            self._check_upstream(6)
            difference = self._load_image(4, "difference")
            self._save_image(difference > 30, 6, "mask", {"LEVEL": 30})

    register_stage(Stage(6, "06_mask", "mask", "_run_stage_6_mask", ("mask",)))
    try:
        task = Masked("Rock", "DAPI", finished.output_dir, finished.raw_dir, "both")
        task.set_params(pad=PAD)
        result = task.run()
        assert result["status"] == "complete"
        assert (6, "mask") in states(task)
        header = fits.getheader(task._fits_path(6, "mask"))
        assert header["LEVEL"] == 30
        assert task._tiff_path(6, "mask").name == f"06_mask_mask_pad{PAD}.tiff"
        assert set(np.unique(task._load_image(6, "mask"))) == {0, 1}
    finally:
        unregister_stage(6)


def test_a_parameter_of_ones_own_reaches_names_and_headers(raw_dir, tmp_path):
    register_parameter("speckle", 3, "zpeck", 3, "Size of a speckle.")
    try:
        task = task_for(raw_dir, tmp_path / "out", checkpoint_format="fits", speckle=5)
        task.run(to_stage=3)
        path = task._fits_path(3, "pre")
        assert path.name == f"03_interior_aligned_pre_pad{PAD}_zpeck5.fits"
        assert fits.getheader(path)["ZPECK"] == 5
        assert "zpeck" not in task._fits_path(2, "pre").name
    finally:
        unregister_parameter("speckle")


def test_a_plot_that_fails_keeps_the_others(finished):
    def plot_broken(post_im, pre_im, save_path=None):
        raise ZeroDivisionError("mine")

    register_diagnostic("broken", plot_broken, "Fails.")
    try:
        assert finished.run()["status"] == "complete"
        states = {line.name: line.state for line in finished.status()}
        assert [name for name, state in states.items() if state != "valid"] == [
            "broken"
        ]
    finally:
        unregister_diagnostic("broken")
    assert {line.state for line in finished.status()} == {"valid"}


def test_a_plot_of_ones_own_is_drawn_and_listed(finished):
    from matplotlib.figure import Figure

    def plot_mine(post_im, pre_im, sample="", dye="", save_path=None):
        figure = Figure()
        figure.add_subplot().set_title(f"{sample} {dye}")
        if save_path is not None:
            figure.savefig(save_path)
        return figure

    register_diagnostic("mine", plot_mine, "My own.")
    try:
        assert [s.name for s in finished.status() if s.state == "missing"] == ["mine"]
        finished.run()
        assert finished._check_path("mine").is_file()
        assert {s.state for s in finished.status()} == {"valid"}
    finally:
        unregister_diagnostic("mine")


# Long names ------------------------------------------------------------------


def test_a_name_that_would_be_too_long_is_shortened_to_a_hash(raw_dir, tmp_path):
    many = {
        "use_edges": False,
        "boundary_width": 21,
        "boundary_smooth": 7,
        "angle_range": 12.345678,
        "angle_step": 1.2345678,
        "scale_min": 0.91234567,
        "scale_max": 1.1234567,
        "scale_step": 0.0123456,
        "max_translation": 123.45678,
        "max_rotation": 4.3210987,
        "max_scale_delta": 0.1234567,
        "max_scale_diff": 0.1345678,
        "stopdelta": 1.2345e-7,
        "stopit": 12345,
        "down_scale": 0.2987654,
        "rotation_search": False,
        "scale_search": False,
        "fine_ecc": True,
    }
    task = task_for(raw_dir, tmp_path / "out", **many)
    name = task._tiff_path(2, "pre").name
    assert len(name) <= 200
    assert name.startswith("02_icp_aligned_pre_x")
    other = task_for(raw_dir, tmp_path / "out", **{**many, "stopdelta": 1.2346e-7})
    assert other._tiff_path(2, "pre").name != name


# Errors ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", "..", "", "x" * 300])
def test_names_that_could_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises((ParameterError, RawDataError)):
        SampleDye(name, "DAPI", tmp_path, tmp_path)
    with pytest.raises((ParameterError, RawDataError)):
        SampleDye("Rock", name, tmp_path, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("stages", "found"), [((0, 4), "0"), ((1, 9), "9"), ((3, 2), "3")]
)
def test_stages_that_do_not_exist_are_refused(raw_dir, tmp_path, stages, found):
    with pytest.raises(ParameterError, match=f"01_padded.*found.*{found}"):
        task_for(raw_dir, tmp_path / "out").run(*stages)
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ParameterError, match="tiff, fits, both"):
        SampleDye("Rock", "DAPI", tmp_path, tmp_path, "png")


def test_parameters_are_changed_together_or_not_at_all(tmp_path):
    task = SampleDye("Rock", "DAPI", tmp_path, tmp_path)
    with pytest.raises(ParameterError):
        task.set_params(boundary_width=20, pad="many")
    assert task.non_default_params() == {}
    task.set_params(boundary_width=20)
    task.params["boundary_width"] = 99
    assert task.params["boundary_width"] == 20
    task.reset_params()
    assert task.non_default_params() == {}


def test_a_missing_pair_is_told_before_anything_is_made(tmp_path):
    (tmp_path / "raw").mkdir()
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw")
    with pytest.raises(RawFileNotFoundError, match="Rock"):
        task.run()
    assert not (tmp_path / "out").exists()


def test_a_transform_that_is_not_there_is_told(raw_dir, tmp_path):
    task = task_for(raw_dir, tmp_path / "out")
    with pytest.raises(CheckpointError, match="run stage 2 first"):
        task.transform(2)
    task.run(to_stage=1)
    assert task.transform(1) == Transform.identity()


@pytest.mark.parametrize("below", ["", "processed", "Rock"])
def test_nothing_is_written_into_the_raw_folder(raw_dir, below):
    before = files_of(raw_dir)
    task = task_for(raw_dir, raw_dir / below)
    for act in (
        task.run,
        lambda: task.compare("manual_scale", [1.1]),
        lambda: task._save_image(np.ones((9, 9), np.uint8), 1, "post"),
        task._run_stage_1_padding,
    ):
        with pytest.raises(OutputError, match=r"Results cannot go to .* raw folder"):
            act()
    assert files_of(raw_dir) == before
    assert sorted(path.name for path in raw_dir.iterdir()) == ["Rock"]


def test_a_link_into_the_raw_folder_is_no_way_in(raw_dir, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "Rock").symlink_to(raw_dir / "Rock", target_is_directory=True)
    before = files_of(raw_dir)
    with pytest.raises(OutputError, match="it lies in the raw folder"):
        task_for(raw_dir, tmp_path / "out").run()
    assert files_of(raw_dir) == before


def test_a_sample_named_as_the_raw_folder_is_not_written_into_it(raw_dir, tmp_path):
    shutil.move(raw_dir / "Rock", raw_dir / "raw")
    task = SampleDye("raw", "DAPI", tmp_path, raw_dir)
    with pytest.raises(OutputError, match="it lies in the raw folder"):
        task.run(to_stage=1)
    assert [path.name for path in raw_dir.iterdir()] == ["raw"]


def test_a_folder_that_was_removed_is_told_at_once(raw_dir, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match="started in was removed"):
        SampleDye("Rock", "DAPI").run()
    whole = task_for(raw_dir, tmp_path / "out").run(to_stage=1)
    assert whole["status"] == "complete"


def test_a_failed_run_leaves_what_was_valid(finished, monkeypatch):
    before = files_of(finished.output_dir)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        finished.run(force=True)
    assert files_of(finished.output_dir) == before


@pytest.mark.parametrize("after", [3, 10, 25])
def test_cancelling_leaves_valid_checkpoints_only(raw_dir, tmp_path, after):
    calls = []

    def stop():
        calls.append(1)
        return len(calls) > after

    task = task_for(raw_dir, tmp_path / "out")
    with pytest.raises(CancelledError):
        task.run(monitor=Monitor(should_stop=stop))
    assert set(states(task).values()) <= {"valid", "missing"}
    assert not list((tmp_path / "out").rglob("*.part"))
    assert task.run()["status"] == "complete"


def test_progress_rises_from_nothing_to_all(raw_dir, tmp_path):
    seen = []
    task = task_for(raw_dir, tmp_path / "out")
    task.run(monitor=Monitor(lambda fraction, text: seen.append((fraction, text))))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert any("boundary" in text for _, text in seen)


def test_results_are_json_ready(done):
    assert json.loads(json.dumps(done[1].to_dict()))["status"] == "complete"
