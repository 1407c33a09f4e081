"""What all tests share: a finished run, and skipping where there is no screen."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import settings

from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.plotting import style
from napari_exo2micro.core.simulate import SimulatedPair, simulate_section, write_pair

# A test never fails for being slow: machines differ, speed lives in benchmarks.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Empty: napari neither reads nor writes the Preferences of whoever runs the tests, its
# own and those of plugins. It looks once, as its settings are first imported.
os.environ["NAPARI_CONFIG"] = ""

REPOSITORY = Path(__file__).resolve().parent.parent

#: The smallest section whose stages all find what they look for.
SHAPE = (480, 540)
PAD = 60
EPOCH = "1700000000"


def load_tool(name: str) -> ModuleType:
    """Import one of the scripts of the `tools` folder, which is no package."""
    spec = importlib.util.spec_from_file_location(
        name, REPOSITORY / "tools" / f"{name}.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def why_no_display() -> str | None:
    """Return why a test with a window cannot run here; None where it can."""
    if not sys.platform.startswith("linux"):
        return None
    tool = load_tool("system_packages")
    missing = tool.missing_packages()
    if missing:
        return f"needs system packages; run: {tool.install_line(missing)}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `display` with the line that would make them run."""
    for item in items:
        if item.get_closest_marker("display") is None:
            continue
        reason = why_no_display()
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_collection_finish() -> None:
    """Leave what was imported out of every later search for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture
def system_packages() -> ModuleType:
    """Return the module of the set-up step, tools/system_packages.py."""
    return load_tool("system_packages")


@pytest.fixture(scope="session")
def pair() -> SimulatedPair:
    """A small section with a turn, a shift, a gain and microbes."""
    return simulate_section(
        SHAPE, seed=5, angle_deg=4.0, scale=1.03, shift=(12.0, -9.0), gain=1.25
    )


@pytest.fixture(scope="session")
def shared_raw_dir(
    tmp_path_factory: pytest.TempPathFactory, pair: SimulatedPair
) -> Path:
    """A raw folder with one pair, Rock / DAPI; not to be changed by tests."""
    folder = tmp_path_factory.mktemp("raw")
    write_pair(pair, folder, "Rock", "DAPI")
    return folder


@pytest.fixture(scope="session")
def shared_results(
    tmp_path_factory: pytest.TempPathFactory, shared_raw_dir: Path
) -> Path:
    """An output folder with all stages of Rock / DAPI, pad 60; not to be changed.

    It is what a run on `shared_raw_dir` under `SOURCE_DATE_EPOCH` writes again.
    """
    folder = tmp_path_factory.mktemp("processed")
    task = SampleDye("Rock", "DAPI", output_dir=folder, raw_dir=shared_raw_dir)
    task.set_params(pad=PAD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", EPOCH)
        task.run()
    return folder


@pytest.fixture
def plain_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dot stands for each picture of a run, for tests that look at none of them.

    Most of a small run is spent on the letters of its pictures.
    """
    dot = np.full((1, 1, 4), 255, np.uint8)
    monkeypatch.setattr(style, "rendered", lambda _figure: dot)


@pytest.fixture
def raw_dir(tmp_path: Path, shared_raw_dir: Path) -> Path:
    """A raw folder of the test's own."""
    return Path(shutil.copytree(shared_raw_dir, tmp_path / "raw"))
