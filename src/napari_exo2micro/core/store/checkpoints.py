"""The checkpoints of one sample and dye, and what makes one of them stale."""

from __future__ import annotations

import copy
import glob
import hashlib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import (
    CheckpointError,
    Monitor,
    check_output,
    errors,
    files,
)
from napari_exo2micro.core.images import (
    ImageLike,
    Landmarks,
    Missing,
    Raster,
    Regions,
    Transform,
    io,
    raster,
    warp,
)
from napari_exo2micro.core.images.missing import blanked, either
from napari_exo2micro.core.parameters import (
    RunSettings,
    State,
    Verdict,
    parameters,
    settings as recipes,
)
from napari_exo2micro.core.parameters.stages import (
    DIFFERENCE_STAGE,
    MICROBES_STAGE,
    STAGE_NAMES,
    STAGES,
)
from napari_exo2micro.core.photometry.methods import scales_asked_for
from napari_exo2micro.core.raw import (
    RawFingerprint,
    check_name,
    find_pair,
    list_samples,
)
from napari_exo2micro.core.raw.formats import open_raw
from napari_exo2micro.core.raw.pair import (
    get_loader,
    loader_name,
    open_image_pair,
    reader_of,
)
from napari_exo2micro.core.raw.table import (
    TABLE_NAME,
    image_choices,
    told_file,
    told_params,
    used_of,
)
from napari_exo2micro.core.store.provenance import (
    FORMATS,
    STAGES_TAKEN_OVER,
    Provenance,
    creation_time,
    digest,
    displacement_path,
    name_ending,
    plain_entries,
    storable_pixels,
    transform_key,
)

logger = logging.getLogger(__name__)

_SIDES: Final = ("post", "pre")

DISPLACEMENT: Final = "displacement"
CATALOGUE: Final = "catalogue"
"""Name of the file with what the transform of a stage bends, beside its image."""

_GIVEN: Final = {
    2: ("landmarks", "regions"),
    DIFFERENCE_STAGE: ("regions",),
    MICROBES_STAGE: ("control",),
}
"""What a person gives beside the images, by the stage that begins to rest on it."""

_NO_CONTROL: Final = "none"

