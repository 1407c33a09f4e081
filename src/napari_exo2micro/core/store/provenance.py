"""What a checkpoint says of itself: its file name, and the header with its origin."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import files
from napari_exo2micro.core.base.errors import CheckpointError, ParameterError
from napari_exo2micro.core.base.text import Listing, Shown
from napari_exo2micro.core.images import PixelSize, Transform
from napari_exo2micro.core.images.io import Card
from napari_exo2micro.core.parameters import State, Verdict, stages, with_error
from napari_exo2micro.core.parameters.parameters import (
    ABBREVIATIONS,
    PARAMETER_REGISTRY,
    RESERVED_KEYS,
    ParameterValue,
    non_default_params,
    suffix_of,
)
from napari_exo2micro.core.photometry.methods import SCALE_METHODS
from napari_exo2micro.core.photometry.scale import scale_table

SCHEMA: Final = 1
"""Raised when a checkpoint of an earlier version must not be used any more."""

FORMATS: Final = ("tiff", "fits")
"""The folders of a sample and dye, which are the formats of the files in them."""

STAGES_TAKEN_OVER: Final = (2, 3)
"""What `register_on` takes over: the transforms of these stages."""

_KIND: Final = "napari-exo2micro checkpoint"
_PACKAGES: Final = ("napari-exo2micro", "numpy", "scipy")

_DISPLACEMENT: Final = "_displacement.json"

_LONGEST_NAME: Final = 200  # letters; many file systems take 255, some tools fewer
_LONGEST_EXTENSION: Final = len(".tiff")
_MORE_NAMES: Final = {2: ("coarse_pre",)}
_VALUE: Final = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"


@dataclass(frozen=True, slots=True, repr=False)
class StoredScale(Shown):
    """The scale of a difference image as its header tells it; see `ScaleEstimate`.

    `kind` is the text of the header card SCALEK, such as ``percentile_p99.1``;
    `is_main` tells whether the main difference image was made with it.
    """

    kind: str
    value: float
    uncertainty: float = 0.0
    offset: float = 0.0
    offset_uncertainty: float = 0.0
    verdict: Verdict = field(default_factory=lambda: Verdict(State.OK))
    is_main: bool = False

    def __str__(self) -> str:
        """Return the value with its uncertainty."""
        return with_error(self.value, self.uncertainty)

    def __repr__(self) -> str:
        """Return kind, value and verdict in one line."""
        return f"{type(self).__name__}({self.kind!r}, {self}, {self.verdict!r})"

    def __rich__(self) -> Listing:
        """Return the scale as one row."""
        offset = with_error(self.offset, self.offset_uncertainty)
        return scale_table(self.kind, str(self), offset, self.verdict)

    @property
    def method(self) -> str:
        """Name of the scale method, where it is registered here."""
        return _longest(self.kind, SCALE_METHODS) or self.kind

    def to_dict(self) -> dict[str, Any]:
        """Return the scale as JSON-ready built-in types."""
        return {
            "kind": self.kind,
            "value": self.value,
            "uncertainty": self.uncertainty,
            "offset": self.offset,
            "offset_uncertainty": self.offset_uncertainty,
            "verdict": self.verdict.to_dict(),
            "main": self.is_main,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> StoredScale:
        """Return the scale that `to_dict` stored."""
        verdict = stored.get("verdict")
        return cls(
            kind=str(stored["kind"]),
            value=float(stored["value"]),
            uncertainty=float(stored.get("uncertainty", 0.0)),
            offset=float(stored.get("offset", 0.0)),
            offset_uncertainty=float(stored.get("offset_uncertainty", 0.0)),
            verdict=Verdict.from_dict(verdict) if verdict else Verdict(State.OK),
            is_main=bool(stored.get("main", False)),
        )


def creation_time() -> str:
    """Return the time to the second, UTC, or that of SOURCE_DATE_EPOCH.

    With that variable set, two runs on the same inputs write identical files
    (https://reproducible-builds.org/specs/source-date-epoch/).

    Raises
    ------
    ParameterError
        When the variable holds no such time.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        now = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (OSError, OverflowError, ValueError):
        raise ParameterError(
            "the environment variable SOURCE_DATE_EPOCH takes whole seconds since "
            f"1970, up to the year 9999, found {epoch!r:.40}; correct or unset it"
        ) from None
    return now.strftime("%Y-%m-%dT%H:%M:%S")


@functools.cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def software_versions() -> dict[str, str]:
    """Return the versions of this package and of those that make the numbers."""
    versions = {package: _version(package) for package in _PACKAGES}
    # Several distributions provide this one module.
    versions["opencv"] = cv2.__version__
    return versions


def digest(value: Any) -> str:
    """Return 16 hex digits that stand for a JSON-ready value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain_entries(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return header entries of one's own as JSON-ready built-in types.

    Values may be numbers, text, paths, numpy scalars and arrays, lists, or (value,
    comment) as astropy takes them; the comment is left out.

    Raises
    ------
    ParameterError
        When a value has no such form or is not finite.
    """
    plain = {}
    for name, value in entries.items():
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
            value = value[0]
        if hasattr(value, "tolist"):
            value = value.tolist()
        try:
            json.dumps(value, allow_nan=False)
        except TypeError:
            value = str(value)
        except ValueError as error:
            raise ParameterError(
                f"the header entry '{name}' takes a finite value, found {value!r}"
            ) from error
        plain[str(name)] = value
    return plain


def _free_key(name: str, taken: frozenset[str]) -> str:
    """Return a FITS key for an entry, unlike those that are taken."""
    wanted = re.sub("[^A-Z0-9_-]", "_", name.upper())[:8] or "X"
    tries = [wanted, f"X_{wanted}"[:8], *(f"{wanted[:5]}_{n}" for n in range(2, 100))]
    return next(key for key in tries if key not in taken)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a checkpoint comes from: everything that its header tells.

    Attributes
    ----------
    sample, dye : str
        Whose image it is.
    stage, name : int, str
        Which checkpoint it is.
    parameters : mapping
        Those of the run that the image may depend on, of its stage and those before
        it: another run, which shares the image, may have others for later stages.
    inputs : str
        Digest of what the stage was made from: the raw files for stage 1, the
        checkpoints of the stage before for the others.
    raw : mapping
        For `post` and `pre`: file name, size, time and SHA-256 of the raw file; under
        `given` the landmarks and regions that a person gave, with their digests.
    canvas : mapping
        `post_frame` and `pre_frame`: (x0, y0, width, height) of the data, px;
        `post_pixel_size` and `pre_pixel_size`: width and height of a pixel, um, where
        they are known; `post_missing` and `pre_missing`: where data are missing, only
        if some are, see `Missing`; `channels`: the signal channels of the raw files,
        None for grey ones.
    transform : Transform, optional
        Post (fixed) to pre (moving), canvas px.
    verdicts : mapping of int to Verdict
        Of this stage and those before it, under their numbers.
    scale : StoredScale, optional
        Of a difference image.
    registered_on : str
        The dye whose transform was taken over; empty for one of its own.
    details : mapping
        What pictures need: contours, matches, tiles.
    notes : tuple of str
        Things that a careful reader wants to know.
    content : str
        Digest of the pixels of an image that a script saved; empty where they
        follow from the rest.
    extra : mapping
        Header entries of one's own, see `plain_entries`.
    created : str
        Time of writing, UTC.
    software : mapping
        Versions.
    """

    sample: str
    dye: str
    stage: int
    name: str
    parameters: Mapping[str, ParameterValue]
    inputs: str
    raw: Mapping[str, Any] = field(default_factory=dict)
    canvas: Mapping[str, Any] = field(default_factory=dict)
    transform: Transform | None = None
    verdicts: Mapping[int, Verdict] = field(default_factory=dict)
    scale: StoredScale | None = None
    registered_on: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    content: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=creation_time)
    software: Mapping[str, str] = field(default_factory=software_versions)

    def __post_init__(self) -> None:
        """Leave out the parameters of later stages; `stage` is 0 where unknown."""
        last = self.stage or max(stages.STAGES)
        own = {
            name: value
            for name, value in self.parameters.items()
            if name not in PARAMETER_REGISTRY or PARAMETER_REGISTRY[name].stage <= last
        }
        object.__setattr__(self, "parameters", own)

    @property
    def created_at(self) -> float:
        """When it was written, seconds since 1970; 0 where that is not known."""
        try:
            return datetime.fromisoformat(self.created).replace(tzinfo=UTC).timestamp()
        except (OverflowError, ValueError):
            return 0.0

    @property
    def frame(self) -> tuple[int, int, int, int] | None:
        """Frame of the raw image whose pixels it has: pre's before it is moved."""
        stored = self.canvas.get(f"{self.side}_frame")
        return tuple(stored) if stored else None

    @property
    def pixel_size(self) -> PixelSize | None:
        """The size of its own pixels; None where it is not known."""
        return PixelSize.of(self.canvas.get(f"{self.side}_pixel_size"))

    @property
    def side(self) -> str:
        """Of which raw image it has the pixels, 'post' or 'pre': before it is moved."""
        return "pre" if self.name == "pre" and self.stage < 2 else "post"

    @property
    def identity(self) -> str:
        """Digest of what the pixels depend on; equal for a repeated run."""
        return digest(
            [
                SCHEMA,
                self.sample,
                self.dye,
                self.stage,
                self.name,
                self.inputs,
                non_default_params(self.parameters, self.stage),
                transform_key(self.transform) if self.transform else None,
                self.content,
                dict(self.extra),
            ]
        )

    @property
    def displacement_file(self) -> str:
        """Name of the file with the displacement of its transform; empty without one.

        It lies beside the image of the stage that found it.
        """
        if self.transform is None or not self.transform.displacements:
            return ""
        last = max(STAGES_TAKEN_OVER)
        stage, name = (last, "pre") if self.stage > last else (self.stage, self.name)
        start = f"{stages.STAGE_NAMES[stage]}_{name}"
        ending = name_ending(start, suffix_of(self.parameters, stage))
        return f"{start}{ending}{_DISPLACEMENT}"

    def to_displacement(self) -> dict[str, Any]:
        """Return what the file of the displacement holds, see `Alignment.load`."""
        assert self.transform is not None
        kinds = ("frame", "pixel_size")
        names = [f"{side}_{kind}" for side in ("post", "pre") for kind in kinds]
        canvas = {name: self.canvas[name] for name in names if name in self.canvas}
        known = {"sample": self.sample, "dye": self.dye, "stage": self.stage}
        return {**self.transform.to_dict(), "canvas": canvas, **known}

    def _transform_entry(self, *, refers: bool) -> dict[str, Any] | None:
        if self.transform is None:
            return None
        stored = self.transform.to_dict()
        if not refers or not self.transform.displacements:
            return stored
        del stored["displacements"]
        extents = np.array([one.extent for one in self.transform.displacements])
        stored["displacement"] = {
            "file": self.displacement_file,
            "digest": transform_digest(self.transform),
            "unit": "px",
            "nodes": [one.values.shape[:2] for one in self.transform.displacements],
            "spacing": [one.spacing for one in self.transform.displacements],
            "tiles": [one.moves.shape[:2] for one in self.transform.displacements],
            "extent": [*extents[:, :2].min(axis=0), *extents[:, 2:].max(axis=0)],
            "largest": self.transform.largest_displacement,
        }
        return stored

    def to_header(self, *, refers: bool = False) -> dict[str, Any]:
        """Return everything as JSON-ready built-in types, with a checksum.

        Parameters
        ----------
        refers : bool
            Whether the displacement of the transform is in a file of its own, see
            `displacement_file`; otherwise the header holds it whole.
        """
        entries = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        entries["transform"] = self._transform_entry(refers=refers)
        entries["verdicts"] = {str(n): v.to_dict() for n, v in self.verdicts.items()}
        entries["scale"] = self.scale.to_dict() if self.scale else {}
        # The order of the text: what a person looks for comes first.
        first = ("sample", "dye", "stage", "name", "created")
        header = {"kind": _KIND, "schema": SCHEMA}
        header |= {name: entries.pop(name) for name in first} | entries
        header = json.loads(json.dumps(header, allow_nan=False, default=dict))
        return {**header, "checksum": digest(header)}

    @classmethod
    def from_header(
        cls, header: Mapping[str, Any], path: Path | None = None
    ) -> Provenance:
        """Return what `to_header` stored.

        Parameters
        ----------
        header : mapping
            As it was stored.
        path : Path, optional
            The file of the image, which the file of a displacement lies beside.

        Raises
        ------
        CheckpointError
            When the header is of another kind, version or form, or was changed, or
            refers to a displacement that is not there or another one.
        """
        stored = dict(header)
        if stored.pop("kind", None) != _KIND:
            raise CheckpointError("its header cannot be read; it is damaged")
        schema, checksum = stored.pop("schema", None), stored.pop("checksum", None)
        if schema != SCHEMA:
            raise CheckpointError(
                f"its header has the version {schema}, this package reads {SCHEMA}"
            )
        if checksum != digest({"kind": _KIND, "schema": schema, **stored}):
            raise CheckpointError("its header is damaged (the checksum differs)")
        _check_form(stored)
        transform, scale = stored.pop("transform"), stored.pop("scale")
        verdicts = stored.pop("verdicts")
        try:
            return cls(
                transform=_whole(transform, path) if transform else None,
                verdicts={int(n): Verdict.from_dict(v) for n, v in verdicts.items()},
                scale=StoredScale.from_dict(scale) if scale else None,
                notes=tuple(stored.pop("notes")),
                **stored,
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"its header cannot be read: {error}") from error

    def to_cards(self, *, refers: bool = False) -> list[Card]:
        """Return the cards of a FITS header, see `to_header`; keys of 8 characters."""
        raw = {name: told for name, told in self.raw.items() if name != "given"}
        cards: list[Card] = [
            ("SAMPLE", self.sample, "sample"),
            ("DYE", self.dye, "dye"),
            ("STAGE", self.stage, "pipeline stage"),
            ("NAME", self.name, "checkpoint"),
            ("CREATED", self.created, "UTC"),
            ("VERSION", self.software["napari-exo2micro"], "of the software"),
            ("SCHEMA", SCHEMA, "version of the header"),
            ("RAWHASH", digest(raw), "stands for the two raw files"),
        ]
        for name, value in non_default_params(self.parameters).items():
            key = ABBREVIATIONS[name].upper()
            cards.append((key, "none" if value is None else value, name))
        for side in ("post", "pre"):
            if missing := self.canvas.get(f"{side}_missing"):
                key = f"{side.upper()}MISS"
                cards.append((key, missing["share"], f"part of {side} without data"))
        cards += self._world_cards()
        cards += self._alignment_cards(refers=refers)
        cards += self._scale_cards()
        cards += self._count_cards()
        taken = RESERVED_KEYS | {key for key, _, _ in cards}
        for name, value in self.extra.items():
            key = _free_key(name, taken)
            taken |= {key}
            plain = isinstance(value, (str, int, float, bool))
            cards.append((key, value if plain else json.dumps(value), name))
        return cards

    def _world_cards(self) -> list[Card]:
        """Return a linear WCS: um from the middle of the raw image's first pixel."""
        if self.pixel_size is None:
            return []
        x0, y0 = self.frame[:2] if self.frame else (0, 0)
        axes = ((1, x0, self.pixel_size.x), (2, y0, self.pixel_size.y))
        return [
            card
            for axis, start, side in axes
            for card in (
                (f"CRPIX{axis}", start + 1.0, "first pixel of the raw image"),
                (f"CRVAL{axis}", 0.0, "its place"),
                (f"CDELT{axis}", side, "size of a pixel"),
                (f"CUNIT{axis}", "um", ""),
            )
        ]

    def _alignment_cards(self, *, refers: bool) -> list[Card]:
        cards: list[Card] = []
        if self.registered_on:
            cards.append(("REGON", self.registered_on, "the dye that was registered"))
        own, interior = self.verdicts.get(self.stage), self.verdicts.get(3)
        if own is not None:
            cards.append(("VERDICT", str(own.state), "of this stage"))
            cards.append(("REASON", own.reason, "why not ok"))
        if interior is not None:
            accuracy = float(interior.numbers.get("accuracy_px", -1.0))
            vouched = interior.state == State.OK
            cards.append(("IACC", accuracy, "estimated accuracy, px; -1: failed"))
            if "accuracy_um" in interior.numbers:
                in_um = float(interior.numbers["accuracy_um"])
                cards.append(("IACCUM", in_um, "estimated accuracy, um"))
            cards.append(("ILVLOK", vouched, "interior alignment vouched for"))
        if self.transform is not None:
            cards.append(("DIRECTN", "post->pre", "(x, y) px, canvas, centres at 0"))
            for (row, column), value in np.ndenumerate(self.transform.matrix):
                cards.append((f"T{row}{column}", float(value), "transform"))
            if self.transform.displacements:
                largest = self.transform.largest_displacement
                cards.append(("DISPMAX", largest, "px, at most, before the transform"))
                if refers:
                    cards.append(("DISPFILE", self.displacement_file, "displacement"))
                    found = transform_digest(self.transform)
                    cards.append(("DISPSUM", found, "stands for what is in it"))
        return cards

    def _scale_cards(self) -> list[Card]:
        if self.scale is None:
            return []
        return [
            ("SCALE", self.scale.value, "difference = post-OFFSET-SCALE*pre"),
            ("SCALEK", self.scale.kind, "how the scale was found"),
            ("SCALEERR", self.scale.uncertainty, "one standard deviation"),
            ("OFFSET", self.scale.offset, "grey levels"),
            *self._background_cards(),
        ]

    def _count_cards(self) -> list[Card]:
        count = self.details.get("count")
        if not count:
            return []
        told = self.details.get("control")
        dark = self.details.get("dark", count["false"])
        control: list[Card] = []
        if told:
            control = [("NCONTROL", float(told["false"]), "false ones of the control")]
        corrected: list[Card] = []
        if count.get("brighter_than") is not None:
            corrected = [
                ("FLUXMIN", float(count["brighter_than"]), "flux of the faintest ones"),
                ("FOUNDPCT", 100 * float(count["completeness"]), "of them, percent"),
            ]
        return [
            ("NMICROBE", float(count["number"]), "microbes, false ones taken off"),
            ("NMICLOW", float(count["interval"][0]), "95 % interval"),
            ("NMICHIGH", float(count["interval"][1]), "95 % interval"),
            ("NDARK", float(dark), "dark spots as strong"),
            *control,
            ("SNRMIN", float(self.details["threshold"]), "least S/N"),
            *corrected,
        ]

    def _background_cards(self) -> list[Card]:
        model = self.details.get("background", {})
        names = {
            "STRUCT": ("structure", "minerals left by one scale, of their light"),
            "STRUCTM": ("structure_with_model", "left by the background model"),
            "MODELPOW": ("power_ratio", "power left by the model / by one scale"),
            "MODELLOS": ("lost_flux", "part of the flux of spots it takes"),
        }
        return [
            (key, float(model[name]), comment)
            for key, (name, comment) in names.items()
            if name in model
        ]


@lru_cache(maxsize=32)
def transform_digest(transform: Transform) -> str:
    """Return the digest of all numbers of a transform."""
    return digest(transform.to_dict())


def transform_key(transform: Transform) -> Any:
    """Return what stands for a transform in the digest of an image."""
    matrix = transform.matrix.tolist()
    return [matrix, transform_digest(transform)] if transform.displacements else matrix


def displacement_path(path: Path) -> Path:
    """Return where the file of the displacement that an image brings lies."""
    return path.with_name(f"{path.stem}{_DISPLACEMENT}")


def _whole(stored: Mapping[str, Any], path: Path | None) -> Transform:
    """Return a transform of a header, with the displacement that it refers to."""
    if "displacement" not in stored or path is None:
        return Transform.from_dict(stored)
    told = stored["displacement"]
    name, wanted = str(told["file"]), str(told["digest"])
    if Path(name).name != name:
        raise CheckpointError(f"the file of its displacement, {name!r:.60}, is no name")
    folders = (path.parent, *(path.parent.parent / kind for kind in FORMATS))
    problem = "is missing"
    for file in (folder / name for folder in dict.fromkeys(folders)):
        if not file.is_file():
            continue
        try:
            transform, found = _read_displacement(file, files.stamp(file))
        except (CheckpointError, OSError) as error:
            problem = f"cannot be read ({error})"
            continue
        if found == wanted:
            return transform
        problem = "is that of another run"
    raise CheckpointError(
        f"the file of its displacement, {name}, {problem}; put it back beside the "
        "image, or run its stage again"
    )


@lru_cache(maxsize=8)
def _read_displacement(path: Path, _stamp: files.Stamp) -> tuple[Transform, str]:
    """Return the transform in a file and the digest that stands for it."""
    transform = Transform.load(path)
    return transform, transform_digest(transform)


# What JSON gives for each entry of a header; its checksum shows damage, this shows
# what another program wrote.
_FORM: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("sample", "dye", "name", "created", "inputs"), (str,)),
    **dict.fromkeys(("registered_on", "content"), (str,)),
    **dict.fromkeys(("parameters", "raw", "canvas", "verdicts", "scale"), (dict,)),
    **dict.fromkeys(("details", "extra", "software"), (dict,)),
    "stage": (int,),
    "notes": (list,),
    "transform": (dict, type(None)),
}


