"""Thousands of damaged files: noticed or the same, and nothing else ever.

    python benchmarks/mutants.py                           # 1000 of each kind
    python benchmarks/mutants.py FITS --times 50           # 50 of one kind
    python benchmarks/mutants.py npz --first 412 --times 1 # one of them again

One small pair is run; copies of its files are damaged in one to four places: bytes are
set, flipped, removed, doubled, moved or filled with zeros, words of headers and numbers
of JSON are exchanged for others, and the end is cut off. Each mutant is used in the
ways in which the program uses such a file:

npz, record
    The statistics and the record of stage 4, in the place of the sound ones: the file
    is not the one that the run has written, so that its plots must be stale, or its
    content must be equal.
preset
    Loaded: refused, or parameters that each fit their limits.
FITS, TIFF
    A result of stage 3 in the place of the sound one, whose other format is gone: it
    is refused or stale, or header and pixels are those of the sound one. Its folder is
    read as a viewer reads it.
raw TIFF
    Read as a raw image: refused, or an image of finite numbers.

An error that is none of ours, 10 s, 1 GB of memory or the end of the process are
faults, and so is anything wrong that is used.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import FrameType

import numpy as np
from tables import Table, parser_of, save

from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.images import open_raster
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    load_preset,
    save_preset,
)
from napari_exo2micro.core.photometry.statistics import load_statistics
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.raw import RawPair
from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.core.store import read_result_sets

PAD, SECONDS, MEMORY = 20, 10, 1 << 30
_NUMBER = re.compile(rb"-?\d+\.?\d*")
_WORDS = [b"NaN", b"-1", b"1e999", b"9" * 40, b"null", b"[]", b'""', b"true", b"{"]
_CARD = 80


def mutant(data: bytes, chance: random.Random) -> bytes:
    """Return a file's bytes after harm in one to four places, never the same."""
    changed = bytearray(data)
    while bytes(changed) == data:
        for _ in range(chance.randint(1, 4)):
            _harm(changed, chance)
    return bytes(changed)


def _harm(data: bytearray, chance: random.Random) -> None:
    # one half of it where headers and directories are
    reach = len(data) if chance.random() < 0.5 else min(len(data), 6000)
    if chance.random() < 0.2:
        place = max(0, len(data) - chance.randint(1, 400))
    else:
        place = chance.randrange(reach) if reach else 0
    size = chance.choice((1, 2, 4, 8, _CARD, 512, 2880))
    kinds = "set flip word zero cut double end text"
    kind = chance.choice(kinds.split())
    if kind == "set":
        data[place : place + 1] = bytes([chance.randrange(256)])
    elif kind == "flip" and data:
        data[min(place, len(data) - 1)] ^= 1 << chance.randrange(8)
    elif kind == "word":
        word = chance.choice((0, 1, 0x7FFF, 0xFFFF, 1 << 31, (1 << 32) - 1, 1 << 63))
        data[place : place + 8] = word.to_bytes(8, chance.choice(("little", "big")))
    elif kind == "zero":
        data[place : place + size] = bytes(len(data[place : place + size]))
    elif kind == "cut":
        del data[place : place + size]
    elif kind == "double":
        data[place:place] = data[place : place + size]
    elif kind == "end" and chance.random() < 0.3:
        del data[place:]
    elif kind == "text" and (found := _NUMBER.search(data, place)):
        data[found.start() : found.end()] = chance.choice(_WORDS)


def finished(folder: Path) -> SampleDye:
    """Return a small run whose results are sound, made once."""
    task = SampleDye("Rock", "DAPI", folder / "out", folder / "raw", "both")
    task.set_params(pad=PAD)
    if not (folder / "out").exists():
        pair = simulate_section((300, 340), seed=5, angle_deg=4.0, gain=1.25)
        write_pair(pair, folder / "raw", "Rock", "DAPI")
        task.run()
        save_preset(folder / "preset.json", {"pad": 300, "scale_percentile": 99.1})
    return task


@cache
def copied(folder: Path, kind: str) -> SampleDye:
    """Return a copy of the finished run, one file of which is damaged all the time."""
    place = folder / f"copy of {kind}"
    shutil.copytree(folder / "out", place, dirs_exist_ok=True)
    task = SampleDye("Rock", "DAPI", place, folder / "raw", "both")
    task.set_params(pad=PAD)
    return task


def is_told(error: Exo2MicroError, path: Path) -> str:
    """Return how a mutant ended whose file is refused: its name must be told."""
    assert path.name in str(error), f"without its name: {error}"
    return "noticed"


def use_statistics(folder: Path, data: bytes) -> str:
    """Put statistics in the place of the sound ones."""
    task = copied(folder, "npz")
    path = next(task.output_dir.rglob("*.npz"))
    path.write_bytes(data)
    try:
        load_statistics(path)
    except Exo2MicroError as error:
        is_told(error, path)
    return _plots(task)


def use_record(folder: Path, data: bytes) -> str:
    """Put a record in the place of the sound one."""
    task = copied(folder, "record")
    path = next(task.output_dir.rglob("04_difference_record*.json"))
    sound = json.loads(
        (folder / "out" / path.relative_to(task.output_dir)).read_bytes()
    )
    path.write_bytes(data)
    ending = _plots(task)
    if ending != "noticed":
        assert json.loads(data.decode("utf-8-sig")) == sound, "a changed record is used"
        return "the same"
    return ending


