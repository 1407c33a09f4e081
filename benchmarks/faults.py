"""Faults that a run must survive: the whole table, with one command.

    python benchmarks/faults.py                       # everything
    python benchmarks/faults.py killed --times 10     # a row of it, less often
    python benchmarks/faults.py malformed             # each input with its outcome

killed, full disk
    A run of all stages is killed (SIGKILL) after a random time, or finds its disk full
    at a random place (a small tmpfs; only where this program may mount one).
    Afterwards each checkpoint that counts as valid must have the bytes of an
    undisturbed run, and the resumed run must end with exactly its files. With a full
    disk the run must end with an error that says so.
workers
    A worker is killed in its task: that task is tried again, or reported;
    the others end well. (`tests/core/batch/test_dask_cluster`
    kills those of dask.)
two runs
    Two programs are started on one sample and dye at the same moment: both must end
    well or say who was first, and leave the files of an undisturbed run.
raw file
    A raw file is replaced after a run: all must be stale, and made anew.
checkpoint
    A checkpoint is truncated, has one bit flipped outside of its pixels, or is swapped
    with another sample's: it must be stale, named, and made anew.
output files
    Each file of a finished run in turn is emptied, halved, filled with zeros (same
    size), or has eight bytes in its middle flipped: that must be told, and the next
    run must end with exactly the files of an undisturbed run.
power cut
    A run works on an ext4 in a file. At a random moment, up to some seconds after its
    end, that file is copied: it holds what the system has written to the disk, and no
    page that it was about to write. Mounted again, the copy is taken as after "killed".
    (Only where this program may mount a file.)
malformed
    The corpus of `tests/faults`: each input ends in one of our errors or does no
    harm, within 10 s and 1 GB, and nothing is written outside of the output folder.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from tables import RESULTS, Table, parser_of, save

from napari_exo2micro.core.batch import run_batch
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
        taken = line.state == "valid" and not line.reason  # of others pixels are read
        if taken and line.path.read_bytes() != expected[path]:
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


def run_all(folder: Path, raw: str, out: str, samples: list[str]) -> list[str]:
    """Run samples by two workers; return the states of the tasks."""
    results = run_batch(
        samples,
        ["DAPI"],
        parallel=True,
        n_workers=2,
        raw_dir=folder / raw,
        output_dir=folder / out,
        params={"pad": PAD},
        to_stage=1,
    )
    return [result["status"] for result in results]


def worker_once(folder: Path, chance: random.Random) -> tuple[str, list[str]]:
    """Kill one worker, at random; what did not hold."""
    samples = [f"S{number}" for number in range(6)]
    for sample in samples:
        shutil.copytree(
            folder / "raw" / "Rock", folder / "six" / sample, dirs_exist_ok=True
        )
    shutil.rmtree(folder / "workers", ignore_errors=True)
    struck: list[int] = []
    over = threading.Event()

    def strike() -> None:
        me = psutil.Process()
        before = {child.pid for child in me.children(recursive=True)}
        wait = chance.uniform(0.0, 1.0)
        while not over.wait(0.02):
            new = [c for c in me.children(recursive=True) if c.pid not in before]
            if new and not over.wait(wait):
                victim = chance.choice(new)
                with suppress(psutil.NoSuchProcess):
                    victim.kill()
                    struck.append(victim.pid)
                return

    thread = threading.Thread(target=strike)
    thread.start()
    states = run_all(folder, "six", "workers", samples)
    over.set()
    thread.join()
    failed = [state for state in states if state != "complete"]
    wrong = [] if len(failed) <= 1 else [f"{len(failed)} tasks failed: {failed}"]
    wrong += [state for state in failed if "memory" not in state and "end" not in state]
    if run_all(folder, "six", "workers", samples) != ["complete"] * len(samples):
        wrong.append("the next batch does not end it")
    return ("a worker" if struck else "nobody, all was done"), wrong


def two_once(folder: Path, expected: dict[Path, bytes]) -> tuple[str, list[str]]:
    """Start two runs at once; who won, and what did not hold."""
    out = folder / "two"
    shutil.rmtree(out, ignore_errors=True)
    both = [start(folder, out) for _ in range(2)]
    ends = [(process.communicate()[1], process.returncode) for process in both]
    wrong = [
        f"it ended with {code}: {said[-300:]!r}"
        for said, code in ends
        if code and "is being processed by" not in said
    ]
    if all(code for _, code in ends):
        wrong.append("neither run ended well")
    refused = sum(1 for _, code in ends if code)
    where = "one told who was first" if refused else "one waited"
    return where, wrong + check(folder, out, expected)


def copied(folder: Path, name: str) -> Path:
    """Return a folder with a copy of the undisturbed run and of its raw files."""
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder / "straight", place / "out")
    shutil.copytree(folder / "raw", place / "raw")
    return place


def stale(task: SampleDye) -> dict[tuple[int, str], str]:
    """Return the checkpoints that are not valid, and why."""
    return {
        (line.stage, line.name): f"{line.path.name}: {line.reason}"
        for line in task.status()
        if line.kind == "checkpoint" and line.state != "valid"
    }


def replace_once(
    folder: Path, chance: random.Random, expected: dict[Path, bytes]
) -> tuple[str, list[str]]:
    """Replace a raw file after a run, keeping its size and its name."""
    place = copied(folder, "replaced")
    task = task_in(place, place / "out")
    side = chance.choice(("Post", "Pre"))
    path = next(path for path in (place / "raw").rglob("*.tif*") if side in path.name)
    data = bytearray(path.read_bytes())
    for _ in range(2000):
        data[chance.randrange(len(data) // 2, len(data))] ^= 1
    path.write_bytes(data)
    found = stale(task)
    wrong = [] if (1, "post") in found else ["nothing is stale"]
    if task.run()["status"] != "complete" or stale(task):
        wrong.append("it is not made anew")
    kept = [
        str(name)
        for name, content in files_of(place / "out").items()
        if name.suffix in (".tiff", ".fits") and content == expected[name]
    ]
    return f"{side.lower()}-stain file", wrong + [f"{name} is kept" for name in kept]


def harm_once(
    folder: Path, chance: random.Random, expected: dict[Path, bytes]
) -> tuple[str, list[str]]:
    """Truncate a checkpoint, flip a bit outside of its pixels, or swap it."""
    place = copied(folder, "harmed")
    # a result tells where its raw files lie: those of the undisturbed run
    task = task_in(folder, place / "out")
    names = [name for name in expected if name.suffix in (".tiff", ".fits")]
    path = place / "out" / "Rock" / chance.choice(sorted(names))
    data = bytearray(path.read_bytes())
    kind = chance.choice(("truncated", "bit flipped", "swapped"))
    if kind == "truncated":
        del data[chance.randrange(len(data)) :]
    elif kind == "bit flipped":
        header = data.index(b'"checksum"') if path.suffix == ".tiff" else 2800
        data[chance.randrange(header)] ^= 1 << chance.randrange(8)
    else:
        other = SampleDye("Other", "DAPI", place / "out", place / "raw", "both")
        other.set_params(pad=PAD)
        shutil.copytree(place / "raw" / "Rock", place / "raw" / "Other")
        other.run(to_stage=2)
        data = bytearray(other._tiff_path(1, "post").read_bytes())
        path = task._tiff_path(1, "post")
        shutil.rmtree(place / "out" / "Other")
    path.write_bytes(data)
    told = " ".join(stale(task).values())
    wrong = [] if path.name in told else [f"{path.name} is not told: {told!r}"]
    if not wrong and (status := task.run()["status"]) != "complete":
        wrong.append(status)
    found = files_of(place / "out")
    wrong += [f"{name} differs" for name in expected if found[name] != expected[name]]
    return kind, wrong


HARMS: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: data[:0],
    "halved": lambda data: data[: len(data) // 2],
    "zero-filled": lambda data: bytes(len(data)),
    "flipped": lambda data: (
        data[: len(data) // 2]
        + bytes(byte ^ 1 for byte in data[len(data) // 2 : len(data) // 2 + 8])
        + data[len(data) // 2 + 8 :]
    ),
}


def output_once(
    folder: Path, name: Path, harm: str, expected: dict[Path, bytes]
) -> tuple[str, list[str]]:
    """Damage one file of a finished run; what did not hold."""
    place = copied(folder, "damaged")
    path = place / "out" / "Rock" / name
    path.write_bytes(HARMS[harm](path.read_bytes()))
    # a result tells where its raw files lie: those of the undisturbed run
    task = task_in(folder, place / "out")
    told = [line for line in task.status() if line.state != "valid" or line.reason]
    wrong = [] if told else [f"{name} {harm}: not noticed"]
    wrong += [
        f"{name} {harm}: {what}" for what in check(folder, place / "out", expected)
    ]
    if any(line.state != "valid" for line in task_in(folder, place / "out").status()):
        wrong.append(f"{name} {harm}: not made again")
    return harm, wrong


def mounted(image: Path, place: Path) -> None:
    """Mount an ext4 that lies in a file."""
    place.mkdir(exist_ok=True)
    command = ["mount", "-o", "loop", str(image), str(place)]
    subprocess.run(command, check=True, capture_output=True)


def unmounted(place: Path) -> None:
    """Unmount what `mounted` has mounted."""
    subprocess.run(["umount", str(place)], check=True)


def new_disk(image: Path, place: Path, size: int) -> None:
    """Make an empty ext4 in a file, and mount it."""
    with image.open("wb") as file:
        file.truncate(size)
    command = ["mkfs.ext4", "-q", "-F", str(image)]
    subprocess.run(command, check=True, capture_output=True)
    mounted(image, place)


def may_mount_file(folder: Path) -> bool:
    """Return whether this program may mount an ext4 in a file."""
    try:
        new_disk(folder / "try.img", folder / "try-disk", 16_000_000)
    except (OSError, subprocess.CalledProcessError):
        return False
    unmounted(folder / "try-disk")
    return True


def cut_once(
    folder: Path, seconds: float, size: int, expected: dict[Path, bytes]
) -> tuple[str, list[str]]:
    """Cut the power after some time; where it was, and what did not hold."""
    image, after = folder / "disk.img", folder / "after.img"
    disk, again = folder / "power", folder / "again"
    new_disk(image, disk, 6 * size + 200_000_000)
    try:
        process = start(folder, disk / "out")
        time.sleep(seconds)
        ended = process.poll() is not None
        if not ended:
            process.send_signal(signal.SIGSTOP)
        command = ["cp", "--sparse=always", str(image), str(after)]
        subprocess.run(command, check=True)
        process.kill()
        process.communicate()
    finally:
        unmounted(disk)
    mounted(after, again)
    try:
        out = again / "out"
        lost = [path.name for path in out.rglob("*.*") if not path.stat().st_size]
        lost = [name for name in lost if not name.startswith(".")]
        wrong = [f"{name} is empty" for name in lost]
        done = [path.name[:2] for path in out.rglob("0*.tiff")]
        where = f"after stage {int(max(done))}" if done else "before any result"
        return "after the run" if ended else where, wrong + check(folder, out, expected)
    finally:
        unmounted(again)


def malformed(folder: Path, keep: bool) -> int:
    """Print a line for each input of the corpus; return how many are faults."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "faults"))
    from malformed import CASES
    from malformed.runner import run_cases

    lines = Table("malformed input", "outcome", "s", "MB")
    outcomes = []
    for outcome in run_cases([case.title for case in CASES], folder / "malformed"):
        outcomes.append(outcome)
        figures = (f"{outcome.seconds:.2f}", f"{outcome.peak / 1e6:.0f}")
        lines.add(outcome.title, outcome.ending, *figures)
        if outcome.ending == "fault":
            print(f"  {outcome.told}")
    faults = sum(outcome.ending == "fault" for outcome in outcomes)
    counts = Counter(outcome.ending for outcome in outcomes)
    words = ", ".join(f"{n} {ending}" for ending, n in sorted(counts.items()))
    slowest = max(outcome.seconds for outcome in outcomes)
    largest = max(outcome.peak for outcome in outcomes) / 1e6
    told = f"{len(outcomes)} inputs: {words}; {slowest:.1f} s, {largest:.0f} MB at most"
    print(told)
    if keep:
        save("malformed", lines, told)
    return faults


