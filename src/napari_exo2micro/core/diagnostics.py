"""The diagnostic plots of stage 4: one registry that run, status and viewer read."""

from __future__ import annotations

import inspect
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from napari_exo2micro.core.errors import Exo2MicroError, OutputError, ParameterError
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
from napari_exo2micro.core.plotting.notes import verdict_notes
from napari_exo2micro.core.plotting.saving import save_figure, stamp_png
from napari_exo2micro.core.rasters import ImageLike

__all__ = [
    "DIAGNOSTICS",
    "ENTRY_POINT_GROUP",
    "Diagnostic",
    "draw_diagnostic",
    "register_diagnostic",
    "unregister_diagnostic",
]

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "napari_exo2micro.diagnostics"
"""Other packages offer plots here: a name, and a `Diagnostic` or a function."""

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
    """

    name: str
    function: Callable[..., Any]
    caption: str
    good: str = ""
    bad: str = ""

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


class _Registry(Mapping[str, Diagnostic]):
    """Plots by name, in the order of drawing; plugins are found on first use."""

    def __init__(self) -> None:
        self._known: dict[str, Diagnostic] = {}
        self._lock = threading.RLock()
        self._plugins_loaded = False

    def __getitem__(self, name: str) -> Diagnostic:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Diagnostic]:
        with self._lock:
            if not self._plugins_loaded:
                self._plugins_loaded = True
                self._load_plugins()
        return self._known

    def add(self, diagnostic: Diagnostic) -> None:
        """Put a plot last; its name must be new."""
        with self._lock:
            if diagnostic.name.lower() in {name.lower() for name in self._known}:
                raise ParameterError(
                    f"a diagnostic called {diagnostic.name!r} exists; choose another "
                    "name or unregister that one first"
                )
            self._known[diagnostic.name] = diagnostic

    def remove(self, name: str) -> None:
        """Take a plot out."""
        with self._lock:
            del self._known[name]

    def _load_plugins(self) -> None:
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            try:
                found = entry.load()
                if not isinstance(found, Diagnostic):
                    about = (inspect.getdoc(found) or entry.name).splitlines()[0]
                    found = Diagnostic(entry.name, found, about)
                self.add(found)
            except Exception:
                # Whatever a stranger's module does, the run goes on without it.
                logger.warning(
                    "the diagnostic plot %r of %r cannot be loaded and is left out",
                    entry.name,
                    entry.value,
                    exc_info=True,
                )


_registry = _Registry()

DIAGNOSTICS: Mapping[str, Diagnostic] = _registry
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

    Returns
    -------
    Diagnostic
        What was registered.

    Raises
    ------
    ParameterError
        If the name is no safe file name or is taken.

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
    diagnostic = Diagnostic(name, function, caption, good, bad)
    _registry.add(diagnostic)
    return diagnostic


def unregister_diagnostic(name: str) -> None:
    """Take a plot out of the registry; files that it drew stay.

    Raises
    ------
    ParameterError
        If no plot has this name.
    """
    if name not in DIAGNOSTICS:
        raise _unknown(name)
    _registry.remove(name)


def _unknown(name: str) -> ParameterError:
    return ParameterError(
        f"no diagnostic is called {name!r}; there are: {', '.join(DIAGNOSTICS)}"
    )


def draw_diagnostic(
    diagnostic: Diagnostic | str,
    post: ImageLike,
    pre: ImageLike,
    context: Mapping[str, Any],
    *,
    sample: str = "",
    dye: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw one plot of an aligned pair.

    Parameters
    ----------
    diagnostic : Diagnostic or str
        The plot, or its name.
    post, pre : ImageLike, shape (rows, columns)
        Post-stain image and aligned pre-stain image on one canvas.
    context : mapping
        What else is known of the pair. A function receives those entries that
        it has a parameter of the same name for. Stage 4 offers `statistics`
        (`PairStatistics`), `scales` (list of `ScaleEstimate`, the default one
        first), `scale` and `offset` (float), `difference` (ImageLike, float32),
        `raw_pre` (ImageLike: the padded original pre-stain image), `post_frame`
        and `pre_frame` ((x0, y0, width, height) of the real data, px),
        `coarse_transform`, `icp_transform`, `final_transform` (`Transform`, post
        to pre), `post_contour`, `pre_contour` ((N, 2) points x, y, px),
        `matches`, `tiles`, `down_scale` (float) and `verdicts` (stage to
        `Verdict`).
    sample, dye : str
        For the title line.
    save_path : str or Path, optional
        Where to write the picture.

    Returns
    -------
    Figure
        What the function returned. Written and released when `save_path` is
        given; a picture of a function that does not know the verdicts gets a red
        note about stages that fell back or failed.

    Raises
    ------
    ParameterError
        If no plot has the name given.
    OutputError
        If the picture cannot be written or the function fails.
    """
    if isinstance(diagnostic, str):
        if diagnostic not in DIAGNOSTICS:
            raise _unknown(diagnostic)
        diagnostic = DIAGNOSTICS[diagnostic]
    path = None if save_path is None else Path(save_path)
    own = {"sample": sample, "dye": dye, "save_path": path}
    accepted, anything = _parameters(diagnostic.function)
    keywords = {name: context[name] for name in accepted if name in context}
    keywords |= {k: v for k, v in own.items() if k in accepted or anything}
    if path is not None:
        _make_folder(path)
    before = _state(path)
    try:
        figure = diagnostic.function(post, pre, **keywords)
    except Exo2MicroError:
        raise
    except Exception as error:
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
            save_figure(figure, path)
        notes = verdict_notes(context.get("verdicts"))
        if notes and "verdicts" not in accepted and path.suffix.lower() == ".png":
            stamp_png(path, notes)
        _release(figure)
    return figure


def _parameters(function: Callable[..., Any]) -> tuple[list[str], bool]:
    """Return the names after the two images, and whether any other is taken."""
    parameters = list(inspect.signature(function).parameters.values())
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    names = [p.name for p in parameters[2:] if p.kind in by_name]
    return names, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {path.parent} ({error.strerror}); choose another "
            "output folder"
        ) from error


def _state(path: Path | None) -> tuple[int, int, int] | None:
    """Return what changes when a file is written again."""
    if path is None or not path.exists():
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _release(figure: Figure) -> None:
    """Take a figure out of pyplot's list, when its function used pyplot."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)


for _diagnostic in (
    Diagnostic(
        "pre_post_heatmap",
        plot_pre_post_heatmap,
        "How many pixels have which grey level before (across) and after (up) "
        "staining.",
        good="One narrow bright streak that rises steadily from the corner: the "
        "minerals; microbes are a faint cloud above it.",
        bad="A wide cloud or two separate streaks: the images are not aligned, or the "
        "light changed across the section.",
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
    ),
    Diagnostic(
        "ratio_histogram",
        plot_ratio_histogram,
        "How many times brighter the minerals became, and the profile whose peak is "
        "the scale.",
        good="One narrow peak that the profile follows, with the Moffat line at its "
        "top.",
        bad="A wide or double peak, or a line beside it: the scale is uncertain.",
    ),
    Diagnostic(
        "difference_image",
        plot_difference_image,
        "The difference as a picture: orange is brighter after staining than the "
        "minerals explain, blue is darker, white has no data.",
        good="Black where there is only rock, with orange spots: the microbes.",
        bad="Orange and blue edges side by side along grains and cracks: the images "
        "are not aligned; one colour all over: the scale is wrong.",
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
    ),
):
    _registry.add(_diagnostic)
del _diagnostic
