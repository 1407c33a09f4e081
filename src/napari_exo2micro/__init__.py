"""Finds microbes on rock from fluorescence images before and after staining.

Importing this package loads nothing heavy. Scripts import the headless core as
``from napari_exo2micro import core as e2m``.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-exo2micro")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
