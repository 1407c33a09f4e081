"""Registries: entries of this package, those that packages offer, those of a script.

Diagnostics, loaders, parameters, scale methods and stages have one each. What other
packages offer by entry points is imported once: when a registry is first used.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import (
    Callable,
    Hashable,
    ItemsView,
    Iterable,
    Iterator,
    Mapping,
    ValuesView,
)
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from napari_exo2micro.core.base.errors import ParameterError

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
W = TypeVar("W")

# In the order in which packages' entries are taken: a module whose entries are checked
# against those of another one imports it.
REGISTRIES: dict[str, Registry[Any, Any]] = {}

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
    entry_type : type
        The class of the entries.
    key, built_in
        Returns the key of an entry; the entries of this package.
    check : callable, optional
        Takes a new entry and the mapping of those known, raises `ParameterError`
        when it cannot be taken.
    of_function : callable, optional
        Makes an entry of what is offered and is none: takes the entry point's name,
        the function and the first line of its docstring.
    order : callable, optional
        Returns what packages' entries are sorted by before their names.

    Attributes
    ----------
    problems : dict
        Name of an entry point -> why what it offers is left out.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        entry_type: type[V],
        *,
        key: Callable[[V], K],
        built_in: Iterable[V] = (),
        check: Callable[[V, Mapping[K, V]], None] = lambda _entry, _known: None,
        of_function: Callable[[str, Any, str], V] | None = None,
        order: Callable[[V], Any] = lambda _entry: 0,
    ) -> None:
        self.kind, self.group, self.problems = kind, group, dict[str, str]()
        self._type, self._key, self._check = entry_type, key, check
        self._of_function, self._order = of_function, order
        self._built_in = {key(entry): entry for entry in built_in}
        self._added: dict[K, V] = {}
        # Replaced as a whole, so that other threads may iterate meanwhile.
        self._entries = dict(self._built_in)
        self._is_filled = False
        REGISTRIES[kind] = self

    def __getitem__(self, key: K) -> V:
        return self._filled()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self._filled())

    # A folder of results asks for all of them thousands of times.
    def items(self) -> ItemsView[K, V]:
        """Return all entries with their keys."""
        return self._filled().items()

    def values(self) -> ValuesView[V]:
        """Return all entries."""
        return self._filled().values()

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
        known = self._filled()
        key = self._checked(self._typed(entry), known)
        if key not in known:
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
        entries = dict(self._filled())
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
        self._entries, self._is_filled = {**self._built_in, **self._added}, False

    def _filled(self) -> dict[K, V]:
        if not self._is_filled and not _importing.get():
            token = _importing.set(True)
            try:
                for registry in list(REGISTRIES.values()):  # imports make more
                    if not registry._is_filled:
                        registry._fill()
            finally:
                _importing.reset(token)
        return self._entries

    def _fill(self) -> None:
        """Import what packages offer, and take what passes the check."""
        points = sorted(
            entry_points(group=self.group), key=lambda p: (_package(p).lower(), p.name)
        )
        specs = [getattr(sys.modules.get(p.module), "__spec__", None) for p in points]
        if any(getattr(spec, "_initializing", False) for spec in specs):
            return  # a module that is being imported asks, and offers when it has ended
        self.problems, offers = {}, list[tuple[EntryPoint, V]]()
        for point in points:
            with self._left_out_if_bad(point):
                loaded = point.load()
                several = loaded if isinstance(loaded, list | tuple) else [loaded]
                offers += [(point, self._typed(each, point.name)) for each in several]
        entries = dict(self._built_in)
        for point, entry in sorted(offers, key=lambda offer: self._order(offer[1])):
            # Its module may have added it when it was imported.
            added = {k: v for k, v in self._added.items() if v is not entry}
            with self._left_out_if_bad(point):
                entries[self._checked(entry, {**entries, **added})] = entry
                self._added = added
        self._entries, self._is_filled = {**entries, **self._added}, True

    def _typed(self, offered: Any, name: str = "") -> V:
        """Return what is offered as an entry; a function makes one where it may."""
        if isinstance(offered, self._type):
            return offered
        if name and self._of_function:
            caption = (inspect.getdoc(offered) or name).splitlines()[0]
            return self._of_function(name, offered, caption)
        raise ParameterError(
            f"a {self.kind} must be a {self._type.__name__}, found {offered!r}; "
            "make one of it"
        )

    def _checked(self, entry: V, known: Mapping[K, V]) -> K:
        """Return the key of an entry that is among those known or may join them."""
        key = self._key(entry)
        if known.get(key) is entry:
            return key
        self._check(entry, known)
        # Names become parts of file names, in which a disk may ignore the case.
        if str(key).lower() in {str(other).lower() for other in known}:
            raise ParameterError(
                f"a {self.kind} called {key!r} exists already; choose another name or "
                "unregister that one first"
            )
        return key

    @contextmanager
    def _left_out_if_bad(self, point: EntryPoint) -> Iterator[None]:
        """Log and keep why what a package offers is left out; work goes on."""
        try:
            yield
        except (Exception, SystemExit) as error:
            known = isinstance(error, ParameterError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            self.problems[point.name] = f"{point.value}: {reason}"
            logger.warning(
                "the %s '%s' of %s (%s) is left out: %s; repair or uninstall that "
                "package",
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


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else ""
