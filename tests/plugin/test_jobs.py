"""Work in the background: progress, cancelling, errors told once."""

from __future__ import annotations

import errno
import gc
import os
import threading
import weakref

import pytest
from napari.utils.notifications import notification_manager
from napari.utils.progress import progress
from qtpy.QtCore import QElapsedTimer

from napari_exo2micro.core.base import RawDataError
from napari_exo2micro.plugin.session.job import Jobs
from napari_exo2micro.plugin.widgets.controls import error_text

LONG = 300_000


@pytest.fixture
def jobs(qtbot):
    jobs = Jobs()
    yield jobs
    jobs.close()


def run(jobs, qtbot, function, **options):
    job = jobs.start(function, title="work", **options)
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    return job


def test_results_arrive_in_the_thread_of_the_window(jobs, qtbot):
    seen = []

    def work(monitor, send):
        send("half")
        monitor.report(0.5, "half way")
        return threading.current_thread()

    run(
        jobs,
        qtbot,
        work,
        on_sent=lambda value: seen.append((value, threading.current_thread())),
        on_progress=lambda fraction, text: seen.append((fraction, text)),
        on_result=lambda worker: seen.append((worker, threading.current_thread())),
    )
    here = threading.main_thread()
    assert seen[0] == ("half", here)
    assert seen[1] == (0.5, "half way")
    assert seen[2][0] is not here
    assert seen[2][1] is here


def test_progress_is_in_the_activity_dock_while_it_runs(jobs, qtbot):
    release = threading.Event()

    def work(monitor):
        monitor.report(0.42, "warping")
        release.wait(30)

    job = jobs.start(work, title="alignment")

    def bars():
        return [(bar.n, bar.desc) for bar in progress._all_instances]

    qtbot.waitUntil(lambda: (42, "alignment: warping: ") in bars(), timeout=LONG)
    with qtbot.waitSignal(job.finished, timeout=LONG):
        release.set()
    assert not bars()


def test_a_bar_is_drawn_by_the_clock_and_not_while_something_is_delivered(jobs, qtbot):
    """napari handles all waiting events while it draws a bar."""
    delivering, drawn, release = [], [], threading.Event()

    def deliver(*_):
        delivering.append(True)
        deadline = QElapsedTimer()
        deadline.start()
        while not deadline.hasExpired(300):
            pass  # longer than a tick of the clock
        delivering.clear()

    def work(monitor, send):
        monitor.report(0.42, "warping")
        send("a result")
        release.wait(30)

    def watch(event):
        drawn.extend(bool(delivering) for _ in event.added)

    progress._all_instances.events.changed.connect(watch)
    job = jobs.start(work, title="x", on_sent=deliver, on_progress=deliver)
    try:
        qtbot.waitUntil(lambda: bool(drawn), timeout=LONG)
    finally:
        progress._all_instances.events.changed.disconnect(watch)
        with qtbot.waitSignal(job.finished, timeout=LONG):
            release.set()
    assert drawn == [False]


def test_the_activity_dock_can_cancel(jobs, qtbot):
    started = threading.Event()
    results = []

    def work(monitor):
        started.set()
        while True:
            monitor.check()

    job = jobs.start(work, title="endless", on_result=results.append)
    assert started.wait(30)
    qtbot.waitUntil(lambda: bool(progress._all_instances), timeout=LONG)
    (bar,) = progress._all_instances
    with qtbot.waitSignal(job.finished, timeout=LONG):
        bar.cancel()
    assert job.is_cancelled
    assert not results


def test_an_error_is_told_where_it_was_asked_for_and_only_there(jobs, qtbot):
    told, notified = [], []
    notification_manager.notification_ready.connect(notified.append)

    def work(monitor):
        raise RawDataError("x.tif is damaged; export it again")

    try:
        run(jobs, qtbot, work, on_error=told.append)
        assert told == ["x.tif is damaged; export it again"]
        assert not notified
        run(jobs, qtbot, work)
    finally:
        notification_manager.notification_ready.disconnect(notified.append)
    assert len(told) == 1
    assert [one.message for one in notified] == told


def test_an_unexpected_error_says_that_nothing_is_lost():
    text = error_text(ZeroDivisionError("division by zero"))
    assert "division by zero" in text
    assert "Nothing that was finished is lost" in text


def test_one_exclusive_job_at_a_time(jobs, qtbot):
    release = threading.Event()
    told = []
    jobs.busy_changed.connect(told.append)

    def work(monitor):
        release.wait(30)

    job = jobs.start(work, title="a run", exclusive=True)
    with pytest.raises(RuntimeError, match="'a run' has not ended yet"):
        jobs.start(work, title="another", exclusive=True)
    with qtbot.waitSignal(job.finished, timeout=LONG):
        release.set()
    assert told == [True, False]
    assert not jobs.is_busy


