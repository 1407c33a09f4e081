"""What belongs to one sample and dye before any file is read: its parameters."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Self

from napari_exo2micro.core.checkpoints import CheckpointStore
from napari_exo2micro.core.defaults import (
    check_parameters,
    default_params,
    non_default_params,
)
from napari_exo2micro.core.monitor import Monitor
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.core.raw import Loader, check_name, get_loader
from napari_exo2micro.core.raw_source import RawSource

__all__ = ["SampleSettings"]


class SampleSettings:
    """Names, folders and parameters of one sample and dye.

    Parameters
    ----------
    sample, dye, output_dir, raw_dir, checkpoint_format, loader, register_on
        As of `SampleDye`.

    Raises
    ------
    ParameterError
        When a name could leave the output folder, or the format or the loader is
        not known.
    """

    def __init__(
        self,
        sample: str,
        dye: str,
        output_dir: str | Path = "processed",
        raw_dir: str | Path = "raw",
        checkpoint_format: str = "both",
        loader: Loader | str | None = None,
        register_on: str | None = None,
    ) -> None:
        self.sample = check_name("sample", sample)
        self.dye = check_name("dye", dye)
        self.output_dir = Path(output_dir)
        self.raw_dir = Path(raw_dir)
        self.register_on = register_on and check_name("dye", register_on)
        self._loader = None if loader is None else get_loader(loader)
        folder = self.output_dir / self.sample / self.dye
        self._store = CheckpointStore(folder, sample, dye, checkpoint_format)
        self._params = default_params()
        self._results: dict[str, Any] = {}
        self._monitor = Monitor()
        self._source = RawSource(self.sample, self.dye, self.raw_dir, self._loader)
        self._references: dict[str, Self] = {}

    @property
    def checkpoint_format(self) -> str:
        """What checkpoints are written as."""
        return self._store.format

    @property
    def params(self) -> dict[str, ParameterValue]:
        """All parameters, a copy in registry order."""
        return {name: self._params.get(name, d) for name, d in default_params().items()}

    def set_params(self, **values: Any) -> None:
        """Change parameters by name.

        Parameters
        ----------
        **values : bool, int, float, str or None
            New values under the parameters' names.

        Raises
        ------
        ParameterError
            When a name is unknown or a value does not fit; nothing is changed.
        """
        checked = check_parameters(values)
        check_parameters({**self.params, **checked})
        self._params.update(checked)

    def reset_params(self) -> None:
        """Set all parameters back to their defaults."""
        self._params = default_params()

    def non_default_params(self, stage: int | None = None) -> dict[str, ParameterValue]:
        """Return the parameters of stages 1..`stage` that differ from defaults.

        Parameters
        ----------
        stage : int, optional
            The last stage that counts; all of them by default.

        Returns
        -------
        dict
            Parameter name -> value, in registry order.
        """
        return non_default_params(self.params, stage)

    def copy(self) -> Self:
        """Return another object for the same files with parameters of its own.

        Returns
        -------
        SampleDye
            With the present parameters.
        """
        other = copy.copy(self)
        other._params = dict(self._params)
        other._results = {}
        other._store = copy.copy(self._store)
        other._store.written = []
        other._references = {}
        return other

    def _of_dye(self, dye: str) -> Self:
        """Return the same sample with another dye, registered by itself."""
        if dye not in self._references:
            other = self.copy()
            other.dye = other.register_on = dye
            folder = self.output_dir / self.sample / dye
            other._store = CheckpointStore(
                folder, self.sample, dye, self.checkpoint_format
            )
            other._source = RawSource(self.sample, dye, self.raw_dir, self._loader)
            self._references[dye] = other
        self._references[dye]._params = dict(self._params)
        return self._references[dye]
