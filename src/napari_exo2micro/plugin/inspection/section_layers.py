"""The layers of one sample and dye that belong together, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_exo2micro.core.close_look import CloseLook, PlacedImage
from napari_exo2micro.core.errors import CheckpointError, ParameterError
from napari_exo2micro.plugin.inspection.image_side import image_problem
from napari_exo2micro.plugin.layer_sets import fitting_layers, set_in_front
from napari_exo2micro.plugin.layers import about, find_layers
from napari_exo2micro.plugin.session import Session

if TYPE_CHECKING:
    from napari_exo2micro.core.provenance import Provenance

__all__ = ["SectionLayers", "find_section", "stored_header"]


def stored_header(layer: Image) -> Provenance | None:
    """Return what the file of a layer says about itself, None without a header."""
    header = about(layer).get("header")
    if not header:
        return None
    from napari_exo2micro.core.provenance import Provenance  # slow to import

    try:
        return Provenance.from_header(header)
    except (CheckpointError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class SectionLayers:
    """Post, the best aligned pre and the difference of one run of one sample and dye.

    Attributes
    ----------
    sample, dye : str
        Whose layers they are; empty when there are none.
    post, aligned, difference, pre : Image, optional
        The layers; `pre` is the one that is not aligned.
    outdated : tuple of Image
        Layers that do not fit to these: a stage before theirs was run with other
        settings since.
    """

    sample: str = ""
    dye: str = ""
    post: Image | None = None
    aligned: Image | None = None
    difference: Image | None = None
    outdated: tuple[Image, ...] = ()
    pre: Image | None = None

    @property
    def left_out(self) -> str:
        """What was left out and how to get it, in a sentence; empty for nothing."""
        if not self.outdated:
            return ""
        stages = sorted({int(about(one)["stage"]) for one in self.outdated})
        names = " and ".join(f"'{one.name}'" for one in self.outdated)
        one = len(self.outdated) == 1
        return (
            f"{names} {'was' if one else 'were'} made with other settings and "
            f"{'is' if one else 'are'} left out: run "
            f"{'stage' if len(stages) == 1 else 'stages'} "
            f"{' and '.join(map(str, stages))} again."
        )

    @property
    def words(self) -> str:
        """Sample and dye for a label."""
        return f"{self.sample}, {self.dye}" if self.sample else ""

    @property
    def post_shape(self) -> tuple[int, int]:
        """Rows and columns of the raw post-stain image."""
        assert self.post is not None
        header = stored_header(self.aligned) if self.aligned is not None else None
        header = header or stored_header(self.post)
        frame = header.canvas.get("post_frame") if header else None
        if frame:
            return int(frame[3]), int(frame[2])
        rows, columns = _levels(self.post)[0].shape
        row, column = (round(v) for v in self.post.data_to_world((0, 0)))
        return int(rows + row), int(columns + column)

    def close_look(self) -> CloseLook:
        """Return what a zoom box looks at.

        Raises
        ------
        ParameterError
            When post or the aligned pre is missing, or was turned in the viewer.
        """
        if self.post is None or self.aligned is None:
            missing = "post-stain" if self.post is None else "aligned pre-stain"
            raise ParameterError(
                "the zoom box shows post-stain and aligned pre-stain of one sample, "
                f"there is no {missing} layer: run stage 2 or 3 in the workbench, or "
                "open the results folder of the sample"
                + (f". {self.left_out}" if self.left_out else "")
            )
        for layer in (self.post, self.aligned, self.difference):
            problem = image_problem(layer, "The zoom box") if layer is not None else ""
            if problem:
                raise ParameterError(problem)
        header = stored_header(self.aligned)
        scale: dict[str, Any] = {}
        if self.difference is not None:
            own = stored_header(self.difference)
            scale = dict(own.scale) if own else {}
            header = own or header
        known = scale.get("value") is not None
        return CloseLook(
            post=_placed(self.post),
            pre=_placed(self.aligned),
            shape=self.post_shape,
            difference=(
                _placed(self.difference)
                if self.difference is not None and known
                else None
            ),
            scale=float(scale["value"]) if known else None,
            offset=float(scale.get("offset") or 0.0),
            verdicts=header.verdicts if header else {},
            sample=self.sample,
            dye=self.dye,
        )


def find_section(session: Session) -> SectionLayers:
    """Return the layers of the session's sample and dye, otherwise of the topmost.

    Of several sets of results it is the one that a person looks at, and in it only
    what belongs together; see `layer_sets`.
    """
    viewer = session.viewer
    sample, dye = session.sample, session.dye
    if not (sample and find_layers(viewer, None, sample, dye, apart=None)):
        for role in ("post", "aligned 3", "aligned 2"):
            found = find_layers(viewer, role, apart=None)
            if found:
                known = about(found[-1])
                sample, dye = known.get("sample", ""), known.get("dye", "")
                break
        else:
            return SectionLayers()
    apart = set_in_front(viewer, sample, dye)
    fitting, outdated = fitting_layers(viewer, sample, dye, apart)
    wanted = ("aligned 2", "aligned 3", "difference")
    return SectionLayers(
        sample,
        dye,
        fitting.get("post"),
        fitting.get("aligned 3") or fitting.get("aligned 2"),
        fitting.get("difference"),
        tuple(outdated[role] for role in wanted if role in outdated),
        fitting.get("pre"),
    )


def _levels(layer: Image) -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]


def _placed(layer: Image) -> PlacedImage:
    row, column = np.rint(layer.data_to_world((0, 0))).astype(int)
    return PlacedImage(_levels(layer), (int(row), int(column)))
