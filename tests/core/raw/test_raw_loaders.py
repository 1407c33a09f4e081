"""Loaders of one's own, and the survey of what lies in a raw folder."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core.base import (
    DataWarning,
    ParameterError,
    RawDataError,
    RawFileNotFoundError,
    registry,
)
from napari_exo2micro.core.batch import Task
from napari_exo2micro.core.batch.task import run_task
from napari_exo2micro.core.parameters import RunSettings
from napari_exo2micro.core.raw import (
    get_loader,
    load_image_pair,
    loader_names,
    register_loader,
    survey_raw_channels,
    unregister_loader,
)
from napari_exo2micro.core.raw.pair import LOADERS, NamedLoader, open_image_pair


def ramp_loader(sample: str, dye: str, raw_dir: Path | str = "raw") -> Any:
    ramp = np.add.outer(np.arange(30), np.arange(40)).astype(np.uint16)
    return ramp, ramp + len(sample), None, None


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without what tests of other files have registered, and looked up anew."""
    for name in LOADERS.added:
        unregister_loader(name)
    LOADERS.look_again()
    yield
    for name in LOADERS.added:
        unregister_loader(name)
    monkeypatch.undo()
    LOADERS.look_again()


def offer(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    point = EntryPoint(name, value, "napari_exo2micro.loaders")
    monkeypatch.setattr(
        registry,
        "entry_points",
        lambda group: [point] if group == "napari_exo2micro.loaders" else [],
    )


def test_the_built_in_loader_is_the_default() -> None:
    assert get_loader() is get_loader("tiff") is load_image_pair
    assert get_loader(ramp_loader) is ramp_loader


def test_a_loader_is_used_by_name_or_as_it_is() -> None:
    assert register_loader("ramp", ramp_loader) is ramp_loader
    assert register_loader("ramp", ramp_loader) is ramp_loader
    assert loader_names() == ("bioio", "ramp", "tiff")
    for loader in ("ramp", ramp_loader):
        pair = open_image_pair("abc", "D_1", "nowhere", loader=loader)
        np.testing.assert_array_equal(pair.pre.read(), pair.post.read() + 3)


def test_an_unknown_loader_lists_the_known_ones() -> None:
    register_loader("ramp", ramp_loader)
    with pytest.raises(ParameterError, match=r"no loader 'lif'; choose .* ramp, tiff"):
        open_image_pair("S", "D", loader="lif")
    with pytest.raises(ParameterError, match="found int"):
        get_loader(3)  # type: ignore[arg-type]


def test_a_taken_name_or_something_else_is_refused() -> None:
    with pytest.raises(ParameterError, match="called 'tiff' exists already"):
        register_loader("tiff", ramp_loader)
    with pytest.raises(ParameterError, match="needs a name"):
        register_loader(" ", ramp_loader)
    with pytest.raises(ParameterError, match="must be a function"):
        register_loader("list", [])  # type: ignore[arg-type]


def test_each_task_may_bring_its_own_copy_of_a_loader(tmp_path: Path) -> None:
    def copied() -> Any:
        def load(sample: str, dye: str, raw_dir: Path | str = "raw") -> Any:
            return ramp_loader(sample, dye)

        return load

    def task(dye: str, to_stage: int = 1) -> Task:
        settings = RunSettings(
            raw_dir=tmp_path / "raw",
            output_dir=tmp_path / "processed",
            loader=NamedLoader("mine", copied()),
            params={"pad": 4},
            to_stage=to_stage,
        )
        return Task(0, "S", dye, settings)

    for dye in ("D1", "D2"):
        assert run_task(task(dye))["status"] == "complete"
        first = task(dye).open().status()[0]
        assert first.state == "valid", first  # made by the loader of this name
    assert loader_names() == ("bioio", "tiff")


def test_a_package_offers_a_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "json", "json:loads")
    assert "json" in loader_names()
    assert get_loader("json").__name__ == "loads"


def test_a_package_that_cannot_be_imported_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, "gone", "no_such_package_anywhere:load")
    with pytest.raises(ParameterError, match=r"'gone' \(no_such_package_anywhere:load"):
        get_loader("gone")


