"""How much brighter the mineral background is after staining: the scale."""

from __future__ import annotations

import math

import numpy as np

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.background import fit_background
from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.minerals import MineralBlocks, mineral_blocks
from napari_exo2micro.core.moffat import MoffatFit, RatioPeak, find_peak, fit_moffat
from napari_exo2micro.core.pair_statistics import PairStatistics
from napari_exo2micro.core.pixel_ratios import (
    median_ratio_scale,
    scale_at_percentile,
)
from napari_exo2micro.core.scale_estimate import ScaleEstimate
from napari_exo2micro.core.scale_methods import (
    SCALE_METHODS,
    ScaleMethod,
    register_scale_method,
)

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

_FEWEST_BLOCKS = 40
_LN10 = math.log(10.0)
# What remains of the error where the noise is negligible, relative.
_FLOOR = 3e-4
# How far faint light of microbes may pull the peak, as a part of how far it
# pulls the median.
_PULL = 0.15
_LEAST_OFFSET = 0.2
_UNCERTAIN = 0.05
_NO_PEAK = 0.3
# What one scale leaves of the minerals then equals a faint microbe.
_UNEVEN = 0.25
_ONE_BRIGHTNESS = 0.02


def estimate_scale(
    statistics: PairStatistics,
    method: str = "moffat",
    *,
    value: float | None = None,
    offset_correction: bool = True,
) -> ScaleEstimate:
    """Return the scale by a registered method.

    Parameters
    ----------
    statistics : PairStatistics
        Of the aligned pair.
    method : str
        A name in `SCALE_METHODS`.
    value : float, optional
        Of the parameter that the method is asked for with, where it is a number.
    offset_correction : bool
        Whether a method that finds an offset of post takes it off.

    Returns
    -------
    ScaleEstimate
        Never NaN; whether it is to be trusted stands in its verdict.

    Raises
    ------
    ParameterError
        If there is no such method, or it needs a value.
    RegistrationError
        If another package's method fails.

    References
    ----------
    A. F. J. Moffat, Astronomy & Astrophysics 3 (1969) 455: the profile of the
    method ``'moffat'``.

    Examples
    --------
    >>> from napari_exo2micro.core.simulate import simulate_section
    >>> from napari_exo2micro.core.statistics import accumulate_statistics
    >>> pair = simulate_section((600, 700), seed=1, gain=1.4)
    >>> found = estimate_scale(accumulate_statistics(pair.post, pair.pre))
    >>> found.verdict.state, abs(found.scale / 1.4 - 1) < 0.01
    ('ok', True)
    """
    if method not in SCALE_METHODS:
        known = ", ".join(sorted(SCALE_METHODS))
        raise ParameterError(
            f"the scale method must be one of {known}, found {method!r}; choose one"
        )
    chosen = SCALE_METHODS[method]
    if chosen.needs_value and value is None:
        raise ParameterError(
            f"the scale method '{method}' needs the value of '{chosen.parameter}', "
            "found None; give value=..."
        )
    return chosen.estimate(statistics, value, offset_correction=offset_correction)


