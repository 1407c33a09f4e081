"""The checkpoints of a sample and dye, and whether they are valid for its raw files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_exo2micro.core.base.errors import (
    CheckpointError,
    ParameterError,
    RawDataError,
)
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.io import open_raster, write_raster
from napari_exo2micro.core.images.raster import Raster
from napari_exo2micro.core.parameters.parameters import (
    PARAMETER_REGISTRY,
    ParameterValue,
    build_suffix,
)
from napari_exo2micro.core.parameters.stages import LAST_BUILT_IN, STAGE_NAMES, STAGES
from napari_exo2micro.core.parameters.state import State
from napari_exo2micro.core.parameters.verdict import Verdict
from napari_exo2micro.core.raw.fingerprint import RawFingerprint
from napari_exo2micro.core.raw.names import find_pair
from napari_exo2micro.core.raw.pair import (
    Loader,
    get_loader,
    loader_name,
    open_image_pair,
)
from napari_exo2micro.core.raw.tiff import open_tiff
from napari_exo2micro.core.store.checkpoint import (
    Checkpoint,
    CheckpointStatus,
    Provenance,
    digest,
    name_ending,
)

logger = logging.getLogger(__name__)

_SIDES = ("post", "pre")


class RawSource:
    """The raw images of one sample and dye, compared with what headers say.

    Each version of a file is read at most once in an object's life.

    Parameters
    ----------
    sample, dye : str
        Names as in the raw folder.
    raw_dir : Path
        The raw folder.
    loader : callable, optional
        Reads the pair instead of the built-in rules.
    """

    def __init__(
        self, sample: str, dye: str, raw_dir: Path, loader: Loader | None
    ) -> None:
        self._pair = (sample, dye, raw_dir)
        self._loader = loader
        self._shapes: dict[Any, tuple[int, int]] = {}
        self._same: dict[Any, bool] = {}
        self._loaded: dict[str, RawFingerprint] = {}

    @property
    def loader_name(self) -> str:
        """Name that the loader is registered under, or that of the function."""
        return loader_name(get_loader(self._loader))

    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Return rows and columns of post and pre; None when there are no files."""
        try:
            post, pre, _ = find_pair(*self._pair)
            return self._shape(post), self._shape(pre)
        except (RawDataError, OSError):  # none at all, or a link to nowhere
            return None

    def mismatch(self, provenance: Provenance | None) -> str:
        """Return why a stage-1 image was made from others; empty when it was not."""
        raw = provenance.raw if provenance else {}
        if not raw:
            return ""
        try:
            stored = {s: RawFingerprint.from_dict(raw.get(s, {})) for s in _SIDES}
        except CheckpointError as error:
            return f"its header does not tell the raw files: {error}"
        if raw.get("loader") != self.loader_name:
            maker = raw.get("loader")
            return (
                f"the loader '{maker}' made it, now '{self.loader_name}' is asked for"
            )
        paths = {side: str(raw[side].get("file", "")) for side in _SIDES}
        if self._loader is None:
            try:
                post, pre, _ = find_pair(*self._pair)
            except RawDataError as error:
                logger.info("the raw files could not be compared: %s", error)
                return ""
            paths = {"post": str(post), "pre": str(pre)}
        for side, path in paths.items():
            if not path:
                same, what = (
                    self._is_same_array(side, stored[side]),
                    f"the {side} image",
                )
            else:
                same, what = (
                    self._is_same_file(Path(path), stored[side]),
                    Path(path).name,
                )
            if not same:
                return f"{what} is not the file that it was made from"
        return ""

    def remember(self, post: RawFingerprint, pre: RawFingerprint) -> None:
        """Take what stage 1 has just read as the images that are there now."""
        self._loaded = {"post": post, "pre": pre}

    def _shape(self, path: Path) -> tuple[int, int]:
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._shapes:
            self._shapes[key] = open_tiff(path).shape
        return self._shapes[key]

    def _is_same_file(self, path: Path, stored: RawFingerprint) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False
        key = (path, status.st_size, status.st_mtime_ns, stored.sha256)
        if key not in self._same:
            self._same[key] = stored.matches(path)
        return self._same[key]

    def _is_same_array(self, side: str, stored: RawFingerprint) -> bool:
        """Ask a loader that names no files for its images, once."""
        if not self._loaded:
            pair = open_image_pair(*self._pair, loader=self._loader)
            self._loaded = {
                "post": pair.post.fingerprint(),
                "pre": pair.pre.fingerprint(),
            }
        return self._loaded[side].same_content(stored)


FORMATS = ("tiff", "fits", "both")
#: A stage-3 image without a transform says nothing about the alignment, and what
#: follows it rests on it.
_LAST_STAGE_WITHOUT_HEADER = 2


