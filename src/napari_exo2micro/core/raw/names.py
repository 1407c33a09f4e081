"""Names of raw files: what is pre, what is post, and of which dye."""

import codecs
import difflib
import os
import re
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from napari_exo2micro.core.base import errors
from napari_exo2micro.core.base.files import Listing, list_folder
from napari_exo2micro.core.base.text import composed, is_unseen
from napari_exo2micro.core.images.containers import is_container_name, is_zarr_name
from napari_exo2micro.core.raw.table import TableRow, read_pair_table

Stain = Literal["pre", "post"]

#: What a raw folder should hold, for messages.
EXPECTED = "<sample>/<anything>Pre<anything>_<Dye>.tif and the same with Post"

#: File systems allow 255; suffixes follow a name.
MAX_NAME_BYTES = 200

#: Letters of a name in a message.
_MOST_SHOWN = 60
_TIFF_EXTENSIONS = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
#: What tells the stain, surest first: said with the word, a word by itself, the start
#: of a word, its end. Cypress and Precambrian are samples, PrestoBlue is a dye.
_MARKERS = tuple(
    map(
        re.compile,
        (
            r"(?i:(pre|post)[-_ .]?stain)",
            r"(?<![^\W\d_])(?i:(pre|post))(?![^\W\d_])"
            r"|(?<![^\W\d_])(Pre|Post)(?=[A-Z])|(?<=[a-z])(Pre|Post)(?![a-z])",
            r"(?i:(?<![^\W\d_])(pre|post))|(?<=[a-z])(Pre|Post)",
            r"(?i:(pre|post)(?![^\W\d_]))",
        ),
    )
)
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)}
)


