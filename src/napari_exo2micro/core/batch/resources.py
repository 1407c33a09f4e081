"""What a batch will need of memory and disk."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, cast

from napari_exo2micro.core.alignment.interior import work_factor
from napari_exo2micro.core.base import Exo2MicroError, machine
from napari_exo2micro.core.batch.task import Task, stages_to_run
from napari_exo2micro.core.images.raster import BAND_ROWS
from napari_exo2micro.core.images.warp import canvas_shape
from napari_exo2micro.core.parameters.stages import DIFFERENCE_STAGE
from napari_exo2micro.core.photometry.methods import SCALE_METHODS, scales_asked_for
from napari_exo2micro.core.raw.formats import open_raw
from napari_exo2micro.core.raw.names import find_pair
from napari_exo2micro.core.raw.pair import LOADERS, reader_of
from napari_exo2micro.core.raw.table import image_choices
from napari_exo2micro.core.raw.tiff import TiffImage
from napari_exo2micro.core.store.checkpoints import CheckpointStore

Level = Literal["enough", "tight", "too little"]

#: Parts of what is free: up to the first one nothing is said, above the second
#: one a run is refused.
_TIGHT, _FULL = 0.8, 1.0

# Measured, see benchmarks/estimate.py.
_BASE_MEMORY = 150_000_000  # the libraries
_FEATURE_BYTES = 250  # a pixel of the image that features are searched in
_BOUNDARY_BYTES = 30  # a pixel of the images that stage 2 compares
_BOUNDARY_SIDE = 1600
_BAND_BYTES = 10  # a pixel of a band, beside the image's own type
_PLOT_DISK = 6_000_000  # pictures and statistics
_PYRAMID = 4 / 3


class TaskNeeds(NamedTuple):
    """What one task will need, in bytes."""

    memory: int  # private memory at most, mapped files not counted
    disk: int  # that its files take beyond what they take now


@dataclass(frozen=True, slots=True)
class Preflight:
    """Whether memory and disk are enough for some tasks.

    Attributes
    ----------
    level : {'enough', 'tight', 'too little'}
        Below 80 % of what is free; up to all of it; more than that.
    message : str
        What is needed, what is free and what to change, in one line; empty when
        there is enough.
    memory_needed, memory_free : int
        Bytes, of as many tasks as run at once.
    disk_needed, disk_free : int
        Bytes, of all tasks together.
    n_workers : int
        How many tasks run at once.
    not_estimated : tuple of str
        Tasks whose headers could not be read, and why.
    """

    level: Level
    message: str
    memory_needed: int
    memory_free: int
    disk_needed: int
    disk_free: int
    n_workers: int
    not_estimated: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return the numbers in one line."""
        at_once = f"{self.n_workers} at once" if self.n_workers > 1 else "one at a time"
        return (
            f"memory {_gb(self.memory_needed)} ({at_once}), {_gb(self.memory_free)} "
            f"free; disk {_gb(self.disk_needed)}, {_gb(self.disk_free)} free"
        )


def check_resources(
    tasks: Sequence[Task],
    n_workers: int,
    *,
    here: bool = True,
    memory_free: int | None = None,
    disk_free: int | None = None,
) -> Preflight:
    """Compare what some tasks will need with what is free.

    Nothing but the headers of the raw files is read.

    Parameters
    ----------
    tasks : sequence of Task
        They share an output folder.
    n_workers : int
        How many of them run at once.
    here : bool
        Whether they run on this computer: else its memory does not matter.
    memory_free, disk_free : int, optional
        Bytes; measured by default.

    Returns
    -------
    Preflight
        Whether it is enough.
    """
    needs: list[TaskNeeds] = []
    unknown: list[str] = []
    for task in tasks:
        try:
            needs.append(estimate_task(task))
        except Exo2MicroError as error:
            unknown.append(f"{task.sample} / {task.dye}: {error}")
    n_workers = max(1, min(n_workers, len(tasks)))
    largest = sorted((need.memory for need in needs), reverse=True)
    memory = sum(largest[:n_workers]) if here else 0
    disk = sum(need.disk for need in needs)
    if memory_free is None:
        memory_free = max(machine.free_memory() - machine.LEAST_MEMORY, 0)
        limit = machine.memory_limit()
        if limit is not None:  # for each process of its own
            memory_free = min(memory_free, limit * n_workers)
    if disk_free is None:
        disk_free = machine.free_disk(tasks[0].settings.output_dir) if tasks else 0
    texts = [
        f"{_gb(needed)} of {what} needed, {_gb(free)} free; {advice}"
        for what, needed, free, advice in (
            ("memory", memory, memory_free, _memory_advice(largest, memory_free)),
            ("disk", disk, disk_free, _disk_advice(tasks)),
        )
        if needed > _TIGHT * free
    ]
    share = max(memory / max(memory_free, 1), disk / max(disk_free, 1))
    level: Level = "enough"
    if share > _TIGHT:
        level = "too little" if share > _FULL else "tight"
    return Preflight(
        level,
        ". ".join(texts),
        *(memory, memory_free),
        *(disk, disk_free),
        n_workers,
        tuple(unknown),
    )


