"""The diagnostic plots: one registry that run, status and viewer read."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from napari_exo2micro.core.base import Exo2MicroError, OutputError, ParameterError
from napari_exo2micro.core.base.files import output_error, sync_file
from napari_exo2micro.core.base.registry import Registry
from napari_exo2micro.core.images.raster import ImageLike
from napari_exo2micro.core.plotting import charts, images, microbes, style
from napari_exo2micro.core.plotting.context import PlotContext, as_array

_STAGES: Final = (2, 3, 4, 5)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEYWORDS: Final = ("context", "sample", "dye", "save_path")


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A plot that a run draws, `status` lists and the viewer shows.

    Attributes
    ----------
    name : str
        Stem of the file name: letters, digits, ``_`` and ``-``.
    function : callable
        ``function(post_im, pre_im, *, context, sample, dye, save_path)`` that returns
        a matplotlib figure; `context` is a `PlotContext`. It need not take all four,
        so ``function(post_im, pre_im, sample="", dye="", save_path=None)`` does.
    caption : str
        One sentence: what the plot shows.
    good, bad : str
        One sentence each: what it looks like when all is well, and when not.
    title : str
        Two to five words for a list of plots; the name in words by default.
    stage : int
        The first stage after which it can be drawn, 2 to 5: stage 4 knows
        statistics, scales and the difference, the stages before only the images
        and their alignment; stage 5 knows the S/N and the candidates, too. In a run
        stage 5 draws its own plots, stage 4 all others.
    keywords : tuple of str
        Those of the four that the function takes.
    """

    name: str
    function: Callable[..., Any]
    caption: str
    good: str = ""
    bad: str = ""
    title: str = ""
    stage: int = 4
    keywords: tuple[str, ...] = field(init=False, repr=False, compare=False)

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
        object.__setattr__(self, "keywords", _taken_keywords(self))


def _taken_keywords(diagnostic: Diagnostic) -> tuple[str, ...]:
    """Return which of the four keywords a function takes, or say what is wrong."""
    try:
        parameters = inspect.signature(diagnostic.function).parameters.values()
    except (TypeError, ValueError):  # a compiled function that does not tell
        return ()
    kinds = inspect.Parameter
    after = [p for p in list(parameters)[2:] if p.kind is not kinds.VAR_POSITIONAL]
    anything = any(p.kind is kinds.VAR_KEYWORD for p in after)
    named = {p.name: p for p in after if p.kind is not kinds.VAR_KEYWORD}
    unknown = [
        name
        for name, parameter in named.items()
        if parameter.default is kinds.empty and name not in _KEYWORDS
    ]
    if unknown:
        raise ParameterError(
            f"the function of the diagnostic '{diagnostic.name}' is called with two "
            f"images, context, sample, dye and save_path, found {', '.join(unknown)} "
            f"without a default; take context.{unknown[0]}"
        )
    # Whoever takes anything has the published form: names and path.
    return tuple(
        name for name in _KEYWORDS if name in named or (anything and name != "context")
    )


#: In the order in which stages 4 and 5 draw them.
BUILT_IN_DIAGNOSTICS: tuple[Diagnostic, ...] = (
    Diagnostic(
        "pre_post_heatmap",
        charts.plot_pre_post_heatmap,
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
        charts.plot_excess_heatmap,
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
        charts.plot_pre_post_histograms,
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
        charts.plot_difference_histogram,
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
        charts.plot_ratio_histogram,
        "How many times brighter the minerals became, and the profile whose peak is "
        "the scale.",
        good="One narrow peak that the profile follows, with the Moffat line at its "
        "top.",
        bad="A wide or double peak, or a line beside it: the scale is uncertain.",
        title="Ratio and scale",
    ),
    Diagnostic(
        "difference_image",
        images.plot_difference_image,
        "The difference as a picture: orange is brighter after staining than the "
        "minerals explain, blue is darker, white has no data.",
        good="Black where there is only rock, with orange spots: the microbes.",
        bad="Orange and blue edges side by side along grains and cracks: the images "
        "are not aligned; one colour all over: the scale is wrong.",
        title="Difference image",
    ),
    Diagnostic(
        "registration",
        images.plot_registration,
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
        images.plot_fine_alignment,
        "The alignment after the coarse search, the boundary and the interior, as a "
        "whole and in one detail at full resolution.",
        good="The colours fade from step to step and the last detail is grey; the "
        "arrows are short and point anywhere.",
        bad="The last detail still has coloured edges, or neighbouring arrows point "
        "the same way: the section is bent, or the alignment failed.",
        title="Alignment step by step",
        stage=2,
    ),
    Diagnostic(
        "error_map",
        images.plot_error_map,
        "How far from its true position a point is expected to be after stage 3, at "
        "each place.",
        good="Dark and even, some hundredths of a pixel, with thin brighter lines at "
        "most where stitched tiles meet.",
        bad="A bright area, half a pixel and more: there the minerals leave edges in "
        "the difference, and faint microbes cannot be told from them.",
        title="Expected error of the alignment",
        stage=3,
    ),
    Diagnostic(
        "snr_map",
        microbes.plot_snr_map,
        "How far each place stands out of the noise, with a circle around each counted "
        "candidate, or how dense they lie where there are many.",
        good="Black, with orange spots in circles; what is not in a circle is faint "
        "and lies anywhere.",
        bad="Grains, cracks or seams can be seen, orange and blue side by side: what "
        "minerals leave in the difference is taken for spots.",
        title="Map of the S/N",
        stage=5,
    ),
    Diagnostic(
        "purity_completeness",
        microbes.plot_purity_completeness,
        "How many candidates and how many dark spots have an S/N and more, and which "
        "part of the candidates is real by that.",
        good="Right of the threshold there are many candidates and hardly a dark spot, "
        "and the purity is near 1.",
        bad="The dark spots follow the candidates beyond the threshold: as many of "
        "these are noise or what minerals have left.",
        title="Purity of the candidates",
        stage=5,
    ),
    Diagnostic(
        "candidates",
        microbes.plot_candidates,
        "The strongest candidates, those around the threshold, some between and some "
        "that were refused: post, scaled pre, difference and S/N of each.",
        good="Round spots in post and difference with nothing at their place in pre.",
        bad="Edges, streaks or spots that are in pre, too, or a dark spot beside each "
        "bright one: these are no microbes.",
        title="Cut-outs of candidates",
        stage=5,
    ),
)