def _check_form(header: Mapping[str, Any]) -> None:
    """Refuse a header whose entries are not those of `Provenance.to_header`."""
    for name in sorted(_FORM.keys() ^ header.keys()):
        wrong = "lacks" if name in _FORM else "has an unknown"
        raise CheckpointError(f"its header cannot be read: it {wrong} '{name:.60}'")
    for name, value in header.items():
        _need(type(value) in _FORM[name], name, value)
    for side in ("post", "pre"):
        frame = header["canvas"].get(f"{side}_frame")
        is_frame = isinstance(frame, list) and [type(n) for n in frame] == [int] * 4
        _need(frame is None or is_frame, f"{side}_frame", frame)
        raw = header["raw"].get(side, {})
        _need(isinstance(raw, dict) and isinstance(raw.get("file", ""), str), side, raw)
    given = header["raw"].get("given", {})
    is_told = isinstance(given, dict) and all(
        isinstance(told, dict) and {"file", "digest"} <= told.keys()
        for told in given.values()
    )
    _need(is_told, "given", given)
    loader = header["raw"].get("loader", "")
    _need(isinstance(loader, str), "loader", loader)


def _need(fits: bool, name: str, value: Any) -> None:
    if not fits:
        raise CheckpointError(
            f"its header cannot be read: its '{name}' is {value!r:.60}"
        )


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


