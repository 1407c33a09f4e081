"""What the alignment leaves: its arrows, their key, and the figures in words."""

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QPointF, QSize, Qt
from qtpy.QtGui import QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget
from superqt.utils import signals_blocked

from napari_exo2micro.core import alignment
from napari_exo2micro.core.base import RegistrationError
from napari_exo2micro.core.parameters import um_words
from napari_exo2micro.plugin.inspection.box import ScreenLines, ToggleBox
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    Ground,
    LayerSpec,
    about,
    camera,
    ground,
    move_camera,
    scale_bar,
    screen_zoom,
)
from napari_exo2micro.plugin.layers.pair import find_section, stored_header
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import Display, Wish, wanted
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.rows import capitalised

#: The key's arrow is at most this long, and its head so long, screen px.
_LONGEST, _HEAD = 120.0, 9.0
#: Width of the viewer's arrows on the screen, px.
_LINE = 3.0
_USED, _LEFT_OUT = "#33ddff", "#ff8844"

_HELP = (
    "Each arrow leads from a grain in post-stain to where aligned pre-stain shows it, "
    "drawn many times longer. Arrows that point every way are noise of the measuring; "
    "neighbours that point the same way are displacement that remains."
)


class ArrowKey(QWidget):
    """An arrow as the viewer draws it now, and the displacement it stands for.

    Attributes
    ----------
    displacement : float
        What the arrow stands for, px of post-stain.
    length : float
        How long it is drawn, screen px.
    """

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("arrow_key")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.displacement = self.length = 0.0
        self.setToolTip(
            "An arrow of this length in the viewer stands for this displacement; it "
            "follows the zoom"
        )

    def set_scale(self, screen_px: float) -> None:
        """Choose the arrow; a displacement of 1 px is drawn `screen_px` long."""
        self.displacement = alignment.round_figure(_LONGEST / max(screen_px, 1e-9))
        self.length = self.displacement * screen_px
        self.update()

    def sizeHint(self) -> QSize:
        """Room for the arrow and its words."""
        return QSize(220, 26)

    minimumSizeHint = sizeHint

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the arrow in the colour of the text."""
        if not self.displacement:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = self.palette().windowText().color()
        painter.setPen(QPen(colour, 2))
        painter.setBrush(colour)
        middle, start, end = self.height() / 2, 4.0, 4.0 + self.length
        head = min(_HEAD, 0.6 * self.length)
        painter.drawLine(QPointF(start, middle), QPointF(end - head / 2, middle))
        painter.setPen(Qt.PenStyle.NoPen)
        tip, back = QPointF(end, middle), end - head
        wings = (QPointF(back, middle + side * head / 2) for side in (-1, 1))
        painter.drawPolygon(QPolygonF([tip, *wings]))
        painter.setPen(QPen(colour))
        painter.drawText(QPointF(end + 10, middle + 4), f"= {self.displacement:g} px")
        painter.end()


def layer_residuals(layer: Image) -> alignment.Residuals:
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
    return alignment.residuals_from_details(header.details, header.transform)


def residual_words(residuals: alignment.Residuals, layer: Image) -> str:
    """Return the figures of the residuals in words."""
    header = stored_header(layer)
    frame = header.canvas.get("post_frame") if header else None
    length, x, y = residuals.largest
    row, column = Ground.of(layer).pixels_of(layer, (y, x))
    size = header.pixel_size if header else None

    def lengths(px: float) -> str:
        return f"{px:.3f} px" + (f" ({um_words(px * size.mean)})" if size else "")

    used, left_out = int(residuals.used.sum()), int((~residuals.used).sum())
    words = [
        f"Half of the {used} tiles lie within {lengths(residuals.median)}, 95 % within "
        f"{lengths(residuals.p95)}.",
        f"The largest, {lengths(length)}, is "
        f"{residuals.where(tuple(frame) if frame else None)}: row {row:.0f}, column "
        f"{column:.0f}.",
    ]
    verdict = header.verdicts.get(3) if header else None
    if verdict is not None and verdict.accuracy:
        words.append(f"The alignment as a whole is good to about {verdict.accuracy}.")
    error = alignment.error_map_from_details(header.details) if header else None
    if error is not None:
        words.append(
            f"In half of the section less than {lengths(error.median)} is expected, in "
            f"95 % of it less than {lengths(error.p95)}."
        )
    if left_out:
        words.append(
            f"{left_out} more {'tile was' if left_out == 1 else 'tiles were'} measured "
            "and not used."
        )
    return "\n".join(words)


def error_spec(layer: Image) -> LayerSpec | None:
    """Return the expected error over an aligned layer; None where it is not known."""
    header = stored_header(layer)
    error = alignment.error_map_from_details(header.details) if header else None
    if error is None:
        return None
    known = {name: about(layer).get(name, "") for name in ("sample", "dye")}
    x, y = error.origin
    options = {
        "name": "{sample} {dye}: expected error, px".format(**known).strip(),
        "scale": (error.spacing, error.spacing),
        "translate": Ground.of(layer).pixels_of(layer, (y, x)),
        "colormap": "inferno",
        "blending": "translucent",
        "opacity": 0.6,
        "interpolation2d": "linear",
        "contrast_limits": (0.0, max(float(error.values.max()), 1e-3)),
        "metadata": {KEY: {**known, "role": "error map"}},
    }
    return LayerSpec(error.values, options, ground=Ground.of(layer))


class ResidualsBox(ToggleBox):
    """Button, amplification and key of the arrows."""

    HEADING = "Remaining displacement"
    NAME = "residuals_box"
    WORDS = ("Show arrows", "Hide arrows")
    TIP = _HELP

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.arrows = ScreenLines(self._viewer, _LINE, self)
        self._source: Image | None = None
        self._residuals: alignment.Residuals | None = None
        self._factor = controls.decimal_box(
            self,
            "residuals_factor",
            (1, 1_000_000),
            1,
            "How many times longer the arrows are drawn",
            self._on_factor,
            suffix=" times longer",
            decimals=0,
        )
        tip = "So that most arrows about reach the next one"
        self._auto = controls.check_box(
            self, "residuals_auto", "chosen automatically", tip, self._on_auto, on=True
        )
        self._every = controls.check_box(
            self,
            "residuals_every",
            "also tiles that were not used (orange)",
            "Tiles that disagree with the alignment: a bubble, a change by the stain, "
            "or a place that really moved",
            self._redraw,
        )
        tip = "napari's scale bar: um where the size of a pixel is known, else px"
        words = "scale bar of the image"
        self._bar = controls.check_box(
            self, "residuals_bar", words, tip, self._show_more, on=True
        )
        tip = (
            "How far from its true position a point is expected to be, as a heat map: "
            "bright where the alignment is not well known"
        )
        self._heat = controls.check_box(
            self,
            "residuals_error",
            "expected error over the image",
            tip,
            self._show_more,
        )
        self._key = ArrowKey(self)
        self._key_words = controls.WordsLabel("residuals_key", self)
        self._words = controls.WordsLabel("residuals_words", self)
        tip = "Look at the tile whose displacement is the largest"
        self._go = controls.button(
            self, "residuals_largest", "Go to the largest", tip, self.go_to_largest
        )
        explanation = controls.WordsLabel("residuals_help", self)
        explanation.say(_HELP)
        controls.column(
            self._start,
            controls.row("Drawn", (self._factor, 1)),
            self._auto,
            self._every,
            self._bar,
            self._heat,
            self._key,
            self._key_words,
            self._words,
            self._go,
            explanation,
            parent=self,
        )
        self.arrows.removed.connect(self.stop)
        self._connections.add(self._session.results_changed, self._on_results)
        self._connections.add(self._session.source_changed, self._on_source)
        self._connections.add(camera(self._viewer).events.zoom, self._on_zoom)
        self._show_state()

    @property
    def is_active(self) -> bool:
        """Whether the arrows are shown."""
        return self.arrows.layer is not None

    def start(self) -> None:
        """Show the arrows of the sample's interior-aligned image."""
        section = find_section(self._session)
        layer = section.aligned
        if layer is None or about(layer).get("role") != "aligned 3":
            there = f"'{layer.name}'" if layer is not None else "no aligned image"
            self._refuse(
                "The remaining displacement is measured in stage 3; there is "
                f"{there} and no interior-aligned pre-stain: run stage 3 in the "
                "workbench, or open the results folder of the sample."
                + (f" {section.left_out}" if section.left_out else "")
            )
            return
        try:
            self._residuals = layer_residuals(layer)
        except RegistrationError as error:
            self._refuse(f"{capitalised(str(error))}.")
            return
        self._source = layer
        self._message.clear()
        if self._auto.isChecked():
            with signals_blocked(self._factor):
                self._factor.setValue(alignment.amplification(self._residuals))
        self._draw(layer, self._residuals)
        self._show_more()

    def go_to_largest(self) -> None:
        """Look at the tile whose displacement is the largest."""
        if self._residuals is not None and self._source is not None:
            _, x, y = self._residuals.largest
            below = ground(self._viewer)
            row, column = below.pixels_of(self._source, (y, x))
            move_camera(self._viewer, float(row), float(column))

    def stop(self) -> None:
        """Take the arrows away; the scale bar is as it was before."""
        self.arrows.remove()
        self._show_more()
        self._show_state()

    def close_down(self) -> None:
        """Stop, and listen to nothing any more."""
        super().close_down()
        self.arrows.close_down()

    def _refuse(self, text: str) -> None:
        self.stop()
        self._message.error(text)

    def _draw(self, source: Image, residuals: alignment.Residuals) -> None:
        """Draw the arrows on the aligned layer whose residuals they are."""
        factor = self._factor.value()
        shown = residuals.used | self._every.isChecked()
        known = {name: about(source).get(name, "") for name in ("sample", "dye")}
        name = "{sample} {dye}: remaining displacement".format(**known)
        used = residuals.used[shown]
        options = {
            "name": f"{name} × {factor:g}".strip(),
            "translate": Ground.of(source).pixels_of(source, (0, 0)),
            "features": {"displacement_px": residuals.lengths[shown], "used": used},
            "edge_color": list(np.where(used, _USED, _LEFT_OUT)),
            "metadata": {KEY: {**known, "role": "residuals", "amplification": factor}},
        }
        vectors = residuals.vectors(factor)[shown]
        self.arrows.draw(vectors, "arrow", options, Ground.of(source))
        self._show_state()

    def _show_more(self) -> None:
        """Show napari's scale bar and the expected error, or what was before."""
        wish = None
        if self.is_active and self._source is not None:
            bar = wanted(scale_bar(self._viewer), visible=True)
            specs = [error_spec(self._source)] if self._heat.isChecked() else []
            wish = Wish(
                bar if self._bar.isChecked() else (),
                tuple(spec for spec in specs if spec is not None),
            )
        Display.of(self._viewer).show(self, wish)

    def _redraw(self) -> None:
        if self.is_active and self._source is not None and self._residuals is not None:
            self._draw(self._source, self._residuals)

    def _on_factor(self) -> None:
        with signals_blocked(self._auto):
            self._auto.setChecked(False)
        self._redraw()

    def _on_auto(self, automatic: bool) -> None:
        if automatic and self.is_active:
            self.start()

    def _on_results(self, stage: int) -> None:
        """Stage 3 has run again: its arrows are drawn anew."""
        if self.is_active and stage in (0, 3):
            self.start()

    def _on_source(self) -> None:
        """Another sample: arrows of the one before would lie on its picture."""
        if self._source is not None and self.is_active:
            known, session = about(self._source), self._session
            if (known.get("sample"), known.get("dye")) != (session.sample, session.dye):
                self.stop()

    def _on_zoom(self, _event: object = None) -> None:
        if not self.is_active:
            return
        factor = self._factor.value()
        self._key.set_scale(factor * screen_zoom(self._viewer))
        self._key_words.say(
            f"This arrow stands for {self._key.displacement:g} px. A displacement of "
            f"1 px would be an arrow of {factor:g} px on the image."
        )

    def _show_state(self) -> None:
        super()._show_state()
        active = self.is_active
        self._key.setVisible(active)
        self._go.setVisible(active)
        if active and self._residuals is not None and self._source is not None:
            self._words.say(residual_words(self._residuals, self._source))
            self._on_zoom()
        else:
            self._words.say("")
            self._key_words.say("")
