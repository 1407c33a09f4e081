"""Parameters and file-name suffixes: the registry that everything is made from.

One entry feeds the suffix of file names, the FITS key, the type check, the
command line, forms and the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from napari_exo2micro.core.errors import ParameterError
from napari_exo2micro.core.parameter_entry import Parameter, ParameterValue, parameter
from napari_exo2micro.core.parameter_table import PARAMETERS
from napari_exo2micro.core.registries import Registry
from napari_exo2micro.core.stages import STAGE_NAMES, STAGES

__all__ = [
    "ABBREVIATIONS",
    "ENTRY_POINT_GROUP",
    "MAX_STAGE",  # noqa: F822 (given by __getattr__)
    "PARAMETER_REGISTRY",
    "STAGE_NAMES",
    "Parameter",
    "ParameterValue",
    "build_suffix",
    "check_parameters",
    "default_params",
    "non_default_params",
    "params_from_suffix",
    "register_parameter",
    "unregister_parameter",
]

ENTRY_POINT_GROUP: Final = "napari_exo2micro.parameters"
"""Other packages offer parameters here: a name, and a `Parameter` or several."""

_ABBREVIATION = re.compile(r"[a-z]{1,8}")
# FITS keys that a checkpoint's header uses for something else.
RESERVED_KEYS = frozenset(
    (
        "SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 EXTEND BZERO BSCALE END COMMENT HISTORY "
        "SAMPLE DYE STAGE NAME CREATED SOFTWARE VERSION SCHEMA IACC ILVLOK SCALE "
        "SCALEK SCALEERR OFFSET VERDICT REASON RAWHASH DIRECTN DATE ORIGIN BUNIT "
        "XTENSION PCOUNT GCOUNT GROUPS EXTNAME EXTVER CHECKSUM DATASUM BLANK "
        "CONTINUE HIERARCH LONGSTRN INHERIT NAXIS3 DATAMIN DATAMAX HEADSUM"
    ).split()
)


def register_parameter(
    name: str,
    default: ParameterValue,
    abbreviation: str,
    stage: int,
    description: str,
    **more: Any,
) -> Parameter:
    """Add a parameter of one's own; suffix, header, form and options follow.

    Parameters
    ----------
    name : str
        A Python name that is not taken.
    default : bool, int, float, str or None
        Its type is the parameter's; None means an optional number.
    abbreviation : str
        1 to 8 lower-case letters, for file names and FITS cards.
    stage : int
        The stage that it changes.
    description : str
        One sentence for a person.
    **more : object
        Further fields of `Parameter`, such as `minimum` or `unit`.

    Returns
    -------
    Parameter
        The new entry of `PARAMETER_REGISTRY`.

    Raises
    ------
    ParameterError
        When name or abbreviation is taken, cannot be read back from a file name
        without doubt, or is a key that a header needs, and when the default does
        not fit the entry.

    Examples
    --------
    >>> entry = register_parameter("despeckle", 3, "medsize", 4, "Size.", minimum=1)
    >>> entry.wanted()
    'a whole number of at least 1'
    >>> unregister_parameter("despeckle")
    """
    return PARAMETER_REGISTRY.add(
        parameter(name, default, abbreviation, stage, description, **more)
    )


def unregister_parameter(name: str) -> None:
    """Remove a parameter that `register_parameter` added.

    Parameters
    ----------
    name : str
        Its name.

    Raises
    ------
    ParameterError
        When there is none of this name, or it is a built-in one.
    """
    PARAMETER_REGISTRY.remove(name)


def _check(entry: Parameter) -> None:
    """Raise when a parameter cannot be taken."""
    name = entry.name
    if not name.isidentifier() or name in PARAMETER_REGISTRY:
        raise ParameterError(
            f"parameter name '{name}' is taken or not a Python name; choose another"
        )
    if entry.stage not in STAGE_NAMES:
        raise ParameterError(
            f"parameter '{name}' needs a stage from 1 to {max(STAGE_NAMES)}, "
            f"found {entry.stage!r}"
        )
    _refuse_ambiguous(entry)
    if entry.default is not None:
        entry.check(entry.default)


def _refuse_ambiguous(entry: Parameter) -> None:
    """Raise when the abbreviation could be read as another one plus a value."""
    short = entry.abbreviation
    if not _ABBREVIATION.fullmatch(short):
        raise ParameterError(
            f"abbreviation '{short}' of '{entry.name}' must be 1 to 8 lower-case "
            "letters (it becomes a FITS key and a part of file names)"
        )
    if short.upper() in RESERVED_KEYS:
        raise ParameterError(
            f"abbreviation '{short}' of '{entry.name}' is a key that checkpoint "
            "headers use already; choose another"
        )
    for other in PARAMETER_REGISTRY.values():
        if other.abbreviation == short:
            raise ParameterError(
                f"abbreviation '{short}' of '{entry.name}' belongs to "
                f"'{other.name}'; choose another"
            )
        if other.abbreviation.startswith(short) or short.startswith(other.abbreviation):
            raise ParameterError(
                f"abbreviation '{short}' of '{entry.name}' and "
                f"'{other.abbreviation}' of '{other.name}' begin alike, so a file "
                "name could be misread; choose another"
            )


#: name -> `Parameter`, in the order of a suffix.
PARAMETER_REGISTRY: Registry[str, Parameter] = Registry(
    "parameter",
    ENTRY_POINT_GROUP,
    key=lambda entry: entry.name,
    built_in=PARAMETERS,
    check=_check,
    after=(STAGES,),
)

#: name -> abbreviation, in the order of a suffix.
ABBREVIATIONS: Mapping[str, str] = PARAMETER_REGISTRY.view(
    lambda entry: entry.abbreviation
)


def default_params() -> dict[str, ParameterValue]:
    """Return all parameters at their defaults, in registry order.

    Returns
    -------
    dict
        Parameter name -> value.
    """
    return {entry.name: entry.default for entry in PARAMETER_REGISTRY.values()}


def check_parameters(values: Mapping[str, Any]) -> dict[str, ParameterValue]:
    """Return `values` with each one checked and in its parameter's type.

    Parameters
    ----------
    values : mapping
        Parameter name -> value.

    Returns
    -------
    dict
        The same names in the same order.

    Raises
    ------
    ParameterError
        When a name is unknown (the message lists the valid ones), a value has the
        wrong type or is out of range, or `scale_min` exceeds `scale_max`.
    """
    unknown = sorted(set(values) - set(PARAMETER_REGISTRY))
    if unknown:
        raise ParameterError(
            f"unknown parameter {', '.join(map(repr, unknown))}; valid names: "
            + ", ".join(PARAMETER_REGISTRY)
        )
    checked = {name: PARAMETER_REGISTRY[name].check(v) for name, v in values.items()}
    low, high = checked.get("scale_min"), checked.get("scale_max")
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise ParameterError(
            f"scale_min must not exceed scale_max, found {low:g} and {high:g}"
        )
    return checked


def non_default_params(
    params: Mapping[str, ParameterValue], stage: int | None = None
) -> dict[str, ParameterValue]:
    """Return the parameters that differ from their defaults, in registry order.

    Parameters
    ----------
    params : mapping
        Parameter values; a missing name counts as its default.
    stage : int, optional
        Only parameters of stages 1..`stage`.
    """
    last = max(STAGE_NAMES) if stage is None else stage
    return {
        entry.name: params[entry.name]
        for entry in PARAMETER_REGISTRY.values()
        if entry.stage <= last
        and entry.name in params
        and params[entry.name] != entry.default
    }


def build_suffix(params: Mapping[str, ParameterValue], stage: int | None = None) -> str:
    """Return the part of a file name that tells the parameters of a stage.

    Parameters
    ----------
    params : mapping
        Parameter values; a missing name counts as its default.
    stage : int, optional
        Only parameters of stages 1..`stage` count; all of them when None.

    Returns
    -------
    str
        ``_<abbreviation><value>`` for each parameter that differs from its
        default, in registry order; empty when none does. Different values give
        different suffixes.

    Examples
    --------
    >>> build_suffix({"boundary_width": 20, "manual_scale": 1.42}, stage=2)
    '_bw20'
    >>> build_suffix({"boundary_width": 20, "manual_scale": 1.42})
    '_bw20_msc1.42'
    """
    changed = non_default_params(check_parameters(params), stage)
    return "".join(
        f"_{ABBREVIATIONS[name]}{format_value(value)}"
        for name, value in changed.items()
    )


def format_value(value: ParameterValue) -> str:
    """Return a value as file names spell it, so that it reads back the same."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def params_from_suffix(suffix: str) -> dict[str, ParameterValue]:
    """Return the parameters that a suffix tells; the inverse of `build_suffix`.

    Parameters
    ----------
    suffix : str
        As `build_suffix` makes it. ``_sp_none`` is read like ``_spnone``.

    Returns
    -------
    dict
        Parameter name -> value, those that the suffix tells.

    Raises
    ------
    ParameterError
        On a part that names no parameter or whose value cannot be read, on a
        parameter that comes twice, and on a suffix that was shortened to a hash
        (then the file's header holds the parameters).

    Examples
    --------
    >>> params_from_suffix("_bw20_sp99.1")
    {'boundary_width': 20, 'scale_percentile': 99.1}
    """
    if re.fullmatch(r"_x[0-9a-f]{10}", suffix):
        raise ParameterError(
            f"'{suffix}' stands for a suffix that was too long for a file name; "
            "read the parameters from the file's header instead"
        )
    parts = suffix.removeprefix("_").split("_") if suffix else []
    params: dict[str, ParameterValue] = {}
    while parts:
        part = parts.pop(0)
        if parts and parts[0] == "none" and part in ABBREVIATIONS.values():
            part += parts.pop(0)
        name, value = _read_part(part, suffix)
        if name in params:
            raise ParameterError(f"'{name}' comes twice in the suffix '{suffix}'")
        params[name] = value
    return params


