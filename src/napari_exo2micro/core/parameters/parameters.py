"""Parameters and file-name suffixes: the registry that everything is made from.

One entry feeds the suffix of file names, the FITS key, the type check, the
command line, forms and the documentation.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from napari_exo2micro.core.base.errors import ParameterError
from napari_exo2micro.core.base.registry import Registry
from napari_exo2micro.core.parameters.stages import STAGE_NAMES

ParameterValue = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tuning parameter.

    Attributes
    ----------
    name : str
        As scripts and the command line spell it.
    default : bool, int, float, str or None
        The value that adds nothing to a file name.
    abbreviation : str
        Up to 8 lower-case letters: the part of a file name and the FITS key.
    stage : int
        The first stage that the parameter has an effect on.
    description : str
        One sentence for a tooltip.
    kind : type
        `bool`, `int`, `float` or `str`; of the values that are not None.
    optional : bool
        Whether None is a value, meaning "not asked for".
    minimum, maximum : float or None
        Inclusive limits of a number.
    exclusive_minimum : bool
        Whether `minimum` itself is refused.
    choices : tuple of str
        The values that a string can take.
    unit : str
        For people, for example "px" or "deg".
    label : str
        What a form calls it, in plain words; `title` when empty.
    group : str
        Heading under which a form shows it, within its stage.
    rare : bool
        Seldom needs a change: a form folds a group away that holds nothing else.
    """

    name: str
    default: ParameterValue
    abbreviation: str
    stage: int
    description: str
    kind: type
    optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    choices: tuple[str, ...] = ()
    unit: str = ""
    label: str = ""
    group: str = ""
    rare: bool = False

    def __iter__(self) -> Iterator[Any]:
        """Yield default, abbreviation, stage and description."""
        return iter((self.default, self.abbreviation, self.stage, self.description))

    def __getitem__(self, index: int) -> Any:
        """Return default, abbreviation, stage or description by its place."""
        return tuple(self)[index]

    @property
    def title(self) -> str:
        """What a person reads: the label, else the name in words."""
        return self.label or self.name.replace("_", " ")

    def check(self, value: Any) -> ParameterValue:
        """Return `value` as this parameter's type.

        Parameters
        ----------
        value : bool, int, float, str or None
            What is asked for.

        Returns
        -------
        bool, int, float, str or None
            Of the parameter's own type; None only where it is optional.

        Raises
        ------
        ParameterError
            When it has another type or lies out of range.
        """
        if value is None and self.optional:
            return None
        typed = _as_kind(value, self.kind)
        if typed is None or not self._in_range(typed):
            kind = f" ({type(value).__name__})" if typed is None else ""
            raise ParameterError(
                f"parameter '{self.name}' takes {self.wanted()}, found {value!r}{kind}"
            )
        return typed

    def _in_range(self, value: bool | int | float | str) -> bool:
        if isinstance(value, str):
            if self.optional and value.lower() == _NONE:
                return False  # it is how file names and people write None
            return value in self.choices if self.choices else bool(_WORD(value))
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if self.exclusive_minimum and value == low:
            return False
        return low <= value <= high and abs(value) != math.inf

    def limits(self) -> str:
        """Return the range or the choices with the unit: ``1 to 200 px``.

        Returns
        -------
        str
            Empty when there is no limit.
        """
        if self.choices:
            return ", ".join(self.choices)
        words = self._range()
        if self.maximum is not None:
            words = words.removeprefix("from ")
        return f"{words} {self.unit}".strip()

    def wanted(self) -> str:
        """Return in words what values the parameter takes.

        Returns
        -------
        str
            Such as ``a whole number from 1 to 200 (px)``.
        """
        words = {
            bool: "True or False",
            int: "a whole number",
            float: "a number",
            str: "a word of letters and digits",
        }[self.kind]
        if self.choices:
            words = "one of " + ", ".join(self.choices)
        words = f"{words} {self._range()}".strip()
        words += f" ({self.unit})" if self.unit else ""
        return words + (" or None" if self.optional else "")

    def _range(self) -> str:
        low, high = self.minimum, self.maximum
        up_to = "" if high is None else f"up to {high:g}"
        if low is None:
            return up_to
        if self.exclusive_minimum:
            return f"above {low:g} {up_to}".strip()
        return f"from {low:g} {up_to.removeprefix('up ')}".strip()


