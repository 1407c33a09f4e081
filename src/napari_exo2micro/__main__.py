"""`python -m napari_exo2micro` is `exo2micro`."""

from napari_exo2micro.cli import main

main()
