"""One checkpoint: what it may hold, its image, its header, its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.provenance import Provenance
from napari_exo2micro.core.rasters import Raster

__all__ = ["Checkpoint", "CheckpointStatus", "storable_pixels"]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A valid image of a stage.

    Attributes
    ----------
    image : Raster
        The pixels.
    provenance : Provenance or None
        None when the file carries no header (the reference system's do not).
    identity : str
        Digest of what the pixels depend on.
    """

    image: Raster
    provenance: Provenance | None
    identity: str

    @property
    def frames(self) -> Mapping[str, tuple[int, int, int, int] | None]:
        """Frames of the data, `post` and `pre`, where they are known."""
        canvas = self.provenance.canvas if self.provenance else {}
        frames = {}
        for side in ("post", "pre"):
            stored = canvas.get(f"{side}_frame")
            frames[side] = tuple(stored) if stored else None
        return frames


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    """One line of a status list.

    Attributes
    ----------
    stage : int
        Number of the stage.
    name : str
        Of the checkpoint or the plot.
    kind : {'checkpoint', 'plot'}
        What it is.
    state : {'valid', 'stale', 'missing'}
        A stale one exists and is not used.
    reason : str
        Why it is stale, or what is worth knowing of a valid one.
    path : Path
        The file.
    """

    stage: int
    name: str
    kind: Literal["checkpoint", "plot"]
    state: Literal["valid", "stale", "missing"]
    reason: str
    path: Path


def storable_pixels(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return an image in a type that both file formats hold."""
    if pixels.ndim != 2:
        raise ParameterError(
            f"a checkpoint needs a 2-D image, found {pixels.ndim} axes"
        )
    larger = {"b1": "u1", "i1": "i2", "u4": "i8", "f2": "f4"}
    code = pixels.dtype.str[1:]
    if code in larger:
        return pixels.astype(larger[code])
    if code not in ("u1", "u2", "i2", "i4", "i8", "f4", "f8"):
        raise ParameterError(
            f"a checkpoint holds integers up to 64 bit signed or floats, found "
            f"{pixels.dtype}; convert the image first"
        )
    return pixels
