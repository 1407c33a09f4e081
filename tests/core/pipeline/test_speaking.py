"""What a script, a terminal and a notebook are shown of runs and results."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbclient import NotebookClient

from napari_exo2micro import core as e2m
from napari_exo2micro.core.simulate import simulate_section, write_pair

RUN = """
    import threading
    from napari_exo2micro import core as e2m
    def task():
        made = e2m.SampleDye("CD070", "DAPI")
        made.set_params(pad=20)
        return made
    asked = {"to_stage": 1, "force": True}
    batch = {"params": {"pad": 20}, **asked}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the raw images of two small pairs."""
    folder = tmp_path_factory.mktemp("speaking")
    pair = simulate_section((300, 320), seed=5, angle_deg=2.0, shift=(6.0, -4.0))
    for dye in ("DAPI", "SybrGld"):
        write_pair(pair, folder / "raw", "CD070", dye)
    return folder


def program(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(RUN) + textwrap.dedent(code)]


@pytest.fixture
def in_terminal(place: Path) -> Callable[[str], str]:
    """What a program writes to a terminal, without the terminal's own signs."""
    pty = pytest.importorskip("pty")

    def run(code: str) -> str:
        ours, theirs = pty.openpty()
        known = {"TERM": "xterm-256color", "COLUMNS": "100"}
        with subprocess.Popen(
            program(code),
            cwd=place,
            env=os.environ | known,
            **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        ) as started:
            os.close(theirs)
            pieces = []
            with contextlib.suppress(OSError):  # Linux's way to say that it has ended
                while piece := os.read(ours, 65536):
                    pieces.append(piece)
        os.close(ours)
        text = b"".join(pieces).decode()
        assert started.returncode == 0, text
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    return run


def test_a_run_shows_its_progress_in_a_terminal(
    in_terminal: Callable[[str], str],
) -> None:
    text = in_terminal("task().run(**asked)")
    assert "CD070 DAPI" in text
    assert "100%" in text
    assert "stage 1: padding" in text


def test_nothing_is_shown_where_it_was_not_asked_for(
    in_terminal: Callable[[str], str],
) -> None:
    text = in_terminal(
        """
        task().run(progress=False, **asked)
        print("monitor")
        task().run(monitor=e2m.Monitor(), **asked)
        print("batch")
        e2m.run_batch(progress=False, **batch)
        e2m.run_batch(monitor=e2m.Monitor(), **batch)
        print("comparison")
        task().compare("pad", [20, 30], to_stage=1, progress=False)
        print("thread")
        thread = threading.Thread(target=lambda: e2m.run_batch(**batch))
        thread.start()
        thread.join()
        """
    )
    assert text.split() == ["monitor", "batch", "comparison", "thread"]


def test_a_batch_ends_with_its_table_in_a_terminal(
    in_terminal: Callable[[str], str],
) -> None:
    text = in_terminal("e2m.run_batch(**batch)")
    assert "batch of 2" in text
    table = text[text.rindex("accuracy px") :]
    assert re.findall(r"CD070 +(\w+) +(\w+)", table) == [
        ("DAPI", "done"),
        ("SybrGld", "done"),
    ]
    assert table.rstrip().endswith("2 tasks: 2 done")


def test_a_comparison_shows_its_progress_in_a_terminal(
    in_terminal: Callable[[str], str],
) -> None:
    text = in_terminal("task().compare('pad', [20, 30], to_stage=1)")
    assert "2 values of pad" in text


def test_a_run_within_a_run_is_not_shown_beside_it(
    in_terminal: Callable[[str], str],
) -> None:
    text = in_terminal(
        """
        class Both(e2m.SampleDye):
            def _run_stage_1_padding(self, force=False):
                super()._run_stage_1_padding(force)
                other = e2m.SampleDye("CD070", "SybrGld")
                other.set_params(pad=20)
                other.run(to_stage=1, force=True)
        Both("CD070", "DAPI").run(**asked)
        """
    )
    assert "CD070 DAPI" in text
    assert "SybrGld" not in text


