"""What a person gets who installs the package, and what the project promises."""

from __future__ import annotations

import ast
import ctypes
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import napari_exo2micro

IMPORT_NAMES = {
    "bioio-base": "bioio_base",
    "opencv-python": "cv2",
    "pillow": "PIL",
    "scikit-image": "skimage",
    "dask-jobqueue": "dask_jobqueue",
}


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    with (repository / "pyproject.toml").open("rb") as stream:
        return tomllib.load(stream)


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0] for text in requirements}


def test_base_install_has_neither_napari_nor_a_qt_binding(
    project: dict[str, Any],
) -> None:
    requirements = project["project"]["dependencies"]
    assert "napari" not in names_of(requirements)
    for text in requirements:
        assert "[" not in text
        assert not text.lower().startswith(("pyqt", "pyside"))


def test_extras_are_those_that_the_readme_names(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    assert set(extras) == {"all", "distributed", "formats", "zarr"}
    assert extras["all"][0].startswith("napari[")
    assert set(extras["zarr"]) < set(extras["all"])
    wanted = {"cryptography", "dask", "distributed", "dask-jobqueue"}
    assert names_of(extras["distributed"]) == wanted


def test_every_import_is_a_declared_dependency(project: dict[str, Any]) -> None:
    declared = names_of(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        declared |= names_of(extra)
    known = {IMPORT_NAMES.get(name, name) for name in declared}
    known |= set(sys.stdlib_module_names) | {"napari_exo2micro"}
    known |= {"mpl_toolkits"}  # comes with matplotlib
    package = Path(napari_exo2micro.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                tops = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                tops = {node.module.partition(".")[0]}
            else:
                continue
            assert tops <= known, f"{path}: {tops - known} is not declared"


def test_package_is_typed() -> None:
    assert (Path(napari_exo2micro.__file__).parent / "py.typed").exists()


def test_version_is_that_of_the_installed_package() -> None:
    try:
        installed = version("napari-exo2micro")
    except PackageNotFoundError:
        pytest.skip("not installed: run from the source tree")
    assert napari_exo2micro.__version__ == installed
    (script,) = entry_points(group="console_scripts", name="exo2micro")
    assert callable(script.load())


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (None, r"0\.1\.0\.dev0"),
        ([], r"0\.1\.0?\.?dev\d+(\+g\w+)?"),
        (["v1.2.3"], r"1\.2\.3"),
    ],
    ids=["archive without git", "clone without tags", "tagged clone"],
)
def test_version_follows_git_where_there_is_git(
    repository: Path, tmp_path: Path, tags: list[str] | None, expected: str
) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, tmp_path)
    if tags is not None:
        if shutil.which("git") is None:
            pytest.skip("git is not installed")

        def git(*words: str) -> None:
            identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
            subprocess.run(
                ["git", *identity, *words], cwd=tmp_path, check=True, timeout=60
            )

        git("init", "-q")
        git("add", ".")
        git("commit", "-q", "-m", "start")
        for tag in tags:
            git("tag", tag)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(expected, done.stdout.strip())


def test_every_public_name_of_the_core_exists() -> None:
    from napari_exo2micro import core

    assert "SampleDye" in core.__all__
    for name in core.__all__:
        assert getattr(core, name) is not None


@pytest.fixture
def fake_dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `dpkg-query` that knows one package, alone on the search path."""
    tool = tmp_path / "dpkg-query"
    tool.write_text("#!/bin/sh\necho 'xvfb installed'\nexit 1\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="dpkg is of Debian's family")
def test_set_up_step_prints_the_line_where_it_may_not_install(
    system_packages: ModuleType,
    fake_dpkg: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(system_packages.os, "geteuid", lambda: 1000)
    assert system_packages.main([]) == 0
    line = capsys.readouterr().out.splitlines()[-1].strip()
    assert line.startswith("sudo apt-get update && sudo apt-get install -y")
    assert "libxcb-cursor0" in line
    assert "xvfb" not in line
    assert system_packages.main(["--check"]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="dpkg is of Debian's family")
def test_set_up_step_installs_as_root(
    system_packages: ModuleType, fake_dpkg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = fake_dpkg / "log"
    apt = fake_dpkg / "apt-get"
    apt.write_text(f'#!/bin/sh\necho "$@" >> {log}\n', encoding="utf-8")
    env = fake_dpkg / "env"
    env.write_text('#!/bin/sh\nshift\nexec "$@"\n', encoding="utf-8")
    for tool in (apt, env):
        tool.chmod(0o755)
    monkeypatch.setattr(system_packages.os, "geteuid", lambda: 0)
    assert system_packages.main([]) == 0
    update, install = log.read_text(encoding="utf-8").splitlines()
    assert update.endswith("update")
    assert "install -y --no-install-recommends xauth" in install


def test_set_up_step_asks_for_nothing_without_dpkg(
    system_packages: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system_packages.missing_packages() == []
    assert system_packages.main([]) == 0


@pytest.mark.display
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names of Linux")
def test_what_a_window_loads_is_there_after_the_set_up_step() -> None:
    assert shutil.which("Xvfb")
    for library in (
        "libEGL.so.1",
        "libGL.so.1",
        "libOpenGL.so.0",
        "libdbus-1.so.3",
        "libxkbcommon-x11.so.0",
        "libxcb-cursor.so.0",
        "libxcb-icccm.so.4",
        "libxcb-keysyms.so.1",
    ):
        assert ctypes.CDLL(library)


def test_every_commit_is_checked_by_the_versions_that_tox_has(
    project: dict[str, Any], repository: Path
) -> None:
    hooks = (repository / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = dict(text.split("==") for text in project["dependency-groups"]["lint"])
    assert f"rev: v{pinned['ruff']}\n" in hooks
    assert f"[import-linter=={pinned['import-linter']}]" in hooks


def test_the_oldest_and_the_newest_python_are_tested_on_three_systems(
    project: dict[str, Any], repository: Path
) -> None:
    tested = yaml.safe_load(
        (repository / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    )
    matrix = tested["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest", "windows-latest", "macos-latest"]
    named = [
        text.rpartition(" ")[2]
        for text in project["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", text)
    ]
    oldest, *_, newest = sorted(named, key=lambda text: int(text[2:]))
    assert project["project"]["requires-python"] == f">={oldest}"
    assert matrix["python"] == [oldest, newest]
