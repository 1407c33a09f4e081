"""Peaks of the S/N map: one a spot, the same whatever the windows."""

from __future__ import annotations

import numpy as np

from napari_exo2micro.core.detection.candidates import find_peaks


def test_peaks_do_not_depend_on_the_windows() -> None:
    snr = np.random.default_rng(1).integers(0, 9, (90, 120)).astype(np.float32)
    whole = find_peaks(snr, 4, halo=0)
    parts = []
    for y0 in range(0, 90, 31):
        for x0 in range(0, 120, 37):
            y1, x1 = min(y0 + 31, 90), min(x0 + 37, 120)
            around = (min(y0, 2), min(90 - y1, 2), min(x0, 2), min(120 - x1, 2))
            top, bottom, left, right = around
            part = snr[y0 - top : y1 + bottom, x0 - left : x1 + right]
            parts.append(find_peaks(part, 4, (x0 - left, y0 - top), around))
    together = np.concatenate(parts)
    together = together[np.lexsort((together["x"], together["y"]))]
    assert len(whole) > 100
    assert np.array_equal(together, whole)


def test_a_flat_top_is_one_peak_and_unknown_is_none() -> None:
    snr = np.zeros((9, 9), np.float32)
    snr[2:5, 3:7] = 6
    snr[7, 1] = np.nan
    assert find_peaks(snr, 5).tolist() == [(6, 4, 6.0)]
    assert len(find_peaks(snr, 6.1)) == 0
