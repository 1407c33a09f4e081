"""Saved views: a file that comes back as it was, and words for one that cannot."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.alignment import SavedView, load_views, save_views
from napari_exo2micro.core.alignment.alignments import VIEWS_FORMAT
from napari_exo2micro.core.base import OutputError, ParameterError

VIEW = SavedView("a crack", 10.5, 20.25, 0.5, 11, 21, 500, 1.5, "Rock", "DAPI")
numbers = st.floats(-1e6, 1e6)


@given(
    st.lists(
        st.builds(
            SavedView,
            name=st.text(max_size=20),
            row=numbers,
            column=numbers,
            zoom=st.floats(1e-6, 1e6),
            box_row=st.integers(-(10**6), 10**6),
            box_column=st.integers(-(10**6), 10**6),
            box_size=st.integers(1, 4000),
            blur=st.floats(0, 100),
            sample=st.text(max_size=9),
            dye=st.text(max_size=9),
        ),
        max_size=4,
    )
)
def test_what_is_saved_is_read(tmp_path_factory, views):
    path = tmp_path_factory.mktemp("views") / "views.json"
    assert save_views(path, views) == path
    assert load_views(path) == views


def test_numbers_keep_their_types(tmp_path):
    view = load_views(save_views(tmp_path / "v.json", [VIEW]))[0]
    assert isinstance(view.row, float)
    assert isinstance(view.box_row, int)


def write(path, **changes):
    content = json.loads(save_views(path, [VIEW]).read_text(encoding="utf-8"))
    content["views"][0] |= changes.pop("view", {})
    for name in changes.pop("without", []):
        del content["views"][0][name]
    path.write_text(json.dumps(content | changes), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "something"}, VIEWS_FORMAT),
        ({"version": 99}, "version 99"),
        ({"views": 3}, "no list of views"),
        ({"views": ["x"]}, "view 1 of .* is no view"),
        ({"view": {"row": "ten"}}, "impossible 'row': 'ten'"),
        ({"view": {"zoom": 0}}, "impossible 'zoom'"),
        ({"view": {"row": True}}, "impossible 'row'"),
        ({"view": {"name": 7}}, "impossible 'name'"),
        ({"without": ["column"]}, "lacks 'column'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, words):
    path = write(tmp_path / "views.json", **changes)
    with pytest.raises(ParameterError, match=words):
        load_views(path)


def test_entries_that_came_later_may_be_missing(tmp_path):
    path = write(tmp_path / "views.json", without=["blur", "sample", "dye"])
    assert load_views(path)[0].blur == 0.0


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "\x00\x01"])
def test_a_file_that_is_no_json_is_told(tmp_path, text):
    path = tmp_path / "views.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ParameterError, match="holds no saved views"):
        load_views(path)


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(ParameterError, match="cannot be read"):
        load_views(tmp_path / "nothing.json")
    with pytest.raises(OutputError, match="it is a folder"):
        save_views(tmp_path, [VIEW])
