"""A dock for each stage: what is worked on, the stage's form, run and abort."""

from __future__ import annotations

from typing import ClassVar

from napari.components import ViewerModel
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QVBoxLayout

from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.widgets.dock import Dock
from napari_exo2micro.plugin.workbench.form import StageForm
from napari_exo2micro.plugin.workbench.run_bar import RunBar
from napari_exo2micro.plugin.workbench.source import SourcePanel


class StageDock(Dock):
    """One stage by itself: choose a sample, set its parameters, run it.

    A stage that another package registered gets a dock by a subclass with its
    `stage`, declared as a widget in that package's manifest.

    Parameters
    ----------
    napari_viewer : ViewerModel
        As napari hands it over; docks of one viewer share sample and parameters.

    Attributes
    ----------
    stage : int
        The number of the stage.
    form : StageForm
        What the stage does, its result and its parameters.
    """

    stage: ClassVar[int]

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.setObjectName(f"stage_dock_{self.stage}")
        session = shared_session(napari_viewer, self)
        self._session = session
        self.message = MessageStrip(self)
        self.source = SourcePanel(session, self.message.error, self)
        self.form = StageForm(session, self.stage, self)
        self.run_bar = RunBar(
            session, self.stage, buttons=("run_stage",), message=self.message.error
        )
        self.run_bar.started.connect(self.message.clear)
        session.source_changed.connect(self.message.clear)
        session.params_changed.connect(self._on_params)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.message)
        layout.addWidget(self.source)
        layout.addWidget(self.form, 1)
        layout.addWidget(self.run_bar)

    def showEvent(self, a0: QShowEvent | None) -> None:
        """Say that this stage's form came to the front."""
        super().showEvent(a0)
        self._session.show_stage(self.stage)

    def _on_params(self, _names: object) -> None:
        # What was wrong was said of the settings before.
        self.message.clear()


class PaddingDock(StageDock):
    """Stage 1: both images on one canvas."""

    stage = 1


class BoundaryDock(StageDock):
    """Stage 2: the outlines of the sections aligned."""

    stage = 2


class InteriorDock(StageDock):
    """Stage 3: the interiors aligned to a fraction of a pixel."""

    stage = 3


class DifferenceDock(StageDock):
    """Stage 4: the pre-stain image scaled and subtracted."""

    stage = 4
