"""The Snakemake rule of the docs, run by Snakemake where that is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from napari_exo2micro.core.simulate import simulate_section, write_pair

SNAKEMAKE = shutil.which("snakemake")


@pytest.mark.slow
@pytest.mark.skipif(SNAKEMAKE is None, reason="snakemake is not installed")
def test_snakemake_makes_every_pair_once(tmp_path: Path, repository: Path) -> None:
    pair = simulate_section((500, 560), seed=5, angle_deg=4.0, shift=(12.0, -9.0))
    for sample in ("Rock", "Stone wall"):
        write_pair(pair, tmp_path / "raw", sample, "DAPI")
    own = str(Path(sys.executable).parent)
    command = [
        str(SNAKEMAKE),
        *("--snakefile", str(repository / "docs" / "workflows" / "Snakefile")),
        *("--cores", "2", "--config"),
        "options=--pad 40 --checkpoint-format tiff",
        "suffix=_pad40",
    ]
    environment = {**os.environ, "PATH": own + os.pathsep + os.environ["PATH"]}
    said = []
    for _ in range(2):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout + done.stderr)
    name = "DAPI/fits/04_difference_difference_pad40.fits"
    for sample in ("Rock", "Stone wall"):
        assert (tmp_path / "processed" / sample / name).is_file()
    assert "Nothing to be done" in said[1]
