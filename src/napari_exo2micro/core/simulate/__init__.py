"""Sections with known truth: for tests, benchmarks, the demo and the viewer.

A pair is two photographs of one scene. Post-stain shows the scene as it is,
times the gain, plus microbes; pre-stain shows the scene moved by the true
transform. Both have noise of their own.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.simulate.camera import bands
from napari_exo2micro.core.simulate.files import (
    SimulatedPair,
    check_channels,
    coloured,
    write_large_pair,
    write_pair,
)
from napari_exo2micro.core.simulate.plan import (
    SectionSettings,
    plan_pair,
    rows_and_columns,
)
from napari_exo2micro.core.simulate.truth import (
    Deformation,
    Truth,
    read_truth,
    registration_error,
)

__all__ = [
    "Deformation",
    "SimulatedPair",
    "Truth",
    "read_truth",
    "registration_error",
    "simulate_section",
    "write_large_pair",
    "write_pair",
]


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
