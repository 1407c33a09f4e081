"""What a raw image is recognised by: size, times, place on the disk, and its digest.

An image may be a file, or a folder of files (Zarr).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_exo2micro.core.base import files
from napari_exo2micro.core.base.errors import CheckpointError, RawFileNotFoundError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class RawFingerprint:
    """Size, times, place and content of a raw file, or of a folder that is an image.

    Attributes
    ----------
    size : int
        Bytes, of all files of a folder.
    mtime_ns : int
        Time of the last change, ns since 1970; 0 for an array without a file.
    sha256 : str
        Hexadecimal digest of the content; of a folder, of the names and contents of its
        files.
    inode : int
        Number of the file on its disk; 0 where it is not known. Of a folder a number
        that stands for names, sizes, times and numbers of all its files.
    ctime_ns : int
        Time of the last change of content, name or permissions, which no program sets
        back, ns since 1970; 0 where it is not known, as on Windows.
    """

    size: int
    mtime_ns: int
    sha256: str
    inode: int = 0
    ctime_ns: int = 0

    @classmethod
    def seen(cls, stamp: files.Stamp, sha256: str) -> RawFingerprint:
        """Return the fingerprint of a file that was looked at and read.

        Parameters
        ----------
        stamp : Stamp
            Of the file, from before it was read.
        sha256 : str
            Hexadecimal digest of its content.

        Returns
        -------
        RawFingerprint
            Of the file as it was then.
        """
        # Windows has the time when the file was made there, which copying keeps or not.
        changed = 0 if os.name == "nt" else stamp.ctime_ns
        return cls(stamp.size, stamp.mtime_ns, sha256, stamp.inode, changed)

    @classmethod
    def of(cls, path: Path) -> RawFingerprint:
        """Read a file and return its fingerprint.

        Parameters
        ----------
        path : pathlib.Path
            The file.

        Returns
        -------
        RawFingerprint
            Of the file as it is now.

        Raises
        ------
        RawFileNotFoundError
            If the file cannot be read.
        """
        try:
            stamp = files.stamp(path)
            sha256 = hashlib.sha256()
            add_content(path, sha256)
        except OSError as error:
            raise RawFileNotFoundError(
                f"{path}: cannot be read ({error.strerror}); check the file and "
                "its permissions"
            ) from error
        return cls.seen(stamp, sha256.hexdigest())

    def to_dict(self) -> dict[str, int | str]:
        """Return the fields for JSON.

        Returns
        -------
        dict
            `size`, `mtime_ns` and `sha256`; `inode` and `ctime_ns` where known.
        """
        fields = asdict(self)
        for name in ("inode", "ctime_ns"):
            if not fields[name]:
                del fields[name]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> RawFingerprint:
        """Return the fingerprint that `to_dict` wrote.

        Parameters
        ----------
        fields : mapping
            As `to_dict` returned it.

        Returns
        -------
        RawFingerprint
            An equal one.

        Raises
        ------
        CheckpointError
            If a field is missing or of another type.
        """
        try:
            size, mtime_ns, sha256 = (
                fields[name] for name in ("size", "mtime_ns", "sha256")
            )
            if not isinstance(sha256, str):
                raise TypeError(f"sha256 is {sha256!r}")
            place = (int(fields.get(name, 0)) for name in ("inode", "ctime_ns"))
            return cls(int(size), int(mtime_ns), sha256, *place)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"a raw file's fingerprint needs size, mtime_ns and sha256 ({error}); "
                "make the checkpoint again"
            ) from error

    def same_content(self, other: RawFingerprint) -> bool:
        """Tell whether both stand for the same bytes, whatever their times.

        Parameters
        ----------
        other : RawFingerprint
            Of another file, or of this one at another time.

        Returns
        -------
        bool
            Whether size and digest are equal.
        """
        return self.size == other.size and self.sha256 == other.sha256

    def matches(
        self, path: Path | str, *, recorded: float | None = None, verify: bool = False
    ) -> bool:
        """Tell whether a file exists and still has this content.

        The content is read where the size is equal and anything else differs: a copy
        is the same file. Where all is equal it is trusted, except for a file that was
        changed when this was recorded, or later: such a change need not show.

        Parameters
        ----------
        path : Path or str
            The file.
        recorded : float, optional
            When this fingerprint was written down, seconds since 1970.
        verify : bool
            Read the content in any case.

        Returns
        -------
        bool
            False also for a file that cannot be read.
        """
        path = Path(path)
        try:
            now = self.seen(files.stamp(path), self.sha256)
            if now.size != self.size:
                return False
            if not verify and self._is_trusted(now, recorded):
                return True
            return self.same_content(RawFingerprint.of(path))
        except OSError:
            return False

    def _is_trusted(self, now: RawFingerprint, recorded: float | None) -> bool:
        if not (self.inode or self.ctime_ns):  # written by an earlier version
            return now.mtime_ns == self.mtime_ns
        young = recorded is not None and max(now.mtime_ns, now.ctime_ns) >= int(
            recorded * 1e9
        )
        return now == self and not young


def add_content(path: Path, sha256: Any) -> None:
    """Digest a file, or names, sizes and contents of the files of a folder.

    Raises
    ------
    OSError
        If one of them cannot be read.
    """
    names: dict[str, int] = {"": 0}
    if path.is_dir():
        names = {n: status.st_size for n, status in files.files_below(path).items()}
    for name, size in names.items():
        if name:
            sha256.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
        with (path / name).open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
