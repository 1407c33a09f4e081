"""What an alignment leaves: how far aligned pre lies from post, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.rasters import Frame
from napari_exo2micro.core.transforms import Transform

__all__ = ["Residuals", "amplification", "residuals_from_details", "round_figure"]

_FIX: Final = "run stage 3 with 'interior_ecc' on"

#: An amplified arrow of the 95th percentile is so many times the tiles' distance.
_REACH: Final = 2.0

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Displacements that an alignment leaves.

    Attributes
    ----------
    places : ndarray, shape (N, 2), float64
        Centres of the tiles (x, y) on the post canvas, full-resolution px.
    displacements : ndarray, shape (N, 2), float64
        From a grain in post to where the aligned pre shows it, (x, y), px of the
        post image.
    used : ndarray, shape (N,), bool
        Tiles that the alignment rests on; the others were measured and left out.
    """

    places: _Array
    displacements: _Array
    used: NDArray[np.bool_]

    @property
    def lengths(self) -> _Array:
        """Lengths of the displacements, shape (N,), px."""
        lengths: _Array = np.hypot(self.displacements[:, 0], self.displacements[:, 1])
        return lengths

    @property
    def median(self) -> float:
        """Median length over the tiles that are used, px."""
        return float(np.median(self.lengths[self.used]))

    @property
    def p95(self) -> float:
        """95th percentile of the length over the tiles that are used, px."""
        return float(np.percentile(self.lengths[self.used], 95))

    @property
    def largest(self) -> tuple[float, float, float]:
        """Length of the longest one that is used, px, and its place (x, y)."""
        index = np.flatnonzero(self.used)[int(np.argmax(self.lengths[self.used]))]
        x, y = self.places[index]
        return float(self.lengths[index]), float(x), float(y)

    @property
    def spacing(self) -> float:
        """Distance of the tiles if they lay evenly over their part of the image, px."""
        places = self.places[self.used]
        width, height = np.ptp(places, axis=0)
        area = max(width, 1.0) * max(height, 1.0)
        return float(max(math.sqrt(area / len(places)), 1.0))

    def where(self, post_frame: Frame | None = None) -> str:
        """Return in words in which part of the section the largest one lies.

        Parameters
        ----------
        post_frame : tuple of int, optional
            (x0, y0, width, height) of the post image on the canvas, px; without it
            the part is told from where the tiles lie.
        """
        _, x, y = self.largest
        if post_frame is None:
            (x0, y0), (x1, y1) = self.places.min(axis=0), self.places.max(axis=0)
        else:
            x0, y0 = post_frame[:2]
            x1, y1 = x0 + post_frame[2], y0 + post_frame[3]
        third = [
            min(max(int(3 * (place - low) / max(high - low, 1e-9)), 0), 2)
            for place, low, high in ((y, y0, y1), (x, x0, x1))
        ]
        vertical, horizontal = (
            ("upper", "", "lower")[third[0]],
            ("left", "", "right")[third[1]],
        )
        if not vertical and not horizontal:
            return "in the middle"
        if vertical and horizontal:
            return f"at the {vertical} {horizontal}"
        side = {"upper": "top", "lower": "bottom"}.get(vertical, horizontal)
        return f"at the {side}"

    def vectors(self, factor: float) -> _Array:
        """Return what napari draws: (row, column) of the places and the arrows.

        Parameters
        ----------
        factor : float
            Times that the arrows are longer than the displacements.

        Returns
        -------
        ndarray, shape (N, 2, 2), float64
            Start and amplified displacement of each tile, (row, column), px of the
            canvas.
        """
        return np.stack(
            [self.places[:, ::-1], factor * self.displacements[:, ::-1]], axis=1
        )


def residuals_from_details(
    details: Mapping[str, Any], transform: Transform | None
) -> Residuals:
    """Return the residuals that stage 3 stored in its header.

    Parameters
    ----------
    details : mapping
        `Provenance.details` of the interior-aligned pre image.
    transform : Transform or None
        Its transform, post (fixed) to pre (moving). The stored displacements are
        px of the pre image; they are turned and magnified back to post's.

    Raises
    ------
    RegistrationError
        When nothing was measured: another stage, or an alignment that no tile
        vouches for.
    """
    tiles = details.get("tiles")
    if not isinstance(tiles, Mapping) or transform is None:
        raise RegistrationError(
            "the remaining displacement needs the tiles that stage 3 measures, this "
            f"image has none; {_FIX} and show its result"
        )
    places = np.column_stack([np.asarray(tiles[k], np.float64) for k in ("x", "y")])
    moved = np.column_stack([np.asarray(tiles[k], np.float64) for k in ("dx", "dy")])
    used = np.asarray(tiles["used"], dtype=bool)
    if not used.any():
        raise RegistrationError(
            "the remaining displacement needs tiles that agree with the alignment, "
            f"found {len(used)} measured and none that agrees; see what stage 3 says "
            "in the status list, its result cannot be vouched for"
        )
    shown = transform.inverse()(transform(places) + moved)
    return Residuals(places, shown - places, used)


def round_figure(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above a value.

    Examples
    --------
    >>> [round_figure(v) for v in (0.07, 1.0, 34.0)]
    [0.05, 1.0, 20.0]
    """
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = math.floor(math.log10(value) + 1e-9)
    step = next(m for m in (5, 2, 1) if value >= m * 10.0**power * (1 - 1e-9))
    return float(f"{step}e{power}")


def amplification(residuals: Residuals) -> float:
    """Return how many times longer to draw arrows so that they can be seen.

    Most reach the next tile, the longest ones the one after: longer ones would be a
    tangle. A round figure, at least 1.
    """
    return max(round_figure(_REACH * residuals.spacing / max(residuals.p95, 1e-9)), 1.0)
