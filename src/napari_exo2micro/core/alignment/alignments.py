"""Alignments that are kept: as files, the displacements they leave, saved views."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro import __version__
from napari_exo2micro.core.alignment.error_map import ErrorMap
from napari_exo2micro.core.alignment.fit import FloatArray
from napari_exo2micro.core.base import errors, files
from napari_exo2micro.core.images import Frame, PixelSize, Transform

#: Onto which of the two images something is moved.
Direction = Literal["onto post", "onto pre"]

#: The file of saved views next to the results of a sample and dye.
VIEWS_FILE = "saved_views.json"
#: What such a file says that it is.
VIEWS_FORMAT = "napari-exo2micro views"
_VERSION = 1
_MOST_BYTES = 10_000_000
_VIEWS_FIX = "choose a file that was written with 'Write list'"

_KINDS: dict[str, type] = {"str": str, "int": int, "float": float}

_LAST_ALIGNING = 3
#: An amplified arrow of the 95th percentile is so many times the tiles' distance.
_REACH = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Where a point of the post-stain image lies in the pre-stain image.

    Attributes
    ----------
    transform : Transform
        Post (fixed) to pre (moving), px of the padded canvas. May be given as a
        3 x 3 matrix.
    post_frame, pre_frame : tuple of int or None
        (x0, y0, width, height) of the raw images on the canvas, px; None when the
        file does not tell.
    sample, dye : str
        Whose it is; empty when the file does not tell.
    stage : int
        Which stage found it; 0 when the file does not tell.
    post_pixel_size, pre_pixel_size : PixelSize or None
        Of the raw images; None when the file does not tell.
    """

    transform: Transform
    post_frame: Frame | None = None
    pre_frame: Frame | None = None
    sample: str = ""
    dye: str = ""
    stage: int = 0
    post_pixel_size: PixelSize | None = None
    pre_pixel_size: PixelSize | None = None

    def __post_init__(self) -> None:
        """Take a matrix for a transform."""
        object.__setattr__(self, "transform", Transform.of(self.transform))

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Alignment | None:
        """Return the alignment of a checkpoint's header.

        Parameters
        ----------
        header : mapping
            As `Provenance.to_header` returns it.

        Returns
        -------
        Alignment or None
            None when the header has no transform.

        Raises
        ------
        CheckpointError
            When its transform cannot be read.
        """
        stored = header.get("transform")
        return cls._of(Transform.from_dict(stored), header) if stored else None

    @classmethod
    def load(cls, path: Path | str) -> Alignment:
        """Read a file that `save` or `Transform.save` wrote.

        The latter does not tell where the raw images lie on the canvas: see
        `on_canvas`.

        Parameters
        ----------
        path : Path or str
            A JSON file.

        Returns
        -------
        Alignment
            As it was saved.

        Raises
        ------
        CheckpointError
            When the file is none of these.
        """
        transform = Transform.load(path)  # which says what is wrong with a file
        return cls._of(transform, files.read_json(path))

    @classmethod
    def _of(cls, transform: Transform, stored: Mapping[str, Any]) -> Alignment:
        stage = stored.get("stage")
        return cls(
            transform,
            _frame(stored.get("canvas"), "post_frame"),
            _frame(stored.get("canvas"), "pre_frame"),
            str(stored.get("sample", "")),
            str(stored.get("dye", "")),
            # What comes after stage 3 keeps its alignment.
            min(stage, _LAST_ALIGNING) if isinstance(stage, int) else 0,
            _pixel_size(stored.get("canvas"), "post"),
            _pixel_size(stored.get("canvas"), "pre"),
        )

    def save(self, path: Path | str) -> None:
        """Write a JSON file that `load` and `Transform.load` read.

        Parameters
        ----------
        path : Path or str
            Where; a file of that name is replaced.

        Raises
        ------
        OutputError
            When it cannot be written; a file of that name stays as it was.
        """
        stored = self.transform.to_dict() | {
            "canvas": {"post_frame": self.post_frame, "pre_frame": self.pre_frame}
            | {
                f"{side}_pixel_size": list(size)
                for side, size in (
                    ("post", self.post_pixel_size),
                    ("pre", self.pre_pixel_size),
                )
                if size is not None
            },
            "sample": self.sample,
            "dye": self.dye,
            "stage": self.stage,
        }
        indent = None if self.transform.displacements else 2
        files.write_json(path, stored, indent=indent)

    @property
    def knows_its_canvas(self) -> bool:
        """Whether it is known where the raw images lie on the canvas."""
        return self.post_frame is not None and self.pre_frame is not None

    def on_canvas(self, pad: int) -> Alignment:
        """Return the same with raw images that begin at (pad, pad) on the canvas.

        Parameters
        ----------
        pad : int
            The empty margin of stage 1, px.

        Returns
        -------
        Alignment
            The sizes of its images stay unknown: 0.
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
            raise errors.ParameterError(
                "the alignment does not tell how wide the empty margin of its canvas "
                "was; give the value of 'pad' that it was made with"
            )
        post, pre = self.post_frame, self.pre_frame
        there = Transform.similarity(translation=(float(post[0]), float(post[1])))
        back = Transform.similarity(translation=(-float(pre[0]), -float(pre[1])))
        return back @ self.transform @ there

    def pixel_size(self, side: Literal["post", "pre"]) -> PixelSize | None:
        """Return the size of a pixel of one raw image.

        Parameters
        ----------
        side : {'post', 'pre'}
            Of which image.

        Returns
        -------
        PixelSize or None
            Where only the other image's is known, that by the magnification of the
            alignment; None where neither is known.
        """
        post, pre = self.post_pixel_size, self.pre_pixel_size
        own, other = (post, pre) if side == "post" else (pre, post)
        if own is not None or other is None:
            return own
        magnification = self.transform.decompose()["scale"]  # px of pre for one of post
        factor = magnification if side == "post" else 1 / magnification
        return PixelSize(other.x * factor, other.y * factor)

    def shape_of(self, direction: Direction) -> tuple[int, int] | None:
        """Return the size of the raw image that is moved onto.

        Parameters
        ----------
        direction : {'onto post', 'onto pre'}
            Onto which image.

        Returns
        -------
        tuple of int or None
            Rows and columns; None when they are not known.
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
            (x, y), px of the raw image that they were drawn on.
        direction : {'onto post', 'onto pre'}
            Onto which image they are moved.

        Returns
        -------
        ndarray, shape (N, 2), float64
            (x, y), px of the raw image that they are moved onto.
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        to_pre = self.raw_transform
        return to_pre.inverse()(points) if direction == "onto post" else to_pre(points)

    def sampling(self, direction: Direction) -> Transform:
        """Return, for each px of the image moved onto, where to look in the other.

        Parameters
        ----------
        direction : {'onto post', 'onto pre'}
            Onto which image another one is moved.

        Returns
        -------
        Transform
            (x, y) to (x, y), px of the raw images.
        """
        to_pre = self.raw_transform
        return to_pre if direction == "onto post" else to_pre.inverse()


