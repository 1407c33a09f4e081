"""What a raw folder holds, in words: read in the background, shown by the panel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from napari_exo2micro.core.monitor import Monitor

__all__ = ["RawOverview", "look_into"]


@dataclass(frozen=True, slots=True)
class RawOverview:
    """What a raw folder holds.

    Attributes
    ----------
    raw_dir : Path
        The folder.
    pairs : tuple of (str, str)
        Sample and dye of each pair that can be used.
    problem : str
        Why none can be used, with the fix; empty when one can.
    troubles : tuple of str
        What was left out or looks odd, and why; one line each.
    """

    raw_dir: Path
    pairs: tuple[tuple[str, str], ...] = ()
    problem: str = ""
    troubles: tuple[str, ...] = ()

    @property
    def samples(self) -> list[str]:
        """Samples with a pair that can be used."""
        return list(dict.fromkeys(sample for sample, _ in self.pairs))

    def dyes(self, sample: str) -> list[str]:
        """Return the dyes of a sample's pairs."""
        return [dye for one, dye in self.pairs if one == sample]

    def in_words(self) -> str:
        """Return the problem, or how much there is."""
        if self.problem:
            return self.problem
        samples = _count(len(self.samples), "sample")
        return f"{samples}, {_count(len(self.pairs), 'pair')} of images"


def look_into(raw_dir: Path, monitor: Monitor) -> RawOverview:
    """Return what a raw folder holds; nothing is opened, only names are read.

    Parameters
    ----------
    raw_dir : Path
        The folder; it need not exist.
    monitor : Monitor
        May stop it.
    """
    from napari_exo2micro.core.raw import diagnose_raw_layout, discover_tasks

    monitor.check()
    layout = diagnose_raw_layout(raw_dir)
    if not layout.is_usable:
        return RawOverview(raw_dir, problem=layout.message)
    monitor.check()
    found = discover_tasks(raw_dir=raw_dir)
    skipped = [f"{task.sample}: {task.reason}" for task in found.skipped]
    empty = [f"{name}: no TIFF files in it" for name in layout.empty_samples]
    troubles = tuple(dict.fromkeys([*skipped, *found.warnings, *empty]))
    problem = ""
    if not found.present:
        why = troubles[0] if troubles else "no file name tells a pair"
        more = f" (and {len(troubles) - 1} more)" if len(troubles) > 1 else ""
        problem = (
            f"{raw_dir}: no sample has a pair of one pre-stain and one post-stain "
            f"image; {why}{more}"
        )
    return RawOverview(raw_dir, found.present, problem, troubles)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
