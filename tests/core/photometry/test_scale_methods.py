"""Scale methods of one's own: their names, their parameters and what they return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from napari_exo2micro.core.base import ParameterError, RegistrationError
from napari_exo2micro.core.parameters import (
    Verdict,
    default_params,
    register_parameter,
    unregister_parameter,
)
from napari_exo2micro.core.photometry import (
    SCALE_METHODS,
    ScaleEstimate,
    accumulate_statistics,
    estimate_scale,
    further_scales,
    register_scale_method,
    scale_title,
    scales_asked_for,
    unregister_scale_method,
)
from napari_exo2micro.core.photometry.statistics import PairStatistics
from napari_exo2micro.core.plotting import scale_colour
from napari_exo2micro.core.plotting.style import method_words
from napari_exo2micro.core.store.provenance import CheckpointName, parse_checkpoint_name

PRE = np.random.default_rng(3).integers(1, 90, (40, 50)).astype(np.uint8)


def twice(_statistics: Any) -> float:
    return 2.0


@pytest.fixture
def parameter() -> Iterator[None]:
    register_parameter("double_scale", False, "dblsc", 4, "Doubles.")
    yield
    unregister_parameter("double_scale")


@pytest.fixture
def double(parameter: None) -> Iterator[None]:
    register_scale_method(
        "double", twice, caption="Two.", parameter="double_scale", colour="#123456"
    )
    yield
    unregister_scale_method("double")


@pytest.fixture(scope="module")
def statistics() -> PairStatistics:
    return accumulate_statistics(PRE * np.uint8(2), PRE)


def test_images_of_the_built_in_methods_keep_their_names() -> None:
    params = default_params() | {"scale_percentile": 99.1, "manual_scale": 1.42}
    asked = scales_asked_for(params)
    assert {name: method.image_name(params) for name, method in asked.items()} == {
        "moffat": "difference",
        "percentile": "difference_percentile_p99.1",
        "manual": "difference_manual",
    }
    assert list(scales_asked_for(default_params())) == ["moffat"]
    assert "percentile" in scales_asked_for({"scale_percentile": 0.0})


@pytest.mark.usefixtures("double")
def test_a_method_is_asked_for_by_its_parameter(statistics: PairStatistics) -> None:
    params = default_params() | {"double_scale": True}
    assert "double" not in scales_asked_for(default_params())
    assert scales_asked_for(params)["double"].image_name(params) == "difference_double"
    found = estimate_scale(statistics, "double")
    assert (found.scale, found.method, found.kind) == (2.0, "double", "double")
    assert found.verdict.state == "ok"


@pytest.mark.usefixtures("double")
def test_its_files_are_told_from_those_of_the_default_one() -> None:
    parse = parse_checkpoint_name
    found = parse("04_difference_difference_double_dblsc1.tiff")
    assert found == CheckpointName(4, "difference_double", "_dblsc1")
    found = parse("04_difference_difference_dblsc1.fits")
    assert found == CheckpointName(4, "difference", "_dblsc1")


@pytest.mark.usefixtures("double")
def test_plots_and_windows_have_its_colour_and_words(
    statistics: PairStatistics,
) -> None:
    assert scale_colour("double") == "#123456"
    assert method_words(estimate_scale(statistics, "double")) == "Double"
    assert scale_title("double") == "double"
    assert scale_title("moffat") == "Moffat fit"
    assert scale_title("of a package that is gone") == "of a package that is gone"
    scale = {"value": 2.0, "uncertainty": 0.0}
    result = {"scales": {"moffat": scale, "double": scale}}
    assert further_scales(result) == [("double", 2.0, 0.0)]


def test_a_parameter_that_is_a_number_is_handed_over(
    statistics: PairStatistics,
) -> None:
    register_parameter("times_scale", None, "timsc", 4, "Factor.", minimum=0.1)
    register_scale_method(
        "times", lambda _, value: value, caption="As is.", parameter="times_scale"
    )
    try:
        found = SCALE_METHODS["times"].estimate(statistics, 1.7)
        assert found.scale == 1.7
        assert "times" in scales_asked_for({"times_scale": 1.7})
    finally:
        unregister_scale_method("times")
        unregister_parameter("times_scale")


def test_an_estimate_carries_the_name_it_is_registered_under(
    statistics: PairStatistics,
) -> None:
    verdict = Verdict("fell_back", "few pixels")

    def own(_statistics: PairStatistics) -> ScaleEstimate:
        return ScaleEstimate("whatever", 1.5, 0.1, 2.0, 0.2, verdict)

    register_scale_method("own", own, caption="Own.")
    try:
        found = estimate_scale(statistics, "own")
    finally:
        unregister_scale_method("own")
    assert (found.method, found.offset, found.verdict) == ("own", 2.0, verdict)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda _: 1 / 0, r"'bad' failed with ZeroDivisionError"),
        (lambda _: -1.0, "a number above 0"),
        (lambda _: float("nan"), "a number above 0"),
        (lambda _: "two", "a number above 0"),
        (lambda _: None, "a number above 0"),
    ],
)
def test_what_is_no_scale_is_a_typed_error(
    statistics: PairStatistics, function: Any, message: str
) -> None:
    register_scale_method("bad", function, caption="Bad.")
    try:
        with pytest.raises(RegistrationError, match=message):
            estimate_scale(statistics, "bad")
    finally:
        unregister_scale_method("bad")


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("moffat", {}, "exists already"),
        ("manual", {}, "exists already"),
        ("percentile", {}, "exists already"),
        ("two words", {}, "needs a name"),
        ("pad60", {}, "reads like a parameter"),
        ("mine", {"parameter": "no_such"}, "register it first"),
        ("mine", {"parameter": "offset_correction"}, "None, False or 'off' by default"),
    ],
)
def test_methods_that_cannot_be_taken(
    name: str, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        register_scale_method(name, twice, caption="No.", **more)


def test_ones_own_method_can_be_replaced_and_the_built_in_ones_stay() -> None:
    register_scale_method("mine", twice, caption="Two.")
    try:
        register_scale_method("mine", lambda _: 3.0, caption="Three.", replace=True)
        assert SCALE_METHODS["mine"].caption == "Three."
        with pytest.raises(ParameterError, match="exists already"):
            register_scale_method("moffat", twice, caption="No.", replace=True)
        with pytest.raises(ParameterError, match="not a scale method of yours"):
            unregister_scale_method("moffat")
    finally:
        unregister_scale_method("mine")
