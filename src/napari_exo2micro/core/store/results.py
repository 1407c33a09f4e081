"""Results found on disk: the sets of parameters that an output folder holds."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from napari_exo2micro.core.base import Monitor, errors, files
from napari_exo2micro.core.images.io import open_raster
from napari_exo2micro.core.parameters import parameters as registry
from napari_exo2micro.core.parameters.parameters import ParameterValue
from napari_exo2micro.core.parameters.settings import value_words
from napari_exo2micro.core.parameters.stages import STAGES
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.raw import raw_folder_of
from napari_exo2micro.core.store import checkpoints, provenance

#: Folders of samples or of dyes that are looked into.
_MOST_FOLDERS = 20_000
_HEAD = 1 << 16
_MARK = b"napari-exo2micro"


def find_result_folders(
    path: Path | str, monitor: Monitor | None = None
) -> tuple[Path, ...]:
    """Return the ``<sample>/<dye>`` folders with checkpoints, in and below a folder.

    It may be such a folder, one of the folders in it, the folder of a sample, or the
    output folder. It looks into 20,000 folders of samples and as many of dyes, and
    warns when there are more.

    Warns
    -----
    DataWarning
        When not all folders are looked into.
    """
    return tuple(sorted(_result_folders(Path(path).absolute(), monitor or Monitor())))


def holds_results(path: Path | str, monitor: Monitor | None = None) -> bool:
    """Return whether `find_result_folders` finds any; it looks no further."""
    folders = _result_folders(Path(path).absolute(), monitor or Monitor())
    return next(folders, None) is not None


def _result_folders(path: Path, monitor: Monitor) -> Iterator[Path]:
    if path.name in (*provenance.FORMATS, "pipeline_output") and _has_results(
        path.parent
    ):
        yield path.parent
        return
    if _has_results(path):
        yield path
        return
    level = _folders([path])  # samples, then their dyes
    for _ in range(2):
        rest = []
        for folder in level:
            monitor.check()
            if _has_results(folder):
                yield folder
            else:
                rest.append(folder)
        level = _folders(rest)


def checkpoint_files(folder: Path) -> Iterator[Path]:
    """Yield the checkpoints of a sample and dye, TIFFs first, each kind by name."""
    for kind in provenance.FORMATS:
        with suppress(OSError):
            place = folder / kind
            for name in files.list_folder(place).files:
                if name.endswith(f".{kind}") and provenance.parse_checkpoint_name(name):
                    yield place / name


def may_be_checkpoint(path: Path | str) -> bool:
    """Return whether a file is one of ours by its name or its first bytes.

    One that cannot be opened is none of ours.
    """
    path = Path(path)
    if provenance.parse_checkpoint_name(path) is not None:
        return True
    try:
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD)
    except OSError:
        return False


def _has_results(folder: Path) -> bool:
    return next(checkpoint_files(folder), None) is not None


def _folders(parents: Iterable[Path]) -> list[Path]:
    """Return the visible folders in some folders."""
    folders: list[Path] = []
    for parent in parents:
        with suppress(OSError):
            own = [parent / name for name in files.list_folder(parent).folders]
            room = _MOST_FOLDERS - len(folders)
            folders += own[:room]
            if len(own) > room:
                text = (
                    f"{parent}: results in {len(own) - room} of its folders, and in "
                    "those that follow, are not looked for; open the folder of a "
                    "sample instead"
                )
                warnings.warn(text, errors.DataWarning, stacklevel=3)
                break
    return folders


class StageResults(Protocol):
    """Where the images of a sample's stages are asked for: by `SampleDye`, too."""

    @property
    def sample(self) -> str:
        """The sample's name."""

    @property
    def dye(self) -> str:
        """The dye's name."""

    @property
    def raw_dir(self) -> Path | None:
        """The raw folder; None when it is not known."""

    @property
    def output_dir(self) -> Path | None:
        """The output folder; None when the files lie elsewhere."""

    def checkpoint(self, stage: int, name: str) -> checkpoints.Checkpoint | None:
        """Return an image, None when there is none that can be used."""

    def status(self) -> list[checkpoints.CheckpointStatus]:
        """Return a line for each image that is expected."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredImage:
    """One checkpoint file and what its header says of it.

    Files of the reference system have no header: folders and name tell the rest.
    """

    checkpoint: checkpoints.Checkpoint
    sample: str
    dye: str
    stage: int
    name: str
    parameters: Mapping[str, ParameterValue]

    @property
    def path(self) -> Path:
        """The file."""
        return self.checkpoint.image.path

    @property
    def canvas_offset(self) -> tuple[float, float]:
        """Where the canvas begins, (row, column) in px of the raw post-stain image."""
        header = self.checkpoint.provenance
        frame = header.canvas.get("post_frame") if header else None
        if frame:
            return -float(frame[1]), -float(frame[0])
        pad = self.parameters["pad"]
        assert isinstance(pad, int)
        return (0.0, 0.0) if header else (-float(pad), -float(pad))


@dataclass(frozen=True, slots=True, eq=False)
class ResultSet:
    """The checkpoints of one run, or of what is left of it.

    Attributes
    ----------
    sample, dye : str
        Whose they are.
    parameters : mapping
        All parameters of the run.
    images : mapping of (int, str) to StoredImage
        Under stage and name.
    raw_dir, output_dir : Path or None
        Where they are known and exist.
    time : float
        When its last stage was written, seconds since 1970.
    """

    sample: str
    dye: str
    parameters: Mapping[str, ParameterValue]
    images: Mapping[tuple[int, str], StoredImage]
    raw_dir: Path | None
    output_dir: Path | None
    time: float

    @property
    def suffix(self) -> str:
        """What the names of the run's last files end in."""
        return registry.build_suffix(self.parameters)

    @property
    def stages(self) -> tuple[int, ...]:
        """The stages that it has images of."""
        return tuple(sorted({stage for stage, _ in self.images}))

    @property
    def title(self) -> str:
        """Its parameters in words: those that are not at their defaults."""
        changed = registry.non_default_params(self.parameters)
        if not changed:
            return "all parameters at their defaults"
        return ", ".join(
            f"{registry.PARAMETER_REGISTRY[name].title}: {value_words(value)}"
            for name, value in changed.items()
        )

    def checkpoint(self, stage: int, name: str) -> checkpoints.Checkpoint | None:
        """Return an image with its header, None when it is not there."""
        image = self.images.get((stage, name))
        return image.checkpoint if image else None

    def status(self) -> list[checkpoints.CheckpointStatus]:
        """Return a line for each image, in the order of the stages."""
        files_of = (
            (stage, one, path)
            for (stage, name), image in self.images.items()
            for one, path in (
                (name, image.path),
                (checkpoints.DISPLACEMENT, provenance.displacement_path(image.path)),
            )
            if one == name or (name == "pre" and path.is_file())
        )
        return [
            checkpoints.CheckpointStatus(
                stage, name, "checkpoint", State.VALID, "", path
            )
            for stage, name, path in files_of
        ]


