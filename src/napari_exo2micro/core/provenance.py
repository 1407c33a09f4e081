"""What a checkpoint says about itself, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2

from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.checkpoint_header import check_header
from napari_exo2micro.core.defaults import (
    ABBREVIATIONS,
    RESERVED_KEYS,
    non_default_params,
)
from napari_exo2micro.core.errors import CheckpointError, ParameterError
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.raster_writer import Card
from napari_exo2micro.core.transforms import Transform

__all__ = [
    "SCHEMA",
    "Provenance",
    "creation_time",
    "digest",
    "plain_entries",
    "software_versions",
]

#: Raised when a checkpoint of an earlier version must not be used any more.
SCHEMA = 1

_KIND = "napari-exo2micro checkpoint"
_PACKAGES = ("napari-exo2micro", "numpy", "scipy")


def creation_time() -> str:
    """Return the time to the second, UTC, or that of SOURCE_DATE_EPOCH.

    With that variable set, two runs on the same inputs write identical files
    (https://reproducible-builds.org/specs/source-date-epoch/).
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdigit() else None
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S")


def software_versions() -> dict[str, str]:
    """Return the versions of this package and of those that make the numbers."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    # Several distributions provide this one module.
    versions["opencv"] = cv2.__version__
    return versions


def digest(value: Any) -> str:
    """Return 16 hex digits that stand for a JSON-ready value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain_entries(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return header entries of one's own as JSON-ready built-in types.

    Parameters
    ----------
    entries : mapping
        Values may be numbers, text, paths, numpy scalars and arrays, lists, or
        (value, comment) as astropy takes them; the comment is left out.

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
        All parameters of the run.
    inputs : str
        Digest of what the stage was made from: the raw files for stage 1, the
        checkpoints of the stage before for the others.
    raw : mapping
        For `post` and `pre`: file name, size, time and SHA-256 of the raw file.
    canvas : mapping
        `post_frame` and `pre_frame`: (x0, y0, width, height) of the data, px;
        `channels`: the signal channels of the raw files, None for grey ones.
    transform : Transform, optional
        Post (fixed) to pre (moving), canvas px.
    verdicts : mapping of str to Verdict
        Of this stage and those before it, under their numbers.
    scale : mapping
        On a difference: `kind`, `value`, `uncertainty`, `offset`, ...
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
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    scale: Mapping[str, Any] = field(default_factory=dict)
    registered_on: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    content: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=creation_time)
    software: Mapping[str, str] = field(default_factory=software_versions)

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
                self.transform.matrix.tolist() if self.transform else None,
                self.content,
                dict(self.extra),
            ]
        )

    def to_header(self) -> dict[str, Any]:
        """Return everything as JSON-ready built-in types, with a checksum."""
        header: dict[str, Any] = {
            "kind": _KIND,
            "schema": SCHEMA,
            "sample": self.sample,
            "dye": self.dye,
            "stage": self.stage,
            "name": self.name,
            "created": self.created,
            "parameters": dict(self.parameters),
            "inputs": self.inputs,
            "raw": dict(self.raw),
            "canvas": dict(self.canvas),
            "transform": self.transform.to_dict() if self.transform else None,
            "verdicts": {k: v.to_dict() for k, v in self.verdicts.items()},
            "scale": dict(self.scale),
            "registered_on": self.registered_on,
            "details": dict(self.details),
            "notes": list(self.notes),
            "content": self.content,
            "extra": dict(self.extra),
            "software": dict(self.software),
        }
        header = json.loads(json.dumps(header, allow_nan=False))
        header["checksum"] = digest(header)
        return header

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Provenance:
        """Return what `to_header` stored.

        Raises
        ------
        CheckpointError
            When the header is of another kind, version or form, or was changed.
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
        check_header(stored)
        transform = stored.pop("transform")
        verdicts = stored.pop("verdicts")
        return cls(
            transform=Transform.from_dict(transform) if transform else None,
            verdicts={k: Verdict.from_dict(v) for k, v in verdicts.items()},
            notes=tuple(stored.pop("notes")),
            **stored,
        )

    def to_cards(self) -> list[Card]:
        """Return the cards of a FITS header: keys of at most 8 characters."""
        cards: list[Card] = [
            ("SAMPLE", self.sample, "sample"),
            ("DYE", self.dye, "dye"),
            ("STAGE", self.stage, "pipeline stage"),
            ("NAME", self.name, "checkpoint"),
            ("CREATED", self.created, "UTC"),
            ("VERSION", self.software["napari-exo2micro"], "of the software"),
            ("SCHEMA", SCHEMA, "version of the header"),
            ("RAWHASH", digest(dict(self.raw)), "stands for the two raw files"),
        ]
        for name, value in non_default_params(self.parameters).items():
            key = ABBREVIATIONS[name].upper()
            cards.append((key, "none" if value is None else value, name))
        cards += self._alignment_cards()
        cards += self._scale_cards()
        taken = RESERVED_KEYS | {key for key, _, _ in cards}
        for name, value in self.extra.items():
            key = _free_key(name, taken)
            taken |= {key}
            plain = isinstance(value, (str, int, float, bool))
            cards.append((key, value if plain else json.dumps(value), name))
        return cards

    def _alignment_cards(self) -> list[Card]:
        cards: list[Card] = []
        if self.registered_on:
            cards.append(("REGON", self.registered_on, "the dye that was registered"))
        own = self.verdicts.get(str(self.stage))
        if own is not None:
            cards.append(("VERDICT", own.state, "of this stage"))
            cards.append(("REASON", own.reason, "why not ok"))
        interior = self.verdicts.get("3")
        if interior is not None:
            accuracy = interior.numbers.get("accuracy_px", -1.0)
            vouched = interior.state == "ok"
            cards.append(
                ("IACC", float(accuracy), "estimated accuracy, px; -1: failed")
            )
            cards.append(("ILVLOK", vouched, "interior alignment vouched for"))
        if self.transform is not None:
            cards.append(("DIRECTN", "post->pre", "(x, y) px, canvas, centres at 0"))
            for row in range(3):
                for column in range(3):
                    value = float(self.transform.matrix[row, column])
                    cards.append((f"T{row}{column}", value, "transform"))
        return cards

    def _scale_cards(self) -> list[Card]:
        if not self.scale:
            return []
        return [
            ("SCALE", float(self.scale["value"]), "difference = post-OFFSET-SCALE*pre"),
            ("SCALEK", str(self.scale["kind"]), "how the scale was found"),
            ("SCALEERR", float(self.scale["uncertainty"]), "one standard deviation"),
            ("OFFSET", float(self.scale["offset"]), "grey levels"),
        ]
