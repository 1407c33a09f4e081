"""First difference image: one sample, one dye, from raw files to the microbes.

The pair is simulated, so that the result can be held against what is true. With files
of your own, leave out the first cell and name your folder, sample and dye.
"""

from pathlib import Path

from napari_exo2micro import core as e2m

FOLDER = Path("exo2micro-example")

# %% A pair of raw files, 900 px wide
pair = e2m.simulate_section((800, 900), seed=3, angle_deg=4.0, shift=(12, -9), gain=1.3)
e2m.write_pair(pair, FOLDER / "raw", "Rock", "DAPI")

# %% All four stages
task = e2m.SampleDye(
    "Rock", "DAPI", raw_dir=FOLDER / "raw", output_dir=FOLDER / "processed"
)
task.set_params(pad=80)  # px around the images; these sections moved little
result = task.run()
print("status:", result["status"])

# %% How well the two images lie on each other, as estimated and in truth
verdict = result["registration"][3]
print(f"estimated accuracy: {verdict['numbers']['accuracy_px']:.3f} px")
turn = task.transform(3).decompose()["angle_deg"]
print("turn:", round(turn, 2), "degrees, simulated with 4")

# %% How much brighter the minerals are after staining
print("scale:", round(result["scale_estimate"], 2), "simulated with 1.3")

# %% The difference as an array, microbes bright on dark
difference = task.checkpoint(4, "difference").image[80:880, 80:980]
print("difference:", difference.shape, difference.dtype)
x, y = (round(float(pair.truth.microbes[axis][0])) for axis in "xy")
print("at the first microbe:", round(float(difference[y, x])), "grey levels")

# %% What was written
for path in sorted((FOLDER / "processed").rglob("04_*")):
    print("written:", path.relative_to(FOLDER).as_posix())
