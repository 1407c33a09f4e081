"""Names: which sample and dye names are safe, and what a raw file's name says."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from napari_exo2micro.core.errors import ParameterError

__all__ = [
    "NameProblem",
    "ParsedName",
    "Stain",
    "check_name",
    "is_tiff_name",
    "normalise",
    "parse_raw_name",
    "shortened",
]

Stain = Literal["pre", "post"]

MAX_NAME_BYTES = 200
_MOST_SHOWN = 60
_TIFF_EXTENSIONS = (".tif", ".tiff")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)}
)


class NameProblem(StrEnum):
    """Why a file's name does not say which image it is."""

    AMBIGUOUS = "AMBIGUOUS"
    NO_STAIN_MARKER = "NO STAIN MARKER"
    NO_UNDERSCORE = "NO UNDERSCORE"
    EMPTY_DYE = "EMPTY DYE"


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What the name of a raw file says.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    stain : {'pre', 'post'} or None
        Which of the two images it is; None when `problem` is set.
    dye : str or None
        The dye; None when `problem` is set.
    problem : NameProblem or None
        Why the name cannot be used.
    message : str
        The problem and its fix in one line; empty without a problem.
    """

    path: Path
    stain: Stain | None
    dye: str | None
    problem: NameProblem | None = None
    message: str = ""


def normalise(name: str) -> str:
    """Return the composed Unicode form, in which names are compared.

    macOS lists an accented letter as two code points; a person types one.
    """
    return unicodedata.normalize("NFC", name)


def is_tiff_name(name: str) -> bool:
    """Tell whether a name is that of a visible TIFF file.

    Examples
    --------
    >>> is_tiff_name("S1_PreStain_DAPI.TIF"), is_tiff_name("._S1_Pre_DAPI.tif")
    (True, False)
    """
    return not name.startswith(".") and name.lower().endswith(_TIFF_EXTENSIONS)


def check_name(kind: str, name: str) -> str:
    """Return a sample or dye name that is safe as a folder's name.

    Parameters
    ----------
    kind : str
        What is named, for the message: ``'sample'`` or ``'dye'``.
    name : str
        The name.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    ParameterError
        If the name is not text, is empty, holds a path separator, ``..`` or a
        control character, starts with a dot, is reserved by an operating
        system, or is longer than 200 bytes.

    Examples
    --------
    >>> check_name("sample", "CD070")
    'CD070'
    """
    reason = _why_refused(name)
    if reason is None:
        return name
    shown = shortened(repr(name))
    raise ParameterError(
        f"a {kind} name must be usable as a folder name, but {shown} {reason}; "
        f"rename the {kind} with letters, digits, '-' and spaces"
    )


def shortened(name: str) -> str:
    """Return a name for a message: one that fills a page is cut."""
    return name if len(name) <= _MOST_SHOWN else f"{name[: _MOST_SHOWN - 3]}..."


def _why_refused(name: object) -> str | None:
    if not isinstance(name, str):
        return f"is of type {type(name).__name__}, not text"
    if not name.strip():
        return "is empty"
    if "/" in name or "\\" in name:
        return "contains a path separator"
    if any(letter in '<>:"|?*' for letter in name):
        return "contains a character that Windows allows in no name"
    if name[-1] in ". ":
        return "ends in a dot or a space, which Windows drops"
    if ".." in name:
        return "contains '..'"
    if name.startswith("."):
        return "starts with a dot, which hides it"
    # Cc control, Cs lone surrogates (undecodable bytes), Zl and Zp line breaks
    if any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in name):
        return "contains a control character"
    if name.split(".")[0].strip().lower() in _RESERVED:
        return "is reserved by Windows"
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        return f"has {size} bytes, more than {MAX_NAME_BYTES}"
    return None


def parse_raw_name(path: Path) -> ParsedName:
    """Read stain and dye from the name of a raw file.

    The rule is ``<anything>Pre<anything>_<Dye>.tif`` or the same with ``Post``:
    the marker stands anywhere in the name without its extension, in any case,
    and only one of the two; the dye is what follows the last underscore.

    Parameters
    ----------
    path : pathlib.Path
        The file; only its name is looked at.

    Returns
    -------
    ParsedName
        Stain and dye, or the problem with its fix.

    Examples
    --------
    >>> parsed = parse_raw_name(Path("CD070_PostStain_SybrGld.tif"))
    >>> parsed.stain, parsed.dye
    ('post', 'SybrGld')
    >>> print(parse_raw_name(Path("CD070_SybrGld.tif")).problem)
    NO STAIN MARKER
    """
    stem = path.stem
    lowered = stem.lower()
    has_pre, has_post = "pre" in lowered, "post" in lowered
    head, underscore, dye = stem.rpartition("_")
    problem: NameProblem | None = None
    message = ""
    if has_pre and has_post:
        problem = NameProblem.AMBIGUOUS
        message = "the name contains both 'pre' and 'post'; keep one of them"
        in_dye = [word for word in ("pre", "post") if word in dye.lower()]
        if underscore and len(in_dye) == 1 and in_dye[0] not in head.lower():
            message += f" ('{in_dye[0]}' stands in the dye name '{dye}')"
    elif not has_pre and not has_post:
        problem = NameProblem.NO_STAIN_MARKER
        message = "the name contains neither 'pre' nor 'post'; add one of them"
    elif not underscore:
        problem = NameProblem.NO_UNDERSCORE
        message = "the name has no underscore before the dye; end it with '_<Dye>'"
    elif not dye.strip():
        problem = NameProblem.EMPTY_DYE
        message = "nothing follows the last underscore; end the name with '_<Dye>'"
    if problem is not None:
        text = f"{problem.value}: {path.name}: {message}"
        return ParsedName(path, None, None, problem, text)
    return ParsedName(path, "pre" if has_pre else "post", normalise(dye))
