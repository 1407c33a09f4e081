"""What a raw folder holds: its layout, its pairs and a survey of its channels."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from napari_exo2micro.core.base import Monitor, errors
from napari_exo2micro.core.base.files import Listing
from napari_exo2micro.core.base.text import composed
from napari_exo2micro.core.images.containers import is_zarr_name
from napari_exo2micro.core.parameters import default_params
from napari_exo2micro.core.raw import names, read, tiff
from napari_exo2micro.core.raw.formats import open_raw
from napari_exo2micro.core.raw.pages import ImageChoice, SeveralImagesError
from napari_exo2micro.core.raw.table import (
    TableRow,
    read_pair_table,
    table_folder,
    with_told,
)

#: Folders that are looked into when somebody opens one.
_MOST_FOLDERS = 10_000

#: A name with one of these is that of a raw file, even without its partner.
_SURE = ("prestain", "poststain", "pre-stain", "post-stain", "pre_stain", "post_stain")


class LayoutProblem(StrEnum):
    """How a raw folder differs from ``raw/<sample>/<files>``."""

    MISSING = "raw folder missing"
    NOT_A_FOLDER = "not a folder"
    EMPTY = "empty"
    LOOSE_FILES_ONLY = "loose TIFFs and no sample folders"
    LOOSE_FILES = "loose TIFFs beside sample folders"
    NO_TIFFS = "sample folders without TIFFs"
    TABLE = "a table of pairs that cannot be read"


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
    files : mapping of str to RawFiles
        Sample, in composed Unicode form -> the files of its folder.
    """

    raw_dir: Path
    problem: LayoutProblem | None
    message: str
    samples: tuple[str, ...] = ()
    empty_samples: tuple[str, ...] = ()
    loose_files: tuple[str, ...] = ()
    files: Mapping[str, names.RawFiles] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def is_usable(self) -> bool:
        """At least one sample folder holds TIFFs."""
        return self.problem is None or self.problem is LayoutProblem.LOOSE_FILES

    def __getitem__(self, key: str) -> Any:
        """Return what the reference system's report has under a key."""
        no_folder = (LayoutProblem.MISSING, LayoutProblem.NOT_A_FOLDER)
        return {
            "ok": self.is_usable,
            "message": self.message,
            "raw_dir": str(self.raw_dir),
            "exists": self.problem not in no_folder,
            "subdirs": sorted(self.samples + self.empty_samples),
            "empty_subdirs": list(self.empty_samples),
            "loose_tiffs": list(self.loose_files),
        }[key]


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
    dye: str  # empty where any was asked for
    reason: str  # with the fix

    def __iter__(self) -> Iterator[str]:
        """Yield sample, dye and reason, to be unpacked."""
        return iter((self.sample, self.dye, self.reason))

    def sentence(self) -> str:
        """Return sample, dye and reason in one line.

        Returns
        -------
        str
            Long names are cut.
        """
        sample, dye = map(names.shortened, (self.sample, self.dye or "any dye"))
        return f"{sample} / {dye}: {self.reason}"


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

    def __getitem__(self, key: str) -> Any:
        """Return what the reference system's answer has under a key.

        Its warnings are pairs of a sample (or the raw folder) and a text.
        """
        return {
            "present": list(self.present),
            "skipped": [tuple(task) for task in self.skipped],
            "warnings": [tuple(text.split(": ", 1)) for text in self.warnings],
            "layout_ok": True,  # a layout that is not usable is an error here
        }[key]


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
    # these functions answer for a path that is longer than a path may be, too
    if not os.path.exists(raw_dir):  # noqa: PTH110
        message = (
            f"{raw_dir}: the raw folder does not exist; make it with {names.EXPECTED}"
        )
        return LayoutDiagnosis(raw_dir, LayoutProblem.MISSING, message)
    if not os.path.isdir(raw_dir):  # noqa: PTH112
        message = (
            f"{raw_dir}: is a file, not a folder; name the folder that holds the "
            "sample folders"
        )
        return LayoutDiagnosis(raw_dir, LayoutProblem.NOT_A_FOLDER, message)
    listing = names.listed(raw_dir)
    try:
        table, folders = read_pair_table(raw_dir), names.samples_in(listing)
    except errors.RawDataError as error:
        return LayoutDiagnosis(raw_dir, LayoutProblem.TABLE, str(error))
    loose = tuple(
        path.name for path in names.images_in(listing) if not table.names(path)
    )
    contents = {name: names.classify_raw_files(raw_dir / name) for name in folders}
    samples = tuple(name for name, raw in contents.items() if raw.has_tiffs)
    empty = tuple(
        name
        for name, raw in contents.items()
        if not raw.has_tiffs and not table.names_in(raw_dir / name)
    )
    files: dict[str, names.RawFiles] = {}
    for name, raw in contents.items():
        files.setdefault(composed(name), raw)
    problem: LayoutProblem | None = None
    if not folders and loose:
        problem = LayoutProblem.LOOSE_FILES_ONLY
        text = (
            f"{len(loose)} TIFF files lie in it and there is no sample folder; move "
            "them into one folder for each sample"
        )
        if any(names.parse_raw_name(raw_dir / name).dye for name in loose):
            text += f", or name {raw_dir.resolve().parent} as the raw folder"
    elif not folders:
        problem = LayoutProblem.EMPTY
        text = f"holds neither sample folders nor TIFFs; add {names.EXPECTED}"
    elif not samples:
        problem = LayoutProblem.NO_TIFFS
        text = (
            f"none of its {len(folders)} folders ({names.some(folders)}) holds a .tif "
            f"or .tiff file; add {names.EXPECTED}"
        )
    elif loose:
        problem = LayoutProblem.LOOSE_FILES
        text = (
            f"{len(loose)} TIFF files beside the sample folders are ignored "
            f"({names.some(loose)}); move them into the folder of their sample"
        )
    else:
        what = "sample" if len(samples) == 1 else "samples"
        text = f"{len(samples)} {what} ({names.some(samples)})"
    return LayoutDiagnosis(
        raw_dir, problem, f"{raw_dir}: {text}", samples, empty, loose, files
    )


