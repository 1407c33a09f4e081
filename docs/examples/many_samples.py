"""Many samples and one table: a batch whose results end in a CSV file."""

import csv
from pathlib import Path

from napari_exo2micro import core as e2m

FOLDER = Path("exo2micro-example")
RAW, OUT = FOLDER / "raw", FOLDER / "processed"
COLUMNS = ("sample", "dye", "state", "accuracy_px", "scale", "scale_error")

# %% Three samples with one dye each
for number, gain in enumerate((1.1, 1.3, 1.5), 1):
    pair = e2m.simulate_section((600, 700), seed=number, angle_deg=number, gain=gain)
    e2m.write_pair(pair, RAW, f"Rock{number}", "DAPI")

# %% Is the raw folder in order, and what is there?
print(e2m.diagnose_raw_layout(RAW).message)
found = e2m.discover_tasks(raw_dir=RAW)
print("pairs:", *(f"{sample}/{dye}" for sample, dye in found.present))

# %% All of them; parallel=True runs them in worker processes
results = e2m.run_batch(
    params={"pad": 60}, raw_dir=RAW, output_dir=OUT, checkpoint_format="tiff"
)
summary = e2m.summarise_batch(results)
print(summary.sentence())
for problem in summary.problems:
    print("look at:", problem.sample, problem.dye, problem.reason)

# %% One table
table = FOLDER / "results.csv"
with table.open("w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for result in results:
        state = result["status"].partition(":")[0]
        row = [result["sample"], result["dye"], state]
        if state in ("complete", "degraded"):
            row.append(round(result["registration"][3]["numbers"]["accuracy_px"], 3))
            row.append(round(result["scale_estimate"], 4))
            row.append(round(result["scale"]["uncertainty"], 4))
        writer.writerow(row)
print(table.read_text(encoding="utf-8").strip())
