"""Listening to the package's records and warnings changes nothing for others."""

import logging
import subprocess
import sys
import warnings
from contextlib import contextmanager

import pytest

from napari_exo2micro.core.base import DataWarning, log

LOGGER = logging.getLogger("napari_exo2micro.core.anything")


class Collect(logging.Handler):
    def __init__(self, level=logging.NOTSET):
        super().__init__(level)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


@contextmanager
def hearing():
    handler = Collect()
    log.add_listener(handler)
    try:
        yield handler.texts
    finally:
        log.remove_listener(handler)


def test_a_listener_hears_from_info_on():
    with hearing() as heard:
        LOGGER.debug("a")
        LOGGER.info("%d", 1)
        LOGGER.warning("c")
    assert heard == ["1", "c"]


def test_others_hear_what_they_heard_before(caplog):
    with hearing() as heard:
        LOGGER.info("not asked for")
        LOGGER.warning("careful")
        assert [record.getMessage() for record in caplog.records] == ["careful"]
        caplog.set_level(logging.INFO)
        LOGGER.info("asked for")
    assert caplog.records[-1].getMessage() == "asked for"
    assert heard == ["not asked for", "careful", "asked for"]


def test_everything_is_as_before_in_the_end(caplog):
    package = log.PACKAGE_LOGGER
    before = (package.level, package.propagate, list(package.handlers))
    handlers = [Collect(), Collect(logging.ERROR)]
    for handler in (*handlers, handlers[0]):
        log.add_listener(handler)
    LOGGER.info("heard once")
    LOGGER.error("heard by both")
    for handler in (*handlers, handlers[0]):
        log.remove_listener(handler)
    LOGGER.error("heard by none")
    assert handlers[0].texts == ["heard once", "heard by both"]
    assert handlers[1].texts == ["heard by both"]
    assert before == (package.level, package.propagate, list(package.handlers))


@pytest.mark.parametrize("level", [logging.DEBUG, logging.ERROR])
def test_a_level_that_somebody_chose_still_counts(level, caplog):
    package = log.PACKAGE_LOGGER
    before = package.level
    package.setLevel(level)
    handler = Collect()
    log.add_listener(handler)
    try:
        for one in (logging.DEBUG, logging.INFO, logging.ERROR):
            LOGGER.log(one, "%s", one)
    finally:
        log.remove_listener(handler)
        restored = package.level
        package.setLevel(before)
    assert restored == level
    wanted = [
        one for one in (logging.DEBUG, logging.INFO, logging.ERROR) if one >= level
    ]
    assert [record.levelno for record in caplog.records] == wanted
    assert str(logging.INFO) in handler.texts


def test_where_nobody_listens_python_still_prints_warnings():
    program = (
        "import logging\n"
        "from napari_exo2micro.core.base import log\n"
        "log.add_listener(logging.NullHandler())\n"
        "logger = logging.getLogger('napari_exo2micro.core')\n"
        "logger.info('whispered')\n"
        "logger.warning('said')\n"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["said"]


def test_warnings_are_told_and_shown(recwarn):
    told = []

    def listener(message, category):
        told.append((str(message), category))

    warnings.simplefilter("always")
    with log.warnings_told(listener):
        warnings.warn("dim", DataWarning, stacklevel=1)
    warnings.warn("dim again", DataWarning, stacklevel=1)
    assert told == [("dim", DataWarning)]
    assert [str(warning.message) for warning in recwarn] == ["dim", "dim again"]


def test_a_function_that_came_in_between_hears_and_tells_nothing_twice():
    shown, told = [], []

    def listener(message, category):
        told.append(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *more: shown.append(str(message))
        with log.warnings_told(listener):
            earlier = warnings.showwarning
            warnings.showwarning = lambda *more: earlier(*more)
        with log.warnings_told(listener):
            warnings.warn("dim", stacklevel=1)
    assert shown == told == ["dim"]
