"""A scale, how well it is known, and its estimators: Moffat profile, percentile, ..."""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import curve_fit

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.text import Listing, Shown
from napari_exo2micro.core.parameters import State, Verdict, format_value, with_error
from napari_exo2micro.core.photometry import minerals
from napari_exo2micro.core.photometry.minerals import jackknife, robust_spread
from napari_exo2micro.core.photometry.statistics import PairStatistics

_FEWEST_BLOCKS: Final = 40

_FLOOR: Final = 3e-4
"""What remains of the error where the noise is negligible, relative."""

_WIDTH: Final = 0.05
"""How far faint microbes may move the peak, as a part of the distribution's width."""

_PULL: Final = 0.35
"""How far faint microbes may pull the peak, as a part of how far the median."""

_LEAST_OFFSET: Final = 0.2
"""Smaller offsets of integer images are rounding, grey levels."""

_UNCERTAIN: Final = 0.05
"""A scale is not vouched for beyond this relative uncertainty."""

_NO_PEAK: Final = 0.3
"""A distribution of ratios wider than this has no peak, log10."""

_UNEVEN: Final = 0.25
"""What one scale leaves of the minerals then equals a faint microbe, relative."""

_ONE_BRIGHTNESS: Final = 0.02
"""Minerals that differ by less than this do not tell an offset, relative."""

_LN10: Final = math.log(10.0)
_NO_RATIO: Final = (
    "no pixel has signal in both images below saturation, so no ratio exists; check "
    "the registration and the channels"
)


Values = NDArray[np.float64]

_BINS: Final = 401
_BINS_PER_SPREAD: Final = 16
"""Bins for one standard deviation of the distribution."""

_SMOOTHING: Final = 8.0
"""Sigma of the smoothing, bins: half a standard deviation of the distribution."""

_NARROWEST: Final = 1e-5
"""A narrower distribution is rounding, log10 ratio."""

_FAINTEST: Final = 0.02
"""The wing is fitted down to this part of the peak."""


@dataclass(frozen=True, slots=True, eq=False)
class RatioPeak:
    """The distribution of the minerals' ratios, and the most frequent ratio.

    Attributes
    ----------
    edges : ndarray, shape (n + 1,), float64
        Bin edges in log10((post - offset) / pre).
    density : ndarray, shape (n,), float64
        Blocks of mineral in each bin.
    median : float
        Of the whole sample, log10 ratio.
    peak : float
        Peak of the smoothed distribution, log10 ratio.
    uncertainty : float
        One standard deviation of `peak`, jackknife over spatial groups.
    spread : float
        Standard deviation of the distribution's core, log10 ratio.
    """

    edges: Values
    density: Values
    median: float
    peak: float
    uncertainty: float
    spread: float

    @property
    def centres(self) -> Values:
        """Middles of the bins, log10 ratio."""
        middles: Values = (self.edges[1:] + self.edges[:-1]) / 2
        return middles


@dataclass(frozen=True, slots=True, eq=False)
class MoffatFit(RatioPeak):
    """A distribution of ratios and the profile fitted to it.

    ``profile(x) = amplitude * (1 + ((x - mu) / alpha)**2) ** -beta``

    Attributes
    ----------
    low, high : float
        The profile was fitted to bins between these values.
    mirrored : ndarray, shape (n,), float64
        What it was fitted to: left of the peak `density`, right of the peak the
        left wing mirrored; NaN outside `low`..`high`.
    amplitude, mu, alpha, beta : float
        The profile; `mu` and `alpha` in log10 ratio.

    References
    ----------
    A. F. J. Moffat, Astronomy & Astrophysics 3 (1969) 455.
    """

    low: float
    high: float
    mirrored: Values
    amplitude: float
    mu: float
    alpha: float
    beta: float

    def profile(self, log_ratio: ArrayLike) -> Values:
        """Return the fitted profile (blocks per bin) at log10 ratios."""
        x = np.asarray(log_ratio, dtype=np.float64)
        return moffat_profile(x, self.amplitude, self.mu, self.alpha, self.beta)


def moffat_profile(
    x: Values, amplitude: float, mu: float, alpha: float, beta: float
) -> Values:
    """Return ``amplitude * (1 + ((x - mu) / alpha)**2) ** -beta``."""
    result: Values = amplitude * (1 + ((x - mu) / alpha) ** 2) ** -beta
    return result


