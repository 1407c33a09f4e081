"""What is set in napari's Preferences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManager

from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.session.settings import (
    Defaults,
    default_source,
    read_defaults,
)


@pytest.fixture
def stored(tmp_path, monkeypatch) -> Any:
    """The settings that napari keeps for the plugin, in a file of the test's own."""
    import napari.settings

    PluginManager.instance().discover()
    monkeypatch.setattr(napari.settings, "_PLUGIN_SETTINGS", {})
    found = napari.settings.get_plugin_settings(path_dir=tmp_path)
    return found["napari-exo2micro"].defaults


def test_the_preferences_of_whoever_runs_the_tests_are_left_alone(viewer):
    """Neither napari's own nor those of plugins have a file."""
    from napari.settings import get_plugin_settings, get_settings

    PluginManager.instance().discover()
    assert get_settings().config_path is None
    files = {name: one.config_path for name, one in get_plugin_settings().items()}
    assert files["napari-exo2micro"] is None
    assert set(files.values()) == {None}


def test_nothing_is_set_at_first(stored):
    assert read_defaults() == Defaults()
    assert default_source() == {"checkpoint_format": "both"}


def test_what_is_set_is_what_a_session_begins_with(stored, viewer, tmp_path):
    stored.raw_folder = str(tmp_path / "raw")
    stored.workers = 3
    stored.checkpoint_format = "tiff"
    assert read_defaults().workers == 3
    session = Session.of(viewer)
    session.set_source(**default_source())
    assert session.raw_dir == tmp_path / "raw"
    assert session.output_dir == tmp_path / "processed"
    assert session.checkpoint_format == "tiff"
    stored.output_folder = f" {tmp_path / 'results'} "
    assert default_source()["output_dir"] == tmp_path / "results"


def test_a_folder_may_begin_with_the_home_folder(stored):
    stored.output_folder = "~/results"
    assert default_source()["output_dir"] == Path.home() / "results"


def test_a_wrong_value_is_refused_by_napari(stored):
    with pytest.raises(ValueError, match="enum"):
        stored.checkpoint_format = "png"
    with pytest.raises(ValueError, match="greater than or equal"):
        stored.workers = 0
    assert read_defaults() == Defaults()


def test_without_the_plugin_in_napari_there_are_defaults(monkeypatch):
    import napari.settings

    def unknown(plugin: str) -> Any:
        raise KeyError(plugin)

    monkeypatch.setattr(napari.settings, "get_plugin_settings", unknown)
    assert read_defaults() == Defaults()
