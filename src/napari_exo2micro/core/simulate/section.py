"""Simulated pairs: as arrays, as raw files, and larger than memory.

A pair is two photographs of one scene. Post-stain shows the scene as it is,
times the gain, plus microbes; pre-stain shows the scene moved by the true
transform. Both have noise of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_exo2micro.core.base.errors import OutputError, ParameterError
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.simulate.camera import (
    Camera,
    SectionSettings,
    bands,
    plan_pair,
    rows_and_columns,
)
from napari_exo2micro.core.simulate.truth import (
    Truth,
)

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


def simulate_section(
    shape: tuple[int, int] = (1200, 1400),
    *,
    seed: int = 0,
    angle_deg: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    perspective: float = 0.0,
    mirrored: bool = False,
    pre_shape: tuple[int, int] | None = None,
    gain: float = 1.3,
    offset: float = 0.0,
    noise: float = 1.0,
    microbes: int | None = None,
    dtype: str = "uint8",
    channels: Literal["rgb"] | None = None,
    signal_channel: int = 1,
    piece_missing: Literal["pre", "post"] | None = None,
    field_of_view: tuple[float, float] = (0.0, 0.0),
    frame_filling: bool = False,
    uneven_light: float = 0.0,
    defocus: float = 0.0,
    defocus_image: Literal["pre", "post"] = "pre",
    glow: float = 0.0,
    dim: bool = False,
    dense: bool = False,
    deformation_px: float = 0.0,
    monitor: Monitor | None = None,
) -> SimulatedPair:
    """Simulate a section before and after staining, with known truth.

    The transform maps post-stain to pre-stain: a feature at (x, y) of the
    post-stain image is at ``truth([[x, y]])`` of the pre-stain image. Turn,
    magnification and mirroring are about the image centres.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the post-stain image, px.
    seed : int
        The same settings with the same seed give the same pair. The section
        depends on seed, shape, `dim` and `frame_filling` only.
    angle_deg : float
        Turn from post to pre, degrees, from the x axis towards the y axis.
    scale : float
        Magnification from post to pre.
    shift : tuple of float
        (x, y) from post to pre after the turn, px.
    perspective : float
        Relative change of magnification across the longer side of the image.
    mirrored : bool
        Whether the section was turned over before it was photographed.
    pre_shape : tuple of int, optional
        Rows and columns of the pre-stain image; those of `shape` by default.
    gain : float
        Brightness of post relative to pre: the true scale of a difference.
    offset : float
        Added to post, grey levels of an 8-bit image.
    noise : float
        Standard deviation of the read noise, grey levels of an 8-bit image;
        with shot noise the variance is ``noise**2 * (1 + signal / 40)``.
    microbes : int, optional
        How many in post; one in 20000 px by default, ten times as many if
        `dense`.
    dtype : {'uint8', 'uint16', 'float32'}
        Type of the images. A grey level of an 8-bit image is 200 grey levels
        of a 16-bit one.
    channels : {'rgb'}, optional
        Make colour images, (rows, columns, 3), with the signal in one channel;
        grey ones by default.
    signal_channel : {0, 1, 2}
        That channel.
    piece_missing : {'pre', 'post'}, optional
        Which image was taken while a piece of the section was broken off.
    field_of_view : tuple of float
        (x, y) px by which pre is shifted in addition, so that a part of the
        section leaves the frame.
    frame_filling : bool
        Whether the section goes on beyond the frame on all sides.
    uneven_light : float
        Largest relative deviation of the light from even, another pattern in
        each image. `gain` is then the median over the section. Microbes keep
        their true brightness.
    defocus : float
        Standard deviation of the blur of one image, px.
    defocus_image : {'pre', 'post'}
        That image.
    glow : float
        Peak of a broad glow that is added to post, grey levels of an 8-bit
        image.
    dim : bool
        Whether the section has a few grey levels only.
    dense : bool
        Whether microbes are ten times as many.
    deformation_px : float
        Longest displacement of a smooth deformation between the images, px.
    monitor : Monitor, optional
        Told the progress, and asked whether to stop.

    Returns
    -------
    SimulatedPair
        Both images and the truth.

    Raises
    ------
    ParameterError
        If a value is of a wrong type or out of range.

    Examples
    --------
    >>> pair = simulate_section((256, 320), seed=1, angle_deg=5.0, shift=(8, -3))
    >>> pair.post.shape, pair.post.dtype
    ((256, 320), dtype('uint8'))
    >>> pair.truth([[159.5, 127.5]]).tolist()
    [[167.5, 124.5]]
    """
    check_channels(channels, signal_channel)
    settings = SectionSettings(
        shape=rows_and_columns(shape),
        seed=seed,
        angle_deg=angle_deg,
        scale=scale,
        shift=shift,
        perspective=perspective,
        mirrored=mirrored,
        pre_shape=None if pre_shape is None else rows_and_columns(pre_shape),
        gain=gain,
        offset=offset,
        noise=noise,
        microbes=microbes,
        dtype=dtype,
        piece_missing=piece_missing,
        field_of_view=field_of_view,
        frame_filling=frame_filling,
        uneven_light=uneven_light,
        defocus=defocus,
        defocus_image=defocus_image,
        glow=glow,
        dim=dim,
        dense=dense,
        deformation_px=deformation_px,
    )
    monitor = monitor or Monitor()
    post_camera, pre_camera, truth = plan_pair(settings)
    monitor.report(0.4, "simulated section")
    images = []
    for camera, start in ((post_camera, 0.4), (pre_camera, 0.7)):
        image = np.zeros(camera.shape, dtype=camera.dtype)
        for y0, band in bands(camera, monitor.part(start, start + 0.3)):
            image[y0 : y0 + len(band)] = band
        images.append(coloured(image, channels, signal_channel))
    return SimulatedPair(images[0], images[1], truth)
