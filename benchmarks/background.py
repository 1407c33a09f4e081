"""What the background model leaves of minerals and takes of microbes.

    python benchmarks/background.py                  # of all 66 realistic pairs
    python benchmarks/background.py --part 2/6
    python benchmarks/background.py --save           # and keeps the table in results

Each pair runs through all stages. 'left' is the root mean square, over the section and
at the size of a microbe, of the background less the true one (the same pair without
microbes and noise), in units of the noise: by one scale, and with the model.
'structure' is what the run itself says, 'flux' what the model takes of spots put into
post, measured here on a grid of its own.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pairs import PairSpec, realistic_pairs
from scipy.ndimage import gaussian_filter
from tables import Table, parser_of, save

from napari_exo2micro.core.base import DataWarning
from napari_exo2micro.core.photometry import difference_bands, fit_background
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.pipeline.difference import find_aligned_pair, find_record
from napari_exo2micro.core.simulate import write_pair

PAD = 40
SIGMA = 1.7


def clean_post(spec: PairSpec) -> NDArray[np.float32]:
    """Return post of the same pair without microbes and without noise."""
    kwargs = {**spec.kwargs, "photons": None, "noise": 0.0, "microbes": 0}
    post = dataclasses.replace(spec, kwargs=kwargs).make().post
    return np.pad(post.astype(np.float32), PAD)


def smooth(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image as a microbe's matched filter sees it."""
    return np.asarray(gaussian_filter(image, SIGMA), np.float32)


def measure(spec: PairSpec, folder: Path, table: Table) -> None:
    """Add the row of a pair."""
    pair = spec.make()
    write_pair(pair, folder / "raw", spec.name, "Dye")
    task = SampleDye(spec.name, "Dye", folder / "out", folder / "raw", "tiff")
    task.set_params(pad=PAD)
    result = task.run()
    aligned, clean = find_aligned_pair(task.store), clean_post(spec)
    post = np.asarray(aligned.post.image[:, :])
    pre = np.asarray(aligned.pre.image[:, :])
    scale = task.checkpoint(4, "difference").provenance.scale
    counted = find_record(task.store).statistics()
    known = {"scale": scale.value, "offset": scale.offset}
    model = fit_background(post, pre, statistics=counted, **known)

    def difference(shown: NDArray[np.float32], with_model: bool) -> NDArray[np.float32]:
        bands = difference_bands(
            shown, pre, background=model if with_model else None, **known
        )
        return np.concatenate([band for _, band in bands])

    section = gaussian_filter(pre.astype(np.float32), 12) > model.floor / scale.value
    section &= (clean > 0) & (pre > 0) & (post < 255)
    noise = smooth(post.astype(np.float32) - clean)[section]
    noise = 1.4826 * float(np.median(np.abs(noise - np.median(noise))))
    shown = post.astype(np.float32)
    left = [
        smooth(clean - shown + difference(shown, with_model))[section]
        for with_model in (False, True)
    ]
    place = np.zeros_like(clean)
    place[60:-60:48, 60:-60:48] = 2 * np.pi * SIGMA**2 * 40
    place[~section] = 0
    spots = smooth(place)
    change = difference(shown + spots, True) - difference(shown, True)
    kept = smooth(change)[place > 0].sum() / smooth(spots)[place > 0].sum()
    table.add(
        spec.name.removeprefix("real "),
        "+".join(model.steps) or "none",
        f"{np.sqrt(np.mean(left[0] ** 2)) / noise:.2f}",
        f"{np.sqrt(np.mean(left[1] ** 2)) / noise:.2f}",
        f"{model.power_ratio:.2f}",
        f"{100 * model.left_by_scale.structure:.1f} %",
        f"{100 * model.left_by_model.structure:.1f} %",
        f"{100 * (1 - kept):.2f} %",
        result["status"][:40],
    )


def main() -> int:
    """Measure the pairs of a part."""
    parser = parser_of(__doc__)
    parser.add_argument("--part", default="1/1", help="such as 2/6")
    arguments = parser.parse_args()
    number, parts = map(int, arguments.part.split("/"))
    table = Table(
        "pair",
        "steps",
        "left by one scale, noise",
        "left by the model, noise",
        "power ratio told",
        "structure",
        "with the model",
        "flux taken",
        "status",
    )
    warnings.simplefilter("ignore", DataWarning)
    for spec in realistic_pairs()[number - 1 :: parts]:
        with tempfile.TemporaryDirectory() as folder:
            measure(spec, Path(folder), table)
    if arguments.save:
        save("background", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
