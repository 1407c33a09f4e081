"""Where a scan has no data there is no difference, and nothing is estimated."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base import CheckpointError, DataWarning
from napari_exo2micro.core.images import (
    Missing,
    mapped_frame,
    moved_levels,
    open_raster,
    warp,
)
from napari_exo2micro.core.photometry import difference_pyramid
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.pipeline.figures import draw_figure
from napari_exo2micro.core.preview import open_source, preview_scale
from napari_exo2micro.core.raw.pair import RawPair
from napari_exo2micro.core.simulate import (
    SimulatedPair,
    registration_error,
    simulate_section,
)

PAD = 100
SHAPE = (900, 1000)
GAIN = 1.2

Mask = NDArray[np.bool_]
pytestmark = pytest.mark.filterwarnings(
    "default::napari_exo2micro.core.base.errors.DataWarning"
)


def simulated(dtype: str = "uint16") -> SimulatedPair:
    """Return a pair without anything missing."""
    return simulate_section(
        SHAPE,
        seed=13,
        angle_deg=-2,
        shift=(10, 6),
        gain=GAIN,
        dtype=dtype,
        microbes=60,
    )


@functools.cache
def scanned(dtype: str) -> tuple[SimulatedPair, Mask]:
    """Return a pair that no test changes, and where its section is."""
    pair = simulated(dtype)
    return pair, section_of(pair.post)


def no_background(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image whose glass is exactly 0, as some programs export it."""
    glass = 2.0 * float(np.percentile(image, 30))
    return np.asarray(np.clip(image - glass, 0, None), image.dtype)


def boxes(*areas: tuple[int, int, int, int]) -> Mask:
    """Return a mask of rectangles: first and last row, first and last column."""
    mask = np.zeros(SHAPE, bool)
    for y0, y1, x0, x1 in areas:
        mask[y0:y1, x0:x1] = True
    return mask


def without(image: NDArray[Any], mask: Mask) -> NDArray[Any]:
    """Return an image with areas that are exactly 0."""
    return np.where(mask, 0, image).astype(image.dtype)


def task_of(folder: Path, post: NDArray[Any], pre: NDArray[Any]) -> SampleDye:
    """Write a pair and return its task."""
    raw = folder / "raw" / "S1"
    raw.mkdir(parents=True, exist_ok=True)
    for side, image in (("Post", post), ("Pre", pre)):
        tifffile.imwrite(raw / f"S1_{side}Stain_DAPI.tif", image)
    task = SampleDye(
        "S1",
        "DAPI",
        raw_dir=folder / "raw",
        output_dir=folder / "out",
        checkpoint_format="tiff",
    )
    task.set_params(pad=PAD)
    return task


