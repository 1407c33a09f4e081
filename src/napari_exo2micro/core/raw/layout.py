"""The raw folder: which samples, dyes and files it holds, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from napari_exo2micro.core.errors import Exo2MicroError, RawFileNotFoundError
from napari_exo2micro.core.raw.files import (
    EXPECTED,
    classify_raw_files,
    find_pair,
    list_samples,
    sample_folder,
    some,
    tiffs_in,
)
from napari_exo2micro.core.raw.names import normalise, parse_raw_name, shortened

__all__ = [
    "LayoutDiagnosis",
    "LayoutProblem",
    "SkippedTask",
    "TaskDiscovery",
    "diagnose_raw_layout",
    "discover_tasks",
]


class LayoutProblem(StrEnum):
    """How a raw folder differs from ``raw/<sample>/<files>``."""

    MISSING = "raw folder missing"
    NOT_A_FOLDER = "not a folder"
    EMPTY = "empty"
    LOOSE_FILES_ONLY = "loose TIFFs and no sample folders"
    LOOSE_FILES = "loose TIFFs beside sample folders"
    NO_TIFFS = "sample folders without TIFFs"


@dataclass(frozen=True, slots=True)
class LayoutDiagnosis:
    """What a raw folder looks like.

    Attributes
    ----------
    raw_dir : pathlib.Path
        The folder that was looked at.
    problem : LayoutProblem or None
        None when all is well.
    message : str
        What was found and the fix, in one line.
    samples : tuple of str
        Sample folders that hold TIFFs.
    empty_samples : tuple of str
        Sample folders without TIFFs.
    loose_files : tuple of str
        Names of TIFFs that lie in the raw folder itself.
    """

    raw_dir: Path
    problem: LayoutProblem | None
    message: str
    samples: tuple[str, ...] = ()
    empty_samples: tuple[str, ...] = ()
    loose_files: tuple[str, ...] = ()

    @property
    def is_usable(self) -> bool:
        """At least one sample folder holds TIFFs."""
        return self.problem is None or self.problem is LayoutProblem.LOOSE_FILES


@dataclass(frozen=True, slots=True)
class SkippedTask:
    """A pair that cannot run, and why.

    Attributes
    ----------
    sample, dye : str
        What was asked for; `dye` is empty where any was.
    reason : str
        Why it cannot run, with the fix.
    """

    sample: str
    dye: str
    reason: str

    def sentence(self) -> str:
        """Return sample, dye and reason in one line.

        Returns
        -------
        str
            Long names are cut.
        """
        names = f"{shortened(self.sample)} / {shortened(self.dye or 'any dye')}"
        return f"{names}: {self.reason}"


@dataclass(frozen=True, slots=True)
class TaskDiscovery:
    """Which of the pairs asked for exist.

    Attributes
    ----------
    present : tuple of (str, str)
        (sample, dye) with exactly one post and one pre file.
    skipped : tuple of SkippedTask
        The others, each with its reason.
    warnings : tuple of str
        Problems of other files in the same folders.
    """

    present: tuple[tuple[str, str], ...]
    skipped: tuple[SkippedTask, ...]
    warnings: tuple[str, ...]


def diagnose_raw_layout(raw_dir: Path | str = "raw") -> LayoutDiagnosis:
    """Say what a raw folder looks like and how to put it right.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The folder; it need not exist.

    Returns
    -------
    LayoutDiagnosis
        The problem if there is one, and what was found.
    """
    raw_dir = Path(raw_dir)
    if not raw_dir.exists():
        return LayoutDiagnosis(
            raw_dir,
            LayoutProblem.MISSING,
            f"{raw_dir}: the raw folder does not exist; make it with {EXPECTED}",
        )
    if not raw_dir.is_dir():
        return LayoutDiagnosis(
            raw_dir,
            LayoutProblem.NOT_A_FOLDER,
            f"{raw_dir}: is a file, not a folder; name the folder that holds the "
            "sample folders",
        )
    folders = list_samples(raw_dir)
    loose = tuple(path.name for path in tiffs_in(raw_dir))
    samples = tuple(name for name in folders if tiffs_in(raw_dir / name))
    empty = tuple(name for name in folders if name not in samples)
    problem: LayoutProblem | None = None
    if not folders and loose:
        problem = LayoutProblem.LOOSE_FILES_ONLY
        text = (
            f"{len(loose)} TIFF files lie in it and there is no sample folder; move "
            "them into one folder for each sample"
        )
        if _looks_like_a_sample(raw_dir):
            text += f", or name {raw_dir.resolve().parent} as the raw folder"
    elif not folders:
        problem = LayoutProblem.EMPTY
        text = f"holds neither sample folders nor TIFFs; add {EXPECTED}"
    elif not samples:
        problem = LayoutProblem.NO_TIFFS
        text = (
            f"none of its {len(folders)} folders ({some(folders)}) holds a .tif or "
            f".tiff file; add {EXPECTED}"
        )
    elif loose:
        problem = LayoutProblem.LOOSE_FILES
        text = (
            f"{len(loose)} TIFF files beside the sample folders are ignored "
            f"({some(loose)}); move them into the folder of their sample"
        )
    else:
        what = "sample" if len(samples) == 1 else "samples"
        text = f"{len(samples)} {what} ({some(samples)})"
    return LayoutDiagnosis(
        raw_dir, problem, f"{raw_dir}: {text}", samples, empty, loose
    )


def discover_tasks(
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
    raw_dir: Path | str = "raw",
) -> TaskDiscovery:
    """Say which pairs can run, which cannot, and why.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        What is asked for; every combination of them. All samples, and for each
        sample all of its dyes, when left out.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    TaskDiscovery
        Present and skipped pairs, in the order asked for, and warnings.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder does not exist or holds nothing that can be used.
    """
    diagnosis = diagnose_raw_layout(raw_dir)
    if not diagnosis.is_usable:
        raise RawFileNotFoundError(diagnosis.message)
    present: list[tuple[str, str]] = []
    skipped: list[SkippedTask] = []
    warnings = [diagnosis.message] if diagnosis.problem else []
    wanted_samples = diagnosis.samples if samples is None else _once(samples)
    for sample in wanted_samples:
        try:
            found = classify_raw_files(sample_folder(sample, Path(raw_dir)))
        except Exo2MicroError as error:
            skipped += [SkippedTask(sample, dye, str(error)) for dye in dyes or ("",)]
            continue
        wanted = tuple(found.dyes) if dyes is None else _once(dyes)
        for dye in wanted:
            try:
                find_pair(sample, dye, raw_dir)
            except Exo2MicroError as error:
                skipped.append(SkippedTask(sample, dye, str(error)))
            else:
                present.append((sample, dye))
        asked = {normalise(dye) for dye in wanted}
        warnings += [f"{sample}: {parsed.message}" for parsed in found.problems]
        warnings += [
            f"{sample}: {files.problem()}"
            for dye, files in found.dyes.items()
            if dye not in asked and files.problem()
        ]
    return TaskDiscovery(tuple(present), tuple(skipped), tuple(warnings))


def _looks_like_a_sample(folder: Path) -> bool:
    return any(parse_raw_name(path).dye is not None for path in tiffs_in(folder))


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([names] if isinstance(names, str) else names))
