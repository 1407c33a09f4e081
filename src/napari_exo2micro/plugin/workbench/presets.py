"""Presets saved and loaded, and the settings copied as Python or a command line."""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

from qtpy import QtWidgets
from qtpy.QtGui import QGuiApplication

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.plugin.session import settings
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

_FILES = "Presets (*.json);;All files (*)"


class PresetsMenu(QtWidgets.QWidget):
    """Two buttons with menus, for presets and for copying, and one that resets."""

    def __init__(
        self,
        session: Session,
        message: controls.MessageStrip,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("presets_menu")
        self._session = session
        self._message = message
        self._folder = Path.home()  # where a dialog begins
        self._loading = f"preset {id(self)}"
        presets = _menu(self, "presets")
        tip = "Save the parameters as a file that the command line takes too."
        _entry(presets, "save_preset", "Save…", tip, self.ask_and_save)
        tip = "Set all parameters to those of a saved file."
        _entry(presets, "load_preset", "Load…", tip, self.ask_and_load)
        self._recent = _menu(presets, "recent_presets")
        self._recent.setTitle("Recent")
        presets.addMenu(self._recent)
        presets.aboutToShow.connect(self._offer)
        copies = _menu(self, "copies")
        tip = "Put lines of Python on the clipboard that do the same run."
        _entry(copies, "copy_python", "Copy as Python", tip, self.copy_python)
        tip = "Put a command on the clipboard that does the same run."
        _entry(copies, "copy_command", "Copy as command line", tip, self.copy_command)
        self._reset = controls.button(
            self, "reset_all", "Reset all", "", self.reset_all
        )
        tip = "Save the parameters to a file, or load them."
        of_presets = controls.button(self, "presets_button", "Presets", tip)
        of_presets.setMenu(presets)
        tip = "Copy the settings as Python or as a command line."
        of_copies = controls.button(self, "copies_button", "Copy as", tip)
        of_copies.setMenu(copies)
        buttons = (of_presets, 1), (of_copies, 1), (self._reset, 1)
        controls.row(*buttons, parent=self, margin=0)
        session.params_changed.connect(self._on_params)
        self._on_params(())
        session.jobs.start(
            settings.last_folder,
            title="looking where presets are",
            on_result=self._begin_in,
            show_progress=False,
        )

    def ask_and_save(self) -> None:
        """Ask for a file and save the parameters."""
        start = self._folder / "preset.json"
        path = controls.ask_to_save(self, "Save the parameters", start, _FILES)
        if path is not None:
            self.save(path)

    def ask_and_load(self) -> None:
        """Ask for a file and load the parameters."""
        path = controls.ask_to_open(self, "Load parameters", self._folder, _FILES)
        if path is not None:
            self.load(path)

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

    def copy_python(self) -> None:
        """Put Python that does the run on the clipboard."""
        self._copy(parameters.as_python, "Copied: Python for all stages of {}.")

    def copy_command(self) -> None:
        """Put the command line that does the run on the clipboard."""
        self._copy(
            parameters.as_command_line, "Copied: the command line for all stages of {}."
        )

    def _copy(self, recipe: Callable[..., str], said: str) -> None:
        session = self._session
        if session.raw_dir is None or not session.has_pair:
            self._message.error(
                "nothing to copy yet; choose the raw folder, the sample and the dye "
                "at the top of the workbench"
            )
            return
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

    def _offer(self) -> None:
        """Fill the list of recent presets."""
        self._recent.clear()
        for path in settings.recent(settings.PRESET):
            name = Path(path).name.replace("&", "&&")
            load = functools.partial(self.load, Path(path))
            _entry(self._recent, "recent_preset", name, literal(path), load)
        self._recent.setEnabled(not self._recent.isEmpty())

    def _on_params(self, _names: object) -> None:
        count = len(self._session.non_default_params())
        controls.enable(
            self._reset,
            "" if count else "All parameters are at their defaults.",
            f"Set all parameters of all stages to their defaults; {count} differ.",
        )


def _menu(parent: QtWidgets.QWidget, name: str) -> QtWidgets.QMenu:
    menu = QtWidgets.QMenu(parent)
    menu.setObjectName(name)
    menu.setToolTipsVisible(True)
    return menu


def _entry(
    menu: QtWidgets.QMenu, name: str, text: str, tip: str, function: Callable[[], None]
) -> None:
    action = QtWidgets.QAction(text, menu)
    action.setObjectName(name)
    action.setToolTip(tip)
    # `triggered` brings whether it is checked; the functions take nothing.
    action.triggered.connect(lambda _checked=False: function())
    menu.addAction(action)


def _titles(names: Iterable[str]) -> str:
    """Return parameters as forms call them."""
    titles = (parameters.PARAMETER_REGISTRY[name].title for name in names)
    return ", ".join(titles) or "all at their defaults"
