"""Scripts written for the reference system, with another line of import."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_exo2micro import core as e2m
from napari_exo2micro.cli.app import app
from napari_exo2micro.core.simulate import simulate_section, write_pair

DYE = "SybrGld_microbe"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw files and their results, all parameters at their defaults."""
    folder = tmp_path_factory.mktemp("scripts")
    pair = simulate_section(
        (420, 460), seed=5, angle_deg=4.0, scale=1.03, shift=(12.0, -9.0), gain=1.25
    )
    for path in write_pair(pair, folder / "raw", "CD070", "SybrGld"):
        stem = path.stem.replace("_SybrGld", f"_{DYE}")
        (path.parent / f"{stem}{path.suffix}").write_bytes(path.read_bytes())
    with contextlib.chdir(folder):
        assert e2m.SampleDye("CD070", DYE).run()["status"] == "complete"
    return folder


@pytest.fixture(autouse=True)
def _at_the_place(place: Path) -> Iterator[None]:
    with contextlib.chdir(place):
        yield


def test_the_developer_pages_script_runs_as_it_stands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).parent / "data" / "downstream_script.py"
    names: dict[str, object] = {}
    exec(compile(page.read_text(), str(page), "exec"), names)
    assert names["scale"] == e2m.SampleDye("CD070", DYE).result()["scale_estimate"]
    assert names["scale"] == pytest.approx(1.25, abs=0.02)
    assert "feature 1: centroid" in capsys.readouterr().out


def test_a_dye_with_an_underscore_is_found_by_everything() -> None:
    ends = ["CD070_PostStain_SybrGld_microbe.tif", "CD070_PreStain_SybrGld_microbe.tif"]
    assert [path.name for path in e2m.load_image_pair("CD070", DYE)[2:]] == ends
    files = e2m.classify_raw_files("raw/CD070").of(DYE)
    assert [path.name for path in (*files.post, *files.pre)] == ends
    found = e2m.discover_tasks(["CD070"], [DYE])
    assert (found.present, found.skipped, found.warnings) == ((("CD070", DYE),), (), ())
    (result,) = e2m.run_batch(["CD070"], [DYE])
    assert result["status"] == "complete"
    results = Path.cwd() / "processed" / "CD070" / DYE
    assert {path.absolute().parents[1] for path in result.outputs} == {results}
    ran = CliRunner().invoke(app, ["status", "CD070", DYE])
    assert ran.exit_code == 0
    assert f"processed/CD070/{DYE}" in ran.output
    assert "status  complete" in ran.output
