"""Segmenting microbes: spots of the difference image, with counts and areas."""

from pathlib import Path

import numpy as np
from skimage.measure import label, regionprops_table

from napari_exo2micro import core as e2m

FOLDER, PAD = Path("exo2micro-example"), 60

pair = e2m.simulate_section((700, 800), seed=5, angle_deg=3.0, gain=1.4)
e2m.write_pair(pair, FOLDER / "raw", "Rock", "DAPI")
task = e2m.SampleDye(
    "Rock", "DAPI", raw_dir=FOLDER / "raw", output_dir=FOLDER / "processed"
)
task.set_params(pad=PAD)
task.run()

# %% The difference where both images have data; it is 0 elsewhere
difference = task.checkpoint(4, "difference").image[PAD : PAD + 700, PAD : PAD + 800]
seen = difference[difference != 0]

# %% A threshold from the noise itself: the median, five robust standard deviations up
centre = np.median(seen)
sigma = 1.4826 * np.median(np.abs(seen - centre))
threshold = centre + 5 * sigma
print(f"noise: {sigma:.1f} grey levels, threshold: {threshold:.1f}")

# %% Connected pixels above it; a spot of less than 4 px is noise
table = regionprops_table(
    label(difference > threshold), properties=("centroid", "area")
)
y, x, areas = (values[table["area"] >= 4] for values in table.values())
print(f"microbes: {len(areas)} found, {len(pair.truth.microbes)} simulated")
print(f"area: median {np.median(areas):.0f} px, largest {areas.max():.0f} px")

# %% How dense they are: the area that both images show, in 1000 px
print(f"density: {1000 * len(areas) / seen.size:.3f} microbes per 1000 px")

# %% The three largest
for index in np.argsort(areas)[:-4:-1]:
    print(f"x {x[index]:.0f}, y {y[index]:.0f}: {areas[index]:.0f} px")
