"""Values as people type them, suggestions, and a comparison as a table."""

import csv
from dataclasses import replace

import pytest

from napari_exo2micro.core.base import (
    CancelledError,
    Monitor,
    OutputError,
    ParameterError,
    RawDataError,
)
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    State,
    Verdict,
    default_params,
    parse_value,
    parse_values,
    suggest_values,
    value_words,
)
from napari_exo2micro.core.pipeline import (
    ComparisonRow,
    RunResult,
    SampleDye,
    comparison_row,
    save_comparison,
)
from napari_exo2micro.core.store import StoredScale

pytestmark = pytest.mark.usefixtures("plain_pictures")


def entry(name):
    return PARAMETER_REGISTRY[name]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("boundary_width", "10, 15, 20", [10, 15, 20]),
        ("boundary_width", " 10 15\t20 ", [10, 15, 20]),
        ("boundary_width", "10, 15 20,", [10, 15, 20]),
        ("boundary_width", "10, 10, 15", [10, 15]),
        ("angle_range", "10, 12.5", [10.0, 12.5]),
        ("scale_min", "0,8; 0,85", [0.8, 0.85]),
        ("stopdelta", "1e-7, 1e-6", [1e-7, 1e-6]),
        ("multiscale", "on, off", [True, False]),
        ("multiscale", "yes no", [True, False]),
        ("interpolation", "linear, cubic", ["linear", "cubic"]),
        ("manual_scale", "not set, 1.2", [None, 1.2]),
        ("manual_scale", "none, 1.2", [None, 1.2]),
    ],
)
def test_values_are_read_as_typed(name, text, expected):
    found = parse_values(entry(name), text)
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("boundary_width", "10, abc", "'abc' cannot be taken: type a whole number"),
        ("boundary_width", "10, 300", "'300' cannot be taken.* from 1 to 200"),
        ("boundary_width", "10, 15.5", "'15.5' cannot be taken"),
        ("multiscale", "on, maybe", "'maybe' cannot be taken: type on or off"),
        ("interpolation", "linear, best", "type one of linear, cubic, lanczos"),
        ("manual_scale", "1, 0", r"'0' cannot be taken.*or 'not set'"),
        ("boundary_width", "", "at least two values, none is typed.*10, 15, 20"),
        ("boundary_width", "15", "at least two values, one is typed"),
        ("boundary_width", "15, 15", "at least two values, one is typed"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_can(name, text, message):
    with pytest.raises(ParameterError, match=message) as raised:
        parse_values(entry(name), text)
    assert "None" not in str(raised.value)


def test_values_must_go_with_the_other_parameters():
    params = {**default_params(), "scale_max": 0.9}
    with pytest.raises(ParameterError, match="scale_min must not exceed scale_max"):
        parse_values(entry("scale_min"), "0.8, 0.95", params)


@pytest.mark.parametrize("name", list(PARAMETER_REGISTRY))
def test_suggestions_can_be_typed_and_taken(name):
    params = default_params()
    found = suggest_values(entry(name), params=params)
    assert 2 <= len(found) <= max(3, len(entry(name).choices))
    text = ", ".join(map(value_words, found))
    assert parse_values(entry(name), text, params) == found
    default = entry(name).default
    assert default is None or default in found


def test_suggestions_lie_around_a_value():
    assert suggest_values(entry("boundary_width")) == [10, 15, 20]
    assert suggest_values(entry("boundary_width"), 30) == [20, 30, 40]
    assert suggest_values(entry("boundary_width"), 190) == [130, 190]
    assert suggest_values(entry("manual_scale"), 1.31) == [0.87, 1.31, 1.7]
    params = {**default_params(), "scale_min": 1.0}
    assert suggest_values(entry("scale_max"), params=params) == [1.15, 1.5]


def test_words_of_a_value_read_back():
    for name, value in [("multiscale", False), ("manual_scale", None), ("pad", 7)]:
        assert parse_value(entry(name), value_words(value)) == value


# Comparing -----------------------------------------------------------------------


@pytest.fixture
def task(raw_dir, tmp_path):
    task = SampleDye("Rock", "DAPI", tmp_path / "out", raw_dir, "tiff")
    task.set_params(pad=60)
    return task


def test_each_result_is_told_when_it_is_there(task):
    seen = []
    results = task.compare(
        "boundary_width", [12, 15], to_stage=2, on_result=lambda r: seen.append(r)
    )
    assert [result["value"] for result in seen] == [12, 15]
    assert seen == results
    assert all(result["seconds"] > 0 for result in results)


def test_results_before_a_stop_were_told(task):
    seen = []
    with pytest.raises(CancelledError):
        task.compare(
            "boundary_width",
            [12, 15],
            to_stage=2,
            monitor=Monitor(should_stop=lambda: bool(seen)),
            on_result=seen.append,
        )
    assert [result["value"] for result in seen] == [12]


def test_a_row_of_a_real_run(task):
    row = comparison_row(
        "interior_ecc", task.compare("interior_ecc", [False], to_stage=3)[0]
    )
    assert row.value is False
    assert row.state == "done"
    assert row.scale is None
    assert row.seconds > 0


RESULT = RunResult(
    "Rock",
    "DAPI",
    State.DONE,
    verdicts={
        2: Verdict("ok", numbers={"accuracy_px": 3.0}),
        3: Verdict("ok", numbers={"accuracy_px": 0.1}),
    },
    scales={
        scale.kind: scale
        for scale in (
            StoredScale("moffat", 1.3, 0.002, is_main=True),
            StoredScale("percentile_p99", 1.5, 0.004),
            StoredScale("manual", 1.4),
        )
    },
    manual_scale=1.4,
    warnings=("careful",),
    seconds=2.0,
    compared="boundary_width",
    value=20,
)


def test_a_row_tells_the_last_accuracy_and_the_scale_that_is_compared():
    row = comparison_row("boundary_width", RESULT)
    assert (row.accuracy_px, row.scale, row.scale_uncertainty) == (0.1, 1.3, 0.002)
    assert row.note == "careful"
    assert comparison_row("scale_percentile", RESULT).scale == 1.5
    assert comparison_row("manual_scale", RESULT).scale == 1.4


@pytest.mark.parametrize("state", [State.DEGRADED, State.FAILED])
def test_a_row_says_why_it_is_not_complete(state):
    result = replace(RESULT, state=state, reason="few features", warnings=())
    row = comparison_row("pad", result)
    assert (row.state, row.note) == (state, "few features")


def test_an_accuracy_that_failed_is_not_known():
    failed = {3: Verdict("failed", "no features", {"accuracy_px": -1.0})}
    row = comparison_row("pad", replace(RESULT, verdicts=failed))
    assert row.accuracy_px is None


def test_a_value_that_cannot_run_is_a_row(task):
    for path in (task.raw_dir / "Rock").glob("*Pre*"):
        path.write_bytes(b"no image")
    result = task.compare("boundary_width", [12], to_stage=2)[0]
    row = comparison_row("boundary_width", result)
    assert row.state == "failed"
    assert row.note
    with pytest.raises(RawDataError):
        task.run(to_stage=2)


def test_the_table_reads_back(tmp_path):
    path = tmp_path / "new" / "table.csv"
    rows = [
        comparison_row("boundary_width", RESULT),
        ComparisonRow(None, State.FAILED, 'a "quoted", reason'),
    ]
    save_comparison(path, "boundary_width", rows, sample="Rock", dye="DAPI")
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert found[0]["value"] == "20"
    assert float(found[0]["accuracy_px"]) == 0.1
    assert found[0]["last_stage"] == "5"
    assert found[1]["value"] == "not set"
    assert found[1]["scale"] == found[1]["seconds"] == ""
    assert found[1]["note"] == 'a "quoted", reason'
    assert {row["sample"] for row in found} == {"Rock"}


def test_no_cell_of_a_table_is_a_formula(tmp_path):
    path = tmp_path / "table.csv"
    odd = ['=cmd|"/c calc"!A1', "+1+1", "-1+1", "@SUM(A1)", "\tx", "\r=1"]
    rows = [ComparisonRow(-0.5, State.FAILED, note, accuracy_px=0.25) for note in odd]
    save_comparison(path, "=pad", rows, sample="=Rock", dye="@DAPI")
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["note"] for row in found] == [f"'{note}" for note in odd]
    assert {(row["sample"], row["dye"]) for row in found} == {("'=Rock", "'@DAPI")}
    assert {row["parameter"] for row in found} == {"'=pad"}
    assert {(row["value"], row["accuracy_px"]) for row in found} == {("-0.5", "0.25")}


def test_a_table_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        save_comparison(tmp_path / "file" / "table.csv", "pad", [])
