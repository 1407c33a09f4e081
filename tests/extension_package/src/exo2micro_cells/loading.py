"""Pairs that lie in NumPy files."""

from pathlib import Path

import numpy as np


def load_npy(sample, dye, raw_dir="raw"):
    """Return post, pre and the files they came from."""
    post_path = Path(raw_dir) / f"{sample}_{dye}_after.npy"
    pre_path = Path(raw_dir) / f"{sample}_{dye}_before.npy"
    return np.load(post_path), np.load(pre_path), post_path, pre_path
