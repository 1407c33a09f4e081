"""What can be extended: built-in entries, those of a script, those of packages.

One mechanism for diagnostics, loaders, parameters, scale methods and stages. Other
packages offer theirs through entry points, which are looked up when a registry is
first used for more than a built-in entry: all those of its kind at once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.look_up_turns import (
    Failure,
    Turn,
    begin_turn,
    end_turn,
    own_turn,
)

__all__ = ["Registry", "refuse_unknown_here", "registered_here"]

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")

_REGISTRIES: dict[str, Registry[Any, Any]] = {}

# Guards the entries of all registries: the check of one reads others. Nothing is looked
# up by a thread that holds it.
_LOCK = threading.RLock()
_here = threading.local()


class Registry(Mapping[K, V], Generic[K, V]):
    """Entries by name: built-in ones first, then packages', then a script's.

    Entries of packages come in the order of the packages' and then the entry
    points' names, whatever order they were installed in. What cannot be imported or
    is refused is tried again when others' entries have come, which it may need; then it
    is logged in one line and left out.

    Asking for any key that is no built-in one imports what packages offer of this kind.

    Parameters
    ----------
    kind : str
        What one entry is, in words.
    group : str
        Entry points of this group offer entries, or tuples or lists of them.
    key : callable
        Takes an entry, returns its key.
    built_in : iterable
        The entries of this package.
    check : callable, optional
        Takes a new entry, raises `ParameterError` when it cannot be taken.
    offered : callable, optional
        Takes an entry point's name and what it refers to, returns the entry.
    order : callable, optional
        Takes an entry of a package, returns what packages' entries are sorted by
        before their names.
    after : iterable of Registry, optional
        The registries that `check` reads; their packages come first.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        *,
        key: Callable[[V], K],
        built_in: Iterable[V] = (),
        check: Callable[[V], None] | None = None,
        offered: Callable[[str, Any], V] | None = None,
        order: Callable[[V], Any] | None = None,
        after: Iterable[Registry[Any, Any]] = (),
    ) -> None:
        self.kind = kind
        self.group = group
        self._key = key
        self._check = check
        self._offered = offered
        self._order = order
        self._after = tuple(after)
        self._entries: dict[K, V] = {key(entry): entry for entry in built_in}
        self._built_in = frozenset(self._entries)
        self._of_script: set[K] = set()
        self._of_packages: set[K] = set()
        # Added by a package's module while it was imported, but not offered.
        self._of_imports: set[K] = set()
        #: Name of an entry point -> why what it offers is left out.
        self.problems: dict[str, str] = {}
        #: Whether the packages' entries are there.
        self.is_looked_up = False
        # Failed because its own import had not ended, and is tried again after that.
        self._waiting: list[Failure] = []
        _REGISTRIES[kind] = self

    def __getitem__(self, key: K) -> V:
        if key in self._entries:
            return self._entries[key]
        return self._all()[key]

    def __iter__(self) -> Iterator[K]:
        entries = self._all()
        with _LOCK:
            return iter(list(entries))

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, key: object) -> bool:
        return key in self._entries or key in self._all()

    def __repr__(self) -> str:
        return f"<{self.kind}: {', '.join(map(str, self))}>"

    def entry_of(self, name: str, offered: Any) -> V:
        """Return the entry that an entry point's object stands for."""
        entry: V = self._offered(name, offered) if self._offered else offered
        return entry

    def look_again(self) -> None:
        """Forget what packages offer; it is looked up when it is needed next."""
        with _LOCK:
            for key in self._of_packages:
                self._entries.pop(key, None)
            self._of_packages.clear()
            self._waiting.clear()
            self.problems.clear()
            self.is_looked_up = False

    def view(self, value: Callable[[V], W]) -> Mapping[K, W]:
        """Return a mapping of the same keys that follows this one."""
        return _View(self, value)

    def is_built_in(self, key: K) -> bool:
        """Return whether an entry belongs to this package."""
        return key in self._built_in

    @property
    def of_script(self) -> tuple[K, ...]:
        """Keys of what was added in this process, not by an installed package."""
        with _LOCK:
            return tuple(key for key in self._entries if key in self._of_script)

    @property
    def unknown_elsewhere(self) -> tuple[K, ...]:
        """Keys that looking up this registry alone does not give another process."""
        with _LOCK:
            added = self._of_script | self._of_imports
            return tuple(key for key in self._entries if key in added)

    def add(self, entry: V) -> V:
        """Put an entry last.

        Raises
        ------
        ParameterError
            When it cannot be taken: the message says why.
        """
        for registry in (*self._after, self):
            registry._all()
        in_look_up = own_turn() is not None
        return self._put(entry, self._of_imports if in_look_up else self._of_script)

    def add_built_in(self, entry: V) -> V:
        """Put in an entry of this package, made after the registry was."""
        with _LOCK:
            self._entries[self._key(entry)] = entry
            self._built_in |= {self._key(entry)}
            return entry

    def remove(self, key: K) -> V:
        """Take an entry out and return it."""
        self._all()
        with _LOCK:
            for keys in (self._of_script, self._of_packages, self._of_imports):
                keys.discard(key)
            return self._entries.pop(key)

    def _put(self, entry: V, keys: set[K]) -> V:
        with _LOCK:
            key = self._key(entry)
            if self._entries.get(key) is entry:
                if key in self._of_script or key in self._of_imports:
                    self._of_script.discard(key)
                    self._of_imports.discard(key)
                    keys.add(key)
                return entry
            if self._check is not None:
                before = getattr(_here, "is_checking", False)
                _here.is_checking = True
                try:
                    self._check(entry)
                finally:
                    _here.is_checking = before
            self._entries[key] = entry
            keys.add(key)
            return entry

    def _all(self) -> dict[K, V]:
        if self._is_complete() or getattr(_here, "is_checking", False):
            return self._entries
        turn = own_turn()
        if turn is not None:  # a module that is being looked up asks
            self._look_up(turn)
            return self._entries
        turn = begin_turn()
        if turn is not None:
            try:
                self._look_up(turn)
                turn.try_again()
                turn.conclude()
            except BaseException:  # a person pressed Ctrl+C: it is looked up next time
                for registry in turn.begun:
                    registry.look_again()
                raise
            finally:
                end_turn()
        return self._entries

    def _is_complete(self) -> bool:
        return self.is_looked_up and all(
            failure.may_come_later() for failure in self._waiting
        )

    def _look_up(self, turn: Turn) -> None:
        if self._is_complete() or any(self is begun for begun in turn.begun):
            return
        turn.begun.append(self)
        if self.is_looked_up:
            self.is_looked_up = False
            turn.failed += [replace(one, taken=-1) for one in self._waiting]
            self._waiting = []
            return
        for registry in self._after:
            registry._look_up(turn)
        turn.depth += 1
        found: list[tuple[EntryPoint, V]] = []
        for point in sorted(entry_points(group=self.group), key=_place):
            found += [(point, one) for one in self._load(point, turn)]
        if self._order is not None:
            order = self._order
            found.sort(key=lambda pair: order(pair[1]))
        for point, entry in found:
            self._take(point, entry, turn)
        turn.depth -= 1

    def take_again(self, failure: Failure, turn: Turn) -> None:
        """Take what failed before."""
        turn.depth = 1
        entries = [failure.entry]
        if failure.entry is None:
            entries = self._load(failure.point, turn)
        for entry in entries:
            self._take(failure.point, entry, turn)

    def give_up(self, failure: Failure) -> None:
        """Leave out what failed, or keep it until its import has ended."""
        if failure.may_come_later():
            self._waiting.append(failure)
        else:
            self._leave_out(failure.point, failure.error)

    def _take(self, point: EntryPoint, entry: V, turn: Turn) -> None:
        try:
            self._put(entry, self._of_packages)
        except Exception as error:  # noqa: BLE001 - a stranger's entry
            turn.failed.append(Failure(self, point, entry, error, turn.taken))
        else:
            turn.taken += 1

    def _load(self, point: EntryPoint, turn: Turn) -> list[V]:
        """Return what an entry point offers; nothing when it cannot be had."""
        try:
            loaded = point.load()
            several = isinstance(loaded, (list, tuple))
            made = []
            for one in loaded if several else [loaded]:
                entry = self.entry_of(point.name, one)
                self._key(entry)  # raises for what is no entry
                if self._order is not None:
                    self._order(entry)
                made.append(entry)
        except (Exception, SystemExit) as error:  # noqa: BLE001
            # Whatever a stranger's module does, work goes on without it.
            taken = turn.taken if turn.depth == 1 else -1
            turn.failed.append(Failure(self, point, None, error, taken))
            return []
        return made

    def _leave_out(self, point: EntryPoint, error: BaseException) -> None:
        what = str(error)
        if not isinstance(error, ParameterError):
            what = f"{type(error).__name__}: {error}"
        self.problems[point.name] = f"{point.value}: {what}"
        logger.warning(
            "the %s '%s' of %s (%s) is left out: %s; repair or uninstall that package",
            self.kind,
            point.name,
            _package(point) or "another package",
            point.value,
            what,
        )
        logger.debug("why it is left out", exc_info=error)


