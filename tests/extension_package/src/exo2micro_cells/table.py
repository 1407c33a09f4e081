"""What this package adds: light to import, for the command line asks for it."""

from napari_exo2micro.core.parameters import Stage, parameter
from napari_exo2micro.core.photometry import ScaleMethod

PARAMETERS = (
    parameter(
        "cell_level",
        5.0,
        "celllev",
        6,
        "How many times brighter than the noise a microbe is.",
        minimum=0,
        maximum=1000,
        label="brighter than noise",
        group="Bright spots",
    ),
    parameter(
        "median_scale",
        False,
        "medsc",
        4,
        "Adds a difference image whose scale is the median of post/pre over blocks.",
        label="scale from the median",
        group="Further scales",
    ),
)


def find_cells(task, force=False):
    """Number the bright spots of the difference."""
    from exo2micro_cells.work import number_spots

    if not force and task._has_checkpoint(6, "labels"):
        return
    task._check_upstream(6)
    difference = task._load_image(4, "difference")
    labels = number_spots(difference, task.params["cell_level"])
    task._save_image(labels, 6, "labels", {"CELLS": int(labels.max())})


STAGE = Stage(
    number=6,
    name="06_cells",
    title="bright spots",
    method=find_cells,
    checkpoints=("labels",),
    labels=("labels",),
    purpose="Numbers the bright spots of the difference.",
)


def median_of_blocks(statistics):
    """Return the median of post/pre over blocks of the section."""
    import numpy as np

    blocks = statistics.blocks
    seen = (blocks.pre > 0) & (blocks.post > 0)
    return float(np.median(blocks.post[seen] / blocks.pre[seen]))


MEDIAN = ScaleMethod(
    "median",
    median_of_blocks,
    "Median of post/pre over blocks; too high where microbes are dense.",
    title="median of blocks",
    colour="#3366ff",
    parameter="median_scale",
)
