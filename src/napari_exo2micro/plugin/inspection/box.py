"""What the boxes of the inspection dock have in common."""

from collections.abc import Collection
from typing import Any, ClassVar, cast

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Vectors
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QGroupBox

from napari_exo2micro.plugin.layers.layers import Ground, LayerSpec, camera, screen_zoom
from napari_exo2micro.plugin.layers.pair import LayerPair
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import Display, Wanted, Wish
from napari_exo2micro.plugin.widgets import controls


class InspectionBox(QGroupBox):
    """A titled part of the dock, with its title and its objectName."""

    HEADING: ClassVar[str]
    NAME: ClassVar[str]

    def __init__(self, panel: Panel) -> None:
        super().__init__(self.HEADING, panel)
        self.setObjectName(self.NAME)
        self._panel, self._session, self._message = panel, panel.session, panel.message
        self._viewer = panel.session.viewer
        self._connections = controls.Connections()

    def stop(self) -> None:
        """Take away what the box shows in the viewer."""

    def close_down(self) -> None:
        """Stop, and listen to nothing any more."""
        self.stop()
        self._connections.close()


class ToggleBox(InspectionBox):
    """A box whose button shows something in the viewer, and takes it away.

    Attributes
    ----------
    WORDS : tuple of str
        What the button says to start, and to stop. Its objectName ends in "start"
        instead of "box".
    TIP : str
        Of the button.
    """

    WORDS: ClassVar[tuple[str, str]]
    TIP: ClassVar[str]

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        name = self.NAME.removesuffix("box") + "start"
        self._start = controls.button(
            self, name, self.WORDS[0], self.TIP, self.toggle, checkable=True
        )

    @property
    def is_active(self) -> bool:
        """Whether it is shown."""
        raise NotImplementedError

    def start(self) -> None:
        """Show it, or tell why that cannot be."""
        raise NotImplementedError

    def toggle(self) -> None:
        """Start, or stop and restore."""
        if self.is_active:
            self.stop()
        else:
            self.start()

    def _show_state(self) -> None:
        self._start.setChecked(self.is_active)
        self._start.setText(self.WORDS[self.is_active])


class ComparisonBox(ToggleBox):
    """A box that shows the layers of a pair in another way.

    Attributes
    ----------
    ENDED : str
        What is said when a problem with the layers has ended it.
    began : Signal()
        It is going to change what is visible; other comparisons end before.
    """

    ENDED: ClassVar[str]

    began = Signal()

    def __init__(self, panel: Panel, pair: LayerPair) -> None:
        super().__init__(panel)
        self._pair = pair

    def start(self) -> None:
        """Show the layers; other comparisons end."""
        if self._may_begin():
            self._begin()

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

    def _problem(self) -> str:
        """Return in words why it cannot begin; empty when it can."""
        return self._pair.problem()

    def _begin(self) -> None:
        raise NotImplementedError

    def _follow(self) -> None:
        """Show another pair that was chosen; end when a layer is gone."""
        if not self.is_active:
            return
        problem = self._problem()
        if problem:
            self.stop()
            self._message.warning(f"{self.ENDED} {problem}")
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Show the layers that are chosen now instead of the ones before."""
        self._begin()


def hidden_images(
    viewer: ViewerModel, shown: Collection[Layer] = ()
) -> tuple[Wanted, ...]:
    """Return the wish that no images but these are seen; drawings stay."""
    return tuple(
        Wanted(layer, "visible", False)
        for layer in viewer.layers
        if isinstance(layer, (Image, Labels)) and layer not in shown
    )


class ScreenLines(QObject):
    """A layer of lines that are as thick on the screen at any zoom.

    napari renews vectors in place, which it does not do with shapes. A width that a
    person has chosen stays. The width is in px of the screen.
    """

    #: The layer was removed in the layer list.
    removed = Signal()

    def __init__(self, viewer: ViewerModel, width: float, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer, self._screen_width = viewer, width
        self._display = Display.of(viewer)
        self._width = 0.0
        # A wheel turns in small steps.
        self._timer = controls.delayed(self, self._follow_zoom)
        self._connections = controls.Connections()
        self._connections.add(camera(viewer).events.zoom, self._on_zoom)
        self._connections.add(viewer.layers.events.removed, self._on_removed)

    @property
    def layer(self) -> Vectors | None:
        """The layer, while it is there."""
        layers = self._display.layers_of(self)
        return cast(Vectors, layers[0]) if layers else None

    def draw(
        self,
        lines: NDArray[np.float64],
        style: str,
        options: dict[str, Any],
        below: Ground,
    ) -> None:
        """Draw the lines, or draw them anew.

        Parameters
        ----------
        lines : ndarray, shape (n, 2, 2)
            Where each one begins and which way it goes, (row, column).
        style : {'line', 'arrow'}
            How a new layer draws them.
        options : dict
            Attributes of the layer.
        below : Ground
            The image on which they are drawn, in whose px they are told.
        """
        # New lines take the layer's width for granted.
        is_ours = self.layer is None or self.layer.edge_width == self._width
        options = {**options, "vector_style": style, "opacity": 1.0}
        spec = LayerSpec(lines, options, "vectors", below)
        self._display.show(self, Wish(specs=(spec,)))
        if is_ours and self.layer is not None:
            self._set_width(self.layer)

    def remove(self) -> None:
        """Take them away."""
        self._display.show(self, None)

    def close_down(self) -> None:
        """Take them away and follow the viewer no more."""
        self.remove()
        self._timer.stop()
        self._connections.close()

    def _set_width(self, layer: Vectors) -> None:
        layer.edge_width = self._screen_width / max(screen_zoom(self._viewer), 1e-6)
        self._width = layer.edge_width

    def _on_zoom(self, _event: object = None) -> None:
        if self.layer is not None:
            self._timer.start()

    def _follow_zoom(self) -> None:
        if self.layer is not None and self.layer.edge_width == self._width:
            self._set_width(self.layer)

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.remove()
            self.removed.emit()