def test_nothing_starts_after_the_end(qtbot):
    jobs = Jobs()
    jobs.close()
    began = []
    job = jobs.start(
        lambda monitor: began.append(1), title="late", exclusive=True, newest="x"
    )
    assert not job.is_running
    assert not jobs.is_busy
    qtbot.wait(20)
    assert not began


def test_a_run_does_not_wait_behind_reads_that_hang(jobs, qtbot):
    release = threading.Event()
    hanging = [
        jobs.start(lambda monitor: release.wait(30), title=f"read {number}")
        for number in range(12)
    ]
    done = []
    try:
        run(jobs, qtbot, lambda monitor: 7, exclusive=True, on_result=done.append)
        assert done == [7]
        assert all(job.is_running for job in hanging)
    finally:
        release.set()
    qtbot.waitUntil(lambda: not jobs.is_working, timeout=LONG)


def test_the_newest_begins_when_the_one_before_has_ended(jobs, qtbot):
    at_once, most, lock = [0], [0], threading.Lock()
    done, shown = [], []

    def work(number, monitor):
        with lock:
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
        try:
            done.append(number)
            while number < 9:
                monitor.check()
        finally:
            with lock:
                at_once[0] -= 1
        return number

    for number in range(10):
        last = jobs.start(
            work,
            title=f"preview {number}",
            newest="preview",
            on_result=shown.append,
            show_progress=False,
            number=number,
        )
    with qtbot.waitSignal(last.finished, timeout=LONG):
        pass
    qtbot.waitUntil(lambda: not jobs.is_working, timeout=LONG)
    assert shown == [9]
    assert most == [1]
    assert set(done) <= {0, 9}  # those between were never begun


def test_the_newest_leaves_one_behind_that_hangs(jobs, qtbot):
    release = threading.Event()
    seen = []
    jobs.start(lambda monitor: release.wait(30), title="hangs", newest="folder")
    try:
        run(jobs, qtbot, lambda monitor: 1, newest="folder", on_result=seen.append)
        assert seen == [1]
        assert not release.is_set()
    finally:
        release.set()
    qtbot.waitUntil(lambda: not jobs.is_working, timeout=LONG)


def test_closing_waits_for_what_ends_and_leaves_what_hangs(qtbot, monkeypatch):
    monkeypatch.setattr("napari_exo2micro.plugin.session.job._WAIT_AT_THE_END", 0.2)
    jobs = Jobs()
    release, left = threading.Event(), []

    def work(monitor):
        try:
            while True:
                monitor.check()
        finally:
            left.append(threading.current_thread())

    jobs.start(lambda monitor: release.wait(30), title="hangs")
    jobs.start(work, title="a run", exclusive=True)
    jobs.close()
    jobs.close()
    try:
        (thread,) = left
        thread.join(30)
        assert not thread.is_alive()
        assert not jobs.is_busy
        # Nothing that hangs keeps Python from ending.
        ours = [t for t in threading.enumerate() if t.name.startswith("exo2micro")]
        assert [t.daemon for t in ours] == [True]
    finally:
        release.set()
    for thread in ours:
        thread.join(30)


def test_a_job_may_close_its_own_window(qtbot):
    jobs = Jobs()
    ended = threading.Event()

    def work(monitor):
        jobs.close()  # as when the last reference to a viewer goes in this thread
        ended.set()

    jobs.start(work, title="the last one", show_progress=False)
    assert ended.wait(30)


def test_a_job_that_has_ended_holds_nothing(jobs, qtbot):
    class Held:
        """Something large."""

    held = Held()
    gone = weakref.ref(held)
    run(jobs, qtbot, lambda held, monitor: held, held=held, on_result=lambda _: None)
    del held
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "may not be read or written by you"),
        (errno.ENOSPC, "free some space"),
        (errno.ENOENT, "check the name"),
        (errno.ELOOP, "check the file and its drive"),
    ],
)
def test_what_the_system_says_is_put_into_words(jobs, qtbot, number, words):
    told = []

    def work(monitor):
        raise OSError(number, os.strerror(number), "/data/results.csv")

    run(jobs, qtbot, work, on_error=told.append)
    (text,) = told
    assert text.startswith("work: /data/results.csv ")
    assert words in text
    assert "Errno" not in text


@pytest.mark.parametrize("keep", [False, True])
def test_what_was_sent_before_a_job_was_cancelled(jobs, qtbot, keep):
    """Results that are on disk are told, whoever asked to stop meanwhile."""
    sent, got = threading.Event(), []

    def work(monitor, send):
        send("a result")
        sent.set()
        while True:
            monitor.check()

    job = jobs.start(work, title="x", on_sent=got.append, keep_sent=keep)
    assert sent.wait(LONG / 1000)  # nothing is delivered while this thread waits
    job.cancel()
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    assert got == (["a result"] if keep else [])
