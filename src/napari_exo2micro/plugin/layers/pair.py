"""Two layers that belong together: found, chosen, compared, and put back after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray
from qtpy import QtWidgets
from qtpy.QtCore import QSize, Signal
from superqt.utils import signals_blocked

from napari_exo2micro.core.base import CheckpointError, ParameterError
from napari_exo2micro.core.images import Look, Side
from napari_exo2micro.core.plotting import CloseLook, PlacedImage
from napari_exo2micro.core.store import Provenance
from napari_exo2micro.plugin.layers.layers import Ground, Role, about, find_layers
from napari_exo2micro.plugin.layers.sets import fitting_layers, set_in_front
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.controls import literal


def same_layer(
    viewer: ViewerModel, layer: Any, known: Mapping[str, Any] | None = None
) -> Layer | None:
    """Return a layer or the one that was put in its place; None when it is gone.

    A stage that runs again makes new layers of the same role, sample and dye; `known`
    is what the metadata said of a layer that is deleted already.
    """
    if layer is not None and layer in viewer.layers:
        return cast(Layer, layer)
    known = about(layer) if layer is not None else known or {}
    if not known.get("role"):
        return None
    same = find_layers(viewer, known["role"], known.get("sample"), known.get("dye"))
    return same[-1] if same else None


#: Black to white, shape (256, 3), uint8.
GREY: NDArray[np.uint8] = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def image_problem(layer: Layer, what: str, ground: Ground) -> str:
    """Return why a layer is not a plain grey image for `what`; empty when it is.

    Its pixels are those of the post-stain image, whose ground is given.
    """
    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        return (
            f"{what} takes image layers, '{layer.name}' is a {kind} layer: choose an "
            "image, for example post-stain or pre-stain."
        )
    if layer.rgb or layer.ndim != 2:
        kind = "a colour picture" if layer.rgb else f"has {layer.ndim} axes"
        is_it = "is" if layer.rgb else "it"
        return (
            f"{what} takes grey images of one channel, '{layer.name}' {is_it} {kind}: "
            "choose another layer, or split it into channels (right-click on it in "
            "the layer list)."
        )
    origin, down, right = (
        ground.pixels_of(layer, point) for point in ((0, 0), (1, 0), (0, 1))
    )
    if not np.allclose([down - origin, right - origin], np.eye(2), atol=1e-6):
        return (
            f"{what} takes images whose pixels are those of post-stain, "
            f"'{layer.name}' is turned, mirrored or magnified in the viewer: set its "
            f"scale to {ground.step[0]:g} and its rotation to 0, or choose an aligned "
            "image."
        )
    return ""


def layer_look(layer: Image) -> Look:
    """Return the colours, range and gamma that a layer is drawn with."""
    shades = np.asarray(layer.colormap.map(np.linspace(0, 1, 256)))
    low, high = layer.contrast_limits
    colours = np.rint(255 * np.clip(shades, 0, 1)).astype(np.uint8)
    return Look(colours, float(low), float(high), float(layer.gamma))


def layer_side(layer: Image, look: Look, ground: Ground) -> Side:
    """Return a layer's image at its place on the post-stain image."""
    row, column = ground.pixels_of(layer, (0, 0))
    return Side(_levels(layer), (float(row), float(column)), look)


