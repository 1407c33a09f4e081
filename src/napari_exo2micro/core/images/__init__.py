"""Windows over large images: transforms, reading, writing, pyramids and warping."""

from __future__ import annotations

from napari_exo2micro.core.images.composite import (
    DIFFERENCE_STOPS,
    Composite,
    Look,
    Side,
    Split,
    brightness_range,
    symmetric_range,
)
from napari_exo2micro.core.images.io import open_raster
from napari_exo2micro.core.images.lazy import (
    LazyImage,
    cropped_pyramid,
    moved_image,
    moved_levels,
    outline_of,
    pyramid,
    scaled_pyramid,
)
from napari_exo2micro.core.images.raster import Raster, reduce_image
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.images.warp import (
    mapped_frame,
    nearest_window,
    pad_images,
    warp_window,
)

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
    "cropped_pyramid",
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
