"""Stage 5 through `SampleDye`: against truth, and as a stage like the others."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from matplotlib.figure import Figure
from scipy.spatial import cKDTree

from napari_exo2micro.core.base import CheckpointError, ParameterError
from napari_exo2micro.core.detection import Flag
from napari_exo2micro.core.pipeline import SampleDye, available_figures, draw_figure
from napari_exo2micro.core.pipeline.result import microbe_words
from napari_exo2micro.core.plotting import register_diagnostic, unregister_diagnostic
from napari_exo2micro.core.simulate import simulate_section, write_pair

SHAPE = (800, 900)
SETTINGS = {"seed": 11, "gain": 1.25, "photons": 500.0, "noise": 0.5, "angle_deg": 3.0}


def task_of(folder, out="out", **params):
    task = SampleDye("S", "Dye", folder / out, folder / "raw", "tiff")
    task.set_params(**{"pad": 60, **params})
    return task


@pytest.fixture(scope="module")
def pair():
    return simulate_section(SHAPE, microbes=120, **SETTINGS)


@pytest.fixture(scope="module")
def folder(pair, tmp_path_factory):
    made = tmp_path_factory.mktemp("microbes")
    write_pair(pair, made / "raw", "S", "Dye")
    task_of(made, pixel_size=0.5).run()
    return made


@pytest.fixture(scope="module")
def found(folder):
    return task_of(folder, pixel_size=0.5).microbes()


def matched(table, truth):
    """Return for each candidate the nearest microbe, -1 beyond its size."""
    places = np.column_stack([truth["x"], truth["y"]])
    x = np.column_stack([table["x"], table["y"]])
    distance, number = cKDTree(places).query(x)
    return np.where(distance < 4 + truth["radius"][number], number, -1)


def test_most_microbes_are_found_and_nearly_all_found_are_microbes(pair, found):
    truth, table = pair.truth.microbes, found.table[found.table["counted"]]
    number = matched(table, truth)
    assert np.mean(number >= 0) > 0.97
    bright = np.flatnonzero(truth["flux"] > 800)
    assert np.isin(bright, number).mean() > 0.9
    real = np.count_nonzero(number >= 0)
    assert found.interval[0] <= real <= found.interval[1]
    assert found.purity > 0.95
    assert found.completeness is None


def test_places_and_light_are_those_of_the_raw_image(pair, found):
    truth, table = pair.truth.microbes, found.table
    good = np.asarray((table["snr"] > 15) & (table["flags"] & int(Flag.BLENDED) == 0))
    number = matched(table, truth)
    good &= number >= 0
    here, there = table[good], truth[number[good]]
    off = np.hypot(here["x"] - there["x"], here["y"] - there["y"])
    assert np.median(off) < 0.3
    assert np.median(here["flux"] / there["flux"]) == pytest.approx(1.0, abs=0.02)
    np.testing.assert_allclose(here["x_um"], 0.5 * here["x"], atol=1e-3)
    assert here["x_um"].unit == "um"


def test_density_and_area_are_in_square_millimetres(found):
    assert found.area_mm2 == pytest.approx(found.area * 0.25e-6)
    assert found.density == pytest.approx(found.count / found.area_mm2)
    assert 0.2 * SHAPE[0] * SHAPE[1] < found.area < SHAPE[0] * SHAPE[1]
    assert "per mm²" in found.summary


def test_images_tell_what_was_found(folder, found):
    task = task_of(folder, pixel_size=0.5)
    labels, snr = (task.checkpoint(5, name) for name in ("labels", "snr"))
    numbers = labels.image[:, :]
    assert set(np.unique(numbers)) - {0} == set(found.table["id"].tolist())
    places = np.column_stack([found.table["y"], found.table["x"]]) + 60
    row, column = np.rint(places).astype(int).T
    inside = numbers[row, column] == found.table["id"]
    assert inside.mean() > 0.97  # some lie below a brighter neighbour
    values = snr.image[:, :]
    assert values.dtype == np.float32
    near = [
        values[y - 4 : y + 5, x - 4 : x + 5].max()
        for y, x in zip(row, column, strict=True)
    ]
    np.testing.assert_allclose(np.array(near) >= found.table["snr"] - 0.01, True)
    assert snr.details["significance"]["noise"]["shot"] > 0


def test_the_verdict_header_and_result_tell_the_count(folder, found, tmp_path):
    task = task_of(folder, pixel_size=0.5)
    result = task.result()
    assert result.microbes.startswith(f"{found.count:.0f} (")
    numbers = result.verdicts[5].numbers
    assert numbers["microbes"] == found.count
    assert numbers["snr_min"] == pytest.approx(found.threshold)
    both = SampleDye("S", "Dye", tmp_path / "out", folder / "raw", "fits")
    both.set_params(pad=60, pixel_size=0.5)
    both.run()
    header = fits.getheader(both.store.paths(5, "labels")[0])
    assert header["NMICROBE"] == found.count
    assert header["NMICLOW"] <= header["NMICROBE"] <= header["NMICHIGH"]
    assert header["SNRMIN"] == pytest.approx(found.threshold)


def test_files_of_the_catalogue_agree(folder, found):
    stem = found.path.name.removesuffix(".ecsv")
    plain = Table.read(found.path.with_name(f"{stem}.csv"), format="ascii.csv")
    assert len(plain) == len(found.table)
    np.testing.assert_allclose(plain["x_px"], found.table["x"])
    content = json.loads(found.path.with_name(f"{stem}.geojson").read_text())
    assert len(content["features"]) == len(found.table)
    outputs = task_of(folder, pixel_size=0.5).result()["outputs"]
    assert {".ecsv", ".csv", ".geojson"} <= {Path(path).suffix for path in outputs}


def test_the_catalogue_does_not_depend_on_windows_and_margins(folder, found):
    """Another margin moves the section over the grid of windows and blocks."""
    task = task_of(folder, out="wide", pad=124, pixel_size=0.5)  # 60 + 64
    task.run()
    other = task.microbes()
    bright = found.table[found.table["snr"] > 8]
    places = np.column_stack([other.table["x"], other.table["y"]])
    distance, number = cKDTree(places).query(
        np.column_stack([bright["x"], bright["y"]])
    )
    assert np.percentile(distance, 95) < 0.05
    ratio = other.table["flux"][number] / bright["flux"]
    assert np.percentile(np.abs(ratio - 1), 95) < 0.03
    assert other.count == pytest.approx(found.count, abs=3)


def test_a_second_run_keeps_all_and_a_forced_one_makes_the_same(folder, found):
    task = task_of(folder, pixel_size=0.5)
    before = found.path.stat().st_mtime_ns
    task.run()
    assert found.path.stat().st_mtime_ns == before
    task.run(from_stage=5, force=True)
    assert found.path.stat().st_mtime_ns > before
    again = task.microbes().table
    for name in found.table.colnames:
        np.testing.assert_array_equal(again[name], found.table[name])


def test_a_lost_catalogue_is_told_and_made_again(folder, found):
    task = task_of(folder, pixel_size=0.5)
    found.path.unlink()
    line = next(line for line in task.status() if line.name == "catalogue")
    assert (line.stage, line.state) == (5, "missing")
    with pytest.raises(CheckpointError, match="run stage 5 again"):
        task.microbes()
    task.run()
    assert len(task.microbes().table) == len(found.table)
    assert {line.state for line in task.status()} == {"valid"}


def test_parameters_of_stage_5_change_stage_5_alone(folder, found):
    task = task_of(folder, pixel_size=0.5)
    difference = task.store.paths(4, "difference")[0].stat().st_mtime_ns
    task.set_params(snr_min=20.0)
    task.run()
    fewer = task.microbes()
    assert task.store.paths(4, "difference")[0].stat().st_mtime_ns == difference
    assert fewer.path.name.endswith("_snr20.ecsv")
    assert fewer.threshold == 20.0
    assert fewer.table["snr"].min() >= 20.0
    assert 0 < len(fewer.table) < len(found.table)


def test_a_larger_budget_has_a_lower_threshold(folder, found):
    task = task_of(folder, pixel_size=0.5, false_positives=50.0)
    task.run()
    assert task.microbes().threshold < found.threshold


def test_a_budget_per_area_needs_the_size_of_a_pixel(folder):
    task = task_of(folder, false_positives_per="mm2")
    with pytest.raises(ParameterError, match="give it as 'pixel_size'"):
        task.run()


def test_without_a_run_there_is_nothing_to_tell(folder, tmp_path):
    task = SampleDye("S", "Dye", tmp_path / "out", folder / "raw")
    with pytest.raises(CheckpointError):
        task.microbes()


def test_a_section_without_microbes_keeps_its_budget(tmp_path):
    found = 0
    for seed in (1, 2, 3):
        pair = simulate_section(SHAPE, microbes=0, **{**SETTINGS, "seed": seed})
        write_pair(pair, tmp_path / f"{seed}" / "raw", "S", "Dye")
        task = task_of(tmp_path / f"{seed}")
        task.run()
        found += len(task.microbes().table)
        if not task.microbes().counted.found:
            assert task.microbes().summary.startswith("< 3 microbes")
    assert found <= 6


def test_minerals_that_remain_raise_the_threshold_and_say_so(tmp_path):
    pair = simulate_section(SHAPE, microbes=0, mineral_ratio=0.3, **SETTINGS)
    write_pair(pair, tmp_path / "raw", "S", "Dye")
    task = task_of(tmp_path)
    result = task.run()
    found = task.microbes()
    numbers = result.verdicts[5].numbers
    assert found.threshold == numbers["snr_min"] > numbers["snr_min_of_noise"]
    assert any("microbes are counted above an S/N of" in it for it in result.warnings)
    assert found.counted.false <= 3


def test_excluded_regions_are_not_searched(pair, folder, tmp_path):
    ring = [[0, 0], [SHAPE[1] / 2, 0], [SHAPE[1] / 2, SHAPE[0]], [0, SHAPE[0]], [0, 0]]
    feature = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "exclude"}},
    }
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    task = SampleDye("S", "Dye", tmp_path / "out", folder / "raw", "tiff", regions=path)
    task.set_params(pad=60)
    task.run()
    assert len(task.microbes().table) > 10
    assert task.microbes().table["x"].min() > SHAPE[1] / 2 - 5


def test_numbers_by_region_add_up(pair, folder, tmp_path):
    """Two halves with names, with test microbes and without."""
    middle, (rows, columns) = SHAPE[1] / 2, SHAPE
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[x0, 0], [x1, 0], [x1, rows], [x0, rows], [x0, 0]],
                ],
            },
            "properties": {"classification": {"name": name}},
        }
        for name, x0, x1 in (("west", 0, middle), ("east", middle, columns))
    ]
    path = tmp_path / "regions.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    task = SampleDye("S", "Dye", tmp_path / "out", folder / "raw", "tiff", regions=path)
    task.set_params(pad=60, pixel_size=0.5)
    task.run()
    it = task.microbes()
    assert set(it.regions) == {"west", "east"}
    kept = it.table[it.table["counted"]]
    for name, count in it.regions.items():
        assert count.found == np.count_nonzero(kept["region"] == name) > 20
        assert count.density == pytest.approx(count.number / count.area_mm2)
    assert sum(one.found for one in it.regions.values()) == len(kept)
    area = sum(one.area_mm2 for one in it.regions.values())
    assert area == pytest.approx(it.area_mm2, rel=0.01)
    west = it.table[it.table["region"] == "west"]
    assert west["x"].max() <= middle + 1
    task.set_params(test_microbes=400)
    task.run()
    it = task.microbes()
    truth = pair.truth.microbes
    bright = truth[truth["flux"] > it.brighter_than]
    for name, in_it in (("west", bright["x"] < middle), ("east", bright["x"] > middle)):
        low, high = it.regions[name].interval
        assert low - 3 <= np.count_nonzero(in_it) <= high + 3
    total = sum(one.number for one in it.regions.values())
    assert total == pytest.approx(it.count, rel=0.05)


# Its plots ---------------------------------------------------------------------------

PLOTS = ("snr_map", "purity_completeness", "candidates")


def plot_lines(task):
    return {line.name: line for line in task.status() if line.name in PLOTS}


@pytest.fixture
def own(folder, tmp_path):
    """A finished run of the test's own."""
    shutil.copytree(folder / "raw", tmp_path / "raw")
    shutil.copytree(folder / "out", tmp_path / "out")
    return task_of(tmp_path, pixel_size=0.5)


