"""Faults that a run must survive: killed at any moment, the disk full at any moment.

    python benchmarks/faults.py                       # 100 kills, 20 full disks
    python benchmarks/faults.py --kills 10 --disks 0

A run of all stages is killed (SIGKILL) after a random time, or finds its disk full at
a random place (a small tmpfs; only where this program may mount one). Afterwards each
checkpoint that counts as valid must have the bytes of an undisturbed run, and the
resumed run must end with exactly its files. With a full disk the run must end with an
error that says so. A table tells how often each of this held.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tables import Table, parser_of, save

from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair

PAD = 100
SHAPE = (700, 800)
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def task_in(folder: Path, out: Path) -> SampleDye:
    """Return the sample and dye that all runs are of."""
    task = SampleDye("Rock", "DAPI", out, folder / "raw", "both")
    task.set_params(pad=PAD)
    return task


def command(folder: Path, out: Path) -> list[str]:
    """Return the command line of a run."""
    return [
        *(sys.executable, "-m", "napari_exo2micro", "run", "Rock", "DAPI"),
        *("--raw-dir", str(folder / "raw"), "--output-dir", str(out)),
        *("--pad", str(PAD)),
    ]


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    """Start a run in a process of its own."""
    return subprocess.Popen(
        command(folder, out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **EPOCH},
    )


def files_of(out: Path) -> dict[Path, bytes]:
    """Return the results in a folder; the run log differs from run to run."""
    folder = out / "Rock"
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in paths}


def check(folder: Path, out: Path, expected: dict[Path, bytes]) -> list[str]:
    """Look at what is valid, go on with the run, and return what did not hold."""
    wrong = []
    task = task_in(folder, out)
    for line in task.status():
        path = line.path.relative_to(out / "Rock")
        if line.state == "valid" and line.path.read_bytes() != expected[path]:
            wrong.append(f"{path} is accepted and not right")
    result = task.run()
    if result["status"] != "complete":
        wrong.append(result["status"])
    found = files_of(out)
    wrong += [f"{path} is left over" for path in found.keys() - expected.keys()]
    wrong += [f"{path} is missing" for path in expected.keys() - found.keys()]
    wrong += [
        f"{path} differs"
        for path in expected.keys() & found.keys()
        if expected[path] != found[path]
    ]
    return wrong


def kill_once(
    folder: Path, seconds: float, expected: dict[Path, bytes]
) -> tuple[str, list[str]]:
    """Kill a run after some time; where it was, and what did not hold."""
    out = folder / "killed"
    shutil.rmtree(out, ignore_errors=True)
    process = start(folder, out)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    done = [path.name[:2] for path in out.rglob("0*.tiff")]
    where = f"after stage {int(max(done))}" if done else "before any result"
    return where, check(folder, out, expected)


def fill_once(
    folder: Path, size: int, expected: dict[Path, bytes]
) -> tuple[str, list[str]]:
    """Run on a disk of some bytes; where it was, and what did not hold."""
    out = folder / "disk"
    out.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(out)]
    subprocess.run(mount, check=True)
    try:
        process = start(folder, out)
        _, said = process.communicate()
        wrong = []
        if process.returncode != 2 or "space" not in said or "Traceback" in said:
            wrong.append(f"it ended with {process.returncode}: {said[-300:]!r}")
        done = [path.name[:2] for path in out.rglob("0*.tiff")]
        where = f"after stage {int(max(done))}" if done else "before any result"
        subprocess.run(["mount", "-o", "remount,size=4g", str(out)], check=True)
        return where, wrong + check(folder, out, expected)
    finally:
        subprocess.run(["umount", str(out)], check=True)


def may_mount(folder: Path) -> bool:
    """Return whether this program may make a small disk."""
    place = folder / "try"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return False
        subprocess.run(["umount", str(place)], check=True)
    except OSError:
        return False
    return True


def report(table: Table, title: str, found: list[tuple[str, list[str]]]) -> int:
    """Add a line of the table and what did not hold; return how often."""
    failed = [wrong for _, wrong in found if wrong]
    places = Counter(where for where, _ in found)
    words = ", ".join(f"{n} {where}" for where, n in sorted(places.items()))
    table.add(title, str(len(found)), str(len(found) - len(failed)), words)
    for wrong in failed:
        print(f"  {wrong}")
    return len(failed)


def main() -> int:
    """Do what was asked for; 1 when something did not hold."""
    parser = parser_of(__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="exo2micro-"))
    os.environ.update(EPOCH)
    n_failed = 0
    try:
        pair = simulate_section(
            SHAPE, seed=5, angle_deg=4.0, scale=1.03, shift=(12.0, -9.0), gain=1.25
        )
        write_pair(pair, folder / "raw", "Rock", "DAPI")
        begin = time.perf_counter()
        start(folder, folder / "straight").communicate()
        whole = time.perf_counter() - begin
        expected = files_of(folder / "straight")
        size = sum(len(content) for content in expected.values())
        print(f"a run takes {whole:.1f} s and {size / 1e6:.0f} MB")
        table = Table("fault", "times", "held", "where it struck")
        if arguments.kills:
            kills = [
                kill_once(folder, chance.uniform(0.0, whole), expected)
                for _ in range(arguments.kills)
            ]
            n_failed += report(table, "SIGKILL", kills)
        if arguments.disks and not may_mount(folder):
            print("full disk: this program may not mount a small disk, left out")
        elif arguments.disks:
            fills = [
                fill_once(folder, round(size * chance.uniform(0.05, 0.95)), expected)
                for _ in range(arguments.disks)
            ]
            n_failed += report(table, "disk full", fills)
        if arguments.save:
            save("faults", table)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
