"""The process in which cases run, under limits of memory and time.

    python -m malformed.worker FOLDER GROUP...

Reads titles of cases from the standard input, one a line, and writes one JSON object a
line: which case begins, and how it ended. It is the runner that notices when it hangs
or dies.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from malformed import CASES, broken
from malformed.case import Case, Place
from malformed.raw_use import both, use_pair
from malformed.tiffs import encoded
from napari_exo2micro.core.base import Exo2MicroError

__all__ = ["MEMORY", "SECONDS", "main"]

SECONDS = float(os.environ.get("EXO2MICRO_CASE_SECONDS", "10"))
MEMORY = 1 << 30


class TooLongError(BaseException):
    """The time is over; nothing takes it for an error of a file."""


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise TooLongError


def _status(name: str) -> int:
    """Return an entry of this process's status, bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _limit_memory() -> None:
    """Allow so much private memory beyond what is taken now."""
    taken = _status("VmData")
    if taken:  # Linux counts it, and only there does the limit hold
        resource.setrlimit(resource.RLIMIT_DATA, (taken + MEMORY,) * 2)


def _forget_peak() -> int:
    """Let the largest memory be counted anew; return what is taken now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return _status("VmRSS")


def _tree(folder: Path, out: Path) -> dict[str, Any]:
    """Return everything below a folder but in `out`, and what would show a change."""
    found: dict[str, Any] = {}
    for root, folders, files in os.walk(folder):
        if Path(root) == out:
            folders.clear()
            continue
        for name in [*folders, *files]:
            path = Path(root) / name
            if path != out:
                status = path.lstat()
                # the time of a folder changes when something in it comes or goes,
                # which is seen anyway; that of the case's own one when `out` does
                time_ns = 0 if path.is_dir() else status.st_mtime_ns
                found[str(path)] = (status.st_mode, status.st_size, time_ns)
    return found


def _run(case: Case, place: Place) -> dict[str, Any]:
    """Run one case; how it ended, in words for the table."""
    place.folder.mkdir()
    os.chdir(place.folder)
    case.make(place)
    before = _tree(place.base, place.out)
    at_first, begin = _forget_peak(), time.perf_counter()
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        ending, told = case.use(place)
    except Exo2MicroError as error:
        ending, told = "refused", f"{type(error).__name__}: {error}"
    except TooLongError:
        ending, told = "fault", "it takes too long: " + traceback.format_exc()[-600:]
    except BaseException as error:  # noqa: BLE001 - this is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        ending = "fault"
        told = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    seconds = time.perf_counter() - begin
    peak = max(0, _status("VmHWM") - at_first) if at_first else 0
    changed = {
        path
        for one, other in ((before, _tree(place.base, place.out)),)
        for path in one.keys() | other.keys()
        if one.get(path) != other.get(path)
    }
    if changed:
        ending, told = "fault", f"changed outside of the output: {sorted(changed)}"
    elif ending != "fault" and ending != case.ends:
        ending, told = "fault", f"{case.ends} was expected, it is {ending}: {told}"
    elif ending != "fault" and not re.search(case.says, told):
        ending, told = "fault", f"{case.says!r} is not told: {told}"
    return {"ending": ending, "told": told, "seconds": seconds, "peak": peak}


def main() -> None:
    """Run the cases that are asked for."""
    base = Path(sys.argv[1]).resolve()
    every = (*CASES, *broken.CASES) if "EXO2MICRO_BROKEN_CASES" in os.environ else CASES
    cases = {case.title: case for case in every}
    signal.signal(signal.SIGALRM, _ring)
    warnings.simplefilter("ignore")
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    # what is imported on the way shall not count as taken by the first case
    warm = Place(base / "warm", base)
    warm.folder.mkdir(exist_ok=True)
    both(encoded())(warm)
    use_pair(warm)
    gc.freeze()  # what is imported need not be looked through after every task
    _limit_memory()
    for number, line in enumerate(sys.stdin):
        title = line.rstrip("\n")
        print(json.dumps({"begins": title}), file=out, flush=True)
        place = Place(base / f"{number:03d}", base)
        print(json.dumps(_run(cases[title], place)), file=out, flush=True)
        # every case looks through all that is there, for what another one changed
        os.chdir(base)
        shutil.rmtree(place.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