def stamps(task, *names):
    paths = [path for path in task.output_dir.rglob("*.*") if path.is_file()]
    return {
        path.name: path.stat().st_mtime_ns
        for path in paths
        if path.name.startswith(names)
    }


def test_a_run_draws_plots_of_stage_5_and_status_lists_them(folder):
    task = task_of(folder, pixel_size=0.5)
    lines = plot_lines(task)
    assert set(lines) == set(PLOTS)
    for line in lines.values():
        assert (line.stage, line.kind, line.state) == (5, "plot", "valid")
        assert str(line.path) in map(str, task.result()["outputs"])
    assert str(lines["candidates"].path) not in map(str, task.result(4)["outputs"])


def test_a_lost_or_changed_plot_is_drawn_again_and_nothing_else_is_made(own):
    lines = plot_lines(own)
    lines["snr_map"].path.unlink()
    lines["candidates"].path.write_bytes(b"changed")
    before = stamps(own, "05_microbes_s", "05_microbes_l", "05_microbes_c", "purity")
    found = {name: str(line.state) for name, line in plot_lines(own).items()}
    assert found == {
        "snr_map": "missing",
        "purity_completeness": "valid",
        "candidates": "stale",
    }
    own.run(from_stage=5)
    assert {str(line.state) for line in plot_lines(own).values()} == {"valid"}
    again = stamps(own, "05_microbes_s", "05_microbes_l", "05_microbes_c", "purity")
    assert again == before


