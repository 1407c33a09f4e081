"""A scale method: its function, its names in words and files, its parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from napari_exo2micro.core.defaults import PARAMETER_REGISTRY, format_value
from napari_exo2micro.core.errors import Exo2MicroError, RegistrationError

if TYPE_CHECKING:
    from napari_exo2micro.core.pair_statistics import PairStatistics
    from napari_exo2micro.core.scale_estimate import ScaleEstimate

__all__ = ["DEFAULT_SCALE", "ScaleMethod"]

DEFAULT_SCALE: Final = "moffat"
"""The method whose difference image is always made."""


@dataclass(frozen=True, slots=True)
class ScaleMethod:
    """A way to estimate the scale.

    Attributes
    ----------
    name : str
        As it stands in headers and in the name of its difference image.
    function : callable
        Takes `PairStatistics` and, where `parameter` is a number, its value; returns
        the scale (float) or a `ScaleEstimate`.
    caption : str
        One sentence for a person.
    title : str
        A few words for the window; the name in words by default.
    legend : str
        The same for plots; by default the title with a capital letter.
    colour : str
        Of its line in plots, ``#rrggbb``; one of a few others by default.
    parameter : str
        The parameter of stage 4 that asks for a difference image with this scale:
        one that is False or None by default. Without one, the scale is only noted
        for comparison.
    value_mark : str
        Letters that stand before the parameter's value in the image's name; the
        value is left out when empty.
    finds_offset : bool
        Whether `function` also takes the keyword `offset_correction`.
    reference : str
        Where the method is described.
    """

    name: str
    function: Callable[..., Any]
    caption: str
    title: str = ""
    legend: str = ""
    colour: str = ""
    parameter: str = ""
    value_mark: str = ""
    finds_offset: bool = False
    reference: str = ""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", str(self.name).replace("_", " "))
        if not self.legend:
            legend = self.title[:1].upper() + self.title[1:]
            object.__setattr__(self, "legend", legend)

    @property
    def needs_value(self) -> bool:
        """Whether `function` takes the value of the parameter."""
        return bool(self.parameter) and (
            PARAMETER_REGISTRY[self.parameter].kind is not bool
        )

    def is_asked_for(self, params: Mapping[str, Any]) -> bool:
        """Return whether parameters ask for a difference image with this scale.

        Parameters
        ----------
        params : mapping
            Parameter name -> value.

        Returns
        -------
        bool
            Always true of the default method.
        """
        if not self.parameter:
            return self.name == DEFAULT_SCALE
        value = params.get(self.parameter)
        return value is not None and value is not False

    def image_name(self, params: Mapping[str, Any]) -> str:
        """Return the name of its difference image: ``difference_<name>``.

        Parameters
        ----------
        params : mapping
            Parameter name -> value.

        Returns
        -------
        str
            As it stands in the file's name; that of the default method is
            ``difference`` alone.
        """
        if self.name == DEFAULT_SCALE:
            return "difference"
        name = f"difference_{self.name}"
        if self.value_mark:
            name += f"_{self.value_mark}{format_value(params[self.parameter])}"
        return name

    def estimate(
        self,
        statistics: PairStatistics | None,
        value: Any = None,
        *,
        offset_correction: bool = True,
    ) -> ScaleEstimate:
        """Return the scale.

        Parameters
        ----------
        statistics : PairStatistics
            Of the aligned pair.
        value : float, optional
            Of the parameter, where it is a number.
        offset_correction : bool
            Whether a method that finds an offset of post takes it off.

        Returns
        -------
        ScaleEstimate
            Its scale is finite and above 0.

        Raises
        ------
        RegistrationError
            When the function fails or does not return a scale above 0.
        """
        from napari_exo2micro.core.alignment.quality import Verdict
        from napari_exo2micro.core.scale_estimate import ScaleEstimate

        arguments = (value,) if self.needs_value else ()
        more = {"offset_correction": offset_correction} if self.finds_offset else {}
        try:
            found = self.function(statistics, *arguments, **more)
        except Exo2MicroError:
            raise
        except Exception as error:  # a stranger's function raises what it likes
            raise RegistrationError(
                f"the scale method '{self.name}' failed with "
                f"{type(error).__name__} ({error}); correct its function"
            ) from error
        if isinstance(found, ScaleEstimate):
            named = found.method == self.name
            found = found if named else replace(found, method=self.name)
        elif isinstance(found, (int, float)) or hasattr(found, "__float__"):
            found = ScaleEstimate(self.name, float(found), 0, 0, 0, Verdict("ok"))
        scale = getattr(found, "scale", math.nan)
        if not (math.isfinite(scale) and scale > 0):
            raise RegistrationError(
                f"the scale method '{self.name}' should return a number above 0 or a "
                f"ScaleEstimate, found {found!r}; correct its function"
            )
        estimate: ScaleEstimate = found
        return estimate
