"""Scripts written for the reference system, with another line of import."""

from __future__ import annotations

import contextlib
import inspect
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from scipy import ndimage
from typer.testing import CliRunner

from napari_exo2micro import core as e2m
from napari_exo2micro.cli.app import app
from napari_exo2micro.core.simulate import simulate_section, write_pair

#: They run whole pipelines, on canvases with the default margin.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("plain_pictures")]

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


# The tables of docs/moving_over.md ----------------------------------------------------

PAGE = Path(__file__).parents[1] / "docs" / "moving_over.md"

#: What the reference system exports, and its modules.
EXPORTED = """
    SampleDye run_batch run_serial run_parallel register_highorder
    prealign_phase_correlation load_image_pair classify_raw_files diagnose_raw_layout
    discover_tasks estimate_pipeline_output_size get_free_disk_space format_bytes
    get_run_log_path append_to_run_log read_run_log_tail clear_run_log TeeStdout
    survey_raw_channels pad_images trim_to_signal subtract_median normalize_image
    build_tissue_mask tiff_to_fits filter_nan_gaussian_conserving estimate_gauss_sigma
    plot_registration plot_fine_alignment plot_pre_post_heatmap plot_excess_heatmap
    plot_pre_post_histograms plot_difference_histogram plot_ratio_histogram_simple
    plot_difference_image plot_zoom plot_zoom_multi plot_im DEFAULTS PARAMETER_REGISTRY
    MAX_STAGE
""".split()
MODULES = "alignment plotting pipeline parallel gui utils defaults legacy".split()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column has a heading."""
    table = PAGE.read_text("utf-8").partition(f"| {heading} |")[2].partition("\n\n")[0]
    lines = table.splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_tables_are_complete() -> None:
    names = [row[0].strip("`") for row in rows("Exo2Micro")]
    assert sorted(names) == sorted(
        [*EXPORTED, "SampleDye.run", "SampleDye.compare", "refine_interior_ecc"]
    )
    modules = [row[0].strip("`") for row in rows("module of Exo2Micro")]
    assert sorted(modules) == sorted(MODULES)


def test_the_code_of_the_tables_runs() -> None:
    task = e2m.SampleDye("CD070", DYE)
    names = {
        **{"e2m": e2m, "np": np, "ndimage": ndimage, "fits": fits, "shutil": shutil},
        **{"tifffile": tifffile, "logging": logging, "inspect": inspect},
        "post": task._load_image(1, "post"),
        "pre": task._load_image(3, "pre"),
    }
    for heading in ("Exo2Micro", "module of Exo2Micro"):
        for _, code, _ in rows(heading):
            exec(code.strip("`"), names)
    assert names["crop"].shape == names["post"].shape
    for default, _, code in rows("default"):
        assert eval(code.strip("`"), names) is True, default


# What its notebook and its pages call -------------------------------------------------

#: One call an entry, as documented, on a smaller canvas and at places that exist.
CALLS = """
run = e2m.SampleDye('CD070', 'SybrGld_microbe')
---
run = e2m.SampleDye(sample='CD070', dye='SybrGld', output_dir='processed',
                    raw_dir='raw', checkpoint_format='tiff')
---
run.set_params(pad=60); result = run.run()
assert result['status'] == 'complete'
---
result['sample'], result['dye'], result['scale_estimate']
result['scale_percentile_value'], result['manual_scale']
---
run.run(from_stage=2, to_stage=3)
---
run.set_params(boundary_width=20, boundary_smooth=15, scale_percentile=50.0)
---
run.run(from_stage=4)
---
run.run(force=True)
---
run.run(from_stage=2, force=True)
---
run.run(from_stage=1, force=True)
---
run.set_params(manual_scale=1.42)
---
run.set_params(scale_percentile=50.0, manual_scale=1.2)
---
run.params['boundary_width']
---
assert run.non_default_params()['boundary_width'] == 20
---
assert 'manual_scale' not in run.non_default_params(stage=2)
---
run.status()
---
results = run.compare('boundary_width', [10, 15, 20])
assert [entry['value'] for entry in results] == [10, 15, 20]
assert all(entry['result']['status'] == 'complete' for entry in results)
---
run._run_stage_1_padding()
---
run._run_stage_2_coarse()
---
run._run_stage_3_fine()
---
run._run_stage_4_diagnostics()
---
run.reset_params()
---
try:
    run.set_params(signal_threshold=1)
except ValueError as error:
    print(error)
---
results = e2m.run_batch(samples=['CD070'], dyes=['SybrGld_microbe', 'SybrGld'],
    parallel=True, n_workers=4, output_dir='processed', raw_dir='raw',
    params={'pad': 60, 'boundary_width': 20, 'scale_percentile': 50.0})
