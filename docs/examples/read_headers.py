"""Reading headers: what a result was made from, with which parameters and versions."""

import json
from pathlib import Path

import tifffile
from astropy.io import fits

from napari_exo2micro import core as e2m

FOLDER = Path("exo2micro-example")

pair = e2m.simulate_section((600, 700), seed=7, angle_deg=2.0, gain=1.25)
e2m.write_pair(pair, FOLDER / "raw", "Rock", "DAPI")
task = e2m.SampleDye(
    "Rock", "DAPI", raw_dir=FOLDER / "raw", output_dir=FOLDER / "processed"
)
task.set_params(pad=60, boundary_width=20)
task.run()
stored = task.checkpoint(4, "difference")

# %% In this package: as an object
provenance = stored.provenance
print("made from:", Path(provenance.raw["post"]["file"]).name)
print("fingerprint:", len(provenance.raw["post"]["sha256"]), "digits of SHA-256")
print("changed parameters:", e2m.build_suffix(provenance.parameters))
verdicts = {stage: str(v.state) for stage, v in provenance.verdicts.items()}
print("verdicts:", verdicts)

# %% In any program that reads TIFF: JSON in the image description
with tifffile.TiffFile(task._tiff_path(4, "difference")) as tiff:
    header = json.loads(tiff.pages[0].description)
print("TIFF:", header["sample"], header["dye"], "stage", header["stage"])
print("versions of:", ", ".join(sorted(header["software"])))

# %% In any program that reads FITS: cards, and all of the above as JSON
with fits.open(task._fits_path(4, "difference")) as hdus:
    cards = hdus[0].header
    print(f"SCALE: {cards['SCALE']:.2f} SCALEERR: {cards['SCALEERR']:.4f}")
    print("BW:", cards["BW"], "PAD:", cards["PAD"], "VERDICT:", cards["VERDICT"])
    text = hdus["PROVENANCE"].data.tobytes().decode("ascii")
print("the same in both:", json.loads(text)["parameters"] == header["parameters"])

# %% Is everything on disk still valid for these raw files and parameters?
print("valid:", all(line.state == "valid" for line in task.status()))
