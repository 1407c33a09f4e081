"""The command line: options, one-line errors, exit codes, JSON."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_exo2micro import __version__
from napari_exo2micro.cli.app import app
from napari_exo2micro.cli.board import TaskBoard
from napari_exo2micro.cli.options import stage_number
from napari_exo2micro.cli.output import (
    EXIT_CODES,
    console,
    jsonable,
    show_result,
    watched,
)
from napari_exo2micro.core.base import DataWarning, ParameterError
from napari_exo2micro.core.batch import TaskEvent
from napari_exo2micro.core.images.io import write_raster
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    State,
    Verdict,
    number_words,
    parse_value,
)
from napari_exo2micro.core.pipeline import RunResult
from napari_exo2micro.core.store import StoredScale

DOCS = Path(__file__).parent.parent / "docs"


@dataclass
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def call(*words: object) -> Ended:
    runner = CliRunner(env={"COLUMNS": "120"})
    result = runner.invoke(app, [str(word) for word in words])
    return Ended(result.exit_code, result.stdout, result.stderr)


def refused(*words: object) -> str:
    """Return the one line with which a call ends that cannot be carried out."""
    ended = call(*words)
    assert ended.code == 2
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


# Help and version ------------------------------------------------------------


def test_version_is_printed() -> None:
    ended = call("--version")
    assert (ended.code, ended.out.strip()) == (0, f"exo2micro {__version__}")


def test_without_a_command_the_help_page_is_shown() -> None:
    ended = call()
    assert ended.code == 2
    for verb in ("run", "status", "survey", "diagnose", "compare", "info", "demo"):
        assert verb in ended.out


def test_help_page_and_documentation_tell_the_exit_codes_alike() -> None:
    page = " ".join(call("--help").out.split())
    told = (DOCS / "start" / "command_line.md").read_text("utf-8")
    plain = re.sub(r"\{kbd\}`Ctrl`\+\{kbd\}`C`", "Ctrl+C", told).replace("`", "")
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", plain, re.MULTILINE))
    assert rows == {str(code): words for code, words in EXIT_CODES.items()}
    for code, words in rows.items():
        assert f"{code}: {words}." in page


@pytest.mark.parametrize("verb", ["run", "status", "compare"])
def test_every_parameter_is_an_option_in_the_panel_of_its_stage(verb: str) -> None:
    ended = call(verb, "--help")
    assert ended.code == 0
    sections = ended.out.split("\nStage ")[1:]
    assert len(sections) == len(STAGES)
    for entry in PARAMETER_REGISTRY.values():
        name = entry.name.replace("_", "-")
        name = f"--[no-]{name}" if entry.kind is bool else f"--{name} "
        assert name in sections[entry.stage - 1]


def test_params_tells_every_parameter() -> None:
    text = call("params").out
    table = call("params", "--json").json["parameters"]
    assert list(table) == list(PARAMETER_REGISTRY)
    for entry in PARAMETER_REGISTRY.values():
        assert entry.name in text
        assert table[entry.name]["default"] == entry.default
        assert table[entry.name]["abbreviation"] == entry.abbreviation


# Bad calls -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["fly"], "fly"),
        (["run"], "sample"),
        (["run", "A"], "dye"),
        (["run", "A", "D", "--padd", "3"], "--padd"),
        (["run", "A", "D", "--pad", "much"], "--pad"),
        (["run", "A", "D", "--interpolation", "magic"], "cubic"),
        (["run", "A", "D", "--scale-percentile", "101"], "0 to 100"),
        (["run", "A", "D", "--manual-scale", "0"], "above 0"),
        (["run", "A", "D", "--checkpoint-format", "png"], "tiff"),
        (["compare", "A", "D", "boundary_width"], "value"),
        (["info"], "file"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(words: list[str], told: str) -> None:
    assert told.casefold() in refused(*words).casefold()


def test_stages_have_numbers_and_names() -> None:
    assert stage_number(None) is None
    assert stage_number("3") == stage_number("03_interior_aligned") == 3
    assert stage_number("Interior_Aligned") == 3
    with pytest.raises(ParameterError, match="difference"):
        stage_number("9")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("pad", "100", 100),
        ("angle_range", "12.5", 12.5),
        ("use_edges", "off", False),
        ("use_edges", "1", True),
        ("manual_scale", "none", None),
        ("manual_scale", "1.42", 1.42),
        ("interpolation", "linear", "linear"),
    ],
)
def test_values_are_read_as_the_parameter_wants(
    name: str, text: str, value: object
) -> None:
    found = parse_value(PARAMETER_REGISTRY[name], text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("pad", "none"), ("pad", "2.5"), ("use_edges", "2"), ("angle_range", "nan")],
)
def test_values_of_another_type_are_refused(name: str, text: str) -> None:
    with pytest.raises(ParameterError, match=name):
        parse_value(PARAMETER_REGISTRY[name], text)


def test_json_has_no_nan() -> None:
    value = {"a": float("nan"), "b": [np.float32(0.5), Path("x")], 3: (np.inf,)}
    assert jsonable(value) == {"a": None, "b": [0.5, "x"], "3": [None]}


# Raw folders -----------------------------------------------------------------


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / "CD070"
    folder.mkdir(parents=True)
    for stain in ("Pre", "Post"):
        (folder / f"CD070_{stain}Stain_DAPI.tif").write_bytes(b"")
    return folder.parent


def test_diagnose_is_content_with_a_good_folder(raw: Path) -> None:
    ended = call("diagnose", "--raw-dir", raw)
    assert ended.code == 0
    assert "DAPI" in ended.out
    found = call("diagnose", "--raw-dir", raw, "--json").json
    assert found["pairs"] == [{"sample": "CD070", "dye": "DAPI"}]
    assert found["problems"] == []


def test_diagnose_tells_each_problem(raw: Path) -> None:
    (raw / "CD070" / "note.tif").write_bytes(b"")
    (raw / "CD070" / "x_Pre_FITC.tif").write_bytes(b"")
    ended = call("diagnose", "--raw-dir", raw)
    assert ended.code == 1
    assert "note.tif" in ended.out
    assert "FITC" in ended.out


@pytest.fixture
def unnamed(tmp_path: Path) -> Path:
    """A raw folder whose names tell sides, but not by our rule."""
    for name in ("R1/SYBR before.tif", "R1/SYBR after.tif", "notes.tif"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_pair_shows_what_it_proposes_and_writes_nothing_unasked(unnamed: Path) -> None:
    ended = call("pair", unnamed)
    assert ended.code == 1
    assert "SYBR after.tif" in ended.out
    assert "notes.tif: no partner" in ended.out
    assert "--yes writes it" in ended.err
    assert not (unnamed / "pairs.csv").exists()
    found = call("pair", unnamed, "--json").json
    assert found["written"] is None
    assert [row["dye"] for row in found["proposed"]] == ["SYBR"]


def test_pair_writes_the_table(unnamed: Path) -> None:
    (unnamed / "notes.tif").unlink()
    ended = call("pair", unnamed, "--yes")
    assert ended.code == 0, ended.err
    found = call("diagnose", "--raw-dir", unnamed, "--json").json
    assert found["pairs"] == [{"sample": "R1", "dye": "SYBR"}]
    again = call("pair", unnamed, "--yes")
    assert again.code == 0
    assert "no further pair" in again.out
    assert not (unnamed / "pairs.csv.bak").exists()


@pytest.mark.parametrize(("answer", "is_written"), [("y", True), ("", False)])
def test_pair_asks_on_a_terminal(
    unnamed: Path, monkeypatch: pytest.MonkeyPatch, answer: str, is_written: bool
) -> None:
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("builtins.input", ask)
    monkeypatch.setattr("napari_exo2micro.cli.run.sys", Terminal())
    call("pair", unnamed)
    assert asked == [f"Write these 1 to {unnamed / 'pairs.csv'}? [y/N] "]
    assert (unnamed / "pairs.csv").exists() is is_written


class Terminal:
    """A `sys` whose input is a person's."""

    class stdin:
        isatty = staticmethod(lambda: True)