def seen_from_post(pair: SimulatedPair, mask: Mask) -> Mask:
    """Return where, in the post image, the pre image shows what is in a mask."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    points = pair.truth(np.column_stack([x.ravel(), y.ravel()]))
    columns, rows = np.rint(points).astype(int).T
    inside = (rows >= 0) & (rows < SHAPE[0]) & (columns >= 0) & (columns < SHAPE[1])
    seen = np.zeros(len(points), bool)
    seen[inside] = mask[rows[inside], columns[inside]]
    return seen.reshape(SHAPE)


def section_of(image: NDArray[Any]) -> Mask:
    """Return about where the section is."""
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 6)
    return np.asarray(smooth > 4 * np.percentile(smooth, 20))


def raw_part(task: SampleDye, stage: int, name: str) -> NDArray[Any]:
    """Return a result without its padding."""
    image = task._load_image(stage, name)
    assert image is not None
    return np.array(image[PAD:-PAD, PAD:-PAD])


def saturated(image: NDArray[Any], over: float = 12.0) -> NDArray[Any]:
    """Return an image with large overexposed minerals, out of focus by a pixel."""
    rng = np.random.default_rng(3)
    minerals = np.zeros(image.shape, np.float32)
    for radius in (60, 60, 90, 140):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 7))
        around = np.column_stack([np.cos(angles), np.sin(angles)])
        points = rng.uniform((250, 250), (700, 650)) + radius * around
        cv2.fillPoly(minerals, [np.rint(points).astype(np.int32)], 1)
    top = np.iinfo(image.dtype).max
    light = image + over * top * cv2.GaussianBlur(minerals, (0, 0), 1.0)
    noise = rng.normal(0, 0.05, image.shape) * np.sqrt(np.clip(light, 0, top) * top)
    return np.asarray(np.clip(light + noise * 0.1, 0, top), image.dtype)


class Lacking(NamedTuple):
    """A pair that lacks tiles: as it was, what is missing, and its run."""

    pair: SimulatedPair
    post: Mask
    pre: Mask  # seen from post
    task: SampleDye
    result: Any

    @property
    def holes(self) -> Mask:
        """Where either image has no data, seen from post."""
        return self.post | self.pre


@pytest.fixture(scope="module")
def lacking(tmp_path_factory: pytest.TempPathFactory) -> Lacking:
    pair = simulated()
    post, pre = (
        boxes((450, 600, 150, 300)),
        boxes((300, 450, 300, 450), (450, 600, 600, 750)),
    )
    folder = tmp_path_factory.mktemp("lacking")
    task = task_of(folder, without(pair.post, post), without(pair.pre, pre))
    with pytest.warns(DataWarning, match="has no data"):
        result = task.run()
    return Lacking(pair, post, seen_from_post(pair, pre), task, result)


def test_where_a_tile_is_missing_there_is_no_signal(lacking: Lacking) -> None:
    result, task = lacking.result, lacking.task
    assert result["status"] == "complete"
    difference = raw_part(task, 4, "difference")
    assert not difference[lacking.holes].any()
    # and nothing else was left out
    inner = difference[60:-60, 60:-60]
    assert np.count_nonzero(inner == 0) < 1.15 * (150 * 150 * 3)
    assert result["scale_estimate"] == pytest.approx(GAIN, rel=0.005)
    error = registration_error(lacking.pair.truth, task.transform(3), PAD)
    assert np.median(error) < 0.02


def test_header_and_warnings_name_the_share(lacking: Lacking) -> None:
    header = open_raster(lacking.task._tiff_path(4, "difference")).header["canvas"]
    assert header["post_missing"]["share"] == pytest.approx(0.025, abs=1e-4)
    assert header["pre_missing"]["share"] == pytest.approx(0.05, abs=1e-4)
    text = "; ".join(lacking.result["warnings"])
    assert "2.50% of the post-stain image" in text
    assert "5.00% of the pre-stain image" in text
    # and of the section
    y, x = np.nonzero(section_of(lacking.pair.post))
    for side, mask in (("post", lacking.post), ("pre", lacking.pre)):
        share = mask[y, x].mean()
        told = lacking.result.verdicts[4].numbers[f"{side}_lost"]
        assert told == pytest.approx(share, rel=0.15)
        assert f"about {told:.1%} of the section has no data in {side}-stain" in text


def test_the_preview_leaves_it_out(lacking: Lacking) -> None:
    source, transform = open_source(lacking.task), lacking.task.transform(3)
    found = preview_scale(source, transform, {})
    assert found.scales["moffat"].scale == pytest.approx(GAIN, rel=0.005)
    pad = warp.frame(SHAPE, PAD)
    levels = difference_pyramid(
        source.levels("post"),
        moved_levels(source.levels("pre"), transform),
        scale=GAIN,
        post_frame=pad,
        pre_quad=mapped_frame(transform, pad),
        missing=source.missing(transform),
    )
    assert len(levels) > 1
    for number, level in enumerate(levels):
        step, start = 1 << number, PAD >> number
        size = SHAPE[0] >> number, SHAPE[1] >> number
        image = np.asarray(level)[start : start + size[0], start : start + size[1]]
        holes = cv2.erode(lacking.holes.astype(np.uint8), np.ones((5, 5)))
        holes = holes[::step, ::step][: size[0], : size[1]]
        assert not image[holes > 0].any()
        assert np.count_nonzero(image == 0) < 1.6 * lacking.holes.sum() / step**2 + 2e4


def test_pictures_are_white_there(lacking: Lacking) -> None:
    figure = draw_figure(lacking.task, "difference_image")
    colours = np.asarray(figure.axes[0].get_images()[0].get_array())
    white = (colours == 255).all(axis=-1)
    share = white.sum() / white.size
    assert share > 0.9 * lacking.holes.mean()
    rows, columns = white.shape
    y, x = np.argwhere(cv2.erode(lacking.holes.astype(np.uint8), np.ones((9, 9)))).T
    assert white[y * rows // SHAPE[0], x * columns // SHAPE[1]].all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("background", ["glass", "zero"])
def test_dark_glass_pores_and_saturation_are_data(
    tmp_path: Path, dtype: str, background: str
) -> None:
    pair = simulated(dtype)
    images = [pair.post, pair.pre]
    if background == "zero":
        images = [no_background(image) for image in images]
    post, pre = images
    post[400:412, 400:412] = 0
    task = task_of(tmp_path, saturated(post), pre)
    result = task.run(to_stage=1)
    assert not result["warnings"]
    header = open_raster(task._tiff_path(1, "post")).header["canvas"]
    assert set(header) == {"post_frame", "pre_frame", "channels"}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("background", ["glass", "zero"])
@pytest.mark.parametrize(
    "areas",
    [
        [(300, 450, 300, 450)],
        [(301, 455, 303, 457), (455, 600, 457, 600)],
        [(100, 300, 600, 850)],
        [(0, 900, 0, 450)],
        [(0, 380, 0, 1000)],
        [(400, 432, 500, 532)],
    ],
    ids=["inside", "two", "at the rim", "left", "upper", "32 px"],
)
def test_what_is_missing_is_found(
    dtype: str, background: str, areas: list[tuple[int, int, int, int]]
) -> None:
    pair = simulated(dtype)
    whole = pair.post if background == "glass" else no_background(pair.post)
    assert RawPair.from_arrays(whole, pair.pre).post.missing is None
    mask = boxes(*areas)
    image = without(whole, mask)
    missing = RawPair.from_arrays(image, pair.pre).post.missing
    assert missing is not None
    found = np.asarray(missing.mask(image)) > 0
    section = section_of(pair.post)
    assert found[mask & section].all()
    # what is left out beside it is glass that is 0 there anyway
    assert not found[~mask & section & (image > 0)].any()
    assert found.mean() == pytest.approx(missing.share, abs=1e-4)
    again = Missing.from_dict(missing.to_dict())
    np.testing.assert_array_equal(again.blocks, missing.blocks)


Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
U = (X - 500) * np.cos(0.3) + (Y - 450) * np.sin(0.3)
V = (Y - 450) * np.cos(0.3) - (X - 500) * np.sin(0.3)
SLANTED = {
    "half": X + 0.7 * Y < 650,
    "steep": X - 0.2 * Y < 350,
    "level": Y + 0.3 * X > 750,
    "corner of the frame": X + 0.7 * Y < 500,
    "triangle inside": (X > 350) & (Y > 350) & (X + Y < 950),
    "turned tile": (np.abs(U) < 80) & (np.abs(V) < 60),
}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("background", ["glass", "zero"])
@pytest.mark.parametrize("shape", SLANTED)
def test_what_is_missing_along_a_slanted_line_is_found(
    dtype: str, background: str, shape: str
) -> None:
    (pair, section), mask = scanned(dtype), SLANTED[shape]
    whole = pair.post if background == "glass" else no_background(pair.post)
    missing = RawPair.from_arrays(without(whole, mask), pair.pre).post.missing
    assert missing is not None
    found = np.asarray(missing.mask(without(whole, mask))) > 0
    assert found[mask & section & (whole > 0)].all()
    assert not found[~mask & section & (whole > 0)].any()


AREAS = {
    "tile": boxes((301, 455, 303, 457)),
    "upper part": boxes((0, 380, 0, 1000)),
    "turned": ~((np.abs(U) < 420) & (np.abs(V) < 360)),
    **SLANTED,
}
TOPS = {"uint8": 255, "uint16": 65535, "float32": 1.0}


@pytest.mark.parametrize("dtype", TOPS)
@pytest.mark.parametrize("value", ["top", "largest", "between", "4095", "128"])
@pytest.mark.parametrize("shape", AREAS)
def test_areas_of_another_constant_are_missing(
    dtype: str, value: str, shape: str
) -> None:
    (pair, section), mask = scanned(dtype), AREAS[shape]
    numbers = {
        "top": TOPS[dtype],
        "largest": pair.post.max(),
        "between": pair.post.max() // 3,
        "4095": 4095 if dtype == "uint16" else 250,
        "128": 128,
    }
    image = np.where(mask, numbers[value], pair.post).astype(dtype)
    raw = RawPair.from_arrays(image, pair.pre)
    missing = raw.post.missing
    if missing is None and shape == "turned":  # beside glass of that brightness
        assert not (mask & section).any()
        return
    assert missing is not None
    assert f"of exactly {numbers[value]:g} " in raw.warnings[-1]
    read = raw.post.read()
    found = np.asarray(missing.mask(read)) > 0
    assert found[mask & section].all()
    assert not read[found].any()
    # a pixel beside it may have the same value
    assert np.count_nonzero(found & ~mask & section) < 40
    np.testing.assert_array_equal(read[~found], image[~found])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("over", [1.3, 4.0, 12.0, 40.0])
def test_overexposed_minerals_are_data(dtype: str, over: float) -> None:
    pair, _ = scanned(dtype)
    image = saturated(pair.post, over)
    assert (image == np.iinfo(dtype).max).mean() > 0.02
    assert RawPair.from_arrays(image, pair.pre).post.missing is None


@pytest.mark.parametrize("level", [30, 60, 90])
def test_constant_blocks_of_compression_are_data(level: int) -> None:
    pair, _ = scanned("uint8")
    packed = imagecodecs.jpeg_encode(pair.post, level=level)
    image = imagecodecs.jpeg_decode(packed)
    assert RawPair.from_arrays(image, pair.pre).post.missing is None
    dark = np.maximum(pair.post, np.percentile(pair.post, 50).astype(np.uint8))
    assert RawPair.from_arrays(dark, pair.pre).post.missing is None


def test_a_white_part_of_a_picture_in_colours_is_missing(tmp_path: Path) -> None:
    (pair, _), mask = scanned("uint8"), SLANTED["turned tile"]
    task = task_of(tmp_path, pair.post, pair.pre)
    for side, image in (("Post", pair.post), ("Pre", pair.pre)):
        picture = np.dstack([image // 3, image, 0 * image])
        if side == "Post":
            picture[mask] = 255
        path = tmp_path / "raw" / "S1" / f"S1_{side}Stain_DAPI.tif"
        tifffile.imwrite(path, picture, tile=(128, 128), compression="zlib")
    task.set_params(channel="green")
    with pytest.warns(DataWarning, match="of exactly 255"):
        task.run(to_stage=1)
    stored = open_raster(task._tiff_path(1, "post"))
    post = np.asarray(stored[PAD : PAD + 900, PAD : PAD + 1000])
    assert not post[mask].any()
    np.testing.assert_array_equal(post[~mask], pair.post[~mask])
    share = stored.header["canvas"]["post_missing"]["share"]
    assert share == pytest.approx(mask.mean(), rel=0.01)


def test_nan_and_black_tiles_of_a_file_are_missing(tmp_path: Path) -> None:
    pair = simulated("float32")
    post, pre = pair.post.copy(), pair.pre.copy()
    post[300:450, 300:450] = np.nan
    pre[320:448, 320:448] = 0
    task = task_of(tmp_path, post, pre)
    path = tmp_path / "raw" / "S1" / "S1_PreStain_DAPI.tif"
    tifffile.imwrite(path, pre, tile=(64, 64), compression="zlib")
    with pytest.warns(DataWarning, match="has no data"):
        task.run(to_stage=1)
    canvas = open_raster(task._tiff_path(1, "post")).header["canvas"]
    assert canvas["post_missing"]["share"] == pytest.approx(0.025, abs=1e-4)
    assert canvas["pre_missing"]["share"] == pytest.approx(128**2 / 9e5, abs=1e-4)


@pytest.mark.parametrize("colours", ["grey", "rgb"])
def test_what_is_transparent_is_missing(tmp_path: Path, colours: str) -> None:
    pair = simulated("uint8")
    alpha = np.full(SHAPE, 255, np.uint8)
    alpha[300:450, 300:450] = 0
    task = task_of(tmp_path, pair.post, pair.pre)
    layers = [pair.post] if colours == "grey" else [0 * pair.post, pair.post, 0 * alpha]
    layers[-2 if colours == "rgb" else 0][300:450, 300:450] = 200  # unseen, but stored
    tifffile.imwrite(
        tmp_path / "raw" / "S1" / "S1_PostStain_DAPI.tif",
        np.dstack([*layers, alpha]),
        photometric="minisblack" if colours == "grey" else "rgb",
        planarconfig="contig",
        extrasamples=["unassalpha"],
    )
    if colours == "rgb":
        path = tmp_path / "raw" / "S1" / "S1_PreStain_DAPI.tif"
        tifffile.imwrite(path, np.dstack([0 * pair.pre, pair.pre, 0 * pair.pre]))
    with pytest.warns(DataWarning, match="has no data"):
        task.run(to_stage=1)
    stored = open_raster(task._tiff_path(1, "post"))
    share = stored.header["canvas"]["post_missing"]["share"]
    assert share == pytest.approx(0.025, abs=1e-4)
    post = np.asarray(stored[PAD : PAD + 900, PAD : PAD + 1000])
    assert not post[300:450, 300:450].any()
    seen = alpha > 0
    np.testing.assert_array_equal(post[seen], pair.post[seen])


def test_tiles_that_were_never_written_are_missing_where_white_is_zero(
    tmp_path: Path,
) -> None:
    pair = simulated("uint8")
    lost = boxes((256, 512, 256, 512))
    task = task_of(tmp_path, pair.post, pair.pre)
    path = tmp_path / "raw" / "S1" / "S1_PostStain_DAPI.tif"
    stored = np.where(lost, 0, 255 - pair.post).astype(np.uint8)
    tiles = [
        None if lost[y, x] else np.pad(part, [(0, 256 - n) for n in part.shape])
        for y in range(0, 900, 256)
        for x in range(0, 1000, 256)
        for part in [stored[y : y + 256, x : x + 256]]
    ]
    tifffile.imwrite(
        path,
        iter(tiles),
        shape=SHAPE,
        dtype=np.uint8,
        tile=(256, 256),
        photometric="miniswhite",
    )
    with tifffile.TiffFile(path) as tif:
        assert 0 in tif.pages.first.databytecounts
    with pytest.warns(DataWarning, match="has no data"):
        task.run(to_stage=1)
    stored_post = open_raster(task._tiff_path(1, "post"))
    post = np.asarray(stored_post[PAD : PAD + 900, PAD : PAD + 1000])
    assert not post[lost].any()
    np.testing.assert_array_equal(post[~lost], pair.post[~lost])
    share = stored_post.header["canvas"]["post_missing"]["share"]
    assert share == pytest.approx(256**2 / 9e5, abs=1e-3)


@pytest.mark.parametrize(
    "damage",
    [
        {"blocks": "AAAA"},
        {"grid": [10_000_000, 10_000_000]},
        {"grid": [3]},
        {"share": "x"},
    ],
)
def test_a_damaged_note_is_told(damage: dict[str, Any]) -> None:
    blocks = np.zeros((12, 9), bool)
    blocks[2:5, 3:7] = True
    stored = Missing(blocks, (4, 8), 0.1).to_dict()
    np.testing.assert_array_equal(Missing.from_dict(stored).blocks, blocks)
    with pytest.raises(CheckpointError, match="where data are missing cannot be read"):
        Missing.from_dict({**stored, **damage})
