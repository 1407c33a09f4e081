"""Windows over large images: transforms, reading, writing, pyramids and warping."""

from napari_exo2micro.core.images.composite import (
    DIFFERENCE_STOPS as DIFFERENCE_STOPS,
    Composite as Composite,
    Look as Look,
    Side as Side,
    Split as Split,
    brightness_limits as brightness_limits,
    brightness_range as brightness_range,
    symmetric_range as symmetric_range,
)
from napari_exo2micro.core.images.displacement import Displacement as Displacement
from napari_exo2micro.core.images.io import open_raster as open_raster
from napari_exo2micro.core.images.landmarks import Landmarks as Landmarks
from napari_exo2micro.core.images.lazy import (
    LazyImage as LazyImage,
    cropped_pyramid as cropped_pyramid,
    moved_image as moved_image,
    moved_levels as moved_levels,
    outline_of as outline_of,
    pyramid as pyramid,
    scaled_pyramid as scaled_pyramid,
)
from napari_exo2micro.core.images.missing import Missing as Missing
from napari_exo2micro.core.images.pixel_size import (
    PixelSize as PixelSize,
    pair_pixel_sizes as pair_pixel_sizes,
    read_pixel_size as read_pixel_size,
)
from napari_exo2micro.core.images.raster import (
    Frame as Frame,
    ImageLike as ImageLike,
    Raster as Raster,
    reduce_image as reduce_image,
)
from napari_exo2micro.core.images.regions import (
    Regions as Regions,
    ellipse_ring as ellipse_ring,
    save_labels as save_labels,
    save_polygons as save_polygons,
)
from napari_exo2micro.core.images.transform import Transform as Transform
from napari_exo2micro.core.images.warp import (
    mapped_frame as mapped_frame,
    nearest_window as nearest_window,
    pad_images as pad_images,
    warp_window as warp_window,
)
