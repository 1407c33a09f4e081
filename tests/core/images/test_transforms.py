"""Transforms: points, composition, storage."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.images import Transform

numbers = st.floats(-500, 500)


@st.composite
def transforms(draw):
    """Draw a similarity with a little perspective."""
    base = Transform.similarity(
        angle_deg=draw(st.floats(-180, 180)),
        scale=draw(st.floats(0.5, 2)),
        translation=(draw(numbers), draw(numbers)),
        centre=(draw(numbers), draw(numbers)),
        mirrored=draw(st.booleans()),
    )
    bend = np.eye(3)
    bend[2, :2] = draw(st.floats(-1e-5, 1e-5)), draw(st.floats(-1e-5, 1e-5))
    return Transform(bend @ base.matrix)


POINTS = np.array([[0.0, 0.0], [100.0, 30.0], [-20.0, 400.0], [250.5, 17.25]])


@given(transforms())
def test_the_inverse_brings_points_back(transform):
    np.testing.assert_allclose(
        transform.inverse()(transform(POINTS)), POINTS, atol=1e-6
    )


@given(transforms(), transforms())
def test_a_product_applies_the_right_one_first(first, second):
    expected = second(first(POINTS))
    np.testing.assert_allclose((second @ first)(POINTS), expected, atol=1e-6)


@given(transforms())
def test_json_keeps_every_digit(transform):
    stored = json.loads(json.dumps(transform.to_dict()))
    assert Transform.from_dict(stored) == transform


def test_a_similarity_turns_magnifies_and_shifts_about_its_centre():
    turn = Transform.similarity(
        angle_deg=90, scale=2, translation=(1, 2), centre=(10, 10)
    )
    # x axis towards y axis: the point right of the centre comes to lie below it.
    np.testing.assert_allclose(turn([[11, 10]]), [[11, 14]], atol=1e-12)
    found = turn.decompose()
    assert found["angle_deg"] == pytest.approx(90)
    assert found["scale"] == pytest.approx(2)


def test_a_mirror_image_is_told():
    mirror = Transform.similarity(mirrored=True, centre=(50, 0), angle_deg=30)
    assert mirror.mirrored
    assert mirror.decompose()["mirrored"] == 1
    assert not (mirror @ mirror).mirrored


@given(transforms(), st.floats(0.1, 10), numbers, numbers)
def test_another_pixel_grid_changes_the_numbers_and_not_the_map(transform, k, sx, sy):
    other = transform.conjugated(scale=k, shift=(sx, sy))
    np.testing.assert_allclose(
        other(POINTS * k + (sx, sy)),
        transform(POINTS) * k + (sx, sy),
        rtol=1e-6,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "matrix", [np.eye(2), np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((3, 3))]
)
def test_a_matrix_that_is_no_transform_is_refused(matrix):
    with pytest.raises(ValueError, match="transform"):
        Transform(matrix)


def test_points_must_be_pairs():
    with pytest.raises(ValueError, match=r"\(N, 2\)"):
        Transform.identity()([1.0, 2.0, 3.0])


def test_a_saved_transform_is_loaded_the_same(tmp_path):
    transform = Transform.similarity(angle_deg=12.3456789, translation=(0.1, 0.2))
    transform.save(tmp_path / "t.json")
    assert Transform.load(tmp_path / "t.json") == transform


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "x"}', '{"kind": "napari-exo2micro transform"']
)
def test_a_file_that_is_no_transform_is_named(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(CheckpointError):
        Transform.load(path)
