"""Make the pictures of the window: ``python docs/make_screenshots.py [FOLDER]``.

It uses the plugin as a person does: opens the panels from their menu entries,
presses the buttons, waits, and photographs the window. Without a screen run it
under ``xvfb-run -a -s "-screen 0 1600x1000x24"``. FOLDER is ``docs/images`` unless
another one is given.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QLineEdit,
    QListWidget,
    QTabWidget,
    QWidget,
)

from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.plugin.batch.dock import BatchDock
from napari_exo2micro.plugin.layers.presenter import shared_session

IMAGES = Path(__file__).parent / "images"
PLUGIN = "napari-exo2micro"
SIZE = (1500, 940)
PATIENCE = 180.0


class Photographer:
    """A window of napari, driven like a person would, and a camera.

    Parameters
    ----------
    folder : Path
        Where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = "dark"
        self.viewer.window.resize(*SIZE)
        self.session = shared_session(self.viewer)
        self._docks: list[Any] = []

    def open(self, panel: str) -> QWidget:
        """Open a panel by its name in the Plugins menu; close the ones before."""
        for dock in self._docks:
            self.viewer.window.remove_dock_widget(dock)
        dock, widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, panel)
        self._docks = [dock]
        self.rest()
        native: QWidget = getattr(widget, "native", widget)  # a magicgui container
        return native

    def press(self, widget: QWidget, name: str) -> None:
        """Press a button by its name."""
        button = widget.findChild(QAbstractButton, name)
        if button is None:
            raise LookupError(f"{widget.objectName()} has no button '{name}'")
        self.wait(button.isEnabled, f"'{name}' can be pressed")
        button.click()
        self.rest()

    def tick(self, widget: QWidget, name: str, on: bool) -> None:
        """Set a tick box by its name."""
        button = widget.findChild(QAbstractButton, name)
        if button is None:
            raise LookupError(f"{widget.objectName()} has no tick box '{name}'")
        if button.isChecked() != on:
            self.press(widget, name)

    def type_in(self, field: QWidget, folder: Path) -> None:
        """Type the path of a folder into its field."""
        edit = field.findChild(QLineEdit)
        if edit is None:
            raise LookupError(f"{field.objectName()} has no line to type into")
        edit.setText(str(folder))
        edit.editingFinished.emit()

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Let the window live until something is true."""
        end = time.monotonic() + PATIENCE
        while not ready():
            if time.monotonic() > end:
                raise TimeoutError(f"waited in vain until {what}")
            QApplication.processEvents()
            time.sleep(0.01)

    def rest(self, seconds: float = 0.6) -> None:
        """Let the window draw what has changed."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, "the window rests")

    def idle(self) -> None:
        """Wait until nothing is worked on."""
        self.wait(lambda: not self.session.jobs.is_working, "the work has ended")
        self.rest(1.0)

    def take(self, name: str) -> None:
        """Photograph the window."""
        self.rest(1.0)
        picture = self.viewer.screenshot(canvas_only=False, flash=False)
        path = self.folder / f"{name}.png"
        # 256 colours of its own: a third of the size.
        image = Image.fromarray(picture[..., :3])
        image.quantize(256, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)


def main(folder: Path = IMAGES) -> None:
    """Take all pictures, in the order of a first session."""
    camera = Photographer(folder)
    workbench = camera.open("Exo2Micro workbench")
    camera.take("workbench-start")
    camera.press(workbench, "try_simulated")
    camera.wait(lambda: camera.session.has_source, "the sample is chosen")
    camera.idle()
    camera.take("sample")
    camera.press(workbench, "run_all")
    camera.wait(lambda: camera.session.stored_result is not None, "it has results")
    camera.idle()
    camera.take("workbench")

    stage = camera.open("Stage 2: boundary alignment")
    camera.tick(stage, "live_preview", True)
    camera.session.set_params(boundary_width=25)
    camera.idle()
    camera.take("live-preview")
    camera.session.reset_params("boundary_width")
    camera.tick(stage, "live_preview", False)
    camera.idle()

    inspection = camera.open("Inspect an alignment")
    tabs = inspection.findChild(QTabWidget, "inspection_tabs")
    camera.press(inspection, "curtain_start")
    camera.take("inspection-curtain")
    camera.press(inspection, "curtain_start")
    tabs.setCurrentIndex(1)
    camera.press(inspection, "zoom_show")
    camera.idle()
    camera.take("inspection-zoom")
    tabs.setCurrentIndex(2)
    camera.press(inspection, "residuals_start")
    camera.idle()
    camera.take("inspection-displacement")
    camera.press(inspection, "residuals_start")

    diagnostics = camera.open("Diagnostic plots")
    plots = diagnostics.findChild(QListWidget, "plots")

    def wanted() -> list[Any]:
        begins = Qt.MatchFlag.MatchStartsWith
        return list(plots.findItems("Brighter after staining", begins))

    camera.wait(lambda: bool(wanted()), "the plots are listed")
    plots.setCurrentItem(wanted()[0])
    camera.idle()
    camera.take("diagnostics")

    compare = camera.open("Compare values of a parameter")
    camera.press(compare, "run_comparison")
    camera.wait(lambda: not camera.session.jobs.is_busy, "the comparison has ended")
    camera.idle()
    camera.take("compare")

    camera.open("Apply this alignment to a layer")
    camera.take("apply")
    camera.open("Exo2Micro log")
    camera.take("log")
    with tempfile.TemporaryDirectory() as made, contextlib.chdir(made):
        take_batch(camera, Path("sections"))
    camera.viewer.close()


def take_batch(camera: Photographer, folder: Path) -> None:
    """Photograph the batch panel in the middle of a batch.

    Of its nine pairs one has no pre-stain image and one has a damaged file. The
    window shows `folder` as it is given here: a relative one hides where it was made.
    """
    raw = folder / "raw"
    for number, sample in enumerate(("CD070", "CD071", "CD072")):
        for turn, dye in enumerate(("Cy5", "DAPI", "SybrGld"), 1):
            section = simulate_section(
                (900, 1000), seed=3 * number + turn, angle_deg=turn, shift=(9.0, -6.0)
            )
            write_pair(section, raw, sample, dye)
    (raw / "CD071" / "CD071_PreStain_SybrGld.tif").unlink()
    damaged = raw / "CD070" / "CD070_PostStain_SybrGld.tif"
    damaged.write_bytes(damaged.read_bytes()[:5000])
    camera.viewer.layers.clear()
    camera.session.reset_params()
    camera.session.set_params(pad=100)
    batch = camera.open("Batch of samples and dyes")
    assert isinstance(batch, BatchDock)
    camera.type_in(batch.output, folder / "processed")
    camera.type_in(batch.raw, raw)
    camera.wait(lambda: bool(batch.table.pairs), "the pairs are listed")
    camera.idle()
    camera.press(batch, "run_batch")
    camera.wait(batch.question.isVisible, "it tells what is missing")
    camera.press(batch, "question_yes")

    def done() -> list[Any]:
        pairs = batch.table.pairs
        return [pair for pair in pairs if batch.table.view_of(pair).word == "done"]

    camera.wait(lambda: bool(done()), "a pair is done")
    batch.open_result(done()[0])
    camera.wait(lambda: len(done()) > 2, "three pairs are done")
    batch.table.go_to(("CD071", "SybrGld"))
    batch.message.clear()
    camera.take("batch")
    camera.press(batch, "abort")
    camera.idle()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:2]))
