"""What the machine has left: memory and disk, within the limits of this program."""

import ctypes
import functools
import gc
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from napari_exo2micro.core.base.errors import OutputError, ResourceError
from napari_exo2micro.core.base.files import output_error
from napari_exo2micro.core.base.monitor import Monitor

#: Bytes of free memory below which a watched task stops.
LEAST_MEMORY = 300_000_000

_INTERVAL = 0.25  # s between two looks at the free memory
_MOST_POOLS = -8  # M_ARENA_MAX of glibc's mallopt
_UNLIMITED = 1 << 60  # cgroup 1 writes a number of this size when there is no limit
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def free_memory() -> int:
    """Return the bytes of memory that programs may still take.

    The least of what the computer has and what the control groups of this process
    (containers, batch systems) leave; pages of files that can be dropped count as
    free.
    """
    return min(int(psutil.virtual_memory().available), *_cgroup_rooms(), sys.maxsize)


def memory_limit() -> int | None:
    """Return what ``ulimit -d`` sets: bytes of private memory of one process."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else int(soft)


def private_memory() -> int:
    """Return the bytes of memory of this process that it shares with nobody.

    Mapped files do not count: the system drops their pages when it needs them.
    """
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def release_memory() -> None:
    """Give memory that Python and the C library keep for later back to the system."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # other C libraries have no such call
            ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def share_memory_pools() -> None:
    """Have the threads of this process take memory from two pools of the C library.

    By default each has its own, which keeps what its thread needed once.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # other C libraries have no such call
            ctypes.CDLL(None).mallopt(_MOST_POOLS, 2)


def free_disk(folder: Path) -> int:
    """Return the bytes free for files in a folder, which need not exist yet."""
    for path in (folder, *folder.absolute().parents):
        try:
            return int(shutil.disk_usage(path).free)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise output_error(path, error) from error
    raise OutputError(f"no part of {folder} exists; choose another output folder")


def watch_memory(
    monitor: Monitor,
    least: int = LEAST_MEMORY,
    *,
    free: Callable[[], int] = free_memory,
) -> Monitor:
    """Return a monitor that raises `ResourceError` when less than so much is free.

    Between two windows, and so without leaving half a file: better than being killed
    by the system, which does not say why.
    """
    last = -_INTERVAL

    def check() -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last >= _INTERVAL:
            last = now
            left = free()
            if left < least:
                raise ResourceError(
                    f"stopped before the memory ran out: {left / 1e9:.2f} GB are "
                    f"free, {least / 1e9:.2f} GB must stay free; close other programs "
                    "or use fewer workers, then run again: finished stages are kept"
                )
        return False

    return monitor.stopped_by(check)


def watch_time(monitor: Monitor, seconds: float) -> Monitor:
    """Return a monitor that raises `ResourceError` after so many seconds from now."""
    end = time.monotonic() + seconds

    def check() -> bool:
        if time.monotonic() > end:
            raise ResourceError(out_of_time(seconds))
        return False

    return monitor.stopped_by(check)


def out_of_time(seconds: float) -> str:
    """Return what is said of a task that took too long."""
    return (
        f"stopped after {seconds:g} s, the time set for a task; finished stages are "
        "kept, run again with more time"
    )


def _cgroup_rooms() -> Iterator[int]:
    """Yield the bytes left in each control group of this process with a limit."""
    try:
        lines = _OWN_CGROUPS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, names, path = line.split(":", 2)
        if names == "":
            base, files = _CGROUPS, ("memory.max", "memory.current", "")
        elif "memory" in names.split(","):
            base = _CGROUPS / "memory"
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
        else:
            continue
        # Inside a container its own group is the root, whatever its name outside.
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            room = _room(group, *files)
            if room is not None:
                yield room
            if group == base:
                break


def _room(group: Path, limit: str, used: str, prefix: str) -> int | None:
    """Return the bytes left in a control group, None when it has no limit."""
    try:
        most = (group / limit).read_text(encoding="ascii").strip()
        if most == "max" or int(most) >= _UNLIMITED:
            return None
        taken = int((group / used).read_text(encoding="ascii"))
        rows = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        facts = dict(row.split() for row in rows)
        files = ("inactive_file", "active_file")
        dropped = sum(int(facts.get(f"{prefix}{name}", 0)) for name in files)
    except (OSError, ValueError):
        return None
    return max(int(most) - taken + dropped, 0)
