"""Registries: built-in entries, those of packages and those of a script."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.base import registry as registries
from napari_exo2micro.core.base.registry import (
    Registry,
    refuse_unknown_here,
    registered_here,
)


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
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Point]]:
    points: list[Point] = []
    kinds = set(registries._REGISTRIES)

    def entry_points(*, group: str) -> list[Point]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(registries, "entry_points", entry_points)
    yield points
    for kind in set(registries._REGISTRIES) - kinds:
        del registries._REGISTRIES[kind]


@pytest.fixture
def make(installed: list[Point]) -> Callable[..., Registry[str, Filter]]:
    def made(**more: Any) -> Registry[str, Filter]:
        registry: Registry[str, Filter]

        def check(entry: Filter) -> None:
            if entry.name in registry:
                raise ParameterError(f"'{entry.name}' is taken")

        registry = Registry(
            "filter",
            "mine.filters",
            key=lambda entry: entry.name,
            built_in=(Filter("box"),),
            check=check,
            **more,
        )
        return registry

    return made


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


def test_a_built_in_entry_is_had_without_looking_at_packages(installed, make) -> None:
    looked: list[str] = []
    installed.append(Point("p", "n", lambda: looked.append("loaded") or Filter("n")))
    registry = make()
    assert registry["box"].width == 1
    assert "box" in registry
    assert not looked
    assert "n" in registry
    assert len(registry) == 2
    assert looked == ["loaded"]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (ImportError("no module named x"), "ImportError: no module named x"),
        (SystemExit(3), "SystemExit: 3"),
        (Filter("box"), "'box' is taken"),
        (42, "AttributeError"),
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

    def check(entry: Filter) -> None:
        if entry.name not in filters:
            raise ParameterError(f"there is no filter '{entry.name}'")

    banks = Registry(
        "bank",
        "mine.banks",
        key=lambda entry: entry.name,
        check=check,
        after=(filters,),
    )
    return filters, banks


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Return what each gives in a thread of its own; fail when they hang."""
    found: list[Any] = [None] * len(works)

    def run(number: int) -> None:
        found[number] = works[number]()

    threads = [
        threading.Thread(target=run, args=(number,), daemon=True)
        for number in range(len(works))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads), "they wait for each other"
    return found


def test_two_threads_that_use_two_registries_first_do_not_hang(installed, bank) -> None:
    filters, banks = bank
    both = [threading.Event(), threading.Event()]

    def load() -> Filter:
        both[0].set()
        both[1].wait(1)
        len(banks)  # as a module that looks at its parameters
        return Filter("n")

    installed += [
        Point("p", "n", load),
        Point("p", "n", lambda: both[1].set() or Filter("n"), "mine.banks"),
    ]

    def second() -> list[str]:
        both[0].wait(10)
        return list(banks)

    assert at_once(lambda: list(filters), second) == [["box", "n"], ["n"]]
    for registry in (filters, banks):
        registry.look_again()
    assert at_once(lambda: list(banks), lambda: list(filters)) == [["n"], ["box", "n"]]


def test_a_module_that_another_thread_imports_does_not_hang(
    installed, make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "imported_by_two_threads"
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / f"{module}.py").write_text(
        "from builtins import the_test\n"
        "the_test.begun.set()\n"
        "assert the_test.looks_up.wait(10)\n"
        "seen = list(the_test.registry)\n"
    )

    class Shared:
        begun, looks_up, registry = threading.Event(), threading.Event(), make()

    monkeypatch.setattr("builtins.the_test", Shared, raising=False)
    monkeypatch.setattr(registries, "_PATIENCE", 0.2)

    def load() -> Filter:
        Shared.looks_up.set()
        import_module(module)
        return Filter("n")

    installed.append(Point("p", "n", load))

    def look_up() -> list[str]:
        assert Shared.begun.wait(10)
        return list(Shared.registry)

    try:
        seen = at_once(lambda: import_module(module).seen, look_up)
    finally:
        sys.modules.pop(module, None)
    assert seen == [["box"], ["box", "n"]]


def test_what_needs_others_entries_is_tried_again(installed, bank, told) -> None:
    filters, banks = bank

    def needs_late() -> Filter:
        return Filter(filters["late"].name + " too")

    def needs_banks() -> Filter:
        assert list(banks)
        return Filter("late")

    installed += [
        Point("a", "early", needs_late),
        Point("b", "late", needs_banks),
        Point("c", "bank", Filter("late"), "mine.banks"),
        Point("d", "box", Filter("box", 2), "mine.banks"),
    ]
    assert set(filters) == {"box", "late", "late too"}
    assert set(banks) == {"box", "late"}
    assert not told


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
    assert at_once(lambda: list(registry)) == [["box", "n", "second"]]
    assert not registry.problems
