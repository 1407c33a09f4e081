"""What a run is made with: one record for window, terminal, batch and scripts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.parameters import parameters
from napari_exo2micro.core.parameters.stages import stage_range

CHECKPOINT_FORMATS: Final = ("tiff", "fits", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """Everything that a run depends on beside the sample and the dye.

    Checked once, here; `dataclasses.replace` makes and checks a changed one. It can
    be pickled where its loader can.

    Attributes
    ----------
    raw_dir, output_dir : Path
        May be given as text. Relative folders stay relative.
    checkpoint_format : {'tiff', 'fits', 'both'}
        What checkpoints are written as; the difference is always both.
    params : mapping of str to bool, int, float, str or None
        The parameters that are set; all others are at their defaults.
    loader : callable or str, optional
        Reads a pair instead of `load_image_pair`, or the name of a registered one.
    register_on : str, optional
        The dye whose transform stages 2 and 3 take over.
    from_stage, to_stage : int, optional
        First and last stage; all of them by default.
    force : bool
        Run the stages even where a valid result exists.

    Raises
    ------
    ParameterError
        When the format, a parameter or a stage is unknown or does not fit.

    Examples
    --------
    >>> settings = RunSettings(params={"boundary_width": 20}, to_stage=2)
    >>> settings.all_params["boundary_width"], settings.all_params["pad"]
    (20, 2000)
    """

    raw_dir: Path = Path("raw")
    output_dir: Path = Path("processed")
    checkpoint_format: str = "both"
    params: Mapping[str, parameters.ParameterValue] = field(default_factory=dict)
    loader: Callable[..., Any] | str | None = None
    register_on: str | None = None
    from_stage: int | None = None
    to_stage: int | None = None
    force: bool = False

    def __post_init__(self) -> None:
        """Check everything, and put paths and parameters in their types."""
        if self.checkpoint_format not in CHECKPOINT_FORMATS:
            raise ParameterError(
                f"checkpoint_format takes one of {', '.join(CHECKPOINT_FORMATS)}, "
                f"found {self.checkpoint_format!r}"
            )
        stage_range(self.from_stage, self.to_stage)
        checked = parameters.check_parameters(self.params)
        parameters.check_together({**parameters.default_params(), **checked})
        object.__setattr__(self, "params", checked)
        object.__setattr__(self, "raw_dir", Path(self.raw_dir))
        object.__setattr__(self, "output_dir", Path(self.output_dir))

    @property
    def all_params(self) -> dict[str, parameters.ParameterValue]:
        """Every parameter in registry order, those that are not set at defaults."""
        return {**parameters.default_params(), **self.params}

    @property
    def changed_params(self) -> dict[str, parameters.ParameterValue]:
        """The parameters that differ from their defaults, in registry order."""
        return parameters.non_default_params(self.params)

    @property
    def stages(self) -> tuple[int, int]:
        """The first and the last stage."""
        return stage_range(self.from_stage, self.to_stage)