def discover_tasks(
    samples: Sequence[str] | None = None,
    dyes: Sequence[str] | None = None,
    raw_dir: Path | str | LayoutDiagnosis = "raw",
) -> TaskDiscovery:
    """Say which pairs can run, which cannot, and why.

    Parameters
    ----------
    samples, dyes : sequence of str, optional
        What is asked for; every combination of them. All samples, and for each
        sample all of its dyes, when left out.
    raw_dir : pathlib.Path, str or LayoutDiagnosis
        The raw folder, or what `diagnose_raw_layout` found in it: then nothing is
        listed again.

    Returns
    -------
    TaskDiscovery
        Present and skipped pairs, in the order asked for, and warnings.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder does not exist or holds nothing that can be used.
    """
    diagnosis = raw_dir
    if not isinstance(diagnosis, LayoutDiagnosis):
        diagnosis = diagnose_raw_layout(diagnosis)
    if not diagnosis.is_usable:
        raise errors.RawFileNotFoundError(diagnosis.message)
    present: list[tuple[str, str]] = []
    skipped: list[SkippedTask] = []
    warnings = [diagnosis.message] if diagnosis.problem else []
    wanted_samples = diagnosis.samples if samples is None else _once(samples)
    for sample in wanted_samples:
        try:
            files = _files_of(sample, diagnosis)
        except errors.Exo2MicroError as error:
            skipped += [SkippedTask(sample, dye, str(error)) for dye in dyes or ("",)]
            continue
        wanted = tuple(files.dyes) if dyes is None else _once(dyes)
        for dye in wanted:
            try:
                names.pair_in(files, dye)
            except errors.Exo2MicroError as error:
                skipped.append(SkippedTask(sample, dye, str(error)))
            else:
                present.append((sample, dye))
        asked = {composed(dye).rpartition("_")[2] for dye in wanted}
        warnings += [f"{sample}: {parsed.message}" for parsed in files.problems]
        warnings += [f"{sample}: {text}" for text in files.notes]
        warnings += [
            f"{sample}: {own.problem()}"
            for dye, own in files.dyes.items()
            if dye not in asked and own.problem()
        ]
    return TaskDiscovery(tuple(present), tuple(skipped), tuple(warnings))


def _files_of(sample: str, diagnosis: LayoutDiagnosis) -> names.RawFiles:
    names.check_name("sample", sample)
    files = diagnosis.files.get(composed(sample))
    if files is None:
        folders = sorted((*diagnosis.samples, *diagnosis.empty_samples))
        raise names.no_such_sample(sample, diagnosis.raw_dir, folders)
    return files


def _once(wanted: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([wanted] if isinstance(wanted, str) else wanted))


