"""docs/moving_over.md: what it says of scripts and folders of the old program."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_exo2micro import core as e2m
from napari_exo2micro.core.simulate import simulate_section, write_pair
from snippets import run_page

PAGE = Path(__file__).parents[1] / "docs" / "moving_over.md"
PAD = 60
SUFFIX = f"_pad{PAD}"
MOVE = {"angle_deg": 4.0, "scale": 1.03, "shift": (12.0, -9.0), "gain": 1.25}


def new_task(folder: Path) -> e2m.SampleDye:
    task = e2m.SampleDye("CD070", "SybrGld", folder / "processed", folder / "raw")
    task.set_params(pad=PAD)
    return task


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw files and results, not to be changed."""
    folder = tmp_path_factory.mktemp("new")
    pair = simulate_section((480, 540), seed=5, **MOVE)
    write_pair(pair, folder / "raw", "CD070", "SybrGld")
    assert new_task(folder).run()["status"] == "complete"
    return folder


@pytest.fixture
def old_folder(done: Path, tmp_path: Path) -> Path:
    """What the old program leaves as FITS: images with a few cards at most."""
    (tmp_path / "raw").symlink_to(done / "raw", target_is_directory=True)
    images = tmp_path / "processed" / "CD070" / "SybrGld" / "fits"
    images.mkdir(parents=True)
    for path in (done / "processed" / "CD070" / "SybrGld" / "tiff").glob("0[1-4]*"):
        hdu = fits.PrimaryHDU(tifffile.imread(path).astype(np.float32))
        hdu.header["SAMPLE"], hdu.header["DYE"] = "CD070", "SybrGld"
        hdu.header["PAD"] = PAD
        hdu.writeto(images / f"{path.stem}.fits")
    return tmp_path


def test_old_images_of_stages_1_and_2_are_used_and_the_others_made_again(
    old_folder: Path, done: Path
) -> None:
    old = {p: p.read_bytes() for p in old_folder.rglob("*.fits")}
    assert len(old) == 5
    task = new_task(old_folder)
    lines = {(s.stage, s.name): s for s in task.status() if s.kind == "checkpoint"}
    assert {key: line.state for key, line in lines.items()} == {
        (1, "post"): "valid",
        (1, "pre"): "valid",
        (2, "pre"): "valid",
        (3, "pre"): "stale",
        (4, "difference"): "stale",
        (5, "snr"): "missing",
        (5, "labels"): "missing",
        (5, "catalogue"): "missing",
    }
    assert "no header" in lines[1, "post"].reason
    result = task.run()
    for path, content in old.items():
        assert (path.read_bytes() == content) is (path.name < "03"), path.name
    told = [text for text in result["warnings"] if "carries no header" in text]
    assert any(f"02_icp_aligned_pre{SUFFIX}" in text for text in told)
    here, there = task.transform(3), new_task(done).transform(3)
    middle = np.array([[330.0, 300.0]])
    np.testing.assert_allclose(here(middle), there(middle), atol=0.3)
    assert task._load_image(3, "pre").dtype == np.float32


def test_a_padded_image_of_another_size_is_made_again(old_folder: Path) -> None:
    path = next(old_folder.rglob(f"01_padded_post{SUFFIX}.fits"))
    fits.PrimaryHDU(np.ones((50, 60), np.float32)).writeto(path, overwrite=True)
    line = new_task(old_folder).status()[0]
    assert (line.state, line.name) == ("stale", "post")
    assert "60 x 50" in line.reason


def test_the_calls_of_scripts_are_there() -> None:
    order = list(inspect.signature(e2m.run_batch).parameters)
    assert order[:15] == [
        "samples",
        "dyes",
        "parallel",
        "n_workers",
        "params",
        "output_dir",
        "raw_dir",
        "from_stage",
        "to_stage",
        "force",
        "checkpoint_format",
        "strict_dyes",
        "memory_debug",
        "timeout_per_task",
        "force_run",
    ]
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(_\w+)`", text))
    assert len(named) >= 7
    for name in named:
        assert callable(getattr(e2m.SampleDye, name)), name
    for name in re.findall(r"`(?:e2m\.)?((?:register|refine|run)_\w+)\(", text):
        assert callable(getattr(e2m, name)), name


def test_new_parameters_are_those_that_the_page_calls_new() -> None:
    text = PAGE.read_text(encoding="utf-8")
    told = re.findall(r"`(\w+)`[,)]? \(?(?:a )?new[, ]|\(`(\w+)`, (?:a )?new", text)
    new = {name for pair in told for name in pair if name}
    assert new == set(list(e2m.PARAMETER_REGISTRY)[27:])


def test_where_things_are_now_is_in_the_window() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("## Where things are now")[2].partition("\n## ")[0]
    names = set(re.findall(r"\*([^*]+)\*", table))
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (PAGE.parents[1] / "src" / "napari_exo2micro").rglob("*.*")
        if path.suffix in (".py", ".yaml")
    )
    missing = {name for name in names if name not in source}
    assert not {name for name in missing if not re.fullmatch(r"Stage \d", name)}
    assert len(names) > 10


def test_the_code_of_the_page_runs(done: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").symlink_to(done / "raw", target_is_directory=True)
    ran = run_page(PAGE, tmp_path)
    assert ran.names["pre"].shape == (680, 740)
    assert abs(ran.names["scale"] - MOVE["gain"]) < 0.02
    assert "complete" in ran.outputs[-1][1]
