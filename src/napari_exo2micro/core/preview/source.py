"""One padded pair at reduced size, and what was sought in it, kept for the next time.

Everything that a parameter does not change is made once: a preview then costs only
what the parameter changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Literal, TypeVar

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
from napari_exo2micro.core.alignment.judge import look_at, pair_of
from napari_exo2micro.core.alignment.searches import PairSearches
from napari_exo2micro.core.alignment.views import View, find_frame, open_view
from napari_exo2micro.core.lazy_images import LazyImage
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.photometry import ScaleEstimate, estimate_scale
from napari_exo2micro.core.preview.levels import canvas_pyramid
from napari_exo2micro.core.preview.reduced import ReducedImage
from napari_exo2micro.core.preview.sampling import sample_statistics
from napari_exo2micro.core.rasters import Frame, ImageLike
from napari_exo2micro.core.transforms import Transform

__all__ = ["PreviewSource", "Same"]

#: Longer side of the images that features are sought in, about, px.
FEATURE_SIDE = 700
#: Features of each image; the stage takes 4000.
MOST_FEATURES = 1500
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
        Tells whether two sources hold the same images; see `opening.open_source`.
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
        views = []
        for side in ("post", "pre"):
            views.append(self._view(side))
            monitor.check()
        monitor.report(0.3, "finding the sections")
        looks = []
        for side, view in zip(("post", "pre"), views, strict=True):
            looks.append(
                self.keep(f"look {side}", None, partial(look_at, view, monitor))
            )
            monitor.check()
        return self.keep("searches", None, lambda: PairSearches(pair_of(*looks)))

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
