"""A sample's dyes share one geometry: the transform of one is taken by the others."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from napari_exo2micro.core.base import (
    CheckpointError,
    ParameterError,
    RegistrationError,
)
from napari_exo2micro.core.images import Transform, open_raster
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair

pytestmark = pytest.mark.usefixtures("plain_pictures")

PAD = 60


def add_dye(raw_dir: Path, dye: str) -> None:
    for path in list((raw_dir / "Rock").glob("*_DAPI.tif*")):
        shutil.copy(path, path.with_name(path.name.replace("_DAPI", f"_{dye}")))


def opened(raw_dir, output_dir, dye, register_on=None, **params):
    task = SampleDye("Rock", dye, output_dir, raw_dir, "both", register_on=register_on)
    task.set_params(pad=PAD, **params)
    return task


@pytest.fixture(scope="module")
def done(tmp_path_factory, shared_raw_dir):
    """DAPI registered up to stage 3, Cy5 with its transform; not to be changed."""
    folder = tmp_path_factory.mktemp("shared")
    raw = Path(shutil.copytree(shared_raw_dir, folder / "raw"))
    add_dye(raw, "Cy5")
    opened(raw, folder / "out", "DAPI").run(to_stage=3)
    result = opened(raw, folder / "out", "Cy5", "DAPI").run()
    return folder, result


@pytest.fixture
def place(done, tmp_path):
    """A copy of the folder."""
    shutil.copytree(done[0], tmp_path / "copy")
    return tmp_path / "copy"


def states(task, *stages):
    lines = [line for line in task.status() if line.kind == "checkpoint"]
    return {(line.stage, line.name): line.state for line in lines}


def test_the_transforms_are_those_of_the_other_dye(done):
    folder, result = done
    dapi = opened(folder / "raw", folder / "out", "DAPI")
    cy5 = opened(folder / "raw", folder / "out", "Cy5", "DAPI")
    for stage in (2, 3):
        assert cy5.transform(stage) == dapi.transform(stage)
        np.testing.assert_array_equal(
            cy5._load_image(stage, "pre"), dapi._load_image(stage, "pre")
        )
    assert result["status"] == "complete"
    assert set(states(cy5).values()) == {"valid"}


def test_verdict_and_headers_say_so(done):
    folder, result = done
    for stage in (2, 3):
        verdict = result["registration"][stage]
        assert verdict["state"] == "ok"
        assert verdict["reason"] == "taken over from DAPI"
        assert verdict["numbers"]
    out = folder / "out" / "Rock"
    for path in (out / "Cy5" / "fits").glob("0[234]*.fits"):
        assert fits.getheader(path)["REGON"] == "DAPI"
    for path in (out / "Cy5" / "tiff").glob("0[234]*.tiff"):
        assert open_raster(path).header["registered_on"] == "DAPI"
    own = next((out / "DAPI" / "fits").glob("03*.fits"))
    assert "REGON" not in fits.getheader(own)


def test_results_stay_valid_for_who_only_looks(done):
    folder, result = done
    task = opened(folder / "raw", folder / "out", "Cy5")
    assert set(states(task).values()) == {"valid"}
    assert task.result()["registration"] == result["registration"]


def test_a_second_run_makes_nothing_again(done):
    folder, _ = done
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("*.fits")}
    opened(folder / "raw", folder / "out", "Cy5", "DAPI").run()
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.fits")} == stamps


def test_it_is_stale_when_the_other_dye_s_transform_changes(place):
    dapi = opened(place / "raw", place / "out", "DAPI")
    before = dapi.transform(2)
    turned = Transform.similarity(translation=(1.5, 0.0)) @ before
    pixels = np.array(dapi._load_image(2, "pre"))
    dapi._save_image(pixels, 2, "pre", transform=turned)
    for register_on in ("DAPI", None):
        cy5 = opened(place / "raw", place / "out", "Cy5", register_on)
        line = next(line for line in cy5.status() if line.stage == 2)
        assert line.state == "stale"
        assert "the transform of DAPI" in line.reason
        assert "has changed" in line.reason
    cy5 = opened(place / "raw", place / "out", "Cy5", "DAPI")
    cy5.run(to_stage=2)
    assert cy5.transform(2) == turned


def test_it_needs_the_other_dye_to_be_valid(place):
    for path in (place / "out" / "Rock" / "DAPI").rglob("03_*"):
        path.unlink()
    cy5 = opened(place / "raw", place / "out", "Cy5", "DAPI")
    found = states(cy5)
    assert (found[2, "pre"], found[3, "pre"]) == ("valid", "stale")
    with pytest.raises(CheckpointError, match="run Rock / DAPI first"):
        cy5.run()
    # Who only looks has nothing to compare with.
    looking = opened(place / "raw", place / "out", "Cy5")
    assert set(states(looking).values()) == {"valid"}


def test_a_transform_of_its_own_can_be_asked_for_again(place):
    cy5 = opened(place / "raw", place / "out", "Cy5", "Cy5")
    line = next(line for line in cy5.status() if line.stage == 2)
    assert (line.state, line.reason) == (
        "stale",
        "its transform is that of DAPI, its own is asked for",
    )
    result = cy5.run(to_stage=2)
    assert result["registration"][2]["reason"] == ""
    shared = opened(place / "raw", place / "out", "Cy5", "DAPI")
    line = next(line for line in shared.status() if line.stage == 2)
    assert "that of DAPI is asked for" in line.reason


def test_a_coarse_result_is_taken_over_as_well(place):
    settings = {"save_all_intermediates": True}
    opened(place / "raw", place / "out", "DAPI", **settings).run(to_stage=2)
    cy5 = opened(place / "raw", place / "out", "Cy5", "DAPI", **settings)
    cy5.run(to_stage=2)
    assert states(cy5)[2, "coarse_pre"] == "valid"


def test_images_of_other_sizes_share_no_geometry(place):
    other = simulate_section((500, 520), seed=2)
    write_pair(other, place / "raw", "Rock", "Small")
    task = opened(place / "raw", place / "out", "Small", "DAPI")
    with pytest.raises(RegistrationError, match="520 x 500 px, that of DAPI 540 x 480"):
        task.run()


def test_two_dyes_cannot_take_from_each_other(place):
    dapi = opened(place / "raw", place / "out", "DAPI", "Cy5")
    with pytest.raises(CheckpointError, match="run Rock / Cy5 first"):
        dapi.run(to_stage=2, force=True)


def test_the_dye_s_name_is_checked(tmp_path):
    with pytest.raises(ParameterError):
        SampleDye("Rock", "Cy5", tmp_path, tmp_path, register_on="../DAPI")
