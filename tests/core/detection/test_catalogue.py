"""Flags, grades, and the files of a catalogue as other programs read them."""

import csv
import json

import numpy as np
import pytest
from astropy import units
from astropy.table import Table

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.detection import (
    FLAGS,
    PEAK,
    Flag,
    flag_words,
    read_catalogue,
    set_flags,
    set_grades,
    write_catalogue,
)

PLAIN = {
    "x": 50.0,
    "y": 60.0,
    "snr": 20.0,
    "snr_own": 19.0,
    "flux": 900.0,
    "flux_error": 45.0,
    "peak": 30.0,
    "area": 20,
    "sigma": 2.0,
    "elongation": 1.2,
    "angle": 30.0,
    "post": 90.0,
    "pre": 50.0,
    "ratio": 1.8,
    "registration_error": 0.01,
    "slope": 0.2,
    "seen": 1.0,
    "misfit": 0.01,
    "fitted": True,
    "p_real": 0.999,
}


def table_of(*rows):
    """Return a table of plain candidates 100 px from each other, with changes."""
    full = [{**PLAIN, "x": 50.0 + 100 * n, **row} for n, row in enumerate(rows)]
    table = Table(full)
    table.add_column(np.arange(1, len(rows) + 1), name="id", index=0)
    for name in ("x", "y"):
        table[name].unit = units.pix
    return table


def flagged(*rows, dark=(), **more):
    table = table_of(*rows)
    set_flags(table, dark=np.array(list(dark), PEAK), sizes=(1.4, 2.2, 3.4), **more)
    return [Flag(int(value)) for value in table["flags"]]


@pytest.mark.parametrize(
    ("row", "flag"),
    [
        ({"registration_error": 0.7}, Flag.SEAM),
        ({"post": 255.0}, Flag.SATURATED),
        ({"sigma": 0.8}, Flag.HOT_PIXEL),
        ({"seen": 0.8}, Flag.EDGE_OF_DATA),
        ({"slope": 3.0}, Flag.EDGE_OF_GRAIN),
        ({"elongation": 5.0}, Flag.FIBRE),
        ({"snr_own": 13.0}, Flag.IN_PRE),
        ({"misfit": 0.2, "snr": 50.0, "snr_own": 50.0}, Flag.ODD_SHAPE),
        ({"misfit": 0.2, "snr": 30.0, "snr_own": 30.0}, Flag(0)),
        ({"sigma": 8.0}, Flag.BROAD),
        ({"fitted": False}, Flag.FIT_FAILED),
        ({"post": 220.0, "ratio": 1.05}, Flag.BRIGHT_GRAIN),
    ],
)
def test_each_rule_sets_its_flag_and_no_other(row, flag):
    assert flagged({}, row, saturation=255.0, bright=200.0) == [Flag(0), flag]


def test_a_dark_spot_beside_makes_a_dipole_and_a_neighbour_a_blend():
    dark = [(55, 60, 12.0), (250, 66, 4.0)]
    assert flagged({}, {}, {}, dark=dark) == [Flag.DIPOLE, Flag(0), Flag(0)]
    odd = {"x": 57.0, "misfit": 0.2, "snr": 50.0, "snr_own": 50.0}
    assert flagged({}, odd) == [Flag.BLENDED, Flag.BLENDED]


def test_what_is_not_known_sets_no_flag():
    assert flagged({"registration_error": np.nan}) == [Flag(0)]


def test_every_flag_has_its_meaning_and_its_bit():
    assert set(FLAGS) == set(Flag)
    assert len({int(flag) for flag in Flag}) == len(Flag)
    table = table_of({})
    set_flags(table, dark=np.empty(0, PEAK), sizes=(2.0,))
    for flag in Flag:
        assert f"{int(flag)} {flag_words(flag)}" in table["flags"].description


def test_grades_follow_probability_and_flags():
    table = table_of({}, {"p_real": 0.95}, {"p_real": 0.5}, {}, {})
    table["flags"] = [0, 0, 0, int(Flag.DIPOLE), int(Flag.IN_PRE)]
    set_grades(table)
    grades = ["certain", "probable", "candidate", "probable", "candidate"]
    assert table["grade"].tolist() == grades


@pytest.fixture
def written(tmp_path):
    table = table_of({}, {"sigma": 3.0, "elongation": 2.0, "angle": 0.0})
    set_flags(table, dark=np.empty(0, PEAK), sizes=(2.2,))
    set_grades(table)
    table.meta["threshold"] = 4.9
    return table, write_catalogue(table, tmp_path / "cat_sp99.1")


def test_a_catalogue_is_read_back_as_it_was(written):
    table, paths = written
    assert paths[0].name == "cat_sp99.1.ecsv"
    again = read_catalogue(paths[0])
    assert again.colnames == table.colnames
    assert again["x"].unit == units.pix
    assert again.meta["threshold"] == 4.9
    assert "dipole" in again["flags"].description
    for name in table.colnames:
        np.testing.assert_array_equal(again[name], table[name])


def test_a_spreadsheet_reads_names_with_units(written):
    table, paths = written
    with paths[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert float(rows[1]["x_px"]) == table["x"][1]
    assert rows[0]["grade"] == "certain"


def test_outlines_are_polygons_around_the_candidates(written):
    table, paths = written
    content = json.loads(paths[2].read_text())
    assert content["type"] == "FeatureCollection"
    for row, feature in zip(table, content["features"], strict=True):
        ring = np.array(feature["geometry"]["coordinates"][0])
        assert (ring[0] == ring[-1]).all()
        middle = ring[:-1].mean(axis=0)
        np.testing.assert_allclose(middle, [row["x"] + 0.5, row["y"] + 0.5], atol=0.02)
        told = feature["properties"]
        assert told["objectType"] == "detection"
        assert told["classification"]["name"] == row["grade"]
        assert told["measurements"]["snr"] == row["snr"]
    wide = np.ptp(
        np.array(content["features"][1]["geometry"]["coordinates"][0]), axis=0
    )
    assert wide[0] / wide[1] == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "# %ECSV 1.0\n# ---\nx\n1\n"])
def test_another_file_is_refused_with_what_to_do(tmp_path, text):
    path = tmp_path / "cat.ecsv"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="run stage 5 again with force"):
        read_catalogue(path)


def test_an_empty_catalogue_is_written_and_read(tmp_path):
    table = table_of({})[:0]
    set_flags(table, dark=np.empty(0, PEAK), sizes=(2.2,))
    set_grades(table)
    paths = write_catalogue(table, tmp_path / "none")
    assert len(read_catalogue(paths[0])) == 0
    assert json.loads(paths[2].read_text())["features"] == []
