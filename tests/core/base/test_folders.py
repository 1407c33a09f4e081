"""Whether a folder can take results, told before a run."""

from __future__ import annotations

import os

import pytest

from napari_exo2micro.core.base import output_problem


def test_a_folder_that_can_be_written_or_made_is_fine(tmp_path):
    assert output_problem(tmp_path) == ""
    assert output_problem(tmp_path / "new" / "results", tmp_path / "raw") == ""
    # The raw folder may lie in the results folder: its samples stay what they are.
    assert output_problem(tmp_path, tmp_path / "raw") == ""
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("below", ["", "processed", "deep/processed"])
def test_results_stay_out_of_the_raw_folder(tmp_path, below):
    raw = tmp_path / "raw"
    raw.mkdir()
    text = output_problem(raw / below, raw)
    assert str(raw / below) in text
    assert "raw folder; choose" in text


def test_a_link_into_the_raw_folder_is_seen(tmp_path):
    (tmp_path / "raw").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "raw", target_is_directory=True)
    assert "raw folder" in output_problem(link / "processed", tmp_path / "raw")


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    text = output_problem(tmp_path / "notes.txt" / "processed")
    assert f"{tmp_path / 'notes.txt'} is a file" in text
    (tmp_path / "lost").symlink_to(tmp_path / "nowhere")
    assert "leads nowhere" in output_problem(tmp_path / "lost" / "processed")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_without_permission_is_named(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    try:
        text = output_problem(locked / "processed")
    finally:
        locked.chmod(0o700)
    assert f"writing in {locked} is not permitted" in text


def test_what_the_system_says_of_writing_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "not permitted; choose another" in output_problem(tmp_path / "processed")
