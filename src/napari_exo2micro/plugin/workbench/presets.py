"""Presets saved and loaded, and the settings copied as Python or a command line."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from qtpy import QtWidgets
from qtpy.QtGui import QGuiApplication

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.plugin.session import settings
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.controls import MessageStrip
from napari_exo2micro.plugin.widgets.errors import literal

_FILES = "Presets (*.json);;All files (*)"


class PresetsMenu(QtWidgets.QWidget):
    """Two buttons with menus, for presets and for copying, and one that resets.

    Parameters
    ----------
    session : Session
        Whose parameters they are.
    message : MessageStrip
        Says what was done or what is wrong.
    """

    def __init__(
        self,
        session: Session,
        message: MessageStrip,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("presets_menu")
        self._session = session
        self._message = message
        self._folder = Path.home()  # where a dialog begins
        self._loading = f"preset {id(self)}"
        presets = QtWidgets.QMenu(self)
        presets.setObjectName("presets")
        presets.setToolTipsVisible(True)
        _entry(presets, "save_preset", "Save…", self.ask_and_save).setToolTip(
            "Save the parameters as a file that the command line takes too."
        )
        _entry(presets, "load_preset", "Load…", self.ask_and_load).setToolTip(
            "Set all parameters to those of a saved file."
        )
        self._recent = QtWidgets.QMenu("Recent", presets)
        self._recent.setObjectName("recent_presets")
        presets.addMenu(self._recent)
        presets.aboutToShow.connect(self._offer)
        copies = QtWidgets.QMenu(self)
        copies.setObjectName("copies")
        copies.setToolTipsVisible(True)
        _entry(copies, "copy_python", "Copy as Python", self.copy_python).setToolTip(
            "Put lines of Python on the clipboard that do the same run."
        )
        _entry(
            copies, "copy_command", "Copy as command line", self.copy_command_line
        ).setToolTip("Put a command on the clipboard that does the same run.")
        self._reset = QtWidgets.QPushButton("Reset all", self)
        self._reset.setObjectName("reset_all")
        self._reset.clicked.connect(lambda: self.reset_all())
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for text, menu, tooltip in (
            ("Presets", presets, "Save the parameters to a file, or load them."),
            ("Copy as", copies, "Copy the settings as Python or as a command line."),
        ):
            button = QtWidgets.QPushButton(text, self)
            button.setObjectName(f"{menu.objectName()}_button")
            button.setToolTip(tooltip)
            button.setMenu(menu)
            layout.addWidget(button, 1)
        layout.addWidget(self._reset, 1)
        session.params_changed.connect(self._on_params)
        self._on_params(())
        session.jobs.start(
            settings.last_folder,
            title="looking where presets are",
            on_result=self._begin_in,
            show_progress=False,
        )

    # Presets ---------------------------------------------------------------------

    def ask_and_save(self) -> None:
        """Ask for a file and save the parameters."""
        name, _ = QtWidgets.QFileDialog.getSaveFileName(
            self, "Save the parameters", str(self._folder / "preset.json"), _FILES
        )
        if name:
            path = Path(name)
            self.save(path if path.suffix else path.with_suffix(".json"))

    def ask_and_load(self) -> None:
        """Ask for a file and load the parameters."""
        name, _ = QtWidgets.QFileDialog.getOpenFileName(
            self, "Load parameters", str(self._folder), _FILES
        )
        if name:
            self.load(Path(name))

    def save(self, path: Path) -> None:
        """Save the parameters that differ from their defaults."""
        self._message.note(f"Saving {path} …")
        self._session.jobs.start(
            settings.write_preset,
            title=f"saving {path}",
            on_result=self._on_saved,
            on_error=self._message.error,
            show_progress=False,
            preset=settings.Preset(path, self._session.params),
        )

    def _on_saved(self, preset: settings.Preset) -> None:
        self._begin_in(preset.path.parent)
        count = len(parameters.non_default_params(preset.params))
        what = f"{count} changed parameters" if count else "all parameters at default"
        self._message.note(f"Saved: {preset.path} ({what}).")

    def load(self, path: Path) -> None:
        """Set every parameter to what a file says; the others to their defaults."""
        self._message.note(f"Reading {path} …")
        self._session.jobs.start(
            settings.read_preset,
            title=f"reading {path}",
            on_result=self._on_loaded,
            on_error=self._message.error,
            newest=self._loading,
            show_progress=False,
            path=path,
        )

    def _on_loaded(self, preset: settings.Preset) -> None:
        try:
            self._session.set_params(**{**parameters.default_params(), **preset.params})
        except Exo2MicroError as error:
            self._message.error(str(error))
            return
        self._show_all()
        self._begin_in(preset.path.parent)
        self._message.note(f"Loaded: {preset.path} ({_titles(preset.params)}).")

    def _begin_in(self, folder: Path) -> None:
        self._folder = folder

    def reset_all(self) -> None:
        """Set every parameter of every stage to its default."""
        self._session.jobs.cancel(self._loading)  # it would change them once more
        changed = _titles(self._session.non_default_params())
        self._session.reset_params()
        self._show_all()
        self._message.note(f"Set to their defaults: {changed}.")

    def _show_all(self) -> None:
        """Let forms show every value: what was half typed gives way too."""
        self._session.params_changed.emit(tuple(self._session.params))

    # Copies ----------------------------------------------------------------------

    def copy_python(self) -> None:
        """Put Python that does the run on the clipboard."""
        self._copy(parameters.as_python, "Copied: Python for all stages of {}.")

    def copy_command_line(self) -> None:
        """Put the command line that does the run on the clipboard."""
        self._copy(
            parameters.as_command_line, "Copied: the command line for all stages of {}."
        )

    def _copy(self, recipe: Callable[..., str], said: str) -> None:
        session = self._session
        if not session.has_source:
            self._message.error(
                "nothing to copy yet; choose the raw folder, the sample and the dye "
                "at the top of the workbench"
            )
            return
        assert session.raw_dir is not None
        text = recipe(
            session.sample,
            session.dye,
            raw_dir=session.raw_dir.absolute(),
            output_dir=session.output_dir.absolute(),
            checkpoint_format=session.checkpoint_format,
            params=session.params,
        )
        clipboard = QGuiApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        self._message.note(said.format(f"{session.sample} / {session.dye}"))

    # How it looks ----------------------------------------------------------------

    def _offer(self) -> None:
        """Fill the list of recent presets."""
        self._recent.clear()
        for path in settings.recent(settings.PRESET):
            action = _entry(
                self._recent,
                "recent_preset",
                Path(path).name.replace("&", "&&"),
                functools.partial(self.load, Path(path)),
            )
            action.setToolTip(literal(path))
        self._recent.setEnabled(not self._recent.isEmpty())

    def _on_params(self, _names: object) -> None:
        count = len(self._session.non_default_params())
        self._reset.setEnabled(bool(count))
        self._reset.setToolTip(
            f"Set all parameters of all stages to their defaults; {count} differ."
            if count
            else "All parameters are at their defaults."
        )


def _entry(
    menu: QtWidgets.QMenu, name: str, text: str, function: Callable[[], None]
) -> QtWidgets.QAction:
    action = QtWidgets.QAction(text, menu)
    action.setObjectName(name)
    # `triggered` brings whether it is checked; the functions take nothing.
    action.triggered.connect(lambda _checked=False: function())
    menu.addAction(action)
    return action


def _titles(names: Iterable[str]) -> str:
    """Return parameters as forms call them."""
    titles = (parameters.PARAMETER_REGISTRY[name].title for name in names)
    return ", ".join(titles) or "all at their defaults"
