"""How much brighter the mineral background is after staining: the scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.statistics import PairStatistics

__all__ = [
    "SCALE_METHODS",
    "MoffatFit",
    "ScaleEstimate",
    "ScaleMethod",
    "estimate_scale",
    "manual_scale",
    "register_scale_method",
    "scale_at_percentile",
]


@dataclass(frozen=True, slots=True, eq=False)
class MoffatFit:
    """The ratio distribution of the minerals and the profile fitted to it.

    ``profile(x) = amplitude * (1 + ((x - mu) / alpha)**2) ** -beta``

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Bin edges in log10((post - offset) / pre).
    density : ndarray, shape (n,), float64
        Pixels per bin among the minerals used for the scale.
    low, high : float
        The profile was fitted to bins between these values.
    mirrored : ndarray, shape (n,), float64
        What it was fitted to: left of the peak `density`, right of the peak the
        left wing mirrored; NaN outside `low`..`high`.
    peak : float
        Peak of the smoothed distribution, log10 ratio.
    amplitude, mu, alpha, beta : float
        The profile; `mu` and `alpha` in log10 ratio.
    mu_uncertainty : float
        One standard deviation of `mu`.
    """

    edges: NDArray[np.float64]
    density: NDArray[np.float64]
    low: float
    high: float
    mirrored: NDArray[np.float64]
    peak: float
    amplitude: float
    mu: float
    alpha: float
    beta: float
    mu_uncertainty: float

    @property
    def centres(self) -> NDArray[np.float64]:
        """Middles of the bins, log10 ratio."""
        middles: NDArray[np.float64] = (self.edges[1:] + self.edges[:-1]) / 2
        return middles

    def profile(self, log_ratio: ArrayLike) -> NDArray[np.float64]:
        """Return the fitted profile (pixels per bin) at log10 ratios."""
        x = (np.asarray(log_ratio, dtype=np.float64) - self.mu) / self.alpha
        result: NDArray[np.float64] = self.amplitude * (1 + x**2) ** -self.beta
        return result


@dataclass(frozen=True, slots=True, eq=False)
class ScaleEstimate:
    """A scale, how well it is known and whether it can be vouched for.

    Attributes
    ----------
    method : str
        Name in `SCALE_METHODS`, or ``'percentile'`` or ``'manual'``.
    scale : float
        Brightness of the minerals in post divided by that in pre; finite, > 0.
    uncertainty : float
        One standard deviation of `scale`; 0 for a manual one.
    offset : float
        Constant in post beside the scaled minerals, grey levels;
        ``difference = post - offset - scale * pre``. 0 when not significant.
    offset_uncertainty : float
        One standard deviation of the measured offset, grey levels.
    verdict : Verdict
        `ok`, `fell_back` (a lesser estimate stands in) or `failed` (the scale is
        a placeholder), with the reason and the figures.
    fit : MoffatFit or None
        Of the Moffat method.
    percentile : float or None
        Of the percentile method, 0..100.
    """

    method: str
    scale: float
    uncertainty: float
    offset: float
    offset_uncertainty: float
    verdict: Verdict
    fit: MoffatFit | None = None
    percentile: float | None = None

    @property
    def kind(self) -> str:
        """The text of the header card SCALEK, such as ``percentile_p99.1``."""
        if self.percentile is not None:
            return f"percentile_p{self.percentile:g}"
        return self.method


@dataclass(frozen=True, slots=True)
class ScaleMethod:
    """A way to estimate the scale.

    Attributes
    ----------
    name : str
        As it stands in headers.
    function : callable
        Takes `PairStatistics`, returns a `ScaleEstimate`.
    caption : str
        One sentence for a person.
    reference : str
        Where the method is described.
    """

    name: str
    function: Callable[[PairStatistics], ScaleEstimate]
    caption: str
    reference: str


SCALE_METHODS: dict[str, ScaleMethod] = {}
"""The known methods by name."""


def register_scale_method(
    name: str,
    function: Callable[[PairStatistics], ScaleEstimate],
    *,
    caption: str,
    reference: str = "",
    replace: bool = False,
) -> None:
    """Make a scale method known under a name."""
    raise NotImplementedError


def estimate_scale(statistics: PairStatistics, method: str = "moffat") -> ScaleEstimate:
    """Return the scale by a registered method."""
    raise NotImplementedError


def scale_at_percentile(statistics: PairStatistics, percentile: float) -> ScaleEstimate:
    """Return the scale at a percentile of log10(post/pre)."""
    raise NotImplementedError


def manual_scale(scale: float) -> ScaleEstimate:
    """Return a scale that a person chose."""
    raise NotImplementedError
