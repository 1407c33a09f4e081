"""What a person is told of an error: what was wanted, what was found, the fix."""

import errno
import re

from napari.utils.notifications import show_error
from qtpy.QtCore import Qt

from napari_exo2micro.core.base import Exo2MicroError, visible

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