def estimate_task(task: Task) -> TaskNeeds:
    """Return what a task will need, from the headers of its two files.

    Stages whose results are valid are not made again, and need nothing.

    Raises
    ------
    Exo2MicroError
        When a header cannot be read, or the loader is not a built-in one: what
        another one returns cannot be known.
    """
    loader = task.settings.loader
    known = LOADERS.get(loader) if isinstance(loader, str) else loader
    reader = "" if loader is None else reader_of(known)
    if reader is None:
        name = getattr(loader, "name", loader)
        raise Exo2MicroError(f"the loader '{name}' does not tell what it reads")
    post, pre, _ = find_pair(task.sample, task.dye, task.settings.raw_dir)
    choices = image_choices(
        task.sample, task.dye, task.settings.raw_dir, task.settings.all_params, reader
    )
    images = open_raw(post, choices[0]), open_raw(pre, choices[1])
    work = _Work(task, stages_to_run(task), *images)
    return TaskNeeds(work.memory(), work.disk())


class _Work:
    """The stages that a task will run, on images of the sizes that the headers say."""

    def __init__(
        self, task: Task, to_run: Sequence[int], post: TiffImage, pre: TiffImage
    ) -> None:
        self._task = task
        self._params = task.settings.all_params
        self._to_run = to_run
        self._shapes = (post.shape, pre.shape)
        self._itemsize = post.sample_dtype.itemsize
        self._pad = int(cast("int", self._params["pad"]))
        self._canvas = canvas_shape(post.shape, pre.shape, self._pad)

    def memory(self) -> int:
        """Return the peak of private memory: that of the most demanding stage."""
        if not self._to_run:
            return _BASE_MEMORY
        rows, columns = self._canvas
        peaks = [min(BAND_ROWS, rows) * columns * (self._itemsize + _BAND_BYTES)]
        side = max(max(shape) for shape in self._shapes)
        pixels = max(math.prod(shape) for shape in self._shapes)
        if 2 in self._to_run:
            factor = max(1.0, side / _BOUNDARY_SIDE)
            peaks.append(round(pixels / factor**2 * _BOUNDARY_BYTES))
        if 3 in self._to_run and self._params["interior_ecc"]:
            peaks.append(round(pixels / work_factor(side) ** 2 * _FEATURE_BYTES))
        return _BASE_MEMORY + max(peaks)

    def disk(self) -> int:
        """Return the bytes that new files take; bands without data take none."""
        store = CheckpointStore(self._task.sample, self._task.dye, self._task.settings)
        post, pre = (self._stored_rows(shape[0]) for shape in self._shapes)
        turned = min(max(post, pre) + BAND_ROWS, self._canvas[0])
        images: list[tuple[int, str, int, int]] = [
            (1, "post", post, self._itemsize),
            (1, "pre", pre, self._itemsize),
            (2, "pre", turned, self._itemsize),
            (3, "pre", turned, self._itemsize),
            (4, "difference", post, 4),
        ]
        if self._params["save_all_intermediates"]:
            images.append((2, "coarse_pre", turned, self._itemsize))
        # A result tells whether its pair proved the background model.
        is_known = store.find(4, "difference") is not None
        proven = store.proven_scales() if is_known else tuple(SCALE_METHODS)
        images += [
            (4, method.image_name(self._params), post, 4)
            for method in scales_asked_for(self._params, proven).values()
            if method.parameter
        ]
        total, largest = 0, 0
        for stage, name, height, size in images:
            if stage not in self._to_run:
                continue
            plain = height * self._canvas[1] * size
            for path in store.paths(stage, name):
                wanted = round(plain * (_PYRAMID if path.suffix == ".tiff" else 1.0))
                there = _size_on_disk(path)
                total += max(wanted - there, 0)
                if there:  # the old file goes when the new one is whole
                    largest = max(largest, wanted)
        return total + largest + (_PLOT_DISK if DIFFERENCE_STAGE in self._to_run else 0)

    def _stored_rows(self, height: int) -> int:
        """Return the rows of the bands that hold data of an image."""
        first = self._pad // BAND_ROWS * BAND_ROWS
        last = -(-(self._pad + height) // BAND_ROWS) * BAND_ROWS
        return min(last, self._canvas[0]) - first


def _size_on_disk(path: Path) -> int:
    try:
        status = path.stat()
    except OSError:
        return 0
    blocks = getattr(status, "st_blocks", None)
    return int(status.st_size if blocks is None else blocks * 512)


def _memory_advice(largest: Sequence[int], free: int) -> str:
    """Return what to change when memory is short."""
    sums = itertools.accumulate(largest)
    fitting = sum(needed <= _TIGHT * free for needed in sums)
    if fitting >= len(largest):
        return "close other programs"
    if fitting > 0:
        workers = "1 worker" if fitting == 1 else f"{fitting} workers"
        return f"use {workers}, or close other programs"
    return "close other programs, or use a computer with more memory"


def _disk_advice(tasks: Iterable[Task]) -> str:
    """Return what to change when the disk is short."""
    words = "free some space or choose another output folder"
    if any(task.settings.checkpoint_format == "both" for task in tasks):
        words += ", or store checkpoints in one format only"
    return words


def _gb(size: int) -> str:
    if size < 1e9:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.{0 if size >= 1e11 else 1 if size >= 1e10 else 2}f} GB"
