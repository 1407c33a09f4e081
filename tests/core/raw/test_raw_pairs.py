"""Which pairs a file or a folder stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_exo2micro.core.raw import find_pairs, may_be_raw


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two samples: one with two pairs and a lone file, one with duplicates."""
    touch(
        tmp_path / "raw" / "A1",
        "A1_PreStain_DAPI.tif",
        "A1_PostStain_DAPI.TIFF",
        "A1_pre_SybrGld.tif",
        "A1_post_SybrGld.tif",
        "A1_PreStain_Cy5.tif",
        "notes.txt",
    )
    touch(
        tmp_path / "raw" / "B2",
        "B2_PreStain_DAPI.tif",
        "B2_PostStain_DAPI.tif",
        "B2_PostStain_again_DAPI.tif",
    )
    touch(tmp_path / "raw" / "empty")
    return tmp_path / "raw"


@pytest.mark.parametrize("name", ["A1_PreStain_DAPI.tif", "A1_PostStain_DAPI.TIFF"])
def test_one_file_stands_for_its_pair(raw, name):
    (pair,) = find_pairs(raw / "A1" / name).pairs
    assert (pair.sample, pair.dye, pair.raw_dir) == ("A1", "DAPI", raw)
    assert pair.post == raw / "A1" / "A1_PostStain_DAPI.TIFF"
    assert pair.pre == raw / "A1" / "A1_PreStain_DAPI.tif"


def test_a_relative_path_has_a_sample(raw, monkeypatch):
    monkeypatch.chdir(raw / "A1")
    (pair,) = find_pairs("A1_pre_SybrGld.tif").pairs
    assert (pair.sample, pair.raw_dir) == ("A1", raw)


def test_a_sample_folder_stands_for_its_complete_pairs(raw):
    found = find_pairs(raw / "A1")
    assert [pair.dye for pair in found.pairs] == ["DAPI", "SybrGld"]
    assert "no post-stain file for dye 'Cy5'" in found.problems[0]


def test_the_raw_folder_stands_for_all_samples(raw):
    found = find_pairs(raw)
    assert [(pair.sample, pair.dye) for pair in found.pairs] == [
        ("A1", "DAPI"),
        ("A1", "SybrGld"),
    ]
    assert any("2 post-stain files" in text for text in found.problems)


def test_duplicates_are_told(raw):
    found = find_pairs(raw / "B2" / "B2_PreStain_DAPI.tif")
    assert not found.pairs
    assert "move all but one of them away" in found.problems[0]


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("A1/A1_PreStain_DAPI.tif", True),
        ("A1/A1_pre_SybrGld.tif", True),
        ("A1/A1_PreStain_Cy5.tif", True),
        ("A1/notes.txt", False),
        ("A1", True),
        ("B2", True),
        ("empty", False),
        (".", True),
        ("missing", False),
    ],
)
def test_may_be_raw(raw, path, ours):
    assert may_be_raw(raw / path) is ours


def test_names_that_only_look_alike_are_left_alone(tmp_path):
    folder = touch(tmp_path, "express_1.tif", "express_2.tif", "cells.tif")
    assert not may_be_raw(folder)
    assert not may_be_raw(folder / "express_1.tif")
    assert not may_be_raw(folder / "cells.tif")
