"""Raw files: put where they belong, and used in every way that there is."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from malformed.case import Place, Told
from malformed.tiffs import IMAGE
from napari_exo2micro import core as e2m
from napari_exo2micro.cli import main
from napari_exo2micro.core.base import Exo2MicroError
from napari_exo2micro.core.raw import open_lazy_pair

__all__ = ["PAD", "both", "command_line", "each_side", "post_and_pre", "use_pair"]

PAD = 8


def post_and_pre(place: Place) -> tuple[Path, Path]:
    """Return the two paths of the pair, in a folder that exists."""
    folder = place.raw / "Rock"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "Rock_Post_DAPI.tif", folder / "Rock_Pre_DAPI.tif"


def both(
    content: bytes | Callable[[], bytes], size: int = 0
) -> Callable[[Place], None]:
    """Return what writes the same bytes as post and pre, sparse up to a size."""

    def make(place: Place) -> None:
        data = content() if callable(content) else content
        for path in post_and_pre(place):
            path.write_bytes(data)
            if size:
                with path.open("r+b") as file:
                    file.truncate(size)

    return make


def each_side(make_file: Callable[[Path], object]) -> Callable[[Place], None]:
    """Return what makes post in a way of its own; pre is sound."""

    def make(place: Place) -> None:
        post, pre = post_and_pre(place)
        tifffile.imwrite(pre, IMAGE)
        make_file(post)

    return make


def command_line(*words: str) -> tuple[int, str]:
    """Run the command line here; its exit code and what it said."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main(words)
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    raise AssertionError("the command line always leaves with an exit code")


def use_pair(place: Place, expected: NDArray[Any] | None = IMAGE) -> Told:
    """Load, survey, plan, run and look at the pair; all must agree."""
    refused = None
    try:
        post, pre, _, _ = e2m.load_image_pair("Rock", "DAPI", place.raw)
    except Exo2MicroError as error:
        refused = error
    else:
        for image in (post, pre):
            assert image.shape == IMAGE.shape
            assert expected is None or np.array_equal(image, expected)
    with contextlib.suppress(Exo2MicroError):
        e2m.survey_raw_channels(place.raw)
    with contextlib.suppress(Exo2MicroError):
        e2m.discover_tasks(raw_dir=place.raw)
    with contextlib.suppress(Exo2MicroError):
        shown = open_lazy_pair(*post_and_pre(place), on_error=lambda error: None)
        for levels in (shown.post, shown.pre):
            np.asarray(levels.levels()[-1][0:8, 0:8])
    _run(place, refused)
    if refused is not None:
        assert "\n" not in str(refused), f"more than one line: {refused}"
        raise refused
    return "used", ""


def _run(place: Place, refused: Exo2MicroError | None) -> None:
    task = e2m.SampleDye("Rock", "DAPI", place.out, place.raw)
    task.set_params(pad=PAD)
    task.status()
    ended = ""
    try:
        task.run(to_stage=1)
    except Exo2MicroError as error:
        ended = str(error)
    assert bool(ended) == (refused is not None), f"run: {ended!r}, load: {refused!r}"
    states = {line.state for line in task.status() if line.stage == 1}
    assert states == ({"missing"} if refused else {"valid"})
    code, said = command_line(
        *("batch", str(place.raw), str(place.out), "--pad", str(PAD)),
        *("--to-stage", "1", "--executor", "serial", "--lenient"),
    )
    assert "fault of exo2micro" not in said, said
    assert "Traceback" not in said, said
    assert code in ((1, 2) if refused else (0,)), f"exit code {code}: {said}"
