"""Where previews read from: checkpoints, their small levels, or small raw files."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.base import CheckpointError, RawFileNotFoundError
from napari_exo2micro.core.images import Raster, Transform, open_raster
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.preview import (
    PreviewSource,
    open_source,
    preview_boundary,
    preview_interior,
    preview_scale,
)
from napari_exo2micro.core.simulate import simulate_section

PAD = 60


@pytest.fixture
def task(tmp_path, shared_raw_dir):
    task = SampleDye("Rock", "DAPI", tmp_path / "out", shared_raw_dir, "tiff")
    task.set_params(pad=PAD)
    return task


def test_raw_files_will_do_before_stage_1(task, source):
    opened = open_source(task)
    np.testing.assert_array_equal(opened.post_image, source.post_image)
    np.testing.assert_array_equal(opened.pre_image, source.pre_image)
    assert opened.post_frame == source.post_frame
    assert open_source(task, opened) is opened
    assert not (task.output_dir / "Rock").exists()


def test_checkpoints_once_they_are_there(task):
    raw = open_source(task)
    task.run(to_stage=1)
    opened = open_source(task, raw)
    assert isinstance(opened.post_image, Raster)
    assert open_source(task, opened) is opened
    found = preview_boundary(opened, {})
    assert found.transform == preview_boundary(raw, {}).transform
    wider = task.copy()
    wider.set_params(pad=PAD + 10)
    assert open_source(wider, opened) is not opened


def test_images_too_large_for_memory_need_stage_1(task):
    task.set_params(pad=20_000)
    with pytest.raises(CheckpointError, match=r"run stage 1 \(padding\) first"):
        open_source(task)


def test_a_loader_of_ones_own_needs_stage_1(tmp_path, shared_raw_dir, pair):
    def loader(sample, dye, raw_dir="raw"):
        return pair.post, pair.pre, None, None

    task = SampleDye("Rock", "DAPI", tmp_path, shared_raw_dir, loader=loader)
    with pytest.raises(CheckpointError, match="run stage 1"):
        open_source(task)


def test_missing_raw_files_are_told(tmp_path):
    task = SampleDye("Rock", "DAPI", tmp_path / "out", tmp_path / "raw")
    with pytest.raises(RawFileNotFoundError):
        open_source(task)


def counted(raster: Raster, pixels: dict[int, int]) -> Raster:
    """Return the raster, which counts the pixels that are read at each level."""
    read = raster.read

    def count(key, level=0):
        found = read(key, level)
        pixels[level] = pixels.get(level, 0) + found.size
        return found

    raster.read = count
    return raster


def test_only_small_levels_of_a_large_image_are_read(tmp_path):
    # A large frame of few, large structures: a small section magnified.
    pair = simulate_section((375, 450), seed=2, angle_deg=3.0)
    rasters, pixels = [], []
    for name, small in (("post", pair.post), ("pre", pair.pre)):
        large = np.kron(small, np.ones((28, 28), np.uint8))
        path = tmp_path / f"{name}.tiff"
        parts = ((y, large[y : y + 1024]) for y in range(0, large.shape[0], 1024))
        write_raster([path], large.shape, "uint8", parts, header={})
        pixels.append({})
        rasters.append(counted(open_raster(path), pixels[-1]))
    rows, columns = rasters[0].shape
    whole = (0, 0, columns, rows)
    source = PreviewSource(*rasters, post_frame=whole, pre_frame=whole)
    start = preview_boundary(source, {}).transform
    preview_interior(source, start, {})
    for count in pixels:
        assert 0 not in count
        assert 0 < sum(count.values()) < 0.1 * rows * columns
    preview_scale(source, Transform.identity(), {})
    assert 0 < pixels[0][0] < 0.05 * rows * columns
    before = dict(pixels[0])
    preview_boundary(source, {"boundary_width": 20})
    preview_scale(source, Transform.identity(), {"manual_scale": 1.2})
    assert pixels[0] == before
