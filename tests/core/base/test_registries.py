"""Registries: built-in entries, those of packages and those of a script."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from napari_exo2micro.core.base import ParameterError, registry as registries
from napari_exo2micro.core.base.registry import Registry
from napari_exo2micro.core.batch.task import refuse_unknown_here, registered_here


@dataclass(frozen=True)
class Filter:
    name: str
    width: int = 1


@dataclass
class Package:
    name: str


class Point:
    """An entry point of an installed package."""

    value = "somebody.filters:one"
    module = "somebody.filters"

    def __init__(
        self, package: str, name: str, found: Any, group: str = "mine.filters"
    ) -> None:
        self.dist, self.name, self._found = Package(package), name, found
        self.group = group

    def load(self) -> Any:
        if isinstance(self._found, BaseException):
            raise self._found
        return self._found() if callable(self._found) else self._found


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    points: list[Point] = []

    def entry_points(*, group: str) -> list[Point]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registries, "entry_points", entry_points)
    return points


@pytest.fixture
def make(installed: list[Point]) -> Iterator[Callable[..., Registry[str, Filter]]]:
    registries_made: list[Registry[str, Filter]] = []

    def made(**more: Any) -> Registry[str, Filter]:
        registry = Registry(
            "filter",
            "mine.filters",
            Filter,
            key=lambda entry: entry.name,
            built_in=(Filter("box"),),
            **more,
        )
        registries_made.append(registry)
        return registry

    yield made
    for registry in registries_made:
        for key in registry.added:
            registry.remove(key)


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What the registries log as warnings."""
    texts: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    handler = Collect(logging.WARNING)
    registries.logger.addHandler(handler)
    yield texts
    registries.logger.removeHandler(handler)


def test_packages_come_in_the_order_of_their_names_and_before_a_script(
    installed, make
) -> None:
    installed += [
        Point("zeta", "a", Filter("of zeta")),
        Point("Alpha", "z", Filter("second")),
        Point("alpha", "b", (Filter("first"), Filter("first too"))),
    ]
    registry = make()
    registry.add(Filter("script's"))
    assert list(registry) == [
        "box",
        "first",
        "first too",
        "second",
        "of zeta",
        "script's",
    ]
    assert registry.added == ("script's",)


def test_packages_are_imported_once_when_a_registry_is_first_used(
    installed, make
) -> None:
    loaded: list[str] = []
    installed.append(Point("p", "n", lambda: loaded.append("once") or Filter("n")))
    registry = make()
    assert not loaded
    assert "n" in registry
    assert registry["box"].width == 1
    assert len(registry) == 2
    assert loaded == ["once"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ImportError("no module named x"), "ImportError: no module named x"),
        (SystemExit(3), "SystemExit: 3"),
        (Filter("Box"), "a filter called 'Box' exists already; choose another name"),
        (42, "a filter must be a Filter, found 42"),
    ],
)
def test_what_cannot_be_used_is_told_and_left_out(
    installed, make, told, found, reason
) -> None:
    installed += [Point("bad", "theirs", found), Point("good", "n", Filter("n"))]
    registry = make()
    assert list(registry) == ["box", "n"]
    (text,) = told
    assert text.startswith("the filter 'theirs' of bad (somebody.filters:one) is left")
    assert reason in text
    assert reason in registry.problems["theirs"]


def test_of_two_packages_with_one_name_the_first_by_name_is_taken(
    installed, make, told
) -> None:
    installed += [Point("b", "n", Filter("n", 2)), Point("a", "n", Filter("n", 1))]
    assert make()["n"].width == 1
    (text,) = told
    assert "of b " in text


def test_entries_that_have_an_order_come_in_it(installed, make, told) -> None:
    installed += [
        Point("a", "late", Filter("late", 9)),
        Point("b", "early", Filter("early", 3)),
        Point("c", "none", object()),
    ]
    registry = make(order=lambda entry: entry.width)
    assert list(registry) == ["box", "early", "late"]
    assert len(told) == 1


def test_a_module_may_register_when_it_is_imported(installed, make) -> None:
    entry = Filter("own")
    registry = make()
    installed.append(Point("p", "own", lambda: registry.add(entry)))
    assert list(registry) == ["box", "own"]
    assert registry.added == ()


