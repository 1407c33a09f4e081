"""One pair at reduced size: what a preview looks at, and what was found in it.

Everything that a parameter does not change is made once: a preview then costs only
what the parameter changes.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment import InteriorSettings, boundary, views
from napari_exo2micro.core.alignment.interior import (
    FeatureMatches,
    InteriorPair,
    align_reduced_tiles,
    find_features,
    match_interiors,
    prepare_pair,
)
from napari_exo2micro.core.base import (
    CheckpointError,
    Monitor,
    RegistrationError,
    files,
)
from napari_exo2micro.core.images import (
    Frame,
    ImageLike,
    Landmarks,
    LazyImage,
    Missing,
    PixelSize,
    moved_levels,
    pair_pixel_sizes,
    pyramid,
    warp,
)
from napari_exo2micro.core.images.missing import blanked, either
from napari_exo2micro.core.images.transform import Transform
from napari_exo2micro.core.photometry import PairStatistics, accumulate_statistics
from napari_exo2micro.core.photometry.methods import estimate_scale
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.raw import RawPair, find_pair
from napari_exo2micro.core.raw.formats import open_raw
from napari_exo2micro.core.raw.table import image_choices, told_params, with_told

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline.sample_dye import SampleDye

#: Longer side of the images that features are sought in, about, px.
FEATURE_SIDE = 700
#: Features of each image; the stage takes 4000.
MOST_FEATURES = 1500
#: Frames up to this size are counted as a whole.
WHOLE_PIXELS = 3_000_000
#: Windows of larger ones, evenly laid over the section: they tell the same as all
#: pixels to a few parts in ten thousand. Reduced images do not: they have less noise,
#: so that their ratios spread less.
_WINDOWS, _FEWEST = 180, 12
#: Side of a window, px: whole blocks of the statistics.
WINDOW = 128
#: Larger canvases are not made in memory for a preview.
_LARGEST_CANVAS = 64_000_000
#: So many results of a kind are kept.
_KEPT = 4
_THREADS = min(4, os.cpu_count() or 1)

#: y0, y1, x0, x1 on the canvas, px.
Window = tuple[int, int, int, int]

T = TypeVar("T")


class PreviewSource:
    """A padded pair to preview stages on.

    It may be used by several threads at once. What it has made stays in memory,
    about 60 MB for a pair of any size.

    Parameters
    ----------
    post, pre : ImageLike, shape (rows, columns)
        Padded canvases of the post-stain (fixed) and pre-stain (moving) image. Of a
        `Raster` only the small levels are read, and windows of a few Mpx in all for
        the scale.
    post_frame, pre_frame : tuple of int, optional
        (x0, y0, width, height) of the real data, px; by default the bounding box of
        what is not zero.
    pixel_size : PixelSize, optional
        Width and height of a pixel of post, um.
    post_missing, pre_missing : Missing, optional
        Where they have no data inside of that.
    landmarks : Landmarks, optional
        Points seen in both images, px of the canvases.
    not_registered, not_counted : ImageLike, optional
        What of post is left out of the registration, and of scale and statistics, 1
        and 0 on the canvas.
    identity : hashable
        Tells whether two sources hold the same images; see `open_source`.
    """

    def __init__(
        self,
        post: ImageLike,
        pre: ImageLike,
        *,
        post_frame: Frame | None = None,
        pre_frame: Frame | None = None,
        pixel_size: PixelSize | None = None,
        post_missing: Missing | None = None,
        pre_missing: Missing | None = None,
        landmarks: Landmarks | None = None,
        not_registered: ImageLike | None = None,
        not_counted: ImageLike | None = None,
        identity: Hashable = None,
    ) -> None:
        self.post_image = post
        self.pre_image = pre
        self.pixel_size = pixel_size
        self.identity = identity
        self._frames = (post_frame, pre_frame)
        self.post_missing, self.pre_missing = post_missing, pre_missing
        self.landmarks = landmarks
        self._not_registered, self.not_counted = not_registered, not_counted
        self._kept: dict[str, list[tuple[Any, Any]]] = {}
        self._locks: dict[str, threading.RLock] = {}

    def keep(self, name: str, key: Any, make: Callable[[], T]) -> T:
        """Return what was made under a name and a key, or make it.

        The last four of a name are kept. Two threads that ask for the same wait for one
        another.
        """
        with self._locks.setdefault(name, threading.RLock()):  # setdefault is atomic
            kept = self._kept.setdefault(name, [])
            for index, (known, value) in enumerate(kept):
                if known == key:
                    kept.append(kept.pop(index))
                    result: T = value
                    return result
            made = make()
            kept.append((key, made))
            del kept[:-_KEPT]
            return made

    @cached_property
    def post_frame(self) -> Frame:
        """Where post has data: (x0, y0, width, height), px."""
        return self._frames[0] or views.find_frame(self.post_image)

    @cached_property
    def pre_frame(self) -> Frame:
        """Where pre has data: (x0, y0, width, height), px."""
        return self._frames[1] or views.find_frame(self.pre_image)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the canvas."""
        return self.post_image.shape[0], self.post_image.shape[1]

    @cached_property
    def post_known(self) -> ImageLike:
        """The post image, NaN where it has no data or is left out."""
        missing = self.post_missing
        lost = None if missing is None else missing.mask(self.post_image)
        return blanked(self.post_image, either(lost, self._not_registered))

    @cached_property
    def pre_known(self) -> ImageLike:
        """The pre image, NaN where it has no data."""
        missing = self.pre_missing
        return self.pre_image if missing is None else missing.blanked(self.pre_image)

    def missing(self, transform: Transform) -> list[list[LazyImage]]:
        """Return where post and the pre image that `transform` moves have no data.

        Masks of full resolution and of the smaller levels, 1 and 0, for each of the
        two that lacks any.
        """
        masks = []
        if self.post_missing is not None:
            masks.append(self.post_missing.levels(self.post_image))
        if self.pre_missing is not None:
            levels = self.pre_missing.levels(self.pre_image)
            masks.append(moved_levels(levels, transform, labels=True))
        return masks

    def sections(self, monitor: Monitor) -> boundary.SectionPair:
        """Return both sections: what stage 2 looks at.

        Raises
        ------
        RegistrationError
            If an image is empty, constant or too small.
        """
        images = []
        sides = (
            ("post", self.post_known, self.post_frame),
            ("pre", self.pre_known, self.pre_frame),
        )
        for number, (side, image, place) in enumerate(sides):
            monitor.report(0.5 * number, "reading the images at reduced size")
            make = partial(views.open_view, image, place, boundary.BASE_SIDE, side)
            view = self.keep(f"view {side}", None, make)
            monitor.report(0.5 * number + 0.2, "finding the sections")
            find = partial(boundary.SectionImage.of, view, monitor)
            images.append(self.keep(f"section {side}", None, find))
        monitor.check()
        return self.keep("sections", None, lambda: boundary.SectionPair(*images))

    def interior(self) -> InteriorPair:
        """Return both images as features are sought in them."""
        make = partial(
            prepare_pair,
            self.post_known,
            self.pre_known,
            self.post_frame,
            self.pre_frame,
            work_side=FEATURE_SIDE,
            max_features=MOST_FEATURES,
        )
        return self.keep("interior", None, make)

    def levels(self, side: Literal["post", "pre"]) -> list[LazyImage]:
        """Return a canvas and its smaller levels, to be looked at at any zoom."""
        image = self.post_image if side == "post" else self.pre_image
        return self.keep(f"levels {side}", None, lambda: pyramid(image))

    def matching(
        self, initial: Transform, settings: InteriorSettings, monitor: Monitor
    ) -> FeatureMatches:
        """Return the matched features of the interiors, before limits are asked."""
        pair, blur, unasked = self.interior(), settings.interior_blur_base, Monitor()
        monitor.report(0.2, "finding features after staining")
        post = self.keep(
            "features",
            blur,
            lambda: find_features(
                pair, pair.post.small, settings, unasked, pair.post.inside
            ),
        )
        monitor.report(0.5, "matching features")
        return self.keep(
            "matching",
            (initial, blur),
            lambda: match_interiors(pair, initial, post, settings, unasked),
        )

    def tiles(self, initial: Transform) -> tuple[Transform, str]:
        """Return what tiles of the reduced images make of a start, and any problem."""
        pair = self.interior()
        return self.keep("tiles", initial, lambda: align_reduced_tiles(pair, initial))

    @property
    def is_small(self) -> bool:
        """Whether statistics count every pixel, not a sample."""
        return self.post_frame[2] * self.post_frame[3] <= WHOLE_PIXELS

    def statistics(
        self, transform: Transform, interpolation: str, monitor: Monitor
    ) -> PairStatistics | None:
        """Return the statistics of the pair under a transform, post to pre.

        Of the whole frame when the pair is small, otherwise of windows put side by
        side: its block means do not tell where they lie. None when the images hardly
        overlap.
        """
        key = (transform, interpolation)
        make = partial(_count_sample, self, transform, interpolation, monitor)
        return self.keep("statistics", key, make)

    def moffat(
        self, statistics: PairStatistics, *, offset_correction: bool
    ) -> ScaleEstimate:
        """Return the Moffat scale of statistics, estimated once."""
        return self.keep(
            "moffat",
            (statistics, offset_correction),
            lambda: estimate_scale(statistics, offset_correction=offset_correction),
        )


