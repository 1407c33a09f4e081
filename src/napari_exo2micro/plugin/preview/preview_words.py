"""What a preview says of itself, in a line for a person."""

from __future__ import annotations

from napari_exo2micro.core.preview import (
    BoundaryPreview,
    InteriorPreview,
    ScalePreview,
)
from napari_exo2micro.core.scale_estimate import ScaleEstimate
from napari_exo2micro.core.scale_methods import DEFAULT_SCALE, SCALE_METHODS

__all__ = ["preview_words"]

_LEVELS = {"ok": "", "skipped": "", "fell_back": "warning", "failed": "error"}
_BASIS = {
    "stage 4": "counted by stage 4 on every pixel",
    "every pixel": "counted on every pixel",
    "sample": "counted on windows from all over the section; stage 4 counts every "
    "pixel",
}


def preview_words(
    found: BoundaryPreview | InteriorPreview | ScalePreview,
) -> tuple[str, str]:
    """Return what a preview found, and how bad it is.

    Returns
    -------
    text : str
        One or two sentences.
    level : str
        Empty, ``'warning'`` or ``'error'``.
    """
    if isinstance(found, BoundaryPreview):
        words = _boundary(found)
    elif isinstance(found, InteriorPreview):
        words = _interior(found)
    else:
        words = _scale(found)
    return words, _LEVELS[found.verdict.state]


def _boundary(found: BoundaryPreview) -> str:
    if not found.method:
        return f"Nothing to align: {found.verdict.reason}."
    numbers = found.verdict.numbers
    parts = found.transform.decompose()
    words = f"Turn {parts['angle_deg']:.2f}°, magnification {parts['scale']:.4f}"
    if "shift_px" in numbers:
        words += f", shift {numbers['shift_px']:.0f} px"
    if parts["mirrored"]:
        words += ", mirrored"
    if found.verdict.state == "failed":
        return f"Not trustworthy: {found.verdict.reason}. {words}."
    if found.verdict.state == "fell_back":
        return f"A lesser result: {found.verdict.reason}. {words}."
    accuracy = numbers.get("accuracy_px", -1.0)
    if accuracy >= 0:
        words += f"; good to about {accuracy:.2g} px"
    return f"{words}. The stage would find the same."


def _interior(found: InteriorPreview) -> str:
    verdict, numbers = found.verdict, found.verdict.numbers
    if verdict.state == "skipped":
        return f"Left out: {verdict.reason}."
    if not numbers:
        return f"Nothing to align: {verdict.reason}."
    counts = f"{numbers['n_inliers']:.0f} of {numbers['n_matches']:.0f} matches agree"
    size = "at full size"
    if found.reduction > 1:
        size = f"on images reduced {found.reduction:g} times"
    later = f"Estimated {size}; the stage refines it on small tiles at full size."
    if verdict.state == "ok":
        moved = f"correction {numbers['correction_px']:.2g} px"
        return f"{counts}, {moved}. {later}"
    start = "Not trustworthy" if verdict.state == "failed" else "A lesser result"
    return f"{start}: {verdict.reason}. {later}"


def _scale(found: ScalePreview) -> str:
    scales = found.scales
    words = [_one(scales[method]) for method in SCALE_METHODS if method in scales]
    text = ", ".join(words)
    if found.verdict.state != "ok":
        start = "No scale" if found.verdict.state == "failed" else "A lesser scale"
        text = f"{start}: {found.verdict.reason}" + (f"; {text}" if text else "")
    basis = _BASIS.get(found.basis, "")
    return f"{text}; {basis}." if basis else f"{text}."


def _one(scale: ScaleEstimate) -> str:
    """Return one scale with its error: ``Scale 1.3001 ± 0.0004 (Moffat fit)``."""
    name = SCALE_METHODS[scale.method].title
    if scale.percentile is not None:
        name += f" {scale.percentile:g}"
    error = f" ± {scale.uncertainty:.1g}" if scale.uncertainty else ""
    words = f"{scale.scale:.5g}{error} ({name})"
    return f"Scale {words}" if scale.method == DEFAULT_SCALE else words