class NameProblem(StrEnum):
    """Why a file's name does not say which image it is."""

    AMBIGUOUS = "AMBIGUOUS"
    NO_STAIN_MARKER = "NO STAIN MARKER"
    NO_UNDERSCORE = "NO UNDERSCORE"
    EMPTY_DYE = "EMPTY DYE"


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What the name of a raw file says, or why it says nothing."""

    path: Path
    stain: Stain | None  # None when there is a problem, as for the dye
    dye: str | None
    problem: NameProblem | None = None
    message: str = ""  # the problem and its fix in one line


def is_raw_name(name: str) -> bool:
    """Tell whether a name is that of a visible image that may be read.

    Examples
    --------
    >>> is_raw_name("S1_PreStain_DAPI.TIF"), is_raw_name("._S1_Pre_DAPI.tif")
    (True, False)
    """
    is_image = name.lower().endswith(_TIFF_EXTENSIONS) or is_container_name(name)
    return is_image and not name.startswith(".")


def check_name(kind: str, name: str) -> str:
    """Return a sample or dye name that is safe as a folder's name.

    Parameters
    ----------
    kind : str
        What is named, for the message: ``'sample'`` or ``'dye'``.
    name : str
        The name.

    Returns
    -------
    str
        The same name.

    Raises
    ------
    ParameterError
        If the name is not text, is empty, holds a path separator, ``..`` or a
        character that is not seen, starts with a dot, is reserved by an operating
        system, or is longer than 200 bytes.

    Examples
    --------
    >>> check_name("sample", "CD070")
    'CD070'
    """
    reason = _why_refused(name)
    if reason is None:
        return name
    shown = shortened(repr(name))
    fix = f"rename the {kind} with letters, digits, '-' and spaces"
    if any(0xDC80 <= ord(c) <= 0xDCFF for c in str(name)) and not _knows_all_letters():
        fix = (
            "the language settings of this terminal know no such letters: set "
            "LC_ALL=C.UTF-8 or PYTHONUTF8=1 and run again"
        )
    raise errors.ParameterError(
        f"a {kind} name must be usable as a folder name, but {shown} {reason}; {fix}"
    )


def _knows_all_letters() -> bool:
    return codecs.lookup(sys.getfilesystemencoding()).name == "utf-8"


def shortened(name: str) -> str:
    """Return a name for a message: one that fills a page is cut."""
    return name if len(name) <= _MOST_SHOWN else f"{name[: _MOST_SHOWN - 3]}..."


def _why_refused(name: object) -> str | None:
    if not isinstance(name, str):
        return f"is of type {type(name).__name__}, not text"
    unseen = next(filter(is_unseen, name), "")
    size = len(name.encode(errors="replace"))
    reasons = (
        (not name.strip(), "is empty"),
        ("/" in name or "\\" in name, "contains a path separator"),
        (
            not set('<>:"|?*').isdisjoint(name),
            "contains a character that Windows allows in no name",
        ),
        (name.endswith((".", " ")), "ends in a dot or a space, which Windows drops"),
        (".." in name, "contains '..'"),
        (name.startswith("."), "starts with a dot, which hides it"),
        (unseen, _why_unseen(unseen)),
        (name.split(".")[0].strip().lower() in _RESERVED, "is reserved by Windows"),
        (size > MAX_NAME_BYTES, f"has {size} bytes, more than {MAX_NAME_BYTES}"),
    )
    return next((reason for refused, reason in reasons if refused), None)


def _why_unseen(character: str) -> str:
    kind = unicodedata.category(character) if character else ""
    code = f"U+{ord(character):04X}" if character else ""
    if kind == "Cs":  # bytes of a file's name that Python could not read
        return f"contains bytes that are no text in {sys.getfilesystemencoding()}"
    if kind == "Cf":
        name = unicodedata.name(character, "format character").lower()
        return f"contains the invisible character {code} ({name})"
    return f"contains the control character {code}"


def parse_raw_name(path: Path) -> ParsedName:
    """Read stain and dye from the name of a raw file, or why it does not tell them.

    The rule is ``<anything>Pre<anything>_<Dye>.tif`` or the same with ``Post``: the
    marker begins a word of the name without its extension, in any case, and only one
    of the two does; ``PreStain`` or ``PostStain`` goes before all others. The dye is
    what follows the last underscore.

    Examples
    --------
    >>> parsed = parse_raw_name(Path("CD070_PostStain_SybrGld.tif"))
    >>> parsed.stain, parsed.dye
    ('post', 'SybrGld')
    >>> print(parse_raw_name(Path("CD070_SybrGld.tif")).problem)
    NO STAIN MARKER
    """
    stem = stem_of(path)
    stains = _stains(stem)
    head, underscore, dye = stem.rpartition("_")
    problem: NameProblem | None = None
    message = ""
    if len(stains) > 1:
        problem = NameProblem.AMBIGUOUS
        message = "the name contains both 'pre' and 'post'; keep one of them"
        in_dye = [word for word in ("pre", "post") if word in dye.lower()]
        if underscore and len(in_dye) == 1 and in_dye[0] not in head.lower():
            message += f" ('{in_dye[0]}' stands in the dye name '{dye}')"
    elif not stains:
        problem = NameProblem.NO_STAIN_MARKER
        message = "no word of the name begins with 'pre' or 'post'; add one of them"
    elif not underscore:
        problem = NameProblem.NO_UNDERSCORE
        message = "the name has no underscore before the dye; end it with '_<Dye>'"
    elif not dye.strip():
        problem = NameProblem.EMPTY_DYE
        message = "nothing follows the last underscore; end the name with '_<Dye>'"
    if problem is not None:
        text = f"{problem.value}: {path.name}: {message}"
        return ParsedName(path, None, None, problem, text)
    return ParsedName(path, "pre" if "pre" in stains else "post", composed(dye))


def stem_of(path: Path) -> str:
    """Return a name without its extension; ``.ome`` belongs to that."""
    stem = path.stem
    return stem[:-4] if stem.lower().endswith(".ome") else stem


def _stains(stem: str) -> set[str]:
    """Return which of ``'pre'`` and ``'post'`` the surest markers of a name say."""
    for marker in _MARKERS:
        found = {
            word.lower()
            for groups in marker.finditer(stem)
            for word in groups.groups()
            if word
        }
        if found:
            return found
    return set()


@dataclass(frozen=True, slots=True)
class DyeFiles:
    """The sorted files of one dye of a sample; one each when all is well."""

    dye: str
    post: tuple[Path, ...] = ()
    pre: tuple[Path, ...] = ()
    #: Files of a dye whose name differs in capital and small letters only.
    alike: tuple[Path, ...] = ()
    #: What the table of pairs says of it, None where it does not name it.
    row: TableRow | None = None

    def __getitem__(self, side: str) -> list[Path]:
        """Return the files of ``'post'`` or ``'pre'``, as the reference system does."""
        return list({"post": self.post, "pre": self.pre}[side])

    @property
    def is_complete(self) -> bool:
        """Exactly one post and one pre file, and no trouble with them."""
        is_usable = self.row is None or not self.row.problem
        return is_usable and len(self.post) == 1 and len(self.pre) == 1

    @property
    def has_both_sides(self) -> bool:
        """At least one post and one pre file."""
        return bool(self.post and self.pre)

    def problem(self) -> str:
        """Return what is wrong with its fix, in one line; empty when complete."""
        if self.row is not None:
            return self.row.problem
        sides = (("post", self.post, self.pre), ("pre", self.pre, self.post))
        for side, files, _ in sides:
            if len(files) > 1:
                names = ", ".join(path.name for path in files)
                return (
                    f"{len(files)} {side}-stain files for dye '{self.dye}', 1 wanted: "
                    f"{names}; move all but one of them away"
                )
        for side, files, other in sides:
            if not files and other and self.alike:
                names = ", ".join(path.name for path in self.alike)
                return (
                    f"no {side}-stain file for dye '{self.dye}' beside "
                    f"{other[0].name}; {names} differs in capital and small letters "
                    "of the dye only: rename one of them"
                )
            if not files and other:
                return (
                    f"no {side}-stain file for dye '{self.dye}' beside "
                    f"{other[0].name}; add a file with '{side}' in its name that "
                    f"ends with '_{self.dye}.tif'"
                )
        return ""


@dataclass(frozen=True, slots=True)
class RawFiles:
    """All TIFF files of one sample folder, sorted by what their names say."""

    folder: Path
    dyes: Mapping[str, DyeFiles]  # in alphabetical order
    problems: tuple[ParsedName, ...]  # files whose names cannot be used
    notes: tuple[str, ...] = ()  # how names were taken that say it in an unusual way

    def __iter__(self) -> Iterator[Any]:
        """Yield `dyes` and the warnings, to be unpacked: ``pairs, warnings``."""
        return iter((self.dyes, list(self.warnings)))

    def of(self, dye: str) -> DyeFiles | None:
        """Return the files of a dye, None when it has none.

        A dye with underscores is one where both a post and a pre file end with it.
        """
        dye = composed(dye)
        if dye in self.dyes or "_" not in dye:
            return self.dyes.get(dye)
        post, pre = (
            tuple(
                file
                for files in self.dyes.values()
                for file in files[side]
                if composed(stem_of(file)).endswith(f"_{dye}")
            )
            for side in ("post", "pre")
        )
        return DyeFiles(dye, post, pre) if post and pre else None

    @property
    def has_tiffs(self) -> bool:
        """Whether there is a TIFF, whatever its name."""
        return bool(self.dyes or self.problems)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each problem, of names and of pairs."""
        pairs = (files.problem() for files in self.dyes.values())
        return tuple(
            [f"{self.folder.name}: {text}" for text in pairs if text]
            + [f"{self.folder.name}: {parsed.message}" for parsed in self.problems]
            + [f"{self.folder.name}: {text}" for text in self.notes]
        )