def report(table: Table, title: str, found: list[tuple[str, list[str]]]) -> int:
    """Add a line of the table and what did not hold; return how often."""
    failed = [wrong for _, wrong in found if wrong]
    places = Counter(where for where, _ in found)
    words = ", ".join(f"{n} {where}" for where, n in sorted(places.items()))
    table.add(title, str(len(found)), str(len(found) - len(failed)), words)
    for wrong in failed:
        print(f"  {wrong}")
    return len(failed)


#: Rows of the table and how often each is tried.
ROWS = {
    "killed": 100,
    "full disk": 20,
    "workers": 10,
    "two runs": 5,
    "raw file": 5,
    "checkpoint": 30,
    "output files": 1,
    "power cut": 20,
    "malformed": 1,
}


def main() -> int:
    """Do what was asked for; 1 when something did not hold."""
    parser = parser_of(__doc__)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="all by default")
    parser.add_argument("--times", type=int, help="how often each row is tried")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="exo2micro-"))
    os.environ.update(EPOCH)
    n_failed = 0
    rows = arguments.rows or list(ROWS)
    try:
        if set(rows) != {"malformed"}:
            n_failed = table(folder, rows, arguments.times, chance, arguments.save)
        if "malformed" in rows:
            n_failed += malformed(folder, arguments.save)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return int(n_failed > 0)


