"""`run_batch`: which pairs run, what is told, what comes out."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core.base import (
    Monitor,
    OutputError,
    ParameterError,
    RawFileNotFoundError,
    ResourceError,
    read_log_tail,
)
from napari_exo2micro.core.base.locks import sample_lock
from napari_exo2micro.core.batch import (
    Preflight,
    TaskEvent,
    TaskState,
    batch,
    plan_batch,
    run_batch,
    summarise_batch,
)
from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.pipeline import RunResult, SampleDye


def write_files(raw: Path, sample: str, dye: str, *sides: str) -> None:
    folder = raw / sample
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(1, 200, (40, 48), np.uint8)
    for side in sides or ("PreStain", "PostStain"):
        tifffile.imwrite(folder / f"{sample}_{side}_{dye}.tif", pixels)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two samples with two dyes each; padding them takes a moment."""
    for sample in ("CD070", "CD071"):
        for dye in ("DAPI", "SybrGld"):
            write_files(tmp_path / "raw", sample, dye)
    return tmp_path / "raw"


@pytest.fixture
def pad_all(raw: Path, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Run stage 1 of a batch."""

    def run(*names: Any, **more: Any) -> list[dict[str, Any]]:
        settings: dict[str, Any] = {
            "params": {"pad": 8},
            "output_dir": tmp_path / "out",
            "raw_dir": raw,
            "to_stage": 1,
            "checkpoint_format": "tiff",
        }
        return run_batch(*names, **{**settings, **more})

    return run


def pairs(results: Any) -> list[tuple[str, str]]:
    return [(result["sample"], result["dye"]) for result in results]


# Which pairs -----------------------------------------------------------------


def test_all_that_is_found_runs(pad_all) -> None:
    results = pad_all()
    assert pairs(results) == [
        ("CD070", "DAPI"),
        ("CD070", "SybrGld"),
        ("CD071", "DAPI"),
        ("CD071", "SybrGld"),
    ]
    for result in results:
        assert result["status"] == "complete"
        for name in ("scale_estimate", "scale_percentile_value", "manual_scale"):
            assert result[name] is None
        assert len(result["outputs"]) == 2
        assert result["seconds"] > 0


def test_strict_names_every_missing_pair_and_runs_nothing(
    pad_all, raw: Path, tmp_path: Path
) -> None:
    write_files(raw, "CD070", "Cy5", "PreStain")
    with pytest.raises(RawFileNotFoundError) as told:
        pad_all(["CD070", "CD071", "Nowhere"], ["DAPI", "Cy5"])
    text = str(told.value)
    assert text.startswith("4 of 6 pairs cannot run, nothing was started")
    for words in (
        "CD070 / Cy5: ",
        "no post-stain file",
        "CD071 / Cy5: ",
        "Nowhere / DAPI: ",
        "Nowhere / Cy5: ",
        "strict_dyes=False",
    ):
        assert words in text
    assert not (tmp_path / "out").exists()


def test_names_that_fill_a_page_are_cut_in_messages(raw: Path) -> None:
    with pytest.raises(RawFileNotFoundError) as caught:
        plan_batch(["CD070", "x" * 10_000], ["DAPI", "y" * 10_000], raw_dir=raw)
    text = str(caught.value)
    assert f"{'x' * 57}... / DAPI: " in text
    assert "x" * 58 not in text
    assert "y" * 58 not in text


def test_lenient_runs_the_rest_and_tells_the_reasons(pad_all) -> None:
    events: list[TaskEvent] = []
    results = pad_all(
        ["CD070", "Nowhere"], ["DAPI", "Cy5"], strict_dyes=False, on_event=events.append
    )
    assert pairs(results) == [
        ("CD070", "DAPI"),
        ("CD070", "Cy5"),
        ("Nowhere", "DAPI"),
        ("Nowhere", "Cy5"),
    ]
    assert results[0]["status"] == "complete"
    assert results[1]["status"].startswith("skipped: ")
    assert "no file for dye 'Cy5'" in results[1]["status"]
    missing = [e for e in events if e.state is TaskState.NO_FILES]
    assert [(e.sample, e.dye) for e in missing] == pairs(results)[1:]
    assert missing[0].text == results[1]["status"]


def test_nothing_to_run_leaves_nothing(
    pad_all, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    results = pad_all("CD070", "Cy5", strict_dyes=False)
    assert [result["status"].partition(":")[0] for result in results] == ["skipped"]
    assert set(tmp_path.rglob("*")) == before


def test_one_name_will_do(pad_all) -> None:
    assert pairs(pad_all("CD071", "DAPI")) == [("CD071", "DAPI")]


def test_a_raw_folder_that_is_not_there_is_told(pad_all, tmp_path: Path) -> None:
    with pytest.raises(RawFileNotFoundError, match="does not exist"):
        pad_all(raw_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"params": {"padding": 3}}, "padding"),
        ({"params": {"pad": -3}}, "pad"),
        ({"from_stage": 3, "to_stage": 2}, "rising numbers"),
        ({"checkpoint_format": "png"}, "checkpoint_format takes"),
        ({"parallel": "threads"}, "one of serial, workers, dask"),
        ({"parallel": True, "n_workers": 0}, "n_workers takes"),
        ({"timeout_per_task": -1}, "timeout_per_task takes"),
        ({"register_on": "../DAPI"}, "dye"),
        ({"loader": "nobody's"}, "there is no loader"),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(
    pad_all, tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(ParameterError, match=words):
        pad_all(**wrong)
    assert not (tmp_path / "out").exists()


def test_a_loader_needs_names(batch_loader, pad_all) -> None:
    with pytest.raises(ParameterError, match="must be named"):
        pad_all(loader=batch_loader)
    results = pad_all(["A", "Fails", "B"], ["DAPI"], loader=batch_loader)
    assert [result["status"][:8] for result in results] == [
        "complete",
        "error: l",
        "complete",
    ]


# What is told ----------------------------------------------------------------


def test_events_go_from_queued_to_done(pad_all) -> None:
    events: list[TaskEvent] = []
    fractions: list[float] = []
    results = pad_all(
        on_event=events.append, monitor=Monitor(lambda f, _: fractions.append(f))
    )
    assert [event.state for event in events[:4]] == [TaskState.QUEUED] * 4
    for number, result in enumerate(results):
        own = [event for event in events if event.number == number]
        assert own[1].state is TaskState.RUNNING
        assert any(event.stage == 1 for event in own)
        assert (own[-1].state, own[-1].fraction) == (TaskState.DONE, 1.0)
        assert own[-1].result == result
        assert (own[-1].sample, own[-1].dye) == (result["sample"], result["dye"])
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_failed_task_stops_no_other(pad_all, raw: Path) -> None:
    path = raw / "CD070" / "CD070_PreStain_SybrGld.tif"
    path.write_bytes(path.read_bytes()[:60])
    results = pad_all()
    assert [result["status"].partition(":")[0] for result in results] == [
        "complete",
        "error",
        "complete",
        "complete",
    ]
    assert str(path) in results[1]["status"]


def test_what_was_logged_as_a_warning_comes_with_the_result(pad_all, raw: Path) -> None:
    pad_all("CD070", "DAPI")
    for path in (raw / "CD070").glob("*_DAPI.tif"):
        tifffile.imwrite(path, np.full((40, 48), 7, np.uint8))
    (result,) = pad_all("CD070", "DAPI")
    assert any("is made again" in text for text in result["warnings"])


def test_stopping_keeps_what_is_finished(pad_all) -> None:
    events: list[TaskEvent] = []
    monitor = Monitor(should_stop=lambda: any(event.result for event in events))
    results = pad_all(on_event=events.append, monitor=monitor)
    assert results[0]["status"] == "complete"
    assert all(r["status"].startswith("stopped: ") for r in results[1:])
    again = pad_all()
    assert summarise_batch(again).is_complete


def test_the_run_log_has_a_header_for_the_batch_and_its_problems(
    pad_all, tmp_path: Path
) -> None:
    pad_all(["CD070"], ["DAPI", "Cy5"], strict_dyes=False)
    text = "\n".join(read_log_tail(tmp_path / "out"))
    assert "batch, tasks: 1" in text
    assert "CD070 / Cy5: no files: " in text
    assert "2 tasks: 1 done, 1 no files" in text


def test_the_header_of_a_batch_is_there_as_soon_as_its_folder_is(
    pad_all, tmp_path: Path
) -> None:
    """Who looks in the night, or after a power cut, must find it."""
    logs: list[str] = []

    def look(event: TaskEvent) -> None:
        if event.state is TaskState.DONE:
            logs.append("\n".join(read_log_tail(tmp_path / "out")))

    pad_all(["CD070"], ["DAPI", "SybrGld"], on_event=look)
    assert logs[0].count("batch, tasks: 2") == 1
    assert "CD070 SybrGld, stage" not in logs[0]
    assert logs[1].count("batch, tasks: 2") == 1


def test_a_summary_counts_and_puts_the_worst_first() -> None:
    ends = {
        "A": (State.DEGRADED, "stage 3 interior alignment: few matches"),
        "B": (State.DONE, ""),
        "C": (State.FAILED, "the disk is full"),
        "D": (State.NO_FILES, "no file"),
        "E": (State.STOPPED, "run again"),
    }
    summary = summarise_batch(
        RunResult(name, "DAPI", state, reason) for name, (state, reason) in ends.items()
    )
    assert [problem.sample for problem in summary.problems] == ["C", "E", "D", "A"]
    assert summary.problems[0].reason == "the disk is full"
    assert summary.sentence() == (
        "5 tasks: 1 done, 1 degraded, 1 no files, 1 stopped, 1 failed"
    )
    assert summary.counts == {state: 1 for state, _ in ends.values()}
    assert not summary.is_complete


# Resources, locks ------------------------------------------------------------


def too_little(*_: Any, **__: Any) -> Preflight:
    return Preflight("too little", "9 GB of memory needed", 9, 1, 1, 1, 1)


def test_too_little_is_refused_unless_forced(
    pad_all, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "check_resources", too_little)
    with pytest.raises(ResourceError, match=r"9 GB of memory needed.*force_run"):
        pad_all()
    assert not (tmp_path / "out").exists()
    assert summarise_batch(pad_all(force_run=True)).is_complete


def test_a_pair_that_another_run_works_on_is_told(pad_all, tmp_path: Path) -> None:
    with sample_lock(tmp_path / "out", "CD070", "DAPI"):
        results = pad_all(["CD070"], ["DAPI", "SybrGld"], wait_for_lock=0)
    assert "is being processed by" in results[0]["status"]
    assert results[1]["status"] == "complete"


def test_two_batches_at_once_end_with_one_result(pad_all, tmp_path: Path) -> None:
    found: list[list[dict[str, Any]]] = []

    def work() -> None:
        found.append(pad_all(force=True))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [summarise_batch(results).is_complete for results in found] == [True, True]
    assert len(list((tmp_path / "out").rglob("*.tiff"))) == 8
    assert not list((tmp_path / "out").rglob("*.part"))


# Processes -------------------------------------------------------------------


def test_in_processes_it_is_the_same(
    pad_all, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    here = pad_all("CD070")
    apart = pad_all("CD070", parallel=True, n_workers=2, output_dir=tmp_path / "apart")
    assert pairs(apart) == pairs(here)
    assert summarise_batch(apart).is_complete
    names = [
        path.relative_to(tmp_path / "out")
        for path in sorted((tmp_path / "out").rglob("*.tiff"))
    ]
    assert len(names) == 4
    for name in names:
        ours, theirs = tmp_path / "out" / name, tmp_path / "apart" / name
        assert ours.read_bytes() == theirs.read_bytes()


# One geometry ----------------------------------------------------------------


def two_dyes(shared_raw_dir: Path, folder: Path) -> Path:
    raw = Path(shutil.copytree(shared_raw_dir, folder / "raw"))
    for path in list((raw / "Rock").glob("*_DAPI.tif*")):
        shutil.copy(path, path.with_name(path.name.replace("_DAPI", "_Cy5")))
    return raw


def test_the_dye_that_is_registered_comes_first(
    shared_raw_dir: Path, tmp_path: Path
) -> None:
    raw = two_dyes(shared_raw_dir, tmp_path)
    events: list[TaskEvent] = []
    results = run_batch(
        params={"pad": 60},
        output_dir=tmp_path / "out",
        raw_dir=raw,
        to_stage=2,
        checkpoint_format="tiff",
        register_on="DAPI",
        on_event=events.append,
    )
    assert pairs(results) == [("Rock", "Cy5"), ("Rock", "DAPI")]
    assert [event.dye for event in events if event.result] == ["DAPI", "Cy5"]
    assert results[0]["registration"][2]["reason"] == "taken over from DAPI"
    found = []
    for dye in ("Cy5", "DAPI"):
        task = SampleDye("Rock", dye, tmp_path / "out", raw)
        task.set_params(pad=60)
        found.append(task.transform(2))
    assert found[0] == found[1]


def test_it_is_added_up_to_its_transform_where_it_was_not_asked_for(raw: Path) -> None:
    plan = plan_batch(["CD070"], ["SybrGld"], raw_dir=raw, register_on="DAPI")
    assert [(t.dye, t.settings.to_stage) for t in plan.tasks] == [
        ("DAPI", 3),
        ("SybrGld", None),
    ]
    assert [[t.dye for t in phase] for phase in plan.phases()] == [
        ["DAPI"],
        ["SybrGld"],
    ]


@pytest.mark.parametrize(
    "given", [lambda p: [list(pair) for pair in p], lambda p: iter(p), list]
)
def test_pairs_are_taken_in_any_form(raw: Path, given: Any) -> None:
    asked = [("CD070", "DAPI"), ("CD070", "SybrGld")]
    plan = plan_batch(pairs=given(asked), raw_dir=raw, register_on="DAPI")
    assert [(t.sample, t.dye, t.settings.to_stage) for t in plan.tasks] == [
        (*pair, None) for pair in asked
    ]


def test_names_are_taken_from_iterators(raw: Path) -> None:
    plan = plan_batch(
        iter(["CD070"]), iter(["SybrGld", "DAPI"]), raw_dir=raw, register_on="DAPI"
    )
    assert {(t.dye, t.settings.to_stage) for t in plan.tasks} == {
        ("DAPI", None),
        ("SybrGld", None),
    }


def test_samples_without_it_cannot_run(raw: Path) -> None:
    write_files(raw, "CD072", "SybrGld")
    with pytest.raises(RawFileNotFoundError, match="CD072 / SybrGld: it is to take"):
        plan_batch(raw_dir=raw, register_on="DAPI")
    plan = plan_batch(raw_dir=raw, register_on="DAPI", strict_dyes=False)
    assert len(plan.tasks) == 4
    assert [(t.sample, t.dye) for t in plan.skipped] == [("CD072", "SybrGld")]


def test_when_it_fails_the_others_say_so(pad_all, raw: Path) -> None:
    path = raw / "CD070" / "CD070_PreStain_DAPI.tif"
    path.write_bytes(path.read_bytes()[:60])
    results = pad_all(["CD070"], ["SybrGld"], register_on="DAPI")
    assert pairs(results) == [("CD070", "DAPI"), ("CD070", "SybrGld")]
    assert results[0]["status"].startswith("error: ")
    assert "that of DAPI, which failed: " in results[1]["status"]


# Where results go ----------------------------------------------------------------


@pytest.mark.parametrize("output", ["raw", "raw/processed"])
def test_results_never_go_into_the_raw_folder(
    pad_all, raw: Path, output: str, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    with pytest.raises(OutputError, match=r"Results cannot go to .* the raw folder"):
        pad_all(output_dir=tmp_path / output)
    after = {path: path.read_bytes() for path in raw.rglob("*") if path.is_file()}
    assert after == before
    assert sorted(path.name for path in raw.iterdir()) == ["CD070", "CD071"]
