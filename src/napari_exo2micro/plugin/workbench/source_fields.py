"""The fields of the source panel: how they look and where they stand."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_exo2micro.plugin.controls import button, labelled
from napari_exo2micro.plugin.folder_field import FolderField
from napari_exo2micro.plugin.words_label import WordsLabel
from napari_exo2micro.plugin.workbench.overview_view import OverviewView

__all__ = ["SourceFields"]

_FORMATS = {"both": "TIFF and FITS", "tiff": "TIFF", "fits": "FITS"}


class SourceFields(QWidget):
    """Sample and dye in one line, and the folders below it, which fold.

    Parameters
    ----------
    parent : QWidget, optional
        As for any widget.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("source_fields")
        self.sample = _combo(self, "sample", "The sample: a folder in the raw folder.")
        self.dye = _combo(self, "dye", "The dye: what the file names end in.")
        self.toggle = QToolButton(self)
        self.toggle.setObjectName("show_folders")
        self.toggle.setText("Folders")
        self.toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.toggle.setCheckable(True)
        self.toggle.setToolTip("Show or hide where the images are and results go.")
        self.toggle.toggled.connect(self._show_folders)
        self.raw = FolderField(
            "raw_dir",
            "raw folder",
            "The folder that holds one folder for each sample, and in each of these "
            "a pre-stain and a post-stain TIFF for each dye.",
            self,
        )
        self.output = FolderField(
            "output_dir",
            "results folder",
            "Where the results go, in a folder for each sample and dye.",
            self,
        )
        self.format = _combo(
            self,
            "checkpoint_format",
            "The file format of the images that each stage leaves.",
        )
        for value, words in _FORMATS.items():
            self.format.addItem(words, value)
        self.words = OverviewView(self)
        self.output_note = WordsLabel("output_note", self)
        self.stale_note = WordsLabel("stale_note", self)
        self.other_note = WordsLabel("other_note", self)
        self.start_hint = WordsLabel("start_hint", self)
        self.channels = button(
            self,
            "channels",
            "Channels…",
            "Show size, type and brightness of each channel of the raw files.",
        )
        self.again = button(
            self,
            "look_again",
            "Look again",
            "Look for samples and dyes anew: files may have come.",
        )
        self.simulated = button(
            self,
            "try_simulated",
            "Try it with a simulated section",
            "Make a small pair of images with microbes at known places, in a "
            "temporary folder, to try everything on.",
        )
        self._arrange()
        self._show_folders(False)

    def set_folded(self, folded: bool) -> None:
        """Show the folders, or only the sample and the dye."""
        self.toggle.setChecked(not folded)

    def _show_folders(self, shown: bool) -> None:
        self._folders.setVisible(shown)
        self.toggle.setArrowType(
            Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        )

    def _arrange(self) -> None:
        self.pair = QWidget(self)
        pair = QHBoxLayout(self.pair)
        pair.setContentsMargins(0, 0, 0, 0)
        pair.addWidget(self.sample, 3)
        pair.addWidget(self.dye, 2)
        head = QHBoxLayout()
        head.addWidget(self.pair, 1)
        head.addStretch()
        head.addWidget(self.toggle)
        buttons = QHBoxLayout()
        buttons.addWidget(self.again)
        buttons.addWidget(self.channels)
        # Shown once there is a folder: at first there is one thing to do.
        self.further = QWidget(self)
        further = QVBoxLayout(self.further)
        further.setContentsMargins(0, 0, 0, 0)
        further.addWidget(self.words)
        further.addLayout(buttons)
        further.addLayout(labelled("Results in", self.output))
        further.addWidget(self.output_note)
        further.addLayout(labelled("Written as", self.format))
        self._folders = QWidget(self)
        folders = QVBoxLayout(self._folders)
        folders.setContentsMargins(0, 0, 0, 0)
        folders.addWidget(self.start_hint)
        folders.addLayout(labelled("Raw folder", self.raw))
        folders.addWidget(self.further)
        folders.addWidget(self.simulated)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(head)
        layout.addWidget(self._folders)
        layout.addWidget(self.stale_note)
        layout.addWidget(self.other_note)


def _combo(parent: QWidget, name: str, tooltip: str) -> QComboBox:
    combo = QComboBox(parent)
    combo.setObjectName(name)
    combo.setToolTip(tooltip)
    combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return combo