def table(
    folder: Path,
    rows: list[str],
    times: int | None,
    chance: random.Random,
    keep: bool,
) -> int:
    """Print the rows that need a run; return how often one did not hold."""
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
    lines = Table("fault", "times", "held", "where it struck")
    tries: dict[str, Callable[[], tuple[str, list[str]]]] = {
        "killed": lambda: kill_once(folder, chance.uniform(0.0, whole), expected),
        "full disk": lambda: fill_once(
            folder, round(size * chance.uniform(0.05, 0.95)), expected
        ),
        "workers": lambda: worker_once(folder, chance),
        "two runs": lambda: two_once(folder, expected),
        "raw file": lambda: replace_once(folder, chance, expected),
        "checkpoint": lambda: harm_once(folder, chance, expected),
        "power cut": lambda: cut_once(
            folder, chance.uniform(0.1, 1.3) * whole, size, expected
        ),
    }
    n_failed = 0
    for row, once in tries.items():
        if row not in rows:
            continue
        if row == "full disk" and not may_mount(folder):
            print("full disk: this program may not mount a small disk, left out")
            continue
        if row == "power cut" and not may_mount_file(folder):
            print("power cut: this program may not mount a file, left out")
            continue
        found = [once() for _ in range(times or ROWS[row])]
        n_failed += report(lines, row, found)
    if "output files" in rows:
        found = [
            output_once(folder, name, harm, expected)
            for name in sorted(expected)
            for harm in HARMS
        ]
        n_failed += report(lines, "output files", found)
    if keep:
        save("faults", lines, *earlier(lines, set(rows)))
    return n_failed


def earlier(table: Table, rows: set[str]) -> list[str]:
    """Add the kept lines of rows that were not tried now; return when they were."""
    path = RESULTS / "faults.md"
    kept = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    again = []
    for line in kept:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] in ROWS.keys() - rows:
            table.add(*cells)
            again.append(cells[0])
    when = [line for line in kept if "Measured on" in line]
    return [f"Of an earlier time ({', '.join(again)}): {when[-1]}"] if again else []


if __name__ == "__main__":
    sys.exit(main())
