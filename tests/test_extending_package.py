"""A package that somebody else installs: everything it offers is there at once."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from napari_exo2micro.core.simulate import simulate_section
from snippets import code_blocks, shell_lines

HERE = Path(__file__).parent
PACKAGE = HERE / "extension_package"
PAGE = HERE.parent / "docs" / "extending" / "packages.md"


def install(package: Path, folder: Path, name: str = "") -> None:
    """Do what pip does with a pure package: copy it, and write its entry points."""
    about = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["project"]
    name = name or about["name"]
    info = folder / f"{name.replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {about['version']}\n"
    (info / "METADATA").write_text(head, "utf-8")
    lines = []
    for group, entries in about["entry-points"].items():
        lines.append(f"[{group}]")
        lines += [f"{entry} = {where}" for entry, where in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", "utf-8")
    for source in (package / "src").rglob("*.py"):
        target = folder / source.relative_to(package / "src")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text("utf-8"), "utf-8")


def run(arguments: list[str], folder: Path, site: Path) -> str:
    """Return what a new process prints that has the packages of `site`."""
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "140"}
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exo2micro(line: str, folder: Path, site: Path) -> str:
    program, *words = shlex.split(line)
    assert program == "exo2micro"
    return run(["-m", "napari_exo2micro", *words], folder, site)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    install(PACKAGE, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair in NumPy files."""
    made = tmp_path_factory.mktemp("work")
    (made / "scans").mkdir()
    pair = simulate_section((480, 540), seed=5, gain=1.25)
    np.save(made / "scans" / "Rock_SybrGld_before.npy", pair.pre)
    np.save(made / "scans" / "Rock_SybrGld_after.npy", pair.post)
    return made


@pytest.fixture(scope="module")
def printed(site: Path, folder: Path) -> dict[str, str]:
    """The commands of the page with what they print."""
    blocks = [block for block in code_blocks(PAGE) if "exo2micro run" in block.text]
    lines = [line for block in blocks for line in shell_lines(block)]
    assert len(lines) == 4
    return {line: exo2micro(line, folder, site) for line in lines}


def test_all_five_are_in_one_run_of_the_command_line(
    printed: dict[str, str], folder: Path
) -> None:
    params, first, status, by_name = printed.values()
    assert "stage 6: bright spots" in params
    assert "cell_level" in params
    assert "(median of blocks)" in first
    assert "complete" in first
    assert "row_profile" in status
    assert "difference_median" in status
    assert "labels" in status
    for word in ("stale", "missing", "incomplete"):
        assert word not in status
    assert "complete" in by_name

    place = folder / "processed" / "Rock" / "SybrGld"
    labels = fits.getheader(place / "fits/06_cells_labels_pad60_celllev6_medsc1.fits")
    assert labels["CELLS"] > 5
    name = "04_difference_difference_median_pad60_medsc1.fits"
    scale = fits.getheader(place / "fits" / name)["SCALE"]
    assert scale == pytest.approx(1.25, rel=0.1)
    assert (place / "pipeline_output" / "row_profile_pad60_medsc1.png").is_file()


def test_help_shows_the_options_under_their_stages(site: Path, folder: Path) -> None:
    shown = exo2micro("exo2micro run --help", folder, site)
    assert "Stage 6: bright spots" in shown
    assert "--cell-level NUMBER" in shown
    assert "--[no-]median-scale" in shown
    assert "6 or cells" in shown


def test_workers_of_a_batch_have_it_too(
    printed: dict[str, str], site: Path, folder: Path
) -> None:
    program = """
if __name__ == "__main__":
    from napari_exo2micro.core import run_batch
    results = run_batch(
        pairs=[("Rock", "SybrGld")], raw_dir="scans", output_dir="batch",
        loader="npy", params={"pad": 60, "cell_level": 7.0}, parallel=True,
        n_workers=2,
    )
    print([result["status"] for result in results])
"""
    script = folder / "batch.py"
    script.write_text(program, "utf-8")
    assert "['complete']" in run([str(script)], folder, site)
    made = folder / "batch" / "Rock" / "SybrGld" / "tiff"
    assert (made / "06_cells_labels_pad60_celllev7.tiff").is_file()


def test_a_broken_and_a_second_package_spoil_nothing(
    site: Path, folder: Path, tmp_path: Path
) -> None:
    install(PACKAGE, tmp_path)
    install(PACKAGE, tmp_path, name="zz-the-same-once-more")
    (tmp_path / "exo2micro_cells" / "loading.py").write_text("raise SystemExit(3)")
    printed = exo2micro("exo2micro params", folder, tmp_path)
    assert printed.count("cell_level") == 1
    program = (
        "from napari_exo2micro.core import DIAGNOSTICS, STAGES, SampleDye\n"
        "print(list(STAGES), 'row_profile' in DIAGNOSTICS)\n"
        "try:\n    SampleDye('A', 'B', loader='npy')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    told = run(["-c", program], folder, tmp_path)
    assert "[1, 2, 3, 4, 5, 6] True" in told
    assert "the loader 'npy' of exo2micro-cells (exo2micro_cells.loading:" in told
    assert "SystemExit: 3" in told
    assert "ParameterError loader 'npy'" in told
    assert told.count("Traceback") == 0


@pytest.fixture
def registering_site(tmp_path: Path) -> Path:
    """A package that offers a stage, and registers its parameter when imported."""
    package = tmp_path / "package"
    (package / "src" / "exo2micro_cells").mkdir(parents=True)
    (package / "pyproject.toml").write_text(
        '[project]\nname = "exo2micro-cells"\nversion = "1"\n'
        '[project.entry-points."napari_exo2micro.stages"]\n'
        'cells = "exo2micro_cells:STAGE"\n'
    )
    (package / "src" / "exo2micro_cells" / "__init__.py").write_text(
        "from napari_exo2micro.core import register_parameter\n"
        "from napari_exo2micro.core.parameters import Stage\n"
        "register_parameter('cell_level', 5.0, 'celllev', 4, 'How bright.')\n"
        "def find(task, force=False): ...\n"
        "STAGE = Stage(6, '06_cells', 'cells', find, ('labels',))\n"
    )
    install(package, tmp_path / "site")
    return tmp_path / "site"


@pytest.mark.parametrize("first", ["", "import exo2micro_cells"])
def test_what_a_package_registers_when_imported_is_there_for_workers(
    registering_site: Path, tmp_path: Path, first: str
) -> None:
    program = (
        f"{first}\n"
        "import pickle\n"
        "from napari_exo2micro.core.parameters import STAGES, RunSettings\n"
        "from napari_exo2micro.core.batch import Task\n"
        "print(list(STAGES))\n"
        "settings = RunSettings(params={'cell_level': 6.0})\n"
        "task = Task(0, 'A', 'D', settings)\n"
        "open('task', 'wb').write(pickle.dumps(task))\n"
    )
    told = run(["-c", program], tmp_path, registering_site)
    assert told.splitlines() == ["[1, 2, 3, 4, 5, 6]"]
    program = (
        "import pickle\n"
        "print(pickle.load(open('task', 'rb')).open().params['cell_level'])\n"
    )
    assert run(["-c", program], tmp_path, registering_site).splitlines() == ["6.0"]
