"""What a run says in the end, read from the headers of its checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exo2micro.core.alignment.interior import InteriorAlignment
from napari_exo2micro.core.alignment.quality import Verdict
from napari_exo2micro.core.stages import STAGES

if TYPE_CHECKING:
    from napari_exo2micro.core.pipeline import SampleDye
    from napari_exo2micro.core.sample_files import SampleFiles

__all__ = ["interior_details", "logged_stage", "run_status", "summarise"]

logger = logging.getLogger(__name__)


def run_status(verdicts: Mapping[str, Verdict], last: int = 0) -> str:
    """Return ``'complete'``, or ``'degraded: '`` with each stage and its reason.

    A run is complete when every verdict is `ok` or the stage was asked to be
    skipped, and stages 3 and 4 have one where the run went up to stage `last`.
    """
    known = dict(verdicts)
    for number in (3, 4):
        if number <= last and str(number) not in known:
            known[str(number)] = Verdict(
                "failed", "its result was not made by this package: no verdict"
            )
    reasons = [
        f"stage {number} {STAGES[int(number)].title}: {verdict.reason}"
        for number, verdict in sorted(known.items(), key=lambda item: int(item[0]))
        if verdict.state not in ("ok", "skipped")
    ]
    return "degraded: " + "; ".join(reasons) if reasons else "complete"


@contextmanager
def logged_stage(task: SampleFiles, number: int) -> Iterator[None]:
    """Log when a stage begins and ends, its time and what it says of its work."""
    stage = STAGES[number]
    title = f"stage {number}, {stage.title}"
    written, start = len(task._store.written), time.perf_counter()
    logger.info("%s: begins", title)
    yield
    seconds = time.perf_counter() - start
    if len(task._store.written) == written:
        logger.info("%s: valid results exist and are kept", title)
        return
    found = task.checkpoint(number, stage.checkpoints[0]) if stage.checkpoints else None
    verdicts = found.provenance.verdicts if found and found.provenance else {}
    verdict = verdicts.get(str(number), Verdict("ok"))
    words = (verdict.state.replace("_", " "), verdict.reason, verdict.figures())
    said = "; ".join(word for word in words if word)
    logger.info("%s: ended after %.1f s: %s", title, seconds, said)


def summarise(task: SampleDye, last: int) -> dict[str, Any]:
    """Return the result of a run up to stage `last`, from what is on disk."""
    verdicts: dict[str, Verdict] = {}
    notes: dict[str, None] = {}
    outputs: list[Path] = []
    scales: dict[str, dict[str, Any]] = {}
    for line in task.status():
        if line.stage > last or line.state != "valid":
            continue
        if line.kind == "plot":
            outputs.append(line.path)
            continue
        paths = task._store.paths(line.stage, line.name, task.params)
        outputs += dict.fromkeys([line.path, *(p for p in paths if p.is_file())])
        found = task._find(line.stage, line.name)
        provenance = found.provenance if found else None
        if provenance is None:
            notes[f"{line.path.name} carries no header: its provenance is unknown"] = (
                None
            )
            continue
        verdicts.update(provenance.verdicts)
        notes.update(dict.fromkeys(provenance.notes))
        if provenance.scale:
            scales[str(provenance.scale["kind"])] = dict(provenance.scale)
    percentile = next((s for k, s in scales.items() if k.startswith("perc")), None)
    main = next((s for s in scales.values() if s.get("main")), None)
    return {
        "sample": task.sample,
        "dye": task.dye,
        "status": run_status(verdicts, last),
        "scale_estimate": main["value"] if main else None,
        "scale_percentile_value": percentile["value"] if percentile else None,
        "manual_scale": task.params["manual_scale"],
        "scale": main,
        "scales": scales,
        "registration": {
            int(number): verdict.to_dict()
            for number, verdict in sorted(verdicts.items())
            if number in ("2", "3")
        },
        "verdicts": {
            int(number): verdict.to_dict()
            for number, verdict in sorted(verdicts.items())
        },
        "warnings": list(notes),
        "outputs": [str(path) for path in outputs],
    }


def interior_details(found: InteriorAlignment, most: int) -> dict[str, Any]:
    """Return what pictures of stage 3 need, thinned and rounded for a header."""
    matches, tiles = found.matches, found.tiles
    keep = slice(None, None, -(-len(matches.inliers) // most) or 1)
    measured = np.isfinite(tiles.dx) & np.isfinite(tiles.dy)
    return {
        "method": found.method,
        "model": found.model,
        "matches": {
            "post_xy": np.round(matches.post_xy[keep], 2).tolist(),
            "pre_xy": np.round(matches.pre_xy[keep], 2).tolist(),
            "inliers": matches.inliers[keep].tolist(),
        },
        "tiles": {
            "x": np.round(tiles.x[measured], 1).tolist(),
            "y": np.round(tiles.y[measured], 1).tolist(),
            "dx": np.round(tiles.dx[measured], 4).tolist(),
            "dy": np.round(tiles.dy[measured], 4).tolist(),
            "used": tiles.used[measured].tolist(),
        },
    }