def _pixel_size(canvas: Any, side: str) -> PixelSize | None:
    is_told = isinstance(canvas, Mapping)
    return PixelSize.of(canvas.get(f"{side}_pixel_size")) if is_told else None


def _frame(canvas: Any, name: str) -> Frame | None:
    """Return what a file says of the place of an image; it may say nothing."""
    stored = canvas
    try:
        stored = canvas.get(name) if canvas else None
        if not stored:
            return None
        x0, y0, width, height = (int(value) for value in stored)
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise errors.CheckpointError(
            f"the place of an image on the canvas takes four whole numbers, found "
            f"{stored!r:.60}; save the alignment again"
        ) from error
    return x0, y0, width, height


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Displacements that an alignment leaves.

    Attributes
    ----------
    places : ndarray, shape (N, 2), float64
        Centres of the tiles (x, y) on the post canvas, full-resolution px.
    displacements : ndarray, shape (N, 2), float64
        From a grain in post to where the aligned pre shows it, (x, y), px of the
        post image.
    used : ndarray, shape (N,), bool
        Tiles that the alignment rests on; the others were measured and left out.
    """

    places: FloatArray
    displacements: FloatArray
    used: NDArray[np.bool_]

    @property
    def lengths(self) -> FloatArray:
        """Lengths of the displacements, shape (N,), px."""
        lengths: FloatArray = np.hypot(*self.displacements.T)
        return lengths

    @property
    def median(self) -> float:
        """Median length over the tiles that are used, px."""
        return float(np.median(self.lengths[self.used]))

    @property
    def p95(self) -> float:
        """95th percentile of the length over the tiles that are used, px."""
        return float(np.percentile(self.lengths[self.used], 95))

    @property
    def largest(self) -> tuple[float, float, float]:
        """Length of the longest one that is used, px, and its place (x, y)."""
        index = np.flatnonzero(self.used)[int(np.argmax(self.lengths[self.used]))]
        x, y = self.places[index]
        return float(self.lengths[index]), float(x), float(y)

    @property
    def spacing(self) -> float:
        """Distance of the tiles if they lay evenly over their part of the image, px."""
        places = self.places[self.used]
        width, height = np.ptp(places, axis=0)
        area = max(width, 1.0) * max(height, 1.0)
        return float(max(math.sqrt(area / len(places)), 1.0))

    def where(self, post_frame: Frame | None = None) -> str:
        """Return in words in which part of the section the largest one lies.

        Parts are those of the post image's frame on the canvas, px; without it, of the
        area where the tiles lie.
        """
        _, x, y = self.largest
        if post_frame is None:
            (x0, y0), (x1, y1) = self.places.min(axis=0), self.places.max(axis=0)
        else:
            x0, y0 = post_frame[:2]
            x1, y1 = x0 + post_frame[2], y0 + post_frame[3]
        row, column = (
            min(max(int(3 * (place - low) / max(high - low, 1e-9)), 0), 2)
            for place, low, high in ((y, y0, y1), (x, x0, x1))
        )
        return (
            ("at the upper left", "at the top", "at the upper right"),
            ("at the left", "in the middle", "at the right"),
            ("at the lower left", "at the bottom", "at the lower right"),
        )[row][column]

    def vectors(self, factor: float) -> FloatArray:
        """Return what napari draws: places and arrows (row, column), shape (N, 2, 2).

        Arrows are `factor` times longer than the displacements; px of the canvas.
        """
        return np.stack(
            [self.places[:, ::-1], factor * self.displacements[:, ::-1]], axis=1
        )


def residuals_from_details(
    details: Mapping[str, Any], transform: Transform | None
) -> Residuals:
    """Return the residuals that stage 3 stored in its header.

    Parameters
    ----------
    details : mapping
        `Provenance.details` of the interior-aligned pre image.
    transform : Transform or None
        Its transform, post (fixed) to pre (moving). The stored displacements are
        px of the pre image; they are turned and magnified back to post's.

    Raises
    ------
    RegistrationError
        When nothing was measured, or no tile vouches for the alignment.
    """
    tiles = details.get("tiles")
    if not isinstance(tiles, Mapping) or transform is None:
        raise errors.RegistrationError(
            "the remaining displacement needs the tiles that stage 3 measures, this "
            "image has none; run stage 3 with 'interior_ecc' on and show its result"
        )
    places = np.column_stack([np.asarray(tiles[k], np.float64) for k in ("x", "y")])
    moved = np.column_stack([np.asarray(tiles[k], np.float64) for k in ("dx", "dy")])
    used = np.asarray(tiles["used"], dtype=bool)
    if not used.any():
        raise errors.RegistrationError(
            "the remaining displacement needs tiles that agree with the alignment, "
            f"found {len(used)} measured and none that agrees; see what stage 3 says "
            "in the status list, its result cannot be vouched for"
        )
    shown = transform.inverse()(transform(places) + moved)
    return Residuals(places, shown - places, used)


def error_map_from_details(details: Mapping[str, Any]) -> ErrorMap | None:
    """Return the expected error that stage 3 stored in its header.

    Parameters
    ----------
    details : mapping
        `Provenance.details` of the interior-aligned pre image.

    Returns
    -------
    ErrorMap or None
        On the padded canvas; None when nothing vouches for the alignment, or an older
        version made it.

    Raises
    ------
    CheckpointError
        When what is stored is no error map.
    """
    stored = details.get("error_map")
    if stored is None:
        return None
    try:
        return ErrorMap.from_dict(stored)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise errors.CheckpointError(
            f"the error map in the header of stage 3 cannot be read ({error}); run "
            "stage 3 again"
        ) from error


def round_figure(value: float) -> float:
    """Return the largest of 1, 2, 5 times a power of ten that is not above a value.

    Examples
    --------
    >>> [round_figure(v) for v in (0.07, 1.0, 34.0)]
    [0.05, 1.0, 20.0]
    """
    if not value > 0 or not math.isfinite(value):
        return 1.0
    power = math.floor(math.log10(value) + 1e-9)
    step = next(m for m in (5, 2, 1) if value >= m * 10.0**power * (1 - 1e-9))
    return float(f"{step}e{power}")


def amplification(residuals: Residuals) -> float:
    """Return how many times longer to draw arrows so that they can be seen.

    Most reach the next tile, the longest ones the one after: longer ones would be a
    tangle. A round figure, at least 1.
    """
    return max(round_figure(_REACH * residuals.spacing / max(residuals.p95, 1e-9)), 1.0)


@dataclass(frozen=True, slots=True)
class SavedView:
    """A place with a name: where the viewer looks and where the zoom box is.

    Attributes
    ----------
    name : str
        As a person called it.
    row, column : float
        Middle of the view, px of the raw post-stain image.
    zoom : float
        Screen pixels for one pixel of the image.
    box_row, box_column, box_size : int
        Middle and side of the zoom box, px of the raw post-stain image.
    blur : float
        Sigma of the zoom box's blur, px.
    sample, dye : str
        Whose image it was.
    """

    name: str
    row: float
    column: float
    zoom: float
    box_row: int
    box_column: int
    box_size: int
    blur: float = 0.0
    sample: str = ""
    dye: str = ""


def save_views(path: str | Path, views: Iterable[SavedView]) -> Path:
    """Write views as a JSON file, whole or not at all, and return its path.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    content = {
        "format": VIEWS_FORMAT,
        "version": _VERSION,
        "written_by": f"napari-exo2micro {__version__}",
        "views": [asdict(view) for view in views],
    }
    return files.write_json(path, content)