def read_stored_image(path: Path | str, *, mapped: bool = True) -> StoredImage | None:
    """Open one TIFF or FITS file.

    Parameters
    ----------
    path : Path or str
        The file.
    mapped : bool
        As for `open_raster`.

    Returns
    -------
    StoredImage or None
        None for a file that is neither ours by its header nor a checkpoint by its
        name.

    Raises
    ------
    CheckpointError
        When it is one of ours, and damaged.
    """
    path = Path(path)
    named = provenance.parse_checkpoint_name(path)
    image = open_raster(path, mapped=mapped)
    if not image.is_foreign:
        header = provenance.Provenance.from_header(image.header, path)
        return StoredImage(
            checkpoints.Checkpoint.of(image, header),
            header.sample,
            header.dye,
            header.stage,
            header.name,
            registry.default_params() | checkpoints.registered_params(header),
        )
    if named is None:
        return None
    try:
        parameters = registry.params_from_suffix(named.suffix)
    except errors.ParameterError as error:
        raise errors.CheckpointError(f"{path} cannot be told: {error}") from error
    folder = (
        path.parent.parent if path.parent.name in provenance.FORMATS else path.parent
    )
    return StoredImage(
        checkpoints.Checkpoint.of(image, None, named.stage),
        folder.parent.name,
        folder.name,
        named.stage,
        named.name,
        registry.default_params() | parameters,
    )


@dataclass(slots=True)
class _Draft:
    parameters: Mapping[str, ParameterValue]
    images: dict[tuple[int, str], StoredImage] = field(default_factory=dict)


