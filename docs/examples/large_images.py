"""Images larger than memory: windows and smaller levels of a checkpoint.

Checkpoints are memory maps: opening one costs nothing, and only what is looked at is
read from the disk. Here the images are small; nothing changes with 30000 px.
"""

from pathlib import Path

import numpy as np

from napari_exo2micro import core as e2m

FOLDER = Path("exo2micro-example")

pair = e2m.simulate_section((1500, 1800), seed=9, angle_deg=3.0)
e2m.write_pair(pair, FOLDER / "raw", "Rock", "DAPI")
task = e2m.SampleDye(
    "Rock", "DAPI", raw_dir=FOLDER / "raw", output_dir=FOLDER / "processed"
)
task.set_params(pad=100)
task.run(to_stage=3)

# %% Open: no pixel is read yet
image = e2m.open_raster(Path(task._tiff_path(3, "pre")))
print("full resolution:", image.shape, image.dtype, "levels:", image.n_levels)

# %% A window of the full resolution
window = image[600:900, 700:1100]
print("window:", window.shape, "a view of the file:", not window.flags.owndata)

# %% A level, half as large each time: for overviews and viewers
for number in range(image.n_levels):
    print("level", number, image.level(number).shape)

# %% An overview of any size: means over blocks, made from the level that fits
overview, factor = e2m.reduce_image(image, max_side=500)
print("overview:", overview.shape, "one pixel is", factor, "x", factor)

# %% Statistics in bands: memory for one band only
total = sum(int(image[y : y + 256].sum(dtype=np.int64)) for y in range(0, 1700, 256))
print("the same as at once:", total == int(np.asarray(image).sum(dtype=np.int64)))

# %% A crop of post and difference for a figure, in any TIFF reader
post = task.checkpoint(1, "post").image
print("crop:", post[700:800, 900:1000].shape)
