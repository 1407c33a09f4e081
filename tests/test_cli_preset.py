"""`--preset FILE`: parameters from a file, options beside it win."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app
from napari_exo2micro.core.parameters import State, save_preset
from napari_exo2micro.core.pipeline import RunResult, SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    chosen = {"pad": 60, "fine_ecc": True, "scale_percentile": 99.0, "angle_range": 9}
    return save_preset(tmp_path / "my settings.json", chosen)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The parameters that runs were asked for, instead of the runs."""
    seen: list[dict[str, Any]] = []

    def run(self: SampleDye, **_: Any) -> RunResult:
        seen.append(self.non_default_params())
        return RunResult("Rock", "DAPI", State.DONE)

    monkeypatch.setattr(SampleDye, "run", run)
    return seen


@pytest.mark.parametrize(
    ("options", "differ"),
    [
        ([], {}),
        (["--pad", "70"], {"pad": 70}),
        (["--pad", "2000"], {"pad": None}),  # the default may be asked for as well
        (["--no-fine-ecc"], {"fine_ecc": None}),
        (["--scale-percentile", "none"], {"scale_percentile": None}),
        (["--manual-scale", "1.5"], {"manual_scale": 1.5}),
    ],
)
def test_options_win_over_the_preset(
    runs: list[dict[str, Any]], preset: Path, options: list[str], differ: dict[str, Any]
) -> None:
    ended = call("run", "Rock", "DAPI", "--preset", preset, *options)
    assert ended.exit_code == 0, ended.stderr
    chosen = {"pad": 60, "fine_ecc": True, "scale_percentile": 99.0, "angle_range": 9.0}
    wanted = {**chosen, **differ}
    assert runs == [{name: v for name, v in wanted.items() if v is not None}]


def test_compare_takes_a_preset(runs: list[dict[str, Any]], preset: Path) -> None:
    ended = call("compare", "Rock", "DAPI", "pad", "10", "20", "--preset", preset)
    assert ended.exit_code == 0, ended.stderr
    assert [run["pad"] for run in runs] == [10, 20]
    assert all(run["scale_percentile"] == 99.0 for run in runs)


def test_the_files_are_those_of_the_same_options(tmp_path: Path) -> None:
    write_pair(simulate_section((400, 500), seed=4), tmp_path / "raw", "Rock", "DAPI")
    preset = save_preset(tmp_path / "mine.json", {"pad": 60, "boundary_width": 20})
    places = ("--raw-dir", tmp_path / "raw", "--output-dir", tmp_path / "out")
    words = ("Rock", "DAPI", *places, "--checkpoint-format", "tiff")
    ended = call("run", *words, "--preset", preset, "--to-stage", 2)
    assert ended.exit_code == 0, ended.stderr
    made = sorted(path.name for path in (tmp_path / "out").rglob("*.tiff"))
    assert made[-1] == "02_icp_aligned_pre_pad60_bw20.tiff"
    options = ("--pad", 60, "--boundary-width", 20)
    by_preset = json.loads(call("status", *words, "--preset", preset, "--json").stdout)
    by_options = json.loads(call("status", *words, *options, "--json").stdout)
    assert by_preset == by_options
    states = [entry["state"] for entry in by_preset["files"]]
    assert states[:3] == ["valid"] * 3


@pytest.mark.parametrize("verb", ["run", "status"])
def test_a_preset_that_cannot_be_used_ends_in_one_line(
    verb: str, tmp_path: Path, preset: Path
) -> None:
    out = tmp_path / "out"
    words = (verb, "Rock", "DAPI", "--output-dir", out, "--raw-dir", tmp_path)
    text = preset.read_text(encoding="utf-8").replace("angle_range", "angel_range")
    preset.write_text(text, encoding="utf-8")
    for path, told in (
        (preset, "did you mean 'angle_range'?"),
        (tmp_path / "none.json", "no such file"),
        (tmp_path, "not a file"),
    ):
        ended = call(*words, "--preset", path)
        assert ended.exit_code == 2
        assert ended.stdout == ""
        (line,) = ended.stderr.splitlines()
        assert line.startswith("error: ")
        assert told in line
        assert str(path) in line
    assert not out.exists()
