"""The workbench: what is worked on, the stages as tabs, run, results, presets."""

from __future__ import annotations

from napari.components import ViewerModel
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QSplitter, QVBoxLayout, QWidget

from napari_exo2micro.core.stages import STAGES
from napari_exo2micro.plugin.controls import scrolled
from napari_exo2micro.plugin.dock import Dock
from napari_exo2micro.plugin.forms.run_bar import RunBar
from napari_exo2micro.plugin.forms.stage_form import StageForm
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session
from napari_exo2micro.plugin.task_source import load_core
from napari_exo2micro.plugin.workbench.presets_menu import PresetsMenu
from napari_exo2micro.plugin.workbench.result_summary import ResultSummary
from napari_exo2micro.plugin.workbench.source_panel import SourcePanel
from napari_exo2micro.plugin.workbench.stage_tabs import StageTabs
from napari_exo2micro.plugin.workbench.status_list import StatusList

__all__ = ["Workbench"]

_LEAST_WIDTH = 320
_WIDTH = 385
_LEAST_FORM = 170


class Workbench(Dock):
    """All that a sample needs, from its raw files to the difference image.

    Parameters
    ----------
    napari_viewer : ViewerModel
        As napari hands it over; docks of one viewer share sample and parameters.

    Attributes
    ----------
    message : MessageStrip
        Says what is wrong or what was done.
    source : SourcePanel
        Raw folder, sample, dye and results folder.
    forms : dict
        Number -> `StageForm`, for each stage that is registered.
    run_bar : RunBar
        Runs the stage of the tab in front, and others.
    status : StatusList
        The check-list.
    """

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.setObjectName("workbench")
        self.setMinimumWidth(_LEAST_WIDTH)
        self._session = session = Session.of(napari_viewer, widget=self)
        self._is_ready = False
        self.message = MessageStrip(self)
        self.source = SourcePanel(session, self.message.error, self)
        self.forms = {number: StageForm(session, number, self) for number in STAGES}
        self.tabs = StageTabs(session, self.forms, self)
        self.run_bar = RunBar(
            session, self.tabs.stage, message=self.message.error, parent=self
        )
        self.summary = ResultSummary(session, self.message, self)
        self.status = StatusList(session, self.message.error, self)
        self.presets = PresetsMenu(session, self.message, self)
        self._arrange()
        self.run_bar.started.connect(self.message.clear)
        session.source_changed.connect(self.message.clear)
        session.source_changed.connect(self._on_source)
        session.stage_shown.connect(self.run_bar.set_stage)
        self._on_source()

    def close_down(self) -> None:
        """End with the dock."""
        self.summary.close_down()
        super().close_down()

    def sizeHint(self) -> QSize:
        """Return a width at which the tabs carry their numbers."""
        return QSize(_WIDTH, super().sizeHint().height())

    def showEvent(self, a0: QShowEvent | None) -> None:
        """Get ready in the background what the first run needs."""
        super().showEvent(a0)
        self._session.show_stage(self.tabs.stage)
        if not self._is_ready:
            self._is_ready = True
            self._session.jobs.start(
                load_core, title="getting ready", show_progress=False
            )

    def _on_source(self) -> None:
        # Without a sample there is nothing to list.
        self._results.setVisible(bool(self._session.sample))

    def _arrange(self) -> None:
        work = QWidget(self)
        inside = QVBoxLayout(work)
        inside.setContentsMargins(0, 0, 0, 0)
        self.tabs.setMinimumHeight(_LEAST_FORM)
        inside.addWidget(self.tabs, 1)
        inside.addWidget(self.run_bar)
        self._results = QWidget(self)
        inside = QVBoxLayout(self._results)
        inside.setContentsMargins(0, 4, 0, 0)
        inside.addWidget(self.summary)
        inside.addWidget(self.status, 1)
        halves = QSplitter(Qt.Orientation.Vertical, self)
        halves.setObjectName("halves")
        halves.setChildrenCollapsible(False)
        halves.addWidget(work)
        halves.addWidget(self._results)
        halves.setStretchFactor(0, 3)
        halves.setStretchFactor(1, 2)
        page = QWidget(self)
        inside = QVBoxLayout(page)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.addWidget(self.source)
        inside.addWidget(halves, 1)
        inside.addWidget(self.presets)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.message)
        layout.addWidget(scrolled(page), 1)
