"""docs/files.md against the files of a run: no key, name or file is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.base import DataWarning
from napari_exo2micro.core.parameters import ABBREVIATIONS, STAGE_NAMES, save_preset
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair
from napari_exo2micro.core.store.provenance import parse_checkpoint_name
from snippets import run_page

PAGE = Path(__file__).parents[1] / "docs" / "files.md"
_ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)


def table_below(heading: str) -> dict[str, str]:
    """Return the first table below a line of the page: name -> meaning."""
    text = PAGE.read_text(encoding="utf-8").partition(heading)[2]
    assert text, f"{heading!r} is not on the page"
    table = text[text.index("\n|") :].partition("\n\n")[0]
    rows = [(row[1], row[2]) for row in _ROW.finditer(table)]
    return {name: row for names, row in rows[1:] for name in _names(names)}


def _names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SampleDye:
    """A run that makes every kind of image."""
    folder = tmp_path_factory.mktemp("files")
    pair = simulate_section((480, 540), seed=3, angle_deg=3.0, shift=(8.0, -5.0))
    write_pair(pair, folder / "raw", "CD070", "SybrGld")
    # with the size of a pixel, and without a tile
    for path in (folder / "raw").rglob("*.tif*"):
        pixels, size = tifffile.imread(path), (1e4 / 0.325, 1e4 / 0.325)
        pixels[220:260, 220:260] = 0
        tifffile.imwrite(path, pixels, resolution=size, resolutionunit="CENTIMETER")
    task = SampleDye("CD070", "SybrGld", folder / "processed", folder / "raw")
    task.set_params(pad=100, save_all_intermediates=True)
    with pytest.warns(DataWarning, match="has no data"):
        task.run(to_stage=2)
    task.reset_params()
    task.set_params(
        pad=100, manual_scale=1.2, scale_percentile=50, background_model="on"
    )
    assert task.run()["status"] == "complete"
    return task


@pytest.fixture(scope="module")
def folder(run: SampleDye) -> Path:
    return run.output_dir / "CD070" / "SybrGld"


def header_of(path: Path) -> dict[str, Any]:
    with tifffile.TiffFile(path) as tif:
        stored: dict[str, Any] = json.loads(tif.pages[0].description)
    return stored


def test_the_header_has_the_entries_of_the_page(folder: Path) -> None:
    told = set(table_below("## The header"))
    paths = sorted((folder / "tiff").iterdir())
    assert len(paths) == 12
    for path in paths:
        assert set(header_of(path)) == told, path.name


def test_what_the_entries_hold_is_told(folder: Path) -> None:
    told = {}
    text = PAGE.read_text(encoding="utf-8")
    for entry in ("raw", "canvas", "verdicts", "scale"):
        row = re.search(rf"^\| `{entry}` \| (.+) \|$", text, re.MULTILINE)
        assert row is not None
        told[entry] = set(_names(row[1]))
    header = header_of(next((folder / "tiff").glob("04_difference_difference_pad*")))
    raw = header["raw"]
    assert told["raw"] == set(raw) | set(raw["post"])
    assert told["canvas"] == set(header["canvas"])
    assert set(header["scale"]) == told["scale"]
    assert told["verdicts"] >= set(header["verdicts"]["4"])


def test_the_transform_has_the_entries_of_the_page(
    folder: Path, run: SampleDye, tmp_path: Path
) -> None:
    told = set(table_below("### The transform"))
    header = header_of(next((folder / "tiff").glob("03_interior_aligned_pre_*")))
    assert set(header["transform"]) == told
    Alignment(run.transform(3)).save(tmp_path / "alignment.json")
    saved = json.loads((tmp_path / "alignment.json").read_text(encoding="utf-8"))
    assert set(saved) == told | {"canvas", "sample", "dye", "stage"}


def test_fits_cards_are_those_of_the_page(folder: Path, run: SampleDye) -> None:
    told = set(table_below("### Cards of a FITS file"))
    changed = {ABBREVIATIONS[name].upper() for name in run.non_default_params()}
    for path in sorted((folder / "fits").iterdir()):
        with fits.open(path) as hdus:
            assert [hdu.name for hdu in hdus] == ["PRIMARY", "PROVENANCE"]
            cards = set(hdus[0].header)
            text = hdus["PROVENANCE"].data.tobytes().decode("ascii")
        own = cards - told
        assert own <= changed | {"SAI"}, path.name
        twin = folder / "tiff" / f"{path.stem}.tiff"
        assert json.loads(text) == header_of(twin)
        if path.name.startswith("04"):
            assert own == changed
    # of 16 bit, of a geometry taken over, of an alignment that bends, of the main
    # difference and that of the model
    everywhere = {"BSCALE", "BZERO", "REGON", "DISPFILE", "DISPSUM", "DISPMAX"}
    everywhere |= {"STRUCT", "STRUCTM", "MODELPOW", "MODELLOS"}
    everywhere |= {"SCALE", "SCALEK", "SCALEERR", "OFFSET"}
    # of the labels of microbes
    everywhere |= {"NMICROBE", "NMICLOW", "NMICHIGH", "NDARK", "SNRMIN"}
    everywhere |= {"NCONTROL", "FLUXMIN", "FOUNDPCT"}
    assert told - cards <= everywhere | {"VERDICT", "REASON"}


def test_every_image_of_the_table_is_made_and_no_other(folder: Path) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## Names of results")[2]
    text = text.partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (`[^|]+) \|", text, re.MULTILINE)
    told = {(stage, name) for stage, names in rows for name in _names(names)}
    made = set()
    for path in (folder / "tiff").iterdir():
        found = parse_checkpoint_name(path)
        assert found is not None
        made.add((STAGE_NAMES[found.stage], found.name))
    assert made == told


def test_records_have_the_entries_of_the_page(folder: Path) -> None:
    for number, start in ((4, "04_difference_record"), (5, "05_microbes_plots")):
        (record,) = (folder / "pipeline_output").glob(f"{start}*.json")
        stored = json.loads(record.read_text(encoding="utf-8"))
        told = table_below(f"Entries of the `.json` file of stage {number}")
        assert set(stored) == set(told)
    (statistics,) = (folder / "pipeline_output").glob("*.npz")
    assert statistics.name.startswith("04_difference_statistics")
    with np.load(statistics, allow_pickle=False) as arrays:
        told = set(table_below("Arrays of the `.npz` file"))
        assert told - set(arrays.files) <= {"ratio_edges", "ratio_counts"}  # not 8 bit
        assert set(arrays.files) <= told


def test_every_file_of_a_run_is_told(run: SampleDye) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for path in run.output_dir.iterdir():
        assert path.is_dir() or f"`{path.name}`" in text, path.name
    kinds = {path.suffix for path in run.output_dir.rglob("*.*") if path.is_file()}
    kinds -= {".parquet"}  # only where pyarrow is installed
    tables = {".ecsv", ".csv", ".geojson"}
    assert kinds - tables == {
        ".tiff",
        ".fits",
        ".png",
        ".json",
        ".npz",
        ".txt",
        ".lock",
    }
    assert tables <= kinds


def test_presets_have_the_entries_of_the_page(tmp_path: Path) -> None:
    stored = json.loads(save_preset(tmp_path / "mine.json", {"pad": 9}).read_bytes())
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    (line,) = [row for row in lines if row.startswith("| a preset")]
    assert set(stored) == set(_names(line)) - {".json"}


def test_tiffs_are_as_the_page_says(folder: Path) -> None:
    for path in (folder / "tiff").iterdir():
        with tifffile.TiffFile(path) as tif:
            assert tif.is_bigtiff
            assert tif.byteorder == "<"
            assert len(tif.pages) == 1
            assert tif.pages[0].compression == 1
            is_float = path.name.startswith(("04", "05_microbes_snr"))
            wanted = np.float32 if is_float else np.uint8
            if path.name.startswith("05_microbes_labels"):
                wanted = np.int32
            assert tif.pages[0].dtype == wanted


def test_the_code_of_the_page_runs(run: SampleDye, tmp_path: Path) -> None:
    for folder in (run.raw_dir, run.output_dir):
        (tmp_path / folder.name).symlink_to(folder, target_is_directory=True)
    names = run_page(PAGE, tmp_path).names
    assert names["on_section"].shape == (480, 540)
    assert np.any(names["on_section"])
    # The pair was turned about the middle and moved by this much.
    np.testing.assert_allclose(names["in_pre"], (270 + 8, 240 - 5), atol=0.5)
