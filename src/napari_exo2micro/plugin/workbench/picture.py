"""The picture shows what the panels speak of, or says that it does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.pipeline import stages_done
from napari_exo2micro.core.raw import LazyPair, PairFiles, pair_files
from napari_exo2micro.plugin.files.opening import (
    given_size,
    main_window,
    open_pair,
    prepare_levels,
)
from napari_exo2micro.plugin.layers import sets
from napari_exo2micro.plugin.layers.layers import (
    LayerSpec,
    about,
    find_layers,
    is_stored,
    note_overlay,
)
from napari_exo2micro.plugin.layers.presenter import fit, presenter_of
from napari_exo2micro.plugin.layers.scene import Display, Rank, Wish, wanted
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls

logger = logging.getLogger(__name__)

_RESULTS, _RAW = "show results", "show the raw images"


class PictureOfChoice(QObject):
    """Lets the picture follow the choice of a session; see `PictureOfChoice.of`.

    It does so as long as there is a panel that speaks of the choice; see `follow`.

    A sample that is chosen is shown at once, with its valid results or its raw images.
    Other settings bring the results that were made with them, where there are any;
    where there are none a note in the picture says how it was made.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._is_new = True  # nothing was shown of this choice yet
        self._is_changed = False  # nor of these settings
        self._sample = ""
        self._count = 0  # of panels
        self._note = controls.delayed(self, self._show_note)
        session.source_changed.connect(self._on_source)
        session.status_changed.connect(self._on_status)
        session.params_changed.connect(self._on_params)
        session.results_changed.connect(self._later)
        self._events = session.viewer.layers.events
        self._events.connect(self._on_layers)
        session.jobs.closed.connect(self._close)

    @classmethod
    def of(cls, session: Session) -> PictureOfChoice:
        """Return the one of a session, made when it is first asked for."""
        known = session.findChild(cls)
        return known if isinstance(known, cls) else cls(session)

    def follow(self, panel: QWidget) -> None:
        """Let the picture follow the choice as long as a panel lives."""
        self._count += 1
        panel.destroyed.connect(self._on_left)
        if self._count == 1:
            self._on_source()
            self._on_status(self._session.status)

    def _on_left(self) -> None:
        self._count -= 1
        self._later()

    def show_raw(self, on_error: Callable[[str], None]) -> None:
        """Open the raw pair as layers."""
        session = self._session
        session.jobs.start(
            _raw_pair,
            title=f"opening the raw images of {session.sample} {session.dye}",
            on_result=self._on_raw,
            on_error=on_error,
            newest=_RAW,
            sample=session.sample,
            dye=session.dye,
            raw_dir=session.raw_dir,
            quick=main_window() is not None,
            pixel_size=given_size(session.viewer),
        )

    @property
    def has_more(self) -> bool:
        """Whether valid results are on disk that are not in the viewer."""
        shown = {
            path for _, known in stored_layers(self._session) for path in known["paths"]
        }
        return bool(set(self._valid().values()) - shown)

    @property
    def has_raw_only(self) -> bool:
        """Whether there are no valid results and nothing of the pair is shown."""
        session = self._session
        is_known = session.has_source and bool(session.status)
        own = find_layers(session.viewer, None, session.sample, session.dye)
        return is_known and not own and not self._valid()

    def _valid(self) -> dict[tuple[int, str], str]:
        """Return the files of valid images, by stage and name of the checkpoint."""
        return {
            (line.stage, line.name): str(line.path)
            for line in self._session.status
            if line.is_image and line.state == State.VALID
        }

    def _on_source(self) -> None:
        """Show what is there of the choice at once; the rest when its state is read."""
        session = self._session
        self._is_new = True
        self._later()
        if not (self._count and session.has_pair):
            return
        viewer, pair = session.viewer, (session.sample, session.dye)
        presenter_of(viewer).bring_forward(*pair)
        own = find_layers(viewer, None, *pair)
        if own and session.sample != self._sample:
            fit(viewer, own)
        self._sample = session.sample

    def _on_params(self, _names: object) -> None:
        self._is_changed = True
        self._later()

    def _on_status(self, _lines: object) -> None:
        """Show what is on disk of another choice, and what other settings have made."""
        session = self._session
        if not (self._count and session.status):
            return
        is_new, is_changed = self._is_new, self._is_changed
        self._is_new = self._is_changed = False
        # A run and a panel that opens results show them themselves.
        if session.jobs.is_busy or session.jobs.is_running(_RESULTS):
            return
        has_match = is_changed and sets.has_match(
            [known for _, known in stored_layers(session)],
            session.params,
            self._valid(),
        )
        if (is_new and self.has_more) or has_match:
            session.show_results(on_error=_log, on_result=self._on_shown)
        elif is_new and self.has_raw_only:
            self.show_raw(_log)

    def _on_shown(self, _count: int) -> None:
        """Bring the last result of these settings to the front, where one is not."""
        session = self._session
        presenter_of(session.viewer).leave_run(
            session.sample, session.dye, stages_done(session.status)
        )

    def _on_raw(self, opened: tuple[PairFiles, LazyPair, list[LayerSpec]]) -> None:
        files, pair, specs = opened
        viewer = self._session.viewer
        if find_layers(viewer, None, files.sample, files.dye):
            return  # a run was faster
        presenter_of(viewer).place_stage(1, specs)
        prepare_levels(files, pair, viewer)

    def _on_layers(self, event: Any) -> None:
        if event.type in ("visible", "inserted", "removed"):
            self._later()

    def _close(self) -> None:
        self._note.stop()
        self._events.disconnect(self._on_layers)

    def _later(self, _what: object = None) -> None:
        self._note.start()

    def _show_note(self) -> None:
        """Say in the picture how it differs from what the panels speak of."""
        session = self._session
        try:
            viewer = session.viewer
        except RuntimeError:  # it was closed
            return
        seen = [about(layer) for layer in viewer.layers if layer.visible]
        choice = session.sample, session.dye, session.params
        is_told = self._count and session.has_pair
        text = sets.shown_otherwise(seen, *choice) if is_told else ""
        values = wanted(
            note_overlay(viewer), text=text, visible=True, position="top_left"
        )
        wish = Wish(values, rank=Rank.CHOICE) if text else None
        Display.of(viewer).show(self, wish)


def stored_layers(session: Session) -> list[tuple[Layer, dict[str, Any]]]:
    """Return the images of a session's pair as they are on disk, and what is known."""
    own = find_layers(session.viewer, None, session.sample, session.dye)
    known = [(layer, about(layer)) for layer in own]
    return [(layer, facts) for layer, facts in known if is_stored(facts)]


def _log(text: str) -> None:
    """Keep what nobody has asked for in the log; its button tells it again."""
    logger.warning("%s", text)


def _raw_pair(
    sample: str,
    dye: str,
    raw_dir: Path,
    quick: bool,
    pixel_size: float | None,
    monitor: Monitor,
) -> tuple[PairFiles, LazyPair, list[LayerSpec]]:
    """Return a raw pair, opened, and its layers."""
    files = pair_files(sample, dye, raw_dir)
    return files, *open_pair(files, monitor, quick=quick, pixel_size=pixel_size)
