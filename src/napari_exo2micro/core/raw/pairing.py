"""Pairs that a person makes: what names of files suggest, and the table written."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_exo2micro.core.base import Monitor, errors, files
from napari_exo2micro.core.raw import names
from napari_exo2micro.core.raw.folder import find_pairs
from napari_exo2micro.core.raw.table import (
    COLUMNS,
    FILE_COLUMNS,
    PARAMETER_COLUMNS,
    TABLE_NAME,
    PairTable,
    TableRow,
    read_pair_table,
)

#: Folders below the raw folder that are looked into.
_MOST_DEEP, _MOST_IMAGES = 4, 20_000
#: Words for before and after staining, longest first: "unstained" holds "stained".
_BEFORE = (
    "unstained", "prestain", "pre-stain", "pre_stain", "before", "native", "vorher",
    "avant", "antes", "pre", "vor",
)  # fmt: skip
_AFTER = (
    "poststain", "post-stain", "post_stain", "stained", "nachher", "despues", "after",
    "apres", "post", "nach",
)  # fmt: skip
_WORD = re.compile(
    rf"(?<![^\W\d_])(?:(?P<pre>{'|'.join(_BEFORE)})|(?P<post>{'|'.join(_AFTER)}))"
    r"(?![^\W\d_])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class PairProposal:
    """What the names of files in a raw folder suggest.

    Attributes
    ----------
    known : tuple of TableRow
        Pairs that count already, by their names or by the table.
    proposed : tuple of TableRow
        Pairs that names suggest, none of whose files has a partner yet.
    left : tuple of pathlib.Path
        Images without a partner.
    """

    known: tuple[TableRow, ...] = ()
    proposed: tuple[TableRow, ...] = ()
    left: tuple[Path, ...] = ()


def images_below(
    raw_dir: Path | str, monitor: Monitor | None = None
) -> tuple[Path, ...]:
    """Return all raw images of a raw folder, four folders deep.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    monitor : Monitor, optional
        Asked between the folders whether to stop.

    Returns
    -------
    tuple of pathlib.Path
        By folder, then by name; 20,000 at most.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder cannot be listed.
    """
    monitor = monitor or Monitor()
    found: list[Path] = []
    level = [Path(raw_dir)]
    for depth in range(_MOST_DEEP + 1):
        below: list[Path] = []
        for folder in level:
            monitor.check()
            try:
                listing = names.listed(folder)
            except errors.RawDataError:
                if depth == 0:
                    raise
                continue
            found += names.images_in(listing)
            below += [folder / name for name in listing.folders]
        level = below
        if len(found) > _MOST_IMAGES:
            break
    return tuple(sorted(found[:_MOST_IMAGES]))


def propose_pairs(raw_dir: Path | str, monitor: Monitor | None = None) -> PairProposal:
    """Return the pairs of a raw folder, and those that its names suggest.

    Words such as before and after, unstained and stained, in the name of a file or of
    its folder tell the sides of two names that are the same otherwise.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    monitor : Monitor, optional
        Asked between the folders whether to stop.

    Returns
    -------
    PairProposal
        Nothing of it is written.

    Raises
    ------
    RawFileNotFoundError
        If the raw folder cannot be listed.
    RawDataError
        If its table of pairs cannot be read.
    """
    raw_dir = Path(raw_dir)
    images = images_below(raw_dir, monitor)
    table = read_pair_table(raw_dir).rows
    known = {(row.sample, row.dye): row for row in table}
    for pair in _by_names(raw_dir, monitor):
        known.setdefault((pair.sample, pair.dye), pair)
    used = {path for row in known.values() for path in row.files}
    left = [path for path in images if path not in used]
    proposed = _suggested(raw_dir, left, set(known))
    used |= {path for row in proposed for path in row.files}
    return PairProposal(
        tuple(known.values()),
        tuple(proposed),
        tuple(path for path in left if path not in used),
    )


def _by_names(raw_dir: Path, monitor: Monitor | None) -> Iterable[TableRow]:
    """Return the pairs that names make, wherever the folder was named from."""
    for sample in names.list_samples(raw_dir):
        for pair in find_pairs(raw_dir / sample, monitor).pairs:
            if pair.row is None:
                own = raw_dir / sample
                post, pre = own / pair.post.name, own / pair.pre.name
                yield TableRow(pair.sample, pair.dye, post, pre)


def _suggested(
    raw_dir: Path, left: Sequence[Path], taken: set[tuple[str, str]]
) -> list[TableRow]:
    sides: defaultdict[str, dict[str, list[Path]]] = defaultdict(
        lambda: {"post": [], "pre": []}
    )
    for path in left:
        name = path.relative_to(raw_dir).with_name(names.stem_of(path)).as_posix()
        marks = list(_WORD.finditer(name))
        if not marks:
            continue
        last = marks[-1]
        key = f"{name[: last.start()]}\0{name[last.end() :]}".casefold()
        sides[key]["pre" if last["pre"] else "post"].append(path)
    rows = []
    for own in sides.values():
        if len(own["post"]) == len(own["pre"]) == 1:
            sample, dye = suggested_names(raw_dir, own["post"][0])
            number = 1
            while (unique := dye if number == 1 else f"{dye}{number}") and (
                sample,
                unique,
            ) in taken:
                number += 1
            taken.add((sample, unique))
            rows.append(TableRow(sample, unique, own["post"][0], own["pre"][0]))
    return rows


def suggested_names(raw_dir: Path | str, post: Path) -> tuple[str, str]:
    """Return sample and dye as the place and the name of a file suggest them.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    post : pathlib.Path
        A file in it.

    Returns
    -------
    sample, dye : str
        Never empty.
    """
    place = post.relative_to(raw_dir)
    folders = [part for part in place.parts[:-1] if not _WORD.fullmatch(part)]
    words = re.split(r"[\W_]+", _WORD.sub(" ", names.stem_of(post)))
    words = [word for word in words if word]
    sample = folders[0] if folders else ""
    if not sample:
        sample = words.pop(0) if words else "sample"
    words = [word for word in words if word.casefold() != sample.casefold()]
    return sample, words[-1] if words else "stain"


def row_texts(raw_dir: Path | str, row: TableRow) -> dict[str, str]:
    """Return what stands in a row of the table, column -> text; see `table_row`.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    row : TableRow
        The row.

    Returns
    -------
    dict
        Of all columns.

    Raises
    ------
    RawDataError
        If a file does not lie in the raw folder.
    """
    places = {}
    own = zip(("post", "pre", *row.aids), (*row.files, *row.aids.values()), strict=True)
    for name, file in own:
        try:
            places[name] = file.relative_to(raw_dir).as_posix()
        except ValueError:
            raise errors.RawDataError(
                f"{file}: lies outside of the raw folder {raw_dir}; move it there first"
            ) from None
    values = {name: str(row.params.get(name, "")) for name in PARAMETER_COLUMNS}
    texts = {"sample": row.sample, "dye": row.dye, **places, **values}
    return {name: texts.get(name, "") for name in COLUMNS}


def write_pair_table(raw_dir: Path | str, rows: Sequence[TableRow]) -> Path:
    """Write the table of pairs of a raw folder, whole or not at all.

    An older one stays beside it as ``pairs.csv.bak``.

    Parameters
    ----------
    raw_dir : pathlib.Path or str
        The raw folder.
    rows : sequence of TableRow
        Its pairs.

    Returns
    -------
    pathlib.Path
        The table.

    Raises
    ------
    RawDataError
        If a pair is there twice, a file is pre-stain and post-stain, or a file does
        not lie in the raw folder or does not exist.
    ParameterError
        If the name of a sample or dye is not safe as a folder name.
    OutputError
        If it cannot be written; an older table stays as it was.
    """
    path = Path(raw_dir) / TABLE_NAME
    numbered = [replace(row, number=number) for number, row in enumerate(rows, 2)]
    lines = [row_texts(raw_dir, row) for row in numbered]
    for row in PairTable.of_rows(numbered).rows:
        names.check_name("sample", row.sample)
        names.check_name("dye", row.dye)
        if problem := row.checked().problem:
            raise errors.RawDataError(problem)
    optional = (*PARAMETER_COLUMNS, *FILE_COLUMNS)
    used = [
        name
        for name in COLUMNS
        if name not in optional or any(line[name] for line in lines)
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, used, extrasaction="ignore")
    writer.writeheader()
    writer.writerows(lines)
    # with the mark that tells a spreadsheet the encoding
    content = text.getvalue().encode("utf-8-sig")
    if path.is_file():
        with files.replace_file(path.with_name(f"{TABLE_NAME}.bak")) as part:
            part.write_bytes(path.read_bytes())
    with files.replace_file(path) as part:
        part.write_bytes(content)
    return path
