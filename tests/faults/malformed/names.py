"""Names of samples and dyes: refused, or used as the one folder that they name."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from malformed.case import Case, Place, Told
from malformed.raw_use import PAD, command_line
from malformed.tiffs import IMAGE
from napari_exo2micro import core as e2m
from napari_exo2micro.core.base import Exo2MicroError

__all__ = ["CASES"]

REFUSED = {
    "..": "..",
    ".": ".",
    "a way up": "../../outside",
    "a way up with backslashes": "..\\outside",
    "a way up in the middle": "a/../../outside",
    "two dots within": "a..b",
    "a separator": "a/b",
    "a separator at the end": "Rock/",
    "an absolute path": "/tmp/outside",
    "an absolute path of Windows": "C:\\outside",
    "a drive of Windows": "C:",
    "nothing": "",
    "spaces only": "   ",
    "a space at the end": "Rock ",
    "a dot at the end": "Rock.",
    "a dot at the start": ".hidden",
    "a line break": "Rock\nDAPI",
    "a carriage return": "Rock\r",
    "a tab": "Ro\tck",
    "a NUL": "Rock\0.tif",
    "an escape sequence": "\x1b[31mRock",
    "a line separator of Unicode": "Rock\u2028",
    "a turn of direction": "Rock\u202egnp",
    "half a letter": "Rock\udc80",
    "a device of Windows": "NUL",
    "a device of Windows with an ending": "com1.tif",
    "a pattern": "R*ck?",
    "a stream of Windows": "Rock:stream",
    "201 letters": "x" * 201,
    "101 letters of two bytes": "ä" * 101,
    "ten thousand letters": "x" * 10_000,
}
USED = {
    "spaces": "Stone wall 7",
    "200 letters": "x" * 200,
    "letters of Unicode": "Gesteinsprobe-Ä-ß-岩石",
    "combining letters": unicodedata.normalize("NFD", "Probe-äöü-é"),
    "from right to left": "סלע-صخر",
    "pictures": "🪨🔬",
    "a dash at the start": "-rf",
    "two dashes at the start": "--help",
    "a tilde": "~root",
    "a variable": "$HOME %PATH%",
    "a command": "`id`;ls&&$(id)",
    "brackets": "a[0]{1}",
    "a percent sign": "100%s%n",
    "quotation marks": "it's",
    "nothing but a digit": "0",
}


def _put(place: Place, sample: str, dye: str, image: object = IMAGE) -> None:
    folder = place.raw / sample
    folder.mkdir(parents=True, exist_ok=True)
    for side in ("Post", "Pre"):
        tifffile.imwrite(folder / f"{side}_{dye}.tif", image)


def _good(place: Place) -> None:
    _put(place, "Rock", "DAPI")
    (place.folder / "outside").mkdir()


def _refuse(name: str) -> Callable[[Place], Told]:
    """Return what asks for a name in every way and is refused in each."""

    def use(place: Place) -> Told:
        asked = [
            lambda: e2m.SampleDye(name, "DAPI", place.out, place.raw).run(to_stage=1),
            lambda: e2m.SampleDye("Rock", name, place.out, place.raw).run(to_stage=1),
            lambda: e2m.SampleDye(
                "Rock", "DAPI", place.out, place.raw, register_on=name
            ),
            lambda: e2m.load_image_pair(name, "DAPI", place.raw),
            lambda: e2m.load_image_pair("Rock", name, place.raw),
            lambda: e2m.survey_raw_channels(place.raw, [name]),
            lambda: e2m.run_batch([name], ["DAPI"], **_folders(place)),
            lambda: e2m.run_batch(["Rock"], [name], **_folders(place)),
        ]
        told = []
        for number, ask in enumerate(asked):
            try:
                ask()
            except Exo2MicroError as error:
                told.append(str(error))
            # register_on='' is the same as none
            assert len(told) == number + 1 or (number == 2 and not name), number
            if len(told) == number:
                told.append("")
        # a batch lists all pairs, one a line
        assert all(len(text) < 1000 and "\n" not in text for text in told[:-2]), told
        if "\0" not in name and name.isprintable() and len(name) < 1000:
            words = ("--raw-dir", str(place.raw), "--output-dir", str(place.out))
            code, said = command_line("run", *words, "--", name, "DAPI")
            assert code == 2, f"exit code {code}: {said}"
            assert "fault of exo2micro" not in said
        assert not place.out.exists() or not list(place.out.glob("[!.]*"))
        return "refused", told[0]

    return use


def _folders(place: Place) -> dict[str, object]:
    return {"raw_dir": place.raw, "output_dir": place.out, "to_stage": 1}


def _both_names(name: str) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        _put(place, name, "DAPI")
        _put(place, "Rock", name)

    return make


def _use(name: str) -> Callable[[Place], Told]:
    """Return what runs a sample and a dye of that name, and looks where they went."""

    def use(place: Place) -> Told:
        wanted = set()
        for sample, dye in ((name, "DAPI"), ("Rock", name)):
            words = ("--raw-dir", str(place.raw), "--output-dir", str(place.out))
            more = ("--pad", str(PAD), "--to-stage", "1", "--checkpoint-format", "tiff")
            code, said = command_line("run", *words, *more, "--", sample, dye)
            assert code == 0, f"exit code {code}: {said}"
            task = e2m.SampleDye(sample, dye, place.out, place.raw, "tiff")
            task.set_params(pad=PAD)
            assert task.status()[0].state == "valid"
            path = task._tiff_path(1, "post")
            assert path.is_relative_to(place.out)
            pixels = np.asarray(e2m.open_raster(path))
            assert np.array_equal(pixels[PAD:-PAD, PAD:-PAD], IMAGE)
            wanted.add(place.out / sample / dye)
        found = {path.parent.parent for path in place.out.rglob("*.tiff")}
        assert found == wanted
        results = e2m.run_batch(params={"pad": PAD}, **_folders(place))
        assert {result["status"] for result in results} == {"complete"}, results
        assert command_line("diagnose", "--raw-dir", str(place.raw))[0] == 0
        return "used", ""

    return use


def _odd_files(place: Place) -> None:
    """Make files whose names a person cannot type, beside a sound pair."""
    _good(place)
    folder = os.fsencode(place.raw / "Rock")
    for name in (
        b"Post_\xff\xfe.tif",
        b"Post_a\nb.tif",
        b"Post_..tif",
        b"Post_...tif",
        b"Pre_CON.tif",
        b"Pre_\x1b[2J.tif",
        b"Post_Pre_x.tif",
        b"-_.tif",
        b"Post_" + b"x" * 240 + b".tif",
    ):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"II")
    for name in (b"\xffsample", b"a\nb", b"-x", b"...", b"NUL"):
        (place.raw / os.fsdecode(name)).mkdir()


def _use_odd_files(place: Place) -> Told:
    found = e2m.discover_tasks(raw_dir=place.raw)
    assert found.present == (("Rock", "DAPI"),)
    for verb in ("diagnose", "survey"):
        for more in ((), ("--json",)):
            code, said = command_line(verb, "--raw-dir", str(place.raw), *more)
            assert code == 1, f"{verb} ends with {code}: {said}"
    words = ("batch", str(place.raw), str(place.out), "--lenient", "--pad", str(PAD))
    code, said = command_line(*words, "--to-stage", "1", "--executor", "serial")
    assert code == 1, f"exit code {code}: {said}"
    assert sorted(path.name for path in place.out.glob("[!.]*")) == ["Rock"]
    return "used", ""


def _linked(place: Place) -> None:
    """Make an output folder in which the sample is a link to elsewhere."""
    _good(place)
    place.out.mkdir()
    (place.folder / "file").write_text("mine")
    (place.out / "Rock").symlink_to(place.folder / "file")


def _use_linked(place: Place) -> Told:
    e2m.SampleDye("Rock", "DAPI", place.out, place.raw).run(to_stage=1)
    return "used", ""


CASES = [
    *[
        Case("name", name, _good, _refuse(text), "name")
        for name, text in REFUSED.items()
    ],
    *[
        Case("name", name, _both_names(text), _use(text), "", "used")
        for name, text in USED.items()
    ],
    Case(
        "name", "of files that nobody can type", _odd_files, _use_odd_files, "", "used"
    ),
    Case("name", "a sample that is a link to a file", _linked, _use_linked, "a file"),
]
