"""One stage: what it does, how its result stands, and its parameters."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.scale_methods import further_scales, scale_title
from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.plugin.controls import scrolled
from napari_exo2micro.plugin.forms.parameter_form import ParameterForm
from napari_exo2micro.plugin.forms.parameter_row import capitalised, with_titles
from napari_exo2micro.plugin.forms.scale_slider import ScaleSlider
from napari_exo2micro.plugin.marks import state_icon
from napari_exo2micro.plugin.message import STYLES
from napari_exo2micro.plugin.preview.live_preview import PREVIEWED
from napari_exo2micro.plugin.preview.preview_row import PreviewRow
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.words_label import WordsLabel

if TYPE_CHECKING:
    from napari_exo2micro.core.stage_states import StageState

__all__ = ["StageForm"]

_ICON = 16
_ALARMS = {"fell_back": "warning", "failed": "error", "stale": "warning"}


class StageForm(QWidget):
    """What a stage does, what its result says, and its parameters.

    Parameters
    ----------
    session : Session
        Whose stage it is.
    stage : int
        Its number.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    parameters : ParameterForm
        The parameters.
    """

    def __init__(
        self, session: Session, stage: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"stage_form_{stage}")
        self._session = session
        self._stage = stage
        purpose = WordsLabel("purpose", self)
        purpose.say(STAGES[stage].purpose)
        self._icon = QLabel(self)
        self._icon.setObjectName("state_icon")
        self._icon.setFixedWidth(_ICON)
        self._state = WordsLabel("state", self)
        self._result = WordsLabel("result", self)
        self.parameters = ParameterForm(session, stage, self)
        self._slider: ScaleSlider | None = None
        entry = PARAMETER_REGISTRY.get("manual_scale")
        if entry is not None and entry.stage == stage:
            self._slider = ScaleSlider(self.parameters.row(entry.name))
        state = QHBoxLayout()
        state.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        state.addWidget(self._state, 1)
        self._header = QVBoxLayout()
        if stage in PREVIEWED:
            self.add_header_widget(PreviewRow(session, stage, self))
        page = QWidget(self)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(purpose)
        layout.addLayout(state)
        layout.addWidget(self._result)
        layout.addLayout(self._header)
        layout.addWidget(self.parameters)
        layout.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scrolled(page), 1)
        layout.addWidget(self.parameters.foot)
        session.status_changed.connect(self._on_status)
        session.source_changed.connect(self._on_source)
        self._on_status(session.status)
        if session.has_source and not session.status:
            session.refresh_status()

    @property
    def stage(self) -> int:
        """The number of the stage."""
        return self._stage

    def add_header_widget(self, widget: QWidget) -> None:
        """Add a widget above the parameters, such as the preview's tick box."""
        self._header.addWidget(widget)

    def _on_source(self) -> None:
        if self._slider is not None:
            self._slider.set_measured(None)
        self._on_status([])
        if self._session.sample and self._session.dye:
            self._state.say("Looking for results …")

    def _on_status(self, lines: list[Any]) -> None:
        from napari_exo2micro.core.stage_states import stage_states

        result = self._session.stored_result
        state = stage_states(lines, result)[self._stage]
        chosen = bool(self._session.sample and self._session.dye)
        words = _state_words(state) if chosen else "No sample is chosen yet."
        self._icon.setPixmap(state_icon(state.state).pixmap(_ICON, _ICON))
        level = _ALARMS.get(state.state, "") if chosen else ""
        style = STYLES.get(level, "")
        box = f"QLabel {{ {style} padding: 4px; border-radius: 3px; }}"
        self._state.say(words, box if style else "")
        known = result if state.state not in ("missing", "stale") else None
        words, more = _result_words(self._stage, known or {})
        self._result.say(words)
        self._result.setToolTip(more)
        if self._slider is not None:
            scale = (known or {}).get("scale_estimate")
            if scale is not None and scale != self._slider.measured:
                self._slider.set_measured(scale)


def _state_words(state: StageState) -> str:
    """Return in words how the results of a stage stand."""
    reason = f": {with_titles(state.reason)}" if state.reason else ""
    return {
        "valid": f"Valid result{reason}",
        "missing": f"No result with these settings yet{reason}",
        "stale": f"Out of date{reason}. Run this stage again",
        "fell_back": f"A lesser result stands in{reason}",
        "failed": f"No trustworthy result{reason}",
        "skipped": f"Left out{reason}",
    }[state.state] + "."


def _result_words(stage: int, result: Mapping[str, Any]) -> tuple[str, str]:
    """Return accuracy or scale of a stage's result, and the figures behind it."""
    verdict = result.get("registration", {}).get(stage)
    if verdict is not None:
        from napari_exo2micro.core.alignment.quality import Verdict

        accuracy = float(verdict["numbers"].get("accuracy_px", -1.0))
        if accuracy < 0:
            return "", ""
        figures = capitalised(Verdict.from_dict(verdict).figures(most=20))
        return f"Expected accuracy: {accuracy:.2g} px", f"<p>{html.escape(figures)}</p>"
    scale = result.get("scale")
    if stage != 4 or not scale:
        return "", ""
    kind = scale_title(str(scale["kind"]))
    error = f" ± {scale['uncertainty']:.1g}" if scale.get("uncertainty") else ""
    lines = [f"Scale: {scale['value']:.5g}{error} ({kind})"]
    if scale.get("offset"):
        lines.append(f"constant offset of {scale['offset']:.3g} grey levels taken off")
    if result.get("scale_percentile_value") is not None:
        lines.append(f"{result['scale_percentile_value']:.5g} at the percentile")
    if result.get("manual_scale") is not None:
        lines.append(f"{result['manual_scale']:.5g} by hand")
    lines += [f"{value:.5g}: {title}" for title, value, _ in further_scales(result)]
    return "; ".join(lines), ""
