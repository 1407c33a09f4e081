"""Windows over large images: transforms, reading, writing, pyramids and warping."""

from __future__ import annotations

from napari_exo2micro.core.images.io import open_raster
from napari_exo2micro.core.images.lazy import (
    DIFFERENCE_STOPS,
    Composite,
    LazyImage,
    Look,
    Side,
    Split,
    brightness_range,
    moved_image,
    moved_levels,
    nearest_window,
    outline_of,
    pyramid,
    scaled_pyramid,
    symmetric_range,
)
from napari_exo2micro.core.images.raster import Raster, reduce_image, warp_window
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import mapped_frame, pad_images

__all__ = [
    "DIFFERENCE_STOPS",
    "Composite",
    "LazyImage",
    "Look",
    "Raster",
    "Side",
    "Split",
    "Transform",
    "brightness_range",
    "mapped_frame",
    "moved_image",
    "moved_levels",
    "nearest_window",
    "open_raster",
    "outline_of",
    "pad_images",
    "pyramid",
    "reduce_image",
    "scaled_pyramid",
    "symmetric_range",
    "warp_window",
]
