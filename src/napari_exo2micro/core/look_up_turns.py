"""One thread at a time looks up what packages offer; no lock is held meanwhile.

A look-up imports strangers' modules. Were a lock held, two threads could wait for each
other: one for the lock, one for a module that the first is importing.
"""

from __future__ import annotations

import inspect
import sys
import threading
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_exo2micro.core.registries import Registry

__all__ = ["Failure", "Turn", "begin_turn", "end_turn", "own_turn"]

_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"
_LOOK_AGAIN = 0.05  # s between two looks at what the other thread waits for


@dataclass(frozen=True, slots=True)
class Failure:
    """What a package offers and could not be taken.

    Attributes
    ----------
    registry : Registry
        For what it was offered.
    point : EntryPoint
        Where.
    entry : object
        The entry that was refused; None when it could not even be imported.
    error : Exception or SystemExit
        Why.
    taken : int
        How many entries had been taken when it failed; -1 when the imports that it
        happened in may have been the reason.
    """

    registry: Registry[Any, Any]
    point: EntryPoint
    entry: Any
    error: BaseException
    taken: int

    def may_come_later(self) -> bool:
        """Return whether the import has not ended that it failed in."""
        module = self.point.value.partition(":")[0].strip()
        return self.entry is None and _is_being_imported(module)


class Turn:
    """The look-up of one thread with all that it leads to.

    Attributes
    ----------
    thread : int
        Identity of the thread that looks up.
    begun : list of Registry
        Those whose look-up has begun.
    failed : list of Failure
        What could not be taken so far.
    taken : int
        How many entries have been taken so far.
    depth : int
        How many look-ups are going on within each other.
    """

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.begun: list[Registry[Any, Any]] = []
        self.failed: list[Failure] = []
        self.taken = 0
        self.depth = 0

    def try_again(self) -> None:
        """Take what failed once more, as long as others' entries have come since."""
        while any(failure.taken < self.taken for failure in self.failed):
            failures, self.failed = self.failed, []
            for failure in failures:
                if failure.taken < self.taken:
                    failure.registry.take_again(failure, self)
                else:
                    self.failed.append(failure)

    def conclude(self) -> None:
        """Leave out what has failed, except what may come when an import has ended."""
        for failure in self.failed:
            failure.registry.give_up(failure)
        for registry in self.begun:
            registry.is_looked_up = True


_changed = threading.Condition()
_current: Turn | None = None


def own_turn() -> Turn | None:
    """Return the look-up that this thread is in, or None."""
    turn = _current
    if turn is not None and turn.thread == threading.get_ident():
        return turn
    return None


def begin_turn() -> Turn | None:
    """Wait for another thread's look-up, then begin one.

    Returns
    -------
    Turn or None
        None where waiting could last for ever: this thread imports a module, and the
        other one's look-up waits for a module.
    """
    global _current
    with _changed:
        while _current is not None:
            if not _is_inside_import(inspect.currentframe()):
                _changed.wait()
            elif _waits_for_import(_current):
                return None
            else:
                _changed.wait(_LOOK_AGAIN)
        _current = Turn()
        return _current


def end_turn() -> None:
    """Let the next thread look up."""
    global _current
    with _changed:
        _current = None
        _changed.notify_all()


def _is_being_imported(module: str) -> bool:
    """Return whether the import of a module or of its package has not ended yet."""
    parts = module.split(".")
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    specs = [getattr(sys.modules.get(name), "__spec__", None) for name in names]
    return any(getattr(spec, "_initializing", False) for spec in specs)


def _is_inside_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False


def _waits_for_import(turn: Turn) -> bool:
    """Return whether a look-up waits for a module that another thread imports."""
    frame = sys._current_frames().get(turn.thread)
    code = frame.f_code if frame is not None else None
    return (
        code is not None
        and code.co_filename == _IMPORT_SYSTEM
        and code.co_name == "acquire"
    )
