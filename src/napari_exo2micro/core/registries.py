"""What can be extended: built-in entries, those of a script, those of packages.

One mechanism for diagnostics, loaders, parameters, scale methods and stages. Other
packages offer theirs through entry points, which are looked up when a registry is
first used for more than a built-in entry.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from napari_exo2micro.core.errors import ParameterError

__all__ = ["Registry", "refuse_unknown_here", "registered_here"]

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")

_REGISTRIES: dict[str, Registry[Any, Any]] = {}


class Registry(Mapping[K, V], Generic[K, V]):
    """Entries by name: built-in ones first, then packages', then a script's.

    Entries of packages come in the order of the packages' and then the entry
    points' names, whatever order they were installed in. What cannot be imported or
    is refused is logged in one line and left out.

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
    ) -> None:
        self.kind = kind
        self.group = group
        self._key = key
        self._check = check
        self._offered = offered
        self._order = order
        self._entries: dict[K, V] = {key(entry): entry for entry in built_in}
        self._built_in = frozenset(self._entries)
        self._of_script: set[K] = set()
        self._of_packages: set[K] = set()
        #: Name of an entry point -> why what it offers is left out.
        self.problems: dict[str, str] = {}
        self._lock = threading.RLock()
        self._is_looked_up = False
        self._is_loading = False
        _REGISTRIES[kind] = self

    def __getitem__(self, key: K) -> V:
        if key in self._entries:
            return self._entries[key]
        return self._all()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._all()))

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
        with self._lock:
            for key in self._of_packages:
                self._entries.pop(key, None)
            self._of_packages.clear()
            self.problems.clear()
            self._is_looked_up = False

    def view(self, value: Callable[[V], W]) -> Mapping[K, W]:
        """Return a mapping of the same keys that follows this one."""
        return _View(self, value)

    def is_built_in(self, key: K) -> bool:
        """Return whether an entry belongs to this package."""
        return key in self._built_in

    @property
    def of_script(self) -> tuple[K, ...]:
        """Keys of what was added in this process, not by an installed package."""
        return tuple(key for key in self._entries if key in self._of_script)

    def add(self, entry: V) -> V:
        """Put an entry last.

        Raises
        ------
        ParameterError
            When it cannot be taken: the message says why.
        """
        with self._lock:
            self._all()
            key = self._key(entry)
            if self._entries.get(key) is entry:
                return entry
            if self._check is not None:
                self._check(entry)
            self._entries[key] = entry
            (self._of_packages if self._is_loading else self._of_script).add(key)
            return entry

    def add_built_in(self, entry: V) -> V:
        """Put in an entry of this package, made after the registry was."""
        with self._lock:
            self._entries[self._key(entry)] = entry
            self._built_in |= {self._key(entry)}
            return entry

    def replace(self, entry: V) -> V:
        """Put an entry in the place of the one with the same key."""
        with self._lock:
            self._entries[self._key(entry)] = entry
            self._of_script.add(self._key(entry))
            return entry

    def remove(self, key: K) -> V:
        """Take an entry out and return it."""
        with self._lock:
            self._of_script.discard(key)
            self._all()
            return self._entries.pop(key)

    def _all(self) -> dict[K, V]:
        with self._lock:
            if not self._is_looked_up:
                self._is_looked_up = self._is_loading = True
                try:
                    self._look_up()
                finally:
                    self._is_loading = False
        return self._entries

    def _look_up(self) -> None:
        found: list[tuple[EntryPoint, V]] = []
        for point in sorted(entry_points(group=self.group), key=_place):
            found += [(point, one) for one in self._load(point)]
        if self._order is not None:
            order = self._order
            found.sort(key=lambda pair: order(pair[1]))
        for point, entry in found:
            try:
                self.add(entry)
            except Exception as error:  # noqa: BLE001 - a stranger's entry
                self._leave_out(point, error)

    def _load(self, point: EntryPoint) -> list[V]:
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
            self._leave_out(point, error)
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
    known = {kind: registry.of_script for kind, registry in _REGISTRIES.items()}
    return {kind: keys for kind, keys in known.items() if keys and kind != "loader"}


def refuse_unknown_here(wanted: Mapping[str, Iterable[Any]]) -> None:
    """Raise when another process has registered what this one does not know.

    Parameters
    ----------
    wanted : mapping
        As `registered_here` returned it there.

    Raises
    ------
    ParameterError
        The message names what is missing and how a worker process gets it.
    """
    # Each registers itself when it is imported.
    for module in ("diagnostics", "scale_methods") if wanted else ():
        import_module(f"napari_exo2micro.core.{module}")
    missing = [
        f"the {kind} '{key}'"
        for kind, keys in wanted.items()
        for key in keys
        if kind not in _REGISTRIES or key not in _REGISTRIES[kind]
    ]
    if missing:
        raise ParameterError(
            f"{', '.join(missing)} was registered where the batch was started, and "
            "this worker process does not know it; offer it from an installed package "
            "by an entry point, or run without worker processes (parallel=False)"
        )
