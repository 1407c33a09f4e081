"""Text that leaves the program: for a terminal, a table, a tooltip.

Names of files and entries of headers are whatever somebody wrote. A terminal obeys the
control characters among them, bidirectional ones make a line read as another one, and a
spreadsheet calculates what begins with an equals sign.
"""

import unicodedata

#: Cc control, Cf format (no glyph of their own), Cs lone surrogates (bytes that are no
#: text), Zl and Zp line breaks.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: What a spreadsheet takes for a formula, or for a blank before one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def is_unseen(character: str) -> bool:
    """Tell whether a character shows nothing, but may change what is around it."""
    return unicodedata.category(character) in _UNSEEN


def composed(name: str) -> str:
    """Return the composed Unicode form, in which names are compared.

    macOS lists an accented letter as two code points; a person types one.
    """
    return unicodedata.normalize("NFC", name)


def visible(text: str, keep: str = "") -> str:
    r"""Return a text whose every character is seen; others become escapes.

    Parameters
    ----------
    text : str
        Any text.
    keep : str
        Characters that are meant, such as line breaks.

    Examples
    --------
    >>> visible("Rock\x1b[2J\n7")
    'Rock\\x1b[2J\\n7'
    >>> visible("a\nb", keep="\n")
    'a\nb'
    """
    if text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode() if is_unseen(c) and c not in keep else c
        for c in text
    )


def table_cell(value: object) -> object:
    """Return what a CSV table is given for a value: a text never is a formula.

    Numbers stay numbers; None is an empty cell.

    Examples
    --------
    >>> table_cell("=1+1"), table_cell("Rock"), table_cell(-0.5)
    ("'=1+1", 'Rock', -0.5)
    """
    if not isinstance(value, str):
        return value
    text = visible(value, keep="\n\t\r")
    return f"'{text}" if text.startswith(_FORMULA) else text
