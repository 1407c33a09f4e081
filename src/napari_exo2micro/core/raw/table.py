"""A table of pairs, ``pairs.csv`` in the raw folder: files of any name made into pairs.

It is read from bytes to rows here, and written. What it says of a sample and dye goes
before what the names of files say; `core.raw.names` puts both together.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Final

from napari_exo2micro.core.base import errors, files
from napari_exo2micro.core.base.text import composed
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, ParameterValue
from napari_exo2micro.core.raw.pages import ImageChoice

TABLE_NAME: Final = "pairs.csv"
_SIDES: Final = ("post", "pre")
_NEEDED: Final = ("sample", "dye", *_SIDES)
#: Columns that are parameters of the pair; a cell without a value says nothing.
PARAMETER_COLUMNS: Final = ("page", "channel", "pixel_size")
#: Columns that name a file of the pair, its path in the raw folder.
FILE_COLUMNS: Final = ("landmarks", "regions")
COLUMNS: Final = (*_NEEDED, *PARAMETER_COLUMNS, *FILE_COLUMNS)
_MOST_BYTES: Final = 10_000_000
#: Folders above a file in which its table is looked for.
_MOST_ABOVE: Final = 6
_NOTHING: Final[Mapping[str, ParameterValue]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TableRow:
    """One pair of the table.

    Attributes
    ----------
    sample, dye : str
        Whose images they are.
    post, pre : pathlib.Path
        The images.
    params : mapping
        Parameters of this pair alone, name -> value: ``page``, ``channel``,
        ``pixel_size``.
    aids : mapping
        Files of this pair, name -> path: ``landmarks``, ``regions``.
    number : int
        Of the row in the file, counted from 1; 0 when it was not read from one.
    problem : str
        Why it cannot be used, with the fix; empty when it can.
    """

    sample: str
    dye: str
    post: Path
    pre: Path
    params: Mapping[str, ParameterValue] = field(default_factory=dict)
    aids: Mapping[str, Path] = field(default_factory=dict)
    number: int = 0
    problem: str = ""

    @property
    def files(self) -> tuple[Path, Path]:
        """Post and pre."""
        return self.post, self.pre

    def checked(self) -> "TableRow":
        """Return it with what is wrong now with its files, if anything is.

        Returns
        -------
        TableRow
            The same, or one with a `problem`.
        """
        for side, path in (("post", self.post), ("pre", self.pre)):
            # a link whose target is gone is told by who reads it
            if not self.problem and not os.path.lexists(path):
                problem = (
                    f"row {self.number} of {TABLE_NAME}: {side}-stain file "
                    f"'{path.name}' does not exist in {path.parent}; correct the path, "
                    "which begins in the raw folder"
                )
                return replace(self, problem=problem)
        return self


@dataclass(frozen=True, slots=True)
class PairTable:
    """The table of a raw folder.

    Attributes
    ----------
    rows : tuple of TableRow
        In the order of the table. One that cannot be used has a `problem`.
    """

    rows: tuple[TableRow, ...] = ()
    _by_sample: Mapping[str, list[TableRow]] = field(default_factory=dict, repr=False)
    _used: frozenset[str] = frozenset()
    _folders: frozenset[str] = frozenset()

    @classmethod
    def of_rows(cls, rows: Sequence[TableRow]) -> "PairTable":
        """Return the table of some rows, with what contradicts another one marked.

        Parameters
        ----------
        rows : sequence of TableRow
            In their order.

        Returns
        -------
        PairTable
            The table.
        """
        checked = _without_conflicts(rows)
        by_sample: defaultdict[str, list[TableRow]] = defaultdict(list)
        for row in checked:
            by_sample[row.sample].append(row)
        named = (path for row in checked for path in (*row.files, *row.aids.values()))
        used = frozenset(map(_key, named))
        above = {place for row in rows for path in row.files for place in path.parents}
        return cls(checked, dict(by_sample), used, frozenset(map(_key, above)))

    @property
    def samples(self) -> tuple[str, ...]:
        """Those that it names."""
        return tuple(self._by_sample)

    def of(self, sample: str) -> list[TableRow]:
        """Return the rows of a sample.

        Parameters
        ----------
        sample : str
            Its name.

        Returns
        -------
        list of TableRow
            None of them where it names none.
        """
        return self._by_sample.get(composed(sample), [])

    def names(self, path: Path) -> bool:
        """Tell whether a file stands in it.

        Parameters
        ----------
        path : pathlib.Path
            The file, in the raw folder as that was given.

        Returns
        -------
        bool
            As pre-stain, as post-stain or as what belongs to the pair.
        """
        return _key(path) in self._used

    def names_in(self, folder: Path) -> bool:
        """Tell whether a file below a folder stands in it.

        Parameters
        ----------
        folder : pathlib.Path
            The folder, in the raw folder as that was given.

        Returns
        -------
        bool
            As pre-stain or as post-stain.
        """
        return _key(folder) in self._folders


def read_pair_table(raw_dir: Path | str) -> PairTable:
    """Return the table of pairs of a raw folder; an empty one where there is none.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    PairTable
        Whether its files exist is not looked at, see `TableRow.checked`.

    Raises
    ------
    RawDataError
        If the table cannot be read as one.
    """
    path = Path(raw_dir) / TABLE_NAME
    try:
        stamp = files.stamp(path)
    except (FileNotFoundError, NotADirectoryError):
        return PairTable()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    return _read(path, stamp)


@lru_cache(maxsize=64)
def _read(path: Path, _stamp: files.Stamp) -> PairTable:
    """Return one version of a table."""
    try:
        lines = files.read_rows(path, _MOST_BYTES)
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not lines:
        return PairTable()
    columns = _columns(path, *lines[0])
    rows = _cells(path, lines[1:], columns)
    return PairTable.of_rows([table_row(path.parent, n, told) for n, told in rows])


def _unreadable(path: Path, reason: str) -> errors.RawDataError:
    return errors.RawDataError(
        f"{path}: the table of pairs cannot be read ({reason}); correct it or move it "
        "away"
    )


def _columns(path: Path, number: int, names: Sequence[str]) -> list[str]:
    columns = [name.lower().replace(" ", "_").replace("-", "_") for name in names]
    while columns and not columns[-1]:
        columns.pop()
    wanted = ", ".join(COLUMNS)
    for name, shown in zip(columns, names, strict=False):
        if name not in COLUMNS or columns.count(name) > 1:
            problem = "there twice" if name in COLUMNS else "unknown"
            raise errors.RawDataError(
                f"{path}: row {number}: the column '{shown}' is {problem}; the columns "
                f"are {wanted}"
            )
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise errors.RawDataError(
            f"{path}: row {number}: the column '{missing[0]}' is missing; the first "
            f"row names the columns, {wanted}, and those after 'pre' may be left out"
        )
    return columns


def _cells(
    path: Path, lines: Sequence[tuple[int, Sequence[str]]], columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row with its texts by column."""
    for number, cells in lines:
        if any(cells[len(columns) :]):
            raise errors.RawDataError(
                f"{path}: row {number} has {len(cells)} cells, and there are "
                f"{len(columns)} columns; put what holds a separator in quotation marks"
            )
        yield number, dict(zip(columns, cells, strict=False))


