"""Buttons, fields, messages, marks of states and pages, as all panels have them."""

import contextlib
import errno
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from napari.components import ViewerModel
from napari.utils.notifications import show_error
from qtpy import QtWidgets
from qtpy.QtCore import (
    QEvent,
    QObject,
    QPointF,
    QRectF,
    QSize,
    Qt,
    QTimer,
    QUrl,
    Signal,
)
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap, QPolygonF, QResizeEvent
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget
from superqt.utils import signals_blocked

from napari_exo2micro.core.base import Exo2MicroError, visible
from napari_exo2micro.core.parameters import State


class WordsLabel(QtWidgets.QLabel):
    """Sentences: wrapped, selectable, hidden while there is nothing to say.

    A wrapped QLabel asks layouts for the height of fewer lines than it has once it
    is narrow, and what stands below is drawn over it.
    """

    def __init__(self, name: str, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        # Words give way to the width of a dock; they do not widen it.
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed
        )
        self.hide()

    def say(self, text: str, style: str = "") -> None:
        """Show a plain text with a style sheet; hide the label when there is none."""
        if style != self.styleSheet():
            self.setStyleSheet(style)
        self.setText(text)
        self.setVisible(bool(text))

    def hasHeightForWidth(self) -> bool:
        """Return false: the height is told as the least one, which layouts heed."""
        return False

    def sizeHint(self) -> QSize:
        """Return the width as it is and the height that the lines need there."""
        return QSize(self.width(), self.heightForWidth(max(self.width(), 1)))

    def minimumSizeHint(self) -> QSize:
        """Return no width and the height that the lines need at the width as it is."""
        return QSize(0, self.sizeHint().height())

    def resizeEvent(self, a0: QResizeEvent | None) -> None:
        """Ask for another height when the width changes."""
        super().resizeEvent(a0)
        if a0 is None or a0.size().width() != a0.oldSize().width():
            self.updateGeometry()


# Readable on napari's dark and light themes alike: each brings its background.
#: level -> style of a label.
STYLES = {
    "error": "background: #7a1f1f; color: white;",
    "warning": "background: #7a5a00; color: white;",
    "note": "background: #1f4d7a; color: white;",
}


def label_style(level: str) -> str:
    """Return the style sheet of a label that speaks at this level; empty for none."""
    if not level:
        return ""
    return f"QLabel {{ {STYLES[level]} padding: 4px; border-radius: 3px; }}"


class MessageStrip(QtWidgets.QWidget):
    """Shows one message at a time; hidden while there is none.

    Attributes
    ----------
    level : str
        ``'error'``, ``'warning'``, ``'note'``; empty without a message.
    """

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("message_strip")
        self.level = ""
        self._label = WordsLabel("message", self)
        close = QtWidgets.QToolButton(self)
        close.setObjectName("close_message")
        close.setText("×")
        close.setToolTip("Close this message")
        close.clicked.connect(self.clear)
        row((self._label, 1), (close, 0, TOP), parent=self, margin=0)
        self.hide()

    @property
    def text(self) -> str:
        """The message shown; empty when there is none."""
        return self._label.text()

    def error(self, text: str) -> None:
        """Show what went wrong and what to do."""
        self._show("error", text)

    def warning(self, text: str) -> None:
        """Show what deserves care."""
        self._show("warning", text)

    def note(self, text: str) -> None:
        """Show what was done or what to do next."""
        self._show("note", text)

    def clear(self, _what: object = None) -> None:
        """Take the message away."""
        self._show("", "")

    def _show(self, level: str, text: str) -> None:
        self.level = level
        self._label.say(text, label_style(level))
        self.setVisible(bool(level))


#: What a widget calls when a person used it; Qt leaves out what it does not take.
Slot = Callable[..., Any]

_LABEL_WIDTH = 76


def button(
    parent: QtWidgets.QWidget,
    name: str,
    text: str,
    tip: str = "",
    on_click: Slot | None = None,
    *,
    checkable: bool = False,
) -> QtWidgets.QPushButton:
    """Return a button.

    Parameters
    ----------
    parent : QWidget
        What it is a part of.
    name : str
        Its objectName.
    text, tip : str
        What it and its tooltip say.
    on_click : callable, optional
        What it does.
    checkable : bool, optional
        Whether it stays down.
    """
    made = QtWidgets.QPushButton(text, parent)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    if on_click is not None:
        made.clicked.connect(on_click)
    return made


