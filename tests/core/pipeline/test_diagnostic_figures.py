"""Plots drawn from stored results, and what a place on a heat map means."""

import shutil
import threading

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from napari_exo2micro.core.base import (
    CancelledError,
    CheckpointError,
    Monitor,
    OutputError,
    ParameterError,
)
from napari_exo2micro.core.photometry.scale import manual_scale
from napari_exo2micro.core.pipeline import SampleDye, available_figures, draw_figure
from napari_exo2micro.core.pipeline.difference import find_aligned_pair
from napari_exo2micro.core.pipeline.figures import provisional_scale
from napari_exo2micro.core.plotting import (
    DIAGNOSTICS,
    plot_excess_heatmap,
    plot_ratio_histogram,
    register_diagnostic,
    save_figure,
    scale_at,
    scale_line,
    unregister_diagnostic,
)

PAD = 60


def task_for(raw_dir, output_dir, **params):
    task = SampleDye("Rock", "DAPI", output_dir, raw_dir, "tiff")
    task.set_params(pad=PAD, **params)
    return task


@pytest.fixture(scope="module")
def done(tmp_path_factory, shared_raw_dir):
    """A finished run with all scales; not to be changed by tests."""
    task = task_for(
        shared_raw_dir,
        tmp_path_factory.mktemp("done"),
        manual_scale=1.3,
        scale_percentile=40.0,
    )
    task.run()
    return task


@pytest.fixture
def finished(done, tmp_path, shared_raw_dir):
    """A finished run of the test's own."""
    shutil.copytree(done.output_dir, tmp_path / "out")
    task = task_for(shared_raw_dir, tmp_path / "out")
    task.set_params(**done.params)
    return task


def states(task):
    return {entry.name: entry.state for entry in available_figures(task)}


