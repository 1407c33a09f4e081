"""How post depends on pre where there are only minerals: gain and offset.

Four models are fitted to the minerals (see `ridge`); the simplest one that
describes them as tightly as the others is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.minerals import MineralBlocks, robust_spread
from napari_exo2micro.core.ridge import RidgeFits

__all__ = ["Background", "fit_background"]

Values = NDArray[np.float64]

_MOST_BLOCKS = 200_000
# A local model must tighten the ridge by more than this to be believed.
_TIGHTER = 1.15
# Offsets below this part of the minerals' brightness do less harm than their
# own uncertainty.
_SMALL_PART = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """How post depends on pre where there are only minerals.

    Attributes
    ----------
    model : {'even', 'offset', 'glow', 'light'}
        `even`: ``post = gain * pre``. `offset`: a constant is added. `glow`: what
        is added differs from place to place. `light`: the gain does.
    gain : float
        Of the whole section; the median one of `light`.
    gain_uncertainty : float
        One standard deviation, from the jackknife over groups of windows.
    offset : float
        Added to post, grey levels; the median one of `glow`.
    offset_uncertainty : float
        One standard deviation, grey levels; the smallest offset that could be
        seen is four times that.
    measured_offset : float
        What was measured, significant or not, grey levels.
    local_offset, local_gain : ndarray, shape (n_windows,), float64
        Offset and relative gain (median 1) of each window.
    spread : float
        How much gain or offset differ from place to place, as a standard
        deviation in units of the minerals' brightness in post.
    """

    model: Literal["even", "offset", "glow", "light"]
    gain: float
    gain_uncertainty: float
    offset: float
    offset_uncertainty: float
    measured_offset: float
    local_offset: Values
    local_gain: Values
    spread: float

    def ignored(self) -> Background:
        """Return the model ``post = gain * pre`` that leaves all else unused."""
        return replace(
            self,
            model="even",
            offset=0.0,
            local_offset=np.zeros_like(self.local_offset),
            local_gain=np.ones_like(self.local_gain),
        )

    def log_ratio(self, blocks: MineralBlocks) -> Values:
        """Return log10 of (post - offset) / pre, evened out, NaN where undefined.

        Parameters
        ----------
        blocks : MineralBlocks
            Those that the model was fitted to.
        """
        post = blocks.post - self.local_offset[blocks.window]
        ratio = post / (blocks.pre * self.local_gain[blocks.window])
        result: Values = np.full(len(blocks), np.nan)
        np.log10(ratio, out=result, where=ratio > 0)
        return result


def fit_background(
    blocks: MineralBlocks,
    gain: float,
    *,
    coarser: MineralBlocks | None = None,
    least_offset: float = 0.0,
) -> Background:
    """Return gain and offset of the minerals.

    Parameters
    ----------
    blocks : MineralBlocks
        At least a few dozen.
    gain : float
        A first guess, such as the most frequent ratio.
    coarser : MineralBlocks, optional
        The same section in larger blocks. Offset and gain do not depend on the
        size of the blocks, but their errors through differences of focus and
        through crowded microbes do: the change counts as uncertainty.
    least_offset : float
        Smaller offsets are not used, grey levels.

    Returns
    -------
    Background
        The simplest model that describes the ridge as tightly as the others.
    """
    sample = blocks.thinned(_MOST_BLOCKS)
    fits = RidgeFits(sample, gain)
    check = RidgeFits(coarser.thinned(_MOST_BLOCKS), gain) if coarser else None
    constant, glow, light = fits.constant(), fits.glow(), fits.light()
    n_windows = int(blocks.window.max()) + 1
    whole = int(sample.window.max()) + 1 == n_windows
    brightness = float(np.median(sample.post))
    least_offset = max(least_offset, _SMALL_PART * brightness)
    if not whole or constant.spread <= _TIGHTER * min(glow.spread, light.spread):
        fit = constant.compared(check.constant() if check else None)
        used = fit.significant(least_offset)
        offset = fit.offset if used else 0.0
        return Background(
            model="offset" if used else "even",
            gain=fit.gain if used else gain,
            gain_uncertainty=fit.gain_uncertainty,
            offset=offset,
            offset_uncertainty=fit.offset_uncertainty,
            measured_offset=fit.offset,
            local_offset=np.full(n_windows, offset),
            local_gain=np.ones(n_windows),
            spread=0.0,
        )
    if glow.spread <= light.spread:
        fit = glow.compared(check.glow() if check else None)
        return Background(
            model="glow",
            gain=fit.gain,
            gain_uncertainty=fit.gain_uncertainty,
            offset=fit.offset,
            offset_uncertainty=fit.offset_uncertainty,
            measured_offset=fit.offset,
            local_offset=fit.local,
            local_gain=np.ones(n_windows),
            spread=robust_spread(fit.local[sample.window]) / brightness,
        )
    fit = light.compared(check.light() if check else None)
    used = fit.significant(least_offset)
    chosen = fit if used else fits.light(with_offset=False)
    local_gain = chosen.local / chosen.gain
    return Background(
        model="light",
        gain=chosen.gain,
        gain_uncertainty=fit.gain_uncertainty,
        offset=chosen.offset,
        offset_uncertainty=fit.offset_uncertainty,
        measured_offset=fit.offset,
        local_offset=np.full(n_windows, chosen.offset),
        local_gain=local_gain,
        spread=robust_spread(local_gain[sample.window]),
    )
