"""The result of a run as scripts use it."""

from __future__ import annotations

import pickle

import pytest

from napari_exo2micro.core import RunResult, State


def test_a_script_adds_entries_of_its_own_to_a_result():
    result = RunResult("CD070", "DAPI", State.DONE)
    result["seconds_of_mine"] = 12.5
    assert result["seconds_of_mine"] == 12.5
    assert "seconds_of_mine" in result
    assert dict(result)["seconds_of_mine"] == 12.5
    assert "seconds_of_mine" not in result.to_dict()
    assert pickle.loads(pickle.dumps(result))["seconds_of_mine"] == 12.5


def test_what_the_run_says_cannot_be_replaced():
    result = RunResult("CD070", "DAPI", State.DEGRADED, "stage 3")
    with pytest.raises(TypeError, match=r"result\['status'\] .* cannot be replaced"):
        result["status"] = "complete"
    assert result["status"] == "degraded: stage 3"
