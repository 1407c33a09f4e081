"""The scale methods: one registry that differencing, plots, names and forms follow."""

import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from napari_exo2micro.core.base import Exo2MicroError, ParameterError, RegistrationError
from napari_exo2micro.core.base.registry import Registry
from napari_exo2micro.core.parameters import (
    DIFFERENCE_STAGE,
    State,
    Verdict,
    parameters,
)
from napari_exo2micro.core.photometry.scale import (
    ScaleEstimate,
    least_squares_scale,
    manual_scale,
    moffat_scale,
    robust_percentile_scale,
    scale_at_percentile,
)
from napari_exo2micro.core.photometry.statistics import PairStatistics

DEFAULT_SCALE: Final = "moffat"
"""The method whose difference image is always made."""

MODEL_SCALE: Final = "model"
"""The method whose difference takes off a `BackgroundModel`."""


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
        one that is False, None or 'off' by default. Without one, the scale is only
        noted for comparison.
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
            parameters.PARAMETER_REGISTRY[self.parameter].kind in (int, float)
        )

    def is_asked_for(
        self, params: Mapping[str, Any], proven: Container[str] = ()
    ) -> bool:
        """Return whether parameters ask for a difference image with this scale.

        Parameters
        ----------
        params : mapping
            Parameter name -> value.
        proven : container of str
            The methods that the pair has proven better: 'auto' asks for these.

        Returns
        -------
        bool
            Always true of the default method.
        """
        if not self.parameter:
            return self.name == DEFAULT_SCALE
        value = params.get(self.parameter)
        return self.name in proven if value == "auto" else _asks(value)

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
            name += (
                f"_{self.value_mark}{parameters.format_value(params[self.parameter])}"
            )
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
        arguments = (value,) if self.needs_value else ()
        more = {"offset_correction": offset_correction} if self.finds_offset else {}
        try:
            returned = self.function(statistics, *arguments, **more)
        except Exo2MicroError:
            raise
        except Exception as error:  # a stranger's function raises what it likes
            raise RegistrationError(
                f"the scale method '{self.name}' failed with "
                f"{type(error).__name__} ({error}); correct its function"
            ) from error
        if isinstance(returned, ScaleEstimate):
            estimate = replace(returned, method=self.name)
        else:
            scale = float(returned) if hasattr(returned, "__float__") else math.nan
            estimate = ScaleEstimate(self.name, scale, 0, 0, 0, Verdict(State.OK))
        if not (math.isfinite(estimate.scale) and estimate.scale > 0):
            raise RegistrationError(
                f"the scale method '{self.name}' should return a number above 0 or a "
                f"ScaleEstimate, found {returned!r}; correct its function"
            )
        return estimate


def _asks(value: Any) -> bool:
    """Return whether a parameter's value asks for something; a number 0 does."""
    return value is not False and value not in (None, "off")


ENTRY_POINT_GROUP: Final = "napari_exo2micro.scale_methods"
"""Other packages offer scale methods here: a name, and a `ScaleMethod` or several."""


def _check(method: ScaleMethod, _known: Mapping[str, ScaleMethod]) -> None:
    """Raise when a method cannot be taken."""
    name = method.name
    if not str(name).isidentifier():
        raise ParameterError(
            f"a scale method needs a name like 'my_method', found {name!r}; rename it"
        )
    if not callable(method.function):
        raise ParameterError(
            f"the scale method '{name}' needs a function, found {method.function!r}"
        )
    if _reads_as_parameter(name):
        raise ParameterError(
            f"the name of the scale method '{name}' reads like a parameter in a file "
            "name; choose another one"
        )
    if not method.parameter:
        return
    entry = parameters.PARAMETER_REGISTRY.get(method.parameter)
    if entry is None:
        raise ParameterError(
            f"the scale method '{name}' is asked for with the parameter "
            f"'{method.parameter}', which is not registered; register it first"
        )
    if entry.stage > DIFFERENCE_STAGE or _asks(entry.default):
        raise ParameterError(
            f"the parameter '{entry.name}' of the scale method '{name}' must belong to "
            f"stage {DIFFERENCE_STAGE} or an earlier one and be None, False or 'off' "
            f"by default, found stage {entry.stage} and {entry.default!r}"
        )


def _reads_as_parameter(name: str) -> bool:
    try:
        return bool(parameters.params_from_suffix(f"_{name}"))
    except ParameterError:
        return False


def register_scale_method(
    name: str,
    function: Callable[..., Any],
    *,
    caption: str,
    title: str = "",
    colour: str = "",
    parameter: str = "",
    reference: str = "",
    finds_offset: bool = False,
    replace: bool = False,
) -> ScaleMethod:
    """Make a scale method known under a name.

    Parameters
    ----------
    name : str
        An identifier that is not taken.
    function : callable
        Takes `PairStatistics` and, where `parameter` is a number, its value; returns
        the scale (float) or a `ScaleEstimate`.
    caption : str
        One sentence for a person.
    title : str
        A few words for the window; the name in words by default.
    colour : str
        Of its line in plots, ``#rrggbb``; one of a few others by default.
    parameter : str
        The parameter of stage 4 that asks for a difference image with this scale.
    reference : str
        Where the method is described.
    finds_offset : bool
        Whether `function` also takes the keyword `offset_correction`.
    replace : bool
        Whether a method of that name that a script registered may be replaced.

    Returns
    -------
    ScaleMethod
        What was registered.

    Raises
    ------
    ParameterError
        If the name is no identifier or is taken, or if the parameter is not there.

    Examples
    --------
    >>> method = register_scale_method("double", lambda _: 2.0, caption="Two.")
    >>> method.title
    'double'
    >>> unregister_scale_method("double")
    """
    method = ScaleMethod(
        name,
        function,
        caption,
        title=title,
        colour=colour,
        parameter=parameter,
        reference=reference,
        finds_offset=finds_offset,
    )
    if replace and name in SCALE_METHODS.added:
        SCALE_METHODS.remove(name)
    return SCALE_METHODS.add(method)


