"""What all tests share: skipping those that need a screen where there is none."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# A test never fails for being slow: machines differ, speed lives in benchmarks.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# Empty: napari neither reads nor writes the Preferences of whoever runs the tests, its
# own and those of plugins. It looks once, as its settings are first imported.
os.environ["NAPARI_CONFIG"] = ""

REPOSITORY = Path(__file__).resolve().parent.parent


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


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the folder that holds pyproject.toml."""
    return REPOSITORY


@pytest.fixture
def system_packages() -> ModuleType:
    """Return the module of the set-up step, tools/system_packages.py."""
    return load_tool("system_packages")
