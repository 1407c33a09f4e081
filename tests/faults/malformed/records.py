"""Small files beside the images: presets, transforms, records, statistics, logs."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from malformed.case import Case, Ending, Place, Told
from malformed.raw_use import command_line
from malformed.results import finished, sound_pair, task_of
from napari_exo2micro import core as e2m
from napari_exo2micro.core.alignment import Alignment, load_views
from napari_exo2micro.core.base import locks, log_path
from napari_exo2micro.core.photometry.statistics import load_statistics

__all__ = ["CASES"]

Make = Callable[[Path], object]


class Trap:
    """Leaves a file behind when somebody unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("unpickled", "w")


def _bytes(content: bytes) -> Make:
    return lambda path: path.write_bytes(content)


def _text(content: Any) -> Make:
    text = content if isinstance(content, str) else json.dumps(content)
    return lambda path: path.write_text(text, encoding="utf-8")


def _sparse(path: Path) -> None:
    path.write_text('{"a": ')
    with path.open("r+b") as file:
        file.truncate(1 << 36)


#: What no JSON file of ours may be, whichever it is.
ODD: dict[str, Make] = {
    "no bytes": _bytes(b""),
    "no text": _bytes(b"\xff\xfe\x00\xd8" * 50),
    "a million lists deep": _text("[" * 1_000_000),
    "a million entries deep": _text('{"a":' * 1_000_000),
    "a list": _text([1, 2]),
    "64 GB": _sparse,
    "a pipe": lambda path: os.mkfifo(path),
    "a device that never ends": lambda path: path.symlink_to("/dev/zero"),
    "a folder": lambda path: path.mkdir(),
    "a link to itself": lambda path: path.symlink_to(path),
}
MATRIX = {
    "NaN": [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]],
    "of two rows": [[1, 0, 0], [0, 1, 0]],
    "uneven": [[1, 0], [0, 1, 0], [0]],
    "singular": [[0, 0, 0], [0, 0, 0], [0, 0, 1]],
    "text": "identity",
    "of words": [["a", "b", "c"]] * 3,
    "of 400 digits": [[10**400] * 3] * 3,
    "named": {"a": 1},
    "nothing": None,
}
TRANSFORM = {"kind": "napari-exo2micro transform", "version": 1}
PRESET = {"format": "napari-exo2micro preset", "version": 1}


def _load(load: Callable[[Path], object]) -> Callable[[Place], Told]:
    def use(place: Place) -> Told:
        load(place.folder / "file.json")
        return "used", "it was loaded"

    return use


def _preset(path: Path) -> object:
    code, said = command_line("run", "Rock", "DAPI", "--preset", str(path))
    assert code == 2, f"exit code {code}: {said}"
    assert len(said.splitlines()) == 1, said
    return e2m.load_preset(path)


def _small(group: str, name: str, make: Make, load: Callable[[Path], object]) -> Case:
    def put(place: Place) -> object:
        return make(place.folder / "file.json")

    return Case(group, name, put, _load(load), "Error: .*file")


def _array_of(shape: tuple[int, ...]) -> bytes:
    """Return an array file whose header claims a shape."""
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    text = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def _archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(f"{name}.npy", content)
    return stream.getvalue()


def _npy(value: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, allow_pickle=True)
    return stream.getvalue()


def _pickled() -> bytes:
    return _archive(kind=_npy(np.array([Trap()], dtype=object)))


KIND = {"kind": _npy("napari-exo2micro pair statistics"), "version": _npy(1)}

STATISTICS: dict[str, bytes] = {
    "a pickle": pickle.dumps(Trap()),
    "an archive of pickles": _pickled(),
    "an array of pickles": _npy(np.array([Trap()], dtype=object)),
    "an archive that is cut off": _archive(**KIND)[:-30],
    "an archive of nothing": _archive(),
    "an archive of text": _archive(kind=b"Once upon a time"),
    "an array of 8 EB": _archive(**KIND, edges=_array_of((1 << 60,))),
    "an array of 80 GB": _archive(**KIND, edges=_array_of((10_000_000_000,))),
    "an array of -1": _archive(**KIND, edges=_array_of((-1, -1))),
    "numbers that are words": _archive(**KIND, blocks_grid=_npy(["a", "b", "c"])),
    "no bytes": b"",
}


