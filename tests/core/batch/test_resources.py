"""What a run needs and what is left: estimates, levels, limits, watching."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from napari_exo2micro.core.base import (
    CancelledError,
    Exo2MicroError,
    Monitor,
    OutputError,
    ResourceError,
    machine,
)
from napari_exo2micro.core.base.machine import (
    free_disk,
    free_memory,
    watch_memory,
    watch_time,
)
from napari_exo2micro.core.batch import Task, check_resources
from napari_exo2micro.core.batch.resources import estimate_task
from napari_exo2micro.core.batch.task import run_task
from napari_exo2micro.core.parameters import RunSettings

GB = 10**9


def task_in(raw_dir: Path, output_dir: Path, **more: object) -> Task:
    given = {"params": {"pad": 60}, **more}
    settings = RunSettings(raw_dir=raw_dir, output_dir=output_dir, **given)
    return Task(0, "Rock", "DAPI", settings)


@pytest.fixture
def task(shared_raw_dir: Path, tmp_path: Path) -> Task:
    return task_in(shared_raw_dir, tmp_path / "out")


def taken(folder: Path) -> int:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_blocks * 512 for path in files)


# Estimates -------------------------------------------------------------------


def test_the_disk_is_estimated_within_a_factor_of_one_and_a_half(
    shared_raw_dir: Path, tmp_path: Path
) -> None:
    settings = {"pad": 300, "manual_scale": 1.2, "save_all_intermediates": True}
    settings["background_model"] = "off"
    task = task_in(
        shared_raw_dir, tmp_path / "out", checkpoint_format="tiff", params=settings
    )
    estimate = estimate_task(task).disk
    assert not (tmp_path / "out").exists()
    assert run_task(task)["status"] == "complete"
    real = taken(tmp_path / "out" / "Rock")
    assert real / 1.5 < estimate < real * 1.5
    # What is valid is not made again; with force it needs one file beside the old one.
    assert estimate_task(task).disk == 0
    assert estimate_task(task).memory < 200_000_000
    again = estimate_task(
        replace(task, settings=replace(task.settings, force=True))
    ).disk
    assert 0 < again < 0.5 * estimate
    for path in (tmp_path / "out").rglob("04_difference*"):
        path.unlink()
    part = estimate_task(task).disk
    missing = real - taken(tmp_path / "out" / "Rock")
    assert missing / 1.5 < part < missing * 1.5


def test_room_for_a_background_model_is_asked_for_where_it_may_be_made(
    shared_raw_dir: Path, tmp_path: Path
) -> None:
    task = task_in(shared_raw_dir, tmp_path / "out", checkpoint_format="tiff")
    needs = {
        value: estimate_task(
            task_in(
                shared_raw_dir,
                tmp_path / "out",
                checkpoint_format="tiff",
                params={"background_model": value},
            )
        ).disk
        for value in ("off", "auto", "on")
    }
    assert needs["off"] < needs["auto"] == needs["on"]
    run_task(task)  # the pair proves none
    assert estimate_task(task).disk == 0
    again = replace(task, settings=replace(task.settings, force=True))
    assert estimate_task(again).disk < 0.5 * needs["off"]


def test_more_pixels_formats_and_stages_need_more(task: Task, tmp_path: Path) -> None:
    def needs(**more: object):
        return estimate_task(task_in(task.settings.raw_dir, tmp_path / "out", **more))

    assert needs(params={"pad": 2000}).disk > needs().disk
    assert needs(checkpoint_format="tiff").disk < needs().disk
    assert needs(to_stage=1).disk < needs(to_stage=3).disk < needs().disk
    assert needs(to_stage=1).memory <= needs(to_stage=2).memory < needs().memory
    off = needs(params={"pad": 60, "interior_ecc": False})
    assert off.memory < needs().memory


def test_what_cannot_be_read_cannot_be_estimated(task: Task, tmp_path: Path) -> None:
    (tmp_path / "raw" / "Rock").mkdir(parents=True)
    for side in ("PreStain", "PostStain"):
        (tmp_path / "raw" / "Rock" / f"{side}_DAPI.tif").write_bytes(b"II*\0rubbish")
    broken = task_in(tmp_path / "raw", tmp_path / "out")
    with pytest.raises(Exo2MicroError):
        estimate_task(broken)
    found = check_resources([task, broken], 2, memory_free=100 * GB, disk_free=100 * GB)
    assert found.level == "enough"
    assert len(found.not_estimated) == 1
    assert "Rock / DAPI" in found.not_estimated[0]
    own = task_in(tmp_path / "raw", tmp_path / "out", loader="scan")
    with pytest.raises(Exo2MicroError, match="'scan' does not tell"):
        estimate_task(own)


# Levels ----------------------------------------------------------------------


def test_silent_then_a_warning_then_a_refusal(task: Task) -> None:
    need = estimate_task(task).memory

    def check(part: float, workers: int = 1):
        free = round(need * workers / part)
        return check_resources([task] * 3, workers, memory_free=free, disk_free=GB)

    assert (check(0.79).level, check(0.79).message) == ("enough", "")
    assert check(0.81).level == "tight"
    assert check(0.99).level == "tight"
    assert check(1.01).level == "too little"
    assert "close other programs" in check(1.01).message
    assert f"{need / 1e6:.0f} MB" in check(1.01).message
    both = check(1.5, workers=2)
    assert both.memory_needed == 2 * need
    assert both.message.startswith(f"{2 * need / 1e6:.0f} MB of memory needed")
    assert "use 1 worker" in both.message


def test_more_workers_than_tasks_need_no_more(task: Task) -> None:
    found = check_resources([task], 8, memory_free=GB, disk_free=GB)
    assert found.n_workers == 1
    assert found.memory_needed == estimate_task(task).memory


def test_the_disk_counts_for_all_tasks_together(task: Task) -> None:
    need = estimate_task(task).disk
    found = check_resources(
        [task] * 3, 1, memory_free=100 * GB, disk_free=round(2.9 * need)
    )
    assert found.level == "too little"
    assert found.disk_needed == 3 * need
    assert "of disk needed" in found.message
    assert "one format only" in found.message
    assert "memory" not in found.message


def test_elsewhere_this_computers_memory_does_not_matter(task: Task) -> None:
    found = check_resources([task], 1, here=False, memory_free=1, disk_free=100 * GB)
    assert found.level == "enough"


def test_measured_by_default(task: Task) -> None:
    found = check_resources([task], 1)
    assert 0 < found.memory_free <= free_memory() * 2
    assert found.disk_free > 0
    assert "one at a time" in found.summary()


# What is left ----------------------------------------------------------------


def test_the_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(
        free_disk(tmp_path), rel=0.2
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another"):
        free_disk(tmp_path / "file" / "out")


@pytest.mark.parametrize("version", [1, 2])
def test_control_groups_limit_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    base = tmp_path / "groups"
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_", "4:memory:"),
        2: ("memory.max", "memory.current", "", "0::"),
    }
    limit, used, prefix, line = names[version]
    group = base / "memory" / "jobs" if version == 1 else base / "jobs"
    group.mkdir(parents=True)
    (group / limit).write_text("100000\n")
    (group / used).write_text("70000\n")
    (group / "memory.stat").write_text(
        f"anon 1\n{prefix}inactive_file 20000\n{prefix}active_file 5000\n"
    )
    unlimited = {1: str(1 << 63), 2: "max"}[version]
    (group.parent / limit).write_text(unlimited)
    own = tmp_path / "own"
    own.write_text(f"7:cpu:/jobs\n{line}/jobs\n")
    monkeypatch.setattr(machine, "_CGROUPS", base)
    monkeypatch.setattr(machine, "_OWN_CGROUPS", own)
    assert free_memory() == 55000
    (group / limit).write_text(unlimited)
    assert free_memory() > 1_000_000


# Watching --------------------------------------------------------------------


def test_the_watchdog_stops_between_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_INTERVAL", 0.0)
    left = [10 * GB, 5 * GB, GB // 10]
    told: list[float] = []
    monitor = watch_memory(
        Monitor(lambda fraction, _: told.append(fraction)),
        GB,
        free=lambda: left.pop(0),
    ).part(0.5, 1.0)
    monitor.report(0.0)
    monitor.report(0.5)
    with pytest.raises(ResourceError, match=r"0\.10 GB are free, 1\.00 GB must stay"):
        monitor.report(1.0)
    assert told == [0.5, 0.75]


def test_watching_passes_on_the_wish_to_stop() -> None:
    asked = Monitor(should_stop=lambda: True)
    for watched in (watch_memory(asked, 1), watch_time(asked, 1000.0)):
        with pytest.raises(CancelledError):
            watched.check()


def test_time_runs_out() -> None:
    monitor = watch_time(Monitor(), -1.0)
    with pytest.raises(ResourceError, match="the time set for a task"):
        monitor.check()
