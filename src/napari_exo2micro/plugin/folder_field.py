"""A field for a folder: typed, chosen in a dialog, or one that was used lately."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Qt, QUrl, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_exo2micro.plugin.plain_text import literal
from napari_exo2micro.plugin.workbench.recent import recent, remember

__all__ = ["FolderField", "as_path"]

_BROWSE = 30


def as_path(text: str) -> Path | None:
    """Return the folder that a person typed, pasted or dropped; None for nothing."""
    text = text.strip().strip("\"'").strip()
    if text.startswith("file:"):
        text = QUrl(text).toLocalFile()
    return Path(text).expanduser() if text else None


class FolderField(QWidget):
    """A line to type a folder into, a list of recent ones, and a dialog.

    Parameters
    ----------
    name : str
        Its objectName, and that of the line.
    kind : str
        Which list of recent folders it offers, in words.
    tooltip : str
        What the folder is for.
    parent : QWidget, optional
        As for any widget.

    Attributes
    ----------
    chosen : Signal(object)
        Another folder was chosen, a `Path`.
    """

    chosen = Signal(object)

    def __init__(
        self, name: str, kind: str, tooltip: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self._kind = kind
        self._folder: Path | None = None
        self._line = QComboBox(self)
        self._line.setObjectName(f"{name}_line")
        self._line.setEditable(True)
        self._line.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._line.setToolTip(tooltip)
        self._purpose = tooltip
        self._line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._line.setMinimumContentsLength(8)
        edit = self._line.lineEdit()
        assert edit is not None
        self._edit = edit
        edit.editingFinished.connect(self._take)
        self._line.activated.connect(self._take)
        browse = QPushButton(self)
        browse.setObjectName(f"{name}_browse")
        browse.setText("…")
        browse.setToolTip(f"Choose the {kind} in a dialog.")
        browse.setFixedWidth(_BROWSE)
        browse.clicked.connect(lambda: self.browse())
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._line, 1)
        layout.addWidget(browse)
        self._offer()

    @property
    def folder(self) -> Path | None:
        """The folder; None when the field is empty."""
        return self._folder

    def show_folder(self, folder: Path | None) -> None:
        """Show a folder that was chosen elsewhere; nothing is told."""
        if folder != self._folder or as_path(self._edit.text()) != folder:
            self._folder = folder
            self._edit.setText("" if folder is None else str(folder))
        # The end of a path tells more than its beginning.
        self._edit.setCursorPosition(len(self._edit.text()))
        known = f"{self._purpose}\n{folder or ''}".strip()
        self._line.setToolTip(literal(known))

    def choose(self, folder: Path) -> None:
        """Take a folder as if it had been typed."""
        self._edit.setText(str(folder))
        self._take()

    def keep(self) -> None:
        """Put the folder at the head of the recent ones."""
        if self._folder is not None:
            remember(self._kind, self._folder.absolute())
            self._offer()

    def browse(self) -> None:
        """Ask for a folder in a dialog."""
        start = self._folder
        while start is not None and not start.is_dir() and start != start.parent:
            start = start.parent
        found = QFileDialog.getExistingDirectory(
            self, f"Choose the {self._kind}", str(start or Path.home())
        )
        if found:
            self.choose(Path(found))

    def _take(self, _index: int = -1) -> None:
        folder = as_path(self._edit.text())
        if folder is None or folder == self._folder:
            self.show_folder(self._folder)
            return
        self.show_folder(folder)
        self.chosen.emit(folder)

    def _offer(self) -> None:
        text = self._edit.text()
        with QSignalBlocker(self._line):
            self._line.clear()
            for one in recent(self._kind):
                self._line.addItem(one)
                index = self._line.count() - 1
                self._line.setItemData(index, literal(one), Qt.ItemDataRole.ToolTipRole)
            self._line.setCurrentIndex(-1)
            self._edit.setText(text)
