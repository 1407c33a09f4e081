"""What the alignment leaves: its arrows, their key, and the figures in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Vectors
from qtpy.QtCore import QObject, QPointF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.core.alignment import (
    Residuals,
    amplification,
    residuals_from_details,
    round_figure,
)
from napari_exo2micro.core.base import RegistrationError
from napari_exo2micro.plugin.inspection.box import InspectionBox
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    about,
    camera,
    move_camera,
    scale_bar,
)
from napari_exo2micro.plugin.layers.pair import find_section, stored_header
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip, button

#: The key's arrow is at most this long, screen px.
_LONGEST = 120.0
_HEAD = 9.0


class ArrowKey(QWidget):
    """An arrow as the viewer draws it now, and the displacement it stands for.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("arrow_key")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._displacement = 0.0
        self._length = 0.0
        self.setToolTip(
            "An arrow of this length in the viewer stands for this displacement; it "
            "follows the zoom"
        )

    @property
    def displacement(self) -> float:
        """What the arrow stands for, px of post-stain."""
        return self._displacement

    @property
    def length(self) -> float:
        """How long it is drawn, screen px."""
        return self._length

    @property
    def text(self) -> str:
        """What the arrow stands for, in words."""
        return f"{self._displacement:g} px" if self._displacement else ""

    def set_scale(self, screen_px: float) -> None:
        """Choose the arrow.

        Parameters
        ----------
        screen_px : float
            How long the viewer draws a displacement of one px of post-stain.
        """
        self._displacement = round_figure(_LONGEST / max(screen_px, 1e-9))
        self._length = self._displacement * screen_px
        self.update()

    def clear(self) -> None:
        """Show nothing."""
        self._displacement = self._length = 0.0
        self.update()

    def sizeHint(self) -> QSize:
        """Room for the arrow and its words."""
        return QSize(220, 26)

    def minimumSizeHint(self) -> QSize:
        """Room for the arrow and its words."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the arrow in the colour of the text."""
        if not self._displacement:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = self.palette().windowText().color()
        painter.setPen(QPen(colour, 2))
        painter.setBrush(colour)
        middle, start, end = self.height() / 2, 4.0, 4.0 + self._length
        head = min(_HEAD, 0.6 * self._length)
        painter.drawLine(QPointF(start, middle), QPointF(end - head / 2, middle))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPolygon(
            QPolygonF(
                [
                    QPointF(end, middle),
                    QPointF(end - head, middle - head / 2),
                    QPointF(end - head, middle + head / 2),
                ]
            )
        )
        painter.setPen(QPen(colour))
        painter.drawText(QPointF(end + 10, middle + 4), f"= {self.text}")
        painter.end()


_USED, _LEFT_OUT = "#33ddff", "#ff8844"

#: Width of a line on the screen, px.
_LINE = 3.0


def layer_residuals(layer: Image) -> Residuals:
    """Return the residuals that an interior-aligned layer carries.

    Raises
    ------
    RegistrationError
        When it carries none, with the fix.
    """
    header = stored_header(layer)
    if header is None:
        raise RegistrationError(
            f"'{layer.name}' has no header that tells how it was aligned: run stage 3 "
            "with this package and show its result"
        )
    return residuals_from_details(header.details, header.transform)


