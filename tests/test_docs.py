"""The documentation: its code runs, its links and pictures exist."""

from __future__ import annotations

import importlib
import re
import shutil
import tomllib
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest

from napari_exo2micro.cli.output import OPENCV_HELP
from napari_exo2micro.core.parameters.parameters import PARAMETERS
from napari_exo2micro.core.plotting.registry import BUILT_IN_DIAGNOSTICS
from napari_exo2micro.core.simulate import simulate_section, write_pair
from snippets import PYTHON, SHELL, code_blocks, run_page, shell_lines


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def test_a_page_runs_in_order_in_one_namespace(page: Path, tmp_path: Path) -> None:
    page.write_text(
        "\n".join(
            (
                "```python",
                "a = 2",
                "```",
                "% file: deep/three.txt",
                "```text",
                "3",
                "```",
                "",
                "1. In a list:",
                "",
                "   ```python",
                "   b = a * int(open('deep/three.txt').read())",
                "   ```",
                "",
                "```python",
                ">>> a + b",
                "8",
                ">>> c = 1",
                "```",
                "% not run: no such module",
                "```python",
                "import no_such_module",
                "```",
                "% exit code: 1",
                "```bash",
                "exo2micro status NoSuch DAPI",
                "```",
                "",
                "```console",
                "$ exo2micro params --json  # all",
                "{}",
                "```",
            )
        )
    )
    ran = run_page(page, tmp_path)
    assert (ran.names["a"], ran.names["b"], ran.names["c"]) == (2, 6, 1)
    (first, second) = ran.outputs
    assert "incomplete" in first[1]
    assert second[0].startswith("exo2micro params")
    assert "boundary_width" in second[1]


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("```python\n>>> 1 + 1\n3\n```", "Expected"),
        ("```bash\nexo2micro status NoSuch DAPI\n```", "exit code 1"),
        ("```bash\npip install x\n```", "only exo2micro is run here"),
        ("% not run:\n```bash\npip install x\n```", "gives no reason"),
    ],
)
def test_a_wrong_page_fails(
    page: Path, tmp_path: Path, code: str, complaint: str
) -> None:
    page.write_text(code)
    with pytest.raises(AssertionError, match=complaint):
        run_page(page, tmp_path)


def test_a_failing_line_is_named(page: Path, tmp_path: Path) -> None:
    page.write_text("Words.\n\n```python\na = 1\nraise ValueError('no')\n```\n")
    with pytest.raises(ValueError, match="no") as caught:
        run_page(page, tmp_path)
    assert caught.traceback[-1].lineno + 1 == 5


def test_shell_lines_are_joined_and_freed_of_comments(page: Path) -> None:
    page.write_text("```bash\n# first\nexo2micro run A \\\n    B\n```\n")
    (block,) = code_blocks(page)
    assert block.line == 2
    (line,) = shell_lines(block)
    assert line.split() == ["exo2micro", "run", "A", "B"]


# The pages -------------------------------------------------------------------

DOCS = Path(__file__).resolve().parent.parent / "docs"
LARGEST_PICTURE = 300_000
PLAIN = {"text", "bat"}

# The other folders have tests of their own.
SITE_PAGES = sorted(
    path
    for path in (
        *DOCS.glob("start/*.md"),
        *DOCS.glob("concepts/*.md"),
        DOCS / "index.md",
        DOCS / "batch.md",
        DOCS / "guide.md",
        DOCS / "landmarks.md",
        DOCS / "parameters.md",
        DOCS / "scale_methods.md",
        DOCS / "diagnostics.md",
    )
)
RUNNABLE = [
    path
    for path in SITE_PAGES
    if any(
        block.language in (*PYTHON, *SHELL) and block.not_run_reason is None
        for block in code_blocks(path)
    )
]
SLOW = {
    "batch.md",
    "command_line.md",
    "landmarks.md",
    "parameters.md",
    "python.md",
    "verdicts.md",
}


def name_of(path: Path) -> str:
    return path.relative_to(DOCS).as_posix()


@pytest.fixture(scope="module")
def raw_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample that the pages speak of."""
    folder = tmp_path_factory.mktemp("pages") / "raw"
    pair = simulate_section((480, 540), seed=5, angle_deg=3.0, shift=(9, -6), gain=1.3)
    write_pair(pair, folder, "CD070", "DAPI")
    return folder


@pytest.fixture(scope="module")
def raw_samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples and dyes of the page on batches; the dyes differ in brightness."""
    folder = tmp_path_factory.mktemp("samples") / "raw"
    for seed, sample in enumerate(("CD070", "CD071"), start=5):
        for dye, gain in (("DAPI", 1.3), ("SybrGld", 1.6)):
            pair = simulate_section(
                (420, 460), seed=seed, angle_deg=3.0, shift=(9, -6), gain=gain
            )
            write_pair(pair, folder, sample, dye)
    return folder