def stored_header(layer: Image) -> Provenance | None:
    """Return what the file of a layer says about itself, None without a header."""
    header = about(layer).get("header")
    if not header:
        return None
    try:
        return Provenance.from_header(header)
    except (CheckpointError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class SectionLayers:
    """Post, the best aligned pre and the difference of one run of one sample and dye.

    Layers are outdated that do not fit to these: a stage before theirs was run with
    other settings since. `pre` is the image that is not aligned.
    """

    sample: str = ""
    dye: str = ""
    post: Image | None = None
    aligned: Image | None = None
    difference: Image | None = None
    outdated: tuple[Image, ...] = ()
    pre: Image | None = None

    @property
    def left_out(self) -> str:
        """What was left out and how to get it, in a sentence; empty for nothing."""
        if not self.outdated:
            return ""
        stages = sorted({int(about(layer)["stage"]) for layer in self.outdated})
        names = " and ".join(f"'{layer.name}'" for layer in self.outdated)
        is_one = len(self.outdated) == 1
        return (
            f"{names} {'was' if is_one else 'were'} made with other settings and "
            f"{'is' if is_one else 'are'} left out: run "
            f"{'stage' if len(stages) == 1 else 'stages'} "
            f"{' and '.join(map(str, stages))} again."
        )

    @property
    def words(self) -> str:
        """Sample and dye for a label."""
        return f"{self.sample}, {self.dye}" if self.sample else ""

    def close_look(self) -> CloseLook:
        """Return what a zoom box looks at.

        Raises
        ------
        ParameterError
            When post or the aligned pre is missing, or was turned in the viewer.
        """
        if self.post is None or self.aligned is None:
            missing = "post-stain" if self.post is None else "aligned pre-stain"
            raise ParameterError(
                "the zoom box shows post-stain and aligned pre-stain of one sample, "
                f"there is no {missing} layer: run stage 2 or 3 in the workbench, or "
                "open the results folder of the sample"
                + (f". {self.left_out}" if self.left_out else "")
            )
        ground = Ground.of(self.post)
        for layer in (self.post, self.aligned, self.difference):
            if layer is None:
                continue
            problem = image_problem(layer, "The zoom box", ground)
            if problem:
                raise ParameterError(problem)
        header = aligned = stored_header(self.aligned)
        scale = None
        if self.difference is not None:
            own = stored_header(self.difference)
            scale = own.scale if own else None
            header = own or header
        return CloseLook(
            post=_placed(self.post, ground),
            pre=_placed(self.aligned, ground),
            shape=_raw_shape(self.post, aligned or stored_header(self.post)),
            difference=(
                _placed(self.difference, ground) if self.difference and scale else None
            ),
            scale=scale.value if scale else None,
            offset=scale.offset if scale else 0.0,
            verdicts=header.verdicts if header else {},
            sample=self.sample,
            dye=self.dye,
            pixel_size=ground.pixel_size,
        )


def _raw_shape(post: Image, header: Provenance | None) -> tuple[int, int]:
    """Return rows and columns of the raw post-stain image."""
    frame = header.canvas.get("post_frame") if header else None
    if frame:
        return int(frame[3]), int(frame[2])
    rows, columns = _levels(post)[0].shape
    row, column = about(post).get("canvas_offset", (0.0, 0.0))
    return round(rows + row), round(columns + column)


def find_section(session: Session) -> SectionLayers:
    """Return the layers of the session's sample and dye, otherwise of the topmost.

    Of several sets of results it is the one that a person looks at, and in it only
    what belongs together; see `sets`.
    """
    viewer = session.viewer
    sample, dye = session.sample, session.dye
    if not (sample and find_layers(viewer, None, sample, dye, apart=None)):
        for role in ("post", "aligned 3", "aligned 2"):
            layers = find_layers(viewer, role, apart=None)
            if layers:
                known = about(layers[-1])
                sample, dye = known.get("sample", ""), known.get("dye", "")
                break
        else:
            return SectionLayers()
    apart = set_in_front(viewer, sample, dye)
    fitting, outdated = fitting_layers(viewer, sample, dye, apart)
    wanted = ("aligned 2", "aligned 3", "difference")
    return SectionLayers(
        sample,
        dye,
        fitting.get("post"),
        fitting.get("aligned 3") or fitting.get("aligned 2"),
        fitting.get("difference"),
        tuple(outdated[role] for role in wanted if role in outdated),
        fitting.get("pre"),
    )


def _levels(layer: Image) -> list[Any]:
    return list(layer.data) if layer.multiscale else [layer.data]


def _placed(layer: Image, ground: Ground) -> PlacedImage:
    row, column = np.rint(ground.pixels_of(layer, (0, 0))).astype(int)
    return PlacedImage(_levels(layer), (int(row), int(column)))


def comparable_layers(viewer: ViewerModel) -> list[Layer]:
    """Return the layers that can be chosen, as in the layer list: top first."""
    return [
        layer
        for layer in reversed(list(viewer.layers))
        if (role := Role.of(layer)) is None or not role.value.is_temporary
    ]


def short_names(layers: Sequence[Layer]) -> list[str]:
    """Return names for a narrow list: without the sample and dye that all share."""
    known = [about(layer) for layer in layers]
    owners = {(k.get("sample"), k.get("dye")) for k in known if k}
    if len(owners) != 1:
        return [layer.name for layer in layers]
    start = "{} {}: ".format(*owners.pop())
    return [layer.name.removeprefix(start) for layer in layers]


def best_pair(session: Session) -> tuple[Layer | None, Layer | None]:
    """Return post and the best aligned pre: of the session's sample or the topmost."""
    section = find_section(session)
    if section.aligned is not None or section.post is None:
        return section.post, section.aligned
    return section.post, section.pre


class LayerChooser(QtWidgets.QComboBox):
    """A list of the viewer's layers; a layer that is made anew stays chosen."""

    #: Another layer, or None.
    chosen = Signal(object)

    def __init__(
        self, viewer: ViewerModel, parent: QtWidgets.QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: list[Layer] = []
        self._layer: Layer | None = None
        # Long names are cut: a dock must not become as wide as they are.
        self.setSizeAdjustPolicy(
            QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(12)
        self.setSizePolicy(
            QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Fixed
        )
        self.activated.connect(self._on_activated)

    @property
    def layer(self) -> Layer | None:
        """The layer that is chosen, if it is still there."""
        return self._layer

    def choose(self, layer: Layer | None) -> None:
        """Choose a layer."""
        changed = layer is not self._layer
        self._layer = layer
        index = self._layers.index(layer) if layer in self._layers else -1
        self.setCurrentIndex(index)
        known = layer.name if layer is not None else "Choose a layer"
        self.setToolTip(literal(known))
        if changed:
            self.chosen.emit(layer)

    def fill(self, layers: list[Layer]) -> None:
        """List the layers anew; what was chosen stays so where it can."""
        with signals_blocked(self):
            self.clear()
            self._layers = layers
            self.addItems(short_names(layers))
        same = same_layer(self._viewer, self._layer)
        self.choose(same if same in layers else None)

    def minimumSizeHint(self) -> QSize:
        """Let the dock be narrow."""
        hint = super().minimumSizeHint()
        return QSize(min(hint.width(), 120), hint.height())

    def _on_activated(self, index: int) -> None:
        self.choose(self._layers[index] if 0 <= index < len(self._layers) else None)


def list_events(viewer: ViewerModel) -> tuple[Any, ...]:
    """Return the events of layers that come, go, move in the list or are renamed."""
    events = viewer.layers.events
    return events.inserted, events.removed, events.reordered, events.renamed


class LayerPair(QtWidgets.QWidget):
    """Two lists of layers: the first is post and the second the best aligned pre."""

    #: Another layer in one of the lists, also one that took another's place.
    changed = Signal()
    #: Layers came, went or changed their names.
    listed = Signal()

    def __init__(
        self, session: Session, parent: QtWidgets.QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("layer_pair")
        self._session = session
        self._viewer = session.viewer
        self.first = LayerChooser(self._viewer, self)
        self.first.setObjectName("first_layer")
        self.second = LayerChooser(self._viewer, self)
        self.second.setObjectName("second_layer")
        swap = QtWidgets.QToolButton(self)
        swap.setObjectName("swap_layers")
        swap.setText("⇅")
        swap.setToolTip("Exchange the first and the second layer")
        swap.clicked.connect(self._swap)
        lists = controls.form(("First", self.first), ("Second", self.second), margin=0)
        whole = controls.row((lists, 1), swap)
        whole.setContentsMargins(0, 0, 0, 0)
        self.setLayout(whole)
        self._by_hand = False
        self._before: tuple[Layer | None, Layer | None] = (None, None)
        # Layers come and go in batches: one look when all have come.
        self._timer = controls.delayed(self, self.refresh)
        for chooser in (self.first, self.second):
            chooser.activated.connect(self._on_hand)
        self._connections = controls.Connections()
        for emitter in list_events(self._viewer):
            self._connections.add(emitter, self._later)
        self._connections.add(session.source_changed, self._on_source)
        self.refresh()

    @property
    def layers(self) -> tuple[Layer | None, Layer | None]:
        """The first and the second layer; None where none is chosen."""
        return self.first.layer, self.second.layer

    def problem(self) -> str:
        """Return in words why these two cannot be compared; empty when they can."""
        first, second = self.layers
        if not comparable_layers(self._viewer):
            return (
                "There is nothing to compare yet: run the stages in the workbench, or "
                "open a pair or a results folder with File > Open."
            )
        if first is None or second is None:
            which = "first" if first is None else "second"
            return f"Choose the {which} layer: two layers are compared."
        if first is second:
            return (
                f"Two different layers are compared, '{first.name}' is chosen twice: "
                "choose another one in one of the lists."
            )
        return ""

    def close_down(self) -> None:
        """Listen to nothing any more."""
        self._connections.close()
        self._timer.stop()

    def refresh(self) -> None:
        """List the layers anew and choose what was, otherwise the best pair."""
        layers = comparable_layers(self._viewer)
        self.first.fill(layers)
        self.second.fill(layers)
        if not self._by_hand:
            self._choose_best()
        elif None in self.layers:
            best = best_pair(self._session)
            for chooser, layer in zip((self.first, self.second), best, strict=True):
                if chooser.layer is None and layer not in self.layers:
                    chooser.choose(layer)
        self.listed.emit()
        self._tell()

    def _choose_best(self) -> None:
        best = best_pair(self._session)
        self.first.choose(best[0] or self.first.layer)
        self.second.choose(best[1] or self.second.layer)

    def _later(self, _event: object = None) -> None:
        self._timer.start()

    def _on_source(self) -> None:
        self._by_hand = False
        self._later()

    def _on_hand(self) -> None:
        self._by_hand = True
        self._tell()

    def _swap(self) -> None:
        first, second = self.layers
        self.first.choose(second)
        self.second.choose(first)
        self._on_hand()

    def _tell(self) -> None:
        if self.layers != self._before:
            self._before = self.layers
            self.changed.emit()
