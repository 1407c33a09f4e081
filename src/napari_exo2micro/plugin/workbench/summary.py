"""What the results on disk come to, in two or three lines of plain words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.base import Exo2MicroError, Monitor
from napari_exo2micro.core.parameters import STAGES, State
from napari_exo2micro.core.photometry import further_scales, scale_title
from napari_exo2micro.core.pipeline import RunResult, stages_done
from napari_exo2micro.core.raw import LazyPair, PairFiles, find_pair
from napari_exo2micro.plugin.files.opening import open_pair, prepare_levels
from napari_exo2micro.plugin.layers.layers import (
    LayerSpec,
    about,
    find_layers,
    is_stored,
)
from napari_exo2micro.plugin.layers.presenter import presenter_of
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import (
    Connections,
    MessageStrip,
    WordsLabel,
    button,
    column,
)
from napari_exo2micro.plugin.widgets.marks import scale_words
from napari_exo2micro.plugin.widgets.rows import capitalised, with_titles
from napari_exo2micro.plugin.workbench.source import TROUBLE


def summary_words(result: RunResult | None, done: int) -> str:
    """Return what a result comes to; empty when there is none.

    Parameters
    ----------
    result : RunResult or None
        As `SampleDye.run` returns it.
    done : int
        The last stage in a row whose results are valid.
    """
    if result is None or done < 1:
        return ""
    if result.state == State.DEGRADED:
        first = f"Done, but look at the result: {with_titles(result.reason)}."
    elif done == max(STAGES):
        first = "Complete: every stage vouches for its result."
    else:
        stages = "Stage 1 is" if done == 1 else f"Stages 1 to {done} are"
        first = f"{stages} done."
    figures = ", ".join(_figures(result))
    notes = [f"Note: {text}" for text in result.warnings]
    lines = [first, f"{capitalised(figures)}." if figures else "", *notes]
    return "\n".join(filter(None, lines))


def _figures(result: RunResult) -> Iterator[str]:
    """Yield the scale and the accuracy, where they are known."""
    scale = result.scale
    if scale is not None:
        title = scale_title(scale.kind)
        yield f"scale {scale_words(scale.value, scale.uncertainty, title)}"
    if result.manual_scale is not None:
        yield f"by hand {result.manual_scale:.5g}"
    for title, value, _ in further_scales(result):
        yield f"{title} {value:.5g}"
    if result.accuracy_px is not None:
        yield f"alignment accurate to {result.accuracy_px:.2g} px"


class ResultSummary(QWidget):
    """The state, scale and accuracy of the valid results, and a button to see them.

    Parameters
    ----------
    session : Session
        Whose results they are.
    message : MessageStrip
        Says what is wrong.
    """

    def __init__(
        self, session: Session, message: MessageStrip, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("result_summary")
        self._session = session
        self._message = message
        self._words = WordsLabel("summary", self)
        self._results = button(
            self,
            "show_results",
            "Show results",
            "Open the valid results of all stages as layers, without running anything.",
        )
        self._results.clicked.connect(lambda: self.show_results())
        self._raw = button(
            self,
            "show_raw",
            "Show the raw images",
            "Open the pre-stain and the post-stain image as layers.",
        )
        self._raw.clicked.connect(lambda: self.show_raw())
        column(self._words, self._results, self._raw, parent=self, margin=0)
        session.source_changed.connect(self._offer)
        session.status_changed.connect(self._on_status)
        session.jobs.busy_changed.connect(self._offer)
        events = session.viewer.layers.events
        self._followed = Connections()
        for emitter in (events.inserted, events.removed):
            self._followed.add(emitter, self._offer)
        self._on_status()

    def close_down(self) -> None:
        """Follow the layers no more: napari knows nothing of widgets that are gone."""
        self._followed.close()

    def show_results(self) -> None:
        """Open the valid results of all stages as layers."""
        self._message.clear()
        try:
            self._session.show_results(
                on_error=self._message.error, on_result=self._on_shown
            )
        except Exo2MicroError as error:
            self._message.error(str(error))

    def show_raw(self) -> None:
        """Open the raw pair as layers."""
        session = self._session
        self._message.clear()
        session.jobs.start(
            _raw_pair,
            title=f"opening the raw images of {session.sample} {session.dye}",
            on_result=self._on_raw,
            on_error=self._message.error,
            newest="show the raw images",
            sample=session.sample,
            dye=session.dye,
            raw_dir=session.raw_dir,
        )

    def _on_shown(self, count: int) -> None:
        if not count:
            self._message.warning(
                "There are no valid results with these settings; press Run all."
            )

    def _on_raw(self, opened: tuple[PairFiles, LazyPair, list[LayerSpec]]) -> None:
        files, pair, specs = opened
        presenter_of(self._session.viewer).place_stage(1, specs)
        prepare_levels(files, pair, self._session.viewer)

    def _on_status(self, _lines: object = None) -> None:
        result = self._session.stored_result
        words = summary_words(result, stages_done(self._session.status))
        is_done = result is None or result.state == State.DONE
        self._words.say(words, "" if is_done else TROUBLE)
        self._offer()

    def _offer(self, _what: object = None) -> None:
        """Offer the results that are valid and not in the viewer, or the raw images."""
        session = self._session
        own = find_layers(session.viewer, sample=session.sample, dye=session.dye)
        images = filter(is_stored, map(about, own))
        shown = {path for known in images for path in known["paths"]}
        valid = {
            str(line.path)
            for line in session.status
            if line.kind == "checkpoint" and line.state == State.VALID
        }
        idle = not session.jobs.is_busy
        self._results.setVisible(bool(valid - shown) and idle)
        is_known = session.has_source and bool(session.status)
        self._raw.setVisible(is_known and not valid and not own and idle)


def _raw_pair(
    sample: str, dye: str, raw_dir: Path, monitor: Monitor
) -> tuple[PairFiles, LazyPair, list[LayerSpec]]:
    """Return a raw pair, opened, and its layers."""
    post, pre, _ = find_pair(sample, dye, raw_dir)
    files = PairFiles(sample, dye, post, pre)
    return files, *open_pair(files, monitor)
