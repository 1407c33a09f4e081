"""A batch on dask: the same lines for this computer and for a cluster.

Needs ``pip install "napari-exo2micro[distributed]"``. On a cluster, make
``dask_jobqueue.SLURMCluster(...)`` in place of ``LocalCluster(...)``.
"""

from pathlib import Path

from distributed import LocalCluster

from napari_exo2micro import core as e2m

FOLDER = Path("exo2micro-example")
RAW, OUT = FOLDER / "raw", FOLDER / "processed"


def tell(event: e2m.TaskEvent) -> None:
    """Print the end of each task, or why it has none."""
    if event.result is not None:
        print("ended:", event.sample, event.dye, event.reason or event.state)


def main() -> None:
    """Make two samples and run them on two workers."""
    # %% Two samples
    for number in (1, 2):
        pair = e2m.simulate_section((500, 600), seed=number, angle_deg=number)
        e2m.write_pair(pair, RAW, f"Rock{number}", "DAPI")

    # %% Two workers; what they share is the folder
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        results = e2m.run_batch(
            params={"pad": 60},
            raw_dir=RAW,
            output_dir=OUT,
            to_stage=3,
            checkpoint_format="tiff",
            scheduler=cluster,
            on_event=tell,
        )
    print(e2m.summarise_batch(results).sentence())


# Worker processes import this file: without this line each would start a cluster.
if __name__ == "__main__":
    main()
