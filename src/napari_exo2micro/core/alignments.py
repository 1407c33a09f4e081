"""An alignment by itself: saved, loaded, and seen from the raw images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_exo2micro.core.errors import CheckpointError, ParameterError
from napari_exo2micro.core.json_files import read_json, write_json
from napari_exo2micro.core.rasters import Frame
from napari_exo2micro.core.transforms import Transform

__all__ = ["Alignment", "Direction"]

_LAST_ALIGNING = 3

#: Onto which of the two images something is moved.
Direction = Literal["onto post", "onto pre"]


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Where a point of the post-stain image lies in the pre-stain image.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving), px of the padded canvas.
    post_frame, pre_frame : tuple of int or None
        (x0, y0, width, height) of the raw images on the canvas, px; None when the
        file does not tell.
    sample, dye : str
        Whose it is; empty when the file does not tell.
    stage : int
        Which stage found it; 0 when the file does not tell.
    """

    transform: Transform
    post_frame: Frame | None = None
    pre_frame: Frame | None = None
    sample: str = ""
    dye: str = ""
    stage: int = 0

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Alignment | None:
        """Return the alignment that a checkpoint's header tells, None if it has none.

        Parameters
        ----------
        header : mapping
            As `Provenance.to_header` makes it.

        Raises
        ------
        CheckpointError
            When its transform cannot be read.
        """
        stored = header.get("transform")
        if not stored:
            return None
        return cls._from_parts(stored, header)

    @classmethod
    def load(cls, path: Path | str) -> Alignment:
        """Read a file that `save` or `Transform.save` wrote.

        The latter does not tell where the raw images lie on the canvas: see
        `on_canvas`.

        Raises
        ------
        CheckpointError
            When the file is none of these.
        """
        transform = Transform.load(path)  # which says what is wrong with a file
        stored = read_json(path)
        return cls._from_parts(transform.to_dict(), stored)

    @classmethod
    def _from_parts(
        cls, transform: Mapping[str, Any], stored: Mapping[str, Any]
    ) -> Alignment:
        canvas = stored.get("canvas") or {}
        if not isinstance(canvas, Mapping):
            raise CheckpointError(
                f"the canvas of an alignment takes 'post_frame' and 'pre_frame', found "
                f"{canvas!r:.60}; save the alignment again"
            )
        stage = stored.get("stage")
        return cls(
            Transform.from_dict(transform),
            _frame(canvas.get("post_frame")),
            _frame(canvas.get("pre_frame")),
            str(stored.get("sample", "")),
            str(stored.get("dye", "")),
            # What comes after stage 3 keeps its alignment.
            min(stage, _LAST_ALIGNING) if isinstance(stage, int) else 0,
        )

    def save(self, path: Path | str) -> None:
        """Write a JSON file that `load` and `Transform.load` read.

        Raises
        ------
        OutputError
            When it cannot be written; a file of that name stays as it was.
        """
        stored = self.transform.to_dict() | {
            "canvas": {"post_frame": self.post_frame, "pre_frame": self.pre_frame},
            "sample": self.sample,
            "dye": self.dye,
            "stage": self.stage,
        }
        write_json(path, stored)

    @property
    def knows_its_canvas(self) -> bool:
        """Whether it is known where the raw images lie on the canvas."""
        return self.post_frame is not None and self.pre_frame is not None

    def on_canvas(self, pad: int) -> Alignment:
        """Return the same with raw images that begin at (pad, pad) on the canvas.

        Their sizes stay unknown: 0.
        """
        frame = (pad, pad, 0, 0)
        return replace(self, post_frame=frame, pre_frame=frame)

    @property
    def raw_transform(self) -> Transform:
        """The map from post-stain to pre-stain points, (x, y) in px of the raw images.

        Raises
        ------
        ParameterError
            When it is not known where the raw images lie on the canvas.
        """
        if self.post_frame is None or self.pre_frame is None:
            raise ParameterError(
                "the alignment does not tell how wide the empty margin of its canvas "
                "was; give the value of 'pad' that it was made with"
            )
        post, pre = self.post_frame, self.pre_frame
        there = Transform.similarity(translation=(float(post[0]), float(post[1])))
        back = Transform.similarity(translation=(-float(pre[0]), -float(pre[1])))
        return back @ self.transform @ there

    def shape_of(self, direction: Direction) -> tuple[int, int] | None:
        """Return rows and columns of the raw image something is moved onto.

        None when they are not known.
        """
        frame = self.post_frame if direction == "onto post" else self.pre_frame
        if frame is None or not (frame[2] and frame[3]):
            return None
        return frame[3], frame[2]

    def points_moved(self, points: Any, direction: Direction) -> Any:
        """Return points of one raw image as they lie in the other.

        Parameters
        ----------
        points : array_like, shape (N, 2)
            Points (x, y), px of the raw image that they were drawn on.
        direction : {'onto post', 'onto pre'}
            Points of pre are moved onto post, or points of post onto pre.

        Returns
        -------
        ndarray, shape (N, 2), float64
            Points (x, y), px of the raw image that they are moved onto.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        found = self.raw_transform
        return found.inverse()(points) if direction == "onto post" else found(points)

    def sampling(self, direction: Direction) -> Transform:
        """Return, for each px of the image moved onto, where to look in the other.

        Parameters
        ----------
        direction : {'onto post', 'onto pre'}
            As in `points_moved`; both sides in px of the raw images.
        """
        found = self.raw_transform
        return found if direction == "onto post" else found.inverse()


def _frame(stored: Any) -> Frame | None:
    if not stored:
        return None
    try:
        x0, y0, width, height = (int(value) for value in stored)
    except (TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"the place of an image on the canvas takes four whole numbers, found "
            f"{stored!r}; save the alignment again"
        ) from error
    return x0, y0, width, height
