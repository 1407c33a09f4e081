"""What a raw file is recognised by: size, time and a digest of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_exo2micro.core.base.errors import CheckpointError, RawFileNotFoundError


@dataclass(frozen=True, slots=True)
class RawFingerprint:
    """Size, time and content of a raw file.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns : int
        Time of the last change, ns since 1970; 0 for an array without a file.
    sha256 : str
        Hexadecimal digest of the content.
    """

    size: int
    mtime_ns: int
    sha256: str

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
            with path.open("rb") as file:
                status = path.stat()
                digest = hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise RawFileNotFoundError(
                f"{path}: cannot be read ({error.strerror}); check the file and "
                "its permissions"
            ) from error
        return cls(status.st_size, status.st_mtime_ns, digest.hexdigest())

    def to_dict(self) -> dict[str, int | str]:
        """Return the three fields for JSON.

        Returns
        -------
        dict
            `size`, `mtime_ns` and `sha256`.
        """
        return asdict(self)

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
            return cls(int(size), int(mtime_ns), sha256)
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

    def matches(self, path: Path | str) -> bool:
        """Tell whether a file still has this content.

        Equal size and time are trusted; another size is a no; with equal size
        and another time the content is read.

        Parameters
        ----------
        path : pathlib.Path or str
            The file; one that is gone does not match.

        Returns
        -------
        bool
            Whether it matches.
        """
        path = Path(path)
        try:
            status = path.stat()
            if (status.st_size, status.st_mtime_ns) == (self.size, self.mtime_ns):
                return True
            return status.st_size == self.size and self.same_content(
                RawFingerprint.of(path)
            )
        except OSError:
            return False