def table_row(raw_dir: Path | str, number: int, told: Mapping[str, str]) -> TableRow:
    """Return a row by what a person wrote in it.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    number : int
        Of the row, for messages.
    told : mapping of str to str
        Column -> text: sample, dye, post, pre, and the parameters as far as they are
        written.

    Returns
    -------
    TableRow
        With a problem where it cannot be used.

    Raises
    ------
    RawDataError
        If sample, dye, post or pre is left out.
    """
    path = Path(raw_dir) / TABLE_NAME
    for name in _NEEDED:
        if not told.get(name):
            raise errors.RawDataError(
                f"{path}: row {number}: nothing stands under '{name}'; fill it in, or "
                "delete the row"
            )
    problem = ""
    places = {}
    for name in (*_SIDES, *FILE_COLUMNS):
        written = told.get(name, "")
        if not written:
            continue
        parts = PurePosixPath(written.replace("\\", "/")).parts
        if not parts or parts[0] == "/" or ".." in parts or ":" in parts[0]:
            what = f"{name}-stain file" if name in _SIDES else f"{name} file"
            problem = problem or (
                f"row {number} of {TABLE_NAME}: {what} '{written}' lies "
                "outside of the raw folder; move it there and give its path in it"
            )
        places[name] = path.parent.joinpath(*parts)
    params: dict[str, ParameterValue] = {}
    for name in PARAMETER_COLUMNS:
        if text := told.get(name):
            try:
                params[name] = _value(name, text)
            except (ValueError, errors.ParameterError) as error:
                problem = problem or f"row {number} of {TABLE_NAME}: {error}"
    sample, dye = composed(told["sample"]), composed(told["dye"])
    post, pre = (places.pop(side) for side in _SIDES)
    return TableRow(sample, dye, post, pre, params, places, number, problem)


def _value(name: str, text: str) -> ParameterValue:
    entry = PARAMETER_REGISTRY[name]
    if entry.kind is str:
        return entry.check(text)
    try:
        number = float(
            text.replace(",", ".")
        )  # as spreadsheets of many countries write
    except ValueError:
        raise ValueError(
            f"{name} takes {entry.wanted()}, found '{text}'; correct the cell"
        ) from None
    return entry.check(int(number) if entry.kind is int and number % 1 == 0 else number)


