"""Where a preview gets its pair from: checkpoints of stage 1, or small raw files."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from napari_exo2micro.core.errors import CheckpointError
from napari_exo2micro.core.padding import canvas_shape, frame, pad_images
from napari_exo2micro.core.preview.source import PreviewSource
from napari_exo2micro.core.raw import RawPair, find_pair
from napari_exo2micro.core.raw.tiff import open_tiff

if TYPE_CHECKING:
    from napari_exo2micro.core.sample_files import SampleFiles

__all__ = ["open_source"]

#: Larger canvases are not made in memory for a preview.
_LARGEST_CANVAS = 64_000_000


def open_source(task: SampleFiles, known: PreviewSource | None = None) -> PreviewSource:
    """Return the pair of a sample and dye, to preview stages on.

    Parameters
    ----------
    task : SampleFiles
        Whose pair it is. The checkpoints of stage 1 are used where they are valid;
        otherwise small raw images are read and padded in memory.
    known : PreviewSource, optional
        Returned when it holds the same images.

    Raises
    ------
    CheckpointError
        When stage 1 has not run and the raw images are too large.
    RawDataError
        When the raw images cannot be read.
    """
    post, pre = task.checkpoint(1, "post"), task.checkpoint(1, "pre")
    if post is not None and pre is not None:
        identity: Hashable = (post.image.path, post.identity, pre.identity)
        if known is not None and known.identity == identity:
            return known
        return PreviewSource(
            post.image,
            pre.image,
            post_frame=post.frames["post"],
            pre_frame=pre.frames["pre"],
            identity=identity,
        )
    return _open_raw(task, known)


def _open_raw(task: SampleFiles, known: PreviewSource | None) -> PreviewSource:
    run_first = (
        f"the preview needs the padded images of {task.sample} / {task.dye}; run "
        "stage 1 (padding) first"
    )
    if task._loader is not None:
        raise CheckpointError(run_first)
    paths = find_pair(task.sample, task.dye, task.raw_dir)[:2]
    shapes = [open_tiff(path).shape for path in paths]
    pad = task.params["pad"]
    assert isinstance(pad, int)
    rows, columns = canvas_shape(shapes[0], shapes[1], pad)
    if rows * columns > _LARGEST_CANVAS:
        raise CheckpointError(run_first)
    stamps = [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    identity = (*stamps, pad)
    if known is not None and known.identity == identity:
        return known
    # Not `load_image_pair`: its warnings belong to stage 1.
    pair = RawPair.from_files(*paths, background=False)
    post, pre = pad_images(pair.post.read(), pair.pre.read(), pad)
    return PreviewSource(
        post,
        pre,
        post_frame=frame(pair.post.shape, pad),
        pre_frame=frame(pair.pre.shape, pad),
        identity=identity,
    )
