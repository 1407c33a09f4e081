"""What stages 1 to 3 leave: the padded pair, and an alignment as its header holds it.

Stage 4 has a module of its own, `difference`. `SampleDye` decides what is valid, calls
the functions of `alignment`, and stores what they return in this form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.alignment import (
    BoundaryAlignment,
    InteriorAlignment,
    check_landmarks,
)
from napari_exo2micro.core.base.errors import RegistrationError
from napari_exo2micro.core.images import Landmarks, Transform, warp
from napari_exo2micro.core.images.pixel_size import (
    TOLERANCE,
    PixelSize,
    pair_pixel_sizes,
)
from napari_exo2micro.core.parameters import ParameterValue
from napari_exo2micro.core.parameters.state import State, Verdict
from napari_exo2micro.core.raw.pair import RawPair
from napari_exo2micro.core.store import Checkpoint, CheckpointStore, provenance

_MAX_STORED_POINTS: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class PaddedPair:
    """What stage 1 makes of a raw pair; `pad` empty pixels on each side.

    `pixel_size` of post, um, counts before what the files note.
    """

    pair: RawPair
    pad: int
    pixel_size: float | None = None
    is_chosen: bool = False  # two images of one file
    table: Mapping[str, ParameterValue] = field(default_factory=dict)  # of this pair

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the canvas that both images share."""
        return warp.canvas_shape(self.pair.post.shape, self.pair.pre.shape, self.pad)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a careful reader would not expect of the pair."""
        post, pre = self.pair.post, self.pair.pre
        if not post.fingerprint().same_content(pre.fingerprint()) or self.is_chosen:
            return self.pair.warnings
        names = " and ".join(str(image.path or "an array") for image in (post, pre))
        note = (
            f"post-stain and pre-stain are the same image ({names}): nothing is left "
            "when one is taken from the other; put the right file in the place of one"
        )
        return (*self.pair.warnings, note)

    @property
    def canvas(self) -> dict[str, Any]:
        """Where the data lie on it, the channels and sizes of their pixels."""
        canvas: dict[str, Any] = {
            "post_frame": warp.frame(self.pair.post.shape, self.pad),
            "pre_frame": warp.frame(self.pair.pre.shape, self.pad),
            "channels": self.pair.channels,
        }
        for side, size in self.pixel_sizes.items():
            if size is not None:
                canvas[f"{side}_pixel_size"] = list(size)
        for side, image in (("post", self.pair.post), ("pre", self.pair.pre)):
            if image.missing is not None:
                moved = image.missing.moved(self.pad, self.pad)
                canvas[f"{side}_missing"] = moved.to_dict()
        return canvas

    @property
    def pixel_sizes(self) -> dict[str, PixelSize | None]:
        """Sizes of the pixels of `post` and `pre`; None where nothing tells them."""
        post, pre = (
            (image.path, (image.shape[0], image.shape[1]))
            for image in (self.pair.post, self.pair.pre)
        )
        sizes = pair_pixel_sizes(post, pre, self.pixel_size)
        return dict(zip(("post", "pre"), sizes, strict=True))

    def raw(self, loader: str) -> dict[str, Any]:
        """Return what stands for the raw files in headers."""
        sides = {"post": self.pair.post, "pre": self.pair.pre}
        raw: dict[str, Any] = {}
        for side, image in sides.items():
            file = str(image.path.resolve()) if image.path else ""
            raw[side] = {"file": file, **image.fingerprint().to_dict()}
        if self.table:
            raw["pair_table"] = dict(self.table)
        return {**raw, "loader": loader}

    def inputs(self, loader: str) -> str:
        """Return the digest of what the images are made from."""
        sides = (self.pair.post, self.pair.pre)
        return provenance.digest(
            [loader, *(side.fingerprint().sha256 for side in sides)]
        )

    def bands(self, side: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the padded image band by band; 'post' or 'pre'."""
        image = self.pair.post if side == "post" else self.pair.pre
        return warp.padded_bands(image.bands(), self.shape, self.pad, image.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """What stage 2 or 3 has estimated, for the header of its image; see `Provenance`.

    `coarse` is what the coarse search of stage 2 alone has estimated.
    """

    transform: Transform
    verdict: Verdict
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    coarse: Transform | None = None
    registered_on: str = ""

    @classmethod
    def of_boundary(cls, boundary: BoundaryAlignment) -> Alignment:
        """Return what stage 2 stores of a boundary alignment."""
        details = {
            "method": boundary.method,
            "coarse_matrix": boundary.coarse_transform.matrix.tolist(),
            "post_contour": _points(boundary.post_contour),
            "pre_contour": _points(boundary.pre_contour),
        }
        coarse = boundary.coarse_transform
        return cls(boundary.transform, boundary.verdict, details, coarse=coarse)

    @classmethod
    def of_interior(cls, interior: InteriorAlignment) -> Alignment:
        """Return what stage 3 stores of an interior alignment."""
        details = _interior_details(interior)
        return cls(interior.transform, interior.verdict, details)

    def checked_by(self, landmarks: Landmarks | None, post: Checkpoint) -> Alignment:
        """Return it with what landmarks say of it, px of the canvases.

        `post` is the padded image, which knows the size of a pixel.
        """
        if landmarks is None:
            return self
        check, verdict = check_landmarks(landmarks, self.transform), self.verdict
        state, reason = verdict.state, verdict.reason
        if check.problem:
            state = State.FELL_BACK if state.is_good else state
            reason = "; ".join(filter(None, (check.problem, reason)))
        numbers = {**verdict.numbers, **check.numbers}
        size = post.provenance.pixel_size if post.provenance else None
        if size is not None:
            # lengths are px of pre, of which there are so many for one of post
            pixel = size.mean / self.transform.decompose()["scale"]
            for name in [name for name in check.numbers if name.endswith("_px")]:
                in_um = check.numbers[name] * pixel
                numbers[f"{name.removesuffix('px')}um"] = in_um
        details = {**self.details, "landmarks": check.to_details()}
        return replace(self, verdict=Verdict(state, reason, numbers), details=details)


def take_over(store: CheckpointStore, stage: int) -> Alignment:
    """Do stage 2 or 3 with the transform of the dye that is registered.

    Raises
    ------
    CheckpointError
        When that dye has no valid result of the stage.
    RegistrationError
        When the two dyes' images differ in size: they do not share a geometry.
    """
    dye = store.settings.register_on
    assert dye is not None
    transform, other = store.transform_of(dye, stage), store.of_dye(dye)
    for side in ("post", "pre"):
        mine = store.need(1, side).frames[side]
        theirs = other.need(1, side).frames[side]
        if mine is not None and theirs is not None and mine != theirs:
            raise RegistrationError(
                f"the {side}-stain image of {store.sample} / {store.dye} has "
                f"{mine[2]} x {mine[3]} px, that of {dye} {theirs[2]} x {theirs[3]}: "
                "they do not share one geometry; register each dye by itself"
            )
    aligned = other.need(stage, "pre")
    coarse = aligned.details.get("coarse_matrix")
    verdict = aligned.verdicts.get(stage)
    reason = f"taken over from {dye}"
    if verdict is None:
        verdict = Verdict(State.FAILED, f"{reason}, which has no verdict")
    else:
        reason += f": {verdict.reason}" if verdict.reason else ""
        verdict = replace(verdict, reason=reason)
    return Alignment(
        transform,
        verdict,
        dict(aligned.details),
        coarse=transform if coarse is None else Transform(coarse),
        registered_on=dye,
    )


def magnification_note(post: Checkpoint, transform: Transform) -> tuple[str, ...]:
    """Return what to say where the sizes of pixels do not fit the magnification.

    `transform` maps post (fixed) to pre (moving): what is n times smaller there has
    pixels n times larger.
    """
    canvas = post.provenance.canvas if post.provenance else {}
    sizes = [PixelSize.of(canvas.get(f"{side}_pixel_size")) for side in ("post", "pre")]
    if sizes[0] is None or sizes[1] is None:
        return ()
    noted = sizes[0].mean / sizes[1].mean
    measured = transform.decompose()["scale"]
    if abs(measured / noted - 1) <= TOLERANCE:
        return ()
    return (
        f"the sizes of pixels, {sizes[0]} in post and {sizes[1]} in pre, mean a "
        f"magnification of {noted:.4g} from post to pre; the alignment found "
        f"{measured:.4g}: one of the two is wrong, lengths in um may be off by "
        f"{abs(measured / noted - 1):.0%}; give the right one as 'pixel_size'",
    )


def aligned_bands(
    pre: Checkpoint, transform: Transform, interpolation: str
) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield the padded pre-stain image, moved onto the post-stain one, by bands."""
    shape = (pre.image.shape[0], pre.image.shape[1])
    return warp.warped_bands(
        pre.image,
        transform,
        shape,
        frame=pre.frames["pre"],
        interpolation=interpolation,
    )


def _points(points: ArrayLike) -> list[list[float]]:
    """Return points thinned for a header, to a tenth of a pixel."""
    array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    step = -(-len(array) // _MAX_STORED_POINTS) or 1
    return [[round(float(x), 1), round(float(y), 1)] for x, y in array[::step]]


def _interior_details(interior: InteriorAlignment) -> dict[str, Any]:
    """Return what pictures of stage 3 need, thinned and rounded for a header."""
    matches, tiles = interior.matches, interior.tiles
    keep = slice(None, None, -(-len(matches.inliers) // _MAX_STORED_POINTS) or 1)
    measured = np.isfinite(tiles.dx) & np.isfinite(tiles.dy)
    return {
        "method": interior.method,
        "model": interior.model,
        "matches": {
            "post_xy": np.round(matches.post_xy[keep], 2).tolist(),
            "pre_xy": np.round(matches.pre_xy[keep], 2).tolist(),
            "inliers": matches.inliers[keep].tolist(),
        },
        "tiles": {
            "x": np.round(tiles.x[measured], 1).tolist(),
            "y": np.round(tiles.y[measured], 1).tolist(),
            "dx": np.round(tiles.dx[measured], 4).tolist(),
            "dy": np.round(tiles.dy[measured], 4).tolist(),
            "used": tiles.used[measured].tolist(),
        },
        "error_map": interior.error.to_dict() if interior.error else None,
    }
