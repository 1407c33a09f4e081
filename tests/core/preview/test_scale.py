"""The preview of stage 4: scales from a sample or from what stage 4 has counted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_exo2micro.core.base import CancelledError, Monitor
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.photometry import scale_at_percentile
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.preview import (
    PreviewSource,
    open_source,
    preview_scale,
    source,
    stored_statistics,
)

PAD = 60


@pytest.fixture(scope="module")
def true_transform(pair):
    return pair.truth.transform.conjugated(scale=1.0, shift=(PAD, PAD))


@pytest.fixture(scope="module")
def task(tmp_path_factory, shared_raw_dir):
    """Stages 1 to 4 of the pair of all tests."""
    task = SampleDye(
        "Rock", "DAPI", tmp_path_factory.mktemp("out"), shared_raw_dir, "tiff"
    )
    task.set_params(pad=PAD)
    task.run()
    return task


def test_the_scale_is_within_a_third_of_a_percent(source, pair, true_transform):
    found = preview_scale(source, true_transform, {})
    assert found.verdict.state == "ok"
    assert found.basis == "every pixel"
    scale = found.scales["moffat"]
    assert scale.scale == pytest.approx(pair.truth.gain, rel=0.003)
    assert 0 < scale.uncertainty < 0.01 * scale.scale


def test_a_sample_says_the_same_as_every_pixel(
    pair, source, true_transform, monkeypatch, source_of
):
    params = {"scale_percentile": 60.0}
    whole = preview_scale(source, true_transform, params)
    monkeypatch.setattr("napari_exo2micro.core.preview.source.WHOLE_PIXELS", 0)
    sample = preview_scale(source_of(pair), true_transform, params)
    assert sample.basis == "sample"
    for method in ("moffat", "percentile"):
        assert sample.scales[method].scale == pytest.approx(
            whole.scales[method].scale, rel=0.01
        )


def test_all_scales_that_are_asked_for(source, true_transform):
    params = {"scale_percentile": 70.0, "manual_scale": 1.42}
    found = preview_scale(source, true_transform, params)
    assert sorted(found.scales) == ["manual", "moffat", "percentile"]
    assert found.scales["manual"].scale == 1.42
    assert found.scales["percentile"].scale == pytest.approx(
        scale_at_percentile(found.statistics, 70.0).scale
    )
    without = preview_scale(source, true_transform, {})
    assert list(without.scales) == ["moffat"]
    # The statistics and the fit are those of before.
    assert without.statistics is found.statistics
    assert without.scales["moffat"] is found.scales["moffat"]


def test_stage_4_has_counted_already(task, pair):
    source = open_source(task)
    task = task.copy()
    task.set_params(manual_scale=1.3, scale_percentile=80.0)
    counted = stored_statistics(task, source)
    found = preview_scale(source, task.transform(3), task.params, statistics=counted)
    assert found.basis == "stage 4"
    assert found.statistics is counted
    assert found.scales["moffat"].scale == task.copy().run()["scale_estimate"]
    assert stored_statistics(task, source) is counted
    # Stage 4 has estimated with the offset taken off, not without.
    assert found.scales["moffat"].fit is None
    plain = preview_scale(
        source,
        task.transform(3),
        {**task.params, "offset_correction": False},
        statistics=counted,
    )
    assert plain.scales["moffat"].fit is not None


def test_statistics_of_another_alignment_are_not_used(task):
    other = task.copy()
    other.set_params(interpolation="linear")
    assert stored_statistics(other, open_source(other)) is None


def test_images_that_do_not_meet_have_no_scale(source):
    away = Transform.similarity(translation=(5000.0, 0.0))
    found = preview_scale(source, away, {"manual_scale": 1.2})
    assert found.verdict.state == "failed"
    assert "hardly overlap" in found.verdict.reason
    assert found.basis == "nothing"
    assert list(found.scales) == ["manual"]


def test_a_sample_of_images_that_do_not_meet(pair, monkeypatch, source_of):
    monkeypatch.setattr(source, "WHOLE_PIXELS", 0)
    away = Transform.similarity(translation=(0.0, 4000.0))
    assert preview_scale(source_of(pair), away, {}).verdict.state == "failed"


def test_an_empty_image_is_told(pair):
    source = PreviewSource(np.zeros_like(pair.post), pair.pre)
    found = preview_scale(source, Transform.identity(), {})
    assert found.verdict.state == "failed"
    assert found.scales == {}


def test_it_stops_when_asked(pair, true_transform, source_of):
    source = source_of(pair)
    stopping = Monitor(should_stop=lambda: True)
    with pytest.raises(CancelledError):
        preview_scale(source, true_transform, {}, monitor=stopping)
    assert preview_scale(source, true_transform, {}).verdict.state == "ok"