@dataclass(frozen=True, slots=True)
class PairFiles:
    """The two files of one sample and dye.

    Attributes
    ----------
    sample, dye : str
        From the folder's and the files' names, or from the table of pairs.
    post, pre : pathlib.Path
        The files.
    row : TableRow or None
        What the table of pairs says of it.
    """

    sample: str
    dye: str
    post: Path
    pre: Path
    row: TableRow | None = None

    @property
    def raw_dir(self) -> Path:
        """The raw folder: that of the table, or the one that holds the sample's."""
        return raw_folder_of(self.post)

    @property
    def choices(self) -> tuple[ImageChoice, ImageChoice]:
        """Which image of each file, as far as the table or the dye's name tells it."""
        told = self.row.params if self.row else {}
        return ImageChoice.of(self.dye, with_told(default_params(), told))

    @property
    def pixel_size(self) -> float | None:
        """Side of a pixel of post, um, as the table tells it."""
        size = self.row.params.get("pixel_size") if self.row else None
        return float(size) if size else None


def pair_files(sample: str, dye: str, raw_dir: Path | str) -> PairFiles:
    """Return the two files of a sample and dye, as `find_pair` finds them.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    PairFiles
        With what the table of pairs says of it.

    Raises
    ------
    RawFileNotFoundError
        If the sample folder, the dye or one of its sides does not exist.
    RawDataError
        If a side has more than one file, or the table of pairs cannot be used.
    ParameterError
        If a name is not safe as a folder name.
    """
    post, pre, _ = names.find_pair(sample, dye, raw_dir)
    rows = read_pair_table(raw_dir).of(sample)
    row = next((row for row in rows if row.dye == composed(dye)), None)
    return PairFiles(sample, dye, post, pre, row)


def raw_folder_of(file: Path) -> Path:
    """Return the raw folder that a raw file lies in, as the table or its place tells.

    Parameters
    ----------
    file : pathlib.Path
        The file.

    Returns
    -------
    pathlib.Path
        The folder that holds the sample folders.
    """
    return table_folder(file) or file.parent.parent


@dataclass(frozen=True, slots=True)
class FoundPairs:
    """What a file or a folder stands for.

    Attributes
    ----------
    pairs : tuple of PairFiles
        The complete pairs, by sample and dye.
    problems : tuple of str
        What is wrong with others, and the fix, one line each.
    """

    pairs: tuple[PairFiles, ...] = ()
    problems: tuple[str, ...] = ()


def may_be_raw(path: Path | str, monitor: Monitor | None = None) -> bool:
    """Tell from names alone whether a file or a folder is for us.

    A file is when its name and that of another one beside it make a pair, or when
    it says ``PreStain`` or ``PostStain``; a folder when it, or one of the folders in
    it, holds such files.

    Parameters
    ----------
    path : pathlib.Path or str
        What a person chose; it may not exist.
    monitor : Monitor, optional
        Asked between the folders whether to stop.

    Returns
    -------
    bool
        Whether it is worth a closer look.
    """
    path, monitor = _absolute(path), monitor or Monitor()
    if _is_folder(path):
        try:
            if read_pair_table(path).rows:
                return True
            listing = names.listed(path)
        except errors.RawDataError:
            return False
        if _looks_raw(names.sorted_files(listing).dyes):
            return True
        for folder in _folders(listing):
            monitor.check()
            if _looks_raw(_dyes_in(folder)):
                return True
        return False
    if not names.is_raw_name(path.name):
        return False
    if table_folder(path):
        return True
    if names.parse_raw_name(path).dye is None:
        return False
    return _is_sure(path) or _own_dye(path).has_both_sides


def find_pairs(path: Path | str, monitor: Monitor | None = None) -> FoundPairs:
    """Find the pairs that a file or a folder stands for.

    Parameters
    ----------
    path : pathlib.Path or str
        One file of a pair, the folder of a sample, or the raw folder.
    monitor : Monitor, optional
        Told the progress, and asked between the folders whether to stop.

    Returns
    -------
    FoundPairs
        For a file the pair that it belongs to.

    Raises
    ------
    RawFileNotFoundError
        If a folder cannot be listed.
    RawDataError
        If its table of pairs cannot be read.
    """
    path, monitor = _absolute(path), monitor or Monitor()
    if not _is_folder(path):
        if folder := table_folder(path):
            return _told_of(path, folder)
        sample, files = path.parent.name, _own_dye(path)
        problem = files.problem()
        problems = [f"{sample}: {problem}"] if problem else []
        return FoundPairs(tuple(_pairs(sample, [files])), tuple(problems))
    listing = names.listed(path)
    is_raw = bool(read_pair_table(path).rows)
    if not is_raw and (raw := names.sorted_files(listing)).dyes:
        return FoundPairs(tuple(_pairs(path.name, raw.dyes.values())), raw.warnings)
    samples = names.samples_in(listing)
    folders = [path / name for name in samples[:_MOST_FOLDERS]]
    pairs: list[PairFiles] = []
    problems = []
    for index, folder in enumerate(folders):
        monitor.report(index / len(folders), folder.name)
        raw = names.classify_raw_files(folder)
        pairs += _pairs(folder.name, raw.dyes.values())
        problems += raw.warnings
    left = len(samples) - len(folders)
    if left:
        problems.append(
            f"{path}: {left} of its {len(samples)} folders are not looked "
            "into; open the folder of a sample instead"
        )
    return FoundPairs(tuple(pairs), tuple(problems))


