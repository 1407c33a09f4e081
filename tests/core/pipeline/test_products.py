"""What a run leaves lasts: written to the disk first, and damage of it is noticed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from napari_exo2micro.core.alignment import Alignment, SavedView, save_views
from napari_exo2micro.core.parameters import save_preset
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.plotting import (
    register_diagnostic,
    unregister_diagnostic,
)

PAD = 60


def task_in(output: Path, raw_dir: Path) -> SampleDye:
    task = SampleDye("Rock", "DAPI", output, raw_dir, "both")
    task.set_params(pad=PAD)
    return task


@pytest.fixture(scope="module")
def run(shared_results: Path, shared_raw_dir: Path) -> SampleDye:
    """The finished run, whose times are fixed; not to be changed by tests."""
    return task_in(shared_results, shared_raw_dir)


def products(output: Path) -> dict[str, bytes]:
    """Return the results of the sample by name."""
    paths = (path for path in (output / "Rock").rglob("*") if path.is_file())
    return {str(path.relative_to(output)): path.read_bytes() for path in paths}


def _emptied(data: bytes) -> bytes:
    return b""


def _halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _zeros(data: bytes) -> bytes:
    return bytes(len(data))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    changed = bytes(byte ^ 1 for byte in data[middle : middle + 8])
    return data[:middle] + changed + data[middle + 8 :]


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "emptied": _emptied,
    "halved": _halved,
    "zero-filled": _zeros,
    "flipped": _flipped,
}


@pytest.mark.parametrize(
    ("harm", "patterns"),
    [
        *((harm, ["*statistics*.npz", "ratio_*.png"]) for harm in HARMS),
        ("flipped", ["*.json"]),
    ],
)
def test_a_damaged_product_is_noticed_and_made_again(
    run: SampleDye,
    tmp_path: Path,
    harm: str,
    patterns: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    shutil.copytree(run.output_dir, tmp_path / "out")
    task = task_in(tmp_path / "out", run.raw_dir)
    assert {line.state for line in task.status()} == {"valid"}
    expected = products(run.output_dir)
    paths = [next((tmp_path / "out").rglob(pattern)) for pattern in patterns]
    for path in paths:
        path.write_bytes(HARMS[harm](path.read_bytes()))
    # Without the memory of the object that has looked before.
    task = task_in(tmp_path / "out", run.raw_dir)
    told = {line.path: line.reason for line in task.status() if line.state == "stale"}
    assert told
    for path in paths:
        assert path.suffix != ".png" or path.name in told[path]
        assert path.suffix != ".npz" or any(path.name in why for why in told.values())
    others = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.tiff")}
    assert task.run()["status"] == "complete"
    assert products(tmp_path / "out") == expected
    assert {p: p.stat().st_mtime_ns for p in others} == others
    assert {line.state for line in task.status()} == {"valid"}


def test_everything_is_on_the_disk_before_it_has_its_name(
    run: SampleDye, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []
    named: dict[Path, bool] = {}
    fsync, replace = os.fsync, Path.replace

    def recorded_fsync(handle: int) -> None:
        told.append(("fsync", os.fstat(handle).st_ino))
        fsync(handle)

    def recorded_replace(part: Path, path: Path) -> Path:
        inode, written = part.stat().st_ino, part.stat().st_size
        lasts = written > 0 and ("fsync", inode) in told
        done = replace(part, path)
        # what was written after the last fsync would be lost
        named[Path(path)] = lasts and done.stat().st_size == written
        return done

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(Path, "replace", recorded_replace)
    output = tmp_path / "out"
    task = task_in(output, run.raw_dir)

    def of_others(post_im: Any, pre_im: Any, save_path: Path | None = None) -> Figure:
        figure = Figure()
        if save_path is not None:
            figure.savefig(save_path)
        return figure

    register_diagnostic("of_others", of_others, "A plot of somebody else.")
    try:
        assert task.run()["status"] == "complete"
    finally:
        unregister_diagnostic("of_others")
    kept = tmp_path / "kept"
    save_preset(kept / "preset.json", {"pad": PAD})
    Alignment(task.transform(3)).save(kept / "alignment.json")
    task.transform(3).save(kept / "transform.json")
    save_views(kept / "views.json", [SavedView("vein", 1.0, 2.0, 3.0, 4, 5, 6)])
    written = {path for path in output.rglob("*") if path.is_file()}
    written |= set(kept.iterdir())
    results = {
        path
        for path in written
        if not path.name.startswith(".") and not path.name.startswith("of_others")
    }
    assert len(results) > 15
    assert {path for path in results if not named.get(path)} == set()
    (plot,) = (path for path in written if path.name.startswith("of_others"))
    assert ("fsync", plot.stat().st_ino) in told


def test_a_record_of_an_earlier_version_is_still_used(
    run: SampleDye, tmp_path: Path
) -> None:
    shutil.copytree(run.output_dir, tmp_path / "out")
    (path,) = (tmp_path / "out").rglob("04_difference_record*.json")
    stored = json.loads(path.read_text(encoding="utf-8"))
    del stored["checksum"]
    stored["plots"] = list(stored["plots"])
    path.write_text(json.dumps(stored), encoding="utf-8")
    task = task_in(tmp_path / "out", run.raw_dir)
    assert {line.state for line in task.status()} == {"valid"}