def test_files_and_pipes_are_left_alone_and_rich_is_not_loaded(place: Path) -> None:
    code = "task().run(**asked); e2m.run_batch(**batch)\n"
    code += "import sys; assert 'rich' not in sys.modules"
    done = subprocess.run(
        program(code), cwd=place, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_only_the_terminal_of_two_streams_is_written_to(place: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        program("e2m.run_batch(**batch)"),
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    assert done.stdout == b""
    assert b"batch of 2" in os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)


# Notebooks ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cells(place: Path) -> Callable[..., list[list[Any]]]:
    """Runs the cells of a notebook, and returns the outputs of each."""

    def run(*codes: str) -> list[list[Any]]:
        made = [nbformat.v4.new_code_cell(textwrap.dedent(code)) for code in codes]
        notebook = nbformat.v4.new_notebook(cells=made)
        NotebookClient(
            notebook,
            timeout=120,
            kernel_name="python3",
            resources={"metadata": {"path": str(place)}},
        ).execute()
        return [cell.outputs for cell in notebook.cells]

    return run


def shown(outputs: list[Any], kind: str) -> list[str]:
    """Return what was displayed or returned in one form."""
    data = [it.get("data", {}) for it in outputs]
    return ["".join(it[kind]) for it in data if kind in it]


@pytest.mark.slow
def test_a_notebook_shows_progress_check_list_table_and_figure_once(
    cells: Callable[..., list[list[Any]]],
) -> None:
    outputs = cells(
        RUN,
        "task().run(**asked)",
        "task()",
        "task().status()",
        "e2m.run_batch(**batch)",
        "results = e2m.run_batch(**batch)",
        "results",
        "post = task()._load_image(1, 'post')",
        "e2m.plot_pre_post_histograms(post, post)",
        "e2m.plot_zoom(post, row=10, col=10, size=40)",
        "import matplotlib.pyplot\ne2m.plot_pre_post_histograms(post, post)",
        "figure = e2m.plot_pre_post_histograms(post, post)",
        """
            from napari_exo2micro.core.plotting.registry import draw_diagnostic
            def theirs(post_im, pre_im):
                return matplotlib.pyplot.subplots()[0]
            plot = e2m.Diagnostic("theirs", theirs, "Theirs.")
            draw_diagnostic(plot, post, post, e2m.PlotContext())
        """,
        "task().run(progress=False, **asked);",
        "e2m.run_batch(progress=False, **batch);",
        "e2m.run_batch(progress=False, **batch)",
        "task().transform(1)",
    )
    assert not any(it.output_type == "stream" for cell in outputs for it in cell)
    _, run, again, status, batch, kept, later, _, plot, zoom, pyplot, *rest = outputs

    bar, result = shown(run, "text/html")
    assert "CD070 DAPI" in bar
    assert 'value="1.000"' in bar
    assert "<td" in result
    (own,) = shown(again, "text/html")
    assert "1 of 5 stages valid" in own
    assert f'<span style="color: {e2m.State.VALID.colour}">valid</span>' in own
    assert shown(again, "text/plain") == [
        "SampleDye('CD070', 'DAPI', output_dir='processed', 1 of 5 stages valid)"
    ]
    (listed,) = shown(status, "text/html")
    assert listed.count(e2m.State.MISSING.word) >= 3

    # A line of progress and the table, whether or not the cell keeps the results.
    for one in (batch, kept):
        bar, table = shown(one, "text/html")
        assert "batch of 2" in bar
        assert table.count("<tr>") == 3
        assert "2 tasks: 2 done" in table
    assert shown(later, "text/html") == [table]

    silent, theirs, no_run, no_batch, table_only, transform = rest
    for figure in (plot, zoom, pyplot, theirs):
        assert len(figure) == len(shown(figure, "image/png")) == 1
    assert (silent, no_run, no_batch) == ([], [], [])
    (table,) = shown(table_only, "text/html")
    assert "2 tasks: 2 done" in table
    assert "magnification" in shown(transform, "text/html")[0]


# Results by themselves ----------------------------------------------------------------


@pytest.fixture
def task(place: Path, tmp_path: Path) -> e2m.SampleDye:
    made = e2m.SampleDye("CD070", "DAPI", tmp_path / "out", place / "raw")
    made.set_params(pad=20)
    return made


def test_a_sample_and_dye_says_how_many_stages_are_valid(task: e2m.SampleDye) -> None:
    where = f"output_dir={str(task.output_dir)!r}"
    assert repr(task) == f"SampleDye('CD070', 'DAPI', {where}, 0 of 5 stages valid)"
    assert not task.output_dir.exists()
    task.run(to_stage=1)
    assert "1 of 5 stages valid" in repr(task)
    lines = repr(task.status()).splitlines()
    assert lines[0].split() == ["stage", "name", "kind", "state", "why"]
    assert lines[2].split() == ["1", "post", "checkpoint", "valid"]
    assert isinstance(task.status(), list)
    gone = e2m.SampleDye("CD070", "Cy5", task.output_dir, task.raw_dir / "none")
    assert "0 of 5 stages valid" in repr(gone)
    assert "Cy5" in gone._repr_html_()


def test_results_say_in_one_line_what_they_are() -> None:
    verdict = e2m.Verdict("fell_back", "no\x1b[2J texture", {"accuracy_px": 0.25})
    assert repr(verdict) == r"Verdict(fell back: no\x1b[2J texture, accuracy 0.25 px)"
    assert repr(e2m.Verdict("ok")) == "Verdict(ok)"
    result = e2m.RunResult(
        "CD070", "DAPI", e2m.State.DEGRADED, "why", verdicts={3: verdict}, seconds=2.0
    )
    line = "RunResult('CD070', 'DAPI', degraded: why, accuracy 0.25 px, 2.0 s)"
    assert repr(result) == line
    move = e2m.Transform.similarity(scale=1.5, translation=(5.0, 7.25))
    assert repr(move) == "Transform([[1.5, 0, 5], [0, 1.5, 7.25], [0, 0, 1]])"
    summary = e2m.summarise_batch([result])
    assert repr(summary).startswith("1 task: 1 degraded")
    assert "why" in repr(summary)


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "a & b", '"><img src=x'])
def test_html_is_escaped(evil: str) -> None:
    verdict = e2m.Verdict("failed", evil)
    result = e2m.RunResult(
        evil, evil, e2m.State.FAILED, evil, verdicts={3: verdict}, warnings=(evil,)
    )
    for it in (result, verdict, e2m.summarise_batch([result])):
        html = it._repr_html_()
        assert evil not in html
        assert escape(evil) in html