@pytest.mark.usefixtures("plain_pictures")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, marks=pytest.mark.slow) if p.name in SLOW else p
        for p in RUNNABLE
    ],
    ids=name_of,
)
def test_the_code_of_a_page_runs(
    path: Path, raw_dir: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if path.name == "batch.md":
        raw_dir = request.getfixturevalue("raw_samples")
    shutil.copytree(raw_dir, tmp_path / "raw")
    run_page(path, tmp_path)


def test_the_pages_with_code_are_found() -> None:
    names = {name_of(path) for path in RUNNABLE}
    assert {"batch.md", "start/python.md", "start/command_line.md"} <= names
    assert "parameters.md" in names


@pytest.mark.parametrize("path", SITE_PAGES, ids=name_of)
def test_every_block_says_its_language_or_is_no_code(path: Path) -> None:
    for block in code_blocks(path):
        known = (*PYTHON, *SHELL, *PLAIN)
        directive = block.language.startswith("{")
        formula = not block.language and "exo2micro " not in block.text
        assert block.language in known or directive or formula, (
            f"line {block.line}: {block.language!r}"
        )
        if block.language == "bat":
            assert block.not_run_reason, f"line {block.line} is never run"


# No network here: that a foreign page exists is not checked, only that the link
# is one. Sphinx checks links between the pages, with their headings.
LINK = re.compile(r"\]\(([^)\s]+)\)")
PICTURE = re.compile(r"^```\{image\}\s+(\S+)", re.MULTILINE)


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=name_of)
def test_links_and_pictures_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for block in code_blocks(path):
        if not block.language.startswith("{"):
            text = text.replace(block.text, "")
    for target in [*LINK.findall(text), *PICTURE.findall(text)]:
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert re.fullmatch(r"[\w-]+(\.[\w-]+)+", parts.netloc), target
            assert "example." not in parts.netloc, target
        elif parts.path:
            assert (path.parent / parts.path).exists(), target


def test_the_parameter_page_shows_every_stage_that_has_parameters() -> None:
    text = (DOCS / "parameters.md").read_text("utf-8")
    shown = set(re.findall(r"^:::\{parameter-table\} (\d)$", text, re.MULTILINE))
    assert shown == {str(entry.stage) for entry in PARAMETERS}


def test_the_diagnostics_page_shows_every_plot_under_its_title() -> None:
    text = (DOCS / "diagnostics.md").read_text("utf-8")
    for plot in BUILT_IN_DIAGNOSTICS:
        assert f"## {plot.title}\n\n:::{{diagnostic-examples}} {plot.name}\n" in text
        for kind in ("good", "bad"):
            assert (DOCS / f"images/diagnostics/{plot.name}_{kind}.png").is_file()
            assert getattr(plot, kind), f"{plot.name} does not say what is {kind}"


def test_pictures_are_small_and_used() -> None:
    files = (DOCS.parent / "README.md", *DOCS.rglob("*.md"))
    pages = "\n".join(path.read_text("utf-8") for path in files)
    shown = {plot.name for plot in BUILT_IN_DIAGNOSTICS}
    for path in DOCS.glob("images/**/*.png"):
        assert path.stat().st_size <= LARGEST_PICTURE, path.name
        assert path.name in pages or path.stem.rpartition("_")[0] in shown, path.name


def load_script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import a script of the docs folder, which is no package."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module(name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folder", "shape"),
    [
        ("make_concept_pictures", "concepts", (640, 760)),
        ("make_diagnostic_pictures", "diagnostics", (480, 540)),
    ],
)
def test_the_pictures_can_be_made_again(
    name: str,
    folder: str,
    shape: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = load_script(name, monkeypatch)
    monkeypatch.setattr(script, "SHAPE", shape)  # smaller, so faster
    script.main(tmp_path)
    made = {path.name for path in tmp_path.glob(f"{folder}/*.png")}
    assert made == {path.name for path in (DOCS / "images" / folder).glob("*.png")}


# What the pages say of the program -------------------------------------------


def test_the_install_page_shows_the_message_about_opencv() -> None:
    text = " ".join((DOCS / "start" / "install.md").read_text("utf-8").split())
    assert OPENCV_HELP in text


def test_the_install_page_names_extras_and_python_that_exist() -> None:
    text = (DOCS / "start" / "install.md").read_text("utf-8")
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text("utf-8"))[
        "project"
    ]
    named = set()
    for found in re.findall(r'"\.\[([\w,]+)\]"', text):
        named |= set(found.split(","))
    assert named == set(project["optional-dependencies"])
    assert project["requires-python"] == ">=3.11"
    assert "Python 3.11 or newer" in text