def test_force_draws_the_plots_of_its_stage_again(own):
    before = stamps(own, *PLOTS, "ratio_histogram")
    own.run(from_stage=5, force=True)
    after = stamps(own, *PLOTS, "ratio_histogram")
    changed = {name for name in before if after[name] != before[name]}
    assert len(changed) == 3
    assert not any(name.startswith("ratio") for name in changed)


def test_plots_of_other_candidates_are_stale(own):
    path = own.microbes().path
    path.write_text(path.read_text().replace("certain", "probable", 1))
    lines = plot_lines(own)
    assert {str(line.state) for line in lines.values()} == {"stale"}
    assert "drawn from other results" in lines["candidates"].reason
    own.set_params(snr_min=23.0)
    assert {str(line.state) for line in plot_lines(own).values()} == {"missing"}
    own.run()
    for line in plot_lines(own).values():
        assert line.state == "valid"
        assert line.path.name.endswith("_snr23.png")


def test_a_plot_of_another_package_is_given_what_stage_5_has_found(own):
    given = {}

    def plot(post_im, pre_im, *, context):
        given.update(vars_of(context), shape=post_im.shape)
        return Figure()

    def vars_of(context):
        return {name: getattr(context, name) for name in ("snr", "snr_min", "params")}

    register_diagnostic("mine", plot, "Mine.", stage=5)
    register_diagnostic("broken", lambda post_im, pre_im: 1 / 0, "Fails.", stage=5)
    try:
        result = own.run()
        lines = {line.name: line for line in own.status()}
        assert (lines["mine"].stage, lines["mine"].state) == (5, "valid")
        assert (lines["broken"].stage, lines["broken"].state) == (5, "failed")
        assert result["status"] == "complete"
        assert any("'broken' could not be drawn" in it for it in result["warnings"])
        assert given["snr"].shape == given["shape"]
        assert given["snr_min"] == own.microbes().threshold
        given.clear()
        draw_figure(own, "mine")
        assert given["snr_min"] == own.microbes().threshold
    finally:
        unregister_diagnostic("mine")
        unregister_diagnostic("broken")
    assert str(own.run()["status"]) == "complete"


