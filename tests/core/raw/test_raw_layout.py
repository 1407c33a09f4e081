"""Names, sample folders and what is wrong with a raw folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import (
    ParameterError,
    RawDataError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.raw import (
    LayoutProblem,
    NameProblem,
    check_name,
    classify_raw_files,
    diagnose_raw_layout,
    discover_tasks,
    find_pair,
    find_pairs,
    folder as raw_folder,
    list_samples,
    may_be_raw,
    survey_raw_channels,
)
from napari_exo2micro.core.raw.names import parse_raw_name
from napari_exo2micro.core.raw.tiff import open_tiff


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("a/b", "path separator"),
        ("a\\b", "path separator"),
        ("..", "'..'"),
        ("a..b", "'..'"),
        (".hidden", "starts with a dot"),
        ("a\nb", "control character"),
        ("a\x00b", "control character"),
        ("a\x1bb", "control character U\\+001B"),
        ("a\udcffb", "bytes that are no text in utf-8"),
        ("a\u202eb", "invisible character U\\+202E .right-to-left override"),
        ("a\u200bb", "invisible character U\\+200B .zero width space"),
        ("a\u2066b", "invisible character U\\+2066"),
        ("a\u2028b", "control character U\\+2028"),
        ("CON", "reserved"),
        ("lpt1.tif", "reserved"),
        ("x" * 201, "201 bytes"),
        (7, "type int"),
        (None, "type NoneType"),
    ],
)
def test_names_that_are_no_folder_names_are_refused(name: str, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason) as caught:
        check_name("sample", name)
    assert "\n" not in str(caught.value)
    assert "sample" in str(caught.value)


@pytest.mark.parametrize("name", ["CD070", "Ж 12", "SybrGld_microbe", "a.b", "x" * 200])
def test_ordinary_names_pass(name: str) -> None:
    assert check_name("dye", name) == name


@given(st.text(max_size=300))
def test_a_name_that_passes_is_one_folder(name: str) -> None:
    try:
        check_name("sample", name)
    except ParameterError:
        return
    assert Path(name).name == name
    assert len(os.fsencode(name)) <= 200
    assert Path("out", name).resolve().parent == Path("out").resolve()


@pytest.mark.parametrize(
    ("name", "stain", "dye"),
    [
        ("CD070_PreStain_SybrGld.tif", "pre", "SybrGld"),
        ("CD070_POSTstain_DAPI.TIFF", "post", "DAPI"),
        ("scan-before(pre)_a_b_Cy5.Tif", "pre", "Cy5"),
        ("post_D.1.tif", "post", "D.1"),
        ("x_preD.tif", "pre", "preD"),
        ("S_Post_Cypress.tif", "post", "Cypress"),
        ("Cypress_PreStain_DAPI.ome.tif", "pre", "DAPI"),
        ("Precambrian1_post_DAPI.OME.TIFF", "post", "DAPI"),
        ("Precambrian1_PostStain_DAPI.btf", "post", "DAPI"),
        ("S1_pre_PrestoBlue.tf8", "pre", "PrestoBlue"),
        ("S1_PostStain_PrestoBlue.tf2", "post", "PrestoBlue"),
        ("samplepre_D.tif", "pre", "D"),
        ("SamplePost2_D.tif", "post", "D"),
        ("S1PRE_D.tif", "pre", "D"),
    ],
)
def test_a_good_name_gives_stain_and_dye(name: str, stain: str, dye: str) -> None:
    parsed = parse_raw_name(Path(name))
    assert (parsed.stain, parsed.dye, parsed.problem) == (stain, dye, None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("S_PrePost_D.tif", NameProblem.AMBIGUOUS),
        ("S_Pre_PostDye.tif", NameProblem.AMBIGUOUS),
        ("S_PreStain_D_PostStain_E.tif", NameProblem.AMBIGUOUS),
        ("S1_expression_DAPI.tif", NameProblem.NO_STAIN_MARKER),
        ("S_D.tif", NameProblem.NO_STAIN_MARKER),
        ("S.tif", NameProblem.NO_STAIN_MARKER),
        ("S-PreStain.tif", NameProblem.NO_UNDERSCORE),
        ("S_Pre_.tif", NameProblem.EMPTY_DYE),
        ("S_Pre_ .tif", NameProblem.EMPTY_DYE),
    ],
)
def test_bad_names_are_told_apart(name: str, problem: NameProblem) -> None:
    parsed = parse_raw_name(Path(name))
    assert (parsed.problem, parsed.dye, parsed.stain) == (problem, None, None)
    assert parsed.message.startswith(f"{problem.value}: {name}: ")


def test_a_marker_inside_the_dye_name_is_pointed_out() -> None:
    assert "dye name 'PostDye'" in parse_raw_name(Path("S_Pre_PostDye.tif")).message


def test_names_that_differ_in_case_only_are_joined_or_named(tmp_path: Path) -> None:
    touch(tmp_path / "S", "S_pre_dapi.tif", "S_post_DAPI.tif")
    post, pre, warnings = find_pair("S", "DAPI", tmp_path)
    assert (post.name, pre.name) == ("S_post_DAPI.tif", "S_pre_dapi.tif")
    assert "S_pre_dapi.tif is taken as the partner of S_post_DAPI.tif" in warnings[0]
    assert discover_tasks(raw_dir=tmp_path).present == (("S", "DAPI"),)
    assert find_pairs(tmp_path / "S" / "S_pre_dapi.tif").pairs[0].post == post
    touch(tmp_path / "S", "S_pre_DAPI.tif")
    assert find_pair("S", "DAPI", tmp_path)[1].name == "S_pre_DAPI.tif"
    with pytest.raises(RawFileNotFoundError, match=r"S_post_DAPI\.tif.* differs in"):
        find_pair("S", "dapi", tmp_path)


def test_an_end_that_all_names_share_is_no_dye(tmp_path: Path) -> None:
    """As ZEN and others write them."""
    for dye in ("DAPI", "SYBR"):
        touch(tmp_path / "S", *(f"S_{s}Stain_{dye}_ORG.tif" for s in ("Pre", "Post")))
    assert discover_tasks(raw_dir=tmp_path).present == (("S", "DAPI"), ("S", "SYBR"))
    assert find_pair("S", "SYBR", tmp_path)[0].name == "S_PostStain_SYBR_ORG.tif"
    assert find_pair("S", "DAPI_ORG", tmp_path)[1].name == "S_PreStain_DAPI_ORG.tif"


def test_files_are_sorted_by_dye_and_stain(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *("S_Pre_A.tif", "S_Post_A.tif", "S_Post_B.tif", "S_Pre_C.tif", "T_pre_C.tif"),
        *("S_Post_C.tif", "S_A.tif", "._S_Pre_A.tif", ".DS_Store", "notes_pre_A.txt"),
    )
    (tmp_path / "folder_pre_A.tif").mkdir()
    found = classify_raw_files(tmp_path)
    assert list(found.dyes) == ["A", "B", "C"]
    assert found.dyes["A"].is_complete
    assert found.dyes["A"].problem() == ""
    assert "no pre-stain file for dye 'B'" in found.dyes["B"].problem()
    assert "2 pre-stain files for dye 'C'" in found.dyes["C"].problem()
    assert [parsed.problem for parsed in found.problems] == [
        NameProblem.NO_STAIN_MARKER
    ]
    assert len(found.warnings) == 3


def test_a_pair_is_found_whatever_else_is_there(tmp_path: Path) -> None:
    touch(tmp_path / "S", "a_Pre_A.tif", "b_Post_A.tiff", "S_A.tif", "S_Pre_B.tif")
    post, pre, warnings = find_pair("S", "A", tmp_path)
    assert (post.name, pre.name) == ("b_Post_A.tiff", "a_Pre_A.tif")
    assert len(warnings) == 1
    assert "NO STAIN MARKER: S_A.tif" in warnings[0]


@pytest.mark.parametrize(
    ("sample", "dye", "message"),
    [
        ("T", "A", r"no folder for sample 'T'.*samples there: S"),
        ("s", "A", r"case matters: there is 'S'"),
        ("S", "Z", r"no file for dye 'Z'.*dyes there: A, B, D"),
        ("S", "a", r"case matters: there is 'A'"),
        ("S", "x_A", r"no pair of files ends with '_x_A': ask for 'A'"),
        ("S", "Post_A", r"no pair of files ends with '_Post_A': ask for 'A'"),
        ("S", "A_", r"no file for dye 'A_'"),
        ("S", "B", r"no pre-stain file for dye 'B' beside S_Post_B.tif"),
    ],
)
def test_what_is_missing_is_a_file_not_found_error(
    tmp_path: Path, sample: str, dye: str, message: str
) -> None:
    touch(tmp_path / "S", "S_Pre_A.tif", "S_Post_A.tif", "S_Post_B.tif")
    touch(tmp_path / "S", "S_Pre_D.tif", "S_Post_D.tif")
    with pytest.raises(RawFileNotFoundError, match=message) as caught:
        find_pair(sample, dye, tmp_path)
    assert isinstance(caught.value, FileNotFoundError)
    assert "\n" not in str(caught.value)


def test_a_dye_with_underscores_is_a_pair_that_ends_with_it(tmp_path: Path) -> None:
    names = ("a_Pre_Sybr_m", "a_Post_Sybr_m", "a_Pre_x_DAPI_m", "a_Post_y_DAPI_m")
    touch(tmp_path / "S", *(f"{name}.tif" for name in names))
    for dye in ("Sybr_m", "DAPI_m"):
        post, pre, _ = find_pair("S", dye, tmp_path)
        assert [path.stem.endswith(f"_{dye}") for path in (post, pre)] == [True, True]
    found = discover_tasks(
        ["S"], ["Sybr_m", "DAPI_m", "m", "ybr_m", "x_DAPI_m"], tmp_path
    )
    assert found.present == (("S", "Sybr_m"), ("S", "DAPI_m"))
    assert [task.dye for task in found.skipped] == ["m", "ybr_m", "x_DAPI_m"]
    assert found.warnings == ()
    touch(tmp_path / "S", "b_Pre_Sybr_m.tif")
    with pytest.raises(RawDataError, match="2 pre-stain files for dye 'Sybr_m'"):
        find_pair("S", "Sybr_m", tmp_path)
    assert find_pair("S", "DAPI_m", tmp_path)[0].stem == "a_Post_y_DAPI_m"


def test_duplicates_are_a_value_error_that_names_them(tmp_path: Path) -> None:
    touch(tmp_path / "S", "S_Pre_A.tif", "S_Post_A.tif", "S_Post_A.TIFF")
    with pytest.raises(
        RawDataError, match=r"2 post-stain.*S_Post_A\.TIFF, S_Post"
    ) as e:
        find_pair("S", "A", tmp_path)
    assert isinstance(e.value, ValueError)
    assert not isinstance(e.value, FileNotFoundError)


def test_unsafe_names_never_reach_the_disk(tmp_path: Path) -> None:
    touch(tmp_path / "S", "S_Pre_A.tif", "S_Post_A.tif")
    with pytest.raises(ParameterError, match="path separator"):
        find_pair("../" + tmp_path.name + "/S", "A", tmp_path)
    with pytest.raises(ParameterError, match="path separator"):
        find_pair("S", "A/B", tmp_path)


def test_names_are_compared_in_one_unicode_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "Grün")
    touch(tmp_path / decomposed, f"S_Pre_{decomposed}.tif", f"S_Post_{decomposed}.tif")
    post, _, _ = find_pair(unicodedata.normalize("NFC", "Grün"), "Grün", tmp_path)
    assert post.exists()


def test_a_symbolic_link_counts_as_the_file(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere", "one.tif") / "one.tif"
    raw = touch(tmp_path / "raw" / "S", "S_Pre_A.tif").parent
    (raw / "S" / "S_Post_A.tif").symlink_to(elsewhere)
    assert find_pair("S", "A", raw)[0].read_bytes() == b""


def test_lists_of_samples_and_dyes(tmp_path: Path) -> None:
    touch(tmp_path / "B", "x_Pre_D1.tif", "x_Post_D1.tif", "x_Post_D2.tif")
    touch(tmp_path / "A", "x_Pre_D0.tif", "x_Post_D0.tif")
    touch(tmp_path, ".hidden/x_Pre_H.tif", "loose_Pre_D9.tif")
    assert list_samples(tmp_path) == ("A", "B")
    assert list(classify_raw_files(tmp_path / "B").dyes) == ["D1", "D2"]
    with pytest.raises(RawFileNotFoundError, match="does not exist"):
        list_samples(tmp_path / "none")


@pytest.mark.parametrize(
    ("files", "problem", "message"),
    [
        ((), LayoutProblem.EMPTY, "neither sample folders nor TIFFs"),
        (
            ("S_Pre_A.tif", "S_Post_A.tif"),
            LayoutProblem.LOOSE_FILES_ONLY,
            "2 TIFF files lie in it.*as the raw folder",
        ),
        (("S_Pre_A.tif", "S/S_Pre_A.tif"), LayoutProblem.LOOSE_FILES, "1 TIFF files"),
        (("S/notes.txt", "T/.x.tif"), LayoutProblem.NO_TIFFS, r"2 folders \(S, T\)"),
        (("S/S_Pre_A.tif", "T/notes.txt"), None, r"1 sample \(S\)"),
    ],
)
def test_layout_problems_are_told_apart(
    tmp_path: Path,
    files: tuple[str, ...],
    problem: LayoutProblem | None,
    message: str,
) -> None:
    touch(tmp_path, *files)
    diagnosis = diagnose_raw_layout(tmp_path)
    assert diagnosis.problem is problem
    assert re.search(message, diagnosis.message)
    assert diagnosis.is_usable == (problem in (None, LayoutProblem.LOOSE_FILES))


def test_a_raw_folder_that_is_none_is_told(tmp_path: Path) -> None:
    missing = diagnose_raw_layout(tmp_path / "none")
    assert missing.problem is LayoutProblem.MISSING
    touch(tmp_path, "file")
    no_folder = diagnose_raw_layout(tmp_path / "file")
    assert no_folder.problem is LayoutProblem.NOT_A_FOLDER
    with pytest.raises(RawFileNotFoundError, match="not a folder"):
        discover_tasks(raw_dir=tmp_path / "file")


def test_tasks_are_present_or_skipped_with_their_reason(tmp_path: Path) -> None:
    touch(tmp_path / "S", "S_Pre_A.tif", "S_Post_A.tif", "S_Post_B.tif", "S_A.tif")
    touch(tmp_path / "T", "T_Pre_A.tif", "T_Post_A.tif")
    touch(tmp_path, "loose_Pre_A.tif")
    found = discover_tasks(["T", "S", "U"], ["A", "B"], tmp_path)
    assert found.present == (("T", "A"), ("S", "A"))
    assert [(task.sample, task.dye) for task in found.skipped] == [
        *(("T", "B"), ("S", "B"), ("U", "A"), ("U", "B"))
    ]
    assert "no pre-stain file" in found.skipped[1].reason
    assert "no folder for sample 'U'" in found.skipped[2].reason
    assert any("beside the sample folders" in text for text in found.warnings)
    assert any("NO STAIN MARKER" in text for text in found.warnings)


def test_all_tasks_are_found_when_none_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "S", "S_Pre_A.tif", "S_Post_A.tif", "S_Post_B.tif")
    touch(tmp_path / "T", "T_Pre_C.tif", "T_Post_C.tif")
    found = discover_tasks(raw_dir=tmp_path)
    assert found.present == (("S", "A"), ("T", "C"))
    assert [task.dye for task in found.skipped] == ["B"]
    only = discover_tasks(["S"], ["A"], tmp_path)
    assert [text for text in only.warnings if "dye 'B'" in text]


# Large folders --------------------------------------------------------------------


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were listed, one entry for each time."""
    listed: list[str] = []
    scandir = os.scandir

    def noted(path: Path) -> object:
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", noted)
    return listed


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(20):
        name = f"R{number:02d}"
        touch(tmp_path / name, f"{name}_Pre_DAPI.tif", f"{name}_Post_DAPI.tif")
        touch(tmp_path / name, f"{name}_Pre_TxRed.tif", f"{name}_Post_TxRed.tif")
    return tmp_path


