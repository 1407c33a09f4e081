from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from napari_exo2micro.core.base import OutputError, ParameterError, registry
from napari_exo2micro.core.parameters import Verdict
from napari_exo2micro.core.plotting import (
    DIAGNOSTICS,
    Diagnostic,
    PlotContext,
    register_diagnostic,
    unregister_diagnostic,
)
from napari_exo2micro.core.plotting.registry import draw_diagnostic

IMAGE = np.random.default_rng(0).integers(1, 90, (40, 50), dtype=np.uint8)
NOTHING = PlotContext()
BUILT_IN = [
    "pre_post_heatmap",
    "excess_heatmap",
    "pre_post_histograms",
    "difference_histogram",
    "ratio_histogram",
    "difference_image",
    "registration",
    "fine_alignment",
    "error_map",
    "snr_map",
    "purity_completeness",
    "candidates",
]


def plain_plot(post_im: Any, pre_im: Any, save_path: Any = None) -> Figure:
    """Draw as the developer page asks for, with nothing but the images."""
    figure = Figure(figsize=(3, 2), dpi=100)
    figure.add_subplot().hist((post_im - 0.0 - pre_im).ravel())
    if save_path is not None:
        figure.savefig(save_path)
    return figure


WHOLE = Diagnostic("whole", plain_plot, "Whole.", "Good.", "Bad.")


@pytest.fixture
def registered() -> Iterator[Diagnostic]:
    yield register_diagnostic("my_plot", plain_plot, "A plot of mine.")
    unregister_diagnostic("my_plot")


def test_the_plots_are_there_with_words_for_a_reader() -> None:
    assert list(DIAGNOSTICS)[: len(BUILT_IN)] == BUILT_IN
    for name in BUILT_IN:
        diagnostic = DIAGNOSTICS[name]
        for sentence in (diagnostic.caption, diagnostic.good, diagnostic.bad):
            assert sentence.endswith(".")
            assert len(sentence) > 20


@pytest.mark.parametrize("name", BUILT_IN)
def test_plots_are_drawn_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.png"
    draw_diagnostic(name, IMAGE, IMAGE, NOTHING, sample="S", dye="D", save_path=path)
    with Image.open(path) as picture:
        assert picture.width > 500


def test_registered_plot_is_listed_last_and_drawn(
    registered: Diagnostic, tmp_path: Path
) -> None:
    assert list(DIAGNOSTICS)[-1] == "my_plot"
    path = tmp_path / "new" / "my_plot.png"
    draw_diagnostic(registered, IMAGE, IMAGE, PlotContext(scale=2.0), save_path=path)
    with Image.open(path) as picture:
        assert picture.size == (300, 200)


def test_unregistered_plot_is_gone() -> None:
    register_diagnostic("gone", plain_plot, "For a moment.")
    unregister_diagnostic("gone")
    assert "gone" not in DIAGNOSTICS
    for name in ("gone", "pre_post_heatmap"):
        with pytest.raises(ParameterError, match=f"'{name}' is not a diagnostic plot"):
            unregister_diagnostic(name)
    assert "pre_post_heatmap" in DIAGNOSTICS
    with pytest.raises(ParameterError, match="no diagnostic is called 'gone'"):
        draw_diagnostic("gone", IMAGE, IMAGE, NOTHING)


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", "a b", "a.png", "-x", "x" * 65, "ä", "a\n"]
)
def test_names_that_are_no_file_names_are_refused(name: str) -> None:
    with pytest.raises(ParameterError, match="becomes a file name"):
        register_diagnostic(name, plain_plot, "No.")


@pytest.mark.parametrize("name", ["registration", "Registration"])
def test_names_are_unique_whatever_their_case(name: str) -> None:
    with pytest.raises(ParameterError, match="exists already; choose another name"):
        register_diagnostic(name, plain_plot, "Again.")


def test_function_must_be_callable() -> None:
    with pytest.raises(ParameterError, match="needs a function that draws it"):
        register_diagnostic("no_function", "plot", "No.")  # type: ignore[arg-type]


def test_a_function_receives_the_context_and_the_names_that_it_takes() -> None:
    received: dict[str, Any] = {}

    def plot(post_im: Any, pre_im: Any, *, context: Any, dye: str = "") -> Figure:
        received.update(scale=context.scale, dye=dye)
        return Figure()

    context = PlotContext(scale=1.5, offset=3.0)
    own = Diagnostic("one", plot, "One.")
    draw_diagnostic(own, IMAGE, IMAGE, context, sample="S", dye="D")
    assert received == {"scale": 1.5, "dye": "D"}


