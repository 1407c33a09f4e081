"""A table of pairs in the raw folder: files of any name, the same pairs everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from napari_exo2micro.core import (
    Exo2MicroError,
    RawDataError,
    SampleDye,
    load_image_pair,
    run_batch,
)
from napari_exo2micro.core.raw import (
    TableRow,
    diagnose_raw_layout,
    discover_tasks,
    find_pairs,
    list_samples,
    may_be_raw,
    pair_files,
    propose_pairs,
    read_pair_table,
    survey_raw_channels,
    write_pair_table,
)

SHAPE = (72, 96)


def section(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(SHAPE)
    far = ((rows - 36) / 24) ** 2 + ((columns - 48) / 32) ** 2
    return (12 + (far < 1) * rng.integers(60, 200, SHAPE)).astype(np.uint8)


def write(path: Path, *seeds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [section(seed) for seed in seeds]
    stack = images[0] if len(images) == 1 else np.stack(images)
    tifffile.imwrite(path, stack, photometric="minisblack")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two loose images, a pair by its names, and a table."""
    folder = tmp_path / "raw"
    write(folder / "IMG 17.tif", 1)
    write(folder / "2024" / "IMG 18.tif", 2)
    write(folder / "S2" / "S2_Post_SYBR.tif", 3)
    write(folder / "S2" / "S2_Pre_SYBR.tif", 4)
    (folder / "pairs.csv").write_text(
        "sample,dye,post,pre\nS1,DAPI,IMG 17.tif,2024/IMG 18.tif\n"
    )
    return folder


def two(raw: Path) -> tuple[Path, Path]:
    return raw / "IMG 17.tif", raw / "2024" / "IMG 18.tif"


def table(raw: Path, text: str) -> None:
    (raw / "pairs.csv").write_bytes(text.encode())


def test_the_same_pairs_everywhere(raw):
    post, pre = two(raw)
    both = (("S1", "DAPI"), ("S2", "SYBR"))
    assert list_samples(raw) == ("2024", "S1", "S2")
    layout = diagnose_raw_layout(raw)
    assert (layout.problem, layout.samples) == (None, ("S1", "S2"))
    assert layout.empty_samples == layout.loose_files == ()
    found = discover_tasks(raw_dir=raw)
    assert (found.present, found.skipped, found.warnings) == (both, (), ())
    assert discover_tasks(["S1"], ["DAPI"], raw).present == both[:1]
    pairs = find_pairs(raw).pairs
    assert tuple((pair.sample, pair.dye) for pair in pairs) == both
    for place in (post, pre):
        (pair,) = find_pairs(place).pairs
        assert (pair.sample, pair.post, pair.pre) == ("S1", post, pre)
        assert pair.raw_dir == raw
        assert may_be_raw(place)
    assert may_be_raw(raw)
    assert [(one.sample, one.stain, one.dye) for one in survey_raw_channels(raw)] == [
        ("S1", "post", "DAPI"),
        ("S1", "pre", "DAPI"),
        ("S2", "post", "SYBR"),
        ("S2", "pre", "SYBR"),
    ]
    images = load_image_pair("S1", "DAPI", raw)
    np.testing.assert_array_equal(images[0], section(1))
    np.testing.assert_array_equal(images[1], section(2))
    assert images[2:] == (post, pre)


def test_the_table_wins_for_what_it_names(raw):
    table(raw, "sample,dye,post,pre\nS2,SYBR,IMG 17.tif,2024/IMG 18.tif\n")
    assert pair_files("S2", "SYBR", raw).post == raw / "IMG 17.tif"
    assert discover_tasks(raw_dir=raw).present == (("S2", "SYBR"),)


@pytest.mark.parametrize(
    "text",
    [
        ("\ufeffsample;dye;post;pre\r\nSä;DÄPI;IMG 17.tif;2024\\IMG 18.tif\r\n"),
        ("sep=;\nSample;Dye;Post;Pre;;\nSä;DÄPI;IMG 17.tif;2024/IMG 18.tif;;\n;;;;;\n"),
        ("dye\tsample\tpre\tpost\nDÄPI\tSä\t2024/IMG 18.tif\tIMG 17.tif"),
        ('"sample","dye","post","pre"\n"Sä","DÄPI","IMG 17.tif","2024/IMG 18.tif"'),
    ],
    ids=["Excel", "hint", "tabs", "quotes"],
)  # fmt: skip
def test_as_spreadsheets_write_it(raw, text):
    table(raw, text)
    assert discover_tasks(raw_dir=raw).present == (("S2", "SYBR"), ("Sä", "DÄPI"))


