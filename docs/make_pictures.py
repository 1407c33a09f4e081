"""Make the README's picture: ``python docs/make_pictures.py``."""

from __future__ import annotations

import tempfile
from pathlib import Path

from panels import save_image
from PIL import Image

from napari_exo2micro.core.batch import run_demo

WIDTH = 1300


def main() -> None:
    """Run the demonstration and keep the picture that tells most."""
    with tempfile.TemporaryDirectory() as folder:
        run_demo(folder)
        (path,) = Path(folder).rglob("registration_*.png")
        with Image.open(path) as picture:
            size = (WIDTH, picture.height * WIDTH // picture.width)
            small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
            save_image(small, "registration")


if __name__ == "__main__":
    main()