_WORD = re.compile(r"[A-Za-z0-9.]+").fullmatch
_NONE: Final = "none"


def _as_kind(value: Any, kind: type) -> bool | int | float | str | None:
    """Return `value` as `kind`, or None when it is of another type."""
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()  # a numpy scalar counts as the number it holds
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:  # of hundreds of digits
            return math.inf
    if kind is float and value == 0 and type(value) is float:
        return 0.0  # -0.0 is no other value, and must have no other name
    fits: bool = type(value) is kind
    return value if fits else None


def parameter(
    name: str,
    default: ParameterValue,
    abbreviation: str,
    stage: int,
    description: str,
    **more: Any,
) -> Parameter:
    """Return a `Parameter` whose type follows from its default.

    Parameters
    ----------
    name : str
        A Python name.
    default : bool, int, float, str or None
        None means an optional number.
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
        Not registered yet.
    """
    more.setdefault("kind", float if default is None else type(default))
    return Parameter(
        name,
        default,
        abbreviation,
        stage,
        description,
        optional=default is None,
        **more,
    )


def _section(stage: int, group: str, *, rare: bool = False) -> Callable[..., Parameter]:
    """Return what makes the parameters under one heading of a form."""

    def make(
        name: str,
        default: ParameterValue,
        abbreviation: str,
        description: str,
        **more: Any,
    ) -> Parameter:
        more |= {"group": group, "rare": rare}
        return parameter(name, default, abbreviation, stage, description, **more)

    return make


_canvas = _section(1, "Canvas")
_microbes = _section(5, "Microbes")
_which = _section(1, "Image in the file", rare=True)
_rings = _section(2, "Outline rings")
_coarse = _section(2, "Coarse search")
_icp = _section(2, "Limits of the fit (ICP)", rare=True)
_extra = _section(2, "Extra files", rare=True)
_ecc = _section(2, "Fine alignment (ECC)", rare=True)
_matching = _section(3, "Matching")
_limits = _section(3, "Limits")
_scales = _section(4, "Further scales")
_resampling = _section(3, "Resampling")
_offset = _section(4, "Offset")

