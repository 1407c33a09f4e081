"""A control without microbes: against truth, when it is missing, when it changes.

Grains of precipitate are bright spots like microbes: the control has `GRAINS` of them
and no microbe, the sample as many beside its microbes.
"""

import pytest
from astropy.io import fits

from napari_exo2micro.core.base import CheckpointError, ParameterError
from napari_exo2micro.core.parameters import State
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section, write_pair

SHAPE = (420, 480)
GRAINS, MICROBES = 20, 40
LIKE = {"gain": 1.25, "photons": 500.0, "noise": 0.5}


def write(folder, sample, spots, seed):
    pair = simulate_section(SHAPE, microbes=spots, seed=seed, **LIKE)
    write_pair(pair, folder / "raw", sample, "Dye")
    return pair


def task_of(folder, sample="S", kind="tiff", **params):
    task = SampleDye(sample, "Dye", folder / "out", folder / "raw", kind)
    task.set_params(**{"pad": 40, **params})
    return task


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("control")
    write(made, "S", GRAINS + MICROBES, 3)
    write(made, "S_blank", GRAINS, 4)
    return made


def test_a_control_that_was_not_run_is_told_with_the_command(folder):
    task = task_of(folder, control="Sblank")
    with pytest.raises(CheckpointError, match="exo2micro run S_blank Dye") as told:
        task.run()
    assert "--control" not in str(told.value).partition("; run ")[2]
    assert not (folder / "out" / "S" / "Dye" / "tiff").exists()  # before all work


def test_only_another_sample_that_is_there_can_be_the_control(folder):
    with pytest.raises(ParameterError, match="another sample than the one"):
        task_of(folder, control="S").run()
    with pytest.raises(ParameterError, match="S_blank"):
        task_of(folder, control="blank").run()
    write(folder, "S-blank", 0, 5)
    try:
        with pytest.raises(ParameterError, match="found 2 of them"):
            task_of(folder, control="Sblank").run()
    finally:
        for path in (folder / "raw" / "S-blank").iterdir():
            path.unlink()
        (folder / "raw" / "S-blank").rmdir()


def test_the_count_is_less_what_the_control_expects(folder):
    task_of(folder, "S_blank").run()
    task_of(folder).run()
    blind = task_of(folder).microbes()
    task = task_of(folder, control="Sblank", kind="both")
    result = task.run()
    found = task.microbes()
    # of the 60 spots so many are found, and nearly a third of them are grains
    share = MICROBES / (GRAINS + MICROBES)
    real = share * blind.counted.found
    assert not blind.interval[0] <= real <= blind.interval[1]
    assert found.interval[0] <= real <= found.interval[1]
    assert found.counted.found == blind.counted.found
    assert found.purity == pytest.approx(share, abs=0.2)
    assert blind.control is None
    told = found.control
    assert (told["sample"], told["used"]) == ("S_blank", True)
    assert told["false"] == pytest.approx(told["ratio"] * told["spots"])
    assert told["interval"][0] < GRAINS < told["interval"][1] + 5
    assert found.dark == blind.dark
    assert found.to_dict()["control"] == told
    assert "from the control S_blank" in found.summary
    # it disagrees with the dark spots, which is said
    verdict = result.verdicts[5]
    assert verdict.state is State.FELL_BACK
    assert verdict.numbers["control_false"] == found.counted.false
    assert verdict.numbers["dark_spots"] == blind.counted.false
    assert "S_blank" in verdict.reason
    assert task.result().status == result.status
    assert float(found.table["p_real"].max()) < float(blind.table["p_real"].max())
    header = fits.getheader(task.store.fits_path(5, "labels"))
    assert header["CONTROL"] == "Sblank"
    assert header["NCONTROL"] == found.counted.false
    assert header["NDARK"] == found.dark
    labels = task.checkpoint(5, "labels")
    assert "S_blank" in labels.provenance.raw["given"]["control"]["file"]
    assert {line.state for line in task.status()} == {State.VALID}


def test_another_result_of_the_control_makes_the_stage_stale(folder):
    task = task_of(folder, control="Sblank")
    before = task.microbes().control["spots"]
    write(folder, "S_blank", 2 * GRAINS, 6)

    def reasons():
        lines = task_of(folder, control="Sblank").status()
        assert all(line.state == State.VALID for line in lines if line.stage < 5)
        return [line.reason for line in lines if line.name == "labels"]

    assert "exo2micro run S_blank" in reasons()[0]
    task_of(folder, "S_blank").run()
    assert "its control has another result now" in reasons()[0]
    with pytest.raises(CheckpointError):
        task_of(folder, control="Sblank").microbes()
    task_of(folder, control="Sblank").run()
    assert task_of(folder, control="Sblank").microbes().control["spots"] > before
    assert task_of(folder).microbes().control is None
