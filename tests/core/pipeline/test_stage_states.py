"""The state of each stage in one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_exo2micro.core.parameters import (
    STAGES,
    Stage,
    State,
    Verdict,
    register_stage,
    unregister_stage,
)
from napari_exo2micro.core.pipeline import RunResult, stage_states, stages_done
from napari_exo2micro.core.store import CheckpointStatus


def line(stage, name, state="valid", reason="", kind="checkpoint"):
    path = Path(f"{stage}_{name}")
    return CheckpointStatus(stage, name, kind, State(state), reason, path)


def result(verdicts):
    return RunResult("Rock", "DAPI", State.DEGRADED, verdicts=verdicts)


def test_without_results_every_stage_is_missing():
    assert {one.state for one in stage_states([]).values()} == {"missing"}
    assert list(stage_states([])) == sorted(STAGES)
    lines = [line(1, "post", "missing"), line(1, "pre", "missing")]
    assert stage_states(lines)[1].reason == ""


def test_the_worst_image_speaks_for_its_stage():
    lines = [line(1, "post"), line(1, "pre", "stale", "made from others")]
    assert (stage_states(lines)[1].state, stage_states(lines)[1].reason) == (
        "stale",
        "made from others",
    )
    lines = [line(1, "post"), line(1, "pre", "missing")]
    assert stage_states(lines)[1].state == "missing"
    assert "1_pre" in stage_states(lines)[1].reason


def test_a_plot_that_shows_other_results_makes_its_stage_stale():
    lines = [line(4, "difference"), line(4, "heat", "stale", "drawn before", "plot")]
    found = stage_states(lines)[4]
    assert found.state == "stale"
    assert "heat: drawn before" in found.reason
    lines = [line(4, "difference"), line(4, "heat", "missing", "", "plot")]
    assert "heat: it is missing" in stage_states(lines)[4].reason


@pytest.mark.parametrize("state", ["fell_back", "failed", "skipped"])
def test_a_valid_stage_says_what_it_says_of_its_own_work(state):
    verdict = Verdict(state, "few matches")
    lines = [line(3, "pre"), line(4, "difference")]
    states = stage_states(lines, result({3: verdict, 4: verdict}))
    assert (states[3].state, states[3].reason) == (state, "few matches")
    assert states[4].state == state


def test_a_valid_stage_without_a_doubt_is_valid():
    lines = [line(2, "pre", reason="no header: provenance unknown")]
    state = stage_states(lines, result({2: Verdict("ok")}))[2]
    assert (state.state, state.reason) == ("valid", "no header: provenance unknown")


def test_stages_are_done_in_a_row():
    lines = [line(1, "post"), line(2, "pre"), line(3, "pre", "stale"), line(4, "d")]
    assert stages_done(lines) == 2
    assert stages_done([*lines[:2], line(4, "heat", "missing", "", "plot")]) == 2
    assert stages_done([line(1, "post"), line(1, "pre", "missing")]) == 0
    assert stages_done([]) == 0


def test_a_stage_of_somebody_else_is_among_them():
    register_stage(Stage(6, "06_counts", "counts", "_run_stage_6", ("counts",)))
    try:
        assert stage_states([line(6, "counts")])[6].state == "valid"
    finally:
        unregister_stage(6)
