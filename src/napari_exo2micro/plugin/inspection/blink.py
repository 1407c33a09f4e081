"""Blink: two layers in turn at the same place, so that what moves jumps."""

from __future__ import annotations

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, Qt, QTimer, Signal

from napari_exo2micro.plugin.workbench.remembered import Remembered

__all__ = ["DEFAULT_RATE", "FASTEST", "SLOWEST", "Blink"]

#: Changes in a second.
DEFAULT_RATE, SLOWEST, FASTEST = 4.0, 0.5, 10.0


class Blink(QObject):
    """Shows one of two layers at a time; restores everything in the end.

    Images other than the two are hidden meanwhile, drawings stay.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers they are.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    changed : Signal()
        It began, ended, paused or shows the other layer.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._remembered = Remembered(viewer)
        self._layers: tuple[Layer, ...] = ()
        self._shown = 0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._turn)
        self.rate = DEFAULT_RATE

    @property
    def is_active(self) -> bool:
        """Whether the two layers are shown in turn, by the clock or step by step."""
        return bool(self._layers)

    @property
    def is_running(self) -> bool:
        """Whether the clock turns them."""
        return self._timer.isActive()

    @property
    def shown(self) -> Layer | None:
        """The layer of the two that is shown now."""
        return self._layers[self._shown] if self._layers else None

    @property
    def rate(self) -> float:
        """Changes in a second."""
        return self._rate

    @rate.setter
    def rate(self, value: float) -> None:
        self._rate = min(max(float(value), SLOWEST), FASTEST)
        self._timer.setInterval(round(1000 / self._rate))

    def start(self, first: Layer, second: Layer, *, run: bool = True) -> None:
        """Show the first layer, and the other one in turn.

        Parameters
        ----------
        first, second : Layer
            Two layers of the viewer.
        run : bool
            Whether the clock turns them; otherwise only `step` does.
        """
        other = self._layers[1 - self._shown] if self._layers else None
        self._shown = 1 if other is first else 0
        self._layers = (first, second)
        for layer in self._viewer.layers:
            if isinstance(layer, (Image, Labels)) and layer not in self._layers:
                self._remembered.set(layer, visible=False)
        self._show(self._shown)
        if run:
            self._timer.start()
        else:
            self._timer.stop()
        self.changed.emit()

    def step(self) -> None:
        """Stop the clock and show the other layer."""
        if self._layers:
            self._timer.stop()
            self._turn()

    def stop(self) -> None:
        """End it: every layer is as it was before."""
        if not self._layers:
            return
        self._timer.stop()
        self._layers = ()
        self._remembered.restore()
        self.changed.emit()

    def _turn(self) -> None:
        if any(layer not in self._viewer.layers for layer in self._layers):
            # Another one may be put in its place in this very moment.
            self._timer.stop()
            return
        self._show(1 - self._shown)
        self.changed.emit()

    def _show(self, index: int) -> None:
        # First the one to see, so that no picture without either is drawn.
        self._shown = index
        self._remembered.set(self._layers[index], visible=True)
        self._remembered.set(self._layers[1 - index], visible=False)