PARAMETERS: tuple[Parameter, ...] = (
    _canvas(
        "pad",
        2000,
        "pad",
        "Empty pixels added on each side, so that nothing is cut off when the "
        "pre-stain image is moved.",
        minimum=0,
        maximum=20000,
        unit="px",
        label="empty margin",
    ),
    _rings(
        "use_edges",
        True,
        "ue",
        "The coarse search compares the section's outline; off: its brightness.",
        label="compare outlines",
    ),
    _rings(
        "boundary_width",
        15,
        "bw",
        "Thickness of the boundary ring.",
        minimum=1,
        maximum=200,
        unit="px at coarse scale",
        label="ring thickness",
    ),
    _rings(
        "boundary_smooth",
        10,
        "bs",
        "Gaussian sigma that softens the boundary ring.",
        minimum=0,
        maximum=200,
        unit="px at coarse scale",
        label="ring softness",
    ),
    _coarse(
        "rotation_search",
        True,
        "rs",
        "Search over turns.",
        label="search turns",
    ),
    _coarse(
        "angle_range",
        20.0,
        "ar",
        "The search covers turns up to this on either side.",
        minimum=0,
        maximum=180,
        unit="deg",
        label="turns up to ±",
    ),
    _coarse(
        "angle_step",
        1.0,
        "astep",
        "Step of the search over turns.",
        minimum=0.05,
        maximum=45,
        unit="deg",
        label="step of turns",
    ),
    _coarse(
        "scale_search",
        True,
        "ss",
        "Search over magnifications.",
        label="search magnifications",
    ),
    _coarse(
        "scale_min",
        0.85,
        "smin",
        "Smallest magnification tried.",
        minimum=0.2,
        maximum=5,
        label="smallest magnification",
    ),
    _coarse(
        "scale_max",
        1.15,
        "smax",
        "Largest magnification tried.",
        minimum=0.2,
        maximum=5,
        label="largest magnification",
    ),
    _coarse(
        "scale_step",
        0.05,
        "sstep",
        "Step of the search over magnifications.",
        minimum=0.001,
        maximum=1,
        label="step of magnifications",
    ),
    _coarse(
        "multiscale",
        True,
        "ms",
        "Run the coarse search before ICP; off: ICP starts from the images as "
        "they lie.",
        label="do the coarse search",
    ),
    _coarse(
        "down_scale",
        0.3,
        "ds",
        "Sets the coarse scale (a quarter of it) and that of the alignment pictures.",
        minimum=0.01,
        maximum=1,
        label="working resolution",
    ),
    _icp(
        "max_translation",
        200.0,
        "mtr",
        "Largest shift that ICP may add to the coarse result.",
        minimum=0,
        maximum=20000,
        unit="px",
        label="extra shift up to",
    ),
    _icp(
        "max_rotation",
        5.0,
        "mrot",
        "Largest turn that ICP may add to the coarse result.",
        minimum=0,
        maximum=180,
        unit="deg",
        label="extra turn up to",
    ),
    _icp(
        "max_scale_delta",
        0.2,
        "msd",
        "Largest deviation of either ICP magnification from 1.",
        minimum=0,
        maximum=1,
        label="change of magnification up to",
    ),
    _icp(
        "max_scale_diff",
        0.15,
        "msdf",
        "Largest difference between the two ICP magnifications.",
        minimum=0,
        maximum=1,
        label="stretch up to",
    ),
    _extra(
        "save_all_intermediates",
        False,
        "sai",
        "Also keep the image as the coarse search alone would align it.",
        label="also keep the coarse result",
    ),
    _ecc(
        "fine_ecc",
        False,
        "fecc",
        "Maximise the correlation (ECC, homography) after ICP: 'stage 2.5'.",
        label="maximise the correlation",
    ),
    _ecc(
        "stopit",
        500,
        "sit",
        "Iterations of the ECC.",
        minimum=1,
        maximum=100000,
        label="iterations at most",
    ),
    _ecc(
        "stopdelta",
        1e-6,
        "sdl",
        "The ECC stops when the correlation changes by less.",
        minimum=0,
        maximum=1,
        exclusive_minimum=True,
        label="stop at a gain below",
    ),
    _matching(
        "interior_ecc",
        True,
        "iecc",
        "Refine the alignment on the section's interior (the name is historical: "
        "features and tiles are matched); off: stage 2 stands.",
        label="refine on the interior",
    ),
    _matching(
        "interior_blur_base",
        8.0,
        "iblur",
        "Gaussian sigma before features are detected, for a section 30000 px wide; "
        "smaller sections are blurred in proportion.",
        minimum=0,
        maximum=200,
        unit="px",
        label="blur before matching",
    ),
    _limits(
        "interior_max_correction",
        500.0,
        "imc",
        "Largest movement that the interior may add to stage 2.",
        minimum=0,
        exclusive_minimum=True,
        maximum=20000,
        unit="px",
        label="largest correction",
    ),
    _limits(
        "interior_min_inlier_ratio",
        0.4,
        "imir",
        "Smallest share of the matches that must agree on one homography.",
        minimum=0,
        maximum=1,
        label="smallest share that agrees",
    ),
    _scales(
        "scale_percentile",
        None,
        "sp",
        "Adds a difference image whose scale is this percentile of post/pre.",
        minimum=0,
        maximum=100,
        unit="%",
        label="scale from a percentile",
    ),
    _scales(
        "manual_scale",
        None,
        "msc",
        "Adds a difference image with this scale.",
        minimum=0,
        maximum=1000,
        exclusive_minimum=True,
        label="scale by hand",
    ),
    # Beyond the reference system's table, so after it: old suffixes stay as they are.
    _coarse(
        "orientation_search",
        True,
        "osearch",
        "When the outline cannot decide, search on features for any turn and for "
        "mirror images.",
        label="try any turn and mirror images",
    ),
    _matching(
        "local",
        "auto",
        "loc",
        "What is followed beyond turn, magnification and perspective: 'smooth', a "
        "section that bends; 'seams', also tiles that were stitched beside their "
        "place; 'auto', what tiles left out prove; 'off', nothing.",
        choices=("auto", "off", "smooth", "seams"),
        label="follow bends and seams",
    ),
    _resampling(
        "interpolation",
        "cubic",
        "interp",
        "How the pre-stain image is resampled, once: linear is smoothest and fastest, "
        "cubic (Keys) keeps structures where they are, lanczos keeps most detail.",
        choices=("linear", "cubic", "lanczos"),
        label="resampling",
    ),
    _offset(
        "offset_correction",
        True,
        "oc",
        "Estimate a constant offset between the images and take it off when it is "
        "significant.",
        label="take off a constant offset",
    ),
    _offset(
        "background_model",
        "auto",
        "bgm",
        "Adds a difference image that follows focus, gain and offset from place to "
        "place: 'auto', where parts of the section left out prove that it leaves "
        "clearly less of the minerals.",
        choices=("auto", "off", "on"),
        label="background model",
    ),
    _canvas(
        "pixel_size",
        None,
        "px",
        "Side of a pixel of the post-stain image; without it, as the files note it.",
        minimum=0,
        exclusive_minimum=True,
        maximum=1000,
        unit="µm",
        label="pixel size",
    ),
    _which(
        "page",
        0,
        "page",
        "Which page of a raw file that holds several, counted from 1; 0: not said.",
        minimum=0,
        maximum=1_000_000,
        label="page of the file",
    ),
    _which(
        "pre_page",
        0,
        "prepage",
        "The same of the pre-stain file, where it differs; 0: not said.",
        minimum=0,
        maximum=1_000_000,
        label="page of the pre-stain file",
    ),
    _which(
        "channel",
        "auto",
        "chan",
        "Which channel of a raw file that holds several: auto (by the name of the "
        "dye), its name without spaces, its number, sum (of all that show something), "
        "or stored (the numbers of a palette image).",
        label="channel of the file",
    ),
    _which(
        "pre_channel",
        "auto",
        "prechan",
        "The same of the pre-stain file, where it differs.",
        label="channel of the pre-stain file",
    ),
    _which(
        "projection",
        "none",
        "proj",
        "What becomes of the planes of a stack: their maximum or their mean.",
        choices=("none", "maximum", "mean"),
        label="stack of planes",
    ),
    _microbes(
        "false_positives",
        1.0,
        "fpos",
        "How many spots of mere noise may be taken for microbes: the threshold of the "
        "S/N follows from it.",
        minimum=0,
        exclusive_minimum=True,
        maximum=100_000,
        label="false ones allowed",
    ),
    _microbes(
        "false_positives_per",
        "section",
        "fper",
        "Whether so many are allowed on the section or on each square millimetre, for "
        "which the size of a pixel must be known.",
        choices=("section", "mm2"),
        label="false ones allowed per",
    ),
    _microbes(
        "snr_min",
        None,
        "snr",
        "Threshold of the S/N by hand, 2.5 at least; without it, as the false ones "
        "allowed want it.",
        minimum=0,
        exclusive_minimum=True,
        maximum=500,
        label="least S/N",
    ),
    _microbes(
        "control",
        "none",
        "control",
        "A sample of the same raw folder without microbes, run before with the same "
        "parameters: its spots tell how many are false here. Letters, digits and dots "
        "of its name; none: no control.",
        label="control",
    ),
    _microbes(
        "test_microbes",
        0,
        "tmic",
        "So many artificial microbes are put into post, one after the other, to see "
        "how many are found: the number is then corrected for those that are missed. "
        "2000 are enough; 0: the number is that of the microbes found.",
        minimum=0,
        maximum=100_000,
        label="test microbes",
    ),
)


