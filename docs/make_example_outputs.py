"""Run the examples and keep what they print: ``python docs/make_example_outputs.py``.

The site shows it below each example, and a test holds it against a new run.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

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


def main() -> None:
    """Run those named on the command line, or all of them."""
    PRINTED.mkdir(exist_ok=True)
    for script in sorted(EXAMPLES.glob("*.py")):
        if len(sys.argv) > 1 and script.stem not in sys.argv[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            text = printed_by(script, Path(folder))
        (PRINTED / f"{script.stem}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