HEAD = "sample,dye,post,pre,page,channel,pixel_size\n"
ROW = "S1,DAPI,IMG 17.tif,2024/IMG 18.tif"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}S1,DAPI,gone.tif,IMG 17.tif", r"row 2 .*'gone.tif' does not exist in"),
        (f"{HEAD}{ROW}\n\n{ROW}", r"rows 2 and 4 .*sample 'S1', dye 'DAPI'; keep one"),
        (f"{HEAD}S1,DAPI,IMG 17.tif,IMG 17.tif", r"row 2 .*as post-stain and as pre"),
        (f"{HEAD}{ROW}\nS1,X,2024/IMG 18.tif,IMG 19.tif", "rows 2 and 3.*pre"),
        (f"{HEAD}S1,DAPI,../x.tif,IMG 17.tif", "row 2 .*outside of the raw folder"),
        (f"{HEAD}S1,DAPI,/x.tif,IMG 17.tif", "row 2 .*outside of the raw folder"),
        (f"{HEAD}S1,DAPI,C:\\x.tif,IMG 17.tif", "row 2 .*outside of the raw folder"),
        (f"{HEAD}{ROW},0.5", "row 2 .*page.*0.5"),
        (f"{HEAD}{ROW},,,-1", "row 2 .*pixel_size.*-1"),
        (f"{HEAD}{ROW},,,wide", "row 2 .*pixel_size.*'wide'"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_told(raw, text, message):
    table(raw, text)
    with pytest.raises(RawDataError, match=message):
        load_image_pair("S1", "DAPI", raw)
    found = discover_tasks(raw_dir=raw)
    (skipped,) = [task for task in found.skipped if task.dye == "DAPI"]
    assert (skipped.sample, skipped.dye) == ("S1", "DAPI")
    with pytest.raises(RawDataError, match=message):
        raise RawDataError(skipped.reason)
    assert ("S2", "SYBR") in found.present  # the others go on
    assert any("row" in text for text in find_pairs(raw).problems)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sample,dye,post,pre,lens\n", "row 1: the column 'lens' is unknown"),
        (b"sample,dye,post\nS1,DAPI,IMG 17.tif", "row 1: the column 'pre' is missing"),
        (b"sample,dye,post,pre,pre\n", "row 1: the column 'pre' is there twice"),
        (b"sample,dye,post,pre\nS1,,a.tif,b.tif", "row 2: nothing stands under 'dye'"),
        (b"sample,dye,post,pre\nS1,DAPI,a,b.tif,c.tif", "row 2 has 5 cells"),
        ("sample,dye,post,pre\nSä,D,a,b".encode("latin-1"), "it is not UTF-8"),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_used_is_told(raw, content, message):
    (raw / "pairs.csv").write_bytes(content)
    for ask in (
        lambda: load_image_pair("S1", "DAPI", raw),
        lambda: load_image_pair("S2", "SYBR", raw),
        lambda: discover_tasks(raw_dir=raw),
        lambda: find_pairs(raw),
    ):
        with pytest.raises(Exo2MicroError, match=message):
            ask()
    assert not diagnose_raw_layout(raw).is_usable


# Parameters of a pair ----------------------------------------------------------------


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    write(folder / "post.tif", 1, 2, 3)
    write(folder / "pre.tif", 4, 5, 6)
    return folder


def run(raw: Path, out: Path, **params: Any) -> Any:
    task = SampleDye("S1", "DAPI", raw_dir=raw, output_dir=out)
    task.set_params(pad=0, **params)
    task.run(to_stage=1)
    return task


def test_the_page_and_the_size_of_a_pair(pages, tmp_path):
    rows = f"{HEAD.replace(',', ';')}S1;DAPI;post.tif;pre.tif;{{}};;0,325\n"
    table(pages, rows.format(2))
    task = run(pages, tmp_path / "out")
    checkpoint = task.checkpoint(1, "post")
    np.testing.assert_array_equal(checkpoint.image[:, :], section(2))
    canvas = checkpoint.provenance.canvas
    assert canvas["post_pixel_size"] == pytest.approx([0.325, 0.325])
    # what the window shows before stage 1
    from napari_exo2micro.core.raw import open_lazy_pair

    pair = pair_files("S1", "DAPI", pages)
    lazy = open_lazy_pair(pair.post, pair.pre, pair.choices)
    np.testing.assert_array_equal(lazy.post.levels()[0][:, :], section(2))
    np.testing.assert_array_equal(load_image_pair("S1", "DAPI", pages)[1], section(5))
    assert survey_raw_channels(pages)[0].problem == ""
    # the run's own parameters win
    other = run(pages, tmp_path / "out", page=3).checkpoint(1, "post")
    np.testing.assert_array_equal(other.image[:, :], section(3))
    # a change is noticed
    table(pages, rows.format(1))
    task = SampleDye("S1", "DAPI", raw_dir=pages, output_dir=tmp_path / "out")
    task.set_params(pad=0)
    (entry,) = [e for e in task.status() if (e.stage, e.name) == (1, "post")]
    assert entry.state == "stale"
    assert "pairs.csv said page 2, pixel_size 0.325" in entry.reason
    again = run(pages, tmp_path / "out").checkpoint(1, "post")
    np.testing.assert_array_equal(again.image[:, :], section(1))


def test_channels_of_one_file_are_pairs_of_their_own(pages):
    table(
        pages,
        f"{HEAD}S1,A,post.tif,pre.tif,1\nS1,B,post.tif,pre.tif,3\n",
    )
    assert discover_tasks(raw_dir=pages).present == (("S1", "A"), ("S1", "B"))
    for dye, seed in (("A", 1), ("B", 3)):
        pixels = load_image_pair("S1", dye, pages)[0]
        np.testing.assert_array_equal(pixels, section(seed))
    assert len(find_pairs(pages / "post.tif").pairs) == 2


def test_a_batch_takes_pairs_of_the_table(raw, tmp_path):
    result = run_batch(
        ["S1"], ["DAPI"], raw_dir=raw, output_dir=tmp_path / "out", to_stage=1
    )
    assert [one["status"] for one in result] == ["complete"]


# Written and proposed ----------------------------------------------------------------


def test_written_and_read_back(raw):
    first = TableRow("Sä", "D", *two(raw), {"page": 2})
    second = pair_files("S2", "SYBR", raw)
    rows = [first, TableRow("S2", "E", second.post, second.pre)]
    before = (raw / "pairs.csv").read_bytes()
    path = write_pair_table(raw, rows)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfsample,dye,post,pre,page\r\n")
    assert (raw / "pairs.csv.bak").read_bytes() == before
    read = read_pair_table(raw).rows
    assert [(r.sample, r.dye, r.post, r.pre, dict(r.params)) for r in read] == [
        (r.sample, r.dye, r.post, r.pre, dict(r.params)) for r in rows
    ]


def test_nothing_is_written_that_could_not_be_read(raw):
    before = (raw / "pairs.csv").read_bytes()
    post, pre = two(raw)
    for rows, message in (
        ([TableRow("S", "D", post, post)], "as pre-stain"),
        ([TableRow("S", "D", post, pre)] * 2, "keep one of them"),
        ([TableRow("S", "D", post, raw.parent / "x.tif")], "outside of the raw folder"),
        ([TableRow("S", "D", post, raw / "x.tif")], "does not exist"),
    ):
        with pytest.raises(RawDataError, match=message):
            write_pair_table(raw, rows)
    assert (raw / "pairs.csv").read_bytes() == before
    assert not (raw / "pairs.csv.bak").exists()


@pytest.mark.parametrize(
    ("post", "pre", "sample", "dye"),
    [
        ("R1/SYBR after.tif", "R1/SYBR before.tif", "R1", "SYBR"),
        ("R1/stained/DAPI.tif", "R1/unstained/DAPI.tif", "R1", "DAPI"),
        ("after/R1-GFP.tif", "before/R1-GFP.tif", "R1", "GFP"),
        ("R1 GFP nachher.tif", "R1 GFP vorher.tif", "R1", "GFP"),
        ("R1_post.tif", "R1_pre.tif", "R1", "stain"),
    ],
)
def test_names_that_suggest_pairs(tmp_path, post, pre, sample, dye):
    for name in (post, pre, "S2/S2_Post_SYBR.tif", "S2/S2_Pre_SYBR.tif", "other.tif"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = propose_pairs(tmp_path)
    (row,) = found.proposed
    assert (row.sample, row.dye) == (sample, dye)
    assert row.files == (tmp_path / post, tmp_path / pre)
    assert [(known.sample, known.dye) for known in found.known] == [("S2", "SYBR")]
    assert found.left == (tmp_path / "other.tif",)
    write_pair_table(tmp_path, found.proposed)
    assert propose_pairs(tmp_path).proposed == ()
    assert set(discover_tasks(raw_dir=tmp_path).present) == {
        (sample, dye),
        ("S2", "SYBR"),
    }
