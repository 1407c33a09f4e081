"""What is on screen: the camera, the grid, the window on the world.

napari 0.9 moved these from the viewer to its scene and canvas; here both are known.
"""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel

__all__ = [
    "camera",
    "camera_place",
    "canvas_size",
    "grid",
    "move_camera",
    "scale_bar",
    "seen_window",
]


def camera(viewer: ViewerModel) -> Any:
    """Return the camera: `center`, `zoom` (screen px for one px of the image)."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


def grid(viewer: ViewerModel) -> Any:
    """Return napari's grid: `enabled`, `shape`, `stride`."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.grid if canvas is None else canvas.grid


def scale_bar(viewer: ViewerModel) -> Any:
    """Return napari's scale bar: `visible`."""
    canvas = getattr(viewer, "canvas", None)
    return viewer.scale_bar if canvas is None else canvas.overlays.scale_bar


def canvas_size(viewer: ViewerModel) -> tuple[float, float]:
    """Return height and width of what one image is drawn in, screen px."""
    canvas = getattr(viewer, "canvas", None)
    if canvas is None:
        height, width = viewer._canvas_size
    else:
        height, width = canvas.viewbox_size(viewer.layers)
    return float(height), float(width)


def seen_window(viewer: ViewerModel) -> tuple[float, float, float, float]:
    """Return the part of the world that is on screen: top, left, bottom, right.

    Rows and columns of the raw post-stain image, px.
    """
    row, column, zoom = camera_place(viewer)
    height, width = (side / max(zoom, 1e-12) for side in canvas_size(viewer))
    return row - height / 2, column - width / 2, row + height / 2, column + width / 2


def camera_place(viewer: ViewerModel) -> tuple[float, float, float]:
    """Return where the viewer looks: row, column and zoom, as `move_camera` takes."""
    eye = camera(viewer)
    row, column = eye.center[-2:]
    return float(row), float(column), float(eye.zoom)


def move_camera(
    viewer: ViewerModel, row: float, column: float, zoom: float | None = None
) -> None:
    """Look at a place of the world; the zoom stays when none is given."""
    eye = camera(viewer)
    eye.center = (*tuple(eye.center)[:-2], row, column)
    if zoom is not None:
        eye.zoom = zoom
