"""The one family of exceptions and warnings that this package raises."""

from __future__ import annotations


class Exo2MicroError(Exception):
    """Base of every error that a user of this package can cause.

    The message is one line: what was wanted, what was found, and the fix.
    """


class RawDataError(Exo2MicroError, ValueError):
    """A raw file or a pair of raw files cannot be used as it is."""


class RawFileNotFoundError(RawDataError, FileNotFoundError):
    """A raw folder, sample folder or one side of a pair does not exist."""

    def __str__(self) -> str:
        """Return the message alone, without the errno form of `OSError`."""
        return str(self.args[0]) if self.args else ""


class ParameterError(Exo2MicroError, ValueError):
    """A parameter has an unknown name, a wrong type or a value out of range."""


class CheckpointError(Exo2MicroError):
    """A checkpoint is missing, unreadable or belongs to other inputs."""


class OutputError(Exo2MicroError, OSError):
    """A result could not be written; what was valid before is untouched."""

    def __str__(self) -> str:
        """Return the message alone, without the errno form of `OSError`."""
        return str(self.args[0]) if self.args else ""


class LockedError(OutputError):
    """Another run works on the same sample and dye in the same output folder."""


class ResourceError(Exo2MicroError, RuntimeError):
    """Memory, disk or time are not enough for what was asked."""


class RegistrationError(Exo2MicroError):
    """Two images could not be compared at all, for example an empty one."""


class CancelledError(Exo2MicroError):
    """The person asked a running stage to stop; valid checkpoints remain."""


class DataWarning(UserWarning):
    """The data are usable, but not as a careful reader would expect."""