@pytest.mark.parametrize(
    "look",
    [
        lambda folder: discover_tasks(raw_dir=folder),
        lambda folder: discover_tasks(["R03", "R07"], ["DAPI", "TxRed"], folder),
        lambda folder: discover_tasks(raw_dir=diagnose_raw_layout(folder)),
        lambda folder: find_pairs(folder),
        lambda folder: may_be_raw(folder),
        lambda folder: survey_raw_channels(folder, ["R03", "R07"]),
        lambda folder: list_samples(folder),
    ],
)
def test_each_folder_is_listed_once(look, many: Path, listings: list[str]) -> None:
    look(many)
    assert len(listings) == len(set(listings)) <= 21
    assert str(many) in listings


def test_a_pair_is_found_with_two_listings(many: Path, listings: list[str]) -> None:
    find_pair("R07", "TxRed", many)
    assert listings == [str(many), str(many / "R07")]


def test_a_diagnosis_is_gone_on_with(many: Path) -> None:
    layout = diagnose_raw_layout(many)
    assert discover_tasks(raw_dir=layout) == discover_tasks(raw_dir=many)
    asked = discover_tasks(["R03", "none", "CON"], ["DAPI", "GFP"], layout)
    assert asked == discover_tasks(["R03", "none", "CON"], ["DAPI", "GFP"], many)
    assert asked.present == (("R03", "DAPI"),)
    assert len(asked.skipped) == 5


def test_folders_that_are_not_looked_into_are_told(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_folder, "_MOST_FOLDERS", 15)
    found = find_pairs(many)
    assert len(found.pairs) == 30
    assert found.problems == (
        f"{many}: 5 of its 20 folders are not looked into; open the folder of a sample "
        "instead",
    )


@pytest.mark.parametrize("parts", [["x" * 300], ["d" * 200] * 30])
def test_a_path_longer_than_a_path_may_be_is_told(parts: list[str]) -> None:
    deep = Path("/", *parts)
    assert diagnose_raw_layout(deep).problem is LayoutProblem.MISSING
    assert find_pairs(deep).pairs == ()
    assert not may_be_raw(deep)
    for look in (
        lambda: discover_tasks(raw_dir=deep),
        lambda: list_samples(deep),
        lambda: find_pair("A", "DAPI", deep),
        lambda: survey_raw_channels(deep),
        lambda: open_tiff(deep / "A_Pre_DAPI.tif"),
    ):
        with pytest.raises(RawFileNotFoundError):
            look()
