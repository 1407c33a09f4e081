"""A scale that a click on a heat map proposes, and a button to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import ParameterError

if TYPE_CHECKING:
    from napari_exo2micro.plugin.diagnostics.drawn_plot import DrawnPlot

__all__ = ["ScaleProposal"]

_HINT = "Click on the map to propose a scale by hand."
_DIGITS = 4


class ScaleProposal(QWidget):
    """Says what a click means; hidden for plots that are no heat maps.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    accepted : Signal(float)
        A person wants this manual scale.
    """

    accepted = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scale_proposal")
        self._plot: DrawnPlot | None = None
        self._hint = QLabel(_HINT)
        self._hint.setObjectName("scale_hint")
        self._hint.setWordWrap(True)
        self._hint.setSizePolicy(
            QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
        )
        self._button = QPushButton()
        self._button.setObjectName("use_scale")
        self._button.setToolTip(
            "Set the parameter 'manual scale' of stage 4 to this number; stage 4 then "
            "makes one more difference image with it."
        )
        self._button.clicked.connect(self._accept)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._hint, 1)
        layout.addWidget(self._button)
        self._scale: float | None = None
        self.set_plot(None)

    @property
    def scale(self) -> float | None:
        """The scale proposed; None before a click."""
        return self._scale

    def set_plot(self, plot: DrawnPlot | None) -> None:
        """Propose on this plot from now on; nothing is proposed yet."""
        self._plot = plot
        self._set_scale(None)
        self.setVisible(plot is not None and plot.is_heat_map)

    def propose(self, x: float, y: float) -> bool:
        """Propose the scale of a place; False where none can be used.

        Parameters
        ----------
        x, y : float
            The place, see `DrawnPlot`.
        """
        found = None if self._plot is None else self._plot.scale_at(x, y)
        if found is None:
            return False
        rounded = float(f"{found:.{_DIGITS}g}")
        try:
            PARAMETER_REGISTRY["manual_scale"].check(rounded)
        except ParameterError:
            return False
        self._set_scale(rounded)
        return True

    def _set_scale(self, scale: float | None) -> None:
        self._scale = scale
        self._button.setEnabled(scale is not None)
        if scale is None:
            self._button.setText("Use as manual scale")
            self._hint.setText(_HINT)
        else:
            self._button.setText(f"Use {scale:g} as manual scale")
            self._hint.setText(f"Along the dashed line post is {scale:g} × pre.")

    def _accept(self) -> None:
        if self._scale is not None:
            self.accepted.emit(self._scale)
