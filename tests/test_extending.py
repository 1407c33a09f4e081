"""The pages on extending: their code runs as it stands, and does what they say."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_exo2micro.core.batch import Task, run_batch
from napari_exo2micro.core.batch.task import registered_here, run_task
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    RunSettings,
    Stage,
    register_stage,
    unregister_stage,
)
from napari_exo2micro.core.photometry import SCALE_METHODS
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.plotting import DIAGNOSTICS
from napari_exo2micro.core.raw.pair import LOADERS
from napari_exo2micro.core.simulate import simulate_section, write_pair
from snippets import code_blocks, run_page

PAGES = Path(__file__).parent.parent / "docs" / "extending"
WITH_CODE = sorted(p.stem for p in PAGES.glob("*.md") if p.stem != "index")


@pytest.fixture(autouse=True)
def _registries_as_before() -> Iterator[None]:
    """Take out what a page that failed half-way has left."""
    yield
    for registry in (SCALE_METHODS, PARAMETER_REGISTRY, DIAGNOSTICS, LOADERS):
        for key in registry.added:
            registry.remove(key)
    for number in sorted(STAGES.added, reverse=True):
        unregister_stage(number)


@pytest.mark.parametrize("name", WITH_CODE)
def test_the_code_of_a_page_runs(name: str, tmp_path: Path) -> None:
    page = PAGES / f"{name}.md"
    before = LOADERS.added
    run_page(page, tmp_path)
    assert registered_here() == {}, "a page takes out what it has registered"
    assert LOADERS.added == before


def test_only_what_is_about_an_installed_package_is_not_run() -> None:
    left_out = {
        page.stem
        for page in PAGES.glob("*.md")
        for block in code_blocks(page)
        if block.not_run_reason
    }
    assert left_out == {"packages"}


def test_every_page_is_in_the_table_of_the_first_one() -> None:
    first = (PAGES / "index.md").read_text("utf-8")
    assert all(f"({name}.md)" in first for name in WITH_CODE)


# What a batch tells of a script's own entries -----------------------------------


def find_nothing(task: SampleDye, force: bool = False) -> None:
    raise AssertionError("never called")


def test_workers_refuse_what_only_the_script_has_registered(tmp_path: Path) -> None:
    for sample in ("A", "B"):
        pair = simulate_section((200, 240), seed=1)
        write_pair(pair, tmp_path / "raw", sample, "DAPI")
    register_stage(Stage(6, "06_own", "own", find_nothing, ("labels",)))
    results = run_batch(
        raw_dir=tmp_path / "raw",
        output_dir=tmp_path / "out",
        parallel=True,
        n_workers=2,
    )
    assert len(results) == 2
    for result in results:
        assert "error: the stage '6' was registered where" in result["status"]
        assert "parallel=False" in result["status"]
    assert not list((tmp_path / "out").rglob("*.tiff"))


def test_a_task_knows_what_its_process_has_registered(tmp_path: Path) -> None:
    register_stage(Stage(6, "06_own", "own", find_nothing, ("labels",)))
    (tmp_path / "raw").mkdir()
    settings = RunSettings(raw_dir=tmp_path / "raw", output_dir=tmp_path / "out")
    task = pickle.loads(pickle.dumps(Task(0, "Rock", "DAPI", settings)))
    assert task.registered == {"stage": (6,)}
    assert "no folder for sample 'Rock'" in run_task(task)["status"]
    unregister_stage(6)
    assert "the stage '6' was registered" in run_task(task)["status"]
    assert Task(0, "Rock", "DAPI", settings).registered == {}


# Stages of one's own --------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Stage(4, "04_mine", "mine", find_nothing, ("a",)), "a stage 4 already"),
        (Stage(7, "07_mine", "mine", find_nothing, ("a",)), "must have the number 6"),
        (Stage(6, "mine", "mine", find_nothing, ("a",)), "begins with '06_'"),
        (Stage(6, "06_a/b", "mine", find_nothing, ("a",)), "begins with '06_'"),
        (Stage(6, "06_mine", "mine", find_nothing, ()), "at least one image"),
        (Stage(6, "06_mine", "mine", find_nothing, ("../a",)), "at least one image"),
        (
            Stage(6, "06_mine", "mine", find_nothing, ("a",), labels=("b",)),
            "labels of stage '06_mine' must be among",
        ),
    ],
)
def test_stages_that_cannot_be_taken(stage: Stage, message: str) -> None:
    from napari_exo2micro.core.base import ParameterError

    with pytest.raises(ParameterError, match=message):
        register_stage(stage)
    assert list(STAGES) == [1, 2, 3, 4, 5]


def test_a_stage_that_leaves_nothing_or_has_no_method_is_told(tmp_path: Path) -> None:
    from napari_exo2micro.core.base import CheckpointError, ParameterError

    def lazy(task: SampleDye, force: bool = False) -> None:
        pass

    write_pair(simulate_section((200, 240), seed=1), tmp_path / "raw", "Rock", "DAPI")
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw")
    register_stage(Stage(6, "06_own", "own", lazy, ("labels",)))
    with pytest.raises(CheckpointError, match=r"stage 6 \(own\) ended without its im"):
        task.run(from_stage=6)
    unregister_stage(6)
    register_stage(Stage(6, "06_own", "own", "_no_such", ("labels",)))
    with pytest.raises(ParameterError, match=r"'_no_such', which SampleDye does not"):
        task.run(from_stage=6)