def _record(make: Make, ends: Ending = "used") -> Callable[[Place], None]:
    """Return what puts a record of stage 4 in its place."""

    def put(place: Place) -> None:
        task = finished(place, "tiff")
        folder = task._check_path("04_difference_record").parent
        folder.mkdir(parents=True)
        make(task._check_path("04_difference_record").with_suffix(".json"))

    return put


def _use_record(place: Place) -> Told:
    task = task_of(place)
    states = {line.state for line in task.status() if line.kind == "plot"}
    task.result()
    assert states == {"missing"}
    return "used", ""


def _log(make: Make) -> Callable[[Place], None]:
    def put(place: Place) -> None:
        sound_pair(place)
        place.out.mkdir()
        make(log_path(place.out))

    return put


def _use_log(place: Place) -> Told:
    """Run beside an odd log: the run goes on, and the log is read or refused."""
    task = task_of(place)
    task.run(to_stage=1)
    assert task.status()[0].state == "valid"
    try:
        e2m.read_log_tail(place.out, 5)
    except e2m.OutputError as error:
        return "used", f"the log: {error}"
    return "used", ""


def _lock(make: Make) -> Callable[[Place], None]:
    """Return what leaves the files of a lock behind."""

    def put(place: Place) -> None:
        sound_pair(place)
        place.out.mkdir()
        lock, holder = locks._paths(place.out, "Rock", "DAPI")
        lock.write_bytes(b"")
        make(holder)

    return put


def _use_lock(place: Place) -> Told:
    assert e2m.lock_holder(place.out, "Rock", "DAPI") is None
    task = task_of(place)
    task.run(to_stage=1)
    assert task.status()[0].state == "valid"
    return "used", ""


CASES = [
    *[
        _small(group, name, make, load)
        for group, load in {
            "preset": _preset,
            "transform": e2m.Transform.load,
            "alignment": Alignment.load,
            "views": load_views,
            "truth": e2m.read_truth,
        }.items()
        for name, make in ODD.items()
    ],
    *[
        _small("preset", name, _text(PRESET | more), _preset)
        for name, more in {
            "version 10^30": {"version": 10**30, "parameters": {}},
            "parameters that are a list": {"parameters": [1]},
            "an unknown parameter": {"parameters": {"../../moon": 1}},
            "a number of 400 digits": {"parameters": {"pad": 10**400}},
            "a value that is a list": {"parameters": {"pad": [[[]]]}},
            "a value of NaN": {"parameters": {"angle_step": float("nan")}},
        }.items()
    ],
    *[
        Case(
            "transform",
            f"matrix {name}",
            lambda place, m=matrix: _text(TRANSFORM | {"matrix": m})(
                place.folder / "file.json"
            ),
            _load(e2m.Transform.load),
            "cannot be read",
        )
        for name, matrix in MATRIX.items()
    ],
    *[
        Case(
            "alignment",
            f"canvas {canvas!r:.30}",
            lambda place, c=canvas: _text(
                TRANSFORM | {"matrix": np.eye(3).tolist(), "canvas": c}
            )(place.folder / "file.json"),
            _load(Alignment.load),
            "canvas",
        )
        for canvas in (
            "large",
            [1],
            {"post_frame": "abcd"},
            {"post_frame": [float("inf")] * 4},
            {"post_frame": 3},
        )
    ],
    *[
        Case(
            "statistics",
            name,
            lambda place, c=content: _bytes(c)(place.folder / "file.json"),
            _load(load_statistics),
            "holds no statistics",
        )
        for name, content in STATISTICS.items()
    ],
    *[
        Case("record", name, _record(make), _use_record, "", "used")
        for name, make in {
            **ODD,
            "plots that are a number": _text({"plots": 7}),
            "scales that are a number": _text({"scales": 7, "plots": None}),
        }.items()
    ],
    *[
        Case("log", name, _log(make), _use_log, "", "used")
        for name, make in ODD.items()
    ],
    *[
        Case("lock", name, _lock(make), _use_lock, "", "used")
        for name, make in ODD.items()
    ],
]
