"""The line of a stage's form that switches its live preview and says what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.preview.live_preview import LivePreview
from napari_exo2micro.plugin.preview.scale_line import ScaleLinePlot
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.words_label import WordsLabel

if TYPE_CHECKING:
    from napari_exo2micro.plugin.preview.preview_work import StagePreview

__all__ = ["PreviewRow"]


class PreviewRow(QWidget):
    """Switches the live preview; stage 4 also draws the ratio with its scales.

    Parameters
    ----------
    session : Session
        Whose preview it is; all rows of a session switch together.
    stage : {2, 3, 4}
        Whose words are shown.
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(
        self, session: Session, stage: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"preview_row_{stage}")
        self._stage = stage
        self._preview = LivePreview.of(session)
        self._box = QCheckBox("Live preview", self)
        self._box.setObjectName("live_preview")
        self._box.setToolTip(
            "Show what this stage would find while its parameters change. Nothing is "
            "written: run the stage to keep the result."
        )
        self._box.setChecked(self._preview.is_on)
        self._words = WordsLabel("preview_words", self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self._box)
        layout.addWidget(self._words)
        self._plot: ScaleLinePlot | None = None
        if stage == 4:
            self._plot = ScaleLinePlot(self)
            self._plot.set_curve(None)
            layout.addWidget(self._plot)
        self._box.toggled.connect(self._preview.switch)
        self._preview.switched.connect(self._box.setChecked)
        self._preview.told.connect(self._on_told)
        self._preview.shown.connect(self._on_shown)
        self._on_told(stage, *self._preview.words(stage))

    def showEvent(self, a0: QShowEvent | None) -> None:
        """Let parameters be followed while there is a form."""
        super().showEvent(a0)
        self._preview.add_row(self)

    def hideEvent(self, a0: QHideEvent | None) -> None:
        """Let the preview end with the dock; another tab in front is no end."""
        super().hideEvent(a0)
        # Only afterwards is it known whether the dock was closed.
        QTimer.singleShot(0, self._preview.look_for_rows)

    def _on_told(self, stage: int, text: str, level: str) -> None:
        if stage != self._stage:
            return
        style = STYLES.get(level, "")
        box = f"QLabel {{ {style} padding: 4px; border-radius: 3px; }}"
        self._words.say(text, box if style else "")
        if self._plot is not None and self._preview.stage != self._stage:
            self._plot.set_curve(None)

    def _on_shown(self, preview: StagePreview) -> None:
        if self._plot is not None and preview.stage == self._stage:
            self._plot.set_curve(preview.curve)
