"""Names and messages that Qt shows as they are."""

from __future__ import annotations

import re

from napari.utils.notifications import show_error
from qtpy.QtCore import Qt

__all__ = ["literal", "notify_error"]

#: Takes no room, and what follows it begins no tag.
_NOTHING = "\u200b"


def literal(text: str) -> str:
    """Return a text that looks the same where Qt guesses whether it is HTML.

    Tooltips, notifications and the activity dock guess; a label of ours is told that
    its text is plain instead. Names of files and samples may look like HTML.

    Examples
    --------
    >>> literal("Rock <2>") == "Rock <2>"
    True
    >>> literal("<b>Rock") == "<b>Rock"
    False
    """
    if not Qt.mightBeRichText(text):  # type: ignore[attr-defined]  # known at run time
        return text
    return re.sub("([<&])", rf"\1{_NOTHING}", text)


def notify_error(text: str) -> None:
    """Have napari show an error, word for word."""
    show_error(literal(text))