def enable(button: QtWidgets.QPushButton, problem: str, tip: str) -> None:
    """Enable a button when there is no problem, and say in its tooltip which."""
    button.setEnabled(not problem)
    button.setToolTip(literal(problem) or tip)


def labelled(text: str, field: QtWidgets.QWidget) -> QtWidgets.QHBoxLayout:
    """Return a field with its label; the labels of all lines are equally wide."""
    label = QtWidgets.QLabel(text, field.parentWidget())
    label.setMinimumWidth(_LABEL_WIDTH)
    label.setBuddy(field)
    return row(label, (field, 1))


def scrolled(widget: QtWidgets.QWidget) -> QtWidgets.QScrollArea:
    """Return a widget that scrolls up and down where there is too little room."""
    area = QtWidgets.QScrollArea()
    area.setFrameShape(QtWidgets.QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(widget)
    return area


#: For a part that is lower than those beside it.
TOP = Qt.AlignmentFlag.AlignTop
_Part = QtWidgets.QWidget | QtWidgets.QLayout | str | None
_Placed = _Part | tuple[_Part, int] | tuple[_Part, int, Qt.AlignmentFlag]
_Box = TypeVar("_Box", bound=QtWidgets.QBoxLayout)


def row(
    *parts: _Placed,
    parent: QtWidgets.QWidget | None = None,
    margin: int | None = None,
) -> QtWidgets.QHBoxLayout:
    """Return parts side by side; of `parent` it becomes the layout.

    Parameters
    ----------
    *parts : QWidget, QLayout, str or None, or one of these with its stretch
        A text is a label; None takes the room that is left. A widget may have an
        alignment after its stretch.
    parent : QWidget, optional
        What they are parts of.
    margin : int, optional
        On all sides, px; as the style has it where it is left out.
    """
    return _filled(QtWidgets.QHBoxLayout(), parts, parent, margin)


def column(
    *parts: _Placed,
    parent: QtWidgets.QWidget | None = None,
    margin: int | None = None,
) -> QtWidgets.QVBoxLayout:
    """Return parts below one another, see `row`."""
    return _filled(QtWidgets.QVBoxLayout(), parts, parent, margin)


def _filled(
    layout: _Box,
    parts: tuple[_Placed, ...],
    parent: QtWidgets.QWidget | None,
    margin: int | None,
) -> _Box:
    for part in parts:
        placed: tuple[Any, ...] = part if isinstance(part, tuple) else (part,)
        content, *place = placed
        if isinstance(content, str):
            content = QtWidgets.QLabel(content)
        if content is None:
            layout.addStretch(1)
        elif isinstance(content, QtWidgets.QLayout):
            layout.addLayout(content, *place)
        else:
            layout.addWidget(content, *place)
    if margin is not None:
        layout.setContentsMargins(margin, margin, margin, margin)
    if parent is not None:
        parent.setLayout(layout)
    return layout


def form(
    *rows: tuple[_Part, QtWidgets.QWidget | QtWidgets.QLayout] | QtWidgets.QWidget,
    parent: QtWidgets.QWidget | None = None,
    margin: int | None = None,
) -> QtWidgets.QFormLayout:
    """Return fields below one another: each with its label, or across the width.

    Parameters
    ----------
    *rows
        Label and field, or what stands by itself.
    parent, margin
        As for `column`.
    """
    made = QtWidgets.QFormLayout(parent)
    made.setFieldGrowthPolicy(
        QtWidgets.QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow
    )
    if margin is not None:
        made.setContentsMargins(margin, margin, margin, margin)
    for line in rows:
        made.addRow(*(line if isinstance(line, tuple) else (line,)))
    return made


def check_box(
    parent: QtWidgets.QWidget,
    name: str,
    text: str,
    tip: str,
    on_toggle: Slot | None = None,
    *,
    on: bool = False,
) -> QtWidgets.QCheckBox:
    """Return a box to tick; see `button`."""
    made = QtWidgets.QCheckBox(text, parent)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setChecked(on)
    if on_toggle is not None:
        made.toggled.connect(on_toggle)
    return made


def spin_box(
    parent: QtWidgets.QWidget,
    name: str,
    limits: tuple[int, int],
    value: int,
    tip: str,
    on_change: Slot | None = None,
    *,
    suffix: str = " px",
    step: int = 1,
) -> QtWidgets.QSpinBox:
    """Return a field for a number, told when it was typed; see `button`."""
    made = QtWidgets.QSpinBox(parent)
    made.setSingleStep(step)
    _fill_number(made, name, limits, value, tip, on_change, suffix)
    return made


def decimal_box(
    parent: QtWidgets.QWidget,
    name: str,
    limits: tuple[int, int],
    value: float,
    tip: str,
    on_change: Slot | None = None,
    *,
    suffix: str = " px",
    decimals: int = 1,
) -> QtWidgets.QDoubleSpinBox:
    """Return a field for a number with decimals; see `spin_box`."""
    made = QtWidgets.QDoubleSpinBox(parent)
    made.setDecimals(decimals)
    _fill_number(made, name, limits, value, tip, on_change, suffix)
    return made


def _fill_number(
    made: Any,
    name: str,
    limits: tuple[int, int],
    value: float,
    tip: str,
    on_change: Slot | None,
    suffix: str,
) -> None:
    made.setObjectName(name)
    made.setRange(*limits)
    made.setValue(value)
    made.setSuffix(suffix)
    made.setKeyboardTracking(False)
    made.setToolTip(tip)
    if on_change is not None:
        made.valueChanged.connect(on_change)


def line_edit(
    parent: QtWidgets.QWidget,
    name: str,
    tip: str,
    placeholder: str = "",
    on_change: Slot | None = None,
) -> QtWidgets.QLineEdit:
    """Return a line to type into; see `button`."""
    made = QtWidgets.QLineEdit(parent)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setPlaceholderText(placeholder)
    if on_change is not None:
        made.textChanged.connect(on_change)
    return made


def combo_box(
    parent: QtWidgets.QWidget,
    name: str,
    tip: str,
    items: Iterable[str] | Mapping[str, Any] = (),
    on_change: Slot | None = None,
) -> QtWidgets.QComboBox:
    """Return a list to choose from that does not widen a dock; see `refill`."""
    made = QtWidgets.QComboBox(parent)
    made.setObjectName(name)
    made.setToolTip(tip)
    refill(made, items)
    made.setSizePolicy(
        QtWidgets.QSizePolicy.Policy.Ignored, QtWidgets.QSizePolicy.Policy.Fixed
    )
    made.setMinimumWidth(90)
    if on_change is not None:
        made.currentIndexChanged.connect(on_change)
    return made


def refill(
    combo: QtWidgets.QComboBox,
    items: Iterable[str] | Mapping[str, Any],
    chosen: Any = None,
) -> None:
    """List texts anew, a mapping's with its values as data; nothing is told.

    Parameters
    ----------
    combo : QComboBox
        Where they are listed.
    items : iterable of str or mapping of str
        Texts, or texts with their data.
    chosen : object, optional
        Data of what is chosen; the first one where no text has it.
    """
    with signals_blocked(combo):
        combo.clear()
        for text in items:
            combo.addItem(text, items[text] if isinstance(items, Mapping) else None)
        if combo.count():
            combo.setCurrentIndex(max(combo.findData(chosen), 0))


def progress_bar(parent: QtWidgets.QWidget, tip: str = "") -> QtWidgets.QProgressBar:
    """Return a bar in thousandths; see `button`."""
    made = QtWidgets.QProgressBar(parent)
    made.setObjectName("progress")
    made.setToolTip(tip)
    made.setRange(0, 1000)
    made.setFormat("%p %")
    return made


def delayed(parent: QObject, slot: Callable[[], None], wait: int = 0) -> QTimer:
    """Return a timer: `slot` is called once for all starts within `wait` ms."""
    made = QTimer(parent)
    made.setSingleShot(True)
    made.setInterval(wait)
    made.timeout.connect(slot)
    return made


_BROWSE = 30


def ask_to_save(
    parent: QtWidgets.QWidget, title: str, start: Path, kinds: str
) -> Path | None:
    """Ask where a file goes; a name without ending gets the first one of `kinds`."""
    chosen, _ = QtWidgets.QFileDialog.getSaveFileName(parent, title, str(start), kinds)
    if not chosen:
        return None
    path = Path(chosen)
    ending = kinds.partition("*")[2].replace(")", " ").split()[0]
    return path if path.suffix else path.with_name(path.name + ending)


def ask_to_open(
    parent: QtWidgets.QWidget, title: str, start: Path | str, kinds: str
) -> Path | None:
    """Ask which file of these kinds is opened."""
    chosen, _ = QtWidgets.QFileDialog.getOpenFileName(parent, title, str(start), kinds)
    return Path(chosen) if chosen else None


def as_path(text: str) -> Path | None:
    """Return the folder that a person typed, pasted or dropped; None for nothing."""
    text = text.strip().strip("\"'").strip()
    if text.startswith("file:"):
        text = QUrl(text).toLocalFile()
    return Path(text).expanduser() if text else None


class FolderField(QtWidgets.QWidget):
    """A line to type a folder into, a list of recent ones, and a dialog.

    Its `kind` says in words what kind of folder it is, its tooltip what that is for.

    Attributes
    ----------
    chosen : Signal(object)
        Another folder was chosen, a `Path`.
    folder : Path or None
        The folder; None when the field is empty.
    """

    chosen = Signal(object)

    def __init__(
        self,
        name: str,
        kind: str,
        tooltip: str,
        parent: QtWidgets.QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.kind = kind
        self.folder: Path | None = None
        self._line = combo_box(self, f"{name}_line", tooltip)
        self._line.setEditable(True)
        self._line.setInsertPolicy(self._line.InsertPolicy.NoInsert)
        self._purpose = tooltip
        edit = self._line.lineEdit()
        assert edit is not None
        self._edit = edit
        edit.editingFinished.connect(self._take)
        self._line.activated.connect(self._take)
        tip = f"Choose the {kind} in a dialog."
        browse = button(self, f"{name}_browse", "…", tip, self.browse)
        browse.setFixedWidth(_BROWSE)
        row((self._line, 1), browse, parent=self, margin=0)

    def show_folder(self, folder: Path | None) -> None:
        """Show a folder that was chosen elsewhere; nothing is told."""
        if folder != self.folder or as_path(self._edit.text()) != folder:
            self.folder = folder
            self._edit.setText("" if folder is None else str(folder))
        # The end of a path tells more than its beginning.
        self._edit.setCursorPosition(len(self._edit.text()))
        known = f"{self._purpose}\n{folder or ''}".strip()
        self._line.setToolTip(literal(known))

    def browse(self) -> None:
        """Ask for a folder in a dialog."""
        above = [self.folder, *self.folder.parents] if self.folder else []
        start = next((folder for folder in above if folder.is_dir()), Path.home())
        chosen = QtWidgets.QFileDialog.getExistingDirectory(
            self, f"Choose the {self.kind}", str(start)
        )
        if chosen:
            self._edit.setText(chosen)
            self._take()

    def _take(self, _index: int = -1) -> None:
        folder = as_path(self._edit.text())
        if folder is None or folder == self.folder:
            self.show_folder(self.folder)
            return
        self.show_folder(folder)
        self.chosen.emit(folder)

    def offer(self, folders: Iterable[str]) -> None:
        """List recent folders, the last one first; what is typed stays."""
        text = self._edit.text()
        with signals_blocked(self._line):
            self._line.clear()
            for index, folder in enumerate(folders):
                self._line.addItem(folder)
                tip = literal(folder)
                self._line.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
            self._line.setCurrentIndex(-1)
            self._edit.setText(text)


class Connections:
    """Connects to signals of Qt and events of napari, and ends all at once.

    A dock that was closed may live on for a while, and would go on reacting.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, emitter: Any, slot: Callable[..., Any]) -> None:
        """Listen to a bound signal or an emitter of napari with a bound method."""
        emitter.connect(slot)
        self._made.append((emitter, slot))

    def close(self) -> None:
        """Listen to nothing any more."""
        made, self._made = self._made, []
        for emitter, slot in made:
            # Qt has deleted one of the two: then the connection is gone, too.
            with contextlib.suppress(RuntimeError, TypeError):
                emitter.disconnect(slot)


class PickPlace(QObject):
    """Waits for one click in the viewer; a drag still moves the picture.

    Attributes
    ----------
    picked : Signal(float, float)
        (row, column) of the world of the viewer.
    changed : Signal(bool)
        Whether it waits for a click.
    """

    picked = Signal(float, float)
    changed = Signal(bool)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._callback: Any = None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for a click."""
        return self._callback is not None

    def start(self) -> None:
        """Wait for a click."""
        if self.is_waiting:
            return

        # napari asks for a function of its own kind: it goes on with each event.
        def on_mouse(_viewer: Any, event: Any) -> Iterator[None]:
            dragged = False
            yield
            while event.type == "mouse_move":
                dragged = True
                yield
            if not dragged and self.is_waiting:
                row, column = (float(value) for value in event.position[-2:])
                self.stop()
                self.picked.emit(row, column)

        self._callback = on_mouse
        self._viewer.mouse_drag_callbacks.append(on_mouse)
        self.changed.emit(True)

    def stop(self) -> None:
        """Wait no more."""
        if not self.is_waiting:
            return
        self._viewer.mouse_drag_callbacks.remove(self._callback)
        self._callback = None
        self.changed.emit(False)


class Question(QtWidgets.QWidget):
    """Says what is the case and asks whether to go on; hidden while it asks nothing.

    Attributes
    ----------
    accepted : Signal()
        A person wants to go on.
    """

    accepted = Signal()

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question")
        self._words = WordsLabel("question_words", self)
        self._yes = button(self, "question_yes", "", "", self._accept)
        tip = "Close this question; nothing is started."
        no = button(self, "question_no", "Run nothing", tip, self.hide)
        column(self._words, row((self._yes, 1), no), parent=self, margin=0)
        self.hide()

    def ask(self, text: str, answer: str, tooltip: str) -> None:
        """Show a question; `answer` is on the button that goes on."""
        self._words.say(text, label_style("warning"))
        self._yes.setText(answer)
        self._yes.setToolTip(literal(tooltip))
        self.show()

    def _accept(self) -> None:
        self.hide()
        self.accepted.emit()


_ICON_SIDE = 32
#: Mark -> the white lines on it, places in px of the icon.
_SIGNS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "tick": (((9, 17), (14, 22), (23, 11)),),
    "cross": (((11, 11), (21, 21)), ((21, 11), (11, 21))),
    "dash": (((10, 16), (22, 16)),),
    "warning": (((16, 12), (16, 19)), ((16, 24.5), (16, 25))),
    "ring": (),
}
_TRIANGLE = QPolygonF([QPointF(16, 3), QPointF(30, 29), QPointF(2, 29)])


def state_icon(state: State) -> QIcon:
    """Return the mark of a state; the shapes differ too, not the colours alone."""
    pixmap = QPixmap(_ICON_SIDE, _ICON_SIDE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    colour, whole = QColor(state.colour), QRectF(3, 3, _ICON_SIDE - 6, _ICON_SIDE - 6)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if state.mark == "ring":
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 3.2))
        painter.drawEllipse(whole.adjusted(3, 3, -3, -3))
    elif state.mark == "warning":
        painter.drawPolygon(_TRIANGLE)
    else:
        painter.drawEllipse(whole)
    pen = QPen(QColor("white"), 3.6)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    painter.setPen(pen)
    for points in _SIGNS[state.mark]:
        painter.drawPolyline(QPolygonF([QPointF(x, y) for x, y in points]))
    painter.end()
    return QIcon(pixmap)


