"""Buttons, lines of a form and pages that scroll, as all docks have them."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QWidget,
)

__all__ = ["button", "labelled", "scrolled"]

_LABEL_WIDTH = 76


def button(
    parent: QWidget, name: str, text: str, tip: str = "", *, checkable: bool = False
) -> QPushButton:
    """Return a button.

    Parameters
    ----------
    parent : QWidget
        What it is a part of.
    name : str
        Its objectName.
    text, tip : str
        What it and its tooltip say.
    checkable : bool, optional
        Whether it stays down.

    Returns
    -------
    QPushButton
        Not connected yet.
    """
    made = QPushButton(text, parent)
    made.setObjectName(name)
    made.setToolTip(tip)
    made.setCheckable(checkable)
    return made


def labelled(text: str, field: QWidget) -> QHBoxLayout:
    """Return a field with its label; the labels of all lines are equally wide.

    Parameters
    ----------
    text : str
        What the label says.
    field : QWidget
        Takes the room that is left.

    Returns
    -------
    QHBoxLayout
        The line.
    """
    label = QLabel(text, field.parentWidget())
    label.setMinimumWidth(_LABEL_WIDTH)
    label.setBuddy(field)
    line = QHBoxLayout()
    line.addWidget(label)
    line.addWidget(field, 1)
    return line


def scrolled(widget: QWidget) -> QScrollArea:
    """Return a widget that scrolls up and down where there is too little room."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(widget)
    return area
