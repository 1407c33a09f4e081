"""Call pip with the oldest versions that pyproject.toml allows.

`tox -e lowest` installs with it, so that the lower bounds are tested and not
guessed. All arguments go to ``pip install``. Standard library only.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def lowest_versions() -> list[str]:
    """Return ``name==version`` for the lower bounds of the base and of napari."""
    with PROJECT.open("rb") as stream:
        project = tomllib.load(stream)["project"]
    requirements = project["dependencies"] + project["optional-dependencies"]["all"]
    return [re.sub(r"(\[.*\])?>=", "==", requirement) for requirement in requirements]


def main(arguments: list[str]) -> int:
    """Install what `arguments` name; return pip's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "lowest.txt"
        constraints.write_text("\n".join(lowest_versions()) + "\n", encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "install", "-c", str(constraints)]
        return subprocess.run([*pip, *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