#: Takes no room, and what follows it begins no tag.
_NOTHING = "\u200b"


def literal(text: str) -> str:
    """Return a text that looks the same where Qt guesses whether it is HTML.

    What is not seen is written out. Tooltips, notifications and the activity dock
    guess; a label of ours is told that its text is plain instead. Names of files and
    samples may look like HTML.

    Examples
    --------
    >>> literal("Rock <2>") == "Rock <2>"
    True
    >>> literal("<b>Rock") == "<b>Rock"
    False
    """
    text = visible(text, keep="\n\t")
    if not Qt.mightBeRichText(text):  # type: ignore[attr-defined]  # known at run time
        return text
    return re.sub("([<&])", rf"\1{_NOTHING}", text)


def notify_error(text: str) -> None:
    """Have napari show an error, word for word."""
    show_error(literal(text))


#: What the system says -> what is wrong, and the fix.
_PROBLEMS = {
    errno.EACCES: (
        "may not be read or written by you",
        "ask its owner, or choose another file",
    ),
    errno.EPERM: ("may not be changed by you", "ask its owner, or choose another file"),
    errno.EROFS: ("lies on a drive that cannot be written to", "choose another file"),
    errno.ENOENT: ("does not exist", "check the name, or choose another file"),
    errno.ENOTDIR: ("lies below a file, not in a folder", "check the name"),
    errno.EISDIR: ("is a folder, not a file", "check the name"),
    errno.EEXIST: ("exists already", "choose another file"),
    errno.ENOSPC: (
        "does not fit: the drive is full",
        "free some space, or choose another file",
    ),
    errno.EDQUOT: (
        "does not fit: your share of the drive is used up",
        "free some space",
    ),
    errno.ENAMETOOLONG: ("has a name that is too long here", "use a shorter one"),
    errno.EMFILE: ("cannot be opened: too many files are open", "close some layers"),
    errno.EIO: ("cannot be read from its drive", "check the drive and its connection"),
    errno.ESTALE: ("was lost by the network drive", "connect the drive again"),
    errno.ETIMEDOUT: ("did not answer", "check the network drive and try again"),
}


