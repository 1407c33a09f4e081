"""What the diagnostics dock has done in a background thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.plugin.diagnostics.plot_room import Room

if TYPE_CHECKING:
    from napari_exo2micro.core.diagnostic_figures import FigureEntry
    from napari_exo2micro.core.parameter_entry import ParameterValue
    from napari_exo2micro.plugin.diagnostics.drawn_plot import Picture
    from napari_exo2micro.plugin.task_source import TaskSource

__all__ = ["Drawn", "draw_plot"]


@dataclass(frozen=True, slots=True)
class Drawn:
    """What there is to show.

    Attributes
    ----------
    entries : tuple of FigureEntry
        All plots of the pair.
    entry : FigureEntry or None
        The one that is shown.
    picture : Picture or None
        Its drawing; None where it cannot be drawn yet.
    """

    entries: tuple[FigureEntry, ...]
    entry: FigureEntry | None
    picture: Picture | None


def draw_plot(
    source: TaskSource,
    params: Mapping[str, ParameterValue],
    name: str,
    room: Room,
    monitor: Monitor,
) -> Drawn:
    """Return the plots there are and the one asked for, or else the first one.

    Parameters
    ----------
    source : TaskSource
        Makes the sample and dye.
    params : mapping
        All parameters.
    name : str
        Of the plot; empty for the first one that can be drawn.
    room : Room
        The place for it.
    monitor : Monitor
        May stop it.
    """
    # Not at the top: a dock opens before anybody waits for matplotlib.
    from napari_exo2micro.core.diagnostic_figures import available_figures, draw_figure
    from napari_exo2micro.plugin.diagnostics.drawn_plot import DrawnPlot

    task = source.task(params)
    entries = tuple(available_figures(task))
    monitor.check()
    named = [entry for entry in entries if entry.name == name]
    ready = [entry for entry in entries if entry.state == "ready"]
    entry = next(iter([*named, *ready, *entries]), None)
    if entry is None or entry.state != "ready":
        return Drawn(entries, entry, None)
    figure = draw_figure(task, entry.name, narrow=room.is_narrow, monitor=monitor)
    return Drawn(entries, entry, DrawnPlot(figure).picture(room, monitor))
