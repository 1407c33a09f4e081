"""A loader whose task takes a known time; worker processes import it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SECONDS", "load"]

#: The environment variable that tells how long a task takes, s.
SECONDS = "EXO2MICRO_TASK_SECONDS"


def load(
    sample: str, dye: str, raw_dir: Path | str = "raw"
) -> tuple[NDArray[Any], NDArray[Any], None, None]:
    """Sleep, then return a small pair: what remains is what the executor costs."""
    del dye, raw_dir
    time.sleep(float(os.environ[SECONDS]))
    pixels = np.random.default_rng(len(sample)).integers(1, 200, (40, 48), np.uint8)
    return pixels, pixels[::-1], None, None