# Names ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """What the name of a checkpoint's file says; `suffix` is of `build_suffix`."""

    stage: int
    name: str
    suffix: str


def name_ending(start: str, suffix: str) -> str:
    """Return what the name of a file ends in: a long suffix becomes a hash.

    Examples
    --------
    >>> name_ending("02_icp_aligned_pre", "_bw20")
    '_bw20'
    >>> len(name_ending("02_icp_aligned_pre", 40 * "_bw20"))
    12
    """
    if len(start) + len(suffix) + _LONGEST_EXTENSION <= _LONGEST_NAME:
        return suffix
    return f"_x{hashlib.sha256(suffix.encode()).hexdigest()[:10]}"


def parse_checkpoint_name(path: Path | str) -> CheckpointName | None:
    """Return what a file's name says; None when it is no checkpoint's.

    The reference system names its files in the same way.

    Examples
    --------
    >>> parse_checkpoint_name("02_icp_aligned_pre_bw20.tiff")
    CheckpointName(stage=2, name='pre', suffix='_bw20')
    >>> parse_checkpoint_name("cells.tiff") is None
    True
    """
    path = Path(path)
    if path.suffix.lower() not in (".tiff", ".tif", ".fits"):
        return None
    stem = path.stem
    for number, stage in stages.STAGES.items():
        rest = stem.removeprefix(f"{stage.name}_")
        if rest == stem:
            continue
        name = _beginning(rest, number)
        if name:
            return CheckpointName(number, name, rest.removeprefix(name))
    return None


def _beginning(rest: str, stage: int) -> str:
    """Return the image's name that the rest of a file's name begins with."""
    if stage == stages.DIFFERENCE_STAGE:
        return _difference(rest)
    return _longest(
        rest, (*stages.STAGES[stage].checkpoints, *_MORE_NAMES.get(stage, ()))
    )


def _longest(text: str, names: Iterable[str]) -> str:
    """Return the longest of the names that a text with underscores begins with."""
    fitting = [name for name in names if f"{text}_".startswith(f"{name}_")]
    return max(fitting, key=len, default="")


def _difference(rest: str) -> str:
    """Return the name of a difference image: of the longest method that fits."""
    kinds = [
        re.escape(name) + (f"_{method.value_mark}{_VALUE}" if method.value_mark else "")
        for name, method in sorted(
            SCALE_METHODS.items(), key=lambda item: -len(item[0])
        )
        if method.parameter
    ]
    match = re.match(f"difference(?:_(?:{'|'.join(kinds)}))?(?=_|$)", rest)
    return match.group() if match else ""