assert [result['status'] for result in results] == ['complete'] * 2
---
results = e2m.run_batch(samples=['CD070'], dyes=['SybrGld'], from_stage=4, force=True,
    params={'pad': 60, 'boundary_width': 20, 'scale_percentile': 50.0})
---
results = e2m.run_batch(samples=['CD070'], dyes=['SybrGld', 'Cy5'], to_stage=1,
    params={'pad': 60}, strict_dyes=False)
---
import tifffile
diff = tifffile.imread(
    'processed/CD070/SybrGld_microbe/tiff/04_difference_difference.tiff')
---
from astropy.io import fits
hdul = fits.open('processed/CD070/SybrGld_microbe/fits/04_difference_difference.fits')
diff_fits = hdul[0].data
scale, scale_kind = hdul[0].header['SCALE'], hdul[0].header['SCALEK']
assert scale_kind == 'moffat'
---
from napari_exo2micro.core.defaults import params_from_suffix
values = params_from_suffix('_bw20_sp99.1')
assert values == {'boundary_width': 20, 'scale_percentile': 99.1}
---
post_raw, pre_raw, post_path, pre_path = load_image_pair('CD070', 'SybrGld',
                                                         raw_dir='raw')
---
post_pad, pre_pad = pad_images(post_raw, pre_raw, pad=60)
---
post_full, pre_aligned, pre_coarse, warp, _debug = register_highorder(post_pad, pre_pad)
---
_, scale = plot_ratio_histogram_simple(post_full, pre_aligned)
---
diff_here = post_full - scale * pre_aligned
assert abs(np.median(diff_here[post_full > 20])) < 1
---
try:
    load_image_pair('CD070', 'DAPI', raw_dir='raw')
except (FileNotFoundError, ValueError) as e:
    print(f"Couldn't load CD070/DAPI: {e}")
---
pairs, warnings = classify_raw_files('raw/CD070')
for dye, files in pairs.items():
    print(f"{dye}: {len(files['pre'])} pre, {len(files['post'])} post")
for w in warnings:
    print(f"warning: {w}")
---
entries = survey_raw_channels('raw')
assert entries[0]['channels']['gray']['max'] > 0
---
survey_raw_channels('raw', crop_size=100)
---
assert discover_tasks(['CD070'], ['SybrGld'], raw_dir='raw')['layout_ok']
---
assert diagnose_raw_layout('raw')['subdirs'] == ['CD070']
---
fig, crop = plot_zoom(diff, row=2100, col=2150, size=80, sigma=2.0, diverging=True,
    title='CD070 / SybrGld_microbe', save_path='feature_zoom.png')
assert crop.shape == (80, 80)
---
post = tifffile.imread('processed/CD070/SybrGld_microbe/tiff/01_padded_post.tiff')
pre = tifffile.imread(
    'processed/CD070/SybrGld_microbe/tiff/03_interior_aligned_pre.tiff')
---
fig2, crops = plot_zoom_multi([post, pre, diff],
    labels=['post', 'aligned pre', 'difference'],
    row=2100, col=2150, size=80, sigma=2.0, diverging_flags=[False, False, True],
    sample='CD070', dye='SybrGld_microbe', save_path='feature_comparison.png')
assert [c.shape for c in crops] == [(80, 80)] * 3
---
plot_excess_heatmap(post, pre, scales=[('Moffat fit', 1.234, '#00cc88'),
    ('ratio p50', 1.198, '#ff9933'), ('manual', 1.250, '#ff3366')],
    save_path='excess.png')
---
plot_excess_heatmap(post, pre, scale=1.2)
---
fig, diff_again = plot_difference_image(post, pre, 1.2)
---
from napari_exo2micro.core.legacy import optimize_subtraction
optimize_subtraction(post, pre, method='least_squares')
---
from napari_exo2micro.core.gui import launch
launch(output_dir='processed', raw_dir='raw')
"""

#: Those are in the table of modules.
NOT_RUN = ("legacy import", "gui import")


def test_documented_calls_run_after_the_import_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict[str, Any] = {"e2m": e2m, "np": np}
    exec("from napari_exo2micro.core import *", names)
    calls = CALLS.split("---\n")
    failed = []
    for call in calls:
        try:
            exec(call, names)
        except Exception as error:  # noqa: BLE001 - a script raises what it likes
            failed.append((call, error))
    ran = len(calls) - len(failed)
    with capsys.disabled():
        share = f"{ran} of {len(calls)} documented calls run ({ran / len(calls):.0%})"
        print(share)  # noqa: T201 - a figure to read
    others = [one for one in failed if not any(word in one[0] for word in NOT_RUN)]
    assert not others, others
    assert ran >= 0.9 * len(calls)
