"""A plot of the difference, row by row."""

import numpy as np
from matplotlib.figure import Figure

from napari_exo2micro.core.plotting import Diagnostic


def plot_rows(post_im, pre_im, *, context, sample="", dye=""):
    """Draw the mean of each row of the difference."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(title=f"{sample} {dye}: mean of each row")
    axes.plot(np.mean(context.difference, axis=1))
    return figure


CELLS = Diagnostic(
    "row_profile",
    plot_rows,
    "How bright each row of the difference is.",
    title="Profile of the rows",
)