def moffat_scale(
    statistics: PairStatistics, *, offset_correction: bool = True
) -> ScaleEstimate:
    """Return the scale at the peak of the minerals' ratio distribution.

    The ratio is that of block means, of blocks that show the section in pre. An
    offset of post is estimated with it (see `background`), taken off when it is
    significant, and so are differences of light or glow from place to place.

    Parameters
    ----------
    statistics : PairStatistics
        Of the aligned pair.
    offset_correction : bool
        When false, the offset is measured but the plain ratio is used.
    """
    blocks = mineral_blocks(statistics.blocks)
    if len(blocks) < _FEWEST_BLOCKS:
        reason = (
            f"only {len(blocks)} blocks of the section are usable, {_FEWEST_BLOCKS} "
            "are needed"
        )
        numbers = {"blocks": float(len(blocks))}
        return median_ratio_scale(statistics, "moffat", reason, numbers)
    first = find_peak(np.log10(blocks.post / blocks.pre), blocks.group)
    coarser = mineral_blocks(statistics.blocks.coarser())
    background = fit_background(
        blocks,
        10.0**first.peak,
        coarser=coarser if len(coarser) >= _FEWEST_BLOCKS else None,
        least_offset=_LEAST_OFFSET if statistics.integer else 0.0,
    )
    ratio = background.log_ratio(blocks)
    usable = np.isfinite(ratio)
    related = background.gain > 0 and int(usable.sum()) > len(blocks) / 2
    if not (offset_correction and related):
        background = background.ignored()
        ratio = background.log_ratio(blocks)
        usable = np.isfinite(ratio)
    found = find_peak(ratio[usable], blocks.group[usable])
    fit = fit_moffat(found)
    if fit is not None and abs(fit.mu - found.peak) > found.spread:
        fit = None
    centre = found.peak if fit is None else fit.mu
    brightness = float(np.median(blocks.post))
    pull = _PULL * abs(found.median - found.peak)
    relative = math.hypot(_LN10 * math.hypot(found.uncertainty, pull), _FLOOR)
    if background.model == "even":
        # An offset too small to be used may still be there.
        ignored = abs(background.measured_offset) / brightness
        relative = math.hypot(relative, 0.3 * ignored)
    else:
        gain_error = background.gain_uncertainty / background.gain
        relative = math.hypot(relative, gain_error)
    scale = 10.0**centre
    numbers = {
        "blocks": float(len(blocks)),
        "block_px": float(statistics.blocks.size),
        "threshold": blocks.threshold,
        "ratio_spread": found.spread * _LN10,
        "measured_offset": background.measured_offset,
        "local_spread": background.spread,
        "relative_uncertainty": relative,
    }
    return ScaleEstimate(
        method="moffat",
        scale=scale,
        uncertainty=scale * relative,
        offset=background.offset,
        offset_uncertainty=background.offset_uncertainty,
        verdict=_judged(blocks, found, fit, numbers, related=related),
        fit=fit,
    )


def _judged(
    blocks: MineralBlocks,
    found: RatioPeak,
    fit: MoffatFit | None,
    numbers: dict[str, float],
    *,
    related: bool,
) -> Verdict:
    """Return whether a Moffat scale can be vouched for."""
    low, high = np.quantile(blocks.pre, (0.1, 0.9))
    relative = numbers["relative_uncertainty"]
    if not related:
        reason = (
            "post does not grow brighter where pre does, so the ratio means little; "
            "check the registration"
        )
    elif found.spread > _NO_PEAK:
        reason = (
            "the ratio post/pre has no clear peak (it spreads by a factor of "
            f"{10**found.spread:.1f}); check the registration"
        )
    elif fit is None:
        reason = (
            "no Moffat profile fits the ratio distribution; the peak of the smoothed "
            "distribution stands in"
        )
    elif relative > _UNCERTAIN:
        reason = f"the scale is uncertain by {100 * relative:.0f} %"
    elif numbers["local_spread"] > _UNEVEN:
        reason = (
            "the light or the glow differs from place to place, by "
            f"{numbers['local_spread']:.0%} of the minerals' brightness: one scale "
            "leaves background in the difference; correct the shading of both images"
        )
    elif high <= low * (1 + _ONE_BRIGHTNESS):
        reason = (
            "the section has one brightness only, so an offset cannot be told from "
            "the scale"
        )
    else:
        return Verdict("ok", numbers=numbers)
    return Verdict("fell_back", reason, numbers)


def manual_scale(scale: float) -> ScaleEstimate:
    """Return a scale that a person chose.

    Parameters
    ----------
    scale : float
        Finite and above 0.

    Raises
    ------
    ParameterError
        If it is not.
    """
    scale = float(scale)
    if not (math.isfinite(scale) and scale > 0):
        raise ParameterError(
            f"a manual scale must be a number above 0, found {scale!r}; choose one"
        )
    return ScaleEstimate("manual", scale, 0.0, 0.0, 0.0, Verdict("ok"))