def _told_of(path: Path, folder: Path) -> FoundPairs:
    """Return the pairs that the table of a raw folder makes of a file."""
    pairs: list[PairFiles] = []
    problems = []
    table = read_pair_table(folder)
    for sample in dict.fromkeys(row.sample for row in table.rows if path in row.files):
        for files in names.classify_raw_files(folder / sample).dyes.values():
            if files.row is not None and path in files.row.files:
                pairs += _pairs(sample, [files])
                problems += [f"{sample}: {text}" for text in (files.problem(),) if text]
    return FoundPairs(tuple(pairs), tuple(problems))


def _is_folder(path: Path) -> bool:
    """Tell whether a path is a folder, and not an image that is a folder."""
    return os.path.isdir(path) and not is_zarr_name(path.name)  # noqa: PTH112


def _absolute(path: Path | str) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are named


def _folders(listing: Listing) -> list[Path]:
    return [listing.folder / name for name in listing.folders[:_MOST_FOLDERS]]


def _dyes_in(folder: Path) -> Mapping[str, names.DyeFiles]:
    """Return the files by dye; none where the folder cannot be listed."""
    try:
        return names.classify_raw_files(folder).dyes
    except errors.RawDataError:
        return {}


def _own_dye(path: Path) -> names.DyeFiles:
    """Return the files of the dye that a file belongs to."""
    dye = names.parse_raw_name(path).dye or ""
    own = names.DyeFiles(dye)
    for files in _dyes_in(path.parent).values():
        if path.name in {other.name for other in (*files.post, *files.pre)}:
            return files
        own = files if files.dye == dye else own
    return own


def _looks_raw(dyes: Mapping[str, names.DyeFiles]) -> bool:
    return any(
        files.has_both_sides or any(map(_is_sure, (*files.post, *files.pre)))
        for files in dyes.values()
    )


def _is_sure(path: Path) -> bool:
    return any(word in path.name.lower() for word in _SURE)


def _pairs(sample: str, dyes: Iterable[names.DyeFiles]) -> list[PairFiles]:
    return [
        PairFiles(sample, files.dye, files.post[0], files.pre[0], files.row)
        for files in dyes
        if files.is_complete
    ]


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """One channel of the centre crop."""

    name: str  # 'grey', 'red', 'green', 'blue' or 'channel n'
    maximum: float
    mean: float
    nonzero: int  # pixels that are not 0


@dataclass(frozen=True, slots=True)
class ChannelSurvey:
    """What one raw file holds.

    Attributes
    ----------
    sample : str
        The sample folder.
    path : pathlib.Path
        The file.
    stain : {'pre', 'post'} or None
        From the name; None when the name does not tell.
    dye : str or None
        From the name; None when the name does not tell.
    height, width : int
        Of the whole image, px; 0 when `problem` is set.
    mode : str
        dtype and kind, such as ``'uint8 RGB'``; empty when `problem` is set.
    crop : tuple of int
        Rows and columns that were looked at.
    channels : tuple of ChannelStatistics
        Alpha is left out.
    warnings : tuple of str
        What a careful reader would not expect.
    problem : str
        Why the file or its name cannot be used; empty when all is well.
    """

    sample: str
    path: Path
    stain: names.Stain | None  # None when the name does not say, as for the dye
    dye: str | None
    height: int = 0  # of the whole image, px; 0 when there is a problem
    width: int = 0
    mode: str = ""  # dtype and kind, such as 'uint8 RGB'
    crop: tuple[int, int] = (0, 0)  # rows and columns that were looked at
    channels: tuple[ChannelStatistics, ...] = ()  # without alpha
    warnings: tuple[str, ...] = ()
    problem: str = ""  # why the file or its name cannot be used

    def __getitem__(self, key: str) -> Any:
        """Return what the reference system's entry has under a key: ``'size'``."""
        return {
            "path": str(self.path),
            "size": (self.width, self.height),
            "mode": self.mode,
            "channels": {
                _REFERENCE_CHANNELS.get(one.name, one.name.replace("channel ", "ch")): {
                    "max": one.maximum,
                    "mean": one.mean,
                    "nonzero": one.nonzero,
                }
                for one in self.channels
            },
        }[key]


