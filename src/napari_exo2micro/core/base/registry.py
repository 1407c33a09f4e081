"""Registries: entries of this package, those that packages offer, those of a script.

Diagnostics, loaders, parameters, scale methods and stages have one each. What other
packages offer by entry points is imported once: when a registry is first asked for
more than an entry of this package.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from napari_exo2micro.core.base.errors import ParameterError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")

_REGISTRIES: dict[str, Registry[Any, Any]] = {}

# Whether this thread is importing what packages offer. Their modules then see the
# entries so far. Another thread imports for itself: the modules are the same, and a
# lock around imports could wait for one that waits for it.
_importing: ContextVar[bool] = ContextVar("importing", default=False)


class Registry(Mapping[K, V], Generic[K, V]):
    """Entries by key: built-in ones first, then packages', then a script's.

    Entries of packages come in the order of the packages' and then the entry points'
    names. What cannot be imported or is refused is left out, which is logged in one
    line and kept in `problems`.

    Parameters
    ----------
    kind : str
        What one entry is, in words.
    group : str
        Entry points of this group offer entries, or tuples or lists of them.
    key, built_in
        Returns the key of an entry; the entries of this package.
    check : callable, optional
        Takes a new entry and the mapping of those known, raises `ParameterError`
        when it cannot be taken.
    offered, order : callable, optional
        Makes an entry from an entry point's name and what it refers to; returns what
        packages' entries are sorted by before their names.
    after : iterable of Registry, optional
        The registries that `check` reads; their packages come first.

    Attributes
    ----------
    problems : dict
        Name of an entry point -> why what it offers is left out.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        *,
        key: Callable[[V], K],
        built_in: Iterable[V] = (),
        check: Callable[[V, Mapping[K, V]], None] = lambda _entry, _known: None,
        offered: Callable[[str, Any], V] = lambda _name, entry: entry,
        order: Callable[[V], Any] = lambda _entry: 0,
        after: Iterable[Registry[Any, Any]] = (),
    ) -> None:
        self.kind = kind
        self.group = group
        self.problems: dict[str, str] = {}
        self._key, self._check = key, check
        self._offered, self._order = offered, order
        self._after = tuple(after)
        self._built_in = {key(entry): entry for entry in built_in}
        self._added: dict[K, V] = {}
        # Replaced as a whole, so that other threads may iterate meanwhile.
        self._entries = dict(self._built_in)
        self._is_complete = False
        _REGISTRIES[kind] = self

    def __getitem__(self, key: K) -> V:
        return self._built_in[key] if key in self._built_in else self._all()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @property
    def added(self) -> tuple[K, ...]:
        """Keys of what was added in this process, not offered by a package."""
        return tuple(self._added)

    def is_built_in(self, key: K) -> bool:
        """Return whether an entry belongs to this package."""
        return key in self._built_in

    def view(self, value: Callable[[V], W]) -> Mapping[K, W]:
        """Return a mapping of the same keys that follows this one."""
        return _View(self, value)

    def add(self, entry: V) -> V:
        """Put an entry last; one that is there already stays in its place.

        Raises
        ------
        ParameterError
            When it cannot be taken: the message says why.
        """
        key, known = self._key(entry), self._all()
        if known.get(key) is not entry:
            self._check(entry, known)
            self._entries = {**known, key: entry}
            self._added[key] = entry
        return entry

    def remove(self, key: K) -> V:
        """Take an entry out that is not built in, and return it.

        Raises
        ------
        ParameterError
            When there is none of this key, or it is a built-in one.
        """
        entries = dict(self._all())
        if key not in entries or self.is_built_in(key):
            raise ParameterError(
                f"'{key}' is not a {self.kind} of yours; nothing removed"
            )
        removed = entries.pop(key)
        self._entries = entries
        self._added.pop(key, None)
        return removed

    def look_again(self) -> None:
        """Forget what packages offer; it is imported when it is needed next."""
        self._entries, self._is_complete = {**self._built_in, **self._added}, False

    def _all(self) -> dict[K, V]:
        if not self._is_complete and not _importing.get():
            for registry in self._after:
                registry._all()
            self._fill()
        return self._entries

    def _fill(self) -> None:
        """Import what packages offer, and take what passes the check."""
        self.problems = {}
        points = entry_points(group=self.group)
        ready = [point for point in points if not _is_being_imported(point)]
        offers = self._import(ready)
        entries = dict(self._built_in)
        for _, point, key, entry in sorted(offers, key=lambda offer: offer[0]):
            if self._added.get(key) is entry:  # by its module, when it was imported
                del self._added[key]
            try:
                if entries.get(key) is not entry:  # two packages may offer the same one
                    self._check(entry, {**entries, **self._added})
            except Exception as error:  # noqa: BLE001 - a stranger's entry
                self._leave_out(point, error)
            else:
                entries[key] = entry
        self._entries = {**entries, **self._added}
        self._is_complete = len(ready) == len(points)

    def _import(
        self, points: Iterable[EntryPoint]
    ) -> list[tuple[Any, EntryPoint, K, V]]:
        """Return the order, the point and the key of each entry, and the entry."""
        offers = []
        token = _importing.set(True)
        try:
            for point in sorted(points, key=lambda p: (_package(p).lower(), p.name)):
                try:
                    loaded = point.load()
                    several = loaded if isinstance(loaded, list | tuple) else [loaded]
                    entries = [self._offered(point.name, each) for each in several]
                    offers += [  # raises for what is no entry
                        (self._order(entry), point, self._key(entry), entry)
                        for entry in entries
                    ]
                except (Exception, SystemExit) as error:  # noqa: BLE001
                    # Whatever a stranger's module does, work goes on without it.
                    self._leave_out(point, error)
        finally:
            _importing.reset(token)
        return offers

    def _leave_out(self, point: EntryPoint, error: BaseException) -> None:
        reason = str(error)
        if not isinstance(error, ParameterError):
            reason = f"{type(error).__name__}: {error}"
        self.problems[point.name] = f"{point.value}: {reason}"
        logger.warning(
            "the %s '%s' of %s (%s) is left out: %s; repair or uninstall that package",
            self.kind,
            point.name,
            _package(point) or "another package",
            point.value,
            reason,
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


def _is_being_imported(point: EntryPoint) -> bool:
    """Return whether its module has not ended yet: it asks, and offers later."""
    spec = getattr(sys.modules.get(point.module), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""


def registered_here() -> dict[str, tuple[Any, ...]]:
    """Return what this process has registered and another one cannot know of.

    That is: kind of entry -> keys. Loaders travel with their tasks and are left out.
    """
    return {
        kind: registry.added
        for kind, registry in _REGISTRIES.items()
        if registry.added and kind != "loader"
    }


def refuse_unknown_here(wanted: Mapping[str, Iterable[Any]]) -> None:
    """Refuse when another process has registered what this one does not know.

    `wanted` is what `registered_here` returned there. The `ParameterError` names what
    is missing and how a worker process gets it.
    """
    # Packages may register more than they offer when they are imported.
    for registry in _REGISTRIES.values():
        len(registry)
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
