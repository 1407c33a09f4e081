"""Parameters, suffixes and the registry that feeds them."""

import json
import math
import string
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, strategies as st

from napari_exo2micro.core import parameters
from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import (
    ABBREVIATIONS,
    PARAMETER_REGISTRY,
    STAGE_NAMES,
    Stage,
    build_suffix,
    check_parameters,
    default_params,
    parameter,
    params_from_suffix,
    register_parameter,
    register_stage,
    unregister_parameter,
    unregister_stage,
)
from napari_exo2micro.core.parameters.parameters import format_value
from napari_exo2micro.core.parameters.settings import (
    load_preset,
    parse_value,
    save_preset,
    value_words,
)
from napari_exo2micro.core.store import Provenance
from napari_exo2micro.core.store.checkpoints import registered_params

# The table of the reference system: names, order, defaults and abbreviations.
REFERENCE_TABLE = [
    ("pad", 2000, "pad", 1),
    ("use_edges", True, "ue", 2),
    ("boundary_width", 15, "bw", 2),
    ("boundary_smooth", 10, "bs", 2),
    ("rotation_search", True, "rs", 2),
    ("angle_range", 20, "ar", 2),
    ("angle_step", 1, "astep", 2),
    ("scale_search", True, "ss", 2),
    ("scale_min", 0.85, "smin", 2),
    ("scale_max", 1.15, "smax", 2),
    ("scale_step", 0.05, "sstep", 2),
    ("multiscale", True, "ms", 2),
    ("down_scale", 0.3, "ds", 2),
    ("max_translation", 200, "mtr", 2),
    ("max_rotation", 5.0, "mrot", 2),
    ("max_scale_delta", 0.2, "msd", 2),
    ("max_scale_diff", 0.15, "msdf", 2),
    ("save_all_intermediates", False, "sai", 2),
    ("fine_ecc", False, "fecc", 2),
    ("stopit", 500, "sit", 2),
    ("stopdelta", 1e-6, "sdl", 2),
    ("interior_ecc", True, "iecc", 3),
    ("interior_blur_base", 8.0, "iblur", 3),
    ("interior_max_correction", 500, "imc", 3),
    ("interior_min_inlier_ratio", 0.4, "imir", 3),
    ("scale_percentile", None, "sp", 4),
    ("manual_scale", None, "msc", 4),
]


WORDS = st.text(string.ascii_letters + string.digits + ".", min_size=1, max_size=30)


@st.composite
def parameter_sets(draw):
    """Draw any valid set of parameters."""
    params = {}
    for entry in PARAMETER_REGISTRY.values():
        if not draw(st.booleans()):
            continue
        if entry.kind is bool:
            value = draw(st.booleans())
        elif entry.kind is str:
            words = st.sampled_from(entry.choices) if entry.choices else WORDS
            value = draw(words)
        else:
            low = entry.minimum if entry.minimum is not None else -1000
            high = entry.maximum if entry.maximum is not None else 1000
            if entry.kind is int:
                value = draw(st.integers(int(low), int(high)))
            else:
                value = draw(st.floats(low, high, exclude_min=entry.exclusive_minimum))
            if entry.optional and draw(st.booleans()):
                value = None
        params[entry.name] = value
    if params.get("scale_min", 0) > params.get("scale_max", math.inf):
        del params["scale_min"]
    return params


def test_the_registry_begins_with_the_reference_table():
    entries = list(PARAMETER_REGISTRY.values())[: len(REFERENCE_TABLE)]
    table = [(e.name, e.default, e.abbreviation, e.stage) for e in entries]
    assert table == REFERENCE_TABLE


def test_every_default_is_a_value_that_its_parameter_takes():
    assert check_parameters(default_params()) == default_params()


@given(parameter_sets())
def test_a_suffix_reads_back_to_the_parameters_that_made_it(params):
    changed = {n: v for n, v in params.items() if v != PARAMETER_REGISTRY[n].default}
    assert params_from_suffix(build_suffix(params)) == changed


@given(parameter_sets(), parameter_sets())
def test_different_parameters_have_different_suffixes(first, second):
    same = {**default_params(), **first} == {**default_params(), **second}
    assert (build_suffix(first) == build_suffix(second)) == same


@given(parameter_sets(), st.sampled_from(sorted(STAGE_NAMES)))
def test_a_suffix_tells_only_parameters_of_its_stage_and_before(params, stage):
    earlier = {n: v for n, v in params.items() if PARAMETER_REGISTRY[n].stage <= stage}
    assert build_suffix(params, stage) == build_suffix(earlier)


