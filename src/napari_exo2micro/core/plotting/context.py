"""What plots are given: two images, one context of what is known, names and a path."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from napari_exo2micro.core.alignment import ErrorMap
from napari_exo2micro.core.detection import Completeness, Purity
from napari_exo2micro.core.images import Frame, ImageLike, Raster, Transform, warp
from napari_exo2micro.core.parameters import STAGES, Verdict
from napari_exo2micro.core.photometry import PairStatistics, accumulate_statistics
from napari_exo2micro.core.photometry.methods import estimate_scale
from napari_exo2micro.core.photometry.scale import ScaleEstimate
from napari_exo2micro.core.plotting.style import Names, place_pictures, save_figure


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlotContext:
    """What the results of a pair hold; None where it is not known (yet).

    Stages 2 and 3 know the images and their alignment, stage 4 statistics, scales and
    the difference, stage 5 the S/N and the candidates.

    Its fields are keywords of every plot, too.

    Attributes
    ----------
    statistics : PairStatistics or None
        Counts of grey levels. A plot that needs them and has none counts the images.
    scales : sequence of ScaleEstimate or None
        The default one first. A plot that needs one and has none estimates it.
    scale, offset : float or None
        ``difference = post - offset - scale * pre``, grey levels; those of the first
        of `scales` when not given.
    difference : ImageLike or None, shape (rows, columns), float32
        The difference image. A plot that needs it and has none subtracts.
    raw_pre : ImageLike or None, shape (rows, columns)
        The pre-stain image before the warp, on its padded canvas.
    post_frame, pre_frame : tuple of int or None
        (x0, y0, width, height) of the real data of post and of `raw_pre`, px. The
        axes of pictures count from the first pixel of post's.
    post_missing, pre_missing : ImageLike or None, shape (rows, columns)
        On the canvas, not 0 where post and the aligned pre have no data; None where
        all is there.
    pixel_size : tuple of float or None
        Width and height of a pixel of post, um: pictures get a scale bar.
    coarse_transform, icp_transform, final_transform : Transform or None
        Post to pre: after the coarse search, after ICP, and the one with which pre
        was aligned. May be given as a 3 x 3 matrix.
    post_contour, pre_contour : array_like or None, shape (N, 2)
        Points (x, y) on the outlines, each on its own canvas, px.
    matches : mapping or None
        Features of stage 3: `post_xy`, `pre_xy`, `inliers`.
    tiles : mapping or object or None
        Of stage 3, with `x`, `y` (places on the canvas, px), `dx`, `dy` (what the
        alignment leaves there, px) and `used` (whether a tile agrees with the fit),
        each of shape (N,).
    error_map : ErrorMap or None
        The error that stage 3 expects at each place.
    snr : ImageLike or None, shape (rows, columns), float32
        The S/N of stage 5, 0 where nothing was searched.
    candidates : Table or None
        A row for each candidate, with `x`, `y` in px of the raw post-stain image: see
        the page on microbes in the documentation.
    purity : Purity or None
        Which part of the candidates above an S/N is real.
    recovery : Completeness or None
        What became of test microbes.
    snr_min : float or None
        The S/N from which on candidates are counted.
    aligned_stage : int
        The stage that the aligned pre image is of, 2 or 3.
    down_scale : float or None
        Scale of the pictures; they are never finer than their panels.
    params : mapping
        All parameters by name.
    verdicts : mapping or None
        Stage to `Verdict`; what fell back or failed is said in red.
    narrow : bool
        Whether the plot is for a narrow place: smaller panels, one under another.
    """

    statistics: PairStatistics | None = None
    scales: Sequence[ScaleEstimate] | None = None
    scale: float | None = None
    offset: float | None = None
    difference: ImageLike | None = None
    raw_pre: ImageLike | None = None
    post_frame: Frame | None = None
    pre_frame: Frame | None = None
    post_missing: ImageLike | None = None
    pre_missing: ImageLike | None = None
    pixel_size: tuple[float, float] | None = None
    coarse_transform: Transform | None = None
    icp_transform: Transform | None = None
    final_transform: Transform | None = None
    post_contour: ArrayLike | None = None
    pre_contour: ArrayLike | None = None
    matches: Any = None
    tiles: Any = None
    error_map: ErrorMap | None = None
    snr: ImageLike | None = None
    candidates: Table | None = None
    purity: Purity | None = None
    snr_min: float | None = None
    recovery: Completeness | None = None
    aligned_stage: int = 3
    down_scale: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    verdicts: Mapping[int, Verdict] | None = None
    narrow: bool = False

    def __post_init__(self) -> None:
        """Take matrices for transforms."""
        for name in ("coarse_transform", "icp_transform", "final_transform"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Transform.of(value))

    def with_arrays(self) -> PlotContext:
        """Return the context with images on disk as memory maps.

        Returns
        -------
        PlotContext
            A script can calculate with its images as with arrays.
        """
        images = {
            entry.name: as_array(value)
            for entry in fields(self)
            if isinstance(value := getattr(self, entry.name), Raster)
        }
        return replace(self, **images)

    @property
    def pre_quad(self) -> Any:
        """Corners of the aligned pre image's data, (x, y) in px; None if unknown."""
        if self.pre_frame is None or self.final_transform is None:
            return None
        return warp.mapped_frame(self.final_transform, self.pre_frame)

    def pair_statistics(self, post: ImageLike, pre: ImageLike) -> PairStatistics:
        """Return the statistics that are known, otherwise those of the images.

        Parameters
        ----------
        post, pre : ImageLike, shape (rows, columns)
            Post-stain image and aligned pre-stain image.

        Returns
        -------
        PairStatistics
            Of the pixels where both have data, as far as that is known.

        Raises
        ------
        RegistrationError
            If the images cannot be compared.
        """
        if self.statistics is not None:
            return self.statistics
        return accumulate_statistics(
            post,
            pre,
            raw_pre=self.raw_pre,
            raw_pre_frame=self.pre_frame if self.raw_pre is not None else None,
            post_frame=self.post_frame,
            pre_quad=self.pre_quad,
            post_missing=self.post_missing,
            pre_missing=self.pre_missing,
        )

    def pair_scales(self, statistics: PairStatistics) -> tuple[ScaleEstimate, ...]:
        """Return the scales that are known, otherwise the default one.

        Parameters
        ----------
        statistics : PairStatistics
            What that is estimated from.

        Returns
        -------
        tuple of ScaleEstimate
            The default one first.
        """
        if self.scales is not None:
            return tuple(self.scales)
        return (estimate_scale(statistics),)

    def subtraction(
        self, post: ImageLike, pre: ImageLike
    ) -> tuple[float, float, ScaleEstimate | None]:
        """Return the scale and offset to subtract with, and where they come from.

        Parameters
        ----------
        post, pre : ImageLike, shape (rows, columns)
            Post-stain image and aligned pre-stain image.

        Returns
        -------
        scale, offset : float
            ``difference = post - offset - scale * pre``, grey levels.
        estimate : ScaleEstimate or None
            The one of `scales` that this is; None for a number from elsewhere.

        Raises
        ------
        RegistrationError
            If a scale is needed and the images cannot be compared.
        """
        estimates = self.scales or ()
        if self.scale is not None:
            estimate = next((e for e in estimates if e.scale == self.scale), None)
            scale, offset = self.scale, estimate.offset if estimate else 0.0
        else:
            first = estimates[0] if estimates else None
            estimate = first or estimate_scale(self.pair_statistics(post, pre))
            scale, offset = estimate.scale, estimate.offset
        if self.offset is not None:
            offset = self.offset
        return float(scale), float(offset), estimate

    def notes(self, *estimates: ScaleEstimate | None) -> list[str]:
        """Return what has to be said of stages and scales that fell back or failed.

        Parameters
        ----------
        *estimates : ScaleEstimate or None
            The scales that are shown. A reason that a stage's verdict gives already
            is not said twice.

        Returns
        -------
        list of str
            One note for each, that of the first stage first.
        """
        verdicts = self.verdicts or {}
        notes = []
        for stage, verdict in verdicts.items():
            if what := _TROUBLE.get(verdict.state):
                name = f" ({STAGES[stage].title})" if stage in STAGES else ""
                start = f"Stage {stage}{name} {what}"
                notes.append(f"{start}: {verdict.reason or 'no reason given'}")
        for scale in filter(None, estimates):
            what, reason = _TROUBLE.get(scale.verdict.state), scale.verdict.reason
            if what and not any(reason in v.reason for v in verdicts.values()):
                notes.append(f"Scale ({scale.kind}) {what}: {reason}")
        return notes