def classify_raw_files(sample_dir: Path | str) -> RawFiles:
    """Sort the TIFF files of a sample folder by dye and stain.

    Parameters
    ----------
    sample_dir : pathlib.Path or str
        The folder of one sample; hidden files in it are left out.

    Returns
    -------
    RawFiles
        Files by dye, and the files whose names cannot be used. What the table of pairs
        in the folder above says of the sample goes before what names say.

    Raises
    ------
    RawFileNotFoundError
        If the folder does not exist or cannot be listed.
    RawDataError
        If the table of pairs cannot be read.
    """
    folder = Path(sample_dir)
    is_there = os.path.exists(folder)  # noqa: PTH110 - a path may be too long to ask
    if not is_there and read_pair_table(folder.parent).of(folder.name):
        return sorted_files(Listing(folder, (), ()))
    return sorted_files(listed(folder))


def sorted_files(listing: Listing) -> RawFiles:
    """Return `classify_raw_files` of a folder that was listed already."""
    table = read_pair_table(listing.folder.parent)
    sides: defaultdict[tuple[str | None, str | None], list[Path]] = defaultdict(list)
    parsed = [
        parse_raw_name(path) for path in images_in(listing) if not table.names(path)
    ]
    for name in parsed:
        sides[name.dye, name.stain].append(name.path)
    dyes = {
        dye: DyeFiles(dye, tuple(sides[dye, "post"]), tuple(sides[dye, "pre"]))
        for dye in sorted({name.dye for name in parsed if name.dye is not None})
    }
    for files in list(dyes.values()):
        if (split := _without_tail(files)) and dyes.keys().isdisjoint(split):
            del dyes[files.dye]
            dyes |= split
    notes = _join_spellings(dyes)
    for row in table.of(listing.folder.name):
        row = _with_names(row.checked())
        dyes[row.dye] = DyeFiles(row.dye, (row.post,), (row.pre,), row=row)
    problems = tuple(name for name in parsed if name.problem)
    return RawFiles(listing.folder, dict(sorted(dyes.items())), problems, notes)