@pytest.mark.parametrize(
    ("params", "suffix"),
    [
        ({}, ""),
        ({"boundary_width": 20}, "_bw20"),
        ({"interior_ecc": False}, "_iecc0"),
        ({"manual_scale": 1.42}, "_msc1.42"),
        ({"manual_scale": 1}, "_msc1"),
        ({"scale_percentile": 99.1, "boundary_width": 20}, "_bw20_sp99.1"),
        ({"scale_min": 0.8500001}, "_smin0.8500001"),
        ({"angle_range": 12.5}, "_ar12.5"),
    ],
)
def test_suffixes_are_spelled_as_the_reference_system_spells_them(params, suffix):
    assert build_suffix(params) == suffix


def test_close_values_do_not_share_a_name():
    assert build_suffix({"scale_min": 0.8500001}) != build_suffix({"scale_min": 0.85})


@pytest.mark.parametrize("suffix", ["_spnone", "_sp_none", "_sp_none_bw20"])
def test_none_is_read_in_both_spellings(suffix):
    assert params_from_suffix(suffix)["scale_percentile"] is None


def test_fractions_of_an_angle_read_back_as_floats():
    read = params_from_suffix("_ar15_astep2")
    assert read == {"angle_range": 15.0, "angle_step": 2.0}
    assert all(isinstance(value, float) for value in read.values())


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("_zz3", "'zz3'"),
        ("_bw", "'bw'"),
        ("_bw20_foo", "'foo'"),
        ("_ms2", "'ms2'"),
        ("_bw3_bw4", "comes twice"),
        ("_pad-1", "'pad-1'"),
        ("_bw1_5", "'5'"),
        ("_x0123456789", "header"),
    ],
)
def test_a_part_that_is_not_known_is_an_error(suffix, message):
    with pytest.raises(ParameterError, match=message):
        params_from_suffix(suffix)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bondary_width": 3}, "valid names: pad, use_edges"),
        ({"boundary_width": "15"}, "takes a whole number"),
        ({"boundary_width": 15.5}, "takes a whole number"),
        ({"boundary_width": True}, "takes a whole number"),
        ({"use_edges": 1}, "takes True or False"),
        ({"pad": -1}, "from 0 to 20000"),
        ({"scale_percentile": 100.5}, "from 0 to 100"),
        ({"scale_percentile": float("nan")}, "from 0 to 100"),
        ({"manual_scale": 0.0}, "above 0"),
        ({"stopdelta": float("inf")}, "above 0"),
        ({"interpolation": "nearest"}, "one of linear, cubic, lanczos"),
        ({"pad": None}, "takes a whole number"),
        ({"scale_min": 1.2, "scale_max": 1.1}, "must not exceed"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_words(values, message):
    with pytest.raises(ParameterError, match=message):
        check_parameters(values)


def test_an_int_passes_for_a_float_and_is_kept_as_one():
    assert isinstance(check_parameters({"max_rotation": 3})["max_rotation"], float)


@pytest.fixture
def own_parameter():
    yield register_parameter("speckle", 3, "zpeck", 4, "Size.")
    unregister_parameter("speckle")


def test_a_parameter_of_ones_own_joins_suffix_and_checks(own_parameter):
    assert build_suffix({"speckle": 5}) == f"_{own_parameter.abbreviation}5"
    assert params_from_suffix("_zpeck5") == {"speckle": 5}
    assert ABBREVIATIONS["speckle"] == "zpeck"
    assert build_suffix({"speckle": 5}, stage=3) == ""
    with pytest.raises(ParameterError, match="whole number"):
        check_parameters({"speckle": 1.5})


@pytest.mark.parametrize(
    ("name", "abbreviation", "message"),
    [
        ("pad", "zz", "is taken"),
        ("mine", "pad", "belongs to 'pad'"),
        ("mine", "b", "begin alike"),
        ("mine", "bwx", "begin alike"),
        ("mine", "spn", "begin alike"),
        ("mine", "scale", "headers use"),
        ("mine", "Zz", "lower-case"),
        ("mine", "z2", "lower-case"),
        ("mine", "abcdefghi", "1 to 8"),
        ("mine", "x", "hash that stands for a long suffix"),
        ("mine", "xbad", "hash that stands for a long suffix"),
    ],
)
def test_an_abbreviation_that_could_be_misread_is_refused(name, abbreviation, message):
    with pytest.raises(ParameterError, match=message):
        register_parameter(name, 1, abbreviation, 4, "Mine.")
    assert "mine" not in PARAMETER_REGISTRY


@pytest.mark.parametrize(
    ("default", "more", "message"),
    [
        ((1, 2), {}, r"is of type tuple, found default \(1, 2\)"),
        ([1], {}, "is of type list"),
        (3, {"kind": complex}, "is of type complex"),
        ("plain", {"choices": ("plain", "two_words")}, "choice 'two_words'"),
        ("plain", {"choices": ("plain", "two words")}, "choice 'two words'"),
        ("plain", {"choices": ("plain", "")}, "choice ''"),
        ("plain", {"choices": ("plain", 3)}, "choice 3"),
        (None, {"kind": str, "choices": ("some", "none")}, "choice 'none'"),
        (None, {"kind": str, "choices": ("some", "None")}, "choice 'None'"),
        ("plain", {"choices": ("other",)}, "takes one of other"),
        ("two_words", {}, "takes a word of letters and digits"),
        (1, {"choices": ("1", "2")}, "choices, which are for words only"),
        (3, {"minimum": 4}, "takes a whole number from 4"),
        (1.5, {"kind": int}, "takes a whole number"),
    ],
)
def test_what_cannot_be_read_back_is_refused_when_registered(default, more, message):
    with pytest.raises(ParameterError, match=message):
        register_parameter("mine", default, "zq", 4, "Mine.", **more)
    assert "mine" not in PARAMETER_REGISTRY


OPTIONAL_WORDS = WORDS.filter(lambda word: word.lower() != "none")
OWN = st.one_of(
    st.tuples(st.just(True), st.just({}), st.booleans()),
    st.tuples(st.just(3), st.just({}), st.integers(-(10**18), 10**18)),
    st.tuples(st.just(0.5), st.just({}), st.floats(-1e300, 1e300)),
    st.tuples(st.none(), st.just({}), st.none() | st.floats(-1e300, 1e300)),
    st.tuples(st.just("plain"), st.just({}), st.just("none") | WORDS),
    st.tuples(st.none(), st.just({"kind": str}), st.none() | OPTIONAL_WORDS),
    st.tuples(
        st.just("plain"),
        st.just({"choices": ("plain", "none", "1", "on", "0.5")}),
        st.sampled_from(("plain", "none", "1", "on", "0.5")),
    ),
)


@given(OWN)
@example(("plain", {}, "none"))
@example((0.5, {}, -0.0))
def test_a_value_of_ones_own_comes_back_from_wherever_it_is_written(own):
    default, more, value = own
    entry = register_parameter("mine", default, "zq", 4, "Mine.", **more)
    try:
        values = check_parameters({"mine": value})
        told = {n: v for n, v in values.items() if v != default}
        assert values["mine"] == value
        assert params_from_suffix(build_suffix(values)) == told
        assert parse_value(entry, format_value(value)) == value
        assert parse_value(entry, value_words(value)) == value
        header = Provenance("Rock", "DAPI", 4, "difference", values, "").to_header()
        read = registered_params(Provenance.from_header(json.loads(json.dumps(header))))
        assert read == values
        with TemporaryDirectory() as folder:
            path = save_preset(Path(folder, "own"), default_params() | values)
            loaded = load_preset(path)
        assert {**default_params(), **loaded}["mine"] == value
        assert type(loaded.get("mine", value)) is type(values["mine"])
    finally:
        unregister_parameter("mine")


def test_the_word_none_is_no_value_where_none_is_one():
    register_parameter("mine", None, "zq", 4, "Mine.", kind=str)
    try:
        with pytest.raises(ParameterError, match="letters and digits or None"):
            check_parameters({"mine": "None"})
        assert params_from_suffix("_zqnone") == {"mine": None}
    finally:
        unregister_parameter("mine")


def test_built_in_parameters_cannot_be_removed():
    with pytest.raises(ParameterError, match="not a parameter of yours"):
        unregister_parameter("pad")


def test_a_new_stage_extends_names_and_the_last_number():
    register_stage(Stage(6, "06_mask", "mask", "_run_stage_6_mask", ("mask",)))
    try:
        assert STAGE_NAMES[6] == "06_mask"
        assert parameters.MAX_STAGE == 6
    finally:
        unregister_stage(6)
    assert parameters.MAX_STAGE == 5
    with pytest.raises(ParameterError, match="number 6"):
        register_stage(Stage(7, "07_x", "x", "_run", ()))


def test_every_parameter_has_a_label_of_its_own_and_a_group():
    for stage in STAGE_NAMES:
        own = [p for p in PARAMETER_REGISTRY.values() if p.stage == stage]
        assert len({p.title for p in own}) == len(own)
        assert all(p.label and p.group for p in own)


def test_a_parameter_without_label_is_called_by_its_name_in_words():
    entry = register_parameter("grain_size", 3, "grain", 4, "Size.", minimum=1)
    try:
        assert entry.title == "grain size"
        assert entry.group == ""
    finally:
        unregister_parameter("grain_size")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("boundary_width", "1 to 200 px at coarse scale"),
        ("stopdelta", "above 0 up to 1"),
        ("interpolation", "linear, cubic, lanczos"),
        ("use_edges", ""),
    ],
)
def test_limits_in_words(name, words):
    assert PARAMETER_REGISTRY[name].limits() == words


def test_limits_with_one_side_only():
    limits = {"minimum": 1, "unit": "px"}
    assert parameter("a", 2, "a", 4, "A.", **limits).limits() == "from 1 px"
    limits["exclusive_minimum"] = True
    assert parameter("a", 2, "a", 4, "A.", **limits).limits() == "above 1 px"
    assert parameter("a", 2, "a", 4, "A.", maximum=9).limits() == "up to 9"