class _View(Mapping[K, W], Generic[K, V, W]):
    """The keys of a registry with something of each entry."""

    def __init__(self, registry: Registry[K, V], value: Callable[[V], W]) -> None:
        self._registry = registry
        self._value = value

    def __getitem__(self, key: K) -> W:
        return self._value(self._registry[key])

    def __iter__(self) -> Iterator[K]:
        return iter(self._registry)

    def __len__(self) -> int:
        return len(self._registry)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def _place(point: EntryPoint) -> tuple[str, str]:
    """Return what entry points are sorted by."""
    return _package(point).lower(), point.name


def registered_here() -> dict[str, tuple[Any, ...]]:
    """Return what this process has registered and another one cannot know of.

    Returns
    -------
    dict
        Kind of entry -> keys; only kinds that have some. Loaders travel with their
        tasks and are not among them.
    """
    known = {kind: one.unknown_elsewhere for kind, one in _REGISTRIES.items()}
    return {kind: keys for kind, keys in known.items() if keys and kind != "loader"}


def refuse_unknown_here(wanted: Mapping[str, Iterable[Any]]) -> None:
    """Raise when another process has registered what this one does not know.

    Packages may register something else than they offer when they are imported: all
    they offer is looked up before anything is refused.

    Parameters
    ----------
    wanted : mapping
        As `registered_here` returned it there.

    Raises
    ------
    ParameterError
        The message names what is missing and how a worker process gets it.
    """
    if _missing(wanted):
        for module in _MODULES:
            import_module(f"napari_exo2micro.core.{module}")
        for registry in list(_REGISTRIES.values()):
            registry._all()
    missing = _missing(wanted)
    if missing:
        raise ParameterError(
            f"{', '.join(missing)} was registered where the batch was started, and "
            "this worker process does not know it; offer it from an installed package "
            "by an entry point, or run without worker processes (parallel=False)"
        )


def _missing(wanted: Mapping[str, Iterable[Any]]) -> list[str]:
    return [
        f"the {kind} '{key}'"
        for kind, keys in wanted.items()
        for key in keys
        if kind not in _REGISTRIES or key not in _REGISTRIES[kind]
    ]


# Each makes its registry when it is imported.
_MODULES = ("stages", "defaults", "scale_methods", "diagnostics", "raw")
