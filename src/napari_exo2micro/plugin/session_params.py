"""The parameters that the docks of one viewer share."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_exo2micro.core.defaults import (
    PARAMETER_REGISTRY,
    build_suffix,
    check_parameters,
    default_params,
    non_default_params,
)
from napari_exo2micro.core.parameter_entry import ParameterValue

__all__ = ["SessionParams"]


class SessionParams(QObject):
    """Holds a value for each parameter of the registry and tells when one changes.

    Attributes
    ----------
    params_changed : Signal(object)
        Names of the parameters that changed, a tuple.
    """

    params_changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._params = default_params()

    @property
    def params(self) -> dict[str, ParameterValue]:
        """All parameters, a copy in the order of the registry."""
        known = default_params()
        return {name: self._params.get(name, value) for name, value in known.items()}

    def set_params(self, **values: Any) -> None:
        """Change parameters by name.

        Raises
        ------
        ParameterError
            When a name is unknown or a value does not fit; nothing is changed.
        """
        checked = check_parameters(values)
        check_parameters({**self.params, **checked})
        old = self.params
        changed = tuple(name for name in checked if checked[name] != old[name])
        if changed:
            self._params.update(checked)
            self.params_changed.emit(changed)

    def reset_params(self, *names: str) -> None:
        """Set parameters back to their defaults; all of them when none is named."""
        chosen = names or tuple(PARAMETER_REGISTRY)
        self.set_params(**{name: PARAMETER_REGISTRY[name].default for name in chosen})

    def non_default_params(self, stage: int | None = None) -> dict[str, ParameterValue]:
        """Return the parameters of stages 1..`stage` that differ from defaults."""
        return non_default_params(self.params, stage)

    def suffix(self, stage: int | None = None) -> str:
        """Return what the names of a stage's files will end in."""
        return build_suffix(self.params, stage)