def test_a_function_of_the_published_form_receives_names_and_path() -> None:
    received: dict[str, Any] = {}

    def greedy(post_im: Any, pre_im: Any, **rest: Any) -> Figure:
        received.update(rest)
        return Figure()

    def older(
        post_im: Any,
        pre_im: Any,
        scale: float = 1.0,
        sample: str = "",
        dye: str = "",
        save_path: Any = None,
    ) -> Figure:
        received.update(scale=scale, sample=sample)
        return Figure()

    context = PlotContext(scale=2.0)
    draw_diagnostic(Diagnostic("two", greedy, "Two."), IMAGE, IMAGE, context, dye="D")
    assert received == {"sample": "", "dye": "D", "save_path": None}
    received.clear()
    draw_diagnostic(Diagnostic("old", older, "Old."), IMAGE, IMAGE, context, sample="S")
    assert received == {"scale": 1.0, "sample": "S"}


def test_a_function_that_needs_anything_else_is_refused() -> None:
    def plot(post_im: Any, pre_im: Any, difference: Any, sample: str = "") -> Figure:
        raise AssertionError("never called")

    with pytest.raises(ParameterError, match=r"'needy' .* take context\.difference"):
        register_diagnostic("needy", plot, "No.")


def test_figure_that_its_function_did_not_write_is_written(tmp_path: Path) -> None:
    path = tmp_path / "lazy.png"
    path.write_bytes(b"of an earlier run")

    def plot(post_im: Any, pre_im: Any) -> Figure:
        return Figure(figsize=(2, 1), dpi=100)

    draw_diagnostic(
        Diagnostic("lazy", plot, "L."), IMAGE, IMAGE, NOTHING, save_path=path
    )
    with Image.open(path) as picture:
        assert picture.size == (200, 100)


def test_red_note_is_added_to_pictures_that_lack_it(
    registered: Diagnostic, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    context = PlotContext(verdicts={3: Verdict("failed", "nothing supports it")})
    draw_diagnostic(registered, IMAGE, IMAGE, context, save_path=path)
    with Image.open(path) as picture:
        assert picture.width == 300
        head = np.asarray(picture.convert("RGB"))[: picture.height - 200].astype(int)
    red = (head[..., 0] > 180) & (head[..., 1] < 60)
    assert red.sum() > 50
    fine = PlotContext(verdicts={3: Verdict("ok")})
    draw_diagnostic(registered, IMAGE, IMAGE, fine, save_path=path)
    with Image.open(path) as picture:
        assert picture.size == (300, 200)


def test_pyplot_figures_are_closed(tmp_path: Path) -> None:
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")

    def plot(post_im: Any, pre_im: Any, save_path: Any = None) -> Figure:
        figure, axes = pyplot.subplots()
        axes.imshow(post_im)
        figure.savefig(save_path)
        return figure

    draw_diagnostic(
        Diagnostic("open", plot, "O."),
        IMAGE,
        IMAGE,
        NOTHING,
        save_path=tmp_path / "a.png",
    )
    assert pyplot.get_fignums() == []


def test_failing_functions_are_named() -> None:
    def broken(post_im: Any, pre_im: Any) -> Figure:
        raise KeyError("oops")

    def nothing(post_im: Any, pre_im: Any) -> None:
        return None

    with pytest.raises(OutputError, match=r"'bad' could not be drawn \(KeyError"):
        draw_diagnostic(Diagnostic("bad", broken, "B."), IMAGE, IMAGE, NOTHING)
    with pytest.raises(OutputError, match="should return a matplotlib Figure"):
        draw_diagnostic(Diagnostic("none", nothing, "N."), IMAGE, IMAGE, NOTHING)


def test_own_errors_pass_unchanged(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        draw_diagnostic(
            "registration", IMAGE, IMAGE, NOTHING, save_path=tmp_path / "file" / "a.png"
        )


def test_a_package_offers_a_function_or_a_whole_diagnostic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [
        EntryPoint(name, f"{__name__}:{value}", DIAGNOSTICS.group)
        for name, value in (("any", "WHOLE"), ("theirs", "plain_plot"))
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    DIAGNOSTICS.look_again()
    try:
        made = DIAGNOSTICS["theirs"]
        assert (made.name, made.function) == ("theirs", plain_plot)
        assert made.caption.startswith("Draw as the developer page asks")
        assert DIAGNOSTICS["whole"] is WHOLE
    finally:
        monkeypatch.undo()
        DIAGNOSTICS.look_again()


def test_a_notebook_shows_the_figure_of_somebody_elses_plot() -> None:
    plot = Diagnostic("theirs", lambda post_im, pre_im: Figure(), "Theirs.")
    figure = draw_diagnostic(plot, IMAGE, IMAGE, NOTHING)
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
