"""Applying an alignment to points, another image and labels.

A transform maps points (x, y) of the post-stain image to the pre-stain image, both on
the padded canvas, where a raw image begins at (pad, pad).
"""

from pathlib import Path

import numpy as np

from napari_exo2micro import core as e2m
from napari_exo2micro.core.images import nearest_window

FOLDER, PAD = Path("exo2micro-example"), 60

pair = e2m.simulate_section((600, 700), seed=6, angle_deg=5.0, shift=(10, -8))
e2m.write_pair(pair, FOLDER / "raw", "Rock", "DAPI")
task = e2m.SampleDye(
    "Rock", "DAPI", raw_dir=FOLDER / "raw", output_dir=FOLDER / "processed"
)
task.set_params(pad=PAD)
task.run(to_stage=3)

# %% On the padded canvas, as stored, and between the raw images
canvas = task.transform(3)
to_pre = canvas.conjugated(scale=1.0, shift=(-PAD, -PAD))

# %% Points: where is a spot of the post-stain image in the pre-stain one, and back?
spots = np.array([[200.0, 150.0], [520.0, 430.0]])
moved = to_pre(spots)
print("in the pre-stain image:", moved.round(1).tolist())
print("in truth:", pair.truth(spots).round(1).tolist())
print("and back:", to_pre.inverse()(moved).round(1).tolist())

# %% Another image that was taken together with the pre-stain one
bright_field = 255 - pair.pre
aligned = e2m.warp_window(bright_field, to_pre, 0, 600, 0, 700)
print("warped image:", aligned.shape, aligned.dtype)

# %% Labels drawn on the pre-stain image keep their numbers: nearest pixel, no mixing
labels = np.zeros(pair.pre.shape, np.uint16)
labels[250:330, 300:420] = 7
on_post = nearest_window(labels, to_pre, 0, 600, 0, 700)
print("labels:", np.unique(on_post).tolist(), "area:", int((on_post == 7).sum()), "px")

# %% Kept for another program
to_pre.save(FOLDER / "rock-to-pre.json")
print("read back equal:", e2m.Transform.load(FOLDER / "rock-to-pre.json") == to_pre)