def test_diagnose_of_nothing_ends_with_2(tmp_path: Path) -> None:
    ended = call("diagnose", "--raw-dir", tmp_path / "absent")
    assert ended.code == 2
    assert "does not exist" in ended.out


def test_info_of_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    assert "no such file" in refused("info", tmp_path / "absent.tiff")


def test_info_of_no_image_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "text.tiff"
    path.write_text("no image", encoding="utf-8")
    assert "text.tiff" in refused("info", path)


@pytest.mark.parametrize(
    ("sample", "dye", "told"),
    [
        ("Absent", "DAPI", "Absent"),
        ("CD070", "FITC", "FITC"),
        ("CD070", "SybrGld_DAPI", "DAPI"),
        ("../CD070", "DAPI", ".."),
        ("CD070", "DAPI", "CD070_PostStain_DAPI.tif"),  # empty files
    ],
)
def test_a_pair_that_cannot_be_read_is_told_in_one_line(
    raw: Path, sample: str, dye: str, told: str
) -> None:
    out = raw.parent / "out"
    line = refused("run", sample, dye, "--raw-dir", raw, "--output-dir", out)
    assert told in line


def test_errors_are_json_where_json_was_asked_for(raw: Path) -> None:
    out = raw.parent / "out"
    ended = call("run", "No", "D", "--raw-dir", raw, "--output-dir", out, "--json")
    assert ended.code == 2
    assert ended.json["status"].startswith("error: ")
    assert len(ended.err.splitlines()) == 1


