"""OME-Zarr folders as programs write them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

VERSIONS = ("0.4", "0.5")


def write_ome_zarr(
    path: Path,
    image: Any,
    *,
    version: str = "0.5",
    channels: Sequence[str] = (),
    size: tuple[float, float] | None = (0.325, 0.325),
    unit: str | None = "micrometer",
    levels: int = 1,
    chunks: tuple[int, int] = (32, 40),
    **options: Any,
) -> Path:
    """Write an image, shape (..., rows, columns), and smaller levels of it."""
    image = np.asarray(image)
    axes = "tczyx"[-image.ndim :] if image.ndim != 3 or not channels else "cyx"
    kinds = {"t": "time", "c": "channel"}
    told = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in told[-2:]:
        if unit is not None:
            axis["unit"] = unit
    v3 = version == "0.5"
    group = zarr.open_group(path, mode="w", zarr_format=3 if v3 else 2)
    datasets = []
    for level in range(levels):
        step = 1 << level
        small = image[..., ::step, ::step]
        more = {} if v3 else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        array = group.create_array(
            str(level),
            shape=small.shape,
            dtype=small.dtype,
            chunks=(1,) * (image.ndim - 2) + chunks,
            **{**more, **options},
        )
        array[...] = small
        x, y = size or (1.0, 1.0)
        scale = [1.0] * (image.ndim - 2) + [y * step, x * step]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": scale}],
            }
        )
    attributes: dict[str, Any] = {
        "multiscales": [{"version": version, "axes": told, "datasets": datasets}]
    }
    if size is None:
        for dataset in datasets:
            del dataset["coordinateTransformations"]
    if channels:
        attributes["omero"] = {"channels": [{"label": name} for name in channels]}
    group.attrs.update(
        {"ome": {"version": version, **attributes}} if v3 else attributes
    )
    return path