def test_without_statistics_stage_5_still_draws(own):
    plot_lines(own)["snr_map"].path.unlink()
    for path in own.output_dir.rglob("04_difference_statistics*"):
        path.write_bytes(b"cut off")
    own.run(from_stage=5)
    assert plot_lines(own)["snr_map"].state == "valid"


def test_its_plots_need_stage_5(folder, tmp_path):
    shutil.copytree(folder / "raw", tmp_path / "raw")
    task = task_of(tmp_path)
    task.run(to_stage=4)
    entries = {entry.name: entry for entry in available_figures(task)}
    for name in PLOTS:
        assert (entries[name].stage, entries[name].state) == (5, "missing")
        assert entries[name].note.startswith("Stage 5 (microbes) has no result")
    assert entries["ratio_histogram"].state == "ready"
    with pytest.raises(CheckpointError, match="Stage 5"):
        draw_figure(task, "candidates")


# Test microbes -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tested(folder):
    task = task_of(folder, pixel_size=0.5, test_microbes=800)
    task.run()
    return task


def test_test_microbes_tell_how_many_are_missed(pair, tested, found):
    it, truth = tested.microbes(), pair.truth.microbes
    assert len(it.recovery.flux) >= 800
    limit = it.brighter_than
    above = truth["flux"] > limit
    number = matched(it.table[it.table["counted"]], truth)
    part = np.isin(np.flatnonzero(above), number).mean()
    assert it.completeness == pytest.approx(part, abs=0.08)
    assert it.interval[0] <= np.count_nonzero(above) <= it.interval[1]
    assert it.interval[1] - it.interval[0] > found.interval[1] - found.interval[0]
    # the same candidates: test microbes change nothing but the number
    np.testing.assert_array_equal(it.table["x"], found.table["x"])
    assert abs(it.recovery.flux_bias) < 0.03
    assert it.recovery.limit(0.5) < it.recovery.limit(0.9)