def pixels(figure, tmp_path):
    save_figure(figure, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as picture:
        return np.asarray(picture.convert("RGB"))


def test_before_any_run_every_plot_says_what_to_run(shared_raw_dir, tmp_path):
    task = task_for(shared_raw_dir, tmp_path / "out")
    entries = available_figures(task)
    assert {entry.name for entry in entries} == set(DIAGNOSTICS)
    stages = [entry.stage for entry in entries]
    assert stages == [2, 2, 3] + [4] * (len(entries) - 6) + [5, 5, 5]
    for entry in entries:
        assert entry.state == "missing"
        assert entry.note.startswith(f"Stage {entry.stage} (")
        assert "run it first" in entry.note
    with pytest.raises(CheckpointError, match=r"Stage 4 .* run it first"):
        draw_figure(task, "ratio_histogram")


def test_stage_2_plots_need_stage_2_only(shared_raw_dir, tmp_path, pair):
    task = task_for(shared_raw_dir, tmp_path / "out")
    task.run(to_stage=2)
    ready = {entry.name: entry for entry in available_figures(task)}
    assert [n for n, e in ready.items() if e.state == "ready"] == [
        "registration",
        "fine_alignment",
    ]
    assert "stage 3 has no valid result" in ready["registration"].note
    words = figure_words(draw_figure(task, "fine_alignment"))
    assert "Stage 3 has no result yet" in words
    assert "After the boundary" in figure_words(draw_figure(task, "registration"))
    scale = provisional_scale(find_aligned_pair(task.store))
    assert scale.scale == pytest.approx(pair.truth.gain, rel=0.03)


def figure_words(figure):
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return " ".join(text.get_text() for text in texts).replace("\n", " ")


def test_drawn_from_stored_results_they_equal_the_files_of_the_run(done, tmp_path):
    entries = available_figures(done)
    assert {entry.state for entry in entries} == {"ready"}
    assert {"difference_image_manual", "difference_image_percentile_p40"} < {
        entry.name for entry in entries
    }
    for entry in entries:
        figure = draw_figure(done, entry.name)
        with Image.open(done._check_path(entry.name)) as written:
            expected = np.asarray(written.convert("RGB"))
        assert np.array_equal(pixels(figure, tmp_path), expected), entry.name


def test_nothing_is_written_or_run(done):
    def files():
        return {path: path.stat().st_mtime_ns for path in done.output_dir.rglob("*.*")}

    before = files()
    for entry in available_figures(done):
        draw_figure(done, entry.name)
    assert files() == before


def test_every_entry_has_words_for_its_reader(done):
    entries = available_figures(done)
    titles = [entry.title for entry in entries]
    assert len(set(titles)) == len(titles)
    assert "Difference image, manual scale" in titles
    assert "Difference image, percentile 40" in titles
    assert all(entry.caption and entry.good and entry.bad for entry in entries)


def test_plots_of_others_are_listed_and_drawn(done):
    asked = {}

    def plot(post_im, pre_im, *, context):
        asked.update(
            stage=context.aligned_stage,
            statistics=context.statistics,
            scale=context.scale,
        )
        return Figure()

    register_diagnostic("late", plot, "Of stage 4.")
    register_diagnostic("early", plot, "Of stage 2.", stage=2, title="Mine, early")
    try:
        titles = {entry.name: entry.title for entry in available_figures(done)}
        assert list(titles)[2] == "early"
        assert (titles["early"], titles["late"]) == ("Mine, early", "Late")
        for name in ("early", "late"):
            assert isinstance(draw_figure(done, name), Figure)
            assert asked["stage"] == 3
            assert asked["statistics"] is not None
            assert asked["scale"] == done.result()["scale_estimate"]
    finally:
        unregister_diagnostic("late")
        unregister_diagnostic("early")


def test_the_function_of_others_that_fails_is_named(done):
    register_diagnostic("mine", lambda post_im, pre_im: 1 / 0, "Fails.")
    try:
        with pytest.raises(OutputError, match="'mine' could not be drawn"):
            draw_figure(done, "mine")
    finally:
        unregister_diagnostic("mine")


def test_a_plot_that_raises_is_told_and_the_run_goes_on(finished):
    register_diagnostic("mine", lambda post_im, pre_im: 1 / 0, "Fails.")
    reason = "the plot 'mine' could not be drawn (ZeroDivisionError: division by zero)"
    try:
        result = finished.run()
        assert result["status"] == "complete"
        assert result["warnings"][-1].startswith(reason)
        assert finished.result()["warnings"] == result["warnings"]
        lines = {line.name: line for line in finished.status()}
        assert lines["mine"].state == "failed"
        assert lines["mine"].reason.startswith(reason)
        assert lines["difference"].state == lines["registration"].state == "valid"
        entry = next(e for e in available_figures(finished) if e.name == "mine")
        assert entry.state == "ready"
        assert entry.note.startswith(reason)
        unregister_diagnostic("mine")
        register_diagnostic("mine", lambda post_im, pre_im: Figure(), "Corrected.")
        assert not any("'mine'" in text for text in finished.run()["warnings"])
        assert {line.state for line in finished.status()} == {"valid"}
    finally:
        unregister_diagnostic("mine")


def test_a_stage_after_which_nothing_is_drawn_is_refused():
    with pytest.raises(ParameterError, match="needs a stage from 2 to 5"):
        register_diagnostic("mine", lambda post_im, pre_im: None, "M.", stage=1)


def test_later_parameters_leave_plots_of_stage_2_ready(finished):
    finished.set_params(interior_min_inlier_ratio=0.35)
    found = states(finished)
    assert found["registration"] == found["fine_alignment"] == "ready"
    assert found["excess_heatmap"] == "missing"


def test_a_stale_result_tells_why_and_what_to_do(finished):
    path = finished._tiff_path(4, "difference")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    entry = next(e for e in available_figures(finished) if e.name == "difference_image")
    assert entry.state == "stale"
    assert path.name in entry.note
    assert entry.note.endswith("run it again.")


def test_lost_statistics_ask_for_stage_4(finished):
    for path in finished.output_dir.rglob("04_difference_statistics*"):
        path.write_bytes(b"cut off")
    entries = {entry.name: entry for entry in available_figures(finished)}
    assert entries["ratio_histogram"].state == "stale"
    assert "run stage 4 again" in entries["ratio_histogram"].note
    assert entries["registration"].state == "ready"
    draw_figure(finished, "registration")


def test_an_unknown_plot_is_named_with_those_there_are(done):
    with pytest.raises(ParameterError, match=r"'nothing'; there are: registration"):
        draw_figure(done, "nothing")


def test_drawing_can_be_stopped(done):
    with pytest.raises(CancelledError):
        draw_figure(done, "registration", monitor=Monitor(should_stop=lambda: True))


def test_threads_draw_the_same_pictures(done, tmp_path):
    names = [entry.name for entry in available_figures(done)][:4]
    drawn = {}

    def draw(name):
        drawn[name] = draw_figure(done.copy(), name)

    threads = [threading.Thread(target=draw, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        with Image.open(done._check_path(name)) as written:
            expected = np.asarray(written.convert("RGB"))
        assert np.array_equal(pixels(drawn[name], tmp_path), expected)


# What a place on a heat map means --------------------------------------------


def heatmap(dtype=np.uint8, top=200):
    rng = np.random.default_rng(1)
    pre = rng.integers(1, top // 2, (60, 60)).astype(dtype)
    return plot_excess_heatmap(
        (1.5 * pre).astype(dtype), pre, scales=[manual_scale(1.5)]
    )


def test_a_place_means_the_ratio_of_its_levels():
    figure = heatmap()
    assert scale_at(figure, 40.0, 80.0) == pytest.approx(2.0)
    assert scale_at(figure.axes[0], 40.0, 20.0) == pytest.approx(0.5)
    assert scale_at(figure, 40.0, 80.0, offset=10.0) == pytest.approx(1.75)


def test_on_square_root_axes_levels_are_meant_not_places():
    rng = np.random.default_rng(2)
    pre = rng.integers(100, 300, (200, 200)).astype(np.uint16)
    post = (1.5 * pre).astype(np.uint16)
    post[:3] = 60_000
    figure = plot_excess_heatmap(post, pre, scales=[manual_scale(1.5)])
    assert scale_at(figure, 10.0, 20.0) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (None, 3.0),
        (3.0, None),
        (0.0, 10.0),
        (-5.0, 10.0),
        (10.0, 0.0),
        (10.0, 1e6),
        (float("nan"), 10.0),
    ],
)
def test_places_that_mean_no_scale(x, y):
    assert scale_at(heatmap(), x, y) is None


def test_an_offset_above_the_place_means_no_scale():
    assert scale_at(heatmap(), 40.0, 8.0, offset=9.0) is None


def test_other_plots_mean_no_scale():
    image = np.random.default_rng(1).integers(1, 90, (60, 60)).astype(np.uint8)
    figure = plot_ratio_histogram(image, image, scales=[manual_scale(1.5)])
    assert scale_at(figure, 0.5, 0.5) is None
    assert scale_at(figure.axes[0], 0.5, 0.5) is None
    assert scale_line(figure, 1.5) is None


def test_the_line_of_a_scale_runs_through_the_place_that_means_it():
    figure = heatmap()
    x, y = scale_line(figure, scale_at(figure, 30.0, 45.0))
    assert np.interp(30.0, x, y) == pytest.approx(45.0)
    x, y = scale_line(figure, 1.2, offset=4.0)
    assert y == pytest.approx(4.0 + 1.2 * x)