ENTRY_POINT_GROUP: Final = "napari_exo2micro.diagnostics"
"""Other packages offer plots here: a name, and a `Diagnostic` or a function."""


DIAGNOSTICS: Registry[str, Diagnostic] = Registry(
    "diagnostic plot",
    ENTRY_POINT_GROUP,
    Diagnostic,
    key=lambda diagnostic: diagnostic.name,
    built_in=BUILT_IN_DIAGNOSTICS,
    of_function=Diagnostic,
)
"""Name to `Diagnostic`, in the order of drawing.

Plots that other packages offer are found on first use; one that cannot be loaded
is logged and left out.
"""


def register_diagnostic(
    name: str,
    function: Callable[..., Any],
    caption: str,
    *,
    good: str = "",
    bad: str = "",
    title: str = "",
    stage: int = 4,
) -> Diagnostic:
    """Add a plot: every later run draws it, `status` and the viewer show it.

    Parameters
    ----------
    name : str
        Stem of its file; not yet taken, upper and lower case being the same.
    function : callable
        See `Diagnostic`.
    caption, good, bad : str
        Sentences for the reader of the plot.
    title : str
        A few words for a list of plots; the name in words by default.
    stage : int
        The first stage (2 to 5) after which the viewer can draw it.

    Returns
    -------
    Diagnostic
        What was registered.

    Raises
    ------
    ParameterError
        If the name is no safe file name or is taken, or there is no such stage.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> def plot_nothing(post_im, pre_im, save_path=None):
    ...     figure = Figure()
    ...     if save_path is not None:
    ...         figure.savefig(save_path)
    ...     return figure
    >>> register_diagnostic("nothing", plot_nothing, "An empty figure.").name
    'nothing'
    >>> unregister_diagnostic("nothing")
    """
    return DIAGNOSTICS.add(Diagnostic(name, function, caption, good, bad, title, stage))


def unregister_diagnostic(name: str) -> None:
    """Take a plot out of the registry; files that it drew stay.

    Parameters
    ----------
    name : str
        Its name.

    Raises
    ------
    ParameterError
        If there is none of this name, or it is a built-in one.
    """
    DIAGNOSTICS.remove(name)


def draw_diagnostic(
    diagnostic: Diagnostic | str,
    post: ImageLike,
    pre: ImageLike,
    context: PlotContext,
    *,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw one plot, or the one of a name, of an aligned pair.

    It is written and released when `save_path` is given. A function of somebody else
    gets images on disk as memory maps, and a red note on its picture about stages
    that fell back or failed.

    Raises
    ------
    ParameterError
        If no plot has the name given.
    OutputError
        If the picture cannot be written or the function fails.
    """
    if isinstance(diagnostic, str):
        if diagnostic not in DIAGNOSTICS:
            raise ParameterError(
                f"no diagnostic is called {diagnostic!r}; there are: "
                f"{', '.join(DIAGNOSTICS)}"
            )
        diagnostic = DIAGNOSTICS[diagnostic]
    path = None if save_path is None else Path(save_path)
    is_built_in = diagnostic in BUILT_IN_DIAGNOSTICS
    if not is_built_in:
        post, pre, context = as_array(post), as_array(pre), context.with_arrays()
    given = {"context": context, "sample": sample, "dye": dye, "save_path": path}
    taken = {name: given[name] for name in diagnostic.keywords}
    if path is not None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise output_error(path, error) from error
    before = _state(path)
    try:
        figure = diagnostic.function(post, pre, **taken)
    except Exo2MicroError:
        raise
    except Exception as error:  # a stranger's function raises what it likes
        raise OutputError(
            f"the plot '{diagnostic.name}' could not be drawn "
            f"({type(error).__name__}: {error}); correct its function "
            f"{getattr(diagnostic.function, '__qualname__', diagnostic.function)}"
        ) from error
    if not isinstance(figure, Figure):
        raise OutputError(
            f"the plot '{diagnostic.name}' should return a matplotlib Figure, found "
            f"{type(figure).__name__}; return the figure from its function"
        )
    if path is not None:
        if _state(path) == before:
            style.save_figure(figure, path)
        notes = context.notes()
        if notes and not is_built_in and path.suffix.lower() == ".png":
            style.stamp_png(path, notes)
        elif not is_built_in:  # its function may write as it likes
            _sync(path)
    return style.shown_figure(figure)


def _sync(path: Path) -> None:
    try:
        sync_file(path)
    except OSError as error:
        raise output_error(path, error) from error


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """Return what changes when a file is written again."""
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