def test_each_candidate_and_place_has_its_completeness(tested):
    it = tested.microbes()
    part = np.asarray(it.table["completeness"])
    assert ((part >= 0) & (part <= 1)).all()
    order = np.argsort(it.table["snr_own"])
    assert (np.diff(part[order]) >= 0).all()
    known = it.faintest[np.isfinite(it.faintest)]
    assert 0.2 * it.brighter_than < np.median(known) < 3 * it.brighter_than
    assert np.isnan(it.faintest).any()  # the margin


def test_the_spots_are_on_disk_and_the_same_whenever_they_are_put_in(tested, folder):
    (path,) = (folder / "out").rglob("05_microbes_injected*.ecsv")
    spots = Table.read(path, format="ascii.ecsv")
    assert spots["found"].sum() == np.isfinite(spots["flux_measured"]).sum() > 200
    assert str(path) in map(str, tested.result()["outputs"])
    before = path.read_bytes()
    tested.run(from_stage=5, force=True)
    assert path.read_bytes() == before
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read as a table of test mic"):
        tested.microbes()
    path.write_bytes(before)


def test_the_number_says_what_it_counts(tested):
    it, result = tested.microbes(), tested.result()
    assert result.microbes == str(it.counted)
    words = f"brighter than {it.brighter_than:.3g} grey levels"
    assert words in it.summary
    assert words in microbe_words(result.verdicts[5])
    assert result.verdicts[5].numbers["found_percent"] == pytest.approx(
        100 * it.completeness
    )
    assert it.to_dict()["flux_90"] == it.recovery.limit(0.9)


def test_a_section_without_microbes_has_a_limit_that_counts_the_missed(tmp_path):
    blank = simulate_section((500, 560), microbes=0, **{**SETTINGS, "seed": 12})
    write_pair(blank, tmp_path / "raw", "S", "Dye")
    task = task_of(tmp_path, test_microbes=300)
    task.run()
    it = task.microbes()
    assert it.interval[0] == 0
    assert it.counted.is_limit
    assert it.interval[1] > 3.0


def test_the_background_model_is_fitted_anew_with_the_spots(tmp_path):
    made = simulate_section(
        (700, 760), microbes=60, mineral_ratio=0.25, **{**SETTINGS, "seed": 13}
    )
    write_pair(made, tmp_path / "raw", "S", "Dye")
    task = task_of(tmp_path, test_microbes=300)
    task.run()
    assert task.checkpoint(5, "snr").details["difference"] == "difference_model"
    it = task.microbes()
    assert 0.6 < it.completeness <= 1
    assert abs(it.recovery.flux_bias) < 0.05
