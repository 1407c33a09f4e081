"""Pixels at rest: what is read from a result is what was written, or it is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.images import open_raster
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.store import export_image, read_stored_image

PAD = 60
EPOCH = "1700000000"


def harm(path: Path, start: int, size: int = 60_000, *, keep_time: bool = True) -> None:
    """Change bytes; the time of the file may stay, as with a disk that forgets."""
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(start)
        data = file.read(size)
        file.seek(start)
        file.write(bytes(byte ^ 0x55 for byte in data))
    if keep_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("kind", ["tiff", "fits"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_changed_pixels_are_told_with_their_rows(
    tmp_path: Path, kind: str, dtype: str
) -> None:
    image = np.random.default_rng(1).integers(0, 200, (3000, 700)).astype(dtype)
    image[1024:2048] = 0

    def parts() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, image[:1000]  # what is left out is zero
        yield 2048, image[2048:]

    path = tmp_path / f"a.{kind}"
    write_raster([path], image.shape, dtype, parts(), header={})
    whole = image.copy()
    whole[1000:1024] = 0
    read = open_raster(path).checking()
    np.testing.assert_array_equal(np.asarray(read), whole)
    assert open_raster(path).is_proven()
    for level in range(read.n_levels):
        read.level(level)
    place = path.read_bytes().index(_stored(image[2050], kind))
    harm(path, place, 200)
    assert open_raster(path).is_proven()  # nothing but the pixels tells it
    read = open_raster(path).checking()
    assert read[0:2048].shape == (2048, 700)
    assert open_raster(path)[2040:2060].shape == (20, 700)
    for rows in (slice(2900, 2901), slice(1000, None)):
        with pytest.raises(CheckpointError, match=rf"a.{kind} .* rows 2048 to 2999 "):
            read[rows, 3:5]


def _stored(row: np.ndarray, kind: str) -> bytes:
    if kind == "tiff":
        return row.tobytes()
    if row.dtype == np.uint16:  # FITS has none without a sign
        row = row ^ np.uint16(0x8000)
    return row.astype(row.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("level", [1, 2])
def test_smaller_levels_are_checked_as_well(tmp_path: Path, level: int) -> None:
    image = np.random.default_rng(2).integers(0, 200, (2600, 2200)).astype(np.uint8)
    path = tmp_path / "a.tiff"
    write_raster([path], image.shape, "uint8", [(0, image)], header={})
    rows = open_raster(path).read((slice(500, 501), slice(None)), level)
    harm(path, path.read_bytes().index(rows.tobytes()), 100)
    read = open_raster(path).checking()
    np.testing.assert_array_equal(read[:], image)
    with pytest.raises(CheckpointError, match=f"of its level {level} were changed"):
        read.level(level)


def test_what_another_program_wrote_since_is_read_once(tmp_path: Path) -> None:
    image = np.random.default_rng(3).normal(size=(1500, 300)).astype(np.float32)
    path = tmp_path / "a.tiff"
    write_raster([path], image.shape, "float32", [(0, image)], header={})
    copied = Path(shutil.copyfile(path, tmp_path / "b.tiff"))
    assert not open_raster(copied).is_proven()
    open_raster(copied).verify()
    assert open_raster(copied).is_proven()
    harm(copied, copied.stat().st_size // 2, 10, keep_time=False)
    assert not open_raster(copied).is_proven()
    with pytest.raises(CheckpointError, match="rows 0 to 1023"):
        open_raster(copied).verify()


@pytest.fixture(scope="module")
def run(shared_results: Path, shared_raw_dir: Path) -> SampleDye:
    """The finished run, whose times are fixed; not to be changed by tests."""
    return task_in(shared_results, shared_raw_dir)


def task_in(output: Path, raw_dir: Path) -> SampleDye:
    task = SampleDye("Rock", "DAPI", output, raw_dir, "both")
    task.set_params(pad=PAD)
    return task


@pytest.fixture
def copied(
    run: SampleDye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SampleDye:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    shutil.copytree(run.output_dir, tmp_path / "out")
    return task_in(tmp_path / "out", run.raw_dir)


def images(task: SampleDye) -> dict[str, bytes]:
    paths = (task.output_dir / "Rock").rglob("0*.*")
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize(
    ("stage", "name", "again"), [(1, "post", 2), (3, "pre", 4), (4, "difference", 4)]
)
def test_a_run_that_reads_changed_pixels_makes_them_again(
    run: SampleDye,
    copied: SampleDye,
    stage: int,
    name: str,
    again: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = copied._tiff_path(stage, name)
    harm(path, path.stat().st_size // 3)
    for later in (*copied.output_dir.rglob("*.png"),) if again == 4 else ():
        later.unlink()
    if again == 2:
        for kind in ("tiff", "fits"):
            next(copied.output_dir.rglob(f"02_*.{kind}")).unlink()
    assert copied.run()["status"] == "complete"
    assert f"{path.name} is made again: pixels in rows" in caplog.text
    assert images(copied) == images(run)
    assert {line.state for line in copied.status()} == {"valid"}


@pytest.mark.parametrize("kind", ["tiff", "fits"])
def test_pixels_that_were_written_to_are_stale(
    run: SampleDye, copied: SampleDye, kind: str
) -> None:
    path = copied._tiff_path(3, "pre")
    path = path if kind == "tiff" else copied._fits_path(3, "pre")
    harm(path, path.stat().st_size // 3, keep_time=False)
    line = next(line for line in copied.status() if line.stage == 3)
    note = f"{path.name} was written to since: a run reads its pixels"
    assert (line.state, line.reason) == ("valid", note)
    assert copied.run()["status"] == "complete"
    assert images(copied) == images(run)
    assert {line.reason for line in copied.status()} == {""}


@pytest.mark.parametrize("kind", ["tiff", "fits"])
@pytest.mark.parametrize("name", ["01_padded_pre", "02_icp_aligned_pre", "03_", "04_"])
def test_verify_reads_the_pixels_of_every_file(
    run: SampleDye, copied: SampleDye, kind: str, name: str
) -> None:
    path = next(copied.output_dir.rglob(f"{name}*.{kind}"))
    harm(path, path.stat().st_size // 3, 9)
    assert {line.state for line in copied.status()} == {"valid"}
    stale = [
        line.reason
        for line in task_in(copied.output_dir, copied.raw_dir).status(verify=True)
        if line.state == "stale" and line.stage == int(path.name[:2])
    ]
    assert f"{path.name}: pixels in rows 0 to" in stale[0]
    assert copied.run(verify=True)["status"] == "complete"
    assert images(copied) == images(run)
    assert {line.state for line in copied.status(verify=True)} == {"valid"}


def test_a_copied_folder_is_read_once_and_valid(
    run: SampleDye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.output_dir, tmp_path / "out", copy_function=shutil.copyfile)
    task = task_in(tmp_path / "out", run.raw_dir)
    assert {line.state for line in task.status()} == {"valid"}
    assert "was written to since" in " ".join(line.reason for line in task.status())
    assert task.run()["status"] == "complete"
    assert images(task) == images(run)
    monkeypatch.setattr("napari_exo2micro.core.images.raster.checksum", None)
    task = task_in(tmp_path / "out", run.raw_dir)
    assert task.run()["status"] == "complete"
    assert {line.reason for line in task.status()} == {""}


def test_an_exported_image_is_checked_as_it_is_read(
    copied: SampleDye, tmp_path: Path
) -> None:
    path = copied._tiff_path(3, "pre")
    harm(path, path.stat().st_size // 3)
    result = read_stored_image(path)
    assert result is not None
    header = result.checkpoint.provenance
    assert header is not None
    with pytest.raises(CheckpointError, match="pixels in rows"):
        export_image(tmp_path / "saved.tiff", result.checkpoint.image, header)
    assert not (tmp_path / "saved.tiff").exists()
