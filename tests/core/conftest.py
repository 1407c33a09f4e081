"""A loader for batches of the core."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest


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
