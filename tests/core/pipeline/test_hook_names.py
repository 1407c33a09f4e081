"""Hooks under today's name and that of the reference system; names of modules."""

import importlib

import pytest

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.pipeline import SampleDye

pytestmark = pytest.mark.usefixtures("plain_pictures")

TODAY = ("_run_stage_2_boundary", "_run_stage_3_interior")
REFERENCE = ("_run_stage_2_coarse", "_run_stage_3_fine")


def overriding(names, base, told):
    """Return a subclass whose hooks note each call and go on as before."""

    def hook(name):
        def run(self, force=False):
            told.append(name)
            getattr(super(own, self), name, lambda force: None)(force)

        return run

    own = type("Own", (base,), {name: hook(name) for name in names})
    return own


@pytest.fixture
def run_to_3(shared_raw_dir, tmp_path):
    """Return a function that runs an object's stages 1 to 3."""

    def run(kind):
        task = kind("Rock", "DAPI", tmp_path / "out", shared_raw_dir, "tiff")
        task.set_params(pad=60)
        assert task.run(to_stage=3)["status"] == "complete"
        return task

    return run


@pytest.mark.parametrize("names", [TODAY, REFERENCE])
def test_an_override_under_either_name_is_called_once(names, run_to_3):
    told = []
    task = run_to_3(overriding(names, SampleDye, told))
    assert told == list(names)
    told.clear()
    for name in (*TODAY, *REFERENCE):
        getattr(task, name)()
    assert told == [*names, *names]


def test_subclasses_and_mixins_may_mix_the_names(tmp_path):
    class Base(SampleDye):
        def _run_stage_2_boundary(self, force=False):
            told.append("base")

    told = []
    stage_2 = [names[:1] for names in (REFERENCE, TODAY)]
    newer = overriding(stage_2[1], overriding(stage_2[0], Base, told), told)

    class Mixed(overriding(stage_2[0], object, told), newer):
        pass

    for name in (TODAY[0], REFERENCE[0]):
        told.clear()
        getattr(Mixed("Rock", "DAPI", tmp_path), name)()
        assert told == [REFERENCE[0], TODAY[0], REFERENCE[0], "base"]


@pytest.mark.parametrize("names", [TODAY, REFERENCE])
def test_a_hook_that_is_assigned_is_called(names, run_to_3, monkeypatch):
    def run_stage_2(self, force=False):
        told.append("class")
        original(self, force)

    told, original = [], getattr(SampleDye, names[0])
    monkeypatch.setattr(SampleDye, names[0], run_stage_2)
    task = run_to_3(SampleDye)
    assert told == ["class"]
    setattr(task, names[1], lambda force: told.append("object"))
    assert task.run(from_stage=3, to_stage=3)["status"] == "complete"
    assert told == ["class", "object"]


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [
        ("core", "load_image_pair", "loader"),
        (
            "core.pipeline",
            "load_image_pair",
            r"loader=my_function\) or register_loader",
        ),
        ("core.raw", "load_image_pair", "register_loader"),
        ("core.raw.pair", "load_image_pair", "loader=my_function"),
        ("core.plotting", "plot_difference_image", "register_diagnostic"),
        ("core.defaults", "PARAMETER_REGISTRY", "register_parameter"),
        ("core.defaults", "MAX_STAGE", "register_stage"),
    ],
)
def test_a_replacement_that_nothing_would_call_is_refused(module, name, instead):
    loaded = importlib.import_module(f"napari_exo2micro.{module}")
    before = getattr(loaded, name, None)
    with pytest.raises(ParameterError, match=f"{name} would change nothing.*{instead}"):
        setattr(loaded, name, lambda sample, dye, raw_dir="raw": None)
    assert getattr(loaded, name, None) is before
    loaded.of_a_script = 1
    del loaded.of_a_script