class ResidualArrows(QObject):
    """The layer of arrows and napari's scale bar.

    Parameters
    ----------
    viewer : ViewerModel
        Where they are drawn.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    ended : Signal()
        The layer was removed in the layer list.
    """

    ended = Signal()

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Vectors | None = None
        self._bar_before: bool | None = None
        self._width = 0.0
        # A wheel turns in many small steps.
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._follow_zoom)
        viewer.layers.events.removed.connect(self._on_removed)
        camera(viewer).events.zoom.connect(self._on_zoom)

    @property
    def layer(self) -> Vectors | None:
        """The layer of arrows."""
        return self._layer

    def show_arrows(
        self, source: Image, residuals: Residuals, factor: float, *, every: bool
    ) -> None:
        """Draw the arrows, or draw them anew.

        Parameters
        ----------
        source : Image
            The aligned layer; the arrows lie on it.
        residuals : Residuals
            What it carries.
        factor : float
            Times that the arrows are longer than the displacements.
        every : bool
            Whether tiles that the alignment left out are drawn, too.
        """
        shown = np.ones(len(residuals.used), bool) if every else residuals.used
        vectors = residuals.vectors(factor)[shown]
        used = residuals.used[shown]
        colours = np.where(used, _USED, _LEFT_OUT)
        features = {
            "displacement_px": residuals.lengths[shown],
            "used": used,
        }
        known = about(source)
        options: dict[str, Any] = {
            "name": f"{known.get('sample', '')} {known.get('dye', '')}: remaining "
            f"displacement × {factor:g}".strip(),
            "translate": source.translate,
            "features": features,
            "edge_color": list(colours),
            "edge_width": self._line_width(),
            "vector_style": "arrow",
            "opacity": 1.0,
            "metadata": {
                KEY: {
                    "role": "residuals",
                    "sample": known.get("sample", ""),
                    "dye": known.get("dye", ""),
                    "amplification": factor,
                }
            },
        }
        layer = self._layer
        if layer is not None and layer in self._viewer.layers:
            chosen_width = layer.edge_width != self._width
            layer.data = vectors
            options.pop("vector_style"), options.pop("opacity")
            if chosen_width:
                options.pop("edge_width")
            for name, value in options.items():
                setattr(layer, name, value)
            if not chosen_width:
                self._width = layer.edge_width
            return
        active = self._viewer.layers.selection.active
        self._layer = Vectors(vectors, **options)
        self._width = self._layer.edge_width
        self._viewer.add_layer(self._layer)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def show_bar(self, shown: bool) -> None:
        """Show napari's scale bar, in px of the image, or what was before."""
        bar = scale_bar(self._viewer)
        if shown and self._bar_before is None:
            self._bar_before = bool(bar.visible)
            bar.visible = True
        elif not shown and self._bar_before is not None:
            bar.visible, self._bar_before = self._bar_before, None

    def stop(self) -> None:
        """Remove the arrows; the scale bar is as it was before."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        self.show_bar(False)

    def close_down(self) -> None:
        """Stop, and follow the viewer no more."""
        self.stop()
        self._timer.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        camera(self._viewer).events.zoom.disconnect(self._on_zoom)

    def _line_width(self) -> float:
        return float(_LINE / max(camera(self._viewer).zoom, 1e-6))

    def _on_zoom(self, _event: object = None) -> None:
        if self._layer is not None:
            self._timer.start()

    def _follow_zoom(self) -> None:
        """Keep the lines as thick on the screen, unless a person chose another."""
        if self._layer is not None and self._layer.edge_width == self._width:
            self._layer.edge_width = self._line_width()
            self._width = self._layer.edge_width

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            self.show_bar(False)
            self.ended.emit()


_HELP = (
    "Each arrow leads from a grain in post-stain to where aligned pre-stain shows it, "
    "drawn many times longer. Arrows that point every way are noise of the measuring; "
    "neighbours that point the same way are displacement that remains."
)


def residual_words(residuals: Residuals, layer: Image) -> str:
    """Return the figures of the residuals in words."""
    header = stored_header(layer)
    frame = header.canvas.get("post_frame") if header else None
    length, x, y = residuals.largest
    row, column = layer.data_to_world((y, x))
    used, left_out = int(residuals.used.sum()), int((~residuals.used).sum())
    words = [
        f"Half of the {used} tiles lie within {residuals.median:.3f} px, 95 % within "
        f"{residuals.p95:.3f} px.",
        f"The largest, {length:.3f} px, is "
        f"{residuals.where(tuple(frame) if frame else None)}: row {row:.0f}, column "
        f"{column:.0f}.",
    ]
    verdict = header.verdicts.get("3") if header else None
    accuracy = verdict.numbers.get("accuracy_px", -1.0) if verdict else -1.0
    if accuracy >= 0:
        words.append(f"The alignment as a whole is good to about {accuracy:.3f} px.")
    if left_out:
        words.append(
            f"{left_out} more {'tile was' if left_out == 1 else 'tiles were'} measured "
            "and not used."
        )
    return "\n".join(words)


class ResidualsBox(InspectionBox):
    """Button, amplification and key of the arrows.

    Parameters
    ----------
    session : Session
        Whose sample is shown.
    message : MessageStrip
        Where problems are told.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self, session: Session, message: MessageStrip, parent: QWidget | None = None
    ) -> None:
        super().__init__(
            "Remaining displacement", "residuals_box", session.viewer, message, parent
        )
        self._session = session
        self.arrows = ResidualArrows(self._viewer, self)
        self._source: Image | None = None
        self._residuals: Residuals | None = None
        self._start = button(
            self, "residuals_start", "Show arrows", _HELP, checkable=True
        )
        self._auto = QCheckBox("chosen automatically", self)
        self._auto.setObjectName("residuals_auto")
        self._auto.setChecked(True)
        self._auto.setToolTip("So that most arrows about reach the next one")
        self._factor = QDoubleSpinBox(self)
        self._factor.setObjectName("residuals_factor")
        self._factor.setRange(1, 1_000_000)
        self._factor.setDecimals(0)
        self._factor.setSuffix(" times longer")
        self._factor.setKeyboardTracking(False)
        self._factor.setToolTip("How many times longer the arrows are drawn")
        self._every = QCheckBox("also tiles that were not used (orange)", self)
        self._every.setObjectName("residuals_every")
        self._every.setToolTip(
            "Tiles that disagree with the alignment: a bubble, a change by the stain, "
            "or a place that really moved"
        )
        self._bar = QCheckBox("scale bar of the image", self)
        self._bar.setObjectName("residuals_bar")
        self._bar.setChecked(True)
        self._bar.setToolTip("napari's scale bar, in px of post-stain")
        self._key = ArrowKey(self)
        self._key_words = QLabel(self)
        self._key_words.setObjectName("residuals_key")
        self._key_words.setWordWrap(True)
        self._words = QLabel(self)
        self._words.setObjectName("residuals_words")
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setWordWrap(True)
        self._go = button(
            self,
            "residuals_largest",
            "Go to the largest",
            "Look at the tile whose displacement is the largest",
        )
        self._help = QLabel(_HELP, self)
        self._help.setWordWrap(True)
        self._arrange()
        self._start.clicked.connect(self.toggle)
        self._go.clicked.connect(self.go_to_largest)
        self._auto.toggled.connect(self._on_auto)
        self._factor.valueChanged.connect(self._redraw)
        self._every.toggled.connect(self._redraw)
        self._bar.toggled.connect(self._on_bar)
        self.arrows.ended.connect(self._on_ended)
        self._connections.add(session.results_changed, self._on_results)
        self._connections.add(session.source_changed, self._on_source)
        self._connections.add(camera(self._viewer).events.zoom, self._on_zoom)
        self._show_state()

    def _arrange(self) -> None:
        row = QHBoxLayout()
        row.addWidget(QLabel("Drawn", self))
        row.addWidget(self._factor, 1)
        layout = QVBoxLayout(self)
        layout.addWidget(self._start)
        layout.addLayout(row)
        layout.addWidget(self._auto)
        layout.addWidget(self._every)
        layout.addWidget(self._bar)
        layout.addWidget(self._key)
        layout.addWidget(self._key_words)
        layout.addWidget(self._words)
        layout.addWidget(self._go)
        layout.addWidget(self._help)

    @property
    def is_active(self) -> bool:
        """Whether the arrows are shown."""
        return self.arrows.layer is not None

    def toggle(self) -> None:
        """Show the arrows, or take them away."""
        if self.is_active:
            self.stop()
        else:
            self.start()

    def start(self) -> None:
        """Show the arrows of the sample's interior-aligned image."""
        section = find_section(self._session)
        layer = section.aligned
        if layer is None or about(layer).get("role") != "aligned 3":
            found = f"'{layer.name}'" if layer is not None else "no aligned image"
            self._refuse(
                "The remaining displacement is measured in stage 3; there is "
                f"{found} and no interior-aligned pre-stain: run stage 3 in the "
                "workbench, or open the results folder of the sample."
                + (f" {section.left_out}" if section.left_out else "")
            )
            return
        try:
            self._residuals = layer_residuals(layer)
        except RegistrationError as error:
            text = str(error)
            self._refuse(f"{text[0].upper()}{text[1:]}.")
            return
        self._source = layer
        self._message.clear()
        if self._auto.isChecked():
            self._factor.blockSignals(True)
            self._factor.setValue(amplification(self._residuals))
            self._factor.blockSignals(False)
        self._draw()
        self.arrows.show_bar(self._bar.isChecked())
        self._show_state()

    def go_to_largest(self) -> None:
        """Look at the tile whose displacement is the largest."""
        if self._residuals is not None and self._source is not None:
            _, x, y = self._residuals.largest
            row, column = self._source.data_to_world((y, x))
            move_camera(self._viewer, float(row), float(column))

    def stop(self) -> None:
        """Take the arrows away; the scale bar is as it was before."""
        self.arrows.stop()
        self._show_state()

    def close_down(self) -> None:
        """Stop, and listen to nothing any more."""
        super().close_down()
        self.arrows.close_down()

    def _refuse(self, text: str) -> None:
        self.stop()
        self._message.error(text)

    def _draw(self) -> None:
        assert self._source is not None
        assert self._residuals is not None
        self.arrows.show_arrows(
            self._source,
            self._residuals,
            self._factor.value(),
            every=self._every.isChecked(),
        )

    def _redraw(self) -> None:
        if self.sender() is self._factor:
            self._auto.blockSignals(True)
            self._auto.setChecked(False)
            self._auto.blockSignals(False)
        if self.is_active:
            self._draw()
            self._show_state()

    def _on_auto(self, automatic: bool) -> None:
        if automatic and self.is_active:
            self.start()

    def _on_bar(self, shown: bool) -> None:
        if self.is_active:
            self.arrows.show_bar(shown)

    def _on_ended(self) -> None:
        self._show_state()

    def _on_results(self, stage: int) -> None:
        """Stage 3 has run again: its arrows are drawn anew."""
        if self.is_active and stage in (0, 3):
            self.start()

    def _on_source(self) -> None:
        """Another sample: arrows of the one before would lie on its picture."""
        if self._source is not None and self.is_active:
            known = about(self._source)
            session = self._session
            if (known.get("sample"), known.get("dye")) != (session.sample, session.dye):
                self.stop()

    def _on_zoom(self, _event: object = None) -> None:
        if not self.is_active:
            return
        self._key.set_scale(self._factor.value() * camera(self._viewer).zoom)
        self._key_words.setText(
            f"This arrow stands for {self._key.text}. A displacement of 1 px would be "
            f"an arrow of {self._factor.value():g} px on the image."
        )

    def _show_state(self) -> None:
        active = self.is_active
        self._start.setChecked(active)
        self._start.setText("Hide arrows" if active else "Show arrows")
        for widget in (self._key, self._key_words, self._words, self._go):
            widget.setVisible(active)
        if active and self._residuals is not None and self._source is not None:
            self._words.setText(residual_words(self._residuals, self._source))
            self._on_zoom()