def test_debug_adds_the_traceback(raw: Path) -> None:
    out = raw.parent / "out"
    ended = call("run", "No", "D", "--raw-dir", raw, "--output-dir", out, "--debug")
    assert ended.code == 2
    assert "Traceback" in ended.err


def test_an_unknown_parameter_of_compare_lists_the_known_ones() -> None:
    line = refused("compare", "A", "D", "boundary_with", "3")
    assert "boundary_width" in line


# Reports ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("accuracy_px", 0.03124, "accuracy 0.0312 px"),
        ("n_inliers", 423.0, "inliers 423"),
        ("turn_deg", -1.5, "turn -1.5 deg"),
        ("overlap", 0.98765, "overlap 0.988"),
    ],
)
def test_figures_read_as_words(name: str, value: float, words: str) -> None:
    assert number_words(name, value) == words


def test_a_report_says_why_a_run_is_degraded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    accuracy = {"n_tiles": 12.0, "accuracy_px": 1.5}
    scale = StoredScale("moffat", 1.234567, 0.0021, 3.0, is_main=True)
    show_result(
        RunResult(
            "CD070",
            "DAPI",
            State.DEGRADED,
            "stage 3 interior alignment: few tiles agree",
            verdicts={
                2: Verdict(State.OK, numbers={"overlap": 0.98}),
                3: Verdict(State.FELL_BACK, "few tiles agree", accuracy),
            },
            scales={"moffat": scale},
            manual_scale=1.5,
            warnings=("two are grey", "seen before"),
            outputs=(
                Path("out/CD070/DAPI/tiff/04_difference_difference.tiff"),
                Path("out/CD070/DAPI/pipeline_output/difference_image.png"),
            ),
        ),
        already_shown=["seen before"],
    )
    ended = capsys.readouterr()
    lines = {line.split("  ")[0].strip(): line for line in ended.out.splitlines()}
    assert "fell back" in lines["3 interior alignment"]
    assert "accuracy 1.5 px" in ended.out
    assert "1.2346 ± 0.002" in lines["scale"]
    assert "post - 3 - scale" in lines["scale"]
    assert "1.5 by hand" in ended.out
    assert lines["difference"].endswith("out/CD070/DAPI/tiff")
    assert "  04_difference_difference.tiff" in ended.out
    assert "1 in out/CD070/DAPI/pipeline_output" in lines["pictures"]
    assert "few tiles agree" in lines["status"]
    assert ended.err == "warning: two are grey\n"


