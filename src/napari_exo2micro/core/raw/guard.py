"""Guards: one error for whatever a TIFF library raises, and free memory."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from napari_exo2micro.core.errors import Exo2MicroError, RawDataError

__all__ = ["AGAIN", "quiet_tifffile", "require_memory", "tiff_errors"]

LOGGER = logging.getLogger(__name__)

AGAIN = "copy or export the file again"


@contextmanager
def tiff_errors(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a TIFF library raises into one `RawDataError`.

    A damaged file makes decoders raise anything (struct.error, KeyError,
    zlib.error, IndexError, ...), so every `Exception` is taken.

    Parameters
    ----------
    path : pathlib.Path
        The file, for the message.
    what : str
        What is wrong when something is raised.
    """
    try:
        with quiet_tifffile(path):
            yield
    except Exo2MicroError:
        raise
    except MemoryError as error:
        raise RawDataError(
            f"{path}: does not fit in memory; close other programs or save it as an "
            "uncompressed or tiled TIFF"
        ) from error
    except Exception as error:  # libraries raise all kinds on damaged files
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise RawDataError(f"{path}: {what} ({detail}); {AGAIN}") from error


@contextmanager
def quiet_tifffile(path: Path) -> Iterator[None]:
    """Send what tifffile logs in this thread to the debug log; our error tells it."""
    thread = threading.get_ident()

    def not_ours(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        LOGGER.debug("%s: tifffile: %s", path, record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(not_ours)
    try:
        yield
    finally:
        logger.removeFilter(not_ours)


def require_memory(path: Path, size: int, what: str) -> None:
    """Refuse what would not fit in the memory that is free now.

    Parameters
    ----------
    path : pathlib.Path
        The file, for the message.
    size : int
        Bytes wanted.
    what : str
        What they are for.

    Raises
    ------
    RawDataError
        If fewer bytes are free.
    """
    free = psutil.virtual_memory().available
    if size > free:
        raise RawDataError(
            f"{path}: {what} needs {size / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB "
            "are free; if the file is sound, save it as an uncompressed or tiled TIFF"
        )
