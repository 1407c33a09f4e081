"""OME-Zarr folders as raw images: the stored numbers, or a question or an error."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_exo2micro.core import (
    DataWarning,
    Exo2MicroError,
    SampleDye,
    load_image_pair,
)
from napari_exo2micro.core.images import read_pixel_size
from napari_exo2micro.core.raw import (
    RawFingerprint,
    diagnose_raw_layout,
    discover_tasks,
    find_pairs,
    list_samples,
    may_be_raw,
    open_lazy_pair,
    survey_raw_channels,
)
from zarrs import VERSIONS, write_ome_zarr

SHAPE = (72, 96)
DYES = ("DAPI", "SYBR", "GFP")


def section(seed: int, dtype: Any = np.uint16) -> Any:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    far = ((rows - 36) / 24) ** 2 + ((columns - 48) / 32) ** 2
    light = 12 + (far < 1) * rng.integers(60, 200, SHAPE) + rng.integers(0, 4, SHAPE)
    return (light * (1 if np.dtype(dtype) == np.uint8 else 20)).astype(dtype)


def write_pair(folder: Path, dye: str = "SYBR", **options: Any) -> list[Any]:
    folder.mkdir(parents=True, exist_ok=True)
    images = [section(1), section(2)]
    for side, image in zip(("Post", "Pre"), images, strict=True):
        write_ome_zarr(folder / f"S1_{side}Stain_{dye}.ome.zarr", image, **options)
    return images


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    write_pair(tmp_path / "raw" / "S1")
    return tmp_path / "raw"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compressors": None},
        {"levels": 3},
        {"chunks": (72, 96)},
        {"chunks": (7, 5)},
        {"filters": None},
    ],
    ids=lambda options: "-".join(map(str, options)) or "plain",
)
def test_the_stored_numbers_are_read(tmp_path, version, options):
    images = write_pair(tmp_path / "S1", version=version, **options)
    read = load_image_pair("S1", "SYBR", tmp_path)[:2]
    for image, pixels in zip(images, read, strict=True):
        np.testing.assert_array_equal(pixels, image)
        assert pixels.dtype == image.dtype


@pytest.mark.parametrize("dtype", ["u1", ">u2", "<u4", "f4", ">f8", "i2", "?"])
@pytest.mark.parametrize("version", VERSIONS)
def test_pixels_of_any_type(tmp_path, version, dtype):
    if version == "0.5":
        dtype = dtype.replace(">", "<")
    images = [(section(seed, np.uint8) // 4).astype(dtype) for seed in (1, 2)]
    for side, image in zip(("Post", "Pre"), images, strict=True):
        path = tmp_path / "S1" / f"S1_{side}_SYBR.zarr"
        path.parent.mkdir(exist_ok=True)
        write_ome_zarr(path, image, version=version)
    read = load_image_pair("S1", "SYBR", tmp_path)[:2]
    for image, pixels in zip(images, read, strict=True):
        np.testing.assert_array_equal(pixels, image.astype(pixels.dtype))


def test_a_shard_holds_many_chunks(tmp_path):
    images = write_pair(tmp_path / "S1", chunks=(24, 24), shards=(48, 96))
    read = load_image_pair("S1", "SYBR", tmp_path)[:2]
    for image, pixels in zip(images, read, strict=True):
        np.testing.assert_array_equal(pixels, image)


def one_file(folder: Path, image: Any, name: str = "S1_Post_SYBR.zarr", **more: Any):
    folder.mkdir(parents=True, exist_ok=True)
    other = name.replace("Post", "Pre")
    write_ome_zarr(folder / name, image, **more)
    write_ome_zarr(folder / other, image, **more)
    return folder / name


def channels(count: int = 3) -> Any:
    return np.stack([section(seed) for seed in range(count)])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_channel_with_the_name_of_the_dye(tmp_path, version):
    stack = channels()
    one_file(tmp_path / "S1", stack, channels=DYES, version=version)
    np.testing.assert_array_equal(load_image_pair("S1", "SYBR", tmp_path)[0], stack[1])


def run_stage_1(raw: Path, out: Path, **params: Any) -> Any:
    task = SampleDye("S1", "SYBR", output_dir=out, raw_dir=raw)
    task.set_params(pad=0, **params)
    task.run(to_stage=1)
    checkpoint = task.checkpoint(1, "post")
    assert checkpoint is not None
    return np.asarray(checkpoint.image[0 : SHAPE[0], 0 : SHAPE[1]])


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"channel": "2"}, lambda stack: stack[1]),
        ({"page": 3}, lambda stack: stack[2]),
        ({"channel": "sum"}, lambda stack: stack.sum(axis=0)),
    ],
    ids=["channel", "page", "sum"],
)
def test_channels_without_a_name_are_chosen(tmp_path, params, wanted):
    stack = channels()
    one_file(tmp_path / "raw" / "S1", stack, channels=("", "", ""))
    with pytest.raises(Exo2MicroError, match=r"several images.*page 3 \(96 x 72 px\)"):
        load_image_pair("S1", "SYBR", tmp_path / "raw")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        pixels = run_stage_1(tmp_path / "raw", tmp_path / "out", **params)
    np.testing.assert_array_equal(pixels, wanted(stack))


def test_the_projection_of_a_stack(tmp_path):
    stack = channels()
    one_file(tmp_path / "raw" / "S1", stack)
    pixels = run_stage_1(tmp_path / "raw", tmp_path / "out", projection="maximum")
    np.testing.assert_array_equal(pixels, stack.max(axis=0))


def test_the_largest_level_wherever_it_stands(tmp_path):
    image = section(1)
    path = one_file(tmp_path / "S1", image, levels=3)
    for own in (path, path.with_name("S1_Pre_SYBR.zarr")):
        told = json.loads((own / "zarr.json").read_text())
        told["attributes"]["ome"]["multiscales"][0]["datasets"].reverse()
        (own / "zarr.json").write_text(json.dumps(told))
    np.testing.assert_array_equal(load_image_pair("S1", "SYBR", tmp_path)[0], image)
    assert read_pixel_size(path) == pytest.approx((0.325, 0.325), rel=1e-6)


def test_series_of_bioformats2raw(tmp_path):
    image = section(1)
    for side in ("Pre", "Post"):
        outer = tmp_path / "S1" / f"S1_{side}_SYBR.zarr"
        attributes = {"ome": {"version": "0.5", "bioformats2raw.layout": 3}}
        zarr.open_group(outer, mode="w", attributes=attributes)
        write_ome_zarr(outer / "0", image)
        write_ome_zarr(outer / "1", image[::2, ::2])  # a smaller copy
    with pytest.warns(DataWarning, match="the largest of its images is used"):
        pixels = load_image_pair("S1", "SYBR", tmp_path)[0]
    np.testing.assert_array_equal(pixels, image)


# The size of a pixel --------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("size", "unit", "wanted"),
    [
        ((0.325, 0.65), "micrometer", (0.325, 0.65)),
        ((325.0, 325.0), "nanometer", (0.325, 0.325)),
        ((3.25e-4, 3.25e-4), "millimeter", (0.325, 0.325)),
        ((0.325, 0.325), None, None),
        (None, "micrometer", None),
        ((352.8, 352.8), "micrometer", None),
    ],
)
def test_the_size_of_a_pixel(tmp_path, version, size, unit, wanted):
    options = {"version": version, "size": size, "unit": unit, "levels": 2}
    path = one_file(tmp_path / "S1", section(1), **options)
    found = read_pixel_size(path, SHAPE)
    if wanted is None:
        assert found is None
    else:
        assert found == pytest.approx(wanted, rel=1e-6)


def test_a_scale_of_all_levels_counts_too(tmp_path):
    path = one_file(tmp_path / "S1", section(1))
    told = json.loads((path / "zarr.json").read_text())
    told["attributes"]["ome"]["multiscales"][0]["coordinateTransformations"] = [
        {"type": "scale", "scale": [2.0, 2.0]}
    ]
    (path / "zarr.json").write_text(json.dumps(told))
    assert read_pixel_size(path) == pytest.approx((0.65, 0.65), rel=1e-6)


# The same everywhere --------------------------------------------------------------


def test_folders_that_are_images_are_no_samples(raw):
    write_ome_zarr(raw / "loose.zarr", section(3))
    assert list_samples(raw) == ("S1",)
    layout = diagnose_raw_layout(raw)
    assert layout.samples == ("S1",)
    assert layout.loose_files == ("loose.zarr",)
    assert discover_tasks(raw_dir=raw).present == (("S1", "SYBR"),)
    post = raw / "S1" / "S1_PostStain_SYBR.ome.zarr"
    for place in (raw, raw / "S1", post):
        (pair,) = find_pairs(place).pairs
        assert (pair.sample, pair.dye, pair.post) == ("S1", "SYBR", post)
        assert may_be_raw(place)
    surveys = survey_raw_channels(raw)
    assert [(one.stain, one.height, one.problem) for one in surveys] == [
        ("post", 72, ""),
        ("pre", 72, ""),
    ]


def test_windows_are_read_where_one_looks(raw):
    pair = open_lazy_pair(*load_image_pair("S1", "SYBR", raw)[2:])
    post = section(1)
    level = pair.post.levels()[0]
    np.testing.assert_array_equal(np.asarray(level[10:60, 30:90]), post[10:60, 30:90])


def test_the_same_result_as_of_tiffs(tmp_path, raw_dir):
    """Whatever the pixels come in, every result has the same bytes."""
    tiffs = next(path for path in raw_dir.iterdir() if path.is_dir())
    sample = tiffs.name
    (pair,) = find_pairs(tiffs).pairs
    results = {}
    for kind in ("tiff", *VERSIONS):
        folder = tmp_path / f"raw {kind}" / sample
        folder.mkdir(parents=True)
        for path in (pair.post, pair.pre):
            if kind == "tiff":
                shutil.copy(path, folder / path.name)
                continue
            image = tifffile.imread(path)
            name = folder / path.with_suffix(".zarr").name
            write_ome_zarr(name, image, version=kind, chunks=(200, 150), size=None)
        task = SampleDye(
            sample, pair.dye, raw_dir=folder.parent, output_dir=tmp_path / kind
        )
        assert task.run()["status"] == "complete"
        results[kind] = [
            np.asarray(image.image[:, :])
            for stage, name in ((1, "post"), (1, "pre"), (3, "pre"), (4, "difference"))
            if (image := task.checkpoint(stage, name)) is not None
        ]
    assert len(results["tiff"]) == 4
    for kind in VERSIONS:
        for one, other in zip(results["tiff"], results[kind], strict=True):
            np.testing.assert_array_equal(one, other)


# Whether it is still the same image ---------------------------------------------------


def chunk_of(path: Path) -> Path:
    return next(p for p in sorted(path.rglob("*")) if p.is_file() and "c" in p.parts)


def test_a_folder_is_recognised(tmp_path):
    path = one_file(tmp_path / "S1", section(1))
    known = RawFingerprint.of(path)
    assert known.matches(path)
    assert known.matches(path, verify=True)
    copy = tmp_path / "copy.zarr"
    shutil.copytree(path, copy)
    assert known.matches(copy)
    (path / ".DS_Store").write_bytes(b"of a file manager")
    assert known.matches(path)
    chunk = chunk_of(copy)
    content = bytearray(chunk.read_bytes())
    content[-1] ^= 1
    chunk.write_bytes(content)
    assert not known.matches(copy)
    chunk.unlink()
    assert not known.matches(copy)


def test_changed_chunks_make_results_stale(raw, tmp_path):
    def run() -> Any:
        task = SampleDye("S1", "SYBR", raw_dir=raw, output_dir=tmp_path / "out")
        task.run(to_stage=1)
        return task

    run()
    task = SampleDye("S1", "SYBR", raw_dir=raw, output_dir=tmp_path / "out")
    assert task.store.is_done(1)
    image = zarr.open_array(raw / "S1" / "S1_PostStain_SYBR.ome.zarr" / "0", mode="r+")
    image[40, 50] = 7
    task = SampleDye("S1", "SYBR", raw_dir=raw, output_dir=tmp_path / "out")
    assert not task.store.is_done(1)
    checkpoint = run().checkpoint(1, "post")
    assert 7 in np.asarray(checkpoint.image[:, :])


# What cannot be read --------------------------------------------------------------


def edit(path: Path, change: Any) -> None:
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def level_path(value: str) -> Any:
    def change(path: Path) -> None:
        edit(
            path / "zarr.json",
            lambda told: told["attributes"]["ome"]["multiscales"][0]["datasets"][
                0
            ].update(path=value),
        )

    return change


def array(**values: Any) -> Any:
    return lambda path: edit(path / "0" / "zarr.json", lambda told: told.update(values))


def cut(path: Path) -> None:
    chunk = chunk_of(path)
    chunk.write_bytes(chunk.read_bytes()[:20])


HUGE = {"name": "regular", "configuration": {"chunk_shape": [10**7, 10**7]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (level_path("../../elsewhere"), "lies outside of the folder"),
        (level_path("/tmp"), "lies outside of the folder"),
        (level_path("7"), "its level '7' is missing"),
        (array(codecs=[{"name": "wavelet9"}]), "array cannot be opened.*wavelet9"),
        (array(shape=[4, 4]), "4 x 4 px are too few"),
        (array(shape=[0, 96]), "without a pixel"),
        (array(shape=[10**7, 10**7], chunk_grid=HUGE), "needs .* GB of memory"),
        (array(shape="big"), "metadata are damaged|without a pixel"),
        (array(data_type="complex64"), "complex64 are not supported|cannot be opened"),
        (lambda path: (path / "zarr.json").write_text("{"), "metadata are damaged"),
        (lambda path: (path / "zarr.json").unlink(), "is no Zarr"),
        (cut, "cannot be read"),
        (shutil.rmtree, "no post-stain file"),
    ],
)
def test_damage_is_told(tmp_path, change, message):
    folder = tmp_path / "S1"
    path = one_file(folder, section(1))
    change(path)
    with pytest.raises(Exo2MicroError, match=message) as told:
        load_image_pair("S1", "SYBR", tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("version", VERSIONS)
def test_missing_chunks_are_told(tmp_path, version):
    image = section(1)
    image[:32, :40] = 0  # what is 0 all over is not written
    one_file(tmp_path / "S1", image, version=version)
    with pytest.warns(DataWarning) as caught:
        pixels = load_image_pair("S1", "SYBR", tmp_path)[0]
    told = " ".join(str(warning.message) for warning in caught)
    assert "1 chunks are not in the folder and read as" in told
    assert "18.52% of the post-stain image has no data" in told
    np.testing.assert_array_equal(pixels, image)


def test_a_plate_is_no_image(tmp_path):
    path = one_file(tmp_path / "S1", section(1))
    zarr.open_group(path, mode="w", attributes={"ome": {"plate": {}}})
    with pytest.raises(Exo2MicroError, match="is a plate of wells"):
        load_image_pair("S1", "SYBR", tmp_path)


def test_without_the_library_the_extra_is_named(raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(Exo2MicroError, match=r'pip install "napari-exo2micro\[zarr\]"'):
        load_image_pair("S1", "SYBR", raw)
