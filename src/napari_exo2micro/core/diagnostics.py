"""The diagnostic plots of stage 4: one registry that run, status and viewer read."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from napari_exo2micro.core.diagnostic_table import BUILT_IN_DIAGNOSTICS, Diagnostic
from napari_exo2micro.core.errors import Exo2MicroError, OutputError, ParameterError
from napari_exo2micro.core.plotting.notes import verdict_notes
from napari_exo2micro.core.plotting.saving import save_figure, stamp_png
from napari_exo2micro.core.rasters import ImageLike, Raster
from napari_exo2micro.core.registries import Registry

__all__ = [
    "DIAGNOSTICS",
    "ENTRY_POINT_GROUP",
    "Diagnostic",
    "draw_diagnostic",
    "register_diagnostic",
    "unregister_diagnostic",
]

ENTRY_POINT_GROUP: Final = "napari_exo2micro.diagnostics"
"""Other packages offer plots here: a name, and a `Diagnostic` or a function."""


def _check(diagnostic: Diagnostic) -> None:
    """Raise when a plot's name is taken, upper and lower case being the same."""
    if diagnostic.name.lower() in {name.lower() for name in DIAGNOSTICS}:
        raise ParameterError(
            f"a diagnostic called {diagnostic.name!r} exists; choose another name or "
            "unregister that one first"
        )


def _offered(name: str, found: Any) -> Diagnostic:
    """Return what a package offers: a `Diagnostic`, or a function that draws."""
    if isinstance(found, Diagnostic):
        return found
    about = (inspect.getdoc(found) or name).splitlines()[0]
    return Diagnostic(name, found, about)


DIAGNOSTICS: Registry[str, Diagnostic] = Registry(
    "diagnostic plot",
    ENTRY_POINT_GROUP,
    key=lambda diagnostic: diagnostic.name,
    built_in=BUILT_IN_DIAGNOSTICS,
    check=_check,
    offered=_offered,
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
        The first stage (2 to 4) after which the viewer can draw it.

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
        first) and `difference` (ImageLike, float32). Every stage from 2 on offers
        `scale` and `offset` (float; before stage 4 from reduced images),
        `raw_pre` (ImageLike: the padded original pre-stain image), `post_frame`
        and `pre_frame` ((x0, y0, width, height) of the real data, px),
        `coarse_transform`, `icp_transform`, `final_transform` (`Transform`, post
        to pre), `post_contour`, `pre_contour` ((N, 2) points x, y, px),
        `matches`, `tiles`, `aligned_stage` (int: the stage that `pre` is of, 2
        or 3), `down_scale` (float), `params` (all parameters by name) and
        `verdicts` (stage to `Verdict`). A narrow place offers `narrow` (bool: a
        layout for it is wanted). A function of somebody else gets images on disk as
        memory maps, ndarrays that it cannot change.
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
            raise ParameterError(
                f"no diagnostic is called {diagnostic!r}; there are: "
                f"{', '.join(DIAGNOSTICS)}"
            )
        diagnostic = DIAGNOSTICS[diagnostic]
    path = None if save_path is None else Path(save_path)
    own = {"sample": sample, "dye": dye, "save_path": path}
    accepted, anything = _parameters(diagnostic.function)
    if diagnostic not in BUILT_IN_DIAGNOSTICS:
        post, pre, context = _as_arrays(post, pre, context)
    keywords = {name: context[name] for name in accepted if name in context}
    keywords |= {k: v for k, v in own.items() if k in accepted or anything}
    if path is not None:
        _make_folder(path)
    before = _state(path)
    try:
        figure = diagnostic.function(post, pre, **keywords)
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
            save_figure(figure, path)
        notes = verdict_notes(context.get("verdicts"))
        if notes and "verdicts" not in accepted and path.suffix.lower() == ".png":
            stamp_png(path, notes)
        _release(figure)
    return figure


def _as_arrays(
    post: ImageLike, pre: ImageLike, context: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Return images on disk as memory maps, with which a script can calculate."""

    def as_array(value: Any) -> Any:
        return value.level(0) if isinstance(value, Raster) else value

    known = {name: as_array(value) for name, value in context.items()}
    return as_array(post), as_array(pre), known


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
