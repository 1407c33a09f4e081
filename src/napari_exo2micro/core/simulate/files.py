"""Simulated pairs as files: the raw layout, with the truth beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.errors import OutputError, ParameterError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.simulate.camera import Camera, bands
from napari_exo2micro.core.simulate.plan import (
    SectionSettings,
    plan_pair,
    rows_and_columns,
)
from napari_exo2micro.core.simulate.truth import Truth

__all__ = [
    "SimulatedPair",
    "check_channels",
    "coloured",
    "write_large_pair",
    "write_pair",
]

_STRIP_ROWS = 64


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPair:
    """Two photographs of one section, and what is known of them.

    Attributes
    ----------
    post, pre : ndarray, shape (rows, columns) or (rows, columns, 3)
        Post-stain (fixed) and pre-stain (moving) image.
    truth : Truth
        Geometry, gain, offset and microbes.
    """

    post: NDArray[Any]
    pre: NDArray[Any]
    truth: Truth


def write_pair(
    pair: SimulatedPair,
    raw_dir: str | Path,
    sample: str,
    dye: str,
    *,
    channels: Literal["rgb"] | None = None,
    signal_channel: int = 1,
) -> tuple[Path, Path, Path]:
    """Write a pair in the raw layout, with its truth beside it.

    Parameters
    ----------
    pair : SimulatedPair
        The images and the truth.
    raw_dir : str or Path
        Folder of the samples; made when missing.
    sample, dye : str
        Names; a dye has no underscore.
    channels : {'rgb'}, optional
        Write grey images as colour ones with the signal in one channel; as
        they are by default.
    signal_channel : {0, 1, 2}
        That channel.

    Returns
    -------
    tuple of Path
        The post-stain image, the pre-stain image and the truth file.

    Raises
    ------
    OutputError
        If a file cannot be written.
    ParameterError
        If a choice is unknown.
    """
    check_channels(channels, signal_channel)
    post_path, pre_path, truth_path = _paths(raw_dir, sample, dye)
    try:
        for path, image in ((post_path, pair.post), (pre_path, pair.pre)):
            stored = image
            if image.ndim == 2:
                stored = coloured(image, channels, signal_channel)
            photometric = "rgb" if stored.ndim == 3 else "minisblack"
            tifffile.imwrite(path, stored, photometric=photometric, metadata=None)
        truth_path.write_text(json.dumps(pair.truth.to_dict()) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(
            f"the simulated pair could not be written to {post_path.parent} "
            f"({error}); choose a folder with room that can be written to"
        ) from error
    return post_path, pre_path, truth_path


def write_large_pair(
    raw_dir: str | Path,
    sample: str,
    dye: str,
    shape: tuple[int, int] = (25_000, 30_000),
    *,
    channels: Literal["rgb"] | None = "rgb",
    signal_channel: int = 1,
    monitor: Monitor | None = None,
    **settings: Any,
) -> tuple[Path, Path, Path]:
    """Simulate a pair of any size straight into the raw layout.

    The files hold what `simulate_section` returns for the same settings, but
    no more than a band of rows is ever in memory.

    Parameters
    ----------
    raw_dir : str or Path
        Folder of the samples; made when missing.
    sample, dye : str
        Names; a dye has no underscore.
    shape : tuple of int
        Rows and columns, px.
    channels : {'rgb'}, optional
        Colour images with the signal in one channel, or grey ones (None).
    signal_channel : {0, 1, 2}
        That channel.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.
    **settings
        Those of `simulate_section`.

    Returns
    -------
    tuple of Path
        The post-stain image, the pre-stain image and the truth file.

    Raises
    ------
    OutputError
        If a file cannot be written.
    ParameterError
        If a setting is unknown, of a wrong type or out of range.
    """
    check_channels(channels, signal_channel)
    known = {field.name for field in fields(SectionSettings)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ParameterError(
            f"unknown setting {', '.join(unknown)}; choose from "
            f"{', '.join(sorted(known))}"
        )
    monitor = monitor or Monitor()
    checked = SectionSettings(shape=rows_and_columns(shape), **settings)
    post_path, pre_path, truth_path = _paths(raw_dir, sample, dye)
    post_camera, pre_camera, truth = plan_pair(checked)
    monitor.report(0.1, "simulated section")
    try:
        for camera, path, start in (
            (post_camera, post_path, 0.1),
            (pre_camera, pre_path, 0.55),
        ):
            _write_image(
                path,
                camera,
                channels,
                signal_channel,
                monitor.part(start, start + 0.45),
            )
        truth_path.write_text(json.dumps(truth.to_dict()) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(
            f"the simulated pair could not be written to {post_path.parent} "
            f"({error}); choose a folder with room that can be written to"
        ) from error
    return post_path, pre_path, truth_path


def _write_image(
    path: Path,
    camera: Camera,
    channels: str | None,
    signal_channel: int,
    monitor: Monitor,
) -> None:
    def strips() -> Iterator[NDArray[Any]]:
        for _, band in bands(camera, monitor):
            stored = coloured(band, channels, signal_channel)
            for y in range(0, len(stored), _STRIP_ROWS):
                yield stored[y : y + _STRIP_ROWS]

    try:
        tifffile.imwrite(
            path,
            strips(),
            shape=camera.shape if channels is None else (*camera.shape, 3),
            dtype=camera.dtype,
            photometric="minisblack" if channels is None else "rgb",
            rowsperstrip=_STRIP_ROWS,
            metadata=None,
        )
    except BaseException:
        # A file cut short would be taken for a raw image.
        path.unlink(missing_ok=True)
        raise


def _paths(raw_dir: str | Path, sample: str, dye: str) -> tuple[Path, Path, Path]:
    """Return the paths of post, pre and truth, in a folder that exists."""
    for kind, name in (("sample", sample), ("dye", dye)):
        bad = not name or "/" in name or "\\" in name or name in (".", "..")
        if bad or (kind == "dye" and "_" in name):
            raise ParameterError(
                f"a {kind} name must be a plain name"
                f"{' without underscores' if kind == 'dye' else ''}, found {name!r}; "
                "choose another"
            )
    folder = Path(raw_dir) / sample
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} could not be made ({error}); choose another"
        ) from error
    return (
        folder / f"{sample}_PostStain_{dye}.tif",
        folder / f"{sample}_PreStain_{dye}.tif",
        folder / f"{sample}_{dye}_truth.json",
    )


def check_channels(channels: str | None, signal_channel: int) -> None:
    """Refuse unknown channels."""
    if channels not in (None, "rgb"):
        raise ParameterError(
            f"channels must be None or 'rgb', found {channels!r}; choose one"
        )
    if signal_channel not in (0, 1, 2):
        raise ParameterError(
            f"signal_channel must be 0, 1 or 2, found {signal_channel!r}; choose one"
        )


def coloured(
    image: NDArray[Any], channels: str | None, signal_channel: int
) -> NDArray[Any]:
    """Return a grey image as it is, or as one channel of an RGB image."""
    if channels is None:
        return image
    colour = np.zeros((*image.shape, 3), dtype=image.dtype)
    colour[..., signal_channel] = image
    return colour