ENTRY_POINT_GROUP: Final = "napari_exo2micro.parameters"
"""Other packages offer parameters here: a name, and a `Parameter` or several."""

_KINDS: Final = (bool, int, float, str)
#: What an abbreviation must not look like: `store.name_ending` writes x and a hash.
_SHORTENED = re.compile(r"x[a-f]*$")
_ABBREVIATION = re.compile(r"[a-z]{1,8}")
# FITS keys that a checkpoint's header uses for something else.
RESERVED_KEYS = frozenset(
    (
        "SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 EXTEND BZERO BSCALE END COMMENT HISTORY "
        "SAMPLE DYE STAGE NAME CREATED SOFTWARE VERSION SCHEMA IACC ILVLOK SCALE "
        "SCALEK SCALEERR OFFSET VERDICT REASON RAWHASH DIRECTN DATE ORIGIN BUNIT "
        "XTENSION PCOUNT GCOUNT GROUPS EXTNAME EXTVER CHECKSUM DATASUM BLANK "
        "CONTINUE HIERARCH LONGSTRN INHERIT NAXIS3 DATAMIN DATAMAX HEADSUM "
        "POSTMISS PREMISS CRPIX1 CRPIX2 CRVAL1 CRVAL2 CDELT1 CDELT2 CUNIT1 CUNIT2 "
        "DISPMAX DISPFILE DISPSUM STRUCT STRUCTM MODELPOW MODELLOS "
        "NMICROBE NMICLOW NMICHIGH SNRMIN NDARK NCONTROL FLUXMIN FOUNDPCT "
        + " ".join(f"PIXSUM{n}" for n in range(100))
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
        without doubt, or is a key that a header needs; when the default is of no
        type that a parameter has, or does not fit the entry; and when a choice is no
        word of letters, digits and dots.

    Examples
    --------
    >>> entry = register_parameter("despeckle", 3, "medsize", 4, "Size.", minimum=1)
    >>> entry.wanted()
    'a whole number from 1'
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


def _check(entry: Parameter, known: Mapping[str, Parameter]) -> None:
    """Raise when a parameter cannot be taken, or be told from others in file names."""
    name, short = entry.name, entry.abbreviation
    if not name.isidentifier() or name in known:
        raise ParameterError(
            f"parameter name '{name}' is taken or not a Python name; choose another"
        )
    if entry.stage not in STAGE_NAMES:
        raise ParameterError(
            f"parameter '{name}' needs a stage from 1 to {max(STAGE_NAMES)}, "
            f"found {entry.stage!r}"
        )
    if not _ABBREVIATION.fullmatch(short):
        raise ParameterError(
            f"abbreviation '{short}' of '{name}' must be 1 to 8 lower-case "
            "letters (it becomes a FITS key and a part of file names)"
        )
    if short.upper() in RESERVED_KEYS:
        raise ParameterError(
            f"abbreviation '{short}' of '{name}' is a key that checkpoint "
            "headers use already; choose another"
        )
    for other in known.values():
        if other.abbreviation == short:
            raise ParameterError(
                f"abbreviation '{short}' of '{name}' belongs to "
                f"'{other.name}'; choose another"
            )
        if other.abbreviation.startswith(short) or short.startswith(other.abbreviation):
            raise ParameterError(
                f"abbreviation '{short}' of '{name}' and "
                f"'{other.abbreviation}' of '{other.name}' begin alike, so a file "
                "name could be misread; choose another"
            )
    if _SHORTENED.match(short):
        raise ParameterError(
            f"abbreviation '{short}' of '{name}' could be taken for the hash that "
            "stands for a long suffix; choose one that does not begin with x"
        )
    _check_values(entry)


def _check_values(entry: Parameter) -> None:
    """Raise when a value could not be written in a file name and read back."""
    name, default = entry.name, entry.default
    if entry.kind not in _KINDS:
        raise ParameterError(
            f"parameter '{name}' is of type {entry.kind.__name__}, found default "
            f"{default!r}; a parameter is a bool, int, float or str, or None for an "
            "optional number: make several of them"
        )
    if entry.choices and entry.kind is not str:
        raise ParameterError(
            f"parameter '{name}' has choices, which are for words only, but is of type "
            f"{entry.kind.__name__}; give minimum and maximum instead"
        )
    choices: tuple[Any, ...] = entry.choices
    for choice in choices:
        is_word = isinstance(choice, str) and _WORD(choice)
        if not is_word or (entry.optional and choice.lower() == _NONE):
            raise ParameterError(
                f"the choice {choice!r} of parameter '{name}' cannot be read back from "
                "a file name; use letters, digits and dots, and not the word none "
                "where None is a value"
            )
    if default is not None or not entry.optional:
        entry.check(default)


#: name -> `Parameter`, in the order of a suffix.
PARAMETER_REGISTRY: Registry[str, Parameter] = Registry(
    "parameter",
    ENTRY_POINT_GROUP,
    Parameter,
    key=lambda entry: entry.name,
    built_in=PARAMETERS,
    check=_check,
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
    check_together(checked)
    return checked


def check_together(params: Mapping[str, ParameterValue]) -> None:
    """Raise when values, each of which fits, do not go with each other."""
    low, high = params.get("scale_min"), params.get("scale_max")
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise ParameterError(
            f"scale_min must not exceed scale_max, found {low:g} and {high:g}"
        )


def non_default_params(
    params: Mapping[str, ParameterValue], stage: int | None = None
) -> dict[str, ParameterValue]:
    """Return the parameters that differ from their defaults, in registry order.

    A missing name counts as its default; only those of stages 1..`stage` where given.
    """
    last = max(STAGE_NAMES) if stage is None else stage
    return {
        name: params[name]
        for name, entry in PARAMETER_REGISTRY.items()
        if entry.stage <= last and params.get(name, entry.default) != entry.default
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
    return suffix_of(check_parameters(params), stage)


def suffix_of(params: Mapping[str, ParameterValue], stage: int | None = None) -> str:
    """Return `build_suffix` of parameters that are checked already."""
    return "".join(
        f"_{ABBREVIATIONS[name]}{format_value(value)}"
        for name, value in non_default_params(params, stage).items()
    )


def format_value(value: ParameterValue) -> str:
    """Return a value as file names spell it, so that it reads back the same."""
    if value is None:
        return _NONE
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
    for name, entry in PARAMETER_REGISTRY.items():
        if part.startswith(entry.abbreviation):
            try:
                return name, _read_value(part.removeprefix(entry.abbreviation), entry)
            except ValueError:
                continue  # a longer abbreviation may fit: ms, msd, msdf
    raise ParameterError(
        f"the part '{part}' of the suffix '{suffix}' is no parameter with a value; "
        "known abbreviations: " + ", ".join(ABBREVIATIONS.values())
    )


def _read_value(text: str, entry: Parameter) -> ParameterValue:
    """Return what `format_value` wrote; a `ValueError` when it is something else."""
    if text == _NONE and entry.optional:
        return None
    if entry.kind is str:
        return entry.check(text)
    if entry.kind is bool and text in ("0", "1"):
        return text == "1"
    if entry.kind is bool or not _NUMBER(text):
        raise ValueError(text)
    return entry.check(entry.kind(text))


_NUMBER = re.compile(r"-?\d[\d.]*(e[-+]?\d+)?").fullmatch
