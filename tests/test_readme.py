"""The README: its commands and its Python run, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from napari_exo2micro.core.simulate import simulate_section, write_pair
from snippets import Ran, code_blocks, run_page, shell_lines

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md"]
#: What may be linked outside; each was opened by hand. Tests use no network.
OUTSIDE = ("https://keepachangelog.com/en/1.1.0/", "https://semver.org")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The README, run beside the raw files that it speaks of."""
    folder = tmp_path_factory.mktemp("readme")
    pair = simulate_section((500, 560), seed=5, angle_deg=4.0, shift=(12.0, -9.0))
    post, pre, _ = write_pair(pair, folder / "raw", "CD070", "DAPI")
    shown = "\n".join(b.text for b in code_blocks(README) if b.language == "text")
    for path in (post, pre):
        assert path.relative_to(folder).as_posix() in shown
    return run_page(README, folder)


@pytest.mark.slow
def test_commands_and_python_of_the_readme_run(ran: Ran) -> None:
    printed = dict(ran.outputs)
    (run,) = (text for line, text in printed.items() if line.startswith("exo2micro r"))
    (batch,) = (t for line, t in printed.items() if line.startswith("exo2micro b"))
    assert "complete" in run
    assert "done" in batch
    assert ran.names["result"]["status"] == "complete"
    assert ran.names["to_pre"]([[2500.0, 3100.0]]).shape == (1, 2)


def test_commands_that_are_not_run_install_this_project() -> None:
    lines = [
        line.partition("#")[0].strip()
        for block in code_blocks(README)
        if block.not_run_reason
        for line in shell_lines(block)
    ]
    assert lines == [
        "python -m pip install . && exo2micro demo",
        "python -m pip install tox && tox",
        "python -m pip install .",
        'python -m pip install ".[all]"',
    ]


def test_environments_and_menu_that_the_readme_names_exist() -> None:
    tox = (ROOT / "tox.ini").read_text("utf-8")
    named = re.findall(r"`tox -e (\w+)`", TEXT)
    assert named
    for name in named:
        assert f"[testenv:{name}]" in tox
    manifest = yaml.safe_load(
        (ROOT / "src" / "napari_exo2micro" / "napari.yaml").read_text("utf-8")
    )
    (place,) = re.findall(r"\*Plugins > (.*?) > (.*?)\*", TEXT)
    widgets = [w["display_name"] for w in manifest["contributions"]["widgets"]]
    assert place[0] == manifest["display_name"]
    assert place[1] in widgets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    for link in links:
        if link.startswith("https://"):
            assert link in OUTSIDE, f"{link}: open it, then add it to OUTSIDE"
        else:
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_readme_has_pictures_and_links() -> None:
    assert len(re.findall(r"!\[[^\]]{20,}\]\(docs/images/\w+\.png\)", TEXT)) == 2
    assert len(re.findall(r"\]\(docs/[\w/]+\.md\)", TEXT)) >= 6


def test_citation_and_licence_agree_with_the_project() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == TEXT.partition("\n")[0].removeprefix("# ")
    assert citation["authors"]
    assert citation["license"] in TEXT
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    assert f'license = "{citation["license"]}"' in project
