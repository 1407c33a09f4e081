"""One run for each sample and dye at a time: a lock in the output folder.

The lock is the operating system's (`filelock`), so that it ends with the process
that holds it, however that ends. A small file beside it tells who holds it. Both
are removed in the end. On a file system that other computers share, it holds for
all of them where the file system passes locks on (NFS 4, GPFS, Lustre with ``flock``).
"""

import hashlib
import json
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from napari_exo2micro.core.base import errors, files
from napari_exo2micro.core.base.monitor import Monitor

logger = logging.getLogger(__name__)

_POLL = 0.2  # s between two tries


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who works on a sample and dye: which process of which computer, since when."""

    sample: str
    dye: str
    host: str
    pid: int
    since: str  # date and time of that computer, to the second

    def __str__(self) -> str:
        """Return ``process 1234 on host since 2026-11-22 12:01:07``."""
        if self.host == platform.node() and self.pid == os.getpid():
            return f"this program (process {self.pid}) since {self.since}"
        return f"process {self.pid} on {self.host} since {self.since}"


def lock_holder(output_dir: str | Path, sample: str, dye: str) -> LockHolder | None:
    """Return who works on a sample and dye now, None when nobody does.

    Parameters
    ----------
    output_dir : str or Path
        The folder that results are written to.
    sample, dye : str
        Names as in the raw folder.

    Returns
    -------
    LockHolder or None
        The process and its computer, and since when.
    """
    lock_path, holder_path = _paths(Path(output_dir), sample, dye)
    if not lock_path.is_file():
        return None
    lock = FileLock(lock_path, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _read_holder(holder_path) or LockHolder(sample, dye, "?", 0, "?")
    except OSError:
        return None
    lock.release()
    return None


@contextmanager
def sample_lock(
    output_dir: str | Path,
    sample: str,
    dye: str,
    *,
    wait: float = 0.0,
    monitor: Monitor | None = None,
) -> Iterator[str]:
    """Hold the lock of a sample and dye as long as the block lasts.

    What a killed process left behind does not hold anybody up. Not every file system
    has locks: the block runs without, and is told so.

    Parameters
    ----------
    output_dir : str or Path
        The folder that results are written to; it is made if need be, and removed
        again when it stayed empty.
    sample, dye : str
        As in the raw folder.
    wait : float
        Seconds to wait for another run to end; the monitor is told whom for.

    Yields
    ------
    str
        Why nobody guards the run, in words; empty when the lock is held.

    Raises
    ------
    LockedError
        When another run works on it; the message says which one.
    OutputError
        When the folder cannot be made.
    """
    folder = Path(output_dir)
    made = _make(folder)
    lock_path, holder_path = _paths(folder, sample, dye)
    lock = FileLock(lock_path, thread_local=False)
    try:
        reason = _acquire(lock, holder_path, (sample, dye), wait, monitor or Monitor())
        if reason:
            warning = (
                f"nobody guards {sample} / {dye}: {folder} takes no locks ({reason}); "
                "see that no other run works on it, or choose another output folder"
            )
            logger.warning("%s", warning)
            yield warning
            return
        try:
            _write_holder(holder_path, sample, dye)
            yield ""
        finally:
            _let_go(lock, lock_path, holder_path)
    finally:
        for path in made:
            with suppress(OSError):
                path.rmdir()


def _acquire(
    lock: FileLock,
    holder_path: Path,
    what: tuple[str, str],
    wait: float,
    monitor: Monitor,
) -> str:
    """Get the lock; return why there is none in this folder."""
    end = time.monotonic() + wait
    is_told = False
    while True:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            holder = _read_holder(holder_path) or "another process"
        except FileNotFoundError:
            # Another run has just removed the folder that it had made.
            _make(holder_path.parent)
            holder = "another process"
        except (OSError, NotImplementedError) as error:
            return str(getattr(error, "strerror", None) or error) or "ENOTSUP"
        else:
            return ""
        if time.monotonic() >= end:
            raise errors.LockedError(
                f"{what[0]} / {what[1]} is being processed by {holder}; wait for it "
                "or stop it"
            )
        if not is_told:
            is_told = True
            logger.info("waiting for %s", holder)
        monitor.report(0.0, f"waiting for {holder}")
        time.sleep(_POLL)


def _let_go(lock: FileLock, lock_path: Path, holder_path: Path) -> None:
    """Release a lock and leave nothing behind."""
    with suppress(OSError):
        holder_path.unlink(missing_ok=True)
    if os.name == "nt":  # removes no file that is open, neither here nor elsewhere
        lock.release()
    # While it is held: who waits for it notices and takes a new file.
    with suppress(OSError):
        lock_path.unlink(missing_ok=True)
    if os.name != "nt":
        lock.release()


def _paths(folder: Path, sample: str, dye: str) -> tuple[Path, Path]:
    """Return the lock and what tells its holder; names may be too long for one."""
    name = hashlib.sha256(f"{sample}/{dye}".encode()).hexdigest()[:16]
    stem = f".exo2micro_busy_{name}"
    return folder / f"{stem}.lock", folder / f"{stem}.json"


def _make(folder: Path) -> list[Path]:
    """Make a folder; return those that were made, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise errors.OutputError(
            f"cannot make the output folder {folder}: {error.strerror or error}; "
            "choose another one"
        ) from error
    return missing


def _write_holder(path: Path, sample: str, dye: str) -> None:
    now = datetime.now().isoformat(sep=" ", timespec="seconds")
    holder = LockHolder(sample, dye, platform.node(), os.getpid(), now)
    with suppress(OSError):  # a full disk: then nobody is told who it is
        path.unlink(missing_ok=True)  # a pipe that lies there would be waited for
        path.write_text(json.dumps(asdict(holder)), encoding="utf-8")


def _read_holder(path: Path) -> LockHolder | None:
    try:
        return LockHolder(**files.read_json(path))
    except (OSError, ValueError, TypeError):
        return None