_TROUBLE = {"fell_back": "fell back", "failed": "failed"}


def as_array(image: Any) -> Any:
    """Return an image on disk as a memory map, with which a script can calculate."""
    return image.level(0) if isinstance(image, Raster) else image


def plot(body: Callable[..., Figure]) -> Callable[..., Figure]:
    """Give ``body(post_im, pre_im, context, names, ...)`` every plot's keywords.

    Its docstring tells those of its own.
    """
    parameters = inspect.signature(body).parameters.values()
    own = [p for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]

    # Not its annotations: the keywords have their own.
    @functools.wraps(body, ("__module__", "__name__", "__qualname__"))
    def drawn(
        post_im: ImageLike,
        pre_im: ImageLike,
        *,
        context: PlotContext | None = None,
        sample: str = "",
        dye: str = "",
        save_path: str | Path | None = None,
        **known: Any,
    ) -> Figure:
        keywords = {p.name: known.pop(p.name) for p in own if p.name in known}
        context = replace(context or PlotContext(), **known)
        figure = body(post_im, pre_im, context, Names(sample, dye), **keywords)
        place_pictures(figure, context.post_frame, context.pixel_size)
        if save_path is not None:
            save_figure(figure, save_path)
        return figure

    shared = list(inspect.signature(drawn, follow_wrapped=False).parameters.values())
    signature = inspect.Signature([*shared[:2], *own, *shared[2:]])
    drawn.__signature__ = signature  # type: ignore[attr-defined]
    about, _, own_about = (inspect.getdoc(body) or "").partition(_PARAMETERS)
    own_about, _, raises = own_about.partition(_RAISES)
    own_about = own_about.rstrip() + "\n" if own_about else ""
    raises = f"\n{_RAISES}{raises}" if raises else ""
    told = f"{_PARAMETERS}{_IMAGES}{own_about}{_KEYWORDS}{raises}"
    drawn.__doc__ = f"{about.rstrip()}\n\n{told}"
    return drawn


_PARAMETERS = "Parameters\n----------\n"
_RAISES = "Raises\n------\n"

_IMAGES = """post_im, pre_im : ImageLike, shape (rows, columns)
    Post-stain image and aligned pre-stain image on one canvas.
"""

_KEYWORDS = """context : PlotContext, optional
    What is known of the pair.
sample, dye : str
    For the title line.
save_path : str or Path, optional
    Where to write the figure.
**known
    Fields of `PlotContext`, beside or instead of a context.

Returns
-------
Figure
    Written, too, when a path is given.
"""
