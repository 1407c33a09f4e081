"""How far an image is reduced, and from which of its levels."""

from __future__ import annotations

import math

__all__ = ["block_size", "level_for"]


def block_size(side: int, max_side: int) -> int:
    """Return the block that makes an image small enough.

    Parameters
    ----------
    side : int
        The longest side, px.
    max_side : int
        What it may be after the reduction, px.

    Returns
    -------
    int
        Side of a block, px. A large one is a multiple of a power of two, so that a
        smaller level can be used; up to a quarter larger than needed then.

    Examples
    --------
    >>> block_size(100, 25), block_size(1700, 100)
    (4, 20)
    """
    block = max(1, math.ceil(side / max_side))
    if block >= 8:
        step = 1 << (block.bit_length() - 3)
        block = -(-block // step) * step
    return block


def level_for(block: int, n_levels: int) -> int:
    """Return the smallest level that whole blocks can be made from.

    Parameters
    ----------
    block : int
        Side of a block, full-resolution px.
    n_levels : int
        How many levels there are, each half the size of the one before.

    Returns
    -------
    int
        0 for the full image.

    Examples
    --------
    >>> level_for(20, 5), level_for(7, 5)
    (2, 0)
    """
    level = 0
    while level + 1 < n_levels and block % (2 << level) == 0:
        level += 1
    return level