def test_what_a_loader_raises_becomes_a_typed_error_that_names_it() -> None:
    def fails(sample: str, dye: str, raw_dir: Path | str) -> Any:
        raise KeyError(dye)

    def finds_nothing(sample: str, dye: str, raw_dir: Path | str) -> Any:
        raise FileNotFoundError(sample)

    with pytest.raises(RawDataError, match=r"'fails' for sample 'S', .* KeyError"):
        open_image_pair("S", "D", loader=fails)
    with pytest.raises(RawFileNotFoundError, match="'finds_nothing' for sample 'S'"):
        open_image_pair("S", "D", loader=finds_nothing)


@pytest.mark.parametrize("result", [None, (1, 2), np.ones((30, 30))])
def test_a_loader_returns_four_things(result: Any) -> None:
    with pytest.raises(RawDataError, match=r"\(post_im, pre_im, post_path, pre_path\)"):
        open_image_pair("S", "D", loader=lambda sample, dye, raw_dir: result)


def test_names_are_checked_for_any_loader() -> None:
    with pytest.raises(ParameterError, match="path separator"):
        open_image_pair("a/b", "D", loader=ramp_loader)


def test_the_survey_reports_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "S"
    folder.mkdir()
    image = np.zeros((100, 120, 4), np.uint8)
    image[40:60, 50:70, 1] = 7
    image[0, 0] = 200  # outside of the crop
    image[..., 3] = 255
    options: dict[str, Any] = {"photometric": "rgb", "extrasamples": ["unassalpha"]}
    tifffile.imwrite(folder / "a_Post_D.tif", image, tile=(16, 16), **options)
    grey = np.full((10, 1000), 3, np.float32)
    tifffile.imwrite(folder / "b_Pre_D.tif", np.stack([grey, grey]))
    (folder / "c_Pre_E.tif").write_bytes(b"II")
    tifffile.imwrite(folder / "d_E.tif", grey)

    post, pre, broken, nameless = survey_raw_channels(tmp_path, crop=40)
    assert (post.sample, post.stain, post.dye) == ("S", "post", "D")
    assert (post.height, post.width, post.crop) == (100, 120, (40, 40))
    assert post.mode == "uint8 RGBA"
    assert [(c.name, c.maximum, c.mean, c.nonzero) for c in post.channels] == [
        ("red", 0, 0, 0),
        ("green", 7, 7 * 400 / 1600, 400),
        ("blue", 0, 0, 0),
    ]
    assert pre.mode == "float32 grey"
    assert pre.crop == (10, 40)
    assert [(c.name, c.mean, c.nonzero) for c in pre.channels] == [("grey", 3, 400)]
    assert "page 2 (1000 x 10 px); choose one with --page" in pre.problem
    assert "header is damaged" in broken.problem
    assert broken.channels == ()
    assert nameless.problem.startswith("NO STAIN MARKER")
    assert nameless.channels[0].maximum == 3


@pytest.mark.parametrize("options", [{}, {"rowsperstrip": 8}, {"tile": (16, 16)}])
def test_the_survey_reads_only_the_crop(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN outside of the crop, and damage there, are not its business."""
    folder = tmp_path / "S"
    folder.mkdir()
    image = np.arange(128 * 128, dtype=np.uint16).reshape(128, 128)
    compression = "zlib" if options else None
    tifffile.imwrite(folder / "a_Post_D.tif", image, compression=compression, **options)
    with tifffile.TiffFile(folder / "a_Post_D.tif", mode="r+b") as tif:
        first = tif.pages.first.dataoffsets[0]
        tif.filehandle.seek(first)
        tif.filehandle.write(b"\xff\xff\xff\xff")
    (survey,) = survey_raw_channels(tmp_path, ["S"], crop=32)
    crop = image[48:80, 48:80]
    assert survey.problem == ""
    assert survey.channels[0].maximum == crop.max()
    assert survey.channels[0].mean == crop.mean()


def test_the_survey_refuses_what_it_cannot_look_at(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="at least 1 px"):
        survey_raw_channels(tmp_path, crop=0)
    with pytest.raises(RawFileNotFoundError, match="no folder for sample 'T'"):
        survey_raw_channels(tmp_path, ["T"])


def test_the_survey_gives_no_python_warnings(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "S").mkdir()
    tifffile.imwrite(tmp_path / "S" / "a_Post_D.tif", np.ones((2, 20, 20)))
    survey_raw_channels(tmp_path)
    assert not [w for w in recwarn if w.category is DataWarning]
