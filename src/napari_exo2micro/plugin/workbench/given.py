"""What is given beside the images: landmarks and regions, from files or layers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtWidgets import QWidget

from napari_exo2micro.core.base import Exo2MicroError, ParameterError
from napari_exo2micro.core.images import (
    Landmarks,
    Regions,
    ellipse_ring,
    save_labels,
    save_polygons,
)
from napari_exo2micro.plugin.layers.layers import Ground, found_ground
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal

_TABLES = "Landmarks (*.csv *.tsv *.txt *.geojson *.json)"
_DRAWINGS = "Regions (*.geojson *.json *.tif *.tiff *.png)"


GIVEN = ("landmarks", "regions")
#: The stage whose form they are chosen in: the first that rests on them.
GIVEN_AT = 2


#: What the buttons for a file and for layers say.
_TIPS = {
    "landmarks": (
        "A table with the columns post_x, post_y, pre_x, pre_y, or GeoJSON",
        "Take two Points layers, named post and pre: the same grains in the same "
        "order, three or more",
    ),
    "regions": (
        "Polygons as GeoJSON, or a labels image of the raw post-stain image",
        "Take the Shapes layers, or the Labels layer, that are selected in the layer "
        "list. One named exclude is left out, any other is what is measured",
    ),
}


class GivenRow(QWidget):
    """What is given of one kind, and the buttons that choose it.

    Attributes
    ----------
    kind : {'landmarks', 'regions'}
        As `RunSettings` names it.
    """

    def __init__(self, session: Session, kind: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName(kind)
        self.kind = kind
        self._session = session
        self._words = controls.WordsLabel(f"{kind}_words", self)
        self._problem = controls.WordsLabel(f"{kind}_problem", self)
        file_tip, layers_tip = _TIPS[kind]
        buttons = [
            controls.button(self, f"{kind}_{name}", text, tip, slot)
            for name, text, tip, slot in (
                ("file", "File…", file_tip, self.choose_file),
                ("layers", "From layers", layers_tip, self.take_layers),
                ("none", "None", f"Use no {kind}", self.clear),
            )
        ]
        self._none = buttons[-1]
        controls.column(
            self._words,
            controls.row(*buttons, None),
            self._problem,
            parent=self,
            margin=0,
        )
        session.given_changed.connect(self._update)
        session.source_changed.connect(self._update)
        self._update()

    def choose_file(self) -> None:
        """Ask for a file."""
        start = self._session.raw_dir or Path.home()
        kinds = _TABLES if self.kind == "landmarks" else _DRAWINGS
        chosen = controls.ask_to_open(self, f"Choose {self.kind}", start, kinds)
        if chosen is not None:
            self.use(chosen)

    def use(self, path: Path) -> None:
        """Use what a file holds, or say what is wrong with it."""
        self._try(lambda: path)

    def take_layers(self) -> None:
        """Write what was drawn beside the results, and use it."""
        take = _points if self.kind == "landmarks" else _areas
        self._try(lambda: take(self._session))

    def clear(self) -> None:
        """Use none."""
        self._session.set_given(**{self.kind: None})

    def _try(self, find: Callable[[], Path]) -> None:
        try:
            path = find()
            (Landmarks.of if self.kind == "landmarks" else Regions.load)(path)
            self._session.set_given(**{self.kind: path})
        except Exo2MicroError as error:
            self._problem.say(str(error), controls.label_style("warning"))

    def _update(self) -> None:
        given: Any = getattr(self._session.settings, self.kind)
        paths = given if isinstance(given, tuple) else (given,)
        names = [path.name for path in paths if isinstance(path, Path)]
        title = self.kind.capitalize()
        self._words.say(f"{title}: {' and '.join(names) or 'none'}")
        tip = "\n".join(str(path) for path in paths if path is not None)
        self._words.setToolTip(literal(tip))
        self._none.setEnabled(given is not None)
        self._problem.say("")


def _results_folder(session: Session) -> Path:
    return session.task().store.folder


def _ground(session: Session, side: str) -> Ground:
    """Return where the raw image of a side lies; drawn on nothing it is the world."""
    return found_ground(session.viewer, side) or Ground()


def _points(session: Session) -> Path:
    """Write the points of the layers named post and pre, and return the file."""
    layers = [layer for layer in session.viewer.layers if isinstance(layer, Points)]
    sides: dict[str, NDArray[np.float64]] = {}
    for side in ("post", "pre"):
        own = [layer for layer in layers if layer.name.lower().startswith(side)]
        if len(own) != 1:
            raise ParameterError(
                f"landmarks take one Points layer whose name begins with '{side}', "
                f"found {len(own)} among {len(layers)}; name one 'post' and one 'pre', "
                "with the same grains in the same order"
            )
        sides[side] = _pixels(own[0], own[0].data, _ground(session, side))
    if len(sides["post"]) != len(sides["pre"]):
        raise ParameterError(
            f"landmarks take as many points in post as in pre, found "
            f"{len(sides['post'])} and {len(sides['pre'])}; remove or add some, in the "
            "same order"
        )
    marks = Landmarks(sides["post"], sides["pre"])
    return marks.save(_results_folder(session) / "landmarks.csv")


def _pixels(layer: Layer, data: Any, ground: Ground) -> NDArray[np.float64]:
    """Return (x, y), px of a raw image, of places in the data of a layer."""
    places = [ground.pixels_of(layer, place)[::-1] for place in data]
    return np.array(places, np.float64).reshape(-1, 2)


def _areas(session: Session) -> Path:
    """Write what is drawn in the selected layers, and return the file."""
    chosen = [
        layer
        for layer in session.viewer.layers.selection
        if isinstance(layer, (Shapes, Labels))
    ]
    labels = [layer for layer in chosen if isinstance(layer, Labels)]
    if not chosen or (labels and len(chosen) > 1):
        raise ParameterError(
            "regions take Shapes layers, or one Labels layer, that are selected in the "
            f"layer list, found {len(chosen) - len(labels)} and {len(labels)}; select "
            "what you have drawn"
        )
    folder = _results_folder(session)
    if labels:
        pixels = np.asarray(labels[0].data)
        only = labels[0].name.lower().startswith(("exclude", "ignore"))
        return save_labels(folder / "regions.tif", pixels, excluded=only)
    ground = _ground(session, "post")
    drawn = [ring for layer in chosen for ring in _rings(layer, ground)]
    return save_polygons(folder / "regions.geojson", drawn)


def _rings(layer: Shapes, ground: Ground) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield name and outline of each area of a layer, (x, y), px of the raw image."""
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        if kind in ("line", "path"):
            continue
        ring = _pixels(layer, corners, ground)
        yield layer.name, ellipse_ring(ring) if kind == "ellipse" else ring
