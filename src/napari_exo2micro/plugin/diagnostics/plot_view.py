"""A matplotlib figure in a dock: it keeps its layout and is scaled as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QScrollBar, QWidget

if TYPE_CHECKING:
    from matplotlib.backend_bases import MouseEvent
    from matplotlib.figure import Figure

    from napari_exo2micro.plugin.diagnostics.plot_canvas import Loan, PlotCanvas

__all__ = ["PlotView"]

#: A plot that has to be smaller to be seen as a whole fills the width instead; its
#: numbers can be read down to the smallest resolution, then scroll bars appear.
_WHOLE_DPI, _SMALLEST_DPI, _READABLE_DPI = 62.0, 50.0, 90.0
_LARGEST_DPI = 240.0
_LEFT_BUTTON = 1
_ENDLESS = 1_000_000
#: A window that is being resized is drawn when it stays for so long, ms.
_SETTLED = 60


class PlotView(QScrollArea):
    """Shows one figure as large as there is room, or a note instead of it.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    pressed : Signal(object, object)
        Where the left button went down or was dragged on a panel: x and y in the
        units of its axes, None beside all panels.
    """

    pressed = Signal(object, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plot_view")
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
        self.setMinimumSize(160, 120)
        self._canvas: PlotCanvas | None = None
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(_SETTLED)
        self._settled.timeout.connect(self._fit)
        self.show_note("")

    @property
    def figure(self) -> Figure | None:
        """The figure shown."""
        return None if self._canvas is None else self._canvas.figure

    @property
    def note(self) -> str:
        """The words shown instead of a figure."""
        shown = self.widget()
        return shown.text() if isinstance(shown, QLabel) else ""

    def show_figure(self, figure: Figure) -> None:
        """Show a figure; scroll bars stay where they are for one of equal size."""
        # Not at the top: a dock opens before anybody waits for matplotlib.
        from napari_exo2micro.plugin.diagnostics.plot_canvas import PlotCanvas

        places = [bar.value() for bar in self._bars()]
        canvas = PlotCanvas(figure)
        for event in ("button_press_event", "motion_notify_event"):
            canvas.mpl_connect(event, self._on_mouse)
        self._canvas = canvas
        self.setWidgetResizable(False)
        self.setWidget(canvas)
        self._fit()
        for bar, place in zip(self._bars(), places, strict=True):
            bar.setValue(place)

    def show_note(self, text: str) -> None:
        """Show words instead of a figure."""
        self._canvas = None
        label = QLabel(text)
        label.setObjectName("plot_missing")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        label.setMargin(16)
        self.setWidgetResizable(True)
        self.setWidget(label)

    def redraw(self) -> None:
        """Draw the figure again after something was added to it."""
        if self._canvas is not None:
            self._canvas.draw_idle()  # type: ignore[no-untyped-call]

    @property
    def can_lend(self) -> bool:
        """Whether there is a figure that nobody else works with."""
        return self._canvas is not None and not self._canvas.is_lent

    def lend(self) -> tuple[Loan, Callable[[], None]]:
        """Return the figure for work in another thread, and what takes it back.

        Raises
        ------
        RuntimeError
            When there is none, or it is lent already: ask `can_lend`.
        """
        canvas = self._canvas
        if canvas is None or canvas.is_lent:
            raise RuntimeError("there is no figure to lend")
        return canvas.lend(), canvas.take_back

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Fit the figure when the size has settled: drawing takes its time."""
        super().resizeEvent(event)
        self._settled.start()

    def _bars(self) -> list[QScrollBar]:
        bars = self.horizontalScrollBar(), self.verticalScrollBar()
        return [bar for bar in bars if bar is not None]

    def _fit(self) -> None:
        canvas = self._canvas
        if canvas is None:
            return
        room = self.maximumViewportSize()
        dpi = canvas.dpi_within(room)
        if dpi < _WHOLE_DPI:
            # Scrolling in one direction is enough where the width allows that.
            bar = max((bar.sizeHint().width() for bar in self._bars()[1:]), default=0)
            across = canvas.dpi_within(QSize(room.width() - bar, _ENDLESS))
            dpi = min(max(across, _SMALLEST_DPI), _READABLE_DPI)
        canvas.setFixedSize(canvas.size_at(min(dpi, _LARGEST_DPI)))

    def _on_mouse(self, event: MouseEvent) -> None:
        if event.button == _LEFT_BUTTON:
            self.pressed.emit(event.xdata, event.ydata)
