"""The command line on simulated sections: run, resume, look, compare, stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from napari_exo2micro.cli.app import app
from napari_exo2micro.core.raw import RawFingerprint
from napari_exo2micro.core.simulate import simulate_section, write_pair

pytestmark = pytest.mark.usefixtures("plain_pictures")

SHAPE = (480, 540)
PAD = ("--pad", "200")


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


@dataclass(frozen=True)
class Place:
    """A raw folder and an output folder with one finished run."""

    raw: Path
    out: Path
    first: Ended

    def call(
        self, verb: str, *words: object, dye: str = "DAPI", out: Path | None = None
    ) -> Ended:
        places = ("--raw-dir", self.raw, "--output-dir", out or self.out)
        return call(verb, "CD070", dye, *words, *places, *PAD)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("cli")
    pair = simulate_section(
        SHAPE, seed=4, angle_deg=6.0, scale=1.03, shift=(20.0, -12.0), gain=1.25
    )
    write_pair(pair, folder / "raw", "CD070", "DAPI", channels="rgb")
    bent = simulate_section(SHAPE, seed=5, deformation_px=10.0)
    write_pair(bent, folder / "raw", "CD070", "Bent")
    made = Place(folder / "raw", folder / "out", Ended(0, "", ""))
    return Place(made.raw, made.out, made.call("run"))


def test_a_good_pair_ends_with_0_and_says_what_came_out(place: Place) -> None:
    assert place.first.code == 0, place.first.err
    for words in ("interior alignment", "accuracy", "scale", "pictures", "complete"):
        assert words in place.first.out
    pictures = place.out / "CD070" / "DAPI" / "pipeline_output"
    assert str(pictures) in place.first.out
    assert list(pictures.glob("difference_image*.png"))
    # no bar where nobody watches
    assert "\x1b" not in place.first.out + place.first.err
    assert "%" not in place.first.err


def test_a_second_run_makes_nothing_again(place: Place) -> None:
    files = {p: p.stat().st_mtime_ns for p in place.out.rglob("*") if p.is_file()}
    ended = place.call("run", "--json")
    assert ended.code == 0
    assert ended.json["status"] == "complete"
    assert ended.json["scale_estimate"] == pytest.approx(1.25, rel=0.01)
    tiffs = {p: t for p, t in files.items() if p.suffix in (".tiff", ".fits", ".png")}
    assert tiffs == {p: p.stat().st_mtime_ns for p in tiffs}


def test_status_tells_what_is_valid(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = place.call("status", "--json").json
    assert found["complete"]
    names = {(entry["stage"], entry["name"]) for entry in found["files"]}
    assert {(1, "post"), (1, "pre"), (2, "pre"), (3, "pre"), (4, "difference")} <= names
    assert "valid" in place.call("status").out
    read: list[Path] = []
    of = RawFingerprint.of
    spy = staticmethod(lambda path: read.append(path) or of(path))
    monkeypatch.setattr(RawFingerprint, "of", spy)
    for verb, number in (("status", 2), ("run", 4)):
        assert place.call(verb, "--verify").code == 0
        assert len(read) == number
    assert "other results" not in place.call("status").out
    other = place.call("status", "--boundary-width", "20", "--json").json
    assert not other["complete"]
    hint = place.call("status", "--boundary-width", "20").out
    assert "other results here: give --pad 200" in hint


@pytest.mark.parametrize("kind", ["tiff", "fits"])
def test_info_tells_everything_that_the_header_says(place: Place, kind: str) -> None:
    (path,) = (place.out / "CD070" / "DAPI" / kind).glob("04_difference_difference_p*")
    found = call("info", path, "--json").json
    header = found["header"]
    assert (header["sample"], header["dye"], header["stage"]) == ("CD070", "DAPI", 4)
    assert header["parameters"]["pad"] == 200
    text = call("info", path).out
    for words in (
        "CD070",
        "transform",
        "turn",
        "stage 3",
        "parameter pad",
        "numpy",
        "sha256",
    ):
        assert words in text


def test_info_without_a_header_says_so(place: Place) -> None:
    raw = next((place.raw / "CD070").glob("*Pre*Bent.tif"))
    assert "not known how" in call("info", raw).out


def test_a_pair_that_cannot_be_vouched_for_ends_with_1(place: Place) -> None:
    ended = place.call("run", "--json", "--local", "off", dye="Bent")
    assert ended.json["status"].startswith("degraded: ")
    assert ended.code == 1


def test_compare_gives_one_row_for_each_value(place: Place) -> None:
    ended = place.call("compare", "manual_scale", "1.1", "none", "--json")
    assert ended.code == 0, ended.err
    values = [result["value"] for result in ended.json["results"]]
    assert values == [1.1, None]
    text = place.call("compare", "manual-scale", "1.1", "none").out
    assert "1.1" in text
    assert "complete" in text


def test_stages_can_be_chosen_by_name(place: Place, tmp_path: Path) -> None:
    words = ("--to-stage", "padded", "--checkpoint-format", "tiff")
    ended = place.call("run", *words, out=tmp_path)
    assert ended.code == 0
    made = sorted(p.name for p in (tmp_path / "CD070").rglob("*.*") if p.is_file())
    assert made == ["01_padded_post_pad200.tiff", "01_padded_pre_pad200.tiff"]


def test_survey_lists_every_raw_file(place: Place) -> None:
    ended = call("survey", "--raw-dir", place.raw)
    assert ended.code == 0
    for path in (place.raw / "CD070").glob("*.tif"):
        assert path.name in ended.out
    found = call("survey", "--raw-dir", place.raw, "--json").json
    assert len(found["files"]) == 4


def test_demo_compares_with_the_truth(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    ended = call("demo", folder, "--json")
    assert ended.code == 0, ended.err
    found = ended.json
    assert found["status"] == "complete"
    assert found["error_median_px"] < 0.2
    assert found["estimated_scale"] == pytest.approx(found["true_scale"], rel=0.01)
    assert found["microbes"]["found"] > 0.7 * found["microbes"]["true"]
    assert list(Path(found["pictures_dir"]).glob("*.png"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_control_c_stops_with_130_and_one_line(place: Place, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from napari_exo2micro.core.images import warp\n"
        "from napari_exo2micro.cli import main\n"
        "print('ready', flush=True)\n"
        "main(sys.argv[1:])\n"
    )
    words = ["run", "CD070", "DAPI", "--raw-dir", place.raw, "--output-dir", tmp_path]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words), "--pad", "3000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    folder = tmp_path / "CD070" / "DAPI"
    while not folder.exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines() == [
        "stopped on request; finished stages are kept, run again to go on"
    ]
    assert not list(tmp_path.rglob("*difference*.tiff"))


@pytest.mark.parametrize("verb", ["run", "compare"])
def test_results_do_not_go_into_the_raw_folder(place: Place, verb: str) -> None:
    before = sorted(place.raw.rglob("*"))
    words = ("boundary_width", "10", "20") if verb == "compare" else ()
    ended = place.call(verb, *words, out=place.raw / "CD070" / "processed")
    assert ended.code == 2
    assert "it lies in the raw folder; choose a folder outside" in ended.err
    assert sorted(place.raw.rglob("*")) == before
