"""Whether stage 1 still belongs to the raw files that are there now."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from napari_exo2micro.core.errors import CheckpointError, RawDataError
from napari_exo2micro.core.provenance import Provenance
from napari_exo2micro.core.raw import (
    Loader,
    RawFingerprint,
    find_pair,
    get_loader,
    loader_name,
    open_image_pair,
)
from napari_exo2micro.core.raw.tiff import open_tiff

__all__ = ["RawSource"]

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