class CheckpointStore:
    """The files of one sample and dye.

    Parameters
    ----------
    folder : Path
        ``<output_dir>/<sample>/<dye>``.
    sample, dye : str
        Must agree with the headers.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What is written; what exists is read, TIFF first.
    """

    def __init__(
        self, folder: Path, sample: str, dye: str, checkpoint_format: str
    ) -> None:
        if checkpoint_format not in FORMATS:
            raise ParameterError(
                f"checkpoint_format takes one of {', '.join(FORMATS)}, found "
                f"{checkpoint_format!r}"
            )
        self.folder = folder
        self.sample = sample
        self.dye = dye
        self.format = checkpoint_format
        self.written: list[Path] = []
        self._told: set[tuple[Path, str]] = set()
        self._opened: dict[
            Path,
            tuple[tuple[int, int, int], Raster | CheckpointError, Provenance | None],
        ] = {}

    # Names -------------------------------------------------------------------

    def tiff_path(
        self, stage: int, name: str, params: Mapping[str, ParameterValue]
    ) -> Path:
        """Return the path of a checkpoint as TIFF."""
        stem = self._stem(f"{STAGE_NAMES[stage]}_{name}", stage, params)
        return self.folder / "tiff" / f"{stem}.tiff"

    def fits_path(
        self, stage: int, name: str, params: Mapping[str, ParameterValue]
    ) -> Path:
        """Return the path of a checkpoint as FITS."""
        stem = self._stem(f"{STAGE_NAMES[stage]}_{name}", stage, params)
        return self.folder / "fits" / f"{stem}.fits"

    def output_path(
        self,
        name: str,
        params: Mapping[str, ParameterValue],
        extension: str = ".png",
        *,
        stage: int = LAST_BUILT_IN,
    ) -> Path:
        """Return the path of a plot or record; it carries the suffix of its stage."""
        stem = self._stem(name, stage, params)
        return self.folder / "pipeline_output" / f"{stem}{extension}"

    @staticmethod
    def _stem(start: str, stage: int, params: Mapping[str, ParameterValue]) -> str:
        return start + name_ending(start, build_suffix(params, stage))

    def paths(
        self, stage: int, name: str, params: Mapping[str, ParameterValue]
    ) -> list[Path]:
        """Return the files that a checkpoint is written to."""
        both = self.format == "both" or self.all_needed(stage, name)
        tiff = self.tiff_path(stage, name, params)
        fits = self.fits_path(stage, name, params)
        if both:
            return [tiff, fits]
        return [tiff] if self.format == "tiff" else [fits]

    def all_needed(self, stage: int, name: str) -> bool:
        """Return whether a checkpoint must exist in each of its formats."""
        return stage == 4 and name.partition("_")[0] == "difference"

    # Reading -----------------------------------------------------------------

    def find(
        self,
        stage: int,
        name: str,
        params: Mapping[str, ParameterValue],
        *,
        inputs: str | None,
        shape: tuple[int, ...] | None = None,
    ) -> Checkpoint | None:
        """Return a checkpoint that is valid for these inputs, or None.

        Parameters
        ----------
        stage, name, params
            Which one.
        inputs : str or None
            Digest that its header must hold; None when the inputs cannot be
            checked.
        shape : tuple of int, optional
            Rows and columns that it must have.
        """
        for path in self._candidates(stage, name, params):
            try:
                found = self._open(path, stage, name, params, inputs, shape)
            except CheckpointError as error:
                self.tell(path, f"{path.name} is not used: {error}")
            else:
                if path.parent.name != self.format and self.format != "both":
                    exists = path.parent.name.upper()
                    self.tell(
                        self.folder,
                        f"{self.format.upper()} was asked for and checkpoints exist "
                        f"as {exists}: reading those; the formats are mixed from here "
                        "on",
                    )
                return found
        return None

    def state(
        self,
        stage: int,
        name: str,
        params: Mapping[str, ParameterValue],
        *,
        inputs: str | None,
        shape: tuple[int, ...] | None = None,
    ) -> CheckpointStatus:
        """Return whether a checkpoint is valid, stale or missing, and why.

        Each file that exists in a format asked for must be valid, and a difference
        must exist in both.
        """
        reasons, good = [], []
        candidates = self._candidates(stage, name, params)
        for path in candidates:
            try:
                self._open(path, stage, name, params, inputs, shape)
            except CheckpointError as error:
                reasons.append(f"{path.name}: {error}")
            else:
                good.append(path)
        wanted = self.paths(stage, name, params)
        if good and self.all_needed(stage, name):
            reasons += [f"{p.name} is missing" for p in wanted if not p.is_file()]
        broken = [p for p in wanted if p.is_file() and p not in good]
        if good and not broken and not (reasons and self.all_needed(stage, name)):
            known = self._read(good[0])[1]
            note = "" if known else "no header: provenance unknown"
            return CheckpointStatus(
                stage, name, "checkpoint", State.VALID, note, good[0]
            )
        state = State.STALE if candidates else State.MISSING
        return CheckpointStatus(
            stage, name, "checkpoint", state, "; ".join(reasons), wanted[0]
        )

    def _candidates(
        self, stage: int, name: str, params: Mapping[str, ParameterValue]
    ) -> list[Path]:
        both = (
            self.tiff_path(stage, name, params),
            self.fits_path(stage, name, params),
        )
        return [path for path in both if path.is_file()]

    def _open(
        self,
        path: Path,
        stage: int,
        name: str,
        params: Mapping[str, ParameterValue],
        inputs: str | None,
        shape: tuple[int, ...] | None,
    ) -> Checkpoint:
        image, provenance = self._read(path)
        if shape is not None and image.shape != shape:
            raise CheckpointError(
                f"it has {image.shape[1]} x {image.shape[0]} px, expected "
                f"{shape[1]} x {shape[0]}; it belongs to other raw files"
            )
        if provenance is None:
            return self._without_header(image, stage)
        found = (provenance.sample, provenance.dye, provenance.stage, provenance.name)
        if found != (self.sample, self.dye, stage, name):
            raise CheckpointError(
                f"its header says {found}, expected "
                f"{(self.sample, self.dye, stage, name)}; it was moved here"
            )
        if build_suffix(_known(provenance.parameters), stage) != build_suffix(
            params, stage
        ):
            raise CheckpointError("its header tells other parameters than its name")
        if inputs is not None and provenance.inputs != inputs:
            raise CheckpointError(
                "it was made from other raw files or another result of the stage before"
                if stage > 1
                else "it was made from other raw files"
            )
        return Checkpoint(image, provenance, provenance.identity)

    def _read(self, path: Path) -> tuple[Raster, Provenance | None]:
        """Open a file, or give it again as long as it has not changed."""
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._opened.get(path)
        if known is None or known[0] != stamp:
            try:
                image = open_raster(path)
                own = not image.is_foreign
                provenance = Provenance.from_header(image.header) if own else None
            except CheckpointError as error:
                self._opened[path] = (stamp, error, None)
                raise
            self._opened[path] = known = (stamp, image, provenance)
        if isinstance(known[1], CheckpointError):
            raise known[1]
        return known[1], known[2]

    @staticmethod
    def _without_header(image: Raster, stage: int) -> Checkpoint:
        if stage > _LAST_STAGE_WITHOUT_HEADER:
            raise CheckpointError(
                "it carries no header of this package, so its transform cannot be known"
            )
        status = image.path.stat()
        identity = digest(["no header", stage, status.st_size, status.st_mtime_ns])
        return Checkpoint(image, None, identity)

    def tell(self, path: Path, text: str) -> None:
        """Log a line once."""
        if (path, text) not in self._told:
            self._told.add((path, text))
            logger.warning("%s", text)

    def existing(self) -> frozenset[Path]:
        """Return the files that are there now."""
        return frozenset(path for path in self.folder.rglob("*") if path.is_file())

    def remove_new(self, before: frozenset[Path]) -> None:
        """Remove the files that this store has written and that were not there."""
        for path in set(self.written) - before:
            self._opened.pop(path, None)
            path.unlink(missing_ok=True)

    # Writing -----------------------------------------------------------------

    def write(
        self,
        provenance: Provenance,
        shape: tuple[int, int],
        dtype: Any,
        bands: Iterable[tuple[int, Any]],
        monitor: Monitor | None = None,
    ) -> list[Path]:
        """Write a checkpoint in the formats asked for and return its paths.

        Raises
        ------
        OutputError
            When a file cannot be written; the earlier one stays.
        """
        params = provenance.parameters
        paths = self.paths(provenance.stage, provenance.name, params)
        for path in paths:
            self._opened.pop(path, None)  # Windows replaces no file that is mapped
        write_raster(
            paths,
            shape,
            dtype,
            bands,
            header=provenance.to_header(),
            cards=provenance.to_cards(),
            monitor=monitor,
        )
        self.written += paths
        logger.info("written: %s", ", ".join(path.name for path in paths))
        return paths


def stage_inputs(stage: int, identities: Mapping[tuple[int, str], str]) -> str:
    """Return the digest of what a stage is made from.

    Parameters
    ----------
    stage : int
        From 2 on.
    identities : mapping
        Identity of each checkpoint of the stage before, under (stage, name).
    """
    names = STAGES[stage - 1].checkpoints
    return digest([identities[stage - 1, name] for name in names])


def _known(parameters: Mapping[str, Any]) -> dict[str, ParameterValue]:
    """Return the parameters as read from JSON, where a float may look like an int."""
    try:
        return {
            name: PARAMETER_REGISTRY[name].check(value)
            for name, value in parameters.items()
            if name in PARAMETER_REGISTRY
        }
    except ParameterError as error:
        raise CheckpointError(f"its header cannot be read: {error}") from error


def verdicts_of(provenance: Provenance | None) -> dict[str, Verdict]:
    """Return the verdicts in a header, none when there is no header."""
    return dict(provenance.verdicts) if provenance else {}
