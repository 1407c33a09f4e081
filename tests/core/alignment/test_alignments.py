"""An alignment by itself, against the truth of a simulated pair."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_exo2micro.core.alignment import Alignment
from napari_exo2micro.core.base import CheckpointError, OutputError, ParameterError
from napari_exo2micro.core.images import Transform

PAD = 70


@pytest.fixture
def alignment(pair) -> Alignment:
    """The true one, as on a padded canvas."""
    rows, columns = pair.truth.post_shape
    return Alignment(
        pair.truth.canvas_transform(PAD),
        (PAD, PAD, columns, rows),
        (PAD, PAD, columns, rows),
        "Rock",
        "DAPI",
        3,
    )


def test_points_of_one_raw_image_are_found_in_the_other(alignment, pair):
    post = pair.truth.section_points(200)
    pre = pair.truth(post)
    np.testing.assert_allclose(
        alignment.points_moved(pre, "onto post"), post, atol=1e-6
    )
    np.testing.assert_allclose(alignment.points_moved(post, "onto pre"), pre, atol=1e-6)
    assert alignment.shape_of("onto post") == pair.truth.post_shape


def test_images_that_begin_at_different_places(pair):
    shifted = Alignment(Transform.identity(), (10, 20, 5, 5), (3, 4, 5, 5))
    np.testing.assert_allclose(
        shifted.points_moved([[0.0, 0.0]], "onto pre"), [[7.0, 16.0]]
    )


def test_a_saved_alignment_is_the_same_and_a_transform_too(alignment, tmp_path):
    path = tmp_path / "alignment.json"
    alignment.save(path)
    found = Alignment.load(path)
    assert found.transform == alignment.transform
    assert (found.post_frame, found.pre_frame) == (
        alignment.post_frame,
        alignment.pre_frame,
    )
    assert (found.sample, found.dye, found.stage) == ("Rock", "DAPI", 3)
    assert Transform.load(path) == alignment.transform
    assert list(tmp_path.iterdir()) == [path]


def test_a_saved_transform_needs_the_margin(alignment, pair, tmp_path):
    path = tmp_path / "transform.json"
    alignment.transform.save(path)
    found = Alignment.load(path)
    assert not found.knows_its_canvas
    with pytest.raises(ParameterError, match="empty margin"):
        found.points_moved([[0.0, 0.0]], "onto pre")
    assert found.shape_of("onto post") is None
    known = found.on_canvas(PAD)
    post = pair.truth.section_points(20)
    np.testing.assert_allclose(
        known.points_moved(post, "onto pre"), pair.truth(post), atol=1e-6
    )
    assert known.shape_of("onto post") is None


def test_a_header_without_a_transform_has_no_alignment():
    assert Alignment.from_header({}) is None
    assert Alignment.from_header({"transform": None, "sample": "Rock"}) is None


@pytest.mark.parametrize(
    "content", ["", "[1]", "{}", '{"kind": "napari-exo2micro transform"}']
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(CheckpointError):
        Alignment.load(path)


def test_a_damaged_frame_is_refused(alignment, tmp_path):
    path = tmp_path / "alignment.json"
    alignment.save(path)
    stored = json.loads(path.read_text())
    stored["canvas"]["post_frame"] = [1, 2, "three"]
    path.write_text(json.dumps(stored))
    with pytest.raises(CheckpointError, match="four whole numbers"):
        Alignment.load(path)


def test_a_file_that_cannot_be_written_is_told(alignment, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"alignment\.json"):
        alignment.save(tmp_path / "file" / "alignment.json")