def error_text(error: BaseException, wanted: str = "") -> str:
    """Return what a person is told of an error; `wanted` is what was being done.

    An error of the package's own tells all by itself; what the system says is put into
    words.

    Examples
    --------
    >>> error_text(FileNotFoundError(2, "No such file", "a.csv"), "reading a table")
    'reading a table: a.csv does not exist; check the name, or choose another file'
    """
    if isinstance(error, Exo2MicroError) and str(error):
        return str(error)
    start = f"{wanted}: " if wanted else ""
    if isinstance(error, OSError) and error.errno is not None:
        unknown = (
            f"cannot be used ({error.strerror})",
            "check the file and its drive and try again",
        )
        problem, fix = _PROBLEMS.get(error.errno, unknown)
        where = error.filename if error.filename is not None else "a file"
        return f"{start}{where} {problem}; {fix}"
    if isinstance(error, MemoryError):
        return (
            f"{start}the memory is not enough; close other programs or layers and try "
            "again. Nothing that was finished is lost"
        )
    return (
        f"{start}Something unexpected happened ({type(error).__name__}: {error}). "
        "Nothing that was finished is lost; the log has the details."
    )


#: What a dock needs to be of use, px; those that would get less become tabs.
_LEAST_SHARE = 600


class DockWatch(QObject):
    """Follows a widget in a dock of napari: where it stands, hidden or closed.

    napari takes the widget out of a dock that is closed, and leaves it to whoever
    still holds it. Where the height of the window is too little for each dock of a
    side, a new one becomes a tab beside those of ours.

    Attributes
    ----------
    hidden : Signal()
        Nobody sees it any more; it may be shown again.
    closed : Signal()
        Its dock was closed.
    """

    hidden = Signal()
    closed = Signal()

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.widget = widget
        self._was_docked = self._is_closed = self._is_placed = False
        widget.installEventFilter(self)

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        """Learn that the dock was opened, hidden or closed."""
        if a1 is None or a0 is not self.widget:
            return False
        kind = a1.type()
        if kind == QEvent.Type.Show and not self._is_placed:
            self._is_placed = True
            QTimer.singleShot(0, self._find_place)
        elif kind == QEvent.Type.Hide and not a1.spontaneous():
            # One that is torn off is hidden for a moment, too.
            QTimer.singleShot(0, self._on_hidden)
        elif kind == QEvent.Type.ParentChange:
            if self.widget.parent() is not None:
                self._was_docked = True
            elif self._was_docked and not self._is_closed:
                self._is_closed = True
                self.closed.emit()
        return False

    def _on_hidden(self) -> None:
        if not (self._is_closed or self.widget.isVisible()):
            self.hidden.emit()

    def _find_place(self) -> None:
        """Become a tab where the docks of ours on this side would be too low."""
        window, place = self.widget.window(), _dock_of(self.widget)
        if not isinstance(window, QMainWindow) or place is None or place.isFloating():
            return
        area = window.dockWidgetArea(place)
        watched = [watch.widget for watch in window.findChildren(DockWatch)]
        others = [
            dock
            for dock in map(_dock_of, watched)
            if dock is not None
            and dock is not place
            and not (dock.isHidden() or dock.isFloating())
            and window.dockWidgetArea(dock) == area
        ]
        stacked = [dock for dock in others if not window.tabifiedDockWidgets(dock)]
        shares = len(stacked) + 1 + (len(others) > len(stacked))
        if others and window.height() < shares * _LEAST_SHARE:
            window.tabifyDockWidget(others[-1], place)
            place.raise_()


class Dock(QWidget):
    """A widget in a dock of napari: when that is closed it follows nothing any more."""

    def __init__(self) -> None:
        super().__init__()
        self._is_closed = False
        self._connections = Connections()
        watch = DockWatch(self)
        watch.hidden.connect(lambda: self.stay_hidden())
        watch.closed.connect(lambda: self.close_down())

    def close_down(self) -> None:
        """End with the dock; what is shown elsewhere is taken away by subclasses."""
        if not self._is_closed:
            self._is_closed = True
            self._connections.close()
            self.deleteLater()

    def stay_hidden(self) -> None:
        """Take away what nobody can any more; the dock may be shown again."""


def _dock_of(widget: QObject) -> QDockWidget | None:
    """Return the dock that a widget is in."""
    above = widget.parent()
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parent()
    return above
