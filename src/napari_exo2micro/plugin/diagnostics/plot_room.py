"""How large a plot is drawn: the room that it has on screen."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Room"]

#: A plot that has to be smaller to be seen as a whole fills the width instead; its
#: numbers can be read down to the smallest resolution, then scroll bars appear.
_WHOLE_DPI, _SMALLEST_DPI, _READABLE_DPI = 62.0, 50.0, 90.0
_LARGEST_DPI = 240.0
#: Up to this width of a plot its panels are put under one another, px.
_NARROW = 850


@dataclass(frozen=True, slots=True)
class Room:
    """The place for a plot, in px of the screen.

    Attributes
    ----------
    width, height : int
        Without scroll bars.
    bar : int
        Width of a scroll bar.
    ratio : float
        Dots of the screen to one of its px.
    """

    width: int
    height: int
    bar: int = 0
    ratio: float = 1.0

    @property
    def is_narrow(self) -> bool:
        """Whether panels are put under one another."""
        return self.width < _NARROW

    def dpi(self, inches: tuple[float, float]) -> float:
        """Return the resolution at which a plot of this width and height fits.

        The whole of it is seen, or its whole width where it would be too small.
        """
        across, down = inches
        dpi = min(self.width / across, self.height / down)
        if dpi < _WHOLE_DPI:
            # Scrolling in one direction is enough where the width allows that.
            full = (self.width - self.bar) / across
            dpi = min(max(full, _SMALLEST_DPI), _READABLE_DPI)
        return min(dpi, _LARGEST_DPI)
