"""The two real pairs: found against measured transforms, at the image corners.

    python benchmarks/real_pairs.py ../shared/data/real

The measured transforms come from features and tile-wise phase correlation
(README beside the data); agreement within about 1 px is what can be expected.
"""

from __future__ import annotations

import sys
import tempfile
import warnings

import numpy as np
from tables import Table, parser_of, save

from napari_exo2micro.core.base import DataWarning
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.pipeline import SampleDye

PAD = 100
#: Moving (pre) to fixed (post), (x, y) px of the raw images.
MEASURED = {
    ("GSKsection", "DAPI"): [[1.0, 0.0033, 1.859], [-0.0033, 1.0, -10.359], [0, 0, 1]],
    ("MIRAGE2", "nuclei"): [[1.001, 0.0007, -2.4], [-0.0007, 1.001, -8.27], [0, 0, 1]],
}


def main() -> int:
    """Measure both pairs."""
    parser = parser_of(__doc__)
    parser.add_argument("folder", help="the folder with the two samples")
    arguments = parser.parse_args()
    raw_dir = arguments.folder
    table = Table(
        "pair",
        "corners off the measured transform by",
        "estimated accuracy",
        "tiles",
        "their residual",
        "status",
    )
    warnings.simplefilter("ignore", DataWarning)
    worst = 0.0
    for (sample, dye), matrix in MEASURED.items():
        with tempfile.TemporaryDirectory() as output:
            task = SampleDye(sample, dye, output, raw_dir, "tiff")
            task.set_params(pad=PAD)
            result = task.run()
            found = task.transform(3)
            _, _, width, height = task.store.need(1, "post").frames["post"]
        measured = Transform(matrix).inverse().conjugated(scale=1, shift=(PAD, PAD))
        corners = np.array([(0, 0), (width, 0), (0, height), (width, height)]) + PAD
        errors = np.linalg.norm(found(corners) - measured(corners), axis=1)
        worst = max(worst, float(errors.max()))
        third = result["registration"][3]
        numbers = third["numbers"]
        table.add(
            f"{sample} / {dye}",
            f"{errors.min():.2f}-{errors.max():.2f} px",
            f"{numbers.get('accuracy_px', -1):.2f} px",
            f"{numbers['n_tiles']:.0f}",
            f"{numbers['residual_median_px']:.2f} px",
            result["status"],
        )
    if arguments.save:
        save("real_pairs", table)
    return 0 if worst <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