def _plots(task: SampleDye) -> str:
    """Return what the check-list says of the plots; nothing else may be stale."""
    lines = task.status()
    states = {line.state for line in lines if line.kind == "plot"}
    assert {line.state for line in lines if line.kind == "checkpoint"} == {"valid"}
    if states == {"valid"}:
        return "used"
    assert "valid" not in states, f"only some are noticed: {states}"
    return "noticed"


def use_preset(folder: Path, data: bytes) -> str:
    """Load a preset."""
    path = folder / "mutant.json"
    path.write_bytes(data)
    try:
        params = load_preset(path)
    except Exo2MicroError as error:
        return is_told(error, path)
    for name, value in params.items():
        assert PARAMETER_REGISTRY[name].check(value) == value
    same = params == load_preset(folder / "preset.json")
    return "the same" if same else "other values that fit"


def use_checkpoint(kind: str) -> Callable[[Path, bytes], str]:
    """Return what puts an image of stage 3 in the place of the sound one."""

    def use(folder: Path, data: bytes) -> str:
        task = copied(folder, kind)
        path, twin = task._tiff_path(3, "pre"), task._fits_path(3, "pre")
        if kind == "FITS":
            path, twin = twin, path
        twin.unlink(missing_ok=True)
        sound = open_raster(folder / "out" / path.relative_to(task.output_dir))
        path.write_bytes(data)
        read_result_sets(path.parent.parent)
        line = next(line for line in task.status(verify=True) if line.stage == 3)
        if line.state != "valid":
            return "noticed"
        found = open_raster(path)
        assert found.header == sound.header, "a changed header is used"
        for level in range(found.n_levels):
            same = np.array_equal(found.level(level), sound.level(level))
            assert same, "changed pixels are used"
        return "the same"

    return use


def use_raw(folder: Path, data: bytes) -> str:
    """Read a raw image."""
    path = folder / "mutant.tif"
    path.write_bytes(data)
    try:
        image = RawPair.from_files(path, path).post.read()
    except Exo2MicroError as error:
        return is_told(error, path)
    assert image.ndim == 2
    assert np.isfinite(image).all()
    return "an image"


#: Where a sound file is, and what is done with a mutant of it.
KINDS: dict[str, tuple[str, Callable[[Path, bytes], str]]] = {
    "npz": ("out/**/*.npz", use_statistics),
    "record": ("out/**/04_difference_record*.json", use_record),
    "preset": ("preset.json", use_preset),
    "FITS": ("out/**/03_*.fits", use_checkpoint("FITS")),
    "TIFF": ("out/**/03_*.tiff", use_checkpoint("TIFF")),
    "raw TIFF": ("raw/**/*.tif*", use_raw),
}


class TooLongError(BaseException):
    """The time is over; nothing takes it for an error of a file."""


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise TooLongError


def work(folder: Path, kind: str, seed: int, first: int, times: int) -> None:
    """Use mutants in this process; print a JSON list for each: number and ending."""
    warnings.simplefilter("ignore")
    pattern, use = KINDS[kind]
    sound = sorted(folder.glob(pattern))[0].read_bytes()
    signal.signal(signal.SIGALRM, _ring)
    use(folder, sound)  # with its imports
    resource.setrlimit(resource.RLIMIT_DATA, (_data() + MEMORY,) * 2)
    for number in range(first, first + times):
        data = mutant(sound, random.Random(f"{kind} {seed} {number}"))
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            ending = use(folder, data)
            if ending == "used":
                ending = "fault: a changed file is used"
        except BaseException as error:  # noqa: BLE001 - this is what is looked for
            ending = f"fault: {type(error).__name__}: {error}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        print(json.dumps([number, ending]), flush=True)


def _data() -> int:
    """Return the private memory of this process, bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmData:\s+(\d+) kB", text)
    return int(found[1]) << 10 if found else 0


def run(folder: Path, kind: str, seed: int, first: int, times: int) -> Counter[str]:
    """Use mutants in processes of their own, which may die; count how they end."""
    endings: Counter[str] = Counter()
    end = first + times
    while first < end:
        numbers = [str(number) for number in (seed, first, end - first)]
        command = [sys.executable, __file__, "--work", str(folder), kind, *numbers]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in process.stdout.splitlines():
            number, ending = json.loads(line)
            if ending.startswith("fault"):
                print(f"  {kind}, mutant {number}: {ending}", flush=True)
            endings[ending.partition(":")[0]] += 1
            first = number + 1
        if first < end:
            print(f"  {kind}, mutant {first}: died: {process.stderr[-300:]}")
            endings["fault"] += 1
            first += 1
    return endings


def main() -> int:
    """Make mutants, use them, and print how they ended."""
    if sys.argv[1:2] == ["--work"]:
        folder, kind, *numbers = sys.argv[2:]
        work(Path(folder), kind, *map(int, numbers))
        return 0
    parser = parser_of(__doc__ or "")
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="all by default")
    parser.add_argument("--times", type=int, default=1000, help="mutants of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    table = Table("file", "mutants", "faults", "how they ended")
    os.environ["SOURCE_DATE_EPOCH"] = "1700000000"
    faults = 0
    with tempfile.TemporaryDirectory(prefix="exo2micro-") as place:
        finished(Path(place))
        for kind in arguments.kinds or KINDS:
            seed, first, times = arguments.seed, arguments.first, arguments.times
            found = run(Path(place), kind, seed, first, times)
            faults += found["fault"]
            words = (f"{n} {ending}" for ending, n in sorted(found.items()))
            counts = str(found.total()), str(found.pop("fault", 0))
            table.add(kind, *counts, ", ".join(words))
    if arguments.save:
        save("mutants", table)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
