"""Tuning one parameter: the same pair with several values of it."""

from pathlib import Path

from napari_exo2micro import core as e2m
from napari_exo2micro.core.pipeline import comparison_row, save_comparison

FOLDER = Path("exo2micro-example")
VALUES = [50, 90, 99]

pair = e2m.simulate_section((500, 600), seed=4, angle_deg=-6.0, gain=1.3)
e2m.write_pair(pair, FOLDER / "raw", "Rock", "DAPI")
task = e2m.SampleDye(
    "Rock", "DAPI", raw_dir=FOLDER / "raw", output_dir=FOLDER / "processed"
)
task.set_params(pad=50)

# %% What the parameter takes
entry = e2m.PARAMETER_REGISTRY["scale_percentile"]
print(entry.name, "of stage", entry.stage, "takes", entry.wanted())

# %% One run for each value: the alignment is made once, the difference three times
results = task.compare("scale_percentile", VALUES)
rows = [comparison_row("scale_percentile", result) for result in results]
for row in rows:
    print(f"percentile {row.value:g}: scale {row.scale:.2f}, {row.state}", row.note)
print("simulated with 1.3")

# %% The same as a table for a spreadsheet
save_comparison(FOLDER / "percentiles.csv", "scale_percentile", rows)
print("kept:", *(path.name for path in FOLDER.glob("*.csv")))

# %% Each value has files of its own; the task's own parameters are as they were
print("names end with:", *(e2m.build_suffix({"scale_percentile": v}) for v in VALUES))
print("still set:", task.non_default_params())
