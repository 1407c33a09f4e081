"""The same pair as TIFF and as OME-Zarr: the same result, and what it costs.

    python benchmarks/formats.py                 # 5000 x 6000
    python benchmarks/formats.py 1000x1200 --repeat 5
    python benchmarks/formats.py --to-stage 1    # what depends on the raw files alone

A simulated pair is written as TIFF, plain and compressed, and as OME-Zarr 0.4 and 0.5
with and without compression, in chunks of 1024 x 1024. The stages run on each in turn,
as often as `--repeat` says; times are medians, ratios those of the same round to TIFF
of the same kind. `same` tells whether every pixel of the padded images, of aligned
pre-stain and of the difference is that of plain TIFF, and whether the size of a pixel
read back is that which was written, to one part in a million.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import tifffile
import zarr
from tables import Table, parser_of, save

from napari_exo2micro.core.images import read_pixel_size
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.simulate import simulate_section

SETTINGS = {"seed": 1, "angle_deg": 4.0, "scale": 1.01, "shift": (40.0, -25.0)}
CHUNK, SIZE = 1024, 0.325
SAMPLE, DYE = "Rock", "DAPI"
IMAGES = ((1, "post"), (1, "pre"), (3, "pre"), (4, "difference"))
#: kind -> whether it is compressed, and the version of OME-Zarr.
KINDS = {
    "TIFF": (False, None),
    "OME-Zarr 0.4": (False, "0.4"),
    "OME-Zarr 0.5": (False, "0.5"),
    "TIFF, deflate": (True, None),
    "OME-Zarr 0.4, compressed": (True, "0.4"),
    "OME-Zarr 0.5, compressed": (True, "0.5"),
}


def write(
    path: Path, image: np.ndarray, is_compressed: bool, version: str | None
) -> None:
    """Write an image in a kind, with the size of a pixel."""
    if version is None:
        resolution = (1e4 / SIZE, 1e4 / SIZE)
        options = (
            {"compression": "zlib", "tile": (CHUNK, CHUNK)} if is_compressed else {}
        )
        tifffile.imwrite(
            path,
            image,
            resolution=resolution,
            resolutionunit=3,
            metadata=None,
            **options,
        )
        return
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    more = {} if is_compressed else {"compressors": None}
    array = group.create_array(
        "0", shape=image.shape, dtype=image.dtype, chunks=(CHUNK, CHUNK), **more
    )
    array[...] = image
    scale = {"type": "scale", "scale": [SIZE, SIZE]}
    ome = {
        "multiscales": [
            {
                "axes": [
                    {"name": axis, "type": "space", "unit": "micrometer"}
                    for axis in "yx"
                ],
                "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
                "version": version,
            }
        ]
    }
    group.attrs.update(
        ome if version == "0.4" else {"ome": {"version": version, **ome}}
    )


def run(raw: Path, out: Path, last: int) -> tuple[float, float, str]:
    """Run the stages; return s of all and of stage 1, and a digest of the pixels."""
    shutil.rmtree(out, ignore_errors=True)
    task = SampleDye(SAMPLE, DYE, raw_dir=raw, output_dir=out, checkpoint_format="tiff")
    begin = time.perf_counter()
    task.run(to_stage=1)
    first = time.perf_counter() - begin
    if last > 1:
        task.run(to_stage=last)
    total = time.perf_counter() - begin
    sha256 = hashlib.sha256()
    for stage, name in (image for image in IMAGES if image[0] <= last):
        checkpoint = task.checkpoint(stage, name)
        assert checkpoint is not None
        rows = checkpoint.image.shape[0]
        for y0 in range(0, rows, CHUNK):
            band = checkpoint.image[y0 : min(y0 + CHUNK, rows), :]
            sha256.update(np.ascontiguousarray(band).data)
    return total, first, sha256.hexdigest()


def main() -> int:
    """Measure and print."""
    parser = parser_of(__doc__ or "")
    parser.add_argument("shape", nargs="?", default="5000x6000", help="rows x columns")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--to-stage", type=int, default=4)
    options = parser.parse_args()
    rows, width = map(int, options.shape.split("x"))
    times: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    same: dict[str, bool] = {}
    with tempfile.TemporaryDirectory() as folder:
        pair = simulate_section(shape=(rows, width), **SETTINGS)
        for kind, (is_compressed, version) in KINDS.items():
            place = Path(folder) / kind / SAMPLE
            place.mkdir(parents=True)
            for side, image in (("Post", pair.post), ("Pre", pair.pre)):
                ending = "tif" if version is None else "ome.zarr"
                path = place / f"{side}_{DYE}.{ending}"
                write(path, image, is_compressed, version)
                size = read_pixel_size(path)
                is_size = size is not None and np.allclose(size, SIZE, rtol=1e-6)
                same[kind] = same.get(kind, True) and is_size
        del pair
        reference = ""
        for _ in range(options.repeat):
            for kind in KINDS:
                total, first, digest = run(
                    Path(folder) / kind, Path(folder) / "out", options.to_stage
                )
                reference = reference or digest
                times[kind].append((total, first))
                same[kind] = same[kind] and digest == reference
                print(f"{kind}: {total:.1f} s", file=sys.stderr)
    parts = {"stage 1": 1} if options.to_stage == 1 else {"all": 0, "stage 1": 1}
    columns = (name for part in parts for name in (f"{part}, s", "to TIFF"))
    table = Table("raw files", *columns, "same")
    for kind, (is_compressed, _) in KINDS.items():
        tiff = times["TIFF, deflate" if is_compressed else "TIFF"]
        cells = []
        for part in parts.values():
            own, others = ([one[part] for one in all_] for all_ in (times[kind], tiff))
            ratios = [a / b for a, b in zip(own, others, strict=True)]
            cells += [
                f"{statistics.median(own):.2f}",
                f"{statistics.median(ratios):.2f}",
            ]
        table.add(kind, *cells, "yes" if same[kind] else "NO")
    if options.save:
        note = (
            f"{rows} x {width} px, stages 1 to {options.to_stage}, medians of "
            f"{options.repeat} rounds."
        )
        save("formats", table, note)
    return 0 if all(same.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