def _with_names(row: TableRow) -> TableRow:
    """Return a row, with a problem where its names cannot be those of folders."""
    for kind, name in (("sample", row.sample), ("dye", row.dye)):
        try:
            check_name(kind, name)
        except errors.ParameterError as error:
            return replace(row, problem=f"row {row.number}: {error}")
    return row


def _without_tail(files: DyeFiles) -> dict[str, DyeFiles]:
    """Return the pairs of names that all end alike: ``..._DAPI_ORG``, ``..._Cy5_ORG``.

    Empty unless what stands before the end tells one pair for each dye.
    """
    if min(len(files.post), len(files.pre)) < 2:
        return {}
    split: defaultdict[str, dict[str, list[Path]]] = defaultdict(
        lambda: {"post": [], "pre": []}
    )
    for side in ("post", "pre"):
        for path in files[side]:
            head = composed(stem_of(path)).rpartition("_")[0]
            split[head.rpartition("_")[2]][side].append(path)
    found = {
        dye: DyeFiles(dye, tuple(own["post"]), tuple(own["pre"]))
        for dye, own in split.items()
    }
    return found if all(own.is_complete and own.dye for own in found.values()) else {}


def _join_spellings(dyes: dict[str, DyeFiles]) -> tuple[str, ...]:
    """Join, or name to each other, dyes that differ in capital and small letters only.

    Two files that are each other's only partner are a pair, named as post-stain is.
    """
    spellings: defaultdict[str, list[DyeFiles]] = defaultdict(list)
    for files in dyes.values():
        spellings[files.dye.casefold()].append(files)
    notes = []
    for same in (own for own in spellings.values() if len(own) > 1):
        post = [path for files in same for path in files.post]
        pre = [path for files in same for path in files.pre]
        if len(post) == len(pre) == 1:
            dye = next(files.dye for files in same if files.post)
            for files in same:
                del dyes[files.dye]
            dyes[dye] = DyeFiles(dye, tuple(post), tuple(pre))
            notes.append(
                f"{pre[0].name} is taken as the partner of {post[0].name}, which "
                "differs in capital and small letters of the dye only"
            )
            continue
        for files in same:
            alike = tuple(p for p in post + pre if p not in (*files.post, *files.pre))
            dyes[files.dye] = replace(files, alike=alike)
    return tuple(notes)


def list_samples(raw_dir: Path | str = "raw") -> tuple[str, ...]:
    """Return the names of the sample folders, in alphabetical order.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    tuple of str
        Names of folders; whether they hold pairs is not looked at.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder does not exist or cannot be listed.
    """
    return samples_in(listed(Path(raw_dir)))


def samples_in(raw: Listing) -> tuple[str, ...]:
    """Return the samples of a raw folder: its folders, and those that its table names.

    Raises
    ------
    RawDataError
        If the table of pairs cannot be read.
    """
    known = {composed(name) for name in raw.folders}
    more = [s for s in read_pair_table(raw.folder).samples if s not in known]
    return tuple(sorted((*raw.folders, *more)))


