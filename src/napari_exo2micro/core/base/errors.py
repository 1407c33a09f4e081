"""The one family of exceptions and warnings that this package raises."""

import sys
from typing import Any


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


def refuse_assignment(module: str, instead: str, *names: str) -> None:
    """Make assigning some names of a module fail.

    Other modules hold what the names meant when they were imported, so what a script
    puts in their place would never be called.

    Parameters
    ----------
    module : str
        Its ``__name__``; it need not have the names.
    instead : str
        What to do, for the message.
    *names : str
        The names.

    Raises
    ------
    ParameterError
        Whenever one of them is assigned.
    """

    class Guarded(type(sys.modules[module])):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            if name in names:
                raise ParameterError(
                    f"assigning {module}.{name} would change nothing: nothing looks it "
                    f"up there; use {instead} instead"
                )
            super().__setattr__(name, value)

    sys.modules[module].__class__ = Guarded
