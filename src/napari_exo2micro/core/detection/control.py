"""What a control without microbes says of how many candidates are false."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.detection.counts import false_interval


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The candidates of a sample in which none is a microbe.

    Bright spots of a control are made by noise, misregistration and what stain does
    to minerals; dark spots of the sample itself do not see the last of these.

    Attributes
    ----------
    sample : str
        Its name.
    snr : ndarray, float64
        S/N of its candidates, those that are refused left out.
    ratio : float
        Area of the sample by that of the control.
    least : float
        S/N from which on the control tells its candidates.
    """

    sample: str
    snr: NDArray[np.float64]
    ratio: float
    least: float

    def number(self, threshold: float) -> int:
        """Return how many spots the control has above an S/N."""
        return int(np.count_nonzero(self.snr >= threshold))

    def false(self, threshold: float) -> float:
        """Return how many false ones it expects in the sample above an S/N."""
        return self.ratio * self.number(threshold)

    def interval(self, threshold: float) -> tuple[float, float]:
        """Return the 95 % interval of that expectation."""
        return false_interval(self.number(threshold), self.ratio)

    def exceeds(self, dark: int, threshold: float) -> bool:
        """Return whether it expects more than so many dark spots, beyond doubt."""
        return self.interval(threshold)[0] > false_interval(dark)[1]

    def falls_short(self, dark: int, threshold: float) -> bool:
        """Return whether it expects fewer than so many dark spots, beyond doubt."""
        return self.interval(threshold)[1] < false_interval(dark)[0]

    def to_dict(self, threshold: float) -> dict[str, Any]:
        """Return what it says above an S/N with JSON-ready values."""
        return {
            "sample": self.sample,
            "spots": self.number(threshold),
            "ratio": self.ratio,
            "false": self.false(threshold),
            "interval": list(self.interval(threshold)),
        }
