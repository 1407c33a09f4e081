"""What a comparison is made of: a sample, its parameters, and one of many values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY
from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue

if TYPE_CHECKING:
    from napari_exo2micro.plugin.session import Session
    from napari_exo2micro.plugin.task_source import TaskSource

__all__ = ["Compared"]


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """What a comparison was made of.

    Attributes
    ----------
    source : TaskSource
        Makes the sample and dye, in another thread.
    sample, dye : str
        Their names.
    folders : tuple of Path or None
        The raw folder and that of the results.
    params : dict
        All parameters at that time.
    entry : Parameter
        The parameter that was given several values.
    values : sequence
        Its values.
    to_stage : int
        The last stage of each run.
    keep : bool
        Whether the files of each value stay.
    """

    source: TaskSource
    sample: str
    dye: str
    folders: tuple[Path | None, Path]
    params: dict[str, ParameterValue]
    entry: Parameter
    values: Sequence[ParameterValue]
    to_stage: int
    keep: bool

    def differs_from(self, session: Session) -> str:
        """Return why these are not the results of a session's choices; empty if so."""
        now = session.raw_dir, session.output_dir
        if (session.sample, session.dye) != (self.sample, self.dye):
            return (
                f"This comparison was made of {self.sample} {self.dye}: choose that "
                "in the workbench, or run the comparison again."
            )
        if now != self.folders:
            return (
                "This comparison was made with other folders: choose them in the "
                "workbench, or run the comparison again."
            )
        params = session.params
        others = [
            PARAMETER_REGISTRY[name].title
            for name, value in self.params.items()
            if name != self.entry.name
            and PARAMETER_REGISTRY[name].stage <= self.to_stage
            and params[name] != value
        ]
        if not others:
            return ""
        return (
            "Other parameters were changed since this comparison "
            f"({', '.join(others)}): set them back, or run the comparison again."
        )
