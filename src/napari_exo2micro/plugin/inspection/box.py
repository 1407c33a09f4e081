"""What the boxes of the inspection dock have in common."""

from __future__ import annotations

from typing import ClassVar

from napari.components import ViewerModel
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QWidget

from napari_exo2micro.plugin.layers.pair import LayerPair
from napari_exo2micro.plugin.widgets.controls import Connections, MessageStrip, button


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


class ComparisonBox(InspectionBox):
    """A box whose button shows layers of the viewer in another way, and stops it.

    Parameters
    ----------
    pair : LayerPair
        The two layers.
    viewer, message, parent
        As for `InspectionBox`.

    Attributes
    ----------
    HEADING : str
        The title.
    NAME : str
        For `findChild`; the button's ends in "start" instead of "box".
    WORDS : tuple of str
        What the button says to start, and to stop.
    TIP : str
        Of the button.
    began : Signal()
        It is going to change what is visible; other comparisons end before.
    """

    HEADING: ClassVar[str]
    NAME: ClassVar[str]
    WORDS: ClassVar[tuple[str, str]]
    TIP: ClassVar[str]

    began = Signal()

    def __init__(
        self,
        pair: LayerPair,
        viewer: ViewerModel,
        message: MessageStrip,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(self.HEADING, self.NAME, viewer, message, parent)
        self._pair = pair
        name = self.NAME.removesuffix("box") + "start"
        self._start = button(self, name, self.WORDS[0], self.TIP, checkable=True)
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

    def _follow(self) -> None:
        """Another pair was chosen, or a layer is gone."""
        if not self.is_active:
            return
        problem = self._problem()
        if problem:
            self.stop()
            self._message.warning(self._why_ended(problem))
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Show the layers that are chosen now instead of the ones before."""
        self._begin()

    def _why_ended(self, problem: str) -> str:
        """Return in words that a problem with the layers has ended it."""
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
        self._start.setText(self.WORDS[self.is_active])
