"""A scale, how well it is known and whether it can be vouched for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.defaults import format_value
from napari_exo2micro.core.moffat import MoffatFit

__all__ = ["ScaleEstimate"]


@dataclass(frozen=True, slots=True, eq=False)
class ScaleEstimate:
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

    @property
    def kind(self) -> str:
        """The text of the header card SCALEK, such as ``percentile_p99.1``."""
        if self.percentile is not None:
            return f"percentile_p{format_value(self.percentile)}"
        return self.method

    def to_dict(self) -> dict[str, Any]:
        """Return the estimate as JSON-ready built-in types.

        Returns
        -------
        dict
            Every attribute under its name.
        """
        return {
            "method": self.method,
            "scale": self.scale,
            "uncertainty": self.uncertainty,
            "offset": self.offset,
            "offset_uncertainty": self.offset_uncertainty,
            "verdict": self.verdict.to_dict(),
            "fit": None if self.fit is None else self.fit.to_dict(),
            "percentile": self.percentile,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> ScaleEstimate:
        """Return the estimate that `to_dict` stored.

        Parameters
        ----------
        stored : mapping
            As `to_dict` returned it.

        Returns
        -------
        ScaleEstimate
            An equal one.
        """
        fit = stored["fit"]
        return cls(
            method=stored["method"],
            scale=float(stored["scale"]),
            uncertainty=float(stored["uncertainty"]),
            offset=float(stored["offset"]),
            offset_uncertainty=float(stored["offset_uncertainty"]),
            verdict=Verdict.from_dict(stored["verdict"]),
            fit=None if fit is None else MoffatFit.from_dict(fit),
            percentile=stored["percentile"],
        )