# A stage-3 image without a transform says nothing about the alignment, and what
# follows it rests on it.
_LAST_STAGE_WITHOUT_HEADER: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A valid image of a stage.

    Attributes
    ----------
    image : Raster
        The pixels.
    provenance : Provenance or None
        None when the file carries no header (the reference system's do not).
    identity : str
        Digest of what the pixels depend on.
    stage : int
        Number of the stage.
    """

    image: Raster
    provenance: Provenance | None
    identity: str
    stage: int

    @classmethod
    def of(
        cls, image: Raster, provenance: Provenance | None, stage: int = 0
    ) -> Checkpoint:
        """Return an image with its header; without one, its file is its identity.

        Parameters
        ----------
        image : Raster
            The image.
        provenance : Provenance or None
            Its header.
        stage : int
            The stage of an image that has no header.

        Returns
        -------
        Checkpoint
            Of the header's stage, where there is one.
        """
        if provenance is not None:
            return cls(image, provenance, provenance.identity, provenance.stage)
        status = image.path.stat()
        identity = digest(["no header", stage, status.st_size, status.st_mtime_ns])
        return cls(image, None, identity, stage)

    @property
    def frames(self) -> Mapping[str, tuple[int, int, int, int] | None]:
        """Frames of the data, `post` and `pre`, where they are known."""
        canvas = self.provenance.canvas if self.provenance else {}
        stored = {side: canvas.get(f"{side}_frame") for side in ("post", "pre")}
        return {side: tuple(f) if f else None for side, f in stored.items()}

    @property
    def missing(self) -> Mapping[str, Missing | None]:
        """Where the padded `post` and `pre` have no data; None where all is there."""
        canvas = self.provenance.canvas if self.provenance else {}
        stored = {side: canvas.get(f"{side}_missing") for side in ("post", "pre")}
        return {side: Missing.from_dict(m) if m else None for side, m in stored.items()}

    @property
    def known(self) -> ImageLike:
        """Of stage 1: the image, NaN where it has no data."""
        header = self.provenance
        missing = self.missing[header.side] if header else None
        return self.image if missing is None else missing.blanked(self.image)

    @property
    def transform(self) -> Transform | None:
        """Post (fixed) to pre (moving), canvas px; None where it is not known."""
        return self.provenance.transform if self.provenance else None

    @property
    def verdicts(self) -> Mapping[int, Verdict]:
        """What its stage and those before it say of their work, by number.

        Nobody vouches for an image without a header.
        """
        if self.provenance is not None:
            return self.provenance.verdicts
        reason = f"{self.image.path.name} carries no header: its provenance is unknown"
        return {self.stage: Verdict(State.FELL_BACK, reason)}

    @property
    def details(self) -> Mapping[str, Any]:
        """What pictures need: contours, matches, tiles."""
        return self.provenance.details if self.provenance else {}


@dataclass(frozen=True, slots=True)
class CheckpointStatus:
    """One line of a status list.

    Attributes
    ----------
    stage : int
        Number of the stage.
    name : str
        Of the checkpoint or the plot.
    kind : {'checkpoint', 'plot'}
        What it is.
    state : State
        `VALID`, `STALE` or `MISSING`; a stale one exists and is not used. `FAILED`
        is a plot that could not be drawn.
    reason : str
        Why it is stale or has failed, or what is worth knowing of a valid one.
    path : Path
        The file.
    """

    stage: int
    name: str
    kind: Literal["checkpoint", "plot"]
    state: State
    reason: str
    path: Path

    @property
    def is_image(self) -> bool:
        """Whether the file is an image: no plot, displacement or catalogue."""
        others = (DISPLACEMENT, CATALOGUE)
        return self.kind == "checkpoint" and self.name not in others


class RawSource:
    """The raw images of a pair; each version of a file is read once at most."""

    def __init__(self, sample: str, dye: str, settings: RunSettings) -> None:
        loader = settings.loader
        self.loader = None if loader is None else get_loader(loader)
        self.reader = reader_of(get_loader(self.loader))
        self._pair = (sample, dye, settings.raw_dir)
        self._shapes: dict[Any, tuple[int, int]] = {}
        self._same: dict[Any, bool] = {}
        self._loaded: dict[str, RawFingerprint] = {}
        self.verifies = False

    def verify(self) -> None:
        """Trust no size and no time from here on: each file is digested once."""
        self.verifies = True
        self._same.clear()
        self._loaded.clear()

    @property
    def reads_files(self) -> bool:
        """Whether the two files are found by their names, not by the loader."""
        return self.reader is not None

    @property
    def loader_name(self) -> str:
        """Name that the loader is registered under, or that of the function."""
        return loader_name(get_loader(self.loader))

    def shapes(
        self, params: Mapping[str, parameters.ParameterValue]
    ) -> list[tuple[int, int]]:
        """Return rows and columns of post and pre; empty when there are no files."""
        try:
            choices = image_choices(*self._pair, params, self.reader or "")
            paths = find_pair(*self._pair)[:2]
            return [self._shape(*one) for one in zip(paths, choices, strict=True)]
        except (errors.RawDataError, OSError):  # none at all, or a link to nowhere
            return []

    def mismatch(self, provenance: Provenance | None) -> str:
        """Return why a stage-1 image was made from others; empty when it was not."""
        if provenance is None or not provenance.raw:
            return ""
        raw = provenance.raw
        try:
            stored = {s: RawFingerprint.from_dict(raw.get(s, {})) for s in _SIDES}
        except CheckpointError as error:
            return f"its header does not tell the raw files: {error}"
        maker = raw.get("loader")
        if maker != self.loader_name:
            return (
                f"the loader '{maker}' made it, now '{self.loader_name}' is asked for"
            )
        files = {side: raw[side].get("file", "") for side in _SIDES}
        if self.reads_files:
            try:
                files = dict(zip(_SIDES, find_pair(*self._pair)[:2], strict=True))
                told = used_of(provenance.parameters, told_params(*self._pair))
            except errors.RawDataError as error:
                logger.info("the raw files could not be compared: %s", error)
                return ""
            if told != raw.get("pair_table", {}):
                return (
                    f"{TABLE_NAME} said {_in_words(raw.get('pair_table', {}))} of its "
                    f"images when it was made, now {_in_words(told)}"
                )
        for side, file in files.items():
            if not self._is_same(side, file, stored[side], provenance):
                name = Path(file).name if file else f"the {side} image"
                return f"{name} is not the file that it was made from"
        return ""

    def remember(self, post: RawFingerprint, pre: RawFingerprint) -> None:
        """Take what stage 1 has just read as the images that are there now."""
        self._loaded = {"post": post, "pre": pre}

    def _shape(self, path: Path, choice: Any) -> tuple[int, int]:
        key = (path, choice, files.stamp(path))
        if key not in self._shapes:
            self._shapes[key] = open_raw(path, choice).shape
        return self._shapes[key]

    def _is_same(
        self, side: str, file: Path | str, stored: RawFingerprint, header: Provenance
    ) -> bool:
        if file:
            try:
                key = (str(file), files.stamp(Path(file)), stored.sha256)
            except OSError:
                return False
            if key not in self._same:
                self._same[key] = stored.matches(
                    Path(file), recorded=header.created_at, verify=self.verifies
                )
            return self._same[key]
        if not self._loaded:  # a loader that names no files is asked for its images
            pair = open_image_pair(*self._pair, loader=self.loader)
            self.remember(pair.post.fingerprint(), pair.pre.fingerprint())
        return self._loaded[side].same_content(stored)


def _in_words(told: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in told.items()) or "nothing"


class CheckpointStore:
    """The checkpoints of one sample and dye for one set of parameters.

    A checkpoint is valid when its file can be read, has the shape of the canvas, is
    of this sample, dye and stage, was made with the present parameters, and from what
    is there now: stage 1 from these raw files, a later stage from the present images
    of the stage before, and with the present transform of another dye where that was
    taken over. All other files are stale: never used, never removed.

    Parameters
    ----------
    sample, dye : str
        Must agree with the headers.
    settings : RunSettings
        Folders, format, parameters, loader and `register_on`. May be replaced by one
        with other parameters.
    has_own_canvas : bool
        Whether a script pads in its own way: then the canvas may have any shape.

    Attributes
    ----------
    folder : Path
        ``<output_dir>/<sample>/<dye>``.
    source : RawSource
        The raw images.
    written : list of Path
        What this object has written.

    Raises
    ------
    ParameterError
        When a name could leave the output folder, or the loader is not known.
    """

    def __init__(
        self,
        sample: str,
        dye: str,
        settings: RunSettings,
        *,
        has_own_canvas: bool = False,
    ) -> None:
        self.sample = check_name("sample", sample)
        self.dye = check_name("dye", dye)
        if settings.register_on is not None:
            check_name("dye", settings.register_on)
        self.settings = settings
        self.folder = settings.output_dir / sample / dye
        self.source = RawSource(sample, dye, settings)
        self.written: list[Path] = []
        self.has_own_canvas = has_own_canvas
        self._told: set[tuple[Path, str]] = set()
        self._opened: dict[Path, tuple[tuple[Any, ...], _Content]] = {}
        self._others: dict[tuple[str, str], Self] = {}  # by sample and dye

    def copy(self) -> Self:
        """Return another store, which shares what is known of the files."""
        other = copy.copy(self)
        other.written, other._others = [], {}
        return other

    def of_dye(self, dye: str) -> Self:
        """Return the store of another dye of the sample, registered by itself."""
        settings = replace(self.settings, register_on=dye)
        key = self.sample, dye
        if key not in self._others:
            self._others[key] = type(self)(
                self.sample, dye, settings, has_own_canvas=self.has_own_canvas
            )
        self._others[key].settings = settings
        return self._others[key]

    @property
    def control(self) -> Self | None:
        """The store of the sample that is the control, which itself has none.

        Its parameters are the same otherwise; landmarks and regions are its own.

        Raises
        ------
        ParameterError
            When no sample has this name, several have, or it is this sample.
        """
        name = str(self.params["control"])
        if name == _NO_CONTROL:
            return None
        sample = self._control_sample(name)
        settings = replace(
            self.settings,
            params={**self.settings.params, "control": _NO_CONTROL},
            register_on=None,
            landmarks=None,
            regions=None,
        )
        key = sample, self.dye
        if key not in self._others:
            self._others[key] = type(self)(
                sample, self.dye, settings, has_own_canvas=self.has_own_canvas
            )
        other = self._others[key]
        other.settings = settings
        given: dict[str, Any] = {**other.given_before()}
        other.settings = replace(settings, **given)
        return other

    def _control_sample(self, name: str) -> str:
        """Return the sample that is meant: its name may hold what no parameter may."""
        known = {self.sample}
        with suppress(OSError):
            results = self.settings.output_dir.glob(f"*/{glob.escape(self.dye)}")
            known |= {path.parent.name for path in results}
        with suppress(errors.RawDataError, OSError):
            known |= set(list_samples(self.settings.raw_dir))
        meant = sorted(one for one in known if _word(one) == name)
        if name in meant:
            meant = [name]
        if meant == [self.sample]:
            raise errors.ParameterError(
                f"control takes another sample than the one that is run, found "
                f"{name!r} for {self.sample}; run {self.sample} without control"
            )
        if len(meant) != 1:
            found = f"{len(meant)} of them" if meant else "none"
            raise errors.ParameterError(
                f"control takes the name of a sample in {self.settings.raw_dir}, "
                f"letters, digits and dots of it: {name!r} was wanted, found {found}; "
                f"the samples are {', '.join(sorted(known))}"
            )
        return meant[0]

    def check_control(self) -> None:
        """Look whether the control, where one is named, has been run.

        Raises
        ------
        ParameterError
            When no sample is meant.
        CheckpointError
            When it has no valid result.
        """
        control = self.control
        if control is None or control.is_done(MICROBES_STAGE):
            return
        line = control.status(MICROBES_STAGE, "labels")
        why = f"{line.state} ({line.reason})" if line.reason else str(line.state)
        command = "the same with this sample and without control"
        with suppress(errors.ParameterError):
            command = recipes.as_command_line(
                control.sample, control.dye, control.settings
            )
        raise CheckpointError(
            f"the microbes of the control {control.sample} / {control.dye} with the "
            f"same parameters were wanted in {line.path}, found {why}; run {command}"
        )

    @property
    def params(self) -> dict[str, parameters.ParameterValue]:
        """All parameters, in registry order."""
        return self.settings.all_params

    @property
    def landmarks(self) -> Landmarks | None:
        """Those of the run, or those that the table of pairs names; px of raw images.

        Raises
        ------
        ParameterError
            When they cannot be read.
        """
        if self.takes_over:
            return None
        given = self.settings.landmarks or self._told_file("landmarks")
        return None if given is None else Landmarks.of(given)

    @property
    def regions(self) -> Regions | None:
        """Those of the run, or those that the table of pairs names; px of raw post.

        Raises
        ------
        ParameterError
            When they cannot be read.
        """
        given = self.settings.regions or self._told_file("regions")
        return None if given is None else Regions.load(given)

    def _told_file(self, name: str) -> Path | None:
        if not self.source.reads_files:
            return None
        return told_file(name, self.sample, self.dye, self.settings.raw_dir)

    @property
    def canvas_landmarks(self) -> Landmarks | None:
        """The landmarks in px of the canvases that stage 1 has made."""
        marks = self.landmarks
        if marks is None:
            return None
        frames = (self.need(1, side).frames[side] for side in _SIDES)
        return marks.on_canvas(*frames)

    @property
    def registered_post(self) -> ImageLike:
        """The padded post image, NaN where it has no data or it is to be left out."""
        post, regions = self.need(1, "post"), self.regions
        frame, image = post.frames["post"], post.image
        if regions is None or frame is None:
            return post.known
        regions.check(frame)
        missing = post.missing["post"]
        lost = None if missing is None else missing.mask(image)
        shape = image.shape[0], image.shape[1]
        return blanked(image, either(lost, regions.not_registered(shape, frame)))

    def given_before(self) -> dict[str, Path]:
        """Return what was given for the results on disk, valid or not, that is there.

        By the names in `RunSettings`, the files.
        """
        found: dict[str, Path] = {}
        for stage in _GIVEN:
            for path in self._existing(stage, STAGES[stage].checkpoints[-1]):
                header = self._header(path)
                for name, told in given_at(header).items() if header else ():
                    file = Path(told.get("file", ""))
                    if file.is_file() and name != "control":  # a parameter names it
                        found[name] = file
        return found

    def check_given(self) -> None:
        """Read what a person gave beside the images.

        Raises
        ------
        ParameterError
            When it cannot be read.
        """
        _ = self.landmarks, self.regions

    @property
    def takes_over(self) -> bool:
        """Whether stages 2 and 3 are to take another dye's transforms."""
        return self.settings.register_on not in (None, self.dye)

    # Names -------------------------------------------------------------------

    def tiff_path(self, stage: int, name: str) -> Path:
        """Return the path of a checkpoint as TIFF."""
        return self._path("tiff", stage, name)

    def fits_path(self, stage: int, name: str) -> Path:
        """Return the path of a checkpoint as FITS."""
        return self._path("fits", stage, name)

    def _path(self, kind: str, stage: int, name: str) -> Path:
        stem = self._stem(f"{STAGE_NAMES[stage]}_{name}", stage)
        return self.folder / kind / f"{stem}.{kind}"

    def output_path(
        self, name: str, extension: str = ".png", *, stage: int = DIFFERENCE_STAGE
    ) -> Path:
        """Return the path of a plot or record; it carries the suffix of its stage."""
        return self.folder / "pipeline_output" / f"{self._stem(name, stage)}{extension}"

    def _stem(self, start: str, stage: int) -> str:
        return start + name_ending(
            start, parameters.suffix_of(self.settings.params, stage)
        )

    def names(self, stage: int) -> tuple[str, ...]:
        """Return the checkpoints of a stage that the parameters ask for."""
        always = STAGES[stage].checkpoints
        if stage == 2 and self.params["save_all_intermediates"]:
            return (*always, "coarse_pre")
        if stage == DIFFERENCE_STAGE:
            methods = scales_asked_for(self.params, self.proven_scales())
            return tuple(method.image_name(self.params) for method in methods.values())
        return always

    def proven_scales(self) -> tuple[str, ...]:
        """Return the scale methods that the pair has proven better in the last run."""
        for path in self._existing(DIFFERENCE_STAGE, "difference"):
            if (header := self._header(path)) is not None:
                return tuple(header.details.get("proven", ()))
        return ()

    def paths(self, stage: int, name: str) -> list[Path]:
        """Return the files that a checkpoint is written to."""
        if name == DISPLACEMENT:
            return [displacement_path(path) for path in self.paths(stage, "pre")]
        asked = self.settings.checkpoint_format
        is_both = asked == "both" or _needs_both(stage, name)
        kinds = FORMATS if is_both else (asked,)
        return [self._path(kind, stage, name) for kind in kinds]

    def _existing(self, stage: int, name: str) -> list[Path]:
        """Return the files that may be read, TIFF first."""
        paths = (self._path(kind, stage, name) for kind in FORMATS)
        return [path for path in paths if path.is_file()]

    # Reading -----------------------------------------------------------------

    def find(self, stage: int, name: str) -> Checkpoint | None:
        """Return a valid checkpoint or None; see `SampleDye.checkpoint`."""
        _check_stage(stage)
        with suppress(CheckpointError):  # a stage before it is missing or stale
            for path, content in self._judged(stage, name):
                if isinstance(content, CheckpointError):
                    self.tell(path, f"{path.name} is not used: {content}")
                    continue
                asked = self.settings.checkpoint_format
                if asked not in ("both", path.parent.name):
                    self.tell(
                        self.folder,
                        f"{asked.upper()} was asked for and checkpoints exist as "
                        f"{path.parent.name.upper()}: reading those; the formats are "
                        "mixed from here on",
                    )
                return content
        return None

    def need(self, stage: int, name: str) -> Checkpoint:
        """Return a checkpoint that must be there.

        Raises
        ------
        CheckpointError
            When it is missing or stale.
        """
        checkpoint = self.find(stage, name)
        if checkpoint is None:
            raise CheckpointError(
                f"{self.tiff_path(stage, name).stem} of {self.sample} / {self.dye} "
                f"is missing or not valid any more; run stage {stage} first"
            )
        return replace(checkpoint, image=checkpoint.image.checking())

    def verify(self) -> None:
        """Trust no time of a file from here on, of raw files and of checkpoints."""
        self.source.verify()
        self._opened.clear()

    def check_pixels(self, last: int, monitor: Monitor | None = None) -> None:
        """Read the pixels of checkpoints; those that are damaged are stale then.

        Of files that were written to since, or of all after `verify`; each once.

        Parameters
        ----------
        last : int
            The last stage that counts.
        monitor : Monitor, optional
            Told which file is read; may stop.
        """
        monitor = monitor or Monitor()
        for number in (number for number in sorted(STAGES) if number <= last):
            for name in self.names(number):
                for path in self._existing(number, name):
                    with suppress(CheckpointError):  # told where it is asked for
                        image, _ = self._read(path)
                        if self.source.verifies or not image.is_proven():
                            monitor.report(0.0, f"reading {path.name}")
                            image.verify(monitor)
        self._drop_damaged()

    def _drop_damaged(self) -> list[tuple[Path, str]]:
        """Take images whose pixels were found damaged for stale; return which."""
        dropped = []
        for path, (known, content) in list(self._opened.items()):
            if not isinstance(content, CheckpointError) and content[0].damage:
                dropped.append((path, content[0].damage))
                self._opened[path] = (known, CheckpointError(content[0].damage))
        return dropped

    def drop_damaged(self) -> bool:
        """Take images whose pixels were found damaged for stale; tell if there are any.

        What has read them has raised, or went on without them.
        """
        dropped = self._drop_damaged()
        for path, why in dropped:
            self.tell(path, f"{path.name} is made again: {why}")
        return bool(dropped)

    def status(self, stage: int, name: str) -> CheckpointStatus:
        """Return whether a checkpoint is valid, stale or missing, and why.

        Each file that exists in a format asked for must be valid, and a difference
        must exist in both.
        """
        asked, existing = self.paths(stage, name), self._existing(stage, name)
        valid: dict[Path, Checkpoint] = {}
        refused: dict[Path, str] = {}

        def line(state: State, why: str, path: Path = asked[0]) -> CheckpointStatus:
            return CheckpointStatus(stage, name, "checkpoint", state, why, path)

        if not existing:
            return line(State.MISSING, "")
        try:
            for path, content in self._judged(stage, name):
                if isinstance(content, Checkpoint):
                    valid[path] = content
                else:
                    refused[path] = f"{path.name}: {content}"
        except CheckpointError:
            why = (
                self._other_geometry(stage)
                or self._no_control(stage)
                or f"stage {stage - 1} is not valid"
            )
            return line(State.STALE, why)
        for path in asked if _needs_both(stage, name) else ():
            if path not in existing:
                refused[path] = f"{path.name} is missing"
        wrong = [path for path in refused if not valid or path in asked]
        if wrong:
            return line(State.STALE, self._other_geometry(stage) or refused[wrong[0]])
        path, checkpoint = next(iter(valid.items()))
        note = ""
        if checkpoint.provenance is None:
            note = "no header: provenance unknown"
        elif not checkpoint.image.has_digests:
            note = "of an earlier version: its pixels cannot be checked"
        elif changed := [p for p in valid if not valid[p].image.is_proven()]:
            path = changed[0]
            note = f"{path.name} was written to since: a run reads its pixels"
        return line(State.VALID, note, path)

    def status_of_stage(self, stage: int) -> list[CheckpointStatus]:
        """Return `status` of each checkpoint of a stage, of a displacement, too."""
        lines = []
        for name in self.names(stage):
            line = self.status(stage, name)
            lines.append(line)
            if stage in STAGES_TAKEN_OVER and name == "pre":
                lines += self._status_of_displacement(line)
        return lines

    def _status_of_displacement(
        self, image: CheckpointStatus
    ) -> Iterator[CheckpointStatus]:
        """Yield the line of the file that an image refers to, if it does."""
        paths = self._existing(image.stage, image.name)
        if not any(map(self._refers, paths)):
            return
        path, state = displacement_path(image.path), image.state
        if not path.is_file():
            there = [one for one in map(displacement_path, paths) if one.is_file()]
            path = there[0] if there else path
            state = state if there else State.MISSING
        why = "" if state != State.STALE else image.reason
        yield CheckpointStatus(
            image.stage, DISPLACEMENT, "checkpoint", state, why, path
        )

    def _refers(self, path: Path) -> bool:
        """Return whether an image, valid or not, has a displacement of its own."""
        header = self._header(path)
        if header is not None:
            return bool(header.displacement_file)
        with suppress(CheckpointError):
            stored = io.open_raster(path).header.get("transform")
            return isinstance(stored, dict) and "displacement" in stored
        return False

    def is_valid(self, stage: int, name: str) -> bool:
        """Return whether a checkpoint is valid, and tell why one is not used."""
        line = self.status(stage, name)
        if line.state == State.STALE:
            self.tell(line.path, f"{line.path.name} is made again: {line.reason}")
        return line.state == State.VALID

    def is_done(self, stage: int) -> bool:
        """Return whether all checkpoints that the parameters ask for are valid."""
        return all(self.is_valid(stage, name) for name in self.names(stage))

    def transform(self, stage: int) -> Transform:
        """Return the transform of a stage's result; see `SampleDye.transform`."""
        _check_stage(stage)
        if stage == 1:
            return Transform.identity()
        stage = min(stage, max(STAGES_TAKEN_OVER))
        checkpoint = self.need(stage, "pre")
        if checkpoint.transform is None:
            raise CheckpointError(
                f"{checkpoint.image.path} does not tell its transform; run stage "
                f"{stage} again with force"
            )
        return checkpoint.transform

    def tell(self, path: Path, text: str) -> None:
        """Log a line once."""
        if (path, text) not in self._told:
            self._told.add((path, text))
            logger.warning("%s", text)

    # What makes a checkpoint stale ---------------------------------------------

    def inputs(self, stage: int) -> str | None:
        """Return the digest of what a stage is made from now; None for raw files.

        Raises
        ------
        CheckpointError
            When the stage before, or the other dye's, has no valid result.
        """
        if stage == 1:
            return None
        return self._made_from(stage, *self._geometry(stage))

    def _made_from(self, stage: int, dye: str, transform: Transform | None) -> str:
        """Return the digest of the stage before, and of a transform taken over."""
        before = STAGES[stage - 1]
        own = stage_inputs(
            stage,
            {
                (before.number, name): self.need(before.number, name).identity
                for name in before.checkpoints
            },
            self._given(stage) if transform is None else None,
        )
        if transform is None:
            return own
        return digest([own, dye, transform_key(transform)])

    def _given(self, stage: int) -> dict[str, dict[str, Any]]:
        """Return what a person gave for this stage: files and digests of them."""
        given: dict[str, dict[str, Any]] = {}
        names = _GIVEN.get(stage, ())
        try:
            marks = self.landmarks if "landmarks" in names else None
            regions = self.regions if "regions" in names else None
        except (errors.ParameterError, errors.RawDataError) as error:
            raise CheckpointError(str(error)) from error
        if marks is not None:
            content = digest([marks.post.tolist(), marks.pre.tolist()])
            given["landmarks"] = {"file": marks.source, "digest": content}
        if regions is not None:
            registers = stage in STAGES_TAKEN_OVER
            content = regions.left_out_digest if registers else regions.digest
            if regions.leaves_out or not registers:
                given["regions"] = {"file": regions.source, "digest": content}
        if "control" in names:
            given |= self._given_control()
        return given

    def _given_control(self) -> dict[str, dict[str, Any]]:
        """Return the result of the control as something given; empty without one."""
        try:
            self.check_control()
            control = self.control
        except errors.ParameterError as error:
            raise CheckpointError(str(error)) from error
        if control is None:
            return {}
        labels = control.need(MICROBES_STAGE, "labels")
        return {"control": {"file": str(labels.image.path), "digest": labels.identity}}

    def _no_control(self, stage: int) -> str:
        """Return why the control of a stage cannot be used; empty if it can."""
        try:
            if "control" in _GIVEN.get(stage, ()):
                self._given_control()
        except CheckpointError as error:
            return str(error)
        return ""

    def _given_mismatch(self, provenance: Provenance) -> str:
        """Return what a person gave when a result was made, and gives no more."""
        told, now = given_at(provenance), self._given(provenance.stage)
        for name in _GIVEN.get(provenance.stage, ()):
            was = told.get(name, {})
            if now.get(name, {}).get("digest") == was.get("digest"):
                continue
            if name == "control":
                return "its control has another result now; run this stage anew"
            made = f"the {name} of {was.get('file') or 'a script'}" if was else "none"
            asked = "none"
            if name in now:
                asked = f"the {name} of {now[name]['file'] or 'a script'}"
            return (
                f"it was made with {made}, and now {asked} are given; give the same "
                "again, or run this stage anew"
            )
        return ""

    def _shape(self, stage: int) -> tuple[int, ...] | None:
        """Return the canvas, where it can be known without reading pixels."""
        if stage > 1:
            return self.need(1, "post").image.shape
        if not self.source.reads_files or self.has_own_canvas:
            return None
        shapes = self.source.shapes(self.params)
        if not shapes:
            return None  # results can be looked at without their raw files
        pad = self.params["pad"]
        assert isinstance(pad, int)
        return warp.canvas_shape(shapes[0], shapes[1], pad)

    def _judged(
        self, stage: int, name: str
    ) -> Iterator[tuple[Path, Checkpoint | CheckpointError]]:
        """Yield what each file of a checkpoint holds, or why it is not valid.

        A `CheckpointError` is raised when what it depends on is not valid.
        """
        inputs, shape = self.inputs(stage), self._shape(stage)
        paths = self._existing(stage, name)
        sealed = next((path for path in paths if self._header(path)), None)
        for path in paths:
            content: Checkpoint | CheckpointError
            try:
                content = self._open(path, (stage, name), inputs, shape)
                if sealed is not None and content.provenance is None:
                    raise CheckpointError(
                        f"it carries no header, and {sealed.name} beside it does"
                    )
            except CheckpointError as error:
                content = error
            yield path, content

    def _open(
        self,
        path: Path,
        key: tuple[int, str],
        inputs: str | None,
        shape: tuple[int, ...] | None,
    ) -> Checkpoint:
        """Return what a file holds; a `CheckpointError` says why it is not valid."""
        image, provenance = self._read(path)
        if shape is not None and image.shape != shape:
            raise CheckpointError(
                f"it has {image.shape[1]} x {image.shape[0]} px, expected "
                f"{shape[1]} x {shape[0]}; it belongs to other raw files"
            )
        if provenance is None:
            if key[0] > _LAST_STAGE_WITHOUT_HEADER:
                raise CheckpointError(
                    "it carries no header of this package, so its transform cannot be "
                    "known"
                )
            return Checkpoint.of(image, None, key[0])
        told = (provenance.sample, provenance.dye, provenance.stage, provenance.name)
        wanted = (self.sample, self.dye, *key)
        if told != wanted:
            raise CheckpointError(
                f"its header says {told}, expected {wanted}; it was moved here"
            )
        made_with = parameters.suffix_of(registered_params(provenance), key[0])
        if made_with != parameters.suffix_of(self.settings.params, key[0]):
            raise CheckpointError("its header tells other parameters than its name")
        if inputs is not None and provenance.inputs != inputs:
            if problem := self._given_mismatch(provenance):
                raise CheckpointError(problem)
            raise CheckpointError(
                "it was made from other raw files or another result of the stage before"
            )
        mismatch = self.source.mismatch(provenance) if key[0] == 1 else ""
        if mismatch:
            raise CheckpointError(mismatch)
        return Checkpoint.of(image, provenance)

    def _read(self, path: Path) -> tuple[Raster, Provenance | None]:
        """Open a file, or give it again as long as it has not changed."""
        now = (files.stamp(path), *map(_stamp_if_there, self._displacements(path)))
        known = self._opened.get(path)
        if known is None or known[0] != now:
            known = self._opened[path] = (now, _content(path))
        if isinstance(known[1], CheckpointError):
            raise known[1]
        return known[1]

    def _displacements(self, path: Path) -> Iterator[Path]:
        """Yield the files that the displacement of an image may be in."""
        last = max(STAGES_TAKEN_OVER)
        for kind in FORMATS:
            yield displacement_path(self.folder / kind / path.name)
            yield displacement_path(self._path(kind, last, "pre"))

    # A transform that was taken over -------------------------------------------

    def transform_of(self, dye: str, stage: int) -> Transform:
        """Return the present transform of another dye.

        Raises
        ------
        CheckpointError
            When it has none that is valid.
        """
        try:
            return self.of_dye(dye).transform(stage)
        except CheckpointError as error:
            raise CheckpointError(
                f"{self.sample} / {self.dye} takes the transform of {dye}, whose stage "
                f"{stage} has no valid result; run {self.sample} / {dye} first"
            ) from error

    def _geometry(self, stage: int) -> tuple[str, Transform | None]:
        """Return the dye and the transform that a valid result has taken over.

        Without `register_on`, what is stored decides whose transform it should be,
        and it stands where nothing of the other dye is left to compare with. Empty
        and None when the result's transform is its own.
        """
        asked = self.settings.register_on
        if stage not in STAGES_TAKEN_OVER or asked == self.dye:
            return "", None
        if asked is not None:
            return asked, self.transform_of(asked, stage)
        if self.settings.landmarks is not None:
            return "", None
        stored = self._stored(stage)
        if stored is None or not stored.registered_on:
            return "", None
        dye = stored.registered_on
        if not self.of_dye(dye)._existing(stage, "pre"):
            return dye, stored.transform
        return dye, self.transform_of(dye, stage)

    def _other_geometry(self, stage: int) -> str:
        """Return why a stored transform is not the one asked for; empty if it is."""
        stored = self._stored(stage) if stage in STAGES_TAKEN_OVER else None
        if stored is None:
            return ""
        try:
            dye, transform = self._geometry(stage)
        except CheckpointError as error:
            return str(error)
        if stored.registered_on != dye:
            made, wanted = (
                f"that of {name}" if name else "its own"
                for name in (stored.registered_on, dye)
            )
            return f"its transform is {made}, {wanted} is asked for"
        if dye and stored.transform != transform:
            return f"the transform of {dye}, which it has taken over, has changed"
        return ""

    def _stored(self, stage: int) -> Provenance | None:
        """Return the header of a stage's file, valid or not."""
        found = map(self._header, self._existing(stage, "pre"))
        return next((header for header in found if header is not None), None)

    def _header(self, path: Path) -> Provenance | None:
        """Return the header of a file, valid or not; None when it has none."""
        with suppress(CheckpointError):
            return self._read(path)[1]
        return None

    # Writing -----------------------------------------------------------------

    def check_output(self) -> None:
        """Raise an `OutputError` when results cannot go where they belong.

        A folder of the sample may be a link, or the raw folder itself. A time that no
        header can hold is told now, too, and not after the first stage.
        """
        creation_time()
        for folder in (self.settings.output_dir, self.folder):
            check_output(folder, self.settings.raw_dir)

    def provenance(
        self,
        stage: int,
        name: str,
        *,
        verdict: Verdict | None = None,
        notes: tuple[str, ...] = (),
        inputs: str = "",
        taken_over: Transform | None = None,
        **fields: Any,
    ) -> Provenance:
        """Return the header of a new checkpoint.

        It goes on with what the stages before have told: raw files and canvas, their
        verdicts and notes, and from stage 4 on their transform.

        Parameters
        ----------
        stage, name : int, str
            Which checkpoint it is.
        verdict : Verdict, optional
            What the stage says of its own work.
        notes : tuple of str
            In addition to those of the stages before.
        inputs : str
            Digest of the raw files, for stage 1.
        taken_over : Transform, optional
            That of the dye `registered_on`, which the result rests on.
        **fields
            Others of `Provenance`.
        """
        verdicts: dict[int, Verdict] = {}
        if stage > 1:
            inputs = self._made_from(stage, fields.get("registered_on", ""), taken_over)
            fields = self._first_facts() | fields
            verdicts = self._verdicts_before(stage)
            before = self.find(stage - 1, STAGES[stage - 1].checkpoints[-1])
            given = {} if taken_over else self._given(stage)
            if "regions" in given and (regions := self.regions):
                frame = self.need(1, "post").frames["post"]
                given["regions"]["shares"] = regions.shares(frame) if frame else {}
            if before and (earlier := before.provenance):
                given = {**earlier.raw.get("given", {}), **given}
                notes = (*earlier.notes, *notes)
                fields.setdefault("transform", earlier.transform)
                if stage > max(STAGES_TAKEN_OVER):
                    fields.setdefault("registered_on", earlier.registered_on)
            if given:
                fields["raw"] = {**fields["raw"], "given": given}
        if verdict is not None:
            verdicts[stage] = verdict
        return Provenance(
            sample=self.sample,
            dye=self.dye,
            stage=stage,
            name=name,
            parameters=self.params,
            inputs=inputs,
            verdicts=verdicts,
            notes=notes,
            **fields,
        )

    def _first_facts(self) -> dict[str, Any]:
        """Return what the images of stage 1 tell of raw files and canvas.

        Each tells of itself only: the other one may have been made from others.
        """
        facts: dict[str, dict[str, Any]] = {"raw": {}, "canvas": {}}
        for side in _SIDES:
            found = self.find(1, side)
            if found is None or found.provenance is None:
                continue
            other = _SIDES[side == "post"]
            for name in facts:
                told = getattr(found.provenance, name)
                kinds = ("frame", "pixel_size", "missing")
                alien = (other, *(f"{other}_{kind}" for kind in kinds))
                facts[name] |= {k: v for k, v in told.items() if k not in alien}
        return dict(facts)

    def _verdicts_before(self, stage: int) -> dict[int, Verdict]:
        """Return what the stages before one say of their work, doubts first."""
        verdicts: dict[int, Verdict] = {}
        for number in range(1, stage):
            for name in STAGES[number].checkpoints:
                found = self.find(number, name)
                for n, verdict in (found.verdicts if found else {}).items():
                    if n not in verdicts or verdicts[n].state.is_good:
                        verdicts[n] = verdict
        return verdicts

    def write(
        self,
        provenance: Provenance,
        shape: tuple[int, ...],
        dtype: Any,
        parts: Iterable[tuple[int, Any]],
        monitor: Monitor | None = None,
    ) -> list[Path]:
        """Write a checkpoint in the formats asked for and return its paths.

        Parameters
        ----------
        provenance : Provenance
            Its header, which says which checkpoint it is.
        shape, dtype, parts, monitor
            As `images.io.write_raster` takes them.

        Raises
        ------
        OutputError
            When a file cannot be written; the earlier one stays.
        """
        self.check_output()
        paths = self.paths(provenance.stage, provenance.name)
        for path in paths:
            self._opened.pop(path, None)  # Windows replaces no file that is mapped
        texts: dict[Path, str] = {}
        own = [displacement_path(path) for path in paths]
        if provenance.displacement_file == own[0].name:
            text = files.json_text(provenance.to_displacement(), indent=None)
            texts = dict.fromkeys(own, text)
        io.write_raster(
            paths,
            (shape[0], shape[1]),
            dtype,
            parts,
            header=provenance.to_header(refers=True),
            cards=provenance.to_cards(refers=True),
            pixel_size=provenance.pixel_size,
            beside=texts,
            monitor=monitor,
        )
        for path in set(own) - set(texts):  # of the image that was there before
            with suppress(OSError):
                path.unlink(missing_ok=True)
        self.written += [*texts, *paths]
        logger.info("written: %s", ", ".join(path.name for path in (*texts, *paths)))
        return paths

    def write_array(
        self,
        image: NDArray[Any],
        stage: int,
        name: str,
        entries: Mapping[str, Any],
        *,
        transform: Transform | None = None,
        verdict: Verdict | None = None,
        monitor: Monitor | None = None,
    ) -> list[Path]:
        """Write an image that a script made; see `SampleDye._save_image`."""
        pixels = storable_pixels(np.asarray(image))
        if stage > 1:
            canvas = self.need(1, "post").image.shape
            if pixels.shape != canvas:
                raise errors.ParameterError(
                    f"an image of stage {stage} has the shape of the canvas, "
                    f"{canvas}, found {pixels.shape}"
                )
        # Later stages keep the transform of stage 3.
        own: dict[str, Any] = {}
        if stage <= max(STAGES_TAKEN_OVER):
            own["transform"] = transform
        if verdict is None and stage > DIFFERENCE_STAGE:
            verdict = Verdict(State.OK)
        provenance = self.provenance(
            stage,
            name,
            verdict=verdict,
            content=hashlib.sha256(pixels.tobytes()).hexdigest()[:16],
            extra=plain_entries(entries),
            **own,
        )
        parts = ((y0, pixels[y0:y1]) for y0, y1 in raster.bands(pixels.shape))
        return self.write(provenance, pixels.shape, pixels.dtype, parts, monitor)

    def existing(self) -> frozenset[Path]:
        """Return the files that are there now."""
        return frozenset(path for path in self.folder.rglob("*") if path.is_file())

    def remove_new(self, before: frozenset[Path]) -> None:
        """Remove the files that this store has written and that were not there."""
        for path in set(self.written) - before:
            self._opened.pop(path, None)
            path.unlink(missing_ok=True)


class HasStore(Protocol):
    """What a `SampleDye` is for those that only read its results."""

    @property
    def store(self) -> CheckpointStore: ...  # noqa: D102


def stage_inputs(
    stage: int,
    identities: Mapping[tuple[int, str], str],
    given: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the digest of what a stage from 2 on is made from.

    `identities` are those of the checkpoints of the stage before, by (stage, name);
    `given` is what a person gave for this stage, see `given_at`.
    """
    names = STAGES[stage - 1].checkpoints
    own = digest([identities[stage - 1, name] for name in names])
    digests = {name: told["digest"] for name, told in (given or {}).items()}
    return digest([own, digests]) if digests else own


def given_at(provenance: Provenance) -> dict[str, dict[str, Any]]:
    """Return what a person gave for the stage of a result: files and digests."""
    told = provenance.raw.get("given", {})
    names = _GIVEN.get(provenance.stage, ())
    if provenance.registered_on and provenance.stage in STAGES_TAKEN_OVER:
        names = ()
    return {name: dict(told[name]) for name in names if name in told}


def registered_params(provenance: Provenance) -> dict[str, parameters.ParameterValue]:
    """Return the parameters of a header that are known here, in their types.

    Raises
    ------
    CheckpointError
        When a value does not fit.
    """
    params = {}
    for name, value in provenance.parameters.items():
        entry = parameters.PARAMETER_REGISTRY.get(name)
        if entry is None:
            continue
        try:  # most values of thousands of headers are the defaults
            is_default = value == entry.default and type(value) is type(entry.default)
            params[name] = value if is_default else entry.check(value)
        except errors.ParameterError as error:
            raise CheckpointError(f"its header cannot be read: {error}") from error
    return params


def _word(name: str) -> str:
    """Return what a parameter can hold of the name of a sample."""
    return re.sub("[^A-Za-z0-9.]", "", name)


def _check_stage(stage: int) -> None:
    if stage not in STAGES:
        raise errors.ParameterError(
            f"stage takes a number from 1 to {max(STAGES)}, found {stage!r}"
        )


def _needs_both(stage: int, name: str) -> bool:
    """Return whether a checkpoint is written as TIFF and FITS whatever is asked."""
    return stage == DIFFERENCE_STAGE and name.partition("_")[0] == "difference"


def _stamp_if_there(path: Path) -> files.Stamp | None:
    try:
        return files.stamp(path)
    except OSError:
        return None


_Content = tuple[Raster, Provenance | None] | CheckpointError


def _content(path: Path) -> _Content:
    try:
        image = io.open_raster(path)
        own = not image.is_foreign
        return image, Provenance.from_header(image.header, path) if own else None
    except CheckpointError as error:
        return error
