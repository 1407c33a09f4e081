"""What can be extended: built-in entries, those of packages, those of a script.

One mechanism for diagnostics, loaders, parameters, scale methods and stages. Other
packages offer theirs through entry points, which are looked up when a registry is
first used for more than a built-in entry: all those of its kind at once.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from napari_exo2micro.core.base.errors import ParameterError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")

_REGISTRIES: dict[str, Registry[Any, Any]] = {}

# Held by the thread that looks up or adds. A look-up imports strangers' modules, so two
# threads may wait for each other: one for the lock, one for a module that the first is
# importing. The first then goes on without what packages offer.
_LOCK = threading.RLock()
_PATIENCE = 30.0  # s to wait for the lock
_going_on: list[str] = []  # kinds whose look-up has begun, of the thread with the lock


class Registry(Mapping[K, V], Generic[K, V]):
    """Entries by name: built-in ones first, then packages', then a script's.

    Entries of packages come in the order of the packages' and then the entry
    points' names, whatever order they were installed in. What cannot be imported or
    is refused is tried once more when all others have come, which it may need; then it
    is logged in one line and left out, unless its module is just being imported.

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
        check: Callable[[V], None] = lambda _: None,
        offered: Callable[[str, Any], V] = lambda _, entry: entry,
        order: Callable[[V], Any] = lambda _: 0,
        after: Iterable[Registry[Any, Any]] = (),
    ) -> None:
        self.kind = kind
        self.group = group
        self._key = key
        self._check = check
        self._offered = offered
        self._order = order
        self._after = tuple(after)
        # Replaced as a whole, so that they are read without the lock.
        self._built_in: dict[K, V] = {key(entry): entry for entry in built_in}
        self._of_packages: dict[K, V] = {}
        self._added: dict[K, V] = {}
        self._places: dict[K, tuple[str, str]] = {}
        # What could not be taken at the first try; None before that. The entry is None
        # when it could not even be imported.
        self._failed: list[tuple[EntryPoint, V | None]] | None = None
        #: Name of an entry point -> why what it offers is left out.
        self.problems: dict[str, str] = {}
        _REGISTRIES[kind] = self

    def __getitem__(self, key: K) -> V:
        if key in self._built_in:
            return self._built_in[key]
        return self._all()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, key: object) -> bool:
        return key in self._built_in or key in self._all()

    def __repr__(self) -> str:
        return f"<{self.kind}: {', '.join(map(str, self))}>"

    @property
    def added(self) -> tuple[K, ...]:
        """Keys of what was added in this process, not offered by a package."""
        return tuple(self._added)

    def entry_of(self, name: str, offered: Any) -> V:
        """Return the entry that an entry point's object stands for."""
        return self._offered(name, offered)

    def is_built_in(self, key: K) -> bool:
        """Return whether an entry belongs to this package."""
        return key in self._built_in

    def view(self, value: Callable[[V], W]) -> Mapping[K, W]:
        """Return a mapping of the same keys that follows this one."""
        return _View(self, value)

    def look_again(self) -> None:
        """Forget what packages offer; it is looked up when it is needed next."""
        self._of_packages, self._failed = {}, None
        self.problems.clear()

    def add(self, entry: V) -> V:
        """Put an entry last.

        Raises
        ------
        ParameterError
            When it cannot be taken: the message says why.
        """
        for registry in (*self._after, self):
            registry._all()
        with _patiently():
            key = self._key(entry)
            if self._all().get(key) is not entry:
                self._check(entry)
                self._added = {**self._added, key: entry}
        return entry

    def add_built_in(self, entry: V) -> V:
        """Put in an entry of this package, made after the registry was."""
        self._built_in = {**self._built_in, self._key(entry): entry}
        return entry

    def remove(self, key: K) -> V:
        """Take an entry out that is not built in, and return it.

        Raises
        ------
        ParameterError
            When there is none of this key, or it is a built-in one.
        """
        with _patiently():
            entry = self._all().get(key)
            if entry is None or self.is_built_in(key):
                raise ParameterError(
                    f"'{key}' is not a {self.kind} of yours; nothing removed"
                )
            self._of_packages = _without(self._of_packages, key)
            self._added = _without(self._added, key)
            return entry

    def _all(self) -> dict[K, V]:
        if not self._is_complete:
            with _patiently() as is_ours:
                if is_ours:
                    self._look_up()
                    self._look_up()  # what failed, when others' entries have come
        return {**self._built_in, **self._of_packages, **self._added}

    @property
    def _is_complete(self) -> bool:
        return self._failed is not None and not self._failed

    def _look_up(self) -> None:
        is_again = self._failed is not None
        if self._is_complete or self.kind in _going_on or (is_again and _going_on):
            return  # what is missing comes when the look-ups that go on have ended
        for registry in self._after:
            registry._look_up()
        _going_on.append(self.kind)
        try:
            failed = self._take(self._failed or self._offers())
        except BaseException:  # a person pressed Ctrl+C: it is looked up next time
            self.look_again()
            raise
        finally:
            _going_on.pop()
        self._failed = [(point, entry) for point, entry, _ in failed]
        if is_again:
            self._failed = [one for one in self._failed if _is_being_imported(one[0])]
            for point, _, error in failed:
                if not _is_being_imported(point):
                    self._leave_out(point, error)

    def _offers(self) -> list[tuple[EntryPoint, V | None]]:
        points = sorted(entry_points(group=self.group), key=_place)
        return [(point, None) for point in points]

    def _take(
        self, offers: Iterable[tuple[EntryPoint, V | None]]
    ) -> list[tuple[EntryPoint, V | None, BaseException]]:
        """Take what packages offer; return what could not be taken, and why."""
        failed: list[tuple[EntryPoint, V | None, BaseException]] = []
        found: list[tuple[EntryPoint, V]] = []
        for point, entry in offers:
            try:
                entries = self._load(point) if entry is None else [entry]
                found += [(point, one) for one in entries]
            except (Exception, SystemExit) as error:  # noqa: BLE001
                # Whatever a stranger's module does, work goes on without it.
                failed.append((point, None, error))
        for point, one in sorted(found, key=lambda pair: self._order(pair[1])):
            try:
                self._put(one, _place(point))
            except Exception as error:  # noqa: BLE001 - a stranger's entry
                failed.append((point, one, error))
        return failed

    def _load(self, point: EntryPoint) -> list[V]:
        loaded = point.load()
        several = isinstance(loaded, (list, tuple))
        made = [
            self.entry_of(point.name, one) for one in (loaded if several else [loaded])
        ]
        for entry in made:  # raises for what is no entry
            self._key(entry), self._order(entry)
        return made

    def _put(self, entry: V, place: tuple[str, str]) -> None:
        key = self._key(entry)
        if self._of_packages.get(key) is entry:
            return
        if self._added.get(key) is entry:  # its module did so when it was imported
            self._added = _without(self._added, key)
        else:
            self._check(entry)
        self._places[key] = place
        entries = {**self._of_packages, key: entry}
        self._of_packages = dict(
            sorted(
                entries.items(),
                key=lambda item: (self._order(item[1]), self._places[item[0]]),
            )
        )

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


@contextmanager
def _patiently() -> Iterator[bool]:
    """Hold the lock; give whether it could be had."""
    is_ours = _LOCK.acquire(timeout=_PATIENCE)
    try:
        yield is_ours
    finally:
        if is_ours:
            _LOCK.release()


def _is_being_imported(point: EntryPoint) -> bool:
    """Return whether the import of its module or of its package has not ended yet."""
    parts = point.value.partition(":")[0].strip().split(".")
    names = [".".join(parts[: n + 1]) for n in range(len(parts))]
    specs = [getattr(sys.modules.get(name), "__spec__", None) for name in names]
    return any(getattr(spec, "_initializing", False) for spec in specs)


def _without(entries: dict[K, V], key: K) -> dict[K, V]:
    return {one: entry for one, entry in entries.items() if one != key}


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
    known = {kind: one.added for kind, one in _REGISTRIES.items()}
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