def test_a_view_follows(installed, make) -> None:
    registry = make()
    widths = registry.view(lambda entry: entry.width)
    registry.add(Filter("wide", 7))
    assert dict(widths) == {"box": 1, "wide": 7}
    registry.remove("wide")
    assert "wide" not in widths


@pytest.mark.parametrize("name", ["box", "none such"])
def test_only_what_came_later_is_removed(installed, make, name: str) -> None:
    registry = make()
    registry.add(Filter("wide", 7))
    with pytest.raises(ParameterError, match=f"'{name}' is not a filter of yours"):
        registry.remove(name)
    assert list(registry) == ["box", "wide"]


def test_another_process_tells_what_it_does_not_know(installed, make) -> None:
    registry = make()
    registry.add(Filter("mine"))
    wanted = registered_here()
    assert wanted["filter"] == ("mine",)
    refuse_unknown_here(wanted)
    registry.remove("mine")
    assert "filter" not in registered_here()
    with pytest.raises(ParameterError, match=r"the filter 'mine' was registered where"):
        refuse_unknown_here({"filter": ("mine",)})
    with pytest.raises(ParameterError, match=r"the mixer 'x' .* entry point"):
        refuse_unknown_here({"mixer": ("x",)})


@pytest.fixture
def bank(make) -> tuple[Registry[str, Filter], Registry[str, Filter]]:
    """Filters, and banks whose names must be those of filters."""
    filters = make()

    def check(entry: Filter, _known: Mapping[str, Filter]) -> None:
        if entry.name not in filters:
            raise ParameterError(f"there is no filter '{entry.name}'")

    banks = Registry(
        "bank",
        "mine.banks",
        Filter,
        key=lambda entry: entry.name,
        check=check,
    )
    return filters, banks


def test_what_a_check_reads_comes_first(installed, bank, told) -> None:
    filters, banks = bank
    installed += [
        Point("c", "bank", Filter("late"), "mine.banks"),
        Point("d", "box", Filter("box", 2), "mine.banks"),
        Point("e", "none", Filter("none"), "mine.banks"),
        Point("z", "late", Filter("late")),
    ]
    assert list(banks) == ["late", "box"]
    assert list(filters) == ["box", "late"]
    (text,) = told
    assert "there is no filter 'none'" in text


def test_a_module_that_is_imported_sees_the_entries_so_far(installed, bank) -> None:
    filters, banks = bank
    seen: list[list[str]] = []

    def load() -> Filter:
        seen.extend([list(filters), list(banks)])
        return Filter("n")

    installed += [Point("p", "n", load), Point("p", "n", Filter("n"), "mine.banks")]
    assert list(filters) == ["box", "n"]
    assert seen == [["box"], []]
    assert list(banks) == ["n"]


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Return what each gives in a thread of its own; fail when they hang."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(30) for future in [pool.submit(work) for work in works]]


def test_threads_that_use_registries_first_have_all_entries(installed, bank) -> None:
    filters, banks = bank
    both = threading.Barrier(2, timeout=10)

    def load() -> Filter:
        both.wait()  # each thread imports for itself, none waits for the other
        return Filter("n")

    installed += [Point("p", "n", load), Point("p", "n", Filter("n"), "mine.banks")]
    assert at_once(lambda: list(filters), lambda: list(banks)) == [["box", "n"], ["n"]]


def test_another_process_finds_what_an_import_has_registered(installed, bank) -> None:
    filters, banks = bank
    installed.append(
        Point("p", "n", lambda: banks.add(Filter("box")) and Filter("n")),
    )
    assert list(filters) == ["box", "n"]
    assert list(banks) == ["box"]
    assert filters.added == ()
    # A fresh process has it only when filters are looked up there.
    wanted = registered_here()
    assert wanted == {"bank": ("box",)}
    banks.remove("box")
    for registry in (filters, banks):
        registry.look_again()
    refuse_unknown_here(wanted)
    banks.remove("box")


def test_an_interrupted_look_up_is_done_again(installed, make) -> None:
    pressed = iter([True])

    def load() -> Filter:
        if next(pressed, False):
            raise KeyboardInterrupt
        return Filter("second")

    installed += [Point("a", "n", lambda: Filter("n")), Point("b", "second", load)]
    registry = make()
    with pytest.raises(KeyboardInterrupt):
        list(registry)
    assert list(registry) == ["box", "n", "second"]
    assert not registry.problems
