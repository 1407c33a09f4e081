"""What came out of a batch, in the words of the table of pairs."""

from __future__ import annotations

from napari_exo2micro.core.batch_summary import BatchSummary

__all__ = ["KIND_WORDS", "pairs_sentence"]

#: What a batch's summary calls what became of a task -> what the window calls it.
KIND_WORDS = {
    "complete": "done",
    "degraded": "degraded",
    "failed": "failed",
    "skipped": "no files",
    "stopped": "stopped",
}


def pairs_sentence(summary: BatchSummary) -> str:
    """Return the counts of a batch: ``8 pairs: 6 done, 2 failed``.

    Parameters
    ----------
    summary : BatchSummary
        Of the batch.

    Examples
    --------
    >>> from napari_exo2micro.core.batch_summary import summarise_batch
    >>> one = {"sample": "CD070", "dye": "DAPI", "status": "complete"}
    >>> pairs_sentence(summarise_batch([one, {**one, "status": "error: no disk"}]))
    '2 pairs: 1 done, 1 failed'
    """
    found = ((count, KIND_WORDS[kind]) for kind, count in summary.counts.items())
    counts = ", ".join(f"{count} {word}" for count, word in found if count)
    pairs = "1 pair" if summary.total == 1 else f"{summary.total} pairs"
    return f"{pairs}: {counts or 'nothing to do'}"