def _read_part(part: str, suffix: str) -> tuple[str, ParameterValue]:
    for entry in PARAMETER_REGISTRY.values():
        if part.startswith(entry.abbreviation):
            try:
                return entry.name, _read_value(
                    part.removeprefix(entry.abbreviation), entry
                )
            except (ValueError, ParameterError):
                continue  # a longer abbreviation may fit: ms, msd, msdf
    raise ParameterError(
        f"the part '{part}' of the suffix '{suffix}' is no parameter with a value; "
        "known abbreviations: " + ", ".join(ABBREVIATIONS.values())
    )


def _read_value(text: str, entry: Parameter) -> ParameterValue:
    if text == "none":
        return entry.check(None)
    if entry.kind is bool:
        return {"0": False, "1": True}[text] if text in "01" and text else _no(text)
    if entry.kind is str:
        return entry.check(text)
    if not re.fullmatch(r"-?\d[\d.]*(e[-+]?\d+)?", text):
        _no(text)
    return entry.check(entry.kind(text))


def _no(text: str) -> ParameterValue:
    raise ValueError(text)


def __getattr__(name: str) -> int:
    """Return `MAX_STAGE`, the number of the last stage registered so far."""
    if name == "MAX_STAGE":
        return max(STAGE_NAMES)
    raise AttributeError(name)
