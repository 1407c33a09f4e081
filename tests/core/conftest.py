"""Simulated pairs in the raw layout, made once for all tests of the core."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from napari_exo2micro.core.simulate import SimulatedPair, simulate_section, write_pair

SHAPE = (760, 840)
PAD = 60


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
    """A raw folder with one pair; not to be changed by tests."""
    folder = tmp_path_factory.mktemp("raw")
    write_pair(pair, folder, "Rock", "DAPI")
    return folder


@pytest.fixture
def raw_dir(tmp_path: Path, pair: SimulatedPair) -> Path:
    """A raw folder of the test's own."""
    write_pair(pair, tmp_path / "raw", "Rock", "DAPI")
    return tmp_path / "raw"


@pytest.fixture
def batch_loader(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., object]:
    """A loader whose samples misbehave as their names say, see its module.

    Worker processes can import it. It counts its calls in files of `tmp_path`.
    """
    folder = str(Path(__file__).parent.parent / "data")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder, prepend=os.pathsep)
    load: Callable[..., object] = import_module("batch_loader").load
    return load
