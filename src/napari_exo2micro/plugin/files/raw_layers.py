"""The layers of a raw pair as it lies on disk, before any stage has run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from napari_exo2micro.core.errors import RawDataError
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.raw.channels import channel_name
from napari_exo2micro.core.raw.lazy import LazyPair, open_lazy_pair
from napari_exo2micro.core.raw.pairs import PairFiles
from napari_exo2micro.plugin.layers import LayerSpec, image_spec

__all__ = ["open_pair", "raw_specs"]

logger = logging.getLogger(__name__)


def open_pair(
    files: PairFiles,
    monitor: Monitor | None = None,
    on_error: Callable[[RawDataError], None] | None = None,
    quick: bool = False,
) -> tuple[LazyPair, list[LayerSpec]]:
    """Open a pair and return it with its layers; may run in any thread.

    Parameters
    ----------
    files : PairFiles
        Which pair it is.
    monitor, on_error, quick
        As `open_lazy_pair` takes them.

    Raises
    ------
    RawDataError
        When a file cannot be read or the two do not fit together.
    """
    pair = open_lazy_pair(
        files.post, files.pre, on_error=on_error, monitor=monitor, quick=quick
    )
    return pair, raw_specs(files, pair)


def raw_specs(files: PairFiles, pair: LazyPair) -> list[LayerSpec]:
    """Return the layers of a raw pair: pre-stain below, post-stain above.

    Both begin at the world's origin: the canvas of stage 1 keeps them there.

    Parameters
    ----------
    files : PairFiles
        Which pair it is.
    pair : LazyPair
        Its opened files.
    """
    notes = [*pair.warnings, *_about_channels(pair)]
    for note in notes:
        logger.info("%s %s: %s", files.sample, files.dye, note)
    specs = []
    for side, path, levels in (
        ("pre", files.pre, pair.pre),
        ("post", files.post, pair.post),
    ):
        known: dict[str, Any] = {
            "sample": files.sample,
            "dye": files.dye,
            "stage": 0,
            "checkpoint": "",
            "parameters": {},
            "paths": [str(path)],
            "header": {},
            "transform": None,
            "canvas_offset": (0.0, 0.0),
            "raw_dir": str(files.raw_dir),
            "channels": pair.channels,
            "notes": notes,
        }
        specs.append(
            image_spec(
                levels.levels(),
                side,
                name=f"{files.sample} {files.dye}: {side}-stain, raw",
                known=known,
            )
        )
    return specs


def _about_channels(pair: LazyPair) -> list[str]:
    if pair.channels is None:
        return []
    names = " + ".join(channel_name(index) for index in pair.channels)
    word = "channels" if len(pair.channels) > 1 else "channel"
    text = f"shown: {names} {word}"
    if pair.is_estimate:
        text += ", chosen from a sample of the pixels; stage 1 looks at all of them"
    return [text]