def read_result_sets(
    folder: Path | str, monitor: Monitor | None = None
) -> tuple[tuple[ResultSet, ...], tuple[str, ...]]:
    """Read the headers of all checkpoints in a folder ``<output_dir>/<sample>/<dye>``.

    Pixels are not read, and raw files are not looked at.

    Returns
    -------
    sets : tuple of ResultSet
        One for each set of parameters, the newest first. An image of an early stage
        belongs to all runs that share it.
    problems : tuple of str
        Why files are left out, one line each.
    """
    folder = Path(folder)
    images, problems = _read_images(folder, monitor or Monitor())
    drafts: list[_Draft] = []
    # Stage and the parameters up to it -> the runs that write such a file.
    writers: defaultdict[tuple[int, str], list[_Draft]] = defaultdict(list)
    for image in sorted(images, key=lambda image: -image.stage):
        suffix = registry.suffix_of(image.parameters, image.stage)
        fitting = writers[image.stage, suffix]
        if not fitting:
            draft = _Draft(image.parameters)
            drafts.append(draft)
            for stage in range(1, image.stage + 1):
                suffix = registry.suffix_of(image.parameters, stage)
                writers[stage, suffix].append(draft)
        for draft in fitting:
            draft.images.setdefault((image.stage, image.name), image)
    sets = []
    for draft in drafts:
        problems += _drop_stale(draft)
        sets.append(_finished(draft, folder))
    problems += _other_raw_files(images)
    sets.sort(key=lambda results: results.time, reverse=True)
    return tuple(sets), tuple(dict.fromkeys(problems))


def _read_images(folder: Path, monitor: Monitor) -> tuple[list[StoredImage], list[str]]:
    images: dict[str, StoredImage] = {}
    problems: dict[str, str] = {}
    paths = list(checkpoint_files(folder))
    for index, path in enumerate(paths):
        monitor.report(index / len(paths), path.name)
        known = images.get(path.stem)
        if known is not None and known.checkpoint.provenance is not None:
            continue  # the TIFF is there
        try:
            image = read_stored_image(path, mapped=False)
        except errors.CheckpointError as error:
            start = "" if path.name in str(error) else f"{path.name} is left out: "
            problems[path.stem] = f"{start}{error}"
            continue
        if image is None:
            continue
        if known is None or image.checkpoint.provenance is not None:
            images[path.stem] = image
            problems.pop(path.stem, None)
    return list(images.values()), list(problems.values())


def _drop_stale(draft: _Draft) -> list[str]:
    """Leave out what was made from other images than those of the stage before."""
    problems = []
    for stage in sorted(STAGES)[1:]:
        keys = [(stage - 1, name) for name in STAGES[stage - 1].checkpoints]
        before = {key: draft.images[key] for key in keys if key in draft.images}
        if len(before) < len(keys):
            continue
        made_from = {key: image.checkpoint.identity for key, image in before.items()}
        for key, image in list(draft.images.items()):
            header = image.checkpoint.provenance
            if key[0] != stage or header is None:
                continue
            given = checkpoints.given_at(header)
            if header.inputs != checkpoints.stage_inputs(stage, made_from, given):
                del draft.images[key]
                problems.append(
                    f"{image.path.name} is left out: it was made from other images "
                    f"than those of stage {stage - 1} that are there; run stage "
                    f"{stage} again"
                )
    return problems


def _other_raw_files(images: Iterable[StoredImage]) -> list[str]:
    """Tell raw files that were replaced, as far as their sizes show it."""
    headers = [image.checkpoint.provenance for image in images]
    told = {
        (raw["file"], raw.get("size"))
        for header in headers
        for raw in (header.raw.values() if header else ())
        if isinstance(raw, dict) and raw.get("file")
    }
    return [
        f"{file} is not the file that these results were made from; put "
        "that one back, or run all stages again"
        for file, size in sorted(told, key=str)
        if Path(file).exists() and files.stamp(Path(file)).size != size
    ]


def _finished(draft: _Draft, folder: Path) -> ResultSet:
    images = dict(sorted(draft.images.items()))
    last = next(reversed(images.values()))
    of_last = [image for image in images.values() if image.stage == last.stage]
    own_folder = (folder.parent.name, folder.name) == (last.sample, last.dye)
    return ResultSet(
        sample=last.sample,
        dye=last.dye,
        parameters=draft.parameters,
        images=images,
        raw_dir=_raw_dir(images.values(), folder),
        output_dir=folder.parent.parent if own_folder else None,
        time=max(image.path.stat().st_mtime for image in of_last),
    )


def _raw_dir(images: Iterable[StoredImage], folder: Path) -> Path | None:
    """Return the raw folder that headers name, or the usual one, if it exists."""
    for image in images:
        header = image.checkpoint.provenance
        raw = header.raw if header else {}
        file = raw.get("post", {}).get("file", "")
        if file and Path(file).exists():
            return raw_folder_of(Path(file))
    usual = folder.parent.parent.parent / "raw"
    return usual if (usual / folder.parent.name).is_dir() else None
