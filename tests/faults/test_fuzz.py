"""Random damage to small files: a valid result or one of our errors, nothing else.

200 examples each; EXO2MICRO_FUZZ=20000 tries more.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from numpy.typing import NDArray

if sys.platform == "win32":
    pytest.skip("the corpus is for POSIX", allow_module_level=True)

from malformed.case import Place
from malformed.raw_use import PAD
from malformed.results import finished, task_of
from malformed.tiffs import IMAGE, encoded, tiff

from napari_exo2micro.core.base import CheckpointError, DataWarning, RawDataError
from napari_exo2micro.core.images import open_raster
from napari_exo2micro.core.raw import RawPair
from napari_exo2micro.core.store import Provenance

many = settings(
    max_examples=int(os.environ.get("EXO2MICRO_FUZZ", "200")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

COLOURS = np.stack([IMAGE, IMAGE.T, IMAGE[::-1]], axis=-1)
#: Sound files, the directory of the hand-made ones at their end.
TIFFS: dict[str, tuple[bytes, int]] = {
    "hand-made": (tiff(), 522),
    "BigTIFF": (tiff(big=True), 612),
    "big-endian": (tiff(order=">"), 522),
    "strips": (encoded(IMAGE, rowsperstrip=4), 400),
    "LZW": (encoded(IMAGE, compression="lzw"), 400),
    "deflate, predictor": (encoded(IMAGE, compression="zlib", predictor=True), 400),
    "JPEG tiles": (encoded(IMAGE, compression="jpeg", tile=(16, 16)), 700),
    "colours": (encoded(COLOURS, photometric="rgb"), 400),
    "planes": (encoded(np.moveaxis(COLOURS, -1, 0), photometric="rgb"), 400),
    "floats": (encoded(IMAGE.astype(np.float32)), 400),
}


@st.composite
def damage(draw: st.DrawFn, kind: str) -> tuple[str, bytes]:
    """Return the name of a file and its bytes after some harm, mostly to its header."""
    name = draw(st.sampled_from(sorted(TIFFS)))
    content, head = TIFFS[name]
    data = bytearray(content)
    reach = len(data) if kind == "anywhere" else min(head, len(data))
    hand_made = name in ("hand-made", "BigTIFF", "big-endian")
    first = 400 if kind == "header" and hand_made else 0
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(first, reach - 1))
        change = draw(st.sampled_from(["set", "flip", "word", "remove", "repeat"]))
        if change == "set":
            data[place % len(data)] = draw(st.integers(0, 255))
        elif change == "flip":
            data[place % len(data)] ^= 1 << draw(st.integers(0, 7))
        elif change == "word":
            word = draw(st.sampled_from([0, 1, 0xFFFF, 1 << 31, (1 << 32) - 1]))
            data[place : place + 4] = word.to_bytes(4, "little")
        elif change == "remove":
            del data[place : place + draw(st.integers(1, 40))]
        else:
            data[place:place] = data[place : place + draw(st.integers(1, 40))]
        reach = min(reach, len(data))
        if reach <= first:
            break
    return name, bytes(data)


def read(path: Path) -> NDArray[Any] | None:
    """Return the image, None when the file is refused as it should be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DataWarning)
        try:
            return RawPair.from_files(path, path).post.read()
        except RawDataError as error:
            told = str(error)
    assert str(path) in told
    assert "\n" not in told
    return None


@pytest.mark.parametrize("kind", ["header", "anywhere"])
@many
@given(data=st.data())
def test_a_damaged_tiff_is_an_image_or_refused(
    kind: str, data: st.DataObject, tmp_path: Path
) -> None:
    _, content = data.draw(damage(kind))
    path = tmp_path / "damaged.tif"
    path.write_bytes(content)
    image = read(path)
    if image is not None:
        assert image.ndim == 2
        assert min(image.shape) >= 8
        assert image.dtype in (np.uint8, np.uint16, np.float32, np.float64)
        assert image.any()
        assert image.dtype.kind == "u" or np.isfinite(image).all()
    again = read(path)
    assert (image is None) == (again is None)
    assert image is None or np.array_equal(image, again)


@pytest.mark.parametrize("name", sorted(TIFFS))
def test_the_files_are_sound_before_they_are_damaged(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sound.tif"
    path.write_bytes(TIFFS[name][0])
    assert read(path) is not None


# Checkpoints -----------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with a finished stage 1 in both formats."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made = Place(folder / "case", folder)
    made.folder.mkdir()
    finished(made)
    return made


def checkpoint(place: Place, kind: str) -> Path:
    task = task_of(place)
    return task._tiff_path(1, "post") if kind == "tiff" else task._fits_path(1, "post")


def pixel_bytes(path: Path) -> range:
    """Return where the pixels of a checkpoint lie."""
    image = open_raster(path)
    level = image.level(0)
    return range(level.offset, level.offset + level.nbytes)


def opened(path: Path) -> NDArray[Any] | None:
    """Return the pixels of a checkpoint of ours, None when it is not accepted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = open_raster(path)
            if image.is_foreign:
                return None
            Provenance.from_header(image.header)
        except CheckpointError:
            return None
        return np.array(image)


def after(place: Place, kind: str, change: Callable[[bytearray], object]) -> Path:
    """Return a copy of a checkpoint after some harm."""
    path = checkpoint(place, kind)
    data = bytearray(path.read_bytes())
    change(data)
    damaged = place.folder / f"damaged.{kind}"
    damaged.write_bytes(data)
    return damaged


@pytest.mark.parametrize("kind", ["tiff", "fits"])
@many
@given(data=st.data())
def test_one_flipped_bit_but_in_the_pixels_is_always_noticed(
    kind: str, data: st.DataObject, place: Place
) -> None:
    path = checkpoint(place, kind)
    pixels = pixel_bytes(path)
    size = path.stat().st_size
    start = data.draw(st.sampled_from([0, pixels.stop]))
    end = pixels.start if start == 0 else size
    at = data.draw(st.integers(start, end - 1))
    bit = data.draw(st.integers(0, 7))

    def flip(content: bytearray) -> None:
        content[at] ^= 1 << bit

    assert opened(after(place, kind, flip)) is None


@pytest.mark.parametrize("kind", ["tiff", "fits"])
def test_a_checkpoint_is_accepted_as_it_was_written(kind: str, place: Place) -> None:
    pixels = opened(after(place, kind, lambda content: None))
    assert pixels is not None
    assert np.array_equal(pixels[PAD:-PAD, PAD:-PAD], IMAGE)


KEYS = [
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "EXTEND",
    "SOFTWARE",
    "HEADSUM",
]
VALUES = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.floats().map(str),
    st.sampled_from(["T", "F", "", "'", "'text'", "1E400", "(1, 2)", "99" * 30]),
)


@many
@given(key=st.sampled_from([*KEYS, "BZERO", "XTENSION"]), value=VALUES)
def test_any_value_of_a_fits_card_ends_well(key: str, value: str, place: Place) -> None:
    def set_card(content: bytearray) -> None:
        at = content.find(f"{key:8}=".encode())
        at = 5 * 80 if at < 0 else at
        card = f"{key:8}= {value:>20}"[:80].encode()
        content[at : at + 80] = card.ljust(80)

    image = opened(after(place, "fits", set_card))
    assert image is None or np.array_equal(image[PAD:-PAD, PAD:-PAD], IMAGE)