def test_a_figure_is_a_picture_and_opens_nothing() -> None:
    image = np.arange(10_000, dtype=np.uint8).reshape(100, 100)
    figure = e2m.plot_pre_post_histograms(image, image)
    assert figure._repr_png_().startswith(b"\x89PNG")
    drawn = e2m.plot_zoom(image, row=10, col=10, size=40)
    assert isinstance(drawn[0], Figure)
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_functions_take_a_matrix_for_a_transform() -> None:
    pair = simulate_section((600, 700), seed=1, shift=(3.0, -2.0))
    result = e2m.refine_interior_ecc(pair.post, pair.pre, np.eye(3))
    assert result.verdict.state == "ok"
    assert np.abs(result.transform([[300, 300]]) - [303, 298]).max() < 0.2
    assert repr(result).startswith("InteriorAlignment('tiles', Verdict(ok, accuracy")
    shift = [[1, 0, 3], [0, 1, -2], [0, 0, 1]]
    moved = e2m.warp_window(pair.pre, shift, 0, 50, 0, 60, "linear")
    same = e2m.warp_window(pair.pre, e2m.Transform(shift), 0, 50, 0, 60, "linear")
    np.testing.assert_array_equal(moved, same)
    context = e2m.PlotContext(final_transform=shift)
    assert context.final_transform == e2m.Transform(shift)
    for wrong in (np.eye(2), np.zeros((3, 3)), None, "identity", [[1, 2], [3]]):
        with pytest.raises(e2m.ParameterError, match="3 x 3 matrix, post to pre"):
            e2m.refine_interior_sift(pair.post, pair.pre, wrong)