# Names and headers that a terminal would obey ---------------------------------------

ODD = "S1\x1b[2J\u202e_\nPre"


def is_clean(text: str) -> bool:
    """Return whether a terminal only shows what it is given."""
    return all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A raw folder with names that a terminal would obey."""
    folder = tmp_path / "Rock[b]7"
    folder.mkdir()
    for name in (f"{ODD}_DAPI.tif", "Pre_DAPI.tif", "Post_DAPI.tif", f"{ODD}.tif"):
        (folder / name).touch()
    return tmp_path


needs_odd_names = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no files with such names"
)


@needs_odd_names
@pytest.mark.parametrize("verb", ["diagnose", "survey"])
def test_file_names_are_shown_not_obeyed(verb: str, odd: Path) -> None:
    ended = call(verb, "--raw-dir", odd)
    assert is_clean(ended.out)
    assert is_clean(ended.err)
    assert r"S1\x1b[2J\u202e_\nPre" in ended.out
    assert "Rock[b]7" in ended.out


@needs_odd_names
@pytest.mark.parametrize("more", [[], ["--debug"]])
def test_errors_and_tracebacks_are_shown_not_obeyed(odd: Path, more: list[str]) -> None:
    words = ["Rock[b]7", "DAPI", "--raw-dir", odd, "--output-dir", odd.parent / "out"]
    ended = call("run", *words, *more)
    assert ended.code == 2
    assert is_clean(ended.err)
    assert r"S1\x1b[2J\u202e_ Pre_DAPI.tif" in ended.err
    assert is_clean(call("run", "Rock\x1b[2J", "DAPI", *more).err)
    assert is_clean(call("fly\x1b[2J", *more).err)


def test_headers_are_shown_not_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "image.tiff"
    header = {"sample": "\x1b]0;title\x07", "notes": ["[bold]a\x9b2J", "\u2066b"]}
    pixels = np.zeros((8, 8), np.uint8)
    write_raster([path], (8, 8), np.uint8, [(0, pixels)], header=header)
    ended = call("info", path)
    assert ended.code == 0
    assert is_clean(ended.out)
    assert r"\x1b]0;title\x07" in ended.out
    assert r"[bold]a\x9b2J, \u2066b" in ended.out


def test_progress_and_warnings_are_shown_not_obeyed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with watched("Rock[b]7\x1b[2J") as (monitor, _):
        monitor.report(0.5, "reading \x1b]0;x\x07[i]y")
        warnings.warn("odd \x1b[2J", DataWarning, stacklevel=1)
    shown = capsys.readouterr().err
    for text in (r"Rock[b]7\x1b[2J", r"\x1b]0;x\x07[i]y", r"warning: odd \x1b[2J"):
        assert text in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]0;" not in shown


def test_a_batch_table_is_shown_not_obeyed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    board = TaskBoard()
    board.take(TaskEvent(0, "R[b]7\x1b[2J", "D\u202e", State.RUNNING))
    console().print(board)
    shown = capsys.readouterr().out
    assert is_clean(shown)
    assert r"R[b]7\x1b[2J" in shown
    assert r"D\u202e" in shown


@needs_odd_names
def test_without_a_locale_that_knows_the_letters_the_locale_is_named(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"
    folder.mkdir()
    for name in ("Pre_DAPI.tif", "Post_DAPI.tif"):
        (folder / name).touch()
    words = [sys.executable, "-m", "napari_exo2micro", "diagnose", "--raw-dir"]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(
        [*words, tmp_path],
        env={**os.environ, **plain},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    told = " ".join((ended.stdout + ended.stderr).decode("ascii").split())
    assert "control character" not in told
    assert "set LC_ALL=C.UTF-8 or PYTHONUTF8=1" in told
