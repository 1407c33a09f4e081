"""Malformed inputs end in one of our errors, or do no harm, and nothing else breaks."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("limits and pipes are those of POSIX", allow_module_level=True)

from malformed import CASES
from malformed.runner import Outcome, run_cases
from malformed.worker import MEMORY

pytestmark = pytest.mark.slow

#: A machine may be busy: that 10 s are enough is measured by benchmarks/faults.py.
_SECONDS = 120

GROUPS = sorted({case.group for case in CASES})


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    """All cases, run in one process; one that kills it costs another process."""
    folder = tmp_path_factory.mktemp("malformed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXO2MICRO_CASE_SECONDS", str(_SECONDS))
        patch.setattr("malformed.runner._PATIENCE", _SECONDS + 60.0)
        return list(run_cases([case.title for case in CASES], folder))


def test_every_case_is_run(outcomes: list[Outcome]) -> None:
    assert [outcome.title for outcome in outcomes] == [case.title for case in CASES]


@pytest.mark.parametrize("group", GROUPS)
def test_every_case_ends_as_it_must(group: str, outcomes: list[Outcome]) -> None:
    """In one of our errors, within 1 GB, and with nothing written elsewhere."""
    found = [o for o in outcomes if o.title.startswith(f"{group}: ")]
    faults = [f"{o.title}: {o.told}" for o in found if o.ending == "fault"]
    assert found
    assert not faults, "\n".join(faults)
    assert max(outcome.peak for outcome in found) < MEMORY


def test_there_are_enough_cases_with_names_of_their_own() -> None:
    assert max(Counter(case.title for case in CASES).values()) == 1
    malformed_files = [case for case in CASES if case.group not in ("name", "lock")]
    assert len(malformed_files) >= 60
    assert sum(case.ends == "refused" for case in CASES) >= 60


BROKEN = ["hangs", "sleeps", "dies", "takes memory", "writes elsewhere", "breaks"]


def test_a_fault_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner tells cases that hang, crash, take too much or write elsewhere."""
    monkeypatch.setenv("EXO2MICRO_BROKEN_CASES", "1")
    monkeypatch.setenv("EXO2MICRO_CASE_SECONDS", "2")
    monkeypatch.setattr("malformed.runner._PATIENCE", 8.0)
    outcomes = {
        outcome.title: outcome
        for outcome in run_cases([f"broken: {name}" for name in BROKEN], tmp_path)
    }
    told = {title: outcome.told for title, outcome in outcomes.items()}
    assert {outcome.ending for outcome in outcomes.values()} == {"fault"}
    assert "it hangs" in told["broken: hangs"]
    assert "too long" in told["broken: sleeps"]
    assert "SIGSEGV" in told["broken: dies"]
    if sys.platform == "linux":
        assert "MemoryError" in told["broken: takes memory"]
    assert "changed outside" in told["broken: writes elsewhere"]
    assert "KeyError" in told["broken: breaks"]
