"""Runs cases in a process that may hang or die without harm."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Outcome", "run_cases"]

#: Seconds until a worker is taken for one that hangs: its own limit, and some more for
#: a machine that is busy. The first answer waits for the imports, too.
_PATIENCE = 30.0
_TO_BEGIN = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended.

    Attributes
    ----------
    title : str
        Of the case.
    ending : str
        ``'refused'``, ``'redone'`` or ``'used'`` as it was expected, or ``'fault'``.
    told : str
        What the package said, or what is wrong.
    seconds : float
        How long it took.
    peak : int
        How much more memory it took, bytes; 0 where the system does not tell.
    """

    title: str
    ending: str
    told: str
    seconds: float = 0.0
    peak: int = 0


def run_cases(titles: Sequence[str], folder: Path) -> Iterator[Outcome]:
    """Run cases one after the other; one that kills its process is named, too.

    Parameters
    ----------
    titles : sequence of str
        Of the cases.
    folder : Path
        Theirs; it must be empty.
    """
    left = list(titles)
    turn = 0
    while left:
        turn += 1
        place = folder / f"worker{turn}"
        place.mkdir(parents=True)
        for outcome in _one_worker(tuple(left), place):
            left.remove(outcome.title)
            yield outcome


def _one_worker(titles: Sequence[str], folder: Path) -> Iterator[Outcome]:
    home = folder.with_name(f"{folder.name}-home")
    home.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [
                str(Path(__file__).parent.parent),
                *filter(None, [os.getenv("PYTHONPATH")]),
            ]
        ),
        "HOME": str(home),
        "SOURCE_DATE_EPOCH": "1700000000",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "malformed.worker", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    lines: queue.Queue[str] = queue.Queue()
    errors: list[str] = []
    for stream, keep in ((process.stdout, lines.put), (process.stderr, errors.append)):
        threading.Thread(target=_drain, args=(stream, keep), daemon=True).start()
    try:
        patience = _TO_BEGIN
        for title in titles:
            try:
                process.stdin.write(title + "\n")
                process.stdin.flush()
                begun = json.loads(lines.get(timeout=patience) or "{}")
                assert begun == {"begins": title}
                patience = _PATIENCE
                answer = json.loads(lines.get(timeout=_PATIENCE))
            except queue.Empty:
                yield Outcome(title, "fault", "it hangs, and does not heed a signal")
                return
            except (OSError, ValueError, AssertionError):
                code = process.wait(10)
                name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                said = "".join(errors)[-2000:]
                yield Outcome(title, "fault", f"the interpreter died, {name}: {said}")
                return
            yield Outcome(title, **answer)
    finally:
        process.kill()
        process.wait()
        with suppress(OSError):
            process.stdin.close()


def _drain(stream: Iterable[str], keep: Callable[[str], object]) -> None:
    """Hand on the lines of a pipe, and an empty one at its end."""
    for line in stream:
        keep(line)
    keep("")
