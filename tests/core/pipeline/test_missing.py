"""Where a scan has no data there is no difference, and nothing is estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base import DataWarning
from napari_exo2micro.core.images import open_raster
from napari_exo2micro.core.pipeline import SampleDye
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


def raw_part(task: SampleDye, stage: int, name: str) -> NDArray[Any]:
    """Return a result without its padding."""
    image = task._load_image(stage, name)
    assert image is not None
    return np.array(image[PAD:-PAD, PAD:-PAD])


def test_a_missing_tile_of_pre_is_no_signal(tmp_path: Path) -> None:
    pair = simulated()
    holes = {
        "post": boxes((450, 600, 150, 300)),
        "pre": boxes((300, 450, 300, 450), (450, 600, 600, 750)),
    }
    post, pre = without(pair.post, holes["post"]), without(pair.pre, holes["pre"])
    task = task_of(tmp_path, post, pre)
    with pytest.warns(DataWarning, match="has no data"):
        result = task.run()
    assert result["status"] == "complete"
    difference = raw_part(task, 4, "difference")
    assert not difference[holes["post"] | seen_from_post(pair, holes["pre"])].any()
    # and nothing else was left out
    inner = difference[60:-60, 60:-60]
    assert np.count_nonzero(inner == 0) < 1.15 * (150 * 150 * 3)
    assert result["scale_estimate"] == pytest.approx(GAIN, rel=0.005)
    assert np.median(registration_error(pair.truth, task.transform(3), PAD)) < 0.02
    header = open_raster(task._tiff_path(4, "difference")).header["canvas"]
    assert header["post_missing"]["share"] == pytest.approx(0.025, abs=1e-4)
    assert header["pre_missing"]["share"] == pytest.approx(0.05, abs=1e-4)
    text = "; ".join(result["warnings"])
    assert "2.50% of the post-stain image" in text
    assert "5.00% of the pre-stain image" in text


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
    post[500:560, 500:560] = np.iinfo(dtype).max
    task = task_of(tmp_path, post, pre)
    result = task.run(to_stage=1)
    assert not result["warnings"]
    header = open_raster(task._tiff_path(1, "post")).header["canvas"]
    assert set(header) == {"post_frame", "pre_frame", "channels"}
