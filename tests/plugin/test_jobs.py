"""Work in the background: progress, cancelling, errors told once."""

from __future__ import annotations

import threading

import pytest
from napari.utils.notifications import notification_manager
from napari.utils.progress import progress

from napari_exo2micro.core.errors import RawDataError
from napari_exo2micro.plugin.jobs import Jobs, error_text

LONG = 60_000


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


def test_the_activity_dock_can_cancel(jobs, qtbot):
    started = threading.Event()
    results = []

    def work(monitor):
        started.set()
        while True:
            monitor.check()

    job = jobs.start(work, title="endless", on_result=results.append)
    assert started.wait(30)
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
