"""The live preview: a parameter moves, and what its stage would find is shown.

Nothing is computed in the thread of the window. A new value takes the place of the
one that is being worked on.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from napari.components import ViewerModel
from qtpy.QtCore import QElapsedTimer, QObject, QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.scale_methods import DEFAULT_SCALE, SCALE_METHODS
from napari_exo2micro.plugin.forms.parameter_row import with_titles
from napari_exo2micro.plugin.job import Job
from napari_exo2micro.plugin.layer_sets import hide_apart
from napari_exo2micro.plugin.layers import about, find_layers, remove_layers
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.preview import PreviewSource
    from napari_exo2micro.plugin.layers import LayerSpec
    from napari_exo2micro.plugin.preview.preview_work import StagePreview

__all__ = ["PREVIEWED", "LivePreview"]

#: Stages that have a preview.
PREVIEWED = (2, 3, 4)
_IDLE = "Change a parameter to see here what the stage would find."
#: Waiting for the next value of a series, ms.
_PAUSE = 15
#: Before reading what nobody has asked for yet, ms.
_BEFOREHAND = 400
#: Words on how far a preview is come when it takes so long, ms: each has the window
#: drawn anew, which takes time from the preview itself.
_LONG = 600


def _scale_of(name: str) -> str:
    """Return whose difference a person looks at who changes this parameter."""
    if name == "offset_correction":
        return DEFAULT_SCALE
    of = (m.name for m in SCALE_METHODS.values() if m.parameter == name)
    return next(of, "")


class LivePreview(QObject):
    """Shows what the stage in front would find; get it with `LivePreview.of`.

    Parameters
    ----------
    session : Session
        Whose parameters are followed.

    Attributes
    ----------
    switched : Signal(bool)
        The preview was switched on or off.
    told : Signal(int, str, str)
        Stage, what its preview says, and the level: empty, ``'warning'`` or
        ``'error'``.
    shown : Signal(object)
        A `StagePreview` whose layers are in the viewer now.
    """

    switched = Signal(bool)
    told = Signal(int, str, str)
    shown = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._is_on = True
        self._stage = 0
        self._number = 0
        self._shows = False
        self._job: Job | None = None
        self._begun = QElapsedTimer()
        self._source: PreviewSource | None = None
        self._scale = ""
        self._pair = ("", "")
        self._rows: weakref.WeakSet[QWidget] = weakref.WeakSet()
        self._has_form = True
        self._run_with: dict[str, Any] = {}
        self._hidden: set[str] = set()
        self._post_was_hidden = False
        self._words = dict.fromkeys(PREVIEWED, (_IDLE, ""))
        self._latest: StagePreview | None = None
        self._waiting: list[LayerSpec] = []
        self._turn = QTimer(self)
        self._turn.setSingleShot(True)
        self._turn.timeout.connect(self._place)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.timeout.connect(self._start)
        session.params_changed.connect(self._on_params)
        session.stage_shown.connect(self._on_stage)
        session.source_changed.connect(self._on_source)
        session.results_changed.connect(self._on_results)
        session.jobs.busy_changed.connect(self._on_busy)

    @classmethod
    def of(cls, session: Session) -> LivePreview:
        """Return the preview of a session, made when it is first asked for."""
        found = session.findChild(cls)
        return found if isinstance(found, cls) else cls(session)

    @property
    def is_on(self) -> bool:
        """Whether parameters are followed."""
        return self._is_on

    @property
    def stage(self) -> int:
        """The stage whose preview is shown; 0 when none is."""
        return self._stage

    @property
    def is_ready(self) -> bool:
        """Whether the pair is opened, so that a preview need not wait for it."""
        return self._source is not None

    def words(self, stage: int) -> tuple[str, str]:
        """Return what was told of a stage last: text and level."""
        return self._words.get(stage, ("", ""))

    def add_row(self, row: QWidget) -> None:
        """Have the preview end when the last of the rows with its tick box is gone.

        Parameters
        ----------
        row : QWidget
            Calls `look_for_rows` when it is hidden.
        """
        self._rows.add(row)
        self._has_form = True

    def look_for_rows(self) -> None:
        """Take the preview away when no row is in a window any more."""
        self._has_form = any(_is_in_a_window(row) for row in list(self._rows))
        if not self._has_form:
            self.clear()

    def switch(self, on: bool) -> None:
        """Follow parameters, or stop it and take the preview away."""
        if on == self._is_on:
            return
        self._is_on = on
        self.switched.emit(on)
        if on:
            self.refresh()
        else:
            self.clear()

    def refresh(self) -> None:
        """Preview the stage in front with the present parameters."""
        stage, is_busy = self._session.shown_stage, self._session.jobs.is_busy
        if self._is_on and self._has_form and stage in PREVIEWED and not is_busy:
            self._shows = True
            self._pause.start(_PAUSE)

    def prepare(self) -> None:
        """Read in the background what the first preview needs, and show nothing."""
        stage = self._session.shown_stage
        if self._shows and (self._pause.isActive() or self._is_working):
            return  # one that is to be shown is on its way
        is_free = self._is_on and not self._stage and self._has_form
        if is_free and stage in PREVIEWED:
            self._shows = False
            self._pause.start(_BEFOREHAND)

    def clear(self) -> None:
        """Take the preview away, and show again what it had hidden."""
        self._pause.stop()
        self._turn.stop()
        self._cancel()
        self._waiting.clear()
        self._latest, self._stage = None, 0
        for stage in PREVIEWED:
            self._tell(stage, _IDLE if self._is_on else "", "")
        with contextlib.suppress(RuntimeError):  # the viewer was closed
            viewer = self._session.viewer
            remove_layers(viewer, "preview ")
            self._bring_back(viewer)

    # What happens in the session ---------------------------------------------------

    def _on_params(self, names: tuple[str, ...]) -> None:
        self._scale = next(filter(None, map(_scale_of, names)), self._scale)
        if self._matter(names):
            self.refresh()

    def _matter(self, names: Iterable[str]) -> bool:
        """Return whether the stage in front rests on one of these parameters."""
        stage = self._session.shown_stage
        known = [PARAMETER_REGISTRY[n] for n in names if n in PARAMETER_REGISTRY]
        return any(parameter.stage <= stage for parameter in known)

    def _on_stage(self, number: int) -> None:
        if self._stage and number in PREVIEWED:
            self.refresh()
        elif self._stage:
            self.clear()  # the form in front has no preview
        else:
            self.prepare()

    def _on_source(self) -> None:
        self._source = None
        self.clear()
        self.prepare()

    def _on_busy(self, busy: bool) -> None:
        # The run shows its own layers; the preview would be of files that change.
        params = self._session.params
        if busy:
            self._run_with = params
            self.clear()
            return
        old = self._run_with
        changed = [name for name in params if params[name] != old.get(name)]
        if self._matter(changed):
            self.refresh()  # the run does not show what was chosen meanwhile
        else:
            self.prepare()

    def _on_results(self, _stage: int) -> None:
        if self._stage:
            self.clear()

    # Work ----------------------------------------------------------------------------

    def _start(self) -> None:
        session, stage = self._session, self._session.shown_stage
        if not (self._is_on and session.has_source) or session.jobs.is_busy:
            return
        if stage not in PREVIEWED:
            return
        self._number += 1
        number, shows = self._number, self._shows
        self._begun.start()
        with contextlib.suppress(RuntimeError):  # everything was closed meanwhile
            self._job = session.jobs.start(
                _work,
                title=f"preview of stage {stage}",
                on_sent=self._keep,
                on_result=self._show if shows else None,
                on_error=(
                    lambda text: self._on_error(number, stage, text) if shows else None
                ),
                on_progress=(
                    lambda _, text: (
                        self._on_progress(number, stage, text) if shows else None
                    )
                ),
                newest="preview",
                show_progress=False,
                tasks=session.task_source(),
                params=session.params,
                stage=stage,
                known=self._source,
                scale=self._scale,
            )

    @property
    def _is_working(self) -> bool:
        return self._job is not None and self._job.is_running

    def _cancel(self) -> None:
        self._number += 1
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _on_progress(self, number: int, stage: int, text: str) -> None:
        is_cancelled = number != self._number
        if not is_cancelled and self._begun.hasExpired(_LONG):
            self._tell(stage, f"Preview: {text} …", "")

    def _on_error(self, number: int, stage: int, text: str) -> None:
        if number == self._number:
            self._tell(stage, with_titles(text), "error")

    def _keep(self, source: PreviewSource) -> None:
        # Also of a preview that is cancelled later: what it has read is kept.
        self._source = source

    def _show(self, preview: StagePreview) -> None:
        from napari_exo2micro.plugin.preview.preview_placing import keep_fitting

        viewer, pair = self._session.viewer, (preview.sample, preview.dye)
        if not self._stage:
            self._pair = pair
            self._make_room(viewer, with_post=preview.stage != 4)
        self._stage = preview.stage
        self._latest = preview
        self._waiting = keep_fitting(viewer, preview.specs, *pair)
        self._place()

    def _place(self) -> None:
        """Place the layers that wait; after a new one the window has its turn."""
        from napari_exo2micro.plugin.preview.preview_placing import place_preview
        from napari_exo2micro.plugin.preview.preview_words import preview_words

        preview = self._latest
        if preview is None:
            return
        try:
            viewer = self._session.viewer
        except RuntimeError:  # it was closed
            return
        while self._waiting:
            is_first = not viewer.layers
            added = place_preview(viewer, self._waiting.pop(0))
            if is_first:
                viewer.reset_view()
                viewer.layers.selection.active = viewer.layers[0]
            if added and self._waiting:
                self._turn.start(0)
                return
        text, level = preview_words(preview.found)
        self._tell(preview.stage, with_titles(text), level)
        self.shown.emit(preview)

    def _tell(self, stage: int, text: str, level: str) -> None:
        self._words[stage] = (text, level)
        self.told.emit(stage, text, level)

    # What else is in the viewer ------------------------------------------------------

    def _make_room(self, viewer: ViewerModel, *, with_post: bool) -> None:
        """Hide this pair's other layers, but for post: pictures would mix."""
        hide_apart(viewer, *self._pair)
        for layer in find_layers(viewer, None, *self._pair):
            role = str(about(layer).get("role"))
            if role == "post" and with_post:
                self._post_was_hidden = not layer.visible
                layer.visible = True
            elif layer.visible and not role.startswith("preview"):
                self._hidden.add(role)
                layer.visible = False

    def _bring_back(self, viewer: ViewerModel) -> None:
        for layer in find_layers(viewer, None, *self._pair):
            role = str(about(layer).get("role"))
            if role in self._hidden:
                layer.visible = True
            elif role == "post" and self._post_was_hidden:
                layer.visible = False
        self._hidden.clear()
        self._post_was_hidden = False


def _is_in_a_window(row: QWidget) -> bool:
    """Return whether a row is part of a window that a person sees."""
    try:
        window = row.window()
        return window is not None and window.isVisible()
    except RuntimeError:  # Qt has deleted it
        return False


def _work(
    monitor: Monitor, send: Callable[[Any], None], **arguments: Any
) -> StagePreview:
    """Make a preview; the first one loads the core, here and not in the window."""
    from napari_exo2micro.plugin.preview.preview_work import make_preview

    found = make_preview(monitor=monitor, opened=send, **arguments)
    _warm_up()
    return found


@functools.cache
def _warm_up() -> None:
    """Have napari load here what its first lines on a picture need."""
    import numpy as np
    from napari.layers import Vectors

    Vectors(np.zeros((1, 2, 2)))