def load_views(path: str | Path) -> list[SavedView]:
    """Return the views of a file that `save_views` wrote.

    Raises
    ------
    ParameterError
        When the file cannot be read or holds something else; the message names the
        entry.
    """
    path = Path(path)
    try:
        content = files.read_json(path, _MOST_BYTES)
    except OSError as error:
        raise errors.ParameterError(
            f"the saved views {path} cannot be read: {error.strerror or error}; "
            f"{_VIEWS_FIX}"
        ) from error
    except ValueError as error:
        raise errors.ParameterError(
            f"{path} holds no saved views: it is not a list of some kB as JSON text "
            f"({error}); {_VIEWS_FIX}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != VIEWS_FORMAT:
        raise errors.ParameterError(
            f'{path} holds no saved views: it lacks "format": "{VIEWS_FORMAT}"; '
            f"{_VIEWS_FIX}"
        )
    version = content.get("version")
    if version != _VERSION:
        raise errors.ParameterError(
            f"the saved views {path} have version {version!r} of the format, this "
            f"program reads {_VERSION}; update napari-exo2micro"
        )
    entries = content.get("views")
    if not isinstance(entries, list):
        raise errors.ParameterError(f"{path} holds no list of views; {_VIEWS_FIX}")
    return [_view(path, number, entry) for number, entry in enumerate(entries, 1)]


def _view(path: Path, number: int, entry: Any) -> SavedView:
    """Return one view, or say what is wrong with it."""
    where = f"view {number} of {path}"
    if not isinstance(entry, dict):
        raise errors.ParameterError(
            f"{where} is no view (found {entry!r:.60}); {_VIEWS_FIX}"
        )
    values: dict[str, Any] = {}
    for field in fields(SavedView):
        if field.name not in entry:
            if field.default is not MISSING:
                continue
            raise errors.ParameterError(f"{where} lacks '{field.name}'; {_VIEWS_FIX}")
        value, kind = entry[field.name], _KINDS[str(field.type)]
        fits = isinstance(value, str) == (kind is str)
        if kind is not str and fits:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool)
            fits = fits and math.isfinite(value)
            fits = fits and (value > 0 or field.name not in ("zoom", "box_size"))
        if not fits:
            raise errors.ParameterError(
                f"{where} has an impossible '{field.name}': {value!r:.60}; correct it"
            )
        values[field.name] = kind(value)
    return SavedView(**values)
