"""Files of microscopes through bioio: real ones where it is installed, else the fix."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_exo2micro.cli import main
from napari_exo2micro.core import DataWarning, Exo2MicroError, SampleDye
from napari_exo2micro.core.batch import plan_batch
from napari_exo2micro.core.batch.resources import estimate_task
from napari_exo2micro.core.images import read_pixel_size
from napari_exo2micro.core.raw import (
    discover_tasks,
    get_loader,
    loader_names,
    open_lazy_pair,
    pair_files,
    survey_raw_channels,
)
from napari_exo2micro.core.raw.pair import load_image_pair


def need(name: str) -> None:
    """Skip a test where the extra is not installed, but for where it has to be."""
    if os.environ.get("EXO2MICRO_FORMATS"):
        importlib.import_module(name)
    pytest.importorskip(name, reason="the extra 'formats' is not installed")


SHAPE = (96, 130)
DYES = ("DAPI", "SYBR")


def channels(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    far = ((rows - 48) / 30) ** 2 + ((columns - 65) / 40) ** 2
    light = [90 + (far < 1) * rng.integers(900, 4000, SHAPE) for _ in DYES]
    return np.stack(light).astype(np.uint16)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A pair of CZI files with two named channels."""
    need("bioio_czi")
    from pylibCZIrw import czi

    folder = tmp_path / "raw" / "S1"
    folder.mkdir(parents=True)
    for seed, side in enumerate(("Pre", "Post")):
        with czi.create_czi(str(folder / f"S1_{side}Stain_SYBR.czi")) as file:
            for number, channel in enumerate(channels(seed)):
                place = {"C": number, "T": 0, "Z": 0}
                file.write(channel[..., np.newaxis], plane=place)
            names = dict(enumerate(DYES))
            size = {"scale_x": 0.325e-6, "scale_y": 0.325e-6}
            file.write_metadata("S1", channel_names=names, **size)
    return tmp_path / "raw"


def test_a_czi_is_read_like_a_tiff(raw, tmp_path):
    assert discover_tasks(raw_dir=raw).present == (("S1", "SYBR"),)
    pair = pair_files("S1", "SYBR", raw)
    assert read_pixel_size(pair.post) == pytest.approx((0.325, 0.325), rel=1e-6)
    images = load_image_pair("S1", "SYBR", raw)
    np.testing.assert_array_equal(images[0], channels(1)[1])
    np.testing.assert_array_equal(images[1], channels(0)[1])
    lazy = open_lazy_pair(pair.post, pair.pre, pair.choices)
    window = lazy.post.levels()[0][10:60, 30:90]
    np.testing.assert_array_equal(window, channels(1)[1][10:60, 30:90])
    assert [one.problem for one in survey_raw_channels(raw)] == ["", ""]


def test_stage_1_of_a_czi_and_its_staleness(raw, tmp_path):
    def task(**params: Any) -> Any:
        made = SampleDye("S1", "SYBR", raw_dir=raw, output_dir=tmp_path / "out")
        made.set_params(pad=0, **params)
        return made

    task().run(to_stage=1)
    assert task().store.is_done(1)
    checkpoint = task().checkpoint(1, "post")
    np.testing.assert_array_equal(checkpoint.image[:, :], channels(1)[1])
    assert checkpoint.provenance.canvas["post_pixel_size"] == pytest.approx([0.325] * 2)
    other = task(channel="DAPI")
    other.run(to_stage=1)
    pixels = other.checkpoint(1, "post").image[:, :]
    np.testing.assert_array_equal(pixels, channels(1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        both = task(channel="sum")
        both.run(to_stage=1)
    pixels = both.checkpoint(1, "post").image[:, :]
    np.testing.assert_array_equal(pixels, channels(1).sum(axis=0))


def test_bioio_is_a_loader_by_name(raw, tmp_path):
    images = get_loader("bioio")("S1", "SYBR", raw_dir=raw)
    np.testing.assert_array_equal(images[0], channels(1)[1])
    task = SampleDye("S1", "SYBR", tmp_path / "out", raw, "tiff", loader="bioio")
    task.set_params(pad=0, channel="DAPI")
    task.run(to_stage=1)
    np.testing.assert_array_equal(
        task.checkpoint(1, "post").image[:, :], channels(1)[0]
    )
    assert task.store.is_done(1)
    # pairs are found by their names, as without it
    planned = plan_batch(raw_dir=raw, output_dir=tmp_path / "out", loader="bioio")
    assert [(one.sample, one.dye) for one in planned.tasks] == [("S1", "SYBR")]
    assert estimate_task(planned.tasks[0]).memory > 0


def test_a_damaged_czi_is_told(raw):
    path = pair_files("S1", "SYBR", raw).post
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(Exo2MicroError, match="bioio") as told:
        load_image_pair("S1", "SYBR", raw)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("ending", ["czi", "lif", "nd2", "vsi"])
def test_without_the_extra_it_is_named(tmp_path, monkeypatch, ending):
    for side in ("Pre", "Post"):
        path = tmp_path / "S1" / f"S1_{side}Stain_SYBR.{ending}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"of a microscope")
    monkeypatch.setitem(sys.modules, "bioio", None)
    assert discover_tasks(raw_dir=tmp_path).present == (("S1", "SYBR"),)
    fix = r'pip install "napari-exo2micro\[formats\]"'
    with pytest.raises(Exo2MicroError, match=fix):
        load_image_pair("S1", "SYBR", tmp_path)
    assert "napari-exo2micro[formats]" in survey_raw_channels(tmp_path)[0].problem


@pytest.mark.parametrize("ending", ["czi", "tif", "ome.tif"])
def test_asked_for_by_name_it_is_named_too(tmp_path, monkeypatch, ending, capsys):
    raw = tmp_path / "raw"
    (raw / "S1").mkdir(parents=True)
    for seed, side in enumerate(("Pre", "Post")):
        path = raw / "S1" / f"S1_{side}Stain_SYBR.{ending}"
        tifffile.imwrite(path, channels(seed)[0])
    monkeypatch.setitem(sys.modules, "bioio", None)
    fix = r'pip install "napari-exo2micro\[formats\]"'
    assert "bioio" in loader_names()
    with pytest.raises(Exo2MicroError, match=fix):
        get_loader("bioio")("S1", "SYBR", raw_dir=raw)
    task = SampleDye("S1", "SYBR", tmp_path / "out", raw, loader="bioio")
    with pytest.raises(Exo2MicroError, match=fix):
        task.run(to_stage=1)
    planned = plan_batch(raw_dir=raw, output_dir=tmp_path / "out", loader="bioio")
    with pytest.raises(Exo2MicroError, match=fix):
        estimate_task(planned.tasks[0])
    folders = ["--raw-dir", str(raw), "--output-dir", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        main(["run", "S1", "SYBR", *folders, "--loader", "bioio"])
    told = " ".join(capsys.readouterr().err.split())
    assert 'pip install "napari-exo2micro[formats]"' in told
    if ending != "czi":  # and the built-in one reads it
        assert SampleDye("S1", "SYBR", tmp_path / "out", raw).run(to_stage=1)


def test_what_no_part_of_bioio_reads_is_told(tmp_path):
    need("bioio")
    for side in ("Pre", "Post"):
        path = tmp_path / "S1" / f"S1_{side}Stain_SYBR.vsi"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"of a microscope")
    with pytest.raises(Exo2MicroError, match="no installed part of bioio reads"):
        load_image_pair("S1", "SYBR", tmp_path)
