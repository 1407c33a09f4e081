"""The diagnostic plots of stage 4, with captions for a person."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.plotting import (
    plot_difference_histogram,
    plot_difference_image,
    plot_excess_heatmap,
    plot_fine_alignment,
    plot_pre_post_heatmap,
    plot_pre_post_histograms,
    plot_ratio_histogram,
    plot_registration,
)

__all__ = ["BUILT_IN_DIAGNOSTICS", "Diagnostic"]

_STAGES: Final = (2, 3, 4)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A plot that stage 4 draws, `status` lists and the viewer shows.

    Attributes
    ----------
    name : str
        Stem of the file name: letters, digits, ``_`` and ``-``.
    function : callable
        ``function(post_im, pre_im, ..., sample='', dye='', save_path=None)``
        that returns a matplotlib figure. What else it wants to know it asks for
        by parameter name, see `draw_diagnostic`.
    caption : str
        One sentence: what the plot shows.
    good, bad : str
        One sentence each: what it looks like when all is well, and when not.
    title : str
        Two to five words for a list of plots; the name in words by default.
    stage : int
        The first stage after which it can be drawn, 2 to 4: stage 4 knows
        statistics, scales and the difference, the stages before only the images
        and their alignment.
    """

    name: str
    function: Callable[..., Any]
    caption: str
    good: str = ""
    bad: str = ""
    title: str = ""
    stage: int = 4

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(str(self.name)):
            raise ParameterError(
                "a diagnostic's name becomes a file name: letters, digits, '_' and "
                f"'-', at most 64, found {self.name!r}; choose another one"
            )
        if not callable(self.function):
            raise ParameterError(
                f"the diagnostic '{self.name}' needs a function that draws it, found "
                f"{self.function!r}; give a callable"
            )
        if self.stage not in _STAGES:
            raise ParameterError(
                f"the diagnostic '{self.name}' needs a stage from {_STAGES[0]} to "
                f"{_STAGES[-1]} after which it is drawn, found {self.stage!r}"
            )
        if not self.title:
            words = self.name.replace("_", " ").strip()
            object.__setattr__(self, "title", words[:1].upper() + words[1:])


#: In the order in which stage 4 draws them.
BUILT_IN_DIAGNOSTICS: tuple[Diagnostic, ...] = (
    Diagnostic(
        "pre_post_heatmap",
        plot_pre_post_heatmap,
        "How many pixels have which grey level before (across) and after (up) "
        "staining.",
        good="One narrow bright streak that rises steadily from the corner: the "
        "minerals; microbes are a faint cloud above it.",
        bad="A wide cloud or two separate streaks: the images are not aligned, or the "
        "light changed across the section.",
        title="Grey levels before and after",
    ),
    Diagnostic(
        "excess_heatmap",
        plot_excess_heatmap,
        "Where more pixels became brighter than became darker, with a line for each "
        "scale.",
        good="The scale line runs along the ridge of the brightest streak, and the "
        "microbes lie above it.",
        bad="The line runs beside the ridge, or there is no ridge: minerals will "
        "remain in the difference, or microbes will be lost.",
        title="Brighter after staining",
    ),
    Diagnostic(
        "pre_post_histograms",
        plot_pre_post_histograms,
        "How often each grey level occurs: pre-stain as photographed and aligned, "
        "and post-stain.",
        good="The two pre-stain curves lie on each other, and the post-stain curve has "
        "the same shape, stretched to the right.",
        bad="The aligned pre-stain curve differs from the photographed one, a curve "
        "is cut off at its bright end, or post-stain has a shape of its own.",
        title="Histograms of the images",
    ),
    Diagnostic(
        "difference_histogram",
        plot_difference_histogram,
        "How often each value of the difference occurs: all pixels, those with signal "
        "in both images, and those with signal only after staining.",
        good="A narrow, even peak at zero, the minerals, with a long tail to the "
        "right, the microbes.",
        bad="The peak lies beside zero or is wide on both sides: the scale is wrong or "
        "the images are not aligned.",
        title="Histogram of the difference",
    ),
    Diagnostic(
        "ratio_histogram",
        plot_ratio_histogram,
        "How many times brighter the minerals became, and the profile whose peak is "
        "the scale.",
        good="One narrow peak that the profile follows, with the Moffat line at its "
        "top.",
        bad="A wide or double peak, or a line beside it: the scale is uncertain.",
        title="Ratio and scale",
    ),
    Diagnostic(
        "difference_image",
        plot_difference_image,
        "The difference as a picture: orange is brighter after staining than the "
        "minerals explain, blue is darker, white has no data.",
        good="Black where there is only rock, with orange spots: the microbes.",
        bad="Orange and blue edges side by side along grains and cracks: the images "
        "are not aligned; one colour all over: the scale is wrong.",
        title="Difference image",
    ),
    Diagnostic(
        "registration",
        plot_registration,
        "Post-stain (green) and pre-stain (magenta) on each other before and after "
        "the alignment, with the outlines that were found, and the coarse difference.",
        good="After the alignment the rock is white and grey, and the outlines "
        "coincide.",
        bad="Green and magenta fringes, or outlines that run apart or do not follow "
        "the rock.",
        title="Before and after alignment",
        stage=2,
    ),
    Diagnostic(
        "fine_alignment",
        plot_fine_alignment,
        "The alignment after the coarse search, the boundary and the interior, as a "
        "whole and in one detail at full resolution.",
        good="The colours fade from step to step and the last detail is grey; the "
        "arrows are short and point anywhere.",
        bad="The last detail still has coloured edges, or neighbouring arrows point "
        "the same way: the section is bent, or the alignment failed.",
        title="Alignment step by step",
        stage=2,
    ),
)
