"""What the boxes of the inspection dock have in common."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QPushButton, QWidget

from napari_exo2micro.plugin.connections import Connections
from napari_exo2micro.plugin.inspection.layer_pair import LayerPair
from napari_exo2micro.plugin.message import MessageStrip

__all__ = ["ComparisonBox", "InspectionBox"]


class InspectionBox(QGroupBox):
    """A titled part of the dock: its buttons, where it speaks, what it listens to.

    Parameters
    ----------
    title, name : str
        In words, and for `findChild`.
    viewer : ViewerModel
        Whose layers are looked at.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self,
        title: str,
        name: str,
        viewer: ViewerModel,
        message: MessageStrip,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, parent)
        self.setObjectName(name)
        self._viewer, self._message = viewer, message
        self._connections = Connections()

    def stop(self) -> None:
        """Take away what the box shows in the viewer."""

    def close_down(self) -> None:
        """Stop, and listen to nothing any more."""
        self.stop()
        self._connections.close()

    def _button(
        self, text: str, name: str, tip: str, *, checkable: bool = False
    ) -> QPushButton:
        button = QPushButton(text, self)
        button.setObjectName(name)
        button.setToolTip(tip)
        button.setCheckable(checkable)
        return button


class ComparisonBox(InspectionBox):
    """A box whose button shows layers of the viewer in another way, and stops it.

    Parameters
    ----------
    title, name : str
        In words, and for `findChild`.
    words : tuple of str
        What the button says to start, and to stop.
    tip : str
        Of the button; its name is `name` with "start" for "box".
    pair : LayerPair
        The two layers.
    viewer, message, parent
        As for `InspectionBox`.

    Attributes
    ----------
    began : Signal()
        It is going to change what is visible; other comparisons end before.
    """

    began = Signal()

    def __init__(
        self,
        title: str,
        name: str,
        words: tuple[str, str],
        tip: str,
        pair: LayerPair,
        viewer: ViewerModel,
        message: MessageStrip,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, name, viewer, message, parent)
        self._pair, self._words = pair, words
        start = name.removesuffix("box") + "start"
        self._start = self._button(words[0], start, tip, checkable=True)
        self._start.clicked.connect(self.toggle)

    @property
    def is_active(self) -> bool:
        """Whether it determines what is visible."""
        raise NotImplementedError

    def toggle(self) -> None:
        """Start, or stop and restore."""
        if self.is_active:
            self.stop()
        elif self._may_begin():
            self._begin()

    def _problem(self) -> str:
        """Return in words why it cannot begin; empty when it can."""
        return self._pair.problem()

    def _begin(self) -> None:
        raise NotImplementedError

    def _may_begin(self) -> bool:
        """Tell a problem; without one let the other comparisons end."""
        problem = self._problem()
        if problem:
            self._show_state()
            self._message.error(problem)
            return False
        self._message.clear()
        self.began.emit()
        return True

    def _show_state(self) -> None:
        self._start.setChecked(self.is_active)
        self._start.setText(self._words[self.is_active])
