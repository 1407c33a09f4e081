"""A section to try the plugin on: real raw files, and what is true of them."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from napari_exo2micro.core.raw import PairFiles
from napari_exo2micro.core.simulate import Truth, simulate_section, write_pair
from napari_exo2micro.plugin.files.opening import open_pair
from napari_exo2micro.plugin.files.reader import asking_viewer
from napari_exo2micro.plugin.layers.layers import KEY, LayerSpec
from napari_exo2micro.plugin.layers.scene import remove_layers

SAMPLE, DYE = "Simulated", "SybrGld"
#: Rows and columns, px.
SHAPE = (1400, 1600)


def simulated_section() -> list[tuple[Any, ...]]:
    """Return a simulated pair with microbes, as napari takes sample data.

    The pair is written as raw files into a temporary folder, where the results of a
    run go, too; the folder is removed when the program ends. There are three layers:
    both images and the true microbes.
    """
    specs = section_specs()
    viewer = asking_viewer()
    if viewer is not None:
        for role in ("pre", "post", "truth"):
            remove_layers(viewer, role, SAMPLE, DYE)
    return [spec.as_tuple() for spec in specs]


def section_specs() -> list[LayerSpec]:
    """Return the layers of the simulated pair; may be called in any thread."""
    folder, truth = written_section(SHAPE)
    own = folder / "raw" / SAMPLE
    files = PairFiles(
        SAMPLE,
        DYE,
        own / f"{SAMPLE}_PostStain_{DYE}.tif",
        own / f"{SAMPLE}_PreStain_{DYE}.tif",
    )
    _, specs = open_pair(files)
    for spec in specs:
        spec.about["output_dir"] = str(folder / "processed")
    return [*specs, truth_spec(truth, files)]


@functools.cache
def written_section(shape: tuple[int, int]) -> tuple[Path, Truth]:
    """Return the folder of a simulated pair and its truth; made once in a program."""
    folder = Path(tempfile.mkdtemp(prefix="exo2micro-sample-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    pair = simulate_section(
        shape, seed=3, angle_deg=6.5, scale=1.04, shift=(38.0, -27.0), gain=1.3
    )
    write_pair(pair, folder / "raw", SAMPLE, DYE, channels="rgb")
    return folder, pair.truth


def truth_spec(truth: Truth, files: PairFiles) -> LayerSpec:
    """Return the true microbes as rings around them, with their properties."""
    microbes = truth.microbes
    names = ("brightness", "radius", "flux", "elongation", "angle_deg")
    reach = microbes["radius"] * np.sqrt(microbes["elongation"])
    known = {
        "role": "truth",
        "sample": files.sample,
        "dye": files.dye,
        "stage": 0,
        "parameters": {},
        "paths": [],
        "raw_dir": str(files.raw_dir),
        "true_scale": truth.gain,
        "true_matrix": truth.matrix.tolist(),
    }
    options = {
        "name": f"{files.sample} {files.dye}: true microbes",
        "features": {name: np.array(microbes[name]) for name in names},
        "size": 6.0 * reach + 12.0,
        "symbol": "disc",
        "face_color": "transparent",
        "border_color": "#ffd23f",
        "border_width": 2.0,
        "border_width_is_relative": False,
        "opacity": 0.9,
        "metadata": {KEY: known},
    }
    places = np.column_stack([microbes["y"], microbes["x"]])
    return LayerSpec(places, options, "points")