def _without_conflicts(rows: Sequence[TableRow]) -> tuple[TableRow, ...]:
    """Mark rows that say different things of one pair or of one file."""
    pairs: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in rows:
        pairs[row.sample, row.dye].append(row.number)
    sides: dict[str, defaultdict[str, list[int]]] = {
        side: defaultdict(list) for side in ("post", "pre")
    }
    for row in rows:
        for side, path in zip(sides, row.files, strict=True):
            sides[side][_key(path)].append(row.number)
    checked = []
    for row in rows:
        problem = row.problem
        same = pairs[row.sample, row.dye]
        if len(same) > 1 and not problem:
            problem = (
                f"rows {_listed(same)} of {TABLE_NAME} are all of sample "
                f"'{row.sample}', dye '{row.dye}'; keep one of them"
            )
        for path in row.files:
            key = _key(path)
            numbers = sorted({*sides["post"][key], *sides["pre"][key]})
            if sides["post"][key] and sides["pre"][key] and not problem:
                where = f"row{'s' if len(numbers) > 1 else ''} {_listed(numbers)}"
                problem = (
                    f"{where} of {TABLE_NAME}: {path.name} stands there as post-stain "
                    "and as pre-stain; name the other file of the pair"
                )
        checked.append(replace(row, problem=problem))
    return tuple(checked)


def _listed(numbers: Sequence[int]) -> str:
    return " and ".join(map(str, numbers))


def _key(path: Path) -> str:
    return composed(os.path.normcase(path))


def table_folder(path: Path) -> Path | None:
    """Return the folder above a file whose table of pairs names it, None if none does.

    A table that cannot be read names nothing.
    """
    for folder in path.parents[:_MOST_ABOVE]:
        try:
            if read_pair_table(folder).names(path):
                return folder
        except errors.RawDataError:
            continue
    return None


def told_params(
    sample: str, dye: str, raw_dir: Path | str
) -> Mapping[str, ParameterValue]:
    """Return the parameters that the table gives a pair; empty where it says none.

    Parameters
    ----------
    sample, dye : str
        The pair.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    mapping
        Name -> value.

    Raises
    ------
    RawDataError
        If the table cannot be read.
    """
    row = _row_of(sample, dye, raw_dir)
    return _NOTHING if row is None else row.params


def told_file(name: str, sample: str, dye: str, raw_dir: Path | str) -> Path | None:
    """Return the file that the table names for a pair; None where it names none.

    Parameters
    ----------
    name : str
        One of `FILE_COLUMNS`.
    sample, dye : str
        The pair.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    pathlib.Path or None
        Whether it exists is not looked at.

    Raises
    ------
    RawDataError
        If the table cannot be read.
    """
    row = _row_of(sample, dye, raw_dir)
    return None if row is None else row.aids.get(name)


def _row_of(sample: str, dye: str, raw_dir: Path | str) -> TableRow | None:
    for row in read_pair_table(raw_dir).of(sample):
        if row.dye == composed(dye) and not row.problem:
            return row
    return None


def with_told(
    params: Mapping[str, ParameterValue], told: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    """Return all parameters of a pair: what a run sets goes before the table.

    Parameters
    ----------
    params : mapping
        All parameters of the run, those that are not set at their defaults.
    told : mapping
        What the table says of the pair.

    Returns
    -------
    dict
        Name -> value.
    """
    return {**params, **used_of(params, told)}


def image_choices(
    sample: str,
    dye: str,
    raw_dir: Path | str,
    params: Mapping[str, ParameterValue],
    reader: str = "",
) -> tuple[ImageChoice, ImageChoice]:
    """Return which image of post and pre is meant, by the run and by the table.

    Parameters
    ----------
    sample, dye : str
        The pair.
    raw_dir : pathlib.Path or str
        The raw folder.
    params : mapping
        All parameters of the run.
    reader : str
        What opens the files, see `ImageChoice`.

    Returns
    -------
    tuple of ImageChoice
        For the post-stain and the pre-stain file.

    Raises
    ------
    RawDataError
        If the table cannot be read.
    """
    own = with_told(params, told_params(sample, dye, raw_dir))
    return ImageChoice.of(dye, own, reader)


def used_of(
    params: Mapping[str, ParameterValue], told: Mapping[str, ParameterValue]
) -> dict[str, ParameterValue]:
    """Return what the table says of a pair as far as the run does not set it itself."""
    return {
        name: value
        for name, value in told.items()
        if params.get(name, PARAMETER_REGISTRY[name].default)
        == PARAMETER_REGISTRY[name].default
    }