def find_pair(
    sample: str, dye: str, raw_dir: Path | str = "raw"
) -> tuple[Path, Path, tuple[str, ...]]:
    """Find the two files of a pair.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    post_path, pre_path : pathlib.Path
        The files.
    warnings : tuple of str
        Files of the same sample whose names cannot be used.

    Raises
    ------
    RawFileNotFoundError
        If the sample folder, the dye or one of its sides does not exist.
    RawDataError
        If a side has more than one file, or the table of pairs cannot be used.
    ParameterError
        If a name is not safe as a folder name.
    """
    check_name("dye", dye)  # before a folder is looked into
    folder = sample_folder(sample, listed(Path(raw_dir)))
    return pair_in(classify_raw_files(folder), dye)


def pair_in(raw: RawFiles, dye: str) -> tuple[Path, Path, tuple[str, ...]]:
    """Return `find_pair` of a sample whose files are sorted already."""
    check_name("dye", dye)
    folder, files = raw.folder, raw.of(dye)
    if files is None:
        raise errors.RawFileNotFoundError(_no_such_dye(dye, raw))
    if files.row is not None and files.row.problem:
        raise errors.RawDataError(f"{folder.parent}: {files.row.problem}")
    if max(len(files.post), len(files.pre)) > 1:
        raise errors.RawDataError(f"{folder}: {files.problem()}")
    if not files.is_complete:
        raise errors.RawFileNotFoundError(f"{folder}: {files.problem()}")
    told = [*(parsed.message for parsed in raw.problems), *raw.notes]
    warnings = tuple(f"{folder.name}: {text}" for text in told)
    return files.post[0], files.pre[0], warnings


def listed(folder: Path) -> Listing:
    """List a folder, or say why it cannot be listed; a Zarr counts as a file."""
    try:
        listing = list_folder(folder)
    except OSError as error:
        text = f"{folder}: cannot be listed ({error.strerror}); check its permissions"
        if isinstance(error, FileNotFoundError):
            text = f"{folder}: the folder does not exist; check the path"
        elif isinstance(error, NotADirectoryError):
            text = f"{folder}: is a file, not a folder; name the folder that holds it"
        raise errors.RawFileNotFoundError(text) from error
    images = tuple(filter(is_zarr_name, listing.folders))
    if not images:
        return listing
    folders = tuple(name for name in listing.folders if name not in images)
    return Listing(folder, folders, tuple(sorted((*listing.files, *images))))


def images_in(listing: Listing) -> list[Path]:
    """Return the visible raw images of a folder, sorted by name."""
    # a link whose target is gone is kept: reading it then says so
    return [listing.folder / name for name in listing.files if is_raw_name(name)]


def sample_folder(sample: str, raw: Listing) -> Path:
    """Return the folder of a sample in the raw folder, or say which there are."""
    check_name("sample", sample)
    # compared by name: a file system that ignores case would find 'cd070' too
    wanted = composed(sample)
    samples = samples_in(raw)
    for name in samples:
        if composed(name) == wanted:
            return raw.folder / name
    raise no_such_sample(sample, raw.folder, samples)


def no_such_sample(
    sample: str, raw_dir: Path, samples: Sequence[str]
) -> errors.RawFileNotFoundError:
    """Return the error that tells which samples there are."""
    hint = _like(sample, samples)
    if (raw_dir / sample).is_file():
        hint = "; it is a file there"
    there = f"samples there: {some(samples)}" if samples else "it has no samples"
    return errors.RawFileNotFoundError(
        f"{raw_dir}: no folder for sample '{sample}'{hint}; {there}"
    )


def _no_such_dye(dye: str, files: RawFiles) -> str:
    hint = _like(dye, files.dyes)
    last = dye.rpartition("_")[2]
    if last != dye and last in files.dyes:
        hint = f"; no pair of files ends with '_{dye}': ask for '{last}'?"
    if files.dyes:
        listed = f"dyes there: {some(tuple(files.dyes))}"
    elif files.problems:
        listed = f"no file name there can be used ({files.problems[0].message})"
    else:
        listed = f"it holds no TIFFs; add {EXPECTED}"
    return f"{files.folder}: no file for dye '{dye}'{hint}; {listed}"


def _like(name: str, names: Iterable[str]) -> str:
    names = tuple(names)
    for other in names:
        if other.casefold() == composed(name).casefold():
            return f" (case matters: there is '{other}')"
    close = difflib.get_close_matches(name, names, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def some(names: Sequence[str], limit: int = 8) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(names[:limit])
    more = len(names) - limit
    return f"{shown} and {more} more" if more > 0 else shown
