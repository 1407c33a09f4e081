"""The manifest: what it declares exists and can be used by napari."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManager, PluginManifest
from npe2.manifest.utils import import_python_name

import napari_exo2micro

PATH = Path(napari_exo2micro.__file__).parent / "napari.yaml"
MANIFEST = PluginManifest.from_file(PATH)
COMMANDS = {command.id: command for command in MANIFEST.contributions.commands}


def contributions() -> list[tuple[str, str]]:
    """Return the kind and the command of each contribution."""
    found: list[tuple[str, str]] = []
    declared = MANIFEST.contributions
    for kind in ("readers", "writers", "widgets", "sample_data"):
        found += [(kind, one.command) for one in getattr(declared, kind) or ()]
    for menu, items in (declared.menus or {}).items():
        found += [(menu, item.command) for item in items]
    return found


def test_npe2_finds_and_accepts_it():
    found = PluginManifest.from_distribution("napari-exo2micro")
    assert found.name == "napari-exo2micro"
    found.validate_imports()


@pytest.mark.parametrize(("kind", "command"), contributions())
def test_every_contribution_has_a_command_that_can_be_called(kind, command):
    assert command in COMMANDS
    function: Any = import_python_name(COMMANDS[command].python_name)
    assert callable(function)
    # Of a class, napari asks what its constructor takes.
    asked = function.__init__ if inspect.isclass(function) else function
    names = [name for name in inspect.signature(asked).parameters if name != "self"]
    if kind in ("widgets", "napari/layers/register"):
        # napari hands the viewer to a parameter of this name.
        assert names == ["napari_viewer"]
    if kind == "writers":
        assert names == ["path", "data", "meta"]
    if kind == "readers":
        assert names == ["path"]
    if kind == "sample_data":
        assert names == []


def test_every_command_is_used():
    assert set(COMMANDS) == {command for _, command in contributions()}


def test_the_docks_are_in_the_menus():
    titles = [one.display_name for one in MANIFEST.contributions.widgets]
    assert titles[0] == "Exo2Micro workbench"
    assert len(titles) == len(set(titles)) == 11
    assert "napari/layers/register" in MANIFEST.contributions.menus


def test_defaults_are_declared_for_the_preferences():
    (defaults,) = MANIFEST.contributions.configurations.values()
    assert set(defaults.properties) == {
        "raw_folder",
        "output_folder",
        "workers",
        "checkpoint_format",
    }
    for entry in defaults.properties.values():
        assert entry.title
        assert entry.description


def test_napari_lists_it_by_its_name():
    manager = PluginManager.instance()
    manager.discover()
    assert manager.get_manifest("napari-exo2micro").display_name == "Exo2Micro"