def open_source(task: SampleDye, known: PreviewSource | None = None) -> PreviewSource:
    """Return the pair of a sample and dye, to preview stages on.

    Parameters
    ----------
    task : SampleDye
        Whose pair it is. The checkpoints of stage 1 are used where they are valid;
        otherwise small raw images are read and padded in memory.
    known : PreviewSource, optional
        Returned when it holds the same images.

    Raises
    ------
    CheckpointError
        When stage 1 has not run and the raw images are too large.
    RawDataError
        When the raw images cannot be read.
    ParameterError
        When landmarks or regions cannot be read, or are not those of the images.
    """
    post, pre = task.checkpoint(1, "post"), task.checkpoint(1, "pre")
    if post is None or pre is None:
        return _open_raw(task, known)
    frames = post.frames["post"], pre.frames["pre"]
    given, stands_for = _given(task, post.image.shape, frames)
    identity = (post.image.path, post.identity, pre.identity, stands_for)
    if known is not None and known.identity == identity:
        return known
    return PreviewSource(
        post.image,
        pre.image,
        post_frame=frames[0],
        pre_frame=frames[1],
        pixel_size=post.provenance.pixel_size if post.provenance else None,
        post_missing=post.missing["post"],
        pre_missing=pre.missing["pre"],
        identity=identity,
        **given,
    )


