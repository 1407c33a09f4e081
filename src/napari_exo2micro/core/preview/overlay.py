"""What all previews can show: the images, one on the other, at reduced size."""

from __future__ import annotations

from dataclasses import dataclass

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.errors import RegistrationError
from napari_exo2micro.core.preview.reduced import ReducedImage
from napari_exo2micro.core.preview.source import PreviewSource
from napari_exo2micro.core.transforms import Transform

__all__ = ["OverlayPreview"]


@dataclass(frozen=True, eq=False)
class OverlayPreview:
    """An alignment that a stage would find or use.

    Attributes
    ----------
    source : PreviewSource
        The pair.
    verdict : Verdict
        What it is worth; `failed` with the reason when nothing was found.
    transform : Transform
        Post (fixed) to pre (moving), full-resolution px of the canvas.
    """

    source: PreviewSource
    verdict: Verdict
    transform: Transform

    @property
    def post(self) -> ReducedImage | None:
        """The post image, cut to its frame; None when it cannot be read."""
        try:
            return self.source.post()
        except RegistrationError:
            return None

    @property
    def aligned_pre(self) -> ReducedImage | None:
        """The pre image on the grid of `post`; None when it cannot be read."""
        try:
            return self.source.aligned_pre(self.transform)
        except RegistrationError:
            return None