def find_peak(log_ratio: Values, group: NDArray[np.int64]) -> RatioPeak:
    """Return the most frequent of finite values, each of a jackknife group 0..."""
    middle = float(np.median(log_ratio))
    spread = max(robust_spread(log_ratio), _NARROWEST)
    step = spread / _BINS_PER_SPREAD
    # The middle lies in the middle of a bin, so that equal values stay exact.
    edges = middle + step * (np.arange(_BINS + 1, dtype=np.float64) - _BINS / 2)
    index = np.floor((log_ratio - edges[0]) / step).astype(np.int64)
    inside = (index >= 0) & (index < _BINS)
    number = int(group.max()) + 1
    cells = group[inside] * _BINS + index[inside]
    counts = np.bincount(cells, minlength=number * _BINS).reshape(number, _BINS)
    total = counts.sum(axis=0).astype(np.float64)
    centres = (edges[1:] + edges[:-1]) / 2
    peak = _smoothed_peak(centres, total)
    used = counts[counts.sum(axis=1) > 0]
    left_out = np.array([_smoothed_peak(centres, total - part) for part in used])
    if len(used) < 2:
        uncertainty = spread / math.sqrt(max(total.sum(), 1.0)) * 2.0
    else:
        uncertainty = jackknife(left_out)
    return RatioPeak(edges, total, middle, peak, uncertainty, spread)