def _given(
    task: SampleDye, shape: tuple[int, ...], frames: Sequence[Frame | None]
) -> tuple[dict[str, Any], Hashable]:
    """Return what a person gave beside the images, and what stands for it."""
    store, given = task.store, dict[str, Any]()
    marks, regions = store.landmarks, store.regions
    if marks is not None:
        given["landmarks"] = marks.on_canvas(*frames)
    if regions is not None and frames[0] is not None:
        regions.check(frames[0])
        canvas = shape[0], shape[1]
        given["not_registered"] = regions.not_registered(canvas, frames[0])
        given["not_counted"] = regions.not_counted(canvas, frames[0])
    points = None if marks is None else (marks.post.tobytes(), marks.pre.tobytes())
    return given, (points, regions and regions.digest)


def _open_raw(task: SampleDye, known: PreviewSource | None) -> PreviewSource:
    run_first = (
        f"the preview needs the padded images of {task.sample} / {task.dye}; run "
        "stage 1 (padding) first"
    )
    reader = task.store.source.reader
    if reader is None:
        raise CheckpointError(run_first)
    paths = find_pair(task.sample, task.dye, task.raw_dir)[:2]
    choices = image_choices(task.sample, task.dye, task.raw_dir, task.params, reader)
    shapes = [
        open_raw(path, choice).shape
        for path, choice in zip(paths, choices, strict=True)
    ]
    pad = task.params["pad"]
    assert isinstance(pad, int)
    rows, columns = warp.canvas_shape(shapes[0], shapes[1], pad)
    if rows * columns > _LARGEST_CANVAS:
        raise CheckpointError(run_first)
    stamps = [(path, files.stamp(path)) for path in paths]
    told = told_params(task.sample, task.dye, task.raw_dir)
    given = with_told(task.params, told)["pixel_size"]
    assert given is None or isinstance(given, float)
    frames = tuple(warp.frame(side, pad) for side in shapes)
    drawn, stands_for = _given(task, (rows, columns), frames)
    identity = (*stamps, *choices, pad, given, stands_for)
    if known is not None and known.identity == identity:
        return known
    # Not `load_image_pair`: its warnings belong to stage 1.
    pair = RawPair.from_files(*paths, choices, digest=False)
    post_side, pre_side = zip(paths, shapes, strict=True)
    post, pre = warp.pad_images(pair.post.read(), pair.pre.read(), pad)
    return PreviewSource(
        post,
        pre,
        post_frame=frames[0],
        pre_frame=frames[1],
        pixel_size=pair_pixel_sizes(post_side, pre_side, given)[0],
        post_missing=pair.post.missing and pair.post.missing.moved(pad, pad),
        pre_missing=pair.pre.missing and pair.pre.missing.moved(pad, pad),
        identity=identity,
        **drawn,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ReducedImage:
    """A reduced image and its place.

    Attributes
    ----------
    values : ndarray, shape (rows, columns), float32
        Grey levels of the full-resolution image, or what else is told.
    to_full : Transform
        From its points (x, y) to full-resolution px of the canvas: a magnification
        of each axis and a shift.
    """

    values: NDArray[np.float32]
    to_full: Transform

    @property
    def step(self) -> tuple[float, float]:
        """Full-resolution px per px along x and y."""
        matrix = self.to_full.matrix
        return float(matrix[0, 0]), float(matrix[1, 1])

    @property
    def origin(self) -> tuple[float, float]:
        """Where the centre of its first pixel lies: (x, y), full-resolution px."""
        x, y = self.to_full(np.zeros((1, 2)))[0]
        return float(x), float(y)

    def warped_onto(self, target: ReducedImage, transform: Transform) -> ReducedImage:
        """Return this (moving) image as it lies on the grid of the fixed one.

        `transform` is from fixed to moving, full-resolution px. 0 where this image has
        no data.
        """
        small = self.to_full.inverse() @ transform @ target.to_full
        rows, columns = target.values.shape
        warped = warp.warp_window(self.values, small, 0, rows, 0, columns, "linear")
        return ReducedImage(warped, target.to_full)


def _count_sample(
    source: PreviewSource, transform: Transform, interpolation: str, monitor: Monitor
) -> PairStatistics | None:
    """Count the grey levels of an aligned pair, or of windows of it."""
    quad = warp.mapped_frame(transform, source.pre_frame)
    x0, y0, width, height = source.post_frame
    join: Callable[[Sequence[NDArray[Any]]], NDArray[Any]]
    if source.is_small:
        end = y0 + height
        places = [
            (y, min(y + WINDOW, end), x0, x0 + width) for y in range(y0, end, WINDOW)
        ]
        join, inside = np.concatenate, quad - (x0, y0)
    else:
        places = _windows_inside(source.post_frame, quad)
        if len(places) < _FEWEST:
            return None
        join, inside = _side_by_side, None

    masks: list[ImageLike | None] = [None, None]
    if (missing := source.post_missing) is not None:
        masks[0] = missing.mask(source.post_image)
    masks[0] = either(masks[0], source.not_counted)
    if (missing := source.pre_missing) is not None:
        masks[1] = missing.warped(source.pre_image, transform, source.shape)

    def read(place: Window) -> list[NDArray[Any] | None]:
        monitor.check()
        top, bottom, left, right = place
        window = slice(top, bottom), slice(left, right)
        moved = warp.warp_window(source.pre_image, transform, *place, interpolation)
        gaps = (None if mask is None else np.asarray(mask[window]) for mask in masks)
        return [np.array(source.post_image[window]), moved, *gaps]

    monitor.report(0.0, "reading windows at full resolution")
    with ThreadPoolExecutor(_THREADS) as pool:
        parts = zip(*pool.map(read, places), strict=True)
    fixed, moving, *gaps = (None if p[0] is None else join(p) for p in parts)
    assert fixed is not None
    assert moving is not None
    monitor.report(0.7, "counting grey levels")
    try:
        statistics = accumulate_statistics(
            fixed,
            moving,
            pre_quad=inside,
            post_missing=gaps[0],
            pre_missing=gaps[1],
            monitor=monitor.part(0.7, 1.0),
        )
    except RegistrationError:
        return None
    return statistics if statistics.n_both else None


def _windows_inside(frame: Frame, quad: NDArray[np.float64]) -> list[Window]:
    """Return windows on an even grid in which both images have data throughout."""
    x0, y0, width, height = frame
    across = max(1, round(math.sqrt(_WINDOWS * width / height)))
    down = max(1, round(_WINDOWS / across))
    places = []
    for row in range(down):
        top = y0 + round((row + 0.5) * height / down - WINDOW / 2)
        for column in range(across):
            left = x0 + round((column + 0.5) * width / across - WINDOW / 2)
            place = (top, top + WINDOW, left, left + WINDOW)
            if top < y0 or left < x0:
                continue
            mask = warp.valid_mask_window(quad, *place)
            if mask is None or mask.all():
                places.append(place)
    return places


def _side_by_side(windows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return windows as one image, row by row; what is left over is 0: no signal."""
    across = math.isqrt(len(windows))
    down = -(-len(windows) // across)
    image = np.zeros((down * WINDOW, across * WINDOW), windows[0].dtype)
    for number, window in enumerate(windows):
        y, x = (WINDOW * n for n in divmod(number, across))
        image[y : y + WINDOW, x : x + WINDOW] = window
    return image
