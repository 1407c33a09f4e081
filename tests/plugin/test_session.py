"""The session: what is worked on, parameters, runs in the background, layers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.plugin.layers.layers import about, find_layers
from napari_exo2micro.plugin.session.session import Session

LONG = 300_000


def test_one_session_for_each_viewer(viewer, qtbot):
    from napari.components import ViewerModel

    other = ViewerModel()
    assert Session.of(viewer) is Session.of(viewer)
    assert Session.of(viewer) is not Session.of(other)
    Session.of(other).close()


def test_params_are_checked_and_told(session, qtbot):
    with qtbot.waitSignal(session.params_changed, timeout=LONG) as told:
        session.set_params(boundary_width=20, angle_range=20.0)
    assert told.args == [("boundary_width",)]
    assert session.suffix(2) == "_pad60_bw20"
    with pytest.raises(ParameterError, match="boundary_width"):
        session.set_params(boundary_width=-1, boundary_smooth=3)
    assert session.params["boundary_smooth"] == 10
    session.reset_params("boundary_width")
    assert session.suffix() == "_pad60"


def test_a_task_needs_a_sample(viewer):
    with pytest.raises(ParameterError, match="choose the raw folder"):
        Session.of(viewer).task()


def test_run_makes_the_layers_of_every_stage_and_again_replaces_them(
    session, viewer, qtbot, pair
):
    for _ in range(2):
        with qtbot.waitSignal(session.run_ended, timeout=LONG):
            session.run(1, 4)
        qtbot.waitUntil(lambda: not session.jobs.is_busy, timeout=LONG)
    roles = [about(layer)["role"] for layer in viewer.layers]
    assert roles == list(dict.fromkeys(roles))
    assert {
        "post",
        "pre",
        "ring post",
        "ring pre",
        "aligned 2",
        "aligned 3",
        "matches inlier",
        "scaled moffat",
        "difference",
    } <= set(roles)
    (difference,) = find_layers(viewer, "difference", "Rock", "DAPI")
    truth = session.task().checkpoint(4, "difference")
    data = difference.data[0] if difference.multiscale else difference.data
    np.testing.assert_array_equal(np.asarray(data), truth.image.level(0))
    low, high = difference.contrast_limits
    assert low == -high
    post = find_layers(viewer, "post")[0]
    assert tuple(post.translate) == (-60.0, -60.0)


def test_an_error_in_a_run_is_told_once(session, qtbot, tmp_path):
    session.set_source(raw_dir=tmp_path / "nothing")
    said: list[str] = []
    job = session.run(1, 1, on_error=said.append)
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    assert len(said) == 1
    assert "nothing" in said[0]
    assert not session.jobs.is_busy


@pytest.mark.parametrize("how", ["ended", "stopped", "failed"])
def test_every_run_tells_its_end_when_its_files_are_there(how, session, qtbot):
    """Other docks read the files anew then."""
    told, layers_of = [], session.describe

    def layers(task, number):
        if how == "failed":
            raise OSError("a disk went away")
        return layers_of(task, number)

    session.describe = layers
    session.run_ended.connect(lambda _: told.append("run_ended"))
    session.results_changed.connect(lambda number: told.append(number))
    session.jobs.busy_changed.connect(lambda busy: told.append("busy" if busy else "-"))
    job = session.run(1, 1 if how == "ended" else 2, on_error=told.append)
    if how == "stopped":
        session.results_changed.connect(lambda _: job.cancel())
    qtbot.waitUntil(lambda: not session.jobs.is_busy, timeout=LONG)
    assert told[0] == "busy"
    assert told[-1] == "-"
    assert ("run_ended" in told) is (how == "ended")
    assert (1 in told) is (how != "failed")
    states = {line.state for line in session.task().status() if line.stage == 1}
    assert states == {"valid"}


def test_newest_wins_and_its_result_only(session, qtbot):
    results: list[int] = []
    release = threading.Event()

    def work(number, monitor):
        release.wait(30)
        monitor.check()
        return number

    for number in range(3):
        job = session.jobs.start(
            work,
            title="work",
            number=number,
            newest="w",
            on_result=results.append,
            show_progress=False,
        )
    with qtbot.waitSignal(job.finished, timeout=LONG):
        release.set()
    qtbot.wait(50)
    assert results == [2]


def test_a_second_run_is_refused_while_one_goes_on(session, qtbot):
    job = session.run(1, 2)
    with pytest.raises(RuntimeError, match="has not ended"):
        session.run(1, 1)
    with qtbot.waitSignal(job.finished, timeout=LONG):
        job.cancel()
    assert not session.jobs.is_busy


def test_closing_ends_the_work(session, qtbot):
    begun, stopped = threading.Event(), threading.Event()

    def work(monitor):
        begun.set()
        try:
            while True:
                monitor.check()
        finally:
            stopped.set()

    session.jobs.start(work, title="endless", show_progress=False)
    assert begun.wait(30)
    session.close()
    assert stopped.wait(30)


def test_a_run_into_a_folder_that_cannot_be_used_is_refused(session, raw_dir, qtbot):
    session.set_source(raw_dir=raw_dir, output_dir=raw_dir / "processed")
    told = []
    job = session.run(1, 1, on_error=told.append)
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    (text,) = told
    assert "lies in the raw folder; choose a folder outside of it" in text
    assert not (raw_dir / "processed").exists()


def test_a_folder_on_a_slow_drive_is_looked_at_in_the_background(
    session, tmp_path, qtbot, monkeypatch
):
    release, looked, told = threading.Event(), [], []

    def look(output_dir, raw_dir=None):
        looked.append((output_dir.name, threading.current_thread()))
        if output_dir.name == "slow":
            release.wait(30)
        return f"{output_dir.name} is full" if output_dir.name != "good" else ""

    monkeypatch.setattr("napari_exo2micro.core.base.output_problem", look)
    session.output_checked.connect(told.append)
    session.set_source(output_dir=tmp_path / "slow")
    with qtbot.waitSignal(session.output_checked, timeout=LONG):
        session.set_source(output_dir=tmp_path / "full")
    release.set()
    qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=LONG)
    assert told == ["full is full"]  # not what the slow one said afterwards
    assert session.output_problem == "full is full"
    assert threading.main_thread() not in [thread for _, thread in looked]
    with qtbot.waitSignal(session.output_checked, timeout=LONG):
        session.set_source(output_dir=tmp_path / "good")
    assert session.output_problem == ""


def test_what_was_wrong_with_a_folder_goes_with_the_next_run(
    session, tmp_path, raw_dir, qtbot
):
    blocked = tmp_path / "notes.txt"
    blocked.write_text("a file")
    with qtbot.waitSignal(session.output_checked, timeout=LONG):
        session.set_source(output_dir=blocked)
    assert "is a file" in session.output_problem
    blocked.unlink()
    with qtbot.waitSignal(session.output_checked, timeout=LONG) as told:
        session.run(1, 1)
    assert told.args == [""]
    assert (blocked / "Rock").is_dir()


def test_a_viewer_whose_last_holder_is_a_worker_ends_its_session(qtbot):
    import gc

    from napari.components import ViewerModel

    gc.collect()  # what others left is not for the worker to take apart
    model = ViewerModel()
    session = Session.of(model)
    held, here = [model], []
    session.jobs.closed.connect(lambda: here.append(threading.current_thread()))
    del model

    def work(monitor):
        held.clear()
        gc.collect()

    job = session.jobs.start(work, title="the last holder", show_progress=False)
    qtbot.waitUntil(lambda: bool(here), timeout=LONG)
    assert here == [threading.main_thread()]
    assert not job.is_running or job.wait(30)
    assert not session.jobs.start(work, title="late").is_running


def test_the_state_comes_with_what_the_results_say(finished, qtbot):
    qtbot.waitUntil(lambda: bool(finished.status), timeout=LONG)
    assert {line.state for line in finished.status} == {"valid"}
    assert finished.stored_result["scale"]["kind"] == "moffat"
    # Nothing is stored for a canvas that was never made.
    with qtbot.waitSignal(finished.status_changed, timeout=LONG):
        finished.set_params(pad=61)
    assert finished.stored_result is None


def test_raw_files_with_another_time_are_read_once(finished, qtbot, monkeypatch):
    """A copy has other times; its content is compared once, not at every change."""
    from napari_exo2micro.core.raw import RawFingerprint

    qtbot.waitUntil(lambda: bool(finished.status), timeout=LONG)
    asked: list[object] = []
    kept = RawFingerprint.matches
    monkeypatch.setattr(
        RawFingerprint, "matches", lambda *a: asked.append(a) or kept(*a)
    )
    for width in (16, 17):
        with qtbot.waitSignal(finished.status_changed, timeout=LONG):
            finished.set_params(boundary_width=width)
    assert finished.status[0].state == "valid"
    assert asked == []


def test_a_form_is_asked_before_a_run_as_long_as_it_lives(session):
    class Form:
        def refusal(self):
            return "the ring is no number"

    form = Form()
    session.add_check(form.refusal)
    with pytest.raises(ParameterError, match="the ring is no number"):
        session.run(1, 1)
    assert not session.jobs.is_busy
    del form
    session.run(1, 1).cancel()


def test_results_of_a_sample_that_was_left_do_not_appear(finished, viewer, qtbot):
    job = finished.show_results()
    finished.set_source(sample="Other")
    with qtbot.waitSignal(job.finished, timeout=LONG):
        pass
    qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
    assert not find_layers(viewer, sample="Rock")
    assert all(line.state != "valid" for line in finished.status)


def test_leaving_a_sample_while_its_state_is_read(finished, qtbot):
    finished.refresh_status()
    finished.set_source(sample="", dye="")
    qtbot.waitUntil(lambda: not finished.jobs.is_working, timeout=LONG)
    assert finished.status == []
    assert finished.stored_result is None
