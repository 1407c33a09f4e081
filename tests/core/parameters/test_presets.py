"""Presets: parameters as a file, whole or not at all, refused in plain words."""

import json
import os
import string
import sys

import pytest
from hypothesis import given, strategies as st

from napari_exo2micro import __version__
from napari_exo2micro.core.base import OutputError, ParameterError
from napari_exo2micro.core.images import io
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    default_params,
    load_preset,
    non_default_params,
    register_parameter,
    save_preset,
    settings,
    unregister_parameter,
)


def written(path, values, **more):
    """Write a preset by hand."""
    content = {"format": settings.PRESET_FORMAT, "version": 1, "parameters": values}
    path.write_text(json.dumps({**content, **more}), encoding="utf-8")
    return path


def refusal(path):
    with pytest.raises(ParameterError) as caught:
        load_preset(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def values_of(entry):
    """Return a strategy for the values of one parameter."""
    if entry.choices:
        return st.sampled_from(entry.choices)
    if entry.kind is bool:
        return st.booleans()
    if entry.kind is str:
        return st.text(string.ascii_letters + string.digits + ".", min_size=1)
    low, high = entry.minimum, entry.maximum
    if entry.kind is int:
        return st.integers(int(low), int(high))
    numbers = st.floats(low, high, exclude_min=entry.exclusive_minimum)
    return st.none() | numbers if entry.optional else numbers


ANY_PARAMETERS = st.fixed_dictionaries(
    {}, optional={name: values_of(entry) for name, entry in PARAMETER_REGISTRY.items()}
).filter(lambda p: p.get("scale_min", 0.85) <= p.get("scale_max", 1.15))


@given(params=ANY_PARAMETERS)
def test_what_was_saved_is_loaded(params, tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "mine.json"
    save_preset(path, params)
    loaded = load_preset(path)
    assert {**default_params(), **loaded} == {**default_params(), **params}
    assert loaded == non_default_params(params)
    assert list(loaded) == [name for name in PARAMETER_REGISTRY if name in loaded]


def test_the_file_is_for_people_too(tmp_path):
    path = save_preset(tmp_path / "new" / "mine.json", {"pad": 100, "fine_ecc": False})
    assert path.read_text(encoding="utf-8").splitlines() == [
        "{",
        '  "format": "napari-exo2micro preset",',
        '  "version": 1,',
        f'  "written_by": "napari-exo2micro {__version__}",',
        '  "parameters": {',
        '    "pad": 100',
        "  }",
        "}",
    ]


def test_a_preset_may_be_written_by_hand(tmp_path):
    path = written(
        tmp_path / "a", {"angle_range": 30, "pad": 2000, "manual_scale": None}
    )
    loaded = load_preset(path)
    assert loaded == {"pad": 2000, "angle_range": 30.0, "manual_scale": None}
    assert isinstance(loaded["angle_range"], float)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as Windows editors do
    assert load_preset(path) == loaded


def test_a_parameter_of_ones_own_is_kept(tmp_path):
    register_parameter("despeckle", 3, "medsize", 4, "Size.", minimum=1)
    try:
        path = save_preset(tmp_path / "mine.json", {"despeckle": 5})
        assert load_preset(path) == {"despeckle": 5}
    finally:
        unregister_parameter("despeckle")
    assert "unknown parameter 'despeckle'" in refusal(path)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("boundary_widht", "boundary_width"),
        ("boundary-width", "boundary_width"),
        ("Fine ECC", "fine_ecc"),
        ("sp", "scale_percentile"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest_one(tmp_path, name, meant):
    text = refusal(written(tmp_path / "a.json", {name: 20}))
    assert f"unknown parameter {name!r} (did you mean '{meant}'?)" in text


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    wrong = {"pad": "many", "speed": 3, "fine_ecc": 1, "interpolation": "magic"}
    text = refusal(written(tmp_path / "a.json", {**wrong, "boundary_width": 20}))
    for words in ("'pad' takes a whole number", "'speed'", "True or False", "lanczos"):
        assert words in text
    assert "boundary_width" not in text
    many = {f"name{number}": 1 for number in range(500)}
    text = refusal(written(tmp_path / "b.json", many))
    assert "492 more" in text
    assert len(text) < 1000


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"pad": 10**400}, "pad"),
        ({"angle_range": 10**400}, "angle_range"),
        ({"angle_range": float("nan")}, "angle_range"),
        ({"manual_scale": float("inf")}, "manual_scale"),
        ({"pad": None}, "pad"),
        ({"pad": [1]}, "pad"),
        ({"scale_min": 1.3}, "scale_min must not exceed scale_max"),
        ({"x" * 5000: 1}, "xxx..."),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, parameters, told):
    text = refusal(written(tmp_path / "a.json", parameters))
    assert told in text
    assert len(text) < 800


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"format": "something"}, "is no preset"),
        ({"version": 2}, "update napari-exo2micro"),
        ({"version": True}, "whole number"),
        ({"version": None}, "whole number"),
        ({"parameters": [1]}, "name: value"),
        ({"parameters": None}, "found nothing"),
        ({"paramters": {}}, "unknown entry 'paramters'"),
    ],
)
def test_a_wrong_frame_is_refused(tmp_path, more, told):
    assert told in refusal(written(tmp_path / "a.json", {}, **more))


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "is no preset"),
        (b"pad = 3", "is no preset"),
        (b"[1, 2]", "is no preset"),
        (b"null", "is no preset"),
        (b"\xff\xfe\x00", "is no preset"),
        (b"[" * 90_000, "is no preset"),
        (b'{"pad": ' + b"1" * 5000 + b"}", "is no preset"),
        (b" " * 200_000, "more than 100000 bytes"),
    ],
)
def test_what_is_no_preset_is_refused(tmp_path, raw, told):
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    assert told in refusal(path)


def test_a_path_that_is_no_file_is_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.json")
    assert "not a file" in refusal(tmp_path)
    refusal(tmp_path / ("x" * 300))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "not a file" in refusal(tmp_path / "pipe")


@given(raw=st.binary(max_size=200))
def test_no_content_ends_in_another_error(raw, tmp_path_factory):
    path = tmp_path_factory.mktemp("presets") / "any.json"
    path.write_bytes(raw)
    assert refusal(path)


def test_saving_replaces_the_file_or_leaves_it(tmp_path, monkeypatch):
    path = save_preset(tmp_path / "mine.json", {"pad": 100})
    save_preset(path, {"pad": 200})
    assert load_preset(path) == {"pad": 200}
    with pytest.raises(ParameterError, match="pad"):
        save_preset(path, {"pad": "much"})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(io.Path, "write_text", full)
    with pytest.raises(OutputError, match="disk is full"):
        save_preset(path, {"pad": 300})
    assert load_preset(path) == {"pad": 200}
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.json"]


def test_where_nothing_can_be_written_that_is_told(tmp_path):
    with pytest.raises(OutputError, match="is a folder"):
        save_preset(tmp_path, {})
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="part of the path is a file"):
        save_preset(tmp_path / "file" / "mine.json", {})
