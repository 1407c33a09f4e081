"""Run the examples and keep what they print: ``python docs/make_example_outputs.py``.

The site shows it below each example, and a test holds it against a new run. A notebook
keeps its outputs itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent / "examples"
PRINTED = EXAMPLES / "printed"


def printed_by(script: Path, folder: Path) -> str:
    """Run an example in a folder and return what it prints.

    Raises
    ------
    RuntimeError
        When it fails; the message has its traceback.
    """
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(script)],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{script.name} failed:\n{done.stderr}")
    return done.stdout


def run_notebook(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Run a notebook in a folder and return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    notebook.metadata["language_info"] = {"name": "python"}  # of no version
    return notebook


def main() -> None:
    """Run those named on the command line, or all of them."""
    PRINTED.mkdir(exist_ok=True)
    for path in sorted([*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")]):
        if len(sys.argv) > 1 and path.stem not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            if path.suffix == ".ipynb":
                nbformat.write(run_notebook(path, Path(folder)), path)
                continue
            text = printed_by(path, Path(folder))
        (PRINTED / f"{path.stem}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
