"""What the name of a checkpoint's file says: stage, image and parameters."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from napari_exo2micro.core.scale_methods import SCALE_METHODS
from napari_exo2micro.core.stages import LAST_BUILT_IN, STAGES

__all__ = ["CheckpointName", "name_ending", "parse_checkpoint_name"]

_LONGEST_NAME = 200
_LONGEST_EXTENSION = len(".tiff")
_MORE_NAMES = {2: ("coarse_pre",)}
_VALUE = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"


@dataclass(frozen=True, slots=True)
class CheckpointName:
    """What the name of a checkpoint's file says.

    Attributes
    ----------
    stage, name : int, str
        Which checkpoint it is, for example 3 and ``'pre'``.
    suffix : str
        What `defaults.build_suffix` made of the parameters.
    """

    stage: int
    name: str
    suffix: str


def name_ending(start: str, suffix: str) -> str:
    """Return what the name of a file ends in: a long suffix becomes a hash.

    Parameters
    ----------
    start : str
        What the name begins with, for example ``02_icp_aligned_pre``.
    suffix : str
        As `defaults.build_suffix` makes it.

    Examples
    --------
    >>> name_ending("02_icp_aligned_pre", "_bw20")
    '_bw20'
    >>> len(name_ending("02_icp_aligned_pre", 40 * "_bw20"))
    12
    """
    if len(start) + len(suffix) + _LONGEST_EXTENSION <= _LONGEST_NAME:
        return suffix
    return f"_x{hashlib.sha256(suffix.encode()).hexdigest()[:10]}"


def parse_checkpoint_name(path: Path | str) -> CheckpointName | None:
    """Return what a file's name says; None when it is no checkpoint's.

    The reference system names its files in the same way.

    Parameters
    ----------
    path : Path or str
        Only its last part is looked at.

    Examples
    --------
    >>> parse_checkpoint_name("02_icp_aligned_pre_bw20.tiff")
    CheckpointName(stage=2, name='pre', suffix='_bw20')
    >>> parse_checkpoint_name("cells.tiff") is None
    True
    """
    path = Path(path)
    if path.suffix.lower() not in (".tiff", ".tif", ".fits"):
        return None
    for number, stage in STAGES.items():
        rest = path.stem.removeprefix(f"{stage.name}_")
        if rest == path.stem:
            continue
        name = _beginning(rest, number)
        if name:
            return CheckpointName(number, name, rest.removeprefix(name))
    return None


def _beginning(rest: str, stage: int) -> str:
    """Return the image's name that the rest of a file's name begins with."""
    if stage == LAST_BUILT_IN:
        return _difference(rest)
    names = (*STAGES[stage].checkpoints, *_MORE_NAMES.get(stage, ()))
    fitting = [n for n in names if rest == n or rest.startswith(f"{n}_")]
    return max(fitting, key=len, default="")


def _difference(rest: str) -> str:
    """Return the name of a difference image: of the longest method that fits."""
    kinds = [
        re.escape(name) + (f"_{method.value_mark}{_VALUE}" if method.value_mark else "")
        for name, method in sorted(SCALE_METHODS.items(), key=lambda one: -len(one[0]))
        if method.parameter
    ]
    found = re.match(f"difference(?:_(?:{'|'.join(kinds)}))?(?=_|$)", rest)
    return found.group() if found else ""
