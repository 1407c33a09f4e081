"""The core and the command line know no viewer and no screen."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import napari_exo2micro

PACKAGE = Path(napari_exo2micro.__file__).parent
VIEWERS = {"napari", "qtpy", "magicgui", "superqt", "vispy", "pyqtgraph"}
QT = ("PyQt", "PySide")
HEADLESS = sorted(
    path
    for folder in ("core", "cli")
    for path in (PACKAGE / folder).rglob("*.py")
    if path.name != "__main__.py"
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def modules_after(code: str) -> set[str]:
    """Return the modules that a new process without a screen has loaded."""
    environment = dict(os.environ)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM", "MPLBACKEND"):
        environment.pop(name, None)
    program = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def of_viewers(modules: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in modules}
    return {top for top in tops if top in VIEWERS or top.startswith(QT)}


def test_no_module_of_core_or_command_line_loads_a_viewer() -> None:
    names = [module_name(path) for path in HEADLESS]
    assert "napari_exo2micro.core.base.errors" in names
    loaded = modules_after("\n".join(f"import {name}" for name in names))
    assert set(names) <= loaded
    assert not of_viewers(loaded)
    assert "matplotlib.pyplot" not in loaded


def test_no_module_takes_the_place_of_a_public_name() -> None:
    names = [module_name(path) for path in HEADLESS]
    code = "\n".join(f"import {name}" for name in names)
    modules_after(
        f"{code}\nfrom types import ModuleType\nfrom napari_exo2micro import core\n"
        "for name in core.__all__:\n"
        "    assert not isinstance(getattr(core, name), ModuleType), name"
    )


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import napari_exo2micro")
    heavy = {"numpy", "cv2", "scipy", "skimage", "matplotlib", "astropy", "tifffile"}
    heavy |= {"rich", "IPython"}
    assert not loaded & heavy
    assert not of_viewers(loaded)


def test_the_help_page_loads_nothing_heavy() -> None:
    loaded = modules_after(
        "from napari_exo2micro.cli import main\n"
        "try:\n    main(['run', '--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0"
    )
    assert not loaded & {"cv2", "scipy", "skimage", "matplotlib", "astropy"}


@pytest.mark.parametrize("path", HEADLESS, ids=module_name)
def test_source_imports_neither_viewer_nor_pyplot(path: Path) -> None:
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            wanted |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            wanted |= {node.module}
            wanted |= {f"{node.module}.{alias.name}" for alias in node.names}
    assert not of_viewers(wanted)
    assert "matplotlib.pyplot" not in wanted