def unregister_scale_method(name: str) -> None:
    """Forget a method that `register_scale_method` made known.

    Parameters
    ----------
    name : str
        Its name.

    Raises
    ------
    ParameterError
        If there is none of this name, or it is a built-in one.
    """
    SCALE_METHODS.remove(name)


def scales_asked_for(
    params: Mapping[str, Any], proven: Container[str] = ()
) -> dict[str, ScaleMethod]:
    """Return the methods whose images parameters ask for, the default one first.

    Parameters
    ----------
    params : mapping
        Parameter name -> value.
    proven : container of str
        The methods that the pair has proven better: 'auto' asks for these.

    Returns
    -------
    dict
        Name -> method.
    """
    return {
        name: method
        for name, method in SCALE_METHODS.items()
        if method.is_asked_for(params, proven)
    }


def scale_title(kind: str) -> str:
    """Return a scale's kind in words, as the header tells it: ``'Moffat fit'``."""
    method = SCALE_METHODS.get(kind)
    return method.title if method else kind


def further_scales(result: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """Return what other packages' methods found in a run: title, value, uncertainty."""
    return [
        (scale_title(kind), float(scale["value"]), float(scale["uncertainty"]))
        for kind, scale in result.get("scales", {}).items()
        if kind in SCALE_METHODS and not SCALE_METHODS.is_built_in(kind)
    ]


SCALE_METHODS: Registry[str, ScaleMethod] = Registry(
    "scale method",
    ENTRY_POINT_GROUP,
    ScaleMethod,
    key=lambda method: method.name,
    check=_check,
    of_function=ScaleMethod,
    built_in=(
        ScaleMethod(
            "moffat",
            moffat_scale,
            "Peak of the minerals' ratio distribution, offset taken off.",
            title="Moffat fit",
            legend="Moffat",
            colour="#00cc88",
            finds_offset=True,
            reference="A. F. J. Moffat, Astronomy & Astrophysics 3 (1969) 455",
        ),
        ScaleMethod(
            "percentile",
            scale_at_percentile,
            "A percentile of the ratio that a person chose.",
            title="percentile",
            colour="#ff9933",
            parameter="scale_percentile",
            value_mark="p",
        ),
        ScaleMethod(
            "manual",
            lambda _statistics, scale: manual_scale(scale),
            "A scale that a person chose.",
            title="by hand",
            colour="#ff3366",
            parameter="manual_scale",
        ),
        ScaleMethod(
            MODEL_SCALE,
            moffat_scale,
            "The Moffat scale, with focus, gain and offset of each place.",
            title="background model",
            colour="#66b3ff",
            parameter="background_model",
            finds_offset=True,
            reference="C. Alard & R. H. Lupton, Astrophys. J. 503 (1998) 325",
        ),
        ScaleMethod(
            "least_squares",
            least_squares_scale,
            "Least squares over all pixels; too high where microbes are bright.",
        ),
        ScaleMethod(
            "robust_percentile",
            robust_percentile_scale,
            "90th percentile of the ratio; too high where images are well aligned.",
        ),
    ),
)
"""The known methods by name, the default one first."""


def estimate_scale(
    statistics: PairStatistics,
    method: str = "moffat",
    *,
    value: float | None = None,
    offset_correction: bool = True,
) -> ScaleEstimate:
    """Return the scale by a registered method.

    Parameters
    ----------
    statistics : PairStatistics
        Of the aligned pair.
    method : str
        A name in `SCALE_METHODS`.
    value : float, optional
        Of the parameter that the method is asked for with, where it is a number.
    offset_correction : bool
        Whether a method that finds an offset of post takes it off.

    Returns
    -------
    ScaleEstimate
        Never NaN; whether it is to be trusted stands in its verdict.

    Raises
    ------
    ParameterError
        If there is no such method, or it needs a value.
    RegistrationError
        If another package's method fails.

    References
    ----------
    A. F. J. Moffat, Astronomy & Astrophysics 3 (1969) 455: the profile of the
    method ``'moffat'``.

    Examples
    --------
    >>> from napari_exo2micro.core.simulate import simulate_section
    >>> from napari_exo2micro.core.photometry import accumulate_statistics
    >>> pair = simulate_section((600, 700), seed=1, gain=1.4)
    >>> estimate = estimate_scale(accumulate_statistics(pair.post, pair.pre))
    >>> estimate.verdict.state == "ok", abs(estimate.scale / 1.4 - 1) < 0.01
    (True, True)
    """
    if method not in SCALE_METHODS:
        known = ", ".join(sorted(SCALE_METHODS))
        raise ParameterError(
            f"the scale method must be one of {known}, found {method!r}; choose one"
        )
    chosen = SCALE_METHODS[method]
    if chosen.needs_value and value is None:
        raise ParameterError(
            f"the scale method '{method}' needs the value of '{chosen.parameter}', "
            "found None; give value=..."
        )
    return chosen.estimate(statistics, value, offset_correction=offset_correction)
