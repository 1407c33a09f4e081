"""Opening pairs and results: what is for us, and which layers it gives."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from napari.layers import Image
from napari.utils.notifications import notification_manager
from npe2 import PluginManager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QPushButton, QTreeWidget

from napari_exo2micro.core import raw, store
from napari_exo2micro.core.base import CheckpointError, RawDataError
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.raw.lazy import RawLevels
from napari_exo2micro.core.raw.pair import open_image_pair
from napari_exo2micro.plugin.files import opening
from napari_exo2micro.plugin.files.opening import set_chooser
from napari_exo2micro.plugin.files.reader import get_reader
from napari_exo2micro.plugin.layers.layers import about
from napari_exo2micro.plugin.session.session import Session
from zarrs import write_ome_zarr

OURS = "napari-exo2micro"
LONG = 300_000


@pytest.fixture(autouse=True)
def plugins() -> None:
    """Let napari know its plugins, as it does when it starts."""
    PluginManager.instance().discover()


@pytest.fixture
def answers():
    """What the chooser was asked; it answers with the number in `answers.number`."""

    class Answers(list):
        number: int | None = 0

    asked = Answers()

    def answer(question, headings, choices):
        asked.append((question, headings, choices))
        return asked.number

    set_chooser(answer)
    yield asked
    set_chooser(None)


def files_of(raw_dir: Path) -> tuple[Path, Path]:
    folder = raw_dir / "Rock"
    return folder / "Rock_PostStain_DAPI.tif", folder / "Rock_PreStain_DAPI.tif"


def roles(viewer) -> list[str]:
    return [about(layer).get("role") for layer in viewer.layers]


def full(layer):
    return np.asarray(layer.data[0] if layer.multiscale else layer.data)


def assert_raw_pair(viewer, raw_dir: Path) -> None:
    """Check that the viewer shows the pair, once and as it looks for both."""
    post_path, pre_path = files_of(raw_dir)
    truth = open_image_pair("Rock", "DAPI", raw_dir)
    pre, post = viewer.layers
    for layer, role, path, colour, image in (
        (pre, "pre", pre_path, "magenta", truth.pre),
        (post, "post", post_path, "green", truth.post),
    ):
        known = about(layer)
        assert known["role"] == role
        assert known["paths"] == [str(path)]
        assert (known["sample"], known["dye"], known["stage"]) == ("Rock", "DAPI", 0)
        assert known["raw_dir"] == str(raw_dir)
        assert known["parameters"] == {}
        assert layer.colormap.name == colour
        assert layer.blending == "additive"
        assert tuple(layer.translate) == (0.0, 0.0)
        np.testing.assert_array_equal(full(layer), image.read())


# Raw pairs ----------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_one_file_opens_the_pair(viewer, shared_raw_dir, index):
    viewer.open(files_of(shared_raw_dir)[index], plugin=OURS)
    assert_raw_pair(viewer, shared_raw_dir)


@pytest.mark.parametrize("which", ["image", "sample", "raw folder"])
def test_a_folder_that_is_an_image_opens_the_pair(viewer, tmp_path, which):
    """OME-Zarr: a folder is one image of the pair."""
    rows, columns = np.indices((64, 80))
    folder = tmp_path / "raw" / "Rock"
    paths = [folder / f"Rock_{side}_DAPI.ome.zarr" for side in ("Pre", "Post")]
    images = [(rows * columns + side).astype(np.uint16) for side in (1, 2)]
    for path, image in zip(paths, images, strict=True):
        write_ome_zarr(path, image)
    places = {"image": paths[1], "sample": folder, "raw folder": tmp_path / "raw"}
    viewer.open(places[which], plugin=OURS)
    assert roles(viewer) == ["pre", "post"]
    for layer, image in zip(viewer.layers, images, strict=True):
        np.testing.assert_array_equal(full(layer), image)
        assert about(layer)["raw_dir"] == str(tmp_path / "raw")


@pytest.mark.parametrize("stack", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_both_files_open_the_pair_once(viewer, shared_raw_dir, stack, turned):
    files = files_of(shared_raw_dir)
    viewer.open(files[::-1] if turned else files, plugin=OURS, stack=stack)
    assert_raw_pair(viewer, shared_raw_dir)


def test_what_is_shown_already_is_chosen_and_not_opened_again(viewer, shared_raw_dir):
    viewer.open(files_of(shared_raw_dir)[0], plugin=OURS)
    points = viewer.add_points([[1, 2]])
    assert viewer.layers.selection == {points}
    assert viewer.open(files_of(shared_raw_dir)[1], plugin=OURS) == []
    assert len(viewer.layers) == 3
    assert viewer.layers.selection == set(viewer.layers[:2])
    viewer.layers.clear()
    viewer.open(files_of(shared_raw_dir)[1], plugin=OURS)
    assert_raw_pair(viewer, shared_raw_dir)


def test_another_viewer_opens_its_own(viewer, shared_raw_dir):
    from napari.components import ViewerModel

    other = ViewerModel()
    other.open(files_of(shared_raw_dir)[0], plugin=OURS)
    viewer.open(files_of(shared_raw_dir)[1], plugin=OURS)
    assert_raw_pair(viewer, shared_raw_dir)
    assert_raw_pair(other, shared_raw_dir)


@pytest.mark.parametrize("below", ["", "Rock"])
def test_a_folder_with_one_pair_opens_it(viewer, shared_raw_dir, answers, below):
    viewer.open(shared_raw_dir / below, plugin=OURS)
    assert_raw_pair(viewer, shared_raw_dir)
    assert answers == []


@pytest.fixture
def several(raw_dir: Path) -> Path:
    """A raw folder with another dye."""
    for path in files_of(raw_dir):
        shutil.copy(path, path.with_name(path.name.replace("DAPI", "SybrGld")))
    return raw_dir


def test_a_chooser_asks_which_of_several_pairs(viewer, several, answers):
    answers.number = 1
    viewer.open(several, plugin=OURS)
    assert {about(layer)["dye"] for layer in viewer.layers} == {"SybrGld"}
    ((question, headings, choices),) = answers
    assert "2 pairs" in question
    assert headings[:2] == ("Sample", "Dye")
    assert choices[1].columns == (
        "Rock",
        "SybrGld",
        "Rock_PostStain_SybrGld.tif",
        "Rock_PreStain_SybrGld.tif",
    )


def test_choosing_none_opens_nothing(viewer, several, answers):
    answers.number = None
    assert viewer.open(several, plugin=OURS) == []
    assert len(viewer.layers) == 0


def test_without_a_window_the_first_one_is_taken(viewer, several):
    viewer.open(several, plugin=OURS)
    assert {about(layer)["dye"] for layer in viewer.layers} == {"DAPI"}


def test_one_dye_named_by_its_file_is_not_asked_for(viewer, several, answers):
    viewer.open(several / "Rock" / "Rock_PreStain_SybrGld.tif", plugin=OURS)
    assert {about(layer)["dye"] for layer in viewer.layers} == {"SybrGld"}
    assert answers == []


def test_colours_are_told_in_the_metadata(viewer, raw_dir):
    for path in files_of(raw_dir):
        grey = tifffile.imread(path)
        colour = np.zeros((*grey.shape, 3), grey.dtype)
        colour[..., 2] = grey
        tifffile.imwrite(path, colour, photometric="rgb")
    viewer.open(raw_dir, plugin=OURS)
    assert_raw_pair(viewer, raw_dir)
    assert about(viewer.layers[0])["channels"] == (2,)
    assert "shown: blue channel" in about(viewer.layers[0])["notes"]


# Bad input ----------------------------------------------------------------------


def test_a_damaged_file_is_named_and_the_viewer_goes_on(viewer, raw_dir):
    post, pre = files_of(raw_dir)
    pre.write_bytes(pre.read_bytes()[:9000])
    with pytest.raises(RawDataError, match=f"{pre.name}.*copy or export"):
        viewer.open(post, plugin=OURS)
    assert len(viewer.layers) == 0
    viewer.add_points([[1, 2]])


def test_a_missing_side_is_told_with_the_fix(viewer, raw_dir):
    post, pre = files_of(raw_dir)
    post.unlink()
    for path in (pre, raw_dir / "Rock", raw_dir):
        with pytest.raises(RawDataError, match=r"no post-stain file.*add a file"):
            viewer.open(path, plugin=OURS)


def test_a_file_that_breaks_while_it_is_looked_at_is_told_once(
    viewer, raw_dir, monkeypatch
):
    said = []
    monkeypatch.setattr(opening, "notify_error", said.append)
    image = np.full((4200, 4100), 9, np.uint8)
    for path in files_of(raw_dir):
        tifffile.imwrite(path, image)
    viewer.open(raw_dir, plugin=OURS)
    files_of(raw_dir)[0].unlink()
    post = viewer.layers[1]
    for _ in range(3):
        assert not full(post)[:10].any()
    assert len(said) == 1
    assert files_of(raw_dir)[0].name in said[0]
    assert (full(viewer.layers[0])[:10] == 9).all()


# What is not for us ---------------------------------------------------------------


def test_other_files_are_left_to_napari(tmp_path):
    image = np.zeros((20, 20), np.uint8)
    for name in ("cells.tif", "cells.tiff", "express_1.tif"):
        tifffile.imwrite(tmp_path / name, image)
        assert get_reader(tmp_path / name) is None
    from astropy.io import fits

    fits.writeto(tmp_path / "stars.fits", image)
    assert get_reader(tmp_path / "stars.fits") is None
    assert get_reader(tmp_path) is None
    assert get_reader(str(tmp_path / "missing_PreStain_DAPI.tif")) is None
    assert get_reader([]) is None
    assert get_reader("http://example.org/x_PreStain_DAPI.tif") is None


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("CD070_PreStain_DAPI.tif", True),
        ("cd070_poststain_dapi.TIF", True),
        ("CD070_PRE_DAPI.tif", True),
        ("POST_x.tif", True),
        ("anything.tiff", True),
        ("anything.fits", True),
        ("cells.tif", False),
        ("cells_01.tif", False),
        ("my_nice_rock.tif", False),
    ],
)
def test_napari_asks_us_for_likely_names_only(name, asked):
    readers = PluginManager.instance().iter_compatible_readers([name])
    assert (OURS in {reader.plugin_name for reader in readers}) is asked


def test_napari_opens_other_tiffs_without_a_question(viewer, tmp_path):
    tifffile.imwrite(tmp_path / "cells.tif", np.zeros((20, 20), np.uint8))
    (layer,) = viewer.open(tmp_path / "cells.tif", plugin=None)
    assert about(layer) == {}


# Results ------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "Rock/DAPI/fits"])
def test_an_output_folder_opens_with_all_its_layers(
    viewer, shared_results, shared_raw_dir, below
):
    viewer.open(shared_results / below, plugin=OURS)
    assert [role for role in roles(viewer) if not role.startswith("matches")] == [
        "pre",
        "post",
        "aligned 2",
        "ring pre",
        "ring post",
        "aligned 3",
        "scaled moffat",
        "difference",
        "stage 5 snr",
        "stage 5 labels",
    ]
    task = SampleDye("Rock", "DAPI", shared_results, shared_raw_dir)
    task.set_params(pad=60)
    for layer in viewer.layers:
        known = about(layer)
        assert (known["sample"], known["dye"]) == ("Rock", "DAPI")
        assert known["raw_dir"] == str(shared_raw_dir)
        assert known["output_dir"] == str(shared_results)
        assert known["parameters"]["pad"] == 60
        assert tuple(layer.translate) == (-60.0, -60.0)
        if isinstance(layer, Image) and known["role"] != "scaled moffat":
            stored = task.checkpoint(known["stage"], known["checkpoint"])
            np.testing.assert_array_equal(full(layer), stored.image.level(0))
    shown = {about(layer)["role"] for layer in viewer.layers if layer.visible}
    assert shown == {"post", "aligned 3", "difference"}


def test_results_are_not_opened_twice(viewer, shared_results):
    viewer.open(shared_results, plugin=OURS)
    before = list(viewer.layers)
    assert viewer.open(shared_results / "Rock" / "DAPI", plugin=OURS) == []
    assert list(viewer.layers) == before


def test_a_chooser_asks_which_set_of_parameters(viewer, results, raw_dir, answers):
    task = SampleDye("Rock", "DAPI", results, raw_dir, checkpoint_format="tiff")
    task.set_params(pad=60, boundary_width=30)
    pre = task._load_image(1, "pre")
    task._save_image(pre, 2, "pre", transform=Transform.identity())
    viewer.open(results, plugin=OURS)
    ((question, headings, choices),) = answers
    assert "2 sets of parameters" in question
    assert headings == ("Parameters", "Stages", "Written")
    assert "30" in choices[0].columns[0]
    assert choices[1].columns[1] == "1, 2, 3, 4, 5"
    assert roles(viewer) == ["pre", "post", "aligned 2"]
    aligned = viewer.layers[-1]
    assert about(aligned)["parameters"]["boundary_width"] == 30


def test_several_pairs_with_results_are_asked_for(viewer, results, answers):
    shutil.copytree(results / "Rock" / "DAPI", results / "Rock" / "Cy5")
    viewer.open(results, plugin=OURS)
    assert [choice.columns[:2] for choice in answers[0][2]] == [
        ("Rock", "Cy5"),
        ("Rock", "DAPI"),
    ]


@pytest.mark.parametrize("kind", ["tiff", "fits"])
def test_a_single_checkpoint_opens_as_one_layer(viewer, shared_results, kind):
    folder = shared_results / "Rock" / "DAPI" / kind
    path = folder / f"03_interior_aligned_pre_pad60.{kind}"
    (layer,) = viewer.open(path, plugin=OURS)
    known = about(layer)
    assert (known["role"], known["stage"]) == ("aligned 3", 3)
    assert known["paths"] == [str(path)]
    assert known["header"]["transform"] == known["transform"]
    assert tuple(layer.translate) == (-60.0, -60.0)
    assert viewer.open(path, plugin=OURS) == []


def test_results_of_the_reference_system_open_where_they_belong(viewer, tmp_path):
    folder = tmp_path / "processed" / "S1" / "DAPI" / "tiff"
    folder.mkdir(parents=True)
    image = np.arange(900, dtype=np.uint8).reshape(30, 30) % 200
    for name in ("01_padded_post", "01_padded_pre", "03_interior_aligned_pre"):
        tifffile.imwrite(folder / f"{name}_pad5.tiff", image)
    tifffile.imwrite(folder / "04_difference_difference_pad5.tiff", image * 1.0)
    viewer.open(folder.parent, plugin=OURS)
    assert roles(viewer) == ["pre", "post", "aligned 3", "difference"]
    for layer in viewer.layers:
        assert layer.name.startswith("S1 DAPI: ")
        assert tuple(layer.translate) == (-5.0, -5.0)
        assert about(layer)["parameters"]["pad"] == 5


def test_a_damaged_checkpoint_is_left_out_and_told(viewer, results, monkeypatch):
    said = []
    warn = "napari_exo2micro.plugin.files.opening.show_warning"
    monkeypatch.setattr(warn, said.append)
    for kind in ("tiff", "fits"):
        path = results / "Rock" / "DAPI" / kind / f"02_icp_aligned_pre_pad60.{kind}"
        path.write_bytes(path.read_bytes()[:4000])
    viewer.open(results, plugin=OURS)
    assert "aligned 2" not in roles(viewer)
    assert "difference" in roles(viewer)
    assert len(said) == 1
    assert "02_icp_aligned_pre_pad60" in said[0]


def test_results_without_a_readable_file_are_told(viewer, tmp_path):
    folder = tmp_path / "processed" / "Rock" / "DAPI" / "tiff"
    folder.mkdir(parents=True)
    (folder / "01_padded_post.tiff").write_bytes(b"II*\0 nothing")
    with pytest.raises(CheckpointError, match=r"01_padded_post\.tiff"):
        viewer.open(tmp_path / "processed", plugin=OURS)


# In a window ---------------------------------------------------------------------


def modal_steps(names: list[str], act) -> QTimer:
    """Act on each modal dialog as it appears, and note its name."""
    timer = QTimer()
    timer.setInterval(20)

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if dialog is not None:
            names.append(dialog.objectName())
            act(dialog)

    timer.timeout.connect(look)
    timer.start()
    return timer


@pytest.mark.display
def test_the_chooser_in_a_window(make_napari_viewer_proxy, several):
    viewer = make_napari_viewer_proxy(show=True)
    names: list[str] = []

    def choose_second(dialog):
        if dialog.objectName() == "pair_chooser":
            lines = dialog.findChild(QTreeWidget, "choices")
            assert lines.topLevelItemCount() == 2
            lines.setCurrentItem(lines.topLevelItem(1))
            dialog.findChild(QPushButton, "open").click()

    timer = modal_steps(names, choose_second)
    viewer.open(several, plugin=OURS)
    timer.stop()
    assert "pair_chooser" in names
    assert {about(layer)["dye"] for layer in viewer.layers} == {"SybrGld"}
    assert len(viewer.layers) == 2


@pytest.mark.display
def test_in_a_window_an_error_is_shown_once_and_both_files_once(
    make_napari_viewer_proxy, raw_dir
):
    viewer = make_napari_viewer_proxy(show=True)
    post, pre = files_of(raw_dir)
    viewer.open([post, pre], plugin=OURS)
    assert roles(viewer) == ["pre", "post"]
    viewer.layers.clear()
    pre.write_bytes(pre.read_bytes()[:9000])
    notification_manager.records.clear()
    assert viewer.open(post, plugin=OURS) == []
    said = [record.message for record in notification_manager.records]
    assert len(said) == 1
    assert said[0].startswith("Rock_PreStain_DAPI.tif")
    assert "copy or export the file again" in said[0]
    assert len(viewer.layers) == 0


def opened_while_the_window_lives(viewer, path, gate):
    """Open a path whose slow part waits until the window has done something."""
    QTimer.singleShot(0, gate.set)
    viewer.open(path, plugin=OURS)
    return gate.answers


class Gate:
    """Lets slow work go on once the window is seen to live."""

    def __init__(self) -> None:
        self._event, self.answers = threading.Event(), []
        self.set = self._event.set

    def before(self, function):
        """Return a function that waits first, as on a slow network drive."""

        def slow(*args, **kwargs):
            # In the window's thread nothing could open the gate.
            self.answers.append(self._event.wait(20))
            return function(*args, **kwargs)

        return slow


@pytest.mark.display
@pytest.mark.parametrize(
    ("module", "name"),
    [
        (store, "holds_results"),
        (store, "find_result_folders"),
        (raw, "find_pairs"),
    ],
)
def test_a_slow_raw_folder_does_not_freeze_the_window(
    make_napari_viewer_proxy, shared_raw_dir, monkeypatch, module, name
):
    viewer, gate = make_napari_viewer_proxy(show=True), Gate()
    monkeypatch.setattr(module, name, gate.before(getattr(module, name)))
    answers = opened_while_the_window_lives(viewer, shared_raw_dir, gate)
    assert answers
    assert all(answers)
    assert roles(viewer) == ["pre", "post"]


@pytest.mark.display
def test_slow_headers_do_not_freeze_the_window(
    make_napari_viewer_proxy, shared_results, monkeypatch
):
    viewer, gate = make_napari_viewer_proxy(show=True), Gate()
    monkeypatch.setattr(store, "read_result_sets", gate.before(store.read_result_sets))
    answers = opened_while_the_window_lives(viewer, shared_results, gate)
    assert answers == [True]
    assert "difference" in roles(viewer)


@pytest.mark.display
@pytest.mark.parametrize(
    ("module", "name"), [(store, "holds_results"), (raw, "find_pairs")]
)
def test_looking_into_a_slow_folder_can_be_cancelled(
    make_napari_viewer_proxy, shared_raw_dir, monkeypatch, module, name
):
    viewer = make_napari_viewer_proxy(show=True)
    names: list[str] = []

    def endless(_path, monitor):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            monitor.check()
            time.sleep(0.01)

    monkeypatch.setattr(module, name, endless)
    timer = modal_steps(names, lambda box: box.findChild(QPushButton).click())
    notification_manager.records.clear()
    assert viewer.open(shared_raw_dir, plugin=OURS) == []
    timer.stop()
    assert set(names) == {"waiting"}
    assert len(viewer.layers) == 0
    assert [record.message for record in notification_manager.records] == []


def test_a_compressed_file_that_breaks_is_told_and_logged_once(
    viewer, monkeypatch, caplog, qtbot
):
    """Whoever meets it first: the look at it, or the reading in the background."""
    said = []
    monkeypatch.setattr(opening, "notify_error", said.append)
    monkeypatch.setattr(opening, "main_window", lambda: viewer)

    class Broken(RawLevels):
        is_slow = True

        def prepare(self, monitor=None):
            raise RawDataError("post.tif is damaged")

    image = SimpleNamespace(path=Path("post.tif"))
    levels = Broken(image, (0,), np.dtype(np.uint8), opening.tell_unreadable)
    pair = SimpleNamespace(post=levels, pre=levels, is_partial=False)
    files = SimpleNamespace(sample="Rock", dye="DAPI")
    opening.prepare_levels(files, pair, viewer)
    jobs = Session.of(viewer).jobs
    qtbot.waitUntil(lambda: not jobs.is_working, timeout=LONG)
    assert len(said) == 1
    assert "post.tif is damaged" in said[0]
    assert len({id(record) for record in caplog.records if record.levelno >= 40}) == 1
