"""What the pages on extending register is in the window: tabs, layers, plots, lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtWidgets import QLabel, QWidget

from napari_exo2micro.core.base import Monitor
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    unregister_stage,
)
from napari_exo2micro.core.photometry import SCALE_METHODS
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.plotting import DIAGNOSTICS
from napari_exo2micro.plugin.compare.dock import DIFFERENCE, picture_specs
from napari_exo2micro.plugin.layers.presenter import presenter_of
from napari_exo2micro.plugin.layers.scene import place_layers
from napari_exo2micro.plugin.layers.stages import stage_specs
from napari_exo2micro.plugin.session.session import Session
from snippets import code_blocks

pytestmark = pytest.mark.usefixtures("plain_pictures")

PAGES = Path(__file__).parents[2] / "docs" / "extending"


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[Callable[[str], SampleDye]]:
    """Do what a page says up to where it takes everything out again."""

    def follow(name: str) -> SampleDye:
        names: dict[str, Any] = {"__name__": "__main__"}
        with contextlib.chdir(tmp_path):
            for block in code_blocks(PAGES / f"{name}.md"):
                if block.language != "python" or "unregister_" in block.text:
                    continue
                exec(compile(block.text, f"{name}.md", "exec"), names)
        task = SampleDye(
            "Rock", "SybrGld", tmp_path / "processed", raw_dir=tmp_path / "raw"
        )
        task.set_params(**names["task"].non_default_params())
        return task

    yield follow
    for registry in (SCALE_METHODS, PARAMETER_REGISTRY, DIAGNOSTICS):
        for key in registry.added:
            registry.remove(key)
    for number in sorted(STAGES.added, reverse=True):
        unregister_stage(number)


@pytest.fixture
def opened(session: Session, qtbot: Any) -> Callable[[SampleDye], None]:
    def choose(task: SampleDye) -> None:
        session.set_params(**task.non_default_params())
        session.set_source(
            raw_dir=task.raw_dir,
            output_dir=task.output_dir,
            sample=task.sample,
            dye=task.dye,
        )
        # What was read before the stage was registered is not meant.
        qtbot.waitUntil(lambda: not session.jobs.is_working, timeout=300_000)
        assert session.status

    return choose


def test_a_stage_has_a_tab_lines_layers_and_is_compared(
    followed, opened, session: Session, viewer: ViewerModel, qtbot: Any
) -> None:
    from napari_exo2micro.plugin.workbench.workbench import Workbench

    task = followed("stages")
    opened(task)
    bench = Workbench(viewer)
    qtbot.addWidget(bench)
    bench.tabs.setCurrentIndex(5)
    assert bench.tabs.tabText(5).endswith("Colonies")
    form = bench.forms[6]
    assert form.findChild(QWidget, "colony_gap") is not None
    lines = [line for line in session.status if line.stage == 6]
    assert [line.name for line in lines] == ["labels"]

    (layer,) = place_layers(viewer, stage_specs(task, 6))
    assert isinstance(layer, Labels)
    assert layer.name == "Rock SybrGld: colonies, labels"
    assert layer.data.max() == task._load_image(6, "labels").max() > 5
    (again,) = place_layers(viewer, stage_specs(task, 6))
    assert again.name == layer.name
    assert sum(isinstance(one, Labels) for one in viewer.layers) == 1

    # Made with another parameter it is a set of its own.
    other = SampleDye(task.sample, task.dye, task.output_dir, raw_dir=task.raw_dir)
    other.set_params(**{**task.non_default_params(), "colony_gap": 60})
    other.run(from_stage=6)
    (new,) = presenter_of(viewer).open(stage_specs(other, 6))
    assert new.about["apart"].endswith(": 60")
    assert presenter_of(viewer).open(stage_specs(task, 6)) == []

    pictures = picture_specs(task, "colony_gap", [8, 60], DIFFERENCE, Monitor())
    counts = [int(spec.data.max()) for (spec,) in pictures]
    assert counts[0] > counts[1] > 0


def test_a_plot_is_in_the_dock_with_its_caption(
    followed, opened, session: Session, viewer: ViewerModel, qtbot: Any
) -> None:
    from napari_exo2micro.core.pipeline import available_figures, draw_figure

    task = followed("plots")
    entry = next(e for e in available_figures(task) if e.name == "row_profile")
    assert (entry.title, entry.state) == ("Profile of the rows", "ready")
    assert entry.caption.startswith("How bright each row is")
    figure = draw_figure(task, "row_profile")
    (axes,) = figure.axes
    assert "Rock SybrGld" in axes.get_title()
    assert len(axes.get_lines()) == 3

    from napari_exo2micro.plugin.diagnostics.dock import DiagnosticsDock, PlotList

    opened(task)
    dock = DiagnosticsDock(viewer)
    qtbot.addWidget(dock)
    dock.show()
    plots = dock.findChild(PlotList, "plots")

    def listed() -> list[str]:
        return [plots.item(row).text() for row in range(plots.count())]

    qtbot.waitUntil(
        lambda: any("Profile of the" in text for text in listed()), timeout=300_000
    )
    plots.choose("row_profile")
    caption = dock.findChild(QLabel, "caption")
    qtbot.waitUntil(
        lambda: caption.text().startswith("How bright each row is"), timeout=300_000
    )


def test_a_scale_has_a_layer_and_a_line(followed, viewer: ViewerModel) -> None:
    from napari_exo2micro.core.preview import open_source, preview_scale, ratio_curve

    task = followed("scales")
    layers = place_layers(viewer, stage_specs(task, 4))
    names = [layer.name for layer in layers if isinstance(layer, Image)]
    assert any("× pre (median)" in name for name in names)
    assert any(name.endswith("difference median") for name in names)
    source = open_source(task)
    found = preview_scale(source, task.transform(3), task.params)
    stored = task.result()["scales"]["median"]["value"]
    assert found.scales["median"].scale == pytest.approx(stored, rel=0.02)
    lines = {line.method: line for line in ratio_curve(source, found).lines}
    assert list(lines) == ["moffat", "median"]
    assert lines["median"].colour == "#3366ff"