_REFERENCE_CHANNELS = {"grey": "gray", "red": "R", "green": "G", "blue": "B"}


def survey_raw_channels(
    raw_dir: Path | str = "raw",
    samples: Sequence[str] | None = None,
    *,
    crop: int = 1000,
    crop_size: int | None = None,
    monitor: Monitor | None = None,
) -> tuple[ChannelSurvey, ...]:
    """Look at the centre of every raw file.

    Only the strips or tiles that hold the crop are read. A file that cannot be
    read is reported with its problem and does not stop the others.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    samples : sequence of str, optional
        Some sample folders; all of them by default.
    crop, crop_size : int
        Side of the crop, px; smaller images are looked at whole. Either name does.
    monitor : Monitor, optional
        Told the progress.

    Returns
    -------
    tuple of ChannelSurvey
        By sample, then by file name.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder or a sample folder does not exist.
    ParameterError
        If `crop` is not positive or a sample name is not safe.
    """
    crop = crop if crop_size is None else crop_size
    if crop < 1:
        raise errors.ParameterError(f"crop must be at least 1 px, found {crop}")
    raw = names.listed(Path(raw_dir))
    if samples is None:  # whatever their names are: it only looks
        folders = {sample: raw.folder / sample for sample in names.samples_in(raw)}
    else:
        folders = {sample: names.sample_folder(sample, raw) for sample in samples}
    files = [
        (sample, *one)
        for sample, folder in folders.items()
        for one in _named(names.classify_raw_files(folder))
    ]
    monitor = monitor or Monitor()
    surveys = []
    for index, (sample, parsed, choice) in enumerate(files):
        monitor.report(index / len(files), f"looking at {parsed.path.name}")
        surveys.append(_survey(sample, parsed, choice, crop))
    return tuple(surveys)


def _named(raw: names.RawFiles) -> list[tuple[names.ParsedName, ImageChoice]]:
    """Return all files of a sample by name, each with which image of it is meant."""
    parsed = list(raw.problems)
    found: list[tuple[names.ParsedName, ImageChoice]] = []
    for files in raw.dyes.values():
        if files.row is None:
            parsed += map(names.parse_raw_name, (*files.post, *files.pre))
            continue
        pair = PairFiles(files.row.sample, files.dye, *files.row.files, files.row)
        post = names.ParsedName(pair.post, "post", files.dye)
        pre = names.ParsedName(pair.pre, "pre", files.dye)
        found += zip((post, pre), pair.choices, strict=True)
    found += [(one, ImageChoice(one.dye or "")) for one in parsed]
    return sorted(found, key=lambda one: one[0].path.name)


def _survey(
    sample: str, parsed: names.ParsedName, choice: ImageChoice, crop: int
) -> ChannelSurvey:
    path, question = parsed.path, ""
    try:
        try:
            image = open_raw(path, choice)
        except SeveralImagesError as error:
            question = str(error)
            image = open_raw(path, ImageChoice(page=1))
        rows, columns = (
            range((side - min(side, crop)) // 2, (side + min(side, crop)) // 2)
            for side in image.shape
        )
        size = len(rows) * len(columns)
        needed = size * image.samples * image.dtype.itemsize
        tiff.require_memory(path, needed, "the crop")
        with image.reader(image.colour) as reader:
            planes = reader.read((rows, columns))
        wide = np.float64 if planes.dtype.kind == "f" else None
        channels = tuple(
            ChannelStatistics(
                read.channel_name(number) if len(image.colour) > 1 else "grey",
                float(plane.max()),
                float(plane.sum(dtype=wide)) / size,
                int(np.count_nonzero(plane)),
            )
            for number, plane in zip(image.colour, planes, strict=True)
        )
    except errors.Exo2MicroError as error:
        return ChannelSurvey(sample, path, parsed.stain, parsed.dye, problem=str(error))
    return ChannelSurvey(
        sample,
        path,
        parsed.stain,
        parsed.dye,
        *image.shape,
        mode=f"{image.sample_dtype} {image.mode}",
        crop=(len(rows), len(columns)),
        channels=channels,
        warnings=image.warnings,
        problem=parsed.message or question,
    )
