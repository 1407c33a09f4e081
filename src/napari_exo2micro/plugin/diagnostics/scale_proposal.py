"""A scale that a click on a heat map proposes: its line, and a button to use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

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
        self._figure: Figure | None = None
        self._drawn: list[Artist] = []
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
        self.set_figure(None)

    @property
    def scale(self) -> float | None:
        """The scale proposed; None before a click."""
        return self._scale

    def set_figure(self, figure: Figure | None) -> None:
        """Propose on this figure from now on; nothing is proposed yet."""
        self._figure, self._drawn = figure, []
        self._set_scale(None)
        self.setVisible(figure is not None and _is_heatmap(figure))

    def propose(self, x: float | None, y: float | None) -> bool:
        """Draw the line through a place; False where none goes through it.

        Parameters
        ----------
        x, y : float or None
            The place in the units of the heat map's axes.
        """
        figure = self._figure
        if figure is None:
            return False
        from napari_exo2micro.core.plotting.level_grid import mark_scale, scale_at

        found = scale_at(figure, x, y)
        if found is None:
            return False
        rounded = float(f"{found:.{_DIGITS}g}")
        try:
            PARAMETER_REGISTRY["manual_scale"].check(rounded)
        except ParameterError:
            return False
        for artist in self._drawn:
            artist.remove()
        self._drawn = mark_scale(figure, rounded)
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


def _is_heatmap(figure: Figure) -> bool:
    from napari_exo2micro.core.plotting.level_grid import heatmap_axes

    return heatmap_axes(figure) is not None