def _smoothed_peak(centres: Values, counts: Values) -> float:
    """Return the top of a parabola through the logarithm of the smoothed peak."""
    smooth = gaussian_filter1d(counts, _SMOOTHING, mode="constant")
    top = int(smooth.argmax())
    if smooth[top] <= 0:
        return float(centres[len(centres) // 2])
    step = centres[1] - centres[0]
    x = (centres - centres[top]) / step
    near = (np.abs(x) <= 2.5 * _SMOOTHING) & (smooth > 0.4 * smooth[top])
    if np.count_nonzero(near) < 3:
        return float(centres[top])
    # log of a normal peak: bend x^2 + slope x + c, whose top lies at -slope / (2 bend)
    bend, slope, _ = np.polyfit(x[near], np.log(smooth[near]), 2)
    shift = -slope / (2 * bend) if bend < 0 else 0.0
    return float(centres[top] + step * float(np.clip(shift, -_SMOOTHING, _SMOOTHING)))


def fit_moffat(ratios: RatioPeak) -> MoffatFit | None:
    """Fit a Moffat profile to the left wing mirrored about the peak.

    Microbes brighten post, so they fill the right wing; the left one is that of
    the minerals. None when no profile could be fitted.
    """
    centres = ratios.centres
    smooth = gaussian_filter1d(ratios.density, _SMOOTHING, mode="constant")
    left = centres <= ratios.peak
    bright = left & (smooth > _FAINTEST * smooth.max())
    if np.count_nonzero(bright) < 4:
        return None
    low = float(centres[np.flatnonzero(bright)[0]])
    high = 2 * ratios.peak - low
    # Ratios that are all but equal fill too few bins to have wings.
    exact = np.count_nonzero(ratios.density[bright]) < 4
    wings = smooth if exact else ratios.density
    # density(peak + d) := density(peak - d)
    folded = np.interp(2 * ratios.peak - centres, centres, wings)
    mirrored = np.where(left, wings, folded)
    mirrored[(centres < low) | (centres > high)] = np.nan
    used = np.isfinite(mirrored)
    amplitude = float(smooth.max())
    # Fitted in units of the spread and the height, where all are of order 1.
    x = (centres[used] - ratios.peak) / ratios.spread
    y = mirrored[used] / amplitude
    try:
        best, _ = curve_fit(
            moffat_profile,
            x,
            y,
            p0=(1.0, 0.0, 1.5, 2.5),
            sigma=np.sqrt(np.maximum(y, 0.0) + 1.0 / amplitude),
            bounds=((0.05, -2.0, 0.02, 0.5), (20.0, 2.0, 50.0, 500.0)),
            max_nfev=400,
        )
    except (RuntimeError, ValueError):
        return None
    height, shift, width, beta = best.tolist()
    shared = {entry.name: getattr(ratios, entry.name) for entry in fields(ratios)}
    return MoffatFit(
        **shared,
        low=low,
        high=high,
        mirrored=mirrored,
        amplitude=height * amplitude,
        mu=ratios.peak + shift * ratios.spread,
        alpha=width * ratios.spread,
        beta=beta,
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ScaleEstimate(Shown):
    """A scale, how well it is known and whether it can be vouched for.

    Attributes
    ----------
    method : str
        Name in `SCALE_METHODS`.
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

    def __repr__(self) -> str:
        """Return method, value, uncertainty and verdict in one line."""
        offset = f"offset {self.offset:.3g}, " if self.offset else ""
        scale = with_error(self.scale, self.uncertainty)
        name = type(self).__name__
        return f"{name}({self.kind!r}, {scale}, {offset}{self.verdict!r})"

    def __rich__(self) -> Listing:
        """Return the scale as one row."""
        scale = with_error(self.scale, self.uncertainty)
        offset = with_error(self.offset, self.offset_uncertainty)
        return scale_table(self.kind, scale, offset, self.verdict)

    @property
    def kind(self) -> str:
        """The text of the header card SCALEK, such as ``percentile_p99.1``."""
        if self.percentile is not None:
            return f"percentile_p{format_value(self.percentile)}"
        return self.method


def scale_table(kind: str, scale: str, offset: str, verdict: Verdict) -> Listing:
    """Return a scale, its offset and how far it can be trusted as one row."""
    why = "\n".join(filter(None, (verdict.reason, verdict.figures())))
    row = (kind, scale, offset, verdict.state, why)
    return Listing(("method", "scale", "offset", "verdict", "numbers"), [row])


def moffat_scale(
    statistics: PairStatistics, *, offset_correction: bool = True
) -> ScaleEstimate:
    """Return the scale at the peak of the minerals' ratio distribution.

    The ratio is that of block means, of blocks that show the section in pre. An
    offset of post is estimated with it (see `minerals`), taken off when it is
    significant, and so are differences of light or glow from place to place. Without
    `offset_correction` it is measured, but the plain ratio is used.
    """
    blocks = minerals.mineral_blocks(statistics.blocks)
    if len(blocks) < _FEWEST_BLOCKS:
        reason = (
            f"only {len(blocks)} blocks of the section are usable, {_FEWEST_BLOCKS} "
            "are needed"
        )
        return _median_ratio_scale(statistics, reason, len(blocks))
    first = find_peak(np.log10(blocks.post / blocks.pre), blocks.group)
    coarser = minerals.mineral_blocks(statistics.blocks.coarser())
    background = minerals.fit_background(
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
    ratios = find_peak(ratio[usable], blocks.group[usable])
    fit = fit_moffat(ratios)
    if fit is not None and abs(fit.mu - ratios.peak) > ratios.spread:
        fit = None
    centre = ratios.peak if fit is None else fit.mu
    brightness = float(np.median(blocks.post))
    pull = _PULL * abs(ratios.median - ratios.peak)
    # d scale / scale = ln 10 * d log10(scale); independent errors add in squares
    width = _WIDTH * ratios.spread
    relative = math.hypot(_LN10 * math.hypot(ratios.uncertainty, pull, width), _FLOOR)
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
        "ratio_spread": ratios.spread * _LN10,
        "measured_offset": background.measured_offset,
        "local_spread": background.spread,
        "relative_uncertainty": relative,
    }
    if blocks.lost_share:
        numbers["lost_in_post"] = blocks.lost_share
    return ScaleEstimate(
        method="moffat",
        scale=scale,
        uncertainty=scale * relative,
        offset=background.offset,
        offset_uncertainty=background.offset_uncertainty,
        verdict=_judged(blocks, ratios, fit, numbers, related=related),
        fit=fit,
    )


def _judged(
    blocks: minerals.MineralBlocks,
    ratios: RatioPeak,
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
    elif ratios.spread > _NO_PEAK:
        reason = (
            "the ratio post/pre has no clear peak (it spreads by a factor of "
            f"{10**ratios.spread:.1f}); check the registration"
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
        return Verdict(State.OK, numbers=numbers)
    return Verdict(State.FELL_BACK, reason, numbers)


def _median_ratio_scale(
    statistics: PairStatistics, reason: str, blocks: int
) -> ScaleEstimate:
    """Return the median ratio of single pixels: a last resort, told with the reason."""
    rows, columns, counts = statistics.signal_cells()
    number = int(counts.sum())
    numbers = {"blocks": float(blocks), "pixels": float(number)}
    if number == 0:
        return _placeholder("moffat", _NO_RATIO, numbers)
    levels = statistics.centres
    ratio = np.log10(levels[rows] / levels[columns])
    order = np.argsort(ratio)
    total = np.cumsum(counts[order])
    parts = np.searchsorted(total, np.array([0.16, 0.5, 0.84]) * number)
    low, middle, high = ratio[order][parts].tolist()
    scale = 10.0**middle
    spread = max((high - low) / 2 * _LN10, 0.01)
    reason += "; the median ratio of single pixels stands in"
    verdict = Verdict(State.FELL_BACK, reason, numbers)
    return ScaleEstimate("moffat", scale, scale * spread, 0.0, 0.0, verdict)


def scale_at_percentile(statistics: PairStatistics, percentile: float) -> ScaleEstimate:
    """Return the scale at a percentile of log10(post/pre).

    Parameters
    ----------
    statistics : PairStatistics
        Of the aligned pair.
    percentile : float
        0..100. Pixels that are 0 or saturated in one of the images do not count.

    Returns
    -------
    ScaleEstimate
        For 8-bit images exactly what `numpy.percentile` gives; for other types
        within half a bin of 1.5e-4 in log10 (0.02 %).

    Raises
    ------
    ParameterError
        If the percentile is out of range.
    """
    percentile = float(percentile)
    if not 0.0 <= percentile <= 100.0:
        raise ParameterError(
            f"the percentile must be a number from 0 to 100, found {percentile!r}; "
            "choose one in that range"
        )
    levels = statistics.centres

    def at(joint: NDArray[np.int64]) -> float | None:
        rows, columns, counts = statistics.signal_cells(joint)
        if not len(counts):
            return None
        values = np.log10(levels[rows] / levels[columns])
        return math.pow(10.0, _percentile_of(values, counts, percentile))

    estimate = _from_groups(statistics, "percentile", at, percentile)
    fine = statistics.ratio
    if fine is None or fine.total == 0:
        return estimate
    scale = 10.0 ** _percentile_of(fine.centres, fine.counts, percentile)
    return replace(estimate, scale=scale)


def _percentile_of(
    values: NDArray[np.float64], counts: NDArray[np.int64], percentile: float
) -> float:
    """Return the percentile of values that occur `counts` times each."""
    order = np.argsort(values, kind="stable")
    last = np.cumsum(counts[order])
    most = int(last[-1]) - 1
    position = most * percentile / 100.0
    below = math.floor(position)
    ranks = np.searchsorted(last, [below, min(below + 1, most)], side="right")
    first, second = values[order][ranks].tolist()
    return float(first + (second - first) * (position - below))


def manual_scale(scale: float) -> ScaleEstimate:
    """Return a scale that a person chose.

    Raises
    ------
    ParameterError
        If it is not a finite number above 0.
    """
    scale = float(scale)
    if not (math.isfinite(scale) and scale > 0):
        raise ParameterError(
            f"a manual scale must be a number above 0, found {scale!r}; choose one"
        )
    return ScaleEstimate("manual", scale, 0.0, 0.0, 0.0, Verdict(State.OK))


def least_squares_scale(statistics: PairStatistics) -> ScaleEstimate:
    """Return the least-squares slope of post on pre through the origin.

    Over all pixels with signal in both images, microbes included: 10-30 % too
    high where they are bright. For comparison with old results.
    """
    levels = statistics.centres

    def slope(joint: NDArray[np.int64]) -> float | None:
        rows, columns, counts = statistics.signal_cells(joint)
        # slope = sum post pre / sum pre^2
        below = float(np.sum(counts * levels[columns] ** 2))
        if below <= 0:
            return None
        return float(np.sum(counts * levels[rows] * levels[columns])) / below

    return _from_groups(statistics, "least_squares", slope)


def robust_percentile_scale(statistics: PairStatistics) -> ScaleEstimate:
    """Return the 90th percentile of post/pre.

    Far too high where the images are well aligned. For comparison with old
    results.
    """
    estimate = scale_at_percentile(statistics, 90.0)
    return replace(estimate, method="robust_percentile", percentile=None)


def _from_groups(
    statistics: PairStatistics,
    method: str,
    function: Callable[[NDArray[np.int64]], float | None],
    percentile: float | None = None,
) -> ScaleEstimate:
    """Return a scale that is a function of the joint histogram, with jackknife."""
    joint = statistics.joint
    scale = function(joint)
    if scale is None or not math.isfinite(scale) or scale <= 0:
        return _placeholder(method, _NO_RATIO, {"pixels": 0.0}, percentile)
    left_out = [function(joint - group) for group in statistics.groups]
    values = np.array([value for value in left_out if value is not None])
    numbers = {"pixels": float(statistics.signal_cells(joint)[2].sum())}
    verdict, error = Verdict(State.OK, numbers=numbers), minerals.jackknife(values)
    return ScaleEstimate(method, scale, error, 0.0, 0.0, verdict, percentile=percentile)


def _placeholder(
    method: str, reason: str, numbers: dict[str, float], percentile: float | None = None
) -> ScaleEstimate:
    """Return a failed estimate: scale 1, as uncertain as it is large."""
    verdict = Verdict(State.FAILED, reason, numbers)
    return ScaleEstimate(method, 1.0, 1.0, 0.0, 0.0, verdict, percentile=percentile)
