"""A viewer without a window, its session, and results made once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel

from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.plugin.layers.layers import LayerSpec
from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.layers.stages import stage_specs
from napari_exo2micro.plugin.session.session import Session

PAD = 60


@pytest.fixture(autouse=True)
def own_recent_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests leave the lists of recent folders and presets of a person alone."""
    from napari_exo2micro.plugin.session import settings

    monkeypatch.setattr(settings, "recent_file", lambda: tmp_path / "recent.json")


@pytest.fixture
def results(tmp_path: Path, shared_results: Path) -> Path:
    """An output folder of the test's own, made from `shared_raw_dir`."""
    return Path(shutil.copytree(shared_results, tmp_path / "processed"))


@pytest.fixture
def viewer(qtbot) -> Iterator[ViewerModel]:
    """A viewer without a window; its session ends with the test."""
    model = ViewerModel()
    yield model
    Session.of(model).close()


@pytest.fixture
def session(viewer: ViewerModel, tmp_path: Path, shared_raw_dir: Path) -> Session:
    """The session of `viewer`: Rock / DAPI, nothing run yet, pad 60."""
    session = shared_session(viewer)
    session.set_params(pad=PAD)
    session.set_source(
        raw_dir=shared_raw_dir,
        output_dir=tmp_path / "processed",
        sample="Rock",
        dye="DAPI",
    )
    return session


@pytest.fixture
def finished(viewer: ViewerModel, results: Path, shared_raw_dir: Path) -> Session:
    """The session of `viewer` on a sample whose stages have all run."""
    session = shared_session(viewer)
    session.set_params(pad=PAD)
    session.set_source(
        raw_dir=shared_raw_dir, output_dir=results, sample="Rock", dye="DAPI"
    )
    return session


@pytest.fixture(scope="session")
def all_specs(shared_results: Path, shared_raw_dir: Path) -> dict[int, list[LayerSpec]]:
    """The layers to be of each stage, made once for all tests."""
    task = SampleDye("Rock", "DAPI", output_dir=shared_results, raw_dir=shared_raw_dir)
    task.set_params(pad=PAD)
    return {stage: stage_specs(task, stage) for stage in (1, 2, 3, 4)}


@pytest.fixture
def shown(
    viewer: ViewerModel,
    shared_results: Path,
    shared_raw_dir: Path,
    all_specs: dict[int, list[LayerSpec]],
) -> Session:
    """The session of `viewer` with the layers of all stages; only to be looked at."""
    session = shared_session(viewer)
    session.set_params(pad=PAD)
    session.set_source(
        raw_dir=shared_raw_dir, output_dir=shared_results, sample="Rock", dye="DAPI"
    )
    for specs in all_specs.values():
        place_layers(viewer, specs)
    return session
