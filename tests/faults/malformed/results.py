"""Checkpoints that are damaged, forged or belong elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from malformed.case import Case, Place, Told
from malformed.raw_use import PAD, command_line, post_and_pre
from malformed.tiffs import IMAGE, LONG, tiff
from napari_exo2micro import core as e2m
from napari_exo2micro.core.base import CheckpointError, Exo2MicroError
from napari_exo2micro.core.images import pyramid
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.store import read_result_sets, read_stored_image
from napari_exo2micro.core.store.provenance import digest

__all__ = ["CASES", "finished", "sound_pair", "task_of"]

NAME = f"01_padded_post_pad{PAD}"


def task_of(place: Place, dye: str = "DAPI", kind: str = "tiff") -> e2m.SampleDye:
    """Return the sample and dye of a place."""
    task = e2m.SampleDye("Rock", dye, place.out, place.raw, kind)
    task.set_params(pad=PAD)
    return task


def sound_pair(place: Place) -> None:
    """Make the raw files."""
    for path in post_and_pre(place):
        tifffile.imwrite(path, IMAGE)


def finished(place: Place, kind: str = "both") -> e2m.SampleDye:
    """Make a pair and its stage 1."""
    sound_pair(place)
    task = task_of(place, kind=kind)
    task.run(to_stage=1)
    return task


def _file(place: Place, kind: str) -> Path:
    return place.out / "Rock" / "DAPI" / kind / f"{NAME}.{kind}"


def _changed(
    name: str,
    kind: str,
    change: Callable[[bytes], bytes],
    says: str,
    ends: Any = "redone",
) -> Case:
    """Return a case of one checkpoint whose bytes are changed."""

    def make(place: Place) -> None:
        finished(place, kind)
        path = _file(place, kind)
        path.write_bytes(change(path.read_bytes()))

    return Case("checkpoint", f"{kind}, {name}", make, _use(kind), says, ends)


def _forged(name: str, entries: dict[str, Any], says: str, kind: str = "tiff") -> Case:
    """Return a case of a header with a right checksum, and entries that are not."""

    def make(place: Place) -> None:
        task = finished(place, kind)
        found = task.checkpoint(1, "post")
        assert found is not None
        header = dict(found.image.header) | entries
        header = {key: value for key, value in header.items() if value != "leave out"}
        header.pop("checksum")
        header["checksum"] = digest(header)
        pixels = np.array(found.image)
        path = _file(place, kind)
        shape = (pixels.shape[0], pixels.shape[1])
        write_raster([path], shape, pixels.dtype, [(0, pixels)], header=header)

    return Case("checkpoint", f"{kind}, {name}", make, _use(kind), says, "redone")


def _use(kind: str) -> Callable[[Place], Told]:
    def use(place: Place) -> Told:
        """Look at the file in every way, then have it made again."""
        path = _file(place, kind)
        before = path.read_bytes() if path.is_file() else b""
        for look in (e2m.open_raster, read_stored_image):
            with contextlib.suppress(CheckpointError):
                found = look(path)
                image = getattr(found, "checkpoint", found)
                image = getattr(image, "image", image)
                if image is not None:
                    np.asarray(pyramid(image)[-1][0:4, 0:4])
        read_result_sets(path.parent.parent)
        for words in (
            ("info", str(path)),
            ("info", str(path), "--json"),
            ("status", "Rock", "DAPI", "--raw-dir", str(place.raw)),
        ):
            code, said = command_line(*words)
            assert code in (0, 1, 2), f"{words[0]} ends with {code}: {said}"
        task = task_of(place, kind=kind)
        line = task.status()[0]
        with contextlib.suppress(Exo2MicroError):
            task.result()
        assert line.path == path
        assert before == (path.read_bytes() if path.is_file() else b"")
        if line.state == "valid":
            return "used", line.reason
        task.run(to_stage=1)
        assert task.status()[0].state == "valid"
        pixels = np.asarray(e2m.open_raster(path))
        np.testing.assert_array_equal(pixels[PAD:-PAD, PAD:-PAD], IMAGE)
        return "redone", f"{line.path.name} {line.state}: {line.reason}"

    return use


def _card(key: str, value: str) -> Callable[[bytes], bytes]:
    """Return what sets one card of a FITS header."""

    def change(data: bytes) -> bytes:
        at = data.index(f"{key:8}=".encode())
        return data[:at] + f"{key:8}= {value:>20}".encode().ljust(80) + data[at + 80 :]

    return change


def _in_header(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new.ljust(len(old))[: len(old)], 1)

    return change


def _flipped(data: bytes) -> bytes:
    at = data.index(b'"inputs"') + 13
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _described(text: str) -> Callable[[bytes], bytes]:
    """Return what writes an image with another description, of our software."""

    def change(data: bytes) -> bytes:
        words = text.encode() + b"\0"
        more = {
            270: (2, len(words), words),
            305: (2, 17, b"napari-exo2micro\0"),
        }
        return tiff(more, big=True)

    return change


def _shaped(width: int, height: int) -> Callable[[bytes], bytes]:
    sizes = {256: (LONG, 1, width), 257: (LONG, 1, height), 278: (LONG, 1, height)}
    return lambda data: tiff(sizes | {305: (2, 17, b"napari-exo2micro\0")}, big=True)


def _other_sample(place: Place) -> None:
    task = finished(place, "tiff")
    folder = place.raw / "Other"
    shutil.copytree(place.raw / "Rock", folder)
    stranger = e2m.SampleDye("Other", "DAPI", place.out, place.raw, "tiff")
    stranger.set_params(pad=PAD)
    stranger.run(to_stage=1)
    shutil.copy(stranger._tiff_path(1, "post"), task._tiff_path(1, "post"))


def _other_side(place: Place) -> None:
    task = finished(place, "tiff")
    shutil.copy(task._tiff_path(1, "pre"), task._tiff_path(1, "post"))


def _instead(make_file: Callable[[Path], object]) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        finished(place, "tiff")
        path = _file(place, "tiff")
        path.unlink()
        make_file(path)

    return make


def _bombs(place: Place) -> None:
    """Write a FITS whose extension claims more than the file."""
    finished(place, "fits")
    path = _file(place, "fits")
    data = path.read_bytes()
    at = data.index(b"XTENSION")
    card = data.index(b"NAXIS1  =", at)
    new = b"NAXIS1  = " + b"999999999999".rjust(20)
    path.write_bytes(data[:card] + new.ljust(80) + data[card + 80 :])


BAD_MATRIX = [["nan", 0, 0], [0, 1, 0], [0, 0, 1]]
TRANSFORM = {"kind": "napari-exo2micro transform", "version": 1}
ELSEWHERE = "truncated|cannot be read|cannot be used|damaged|belongs to other raw files"
# A TIFF is no TIFF any more; a FITS lacks its seal.
UNREADABLE = "cannot be read|is damaged, or another program changed it"

CASES = [
    *[
        _changed(
            f"cut off after {share} %",
            kind,
            lambda d, s=share: d[: len(d) * s // 100],
            says,
        )
        for kind in ("tiff", "fits")
        for share, says in ((0, ""), (1, ""), (50, ""), (90, ""))
    ],
    *[
        _changed("a flipped bit in the header", kind, _flipped, "is damaged")
        for kind in ("tiff", "fits")
    ],
    *[
        _changed("nothing but zeros", kind, lambda d: bytes(len(d)), UNREADABLE)
        for kind in ("tiff", "fits")
    ],
    *[
        _changed("text", kind, lambda d: b"no image " * 400, UNREADABLE)
        for kind in ("tiff", "fits")
    ],
    *[
        _forged("header of another kind", {"kind": "a recipe"}, "damaged", kind)
        for kind in ("tiff", "fits")
    ],
    _forged("header of a later version", {"schema": 99}, "version 99"),
    _forged("header of no version", {"schema": None}, "version None"),
    _forged(
        "a transform of NaN", {"transform": TRANSFORM | {"matrix": BAD_MATRIX}}, ""
    ),
    _forged("a transform of lists", {"transform": [[1, 2], [3]]}, "cannot be read"),
    _forged(
        "a transform of huge numbers",
        {"transform": TRANSFORM | {"matrix": [[10**400] * 3] * 3}},
        "cannot be read",
    ),
    _forged("a transform of text", {"transform": "turn left"}, "cannot be read"),
    _forged("no verdicts", {"verdicts": "leave out"}, "cannot be read"),
    _forged("verdicts that are a number", {"verdicts": 7}, "cannot be read"),
    _forged("verdicts without words", {"verdicts": {"1": {}}}, "cannot be read"),
    _forged("no parameters", {"parameters": "leave out"}, "cannot be read"),
    _forged("parameters that are a list", {"parameters": [1, 2]}, "cannot be read"),
    _forged("parameters of wrong types", {"parameters": {"pad": "wide"}}, ""),
    _forged("an entry that nobody knows", {"moon": "full"}, "cannot be read"),
    _forged("notes that are nothing", {"notes": None}, "cannot be read"),
    _forged("raw files that are a number", {"raw": 5}, "cannot be read"),
    _forged("raw files without names", {"raw": {"loader": "tiff"}}, ""),
    _forged(
        "fingerprints of wrong types",
        {"raw": {"loader": "tiff", "post": {"file": "a"}, "pre": []}},
        "",
    ),
    _forged("a canvas that is text", {"canvas": "large"}, "cannot be read"),
    _forged("frames of wrong types", {"canvas": {"post_frame": 7}}, "cannot be read"),
    _forged("a stage that is a list", {"stage": [1]}, ""),
    _forged("a sample of another place", {"sample": "../../Rock"}, "moved here"),
    _changed("a header that is a list", "tiff", _described("[1, 2]"), ""),
    _changed(
        "a header a million lists deep", "tiff", _described('{"a":' + "[" * 10**6), ""
    ),
    _changed("a header that breaks off", "tiff", _described('{"kind": "napari'), ""),
    _changed(
        "a number of 10^5 digits", "tiff", _described('{"a": ' + "9" * 10**5 + "}"), ""
    ),
    _changed("10^6 x 10^6 px", "tiff", _shaped(10**6, 10**6), ELSEWHERE),
    _changed("0 x 20 px", "tiff", _shaped(0, 20), ELSEWHERE),
    _changed("another size", "tiff", _shaped(19, 20), "cannot be used"),
    *[
        _changed(f"{key} = {value}", "fits", _card(key, value), says)
        for key, value, says in (
            ("BITPIX", "7", "cannot be read"),
            ("BITPIX", "'eight'", "cannot be read"),
            ("BITPIX", "-64", ""),
            ("NAXIS", "0", "found 0 axes|cannot be read"),
            ("NAXIS", "999", "cannot be read|found 999"),
            ("NAXIS", "-2", UNREADABLE),
            ("NAXIS1", "1000000000000", ELSEWHERE),
            ("NAXIS2", "99999999999999999999", ELSEWHERE),
            ("NAXIS1", "-36", ELSEWHERE),
            ("NAXIS1", "2.5", "cannot be read"),
            ("NAXIS2", "0", ELSEWHERE),
            ("SIMPLE", "F", ""),
            ("SIMPLE", "'", ""),
        )
    ],
    Case(
        "checkpoint",
        "fits, an extension of 10^12 bytes",
        _bombs,
        _use("fits"),
        "",
        "redone",
    ),
    _changed("no END", "fits", _in_header(b"END" + b" " * 77, b"XND"), ""),
    Case(
        "checkpoint",
        "of another sample",
        _other_sample,
        _use("tiff"),
        "Other",
        "redone",
    ),
    Case(
        "checkpoint",
        "of the other side",
        _other_side,
        _use("tiff"),
        "moved here",
        "redone",
    ),
    Case(
        "checkpoint",
        "a link to nowhere",
        _instead(lambda p: p.symlink_to("gone")),
        _use("tiff"),
        "missing",
        "redone",
    ),
]
