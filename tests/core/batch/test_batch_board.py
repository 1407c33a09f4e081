"""What is known of each task of a batch, and what a batch would find on disk."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.base.locks import sample_lock
from napari_exo2micro.core.batch import (
    BatchBoard,
    TaskEvent,
    TaskState,
    plan_batch,
    run_batch,
    stages_to_run,
    stored_state,
)
from napari_exo2micro.core.parameters import (
    State,
    batch_as_command_line,
    batch_as_python,
)
from napari_exo2micro.core.pipeline import RunResult


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def running(number: int, stage: int, fraction: float, text: str = "") -> TaskEvent:
    return TaskEvent(
        number, "CD070", str(number), TaskState.RUNNING, stage, fraction, text
    )


def ended(number: int, status: str) -> TaskEvent:
    word, _, reason = status.partition(": ")
    state = {
        "complete": State.DONE,
        "degraded": State.DEGRADED,
        "error": State.FAILED,
        "skipped": State.NO_FILES,
        "stopped": State.STOPPED,
    }[word]
    result = RunResult("CD070", str(number), state, reason)
    return TaskEvent.ended(number, result)


def queued(number: int) -> TaskEvent:
    return TaskEvent(number, "CD070", str(number), TaskState.QUEUED)


# The board -------------------------------------------------------------------


def test_each_task_goes_its_way() -> None:
    clock = Clock()
    board = BatchBoard(clock=clock)
    for number in range(5):
        board.take(queued(number))
    board.take(running(0, 2, 0.4, "comparing outlines"))
    board.take(running(4, 0, 0.0, "waiting for process 7 on lab since noon"))
    clock.now = 3.0
    board.take(ended(1, "error: no light"))
    board.take(ended(2, "degraded: stage 3 interior alignment: too few points"))
    board.take(ended(3, "skipped: no post-stain file"))
    rows = board.rows
    assert [row.word for row in rows] == [
        "running",
        "failed",
        "degraded",
        "no files",
        "waiting",
    ]
    assert rows[0].step.endswith(", comparing outlines")
    assert rows[0].step.startswith("2 ")
    assert rows[0].seconds == 3.0
    assert rows[0].reason == ""
    assert rows[1].reason == "no light"
    assert rows[2].reason == "stage 3 interior alignment: too few points"
    assert rows[4].step == "waiting for process 7 on lab since noon"
    assert board.counts_in_words() == (
        "1 running, 1 waiting, 1 degraded, 1 failed, 1 no files"
    )
    assert board.fraction == pytest.approx((0.4 + 1 + 1 + 0) / 4)
    assert [r["status"][:5] for r in board.results] == ["error", "degra", "skipp"]


def test_what_is_left_is_told_from_tasks_that_came_to_their_end() -> None:
    clock = Clock()
    board = BatchBoard({0: 1.0, 1: 1.0, 2: 2.0, 3: 0.0, 4: 1.0}, clock=clock)
    for number in range(5):
        board.take(queued(number))
    assert board.seconds_left is None
    board.take(running(3, 1, 0.0))
    clock.now = 1.0
    board.take(ended(3, "complete"))  # all was there already
    board.take(ended(4, "error: no light"))
    assert board.seconds_left is None
    board.take(running(0, 1, 0.0))
    board.take(running(1, 1, 0.0))
    clock.now = 11.0
    board.take(ended(0, "complete"))
    board.take(running(1, 3, 0.5))
    # 10 s for one unit; half a unit and two units are left, two at once.
    assert board.seconds_left == pytest.approx(20.0)
    board.take(ended(1, "complete"))
    board.take(ended(2, "stopped: by hand"))
    assert board.seconds_left == 0.0
    board.end()
    clock.now = 99.0
    assert board.elapsed == 11.0


def test_a_task_that_is_tried_again_begins_anew() -> None:
    clock = Clock()
    board = BatchBoard(clock=clock)
    board.take(running(0, 2, 0.5))
    clock.now = 5.0
    board.take(queued(0))
    assert board.rows[0].seconds is None
    board.take(running(0, 1, 0.1))
    clock.now = 7.0
    board.take(ended(0, "complete"))
    assert board.rows[0].seconds == 2.0


# What is on disk -------------------------------------------------------------


def write_files(raw: Path, sample: str, dye: str) -> None:
    (raw / sample).mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(1, 200, (40, 48), np.uint8)
    for side in ("PreStain", "PostStain"):
        tifffile.imwrite(raw / sample / f"{sample}_{side}_{dye}.tif", pixels)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for sample, dye in (("A", "DAPI"), ("A", "Cy5"), ("B", "DAPI"), ("B", "Cy5")):
        write_files(tmp_path / "raw", sample, dye)
    return tmp_path / "raw"


def test_what_is_on_disk_is_told(raw: Path, tmp_path: Path) -> None:
    settings = {"params": {"pad": 8}, "output_dir": tmp_path / "out", "raw_dir": raw}

    def state(to_stage: int, **more: object):
        (task,) = plan_batch(
            pairs=[("A", "DAPI")], to_stage=to_stage, **{**settings, **more}
        ).tasks
        return stored_state(task)

    assert (state(2).state, state(2).to_run) == (State.MISSING, (1, 2))
    run_batch(pairs=[("A", "DAPI")], to_stage=1, **settings)
    assert (state(1).state, state(1).to_run) == ("done", ())
    assert state(1).result["status"] == "complete"
    assert (state(2).state, state(2).to_run) == ("part", (2,))
    assert state(1, force=True).to_run == (1,)
    assert state(1, params={"pad": 9}).state is State.MISSING
    write_files(raw, "A", "DAPI")  # as it was
    assert state(1).state == "done"
    for path in raw.glob("A/*_DAPI.tif"):
        tifffile.imwrite(path, np.full((40, 48), 9, np.uint8))
    found = state(1)
    assert (found.state, found.to_run, found.has_results) == ("stale", (1,), False)
    assert found.reason.startswith("stage 1 padding: ")
    with sample_lock(tmp_path / "out", "A", "DAPI"):
        assert "this program" in state(1).holder


def test_stages_to_run_are_those_of_the_state(raw: Path, tmp_path: Path) -> None:
    (task,) = plan_batch(
        pairs=[("B", "Cy5")], output_dir=tmp_path / "out", raw_dir=raw
    ).tasks
    assert stages_to_run(task) == stored_state(task).to_run == (1, 2, 3, 4, 5)


# Pairs by name ---------------------------------------------------------------


def test_pairs_are_run_as_they_are_named(raw: Path) -> None:
    wanted = [("B", "DAPI"), ("A", "Cy5"), ("B", "DAPI"), ("C", "DAPI")]
    plan = plan_batch(pairs=wanted, raw_dir=raw, strict_dyes=False)
    assert [(t.sample, t.dye) for t in plan.tasks] == [("B", "DAPI"), ("A", "Cy5")]
    assert [(t.sample, t.dye) for t in plan.skipped] == [("C", "DAPI")]
    with pytest.raises(ParameterError, match="found both"):
        plan_batch(["A"], pairs=wanted, raw_dir=raw)


def test_a_shared_registration_ends_with_its_transform_where_not_asked(
    raw: Path,
) -> None:
    plan = plan_batch(
        pairs=[("A", "Cy5"), ("B", "DAPI")], raw_dir=raw, register_on="DAPI"
    )
    assert [(t.sample, t.dye, t.settings.to_stage) for t in plan.tasks] == [
        ("A", "DAPI", 3),
        ("A", "Cy5", None),
        ("B", "DAPI", None),
    ]


# Recipes ---------------------------------------------------------------------

SETTINGS = {
    "params": {"pad": 8, "boundary_width": 20},
    "to_stage": 1,
    "force": True,
    "register_on": "DAPI",
    "checkpoint_format": "tiff",
}
SOME = [("A", "DAPI"), ("A", "Cy5"), ("B", "DAPI")]


def test_a_recipe_in_python_does_the_same_run(raw: Path, tmp_path: Path) -> None:
    text = batch_as_python(
        SOME, raw_dir=raw, output_dir=tmp_path / "out", executor="serial", **SETTINGS
    )
    found: dict[str, object] = {}
    exec(text, found)  # as a person would paste it
    assert [(r["sample"], r["dye"]) for r in found["results"]] == SOME
    assert found["summary"].is_complete


def test_a_recipe_for_the_command_line_does_the_same_run(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_exo2micro.cli import main

    asked = []

    def plan(samples, dyes, **more):
        asked.append((samples, dyes, more))
        return plan_batch(samples, dyes, **{**more, "strict_dyes": False})

    monkeypatch.setattr("napari_exo2micro.core.batch.plan_batch", plan)
    text = batch_as_command_line(
        SOME,
        raw_dir=raw,
        output_dir=tmp_path / "out",
        executor="serial",
        n_workers=3,
        strict=False,
        **SETTINGS,
    )
    lines = text.splitlines()
    for line in lines:
        name, *words = shlex.split(line)
        assert name == "exo2micro"
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
    assert [(samples, dyes) for samples, dyes, _ in asked] == [
        (["A"], ["DAPI", "Cy5"]),
        (["B"], ["DAPI"]),
    ]
    for name, value in SETTINGS.items():
        assert asked[0][2][name] == value
    assert "--lenient" in text
    assert "--workers" not in text


def test_where_it_runs_is_in_the_recipes() -> None:
    folders = {"raw_dir": "raw", "output_dir": "out"}
    pair = [("A", "DAPI")]
    assert "--scheduler tcp://h:1" in batch_as_command_line(
        pair, executor="dask", scheduler="tcp://h:1", n_workers=2, **folders
    )
    assert "--executor serial" in batch_as_command_line(
        pair, executor="serial", n_workers=2, **folders
    )
    assert "--executor dask --workers 2" in batch_as_command_line(
        pair, executor="dask", n_workers=2, **folders
    )
    text = batch_as_python(pair, executor="dask", n_workers=2, **folders)
    assert "parallel='dask'" in text.replace('"', "'")
    assert "n_workers=2" in text
    assert "--loader scan" in batch_as_command_line(pair, loader="scan", **folders)
    with pytest.raises(TypeError, match="unexpected keyword argument 'stage'"):
        batch_as_python(pair, stage=3, **folders)
