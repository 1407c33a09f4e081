"""One padded pair at reduced size, and what was sought in it, kept for the next time.

Everything that a parameter does not change is made once: a preview then costs only
what the parameter changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from napari_exo2micro.core.alignment.coarse import BASE_SIDE
from napari_exo2micro.core.alignment.features import Features
from napari_exo2micro.core.alignment.interior_features import (
    FeatureMatching,
    detect_in_post,
    match_interiors,
)
from napari_exo2micro.core.alignment.interior_pair import InteriorPair
from napari_exo2micro.core.alignment.interior_pair import (
    prepare_pair as prepare_interior,
)
from napari_exo2micro.core.alignment.interior_tiles import (
    ReducedTiles,
    align_reduced_tiles,
)
from napari_exo2micro.core.alignment.judge import prepare_pair
from napari_exo2micro.core.alignment.searches import PairSearches
from napari_exo2micro.core.alignment.views import View, find_frame, open_view
from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.lazy_images import LazyImage
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.padding import canvas_shape, pad_images
from napari_exo2micro.core.padding import frame as padded_frame
from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.photometry import ScaleEstimate, estimate_scale
from napari_exo2micro.core.preview.levels import canvas_pyramid
from napari_exo2micro.core.preview.reduced import ReducedImage
from napari_exo2micro.core.preview.sampling import sample_statistics
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.raw import RawPair, find_pair
from napari_exo2micro.core.raw.tiff import open_tiff
from napari_exo2micro.core.transforms import Transform

if TYPE_CHECKING:
    from napari_exo2micro.core.sample_files import SampleFiles

__all__ = ["PreviewSource", "Same", "open_source"]

#: Longer side of the images that features are sought in, about, px.
FEATURE_SIDE = 1000
#: Features of each image; the stage takes twice as many.
MOST_FEATURES = 2000
#: Larger canvases are not made in memory for a preview.
_LARGEST_CANVAS = 64_000_000
_KEPT = 4

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
        identity: Hashable = None,
    ) -> None:
        self.post_image = post
        self.pre_image = pre
        self.identity = identity
        self._frames = {"post": post_frame, "pre": pre_frame}
        self._kept: dict[str, list[tuple[Any, Any]]] = {}
        self._locks: dict[str, threading.RLock] = {}

    def keep(self, name: str, key: Any, make: Callable[[], T]) -> T:
        """Return what was made under a name and a key; the last few are kept.

        Parameters
        ----------
        name : str
            What it is. Two threads that ask for the same wait for one another.
        key : object
            Compared with those of the last four.
        make : callable
            Makes it when it is not known.
        """
        with self._locks.setdefault(name, threading.RLock()):  # setdefault is atomic
            kept = self._kept.setdefault(name, [])
            for index, (known, value) in enumerate(kept):
                if known == key:
                    kept.append(kept.pop(index))
                    found: T = value
                    return found
            made = make()
            kept.append((key, made))
            del kept[:-_KEPT]
            return made

    # What no parameter changes ---------------------------------------------------

    @property
    def post_frame(self) -> Frame:
        """Where post has data: (x0, y0, width, height), px."""
        return self._frame("post")

    @property
    def pre_frame(self) -> Frame:
        """Where pre has data: (x0, y0, width, height), px."""
        return self._frame("pre")

    def searches(self, monitor: Monitor | None = None) -> PairSearches:
        """Return both sections, and what is sought in them: stage 2's own view.

        Raises
        ------
        RegistrationError
            If an image is empty, constant or too small.
        """
        monitor = monitor or Monitor()
        monitor.report(0.0, "reading the images at reduced size")
        post = self._view("post")
        monitor.check()
        pre = self._view("pre")
        monitor.report(0.3, "finding the sections")
        return self.keep(
            "searches", None, lambda: PairSearches(prepare_pair(post, pre))
        )

    def interior(self) -> InteriorPair:
        """Return both images as features are sought in them."""

        def make() -> InteriorPair:
            return prepare_interior(
                self.post_image,
                self.pre_image,
                self.post_frame,
                self.pre_frame,
                work_side=FEATURE_SIDE,
            )

        return self.keep("interior", None, make)

    def post(self) -> ReducedImage:
        """Return the post image, cut to its frame, at about 1500 px."""
        view = self._view("post")
        return ReducedImage(view.image, view.to_full)

    def levels(self, side: Literal["post", "pre"]) -> list[LazyImage]:
        """Return a canvas and its smaller levels, to be looked at at any zoom."""
        image = self.post_image if side == "post" else self.pre_image
        return self.keep(f"levels {side}", None, lambda: canvas_pyramid(image))

    # What depends on a transform or a parameter ------------------------------------

    def aligned_pre(self, transform: Transform) -> ReducedImage:
        """Return the pre image as `transform` lays it on `post`."""
        view = self._view("pre")
        pre = ReducedImage(view.image, view.to_full)
        return self.keep(
            "aligned", transform, lambda: pre.warped_onto(self.post(), transform)
        )

    def matching(
        self, initial: Transform, blur_base: float, monitor: Monitor | None = None
    ) -> FeatureMatching:
        """Return the matched features of the interiors, before limits are asked.

        Parameters
        ----------
        initial : Transform
            The start, post to pre, full-resolution px.
        blur_base : float
            As in `refine_interior_sift`.
        monitor : Monitor, optional
            Asked whether to stop.
        """
        monitor = monitor or Monitor()
        pair = self.interior()
        monitor.report(0.2, "finding features after staining")
        post: Features = self.keep(
            "features",
            blur_base,
            lambda: detect_in_post(pair, blur_base, max_features=MOST_FEATURES),
        )
        monitor.report(0.5, "matching features")
        return self.keep(
            "matching",
            (initial, blur_base),
            lambda: match_interiors(
                pair, initial, post, blur_base, max_features=MOST_FEATURES
            ),
        )

    def tiles(self, initial: Transform) -> ReducedTiles | None:
        """Return what tiles of the reduced images make of a start."""
        pair = self.interior()
        return self.keep("tiles", initial, lambda: align_reduced_tiles(pair, initial))

    def statistics(
        self,
        transform: Transform,
        interpolation: str = "cubic",
        monitor: Monitor | None = None,
    ) -> PairStatistics | None:
        """Return the statistics of the pair under a transform, from a sample.

        Parameters
        ----------
        transform : Transform
            Post to pre, full-resolution px.
        interpolation : {'linear', 'cubic', 'lanczos'}
            Kernel of the warp.
        monitor : Monitor, optional
            Asked whether to stop.

        Returns
        -------
        PairStatistics or None
            See `sampling.sample_statistics`; None where the images do not overlap.
        """
        return self.keep(
            "statistics",
            (transform, interpolation),
            lambda: sample_statistics(
                self.post_image,
                self.pre_image,
                transform,
                post_frame=self.post_frame,
                pre_frame=self.pre_frame,
                interpolation=interpolation,
                monitor=monitor,
            ),
        )

    def moffat(
        self, statistics: PairStatistics, *, offset_correction: bool
    ) -> ScaleEstimate:
        """Return the Moffat scale of statistics, estimated once."""
        return self.keep(
            "moffat",
            (Same(statistics), offset_correction),
            lambda: estimate_scale(statistics, offset_correction=offset_correction),
        )

    # -----------------------------------------------------------------------------

    def _frame(self, side: str) -> Frame:
        given = self._frames[side]
        if given is not None:
            return given
        image = self.post_image if side == "post" else self.pre_image
        return self.keep(f"frame {side}", None, lambda: find_frame(image))

    def _view(self, side: str) -> View:
        image = self.post_image if side == "post" else self.pre_image
        return self.keep(
            f"view {side}",
            None,
            lambda: open_view(image, self._frame(side), BASE_SIDE, name=side),
        )


class Same:
    """A key of `PreviewSource.keep`: equal to another one around the same object."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def open_source(task: SampleFiles, known: PreviewSource | None = None) -> PreviewSource:
    """Return the pair of a sample and dye, to preview stages on.

    Parameters
    ----------
    task : SampleFiles
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
    """
    post, pre = task.checkpoint(1, "post"), task.checkpoint(1, "pre")
    if post is not None and pre is not None:
        identity: Hashable = (post.image.path, post.identity, pre.identity)
        if known is not None and known.identity == identity:
            return known
        return PreviewSource(
            post.image,
            pre.image,
            post_frame=post.frames["post"],
            pre_frame=pre.frames["pre"],
            identity=identity,
        )
    return _open_raw(task, known)


def _open_raw(task: SampleFiles, known: PreviewSource | None) -> PreviewSource:
    run_first = (
        f"the preview needs the padded images of {task.sample} / {task.dye}; run "
        "stage 1 (padding) first"
    )
    if task._loader is not None:
        raise CheckpointError(run_first)
    paths = find_pair(task.sample, task.dye, task.raw_dir)[:2]
    shapes = [open_tiff(path).shape for path in paths]
    pad = task.params["pad"]
    assert isinstance(pad, int)
    rows, columns = canvas_shape(shapes[0], shapes[1], pad)
    if rows * columns > _LARGEST_CANVAS:
        raise CheckpointError(run_first)
    stamps = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    identity = (*stamps, pad)
    if known is not None and known.identity == identity:
        return known
    # Not `load_image_pair`: its warnings belong to stage 1.
    pair = RawPair.from_files(*paths, background=False)
    post, pre = pad_images(pair.post.read(), pair.pre.read(), pad)
    return PreviewSource(
        post,
        pre,
        post_frame=padded_frame(pair.post.shape, pad),
        pre_frame=padded_frame(pair.pre.shape, pad),
        identity=identity,
    )
