"""A dock for each stage: what is worked on, the stage's form, run and abort."""

from __future__ import annotations

from typing import ClassVar

from magicgui.widgets import Container
from napari.components import ViewerModel

from napari_exo2micro.plugin.layers.presenter import shared_session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.widgets.dock import DockWatch
from napari_exo2micro.plugin.widgets.rows import ParameterRow
from napari_exo2micro.plugin.workbench.form import StageForm, parameter_rows
from napari_exo2micro.plugin.workbench.run_bar import RunBar
from napari_exo2micro.plugin.workbench.source import SourcePanel


class StageDock(Container[ParameterRow]):
    """One stage by itself: choose a sample, set its parameters, run it.

    A magicgui container of the stage's parameters, which scripts can set and read. A
    stage that another package registered gets a dock by a subclass with its `stage`,
    declared as a widget in that package's manifest.

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

    Examples
    --------
    >>> _, dock = viewer.window.add_plugin_dock_widget(  # doctest: +SKIP
    ...     "napari-exo2micro", "Stage 2: boundary alignment"
    ... )
    >>> dock["boundary_width"].value = 20  # doctest: +SKIP
    """

    stage: ClassVar[int]

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__(widgets=parameter_rows(self.stage), labels=False)
        native = self.native
        native.setObjectName(f"stage_dock_{self.stage}")
        session = shared_session(napari_viewer, native)
        self.message = MessageStrip(native)
        self.source = SourcePanel(session, self.message.error, native)
        self.form = StageForm(session, self.stage, self, native)
        self.run_bar = RunBar(
            session, self.stage, buttons=("run_stage",), message=self.message.error
        )
        # What was wrong was said of the source and the settings before.
        for signal in (
            self.run_bar.started,
            session.source_changed,
            session.params_changed,
        ):
            signal.connect(self.message.clear)
        self.margins = (6, 6, 6, 6)
        layout = native.layout()
        layout.addWidget(self.message)
        layout.addWidget(self.source)
        layout.addWidget(self.form, 1)
        layout.addWidget(self.run_bar)
        DockWatch(native).closed.connect(native.deleteLater)


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
