"""The live preview: a parameter moves, and what its stage would find is shown.

Nothing is computed in the thread of the window, and a new value takes the place of the
one that is being worked on. What a stage would find is a frozen `StagePreview`; its
layers lie on the world like those of a stage. Images are read and warped when somebody
looks at them, at full resolution for what is on screen.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator
from napari.layers import Vectors
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray
from qtpy import QtGui
from qtpy.QtCore import QElapsedTimer, QObject, QPointF, QRectF, Qt, QTimer, Signal
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_exo2micro.core import images, preview
from napari_exo2micro.core.base import CheckpointError, Monitor
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, ParameterValue, State
from napari_exo2micro.core.photometry import (
    DEFAULT_SCALE,
    SCALE_METHODS,
    ScaleEstimate,
    difference_pyramid,
)
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.plugin.layers import layers
from napari_exo2micro.plugin.layers.layers import LayerSpec
from napari_exo2micro.plugin.layers.scene import Display, Rank, Wanted, Wish, wanted
from napari_exo2micro.plugin.session.session import Session, TaskSource
from napari_exo2micro.plugin.widgets import controls
from napari_exo2micro.plugin.widgets.rows import scale_words, with_titles

#: Stages that have a preview.
PREVIEWED = (2, 3, 4)
_IDLE = "Change a parameter to see here what the stage would find."
#: Waiting for the next value of a series, ms.
_PAUSE = 15
#: Before reading what nobody has asked for yet, ms.
_BEFOREHAND = 400
#: Words on how far a preview is come when it takes so long, ms: each has the window
#: drawn anew, which takes time from the preview itself.
_LONG = 600
_POST, _PRE = "#66ff66", "#ff66ff"
_USED, _UNUSED = "#33ddff", "#ff5533"
#: More lines say no more and take napari longer.
_MOST_SEGMENTS = 500
_MOST_MATCHES = 500
#: Moves of matches are drawn so long that a typical one is this part of the frame,
#: unless they are noise.
_VISIBLE = 0.02
_NOISE = 0.2
_LONGEST = 50.0
_HEIGHT = 110
_MARGIN = 6
_BACKGROUND, _FILL, _TEXT = "#1c1f24", "#5a6472", "#d6dae0"
_LEVELS = {State.FELL_BACK: "warning", State.FAILED: "error"}
_BASIS = {
    "stage 4": "counted by stage 4 on every pixel",
    "every pixel": "counted on every pixel",
    "sample": "counted on windows from all over the section; stage 4 counts every "
    "pixel",
}

_Estimate = preview.BoundaryPreview | preview.InteriorPreview | preview.ScalePreview


def _words(estimate: _Estimate) -> str:
    """Return what a preview says, in one or two sentences."""
    if isinstance(estimate, preview.BoundaryPreview):
        return _boundary_words(estimate)
    if isinstance(estimate, preview.InteriorPreview):
        return _interior_words(estimate)
    return _scales_words(estimate)


def _boundary_words(estimate: preview.BoundaryPreview) -> str:
    verdict = estimate.verdict
    if not estimate.method:
        return f"Nothing to align: {verdict.reason}."
    parts = estimate.transform.decompose()
    words = f"Turn {parts['angle_deg']:.2f}°, magnification {parts['scale']:.4f}"
    if "shift_px" in verdict.numbers:
        words += f", shift {verdict.numbers['shift_px']:.0f} px"
    if parts["mirrored"]:
        words += ", mirrored"
    if verdict.state in _LEVELS:
        return f"{_doubt(verdict.state)}: {verdict.reason}. {words}."
    if verdict.accuracy:
        words += f"; good to about {verdict.accuracy}"
    return f"{words}. The stage would find the same."


def _interior_words(estimate: preview.InteriorPreview) -> str:
    verdict, numbers = estimate.verdict, estimate.verdict.numbers
    if verdict.state == State.SKIPPED:
        return f"Left out: {verdict.reason}."
    if not numbers:
        return f"Nothing to align: {verdict.reason}."
    size = "at full size"
    if estimate.reduction > 1:
        size = f"on images reduced {estimate.reduction:g} times"
    later = f"Estimated {size}; the stage refines it on small tiles at full size."
    if verdict.state != State.OK:
        return f"{_doubt(verdict.state)}: {verdict.reason}. {later}"
    counts = f"{numbers['n_inliers']:.0f} of {numbers['n_matches']:.0f} matches agree"
    return f"{counts}, correction {numbers['correction_px']:.2g} px. {later}"


def _doubt(state: State) -> str:
    return "Not trustworthy" if state == State.FAILED else "A lesser result"


def _scales_words(estimate: preview.ScalePreview) -> str:
    scales, verdict = estimate.scales, estimate.verdict
    known = [scales[name] for name in SCALE_METHODS if name in scales]
    text = ", ".join(map(_scale_words, known))
    if verdict.state != State.OK:
        start = "No scale" if verdict.state == State.FAILED else "A lesser scale"
        text = f"{start}: {verdict.reason}" + (f"; {text}" if text else "")
    basis = _BASIS.get(estimate.basis, "")
    return f"{text}; {basis}." if basis else f"{text}."


def _scale_words(scale: ScaleEstimate) -> str:
    """Return one scale with its error: ``Scale 1.3001 ± 0.0004 (Moffat fit)``."""
    name = SCALE_METHODS[scale.method].title
    if scale.percentile is not None:
        name += f" {scale.percentile:g}"
    words = scale_words(scale.scale, scale.uncertainty, name)
    return f"Scale {words}" if scale.method == DEFAULT_SCALE else words


class _Drawing:
    """Makes the layers of a preview, on the world of the raw post-stain image.

    `known` goes into their metadata: sample, dye, stage and parameters.
    """

    def __init__(self, source: preview.PreviewSource, known: Mapping[str, Any]) -> None:
        self.source, self.known = source, known
        x0, y0, *sides = source.post_frame
        #: Where the canvas's first pixel lies, px of the raw image: (row, column).
        self.offset = np.array([-float(y0), -float(x0)])
        self.ground = layers.Ground.of_size(source.pixel_size)
        self.side = max(sides)
        self.line_width = self.side / 450

    def boundary(self, estimate: preview.BoundaryPreview) -> list[LayerSpec]:
        """Return post, the aligned pre, both rings and both outlines, bottom first."""
        specs = self._overlay(estimate.transform)
        if estimate.post_ring is not None and estimate.pre_ring is not None:
            post, pre = (
                ring.values / max(float(ring.values.max()), 1e-6)
                for ring in (estimate.post_ring, estimate.pre_ring)
            )
            options = {
                "name": "preview: rings",
                "rgb": True,
                "blending": "additive",
                "opacity": 0.25,
                "interpolation2d": "linear",
                "scale": estimate.post_ring.step[::-1],
                "translate": tuple(
                    np.add(self.offset, estimate.post_ring.origin[::-1])
                ),
                "metadata": self._metadata("ring"),
            }
            colours = np.clip(np.stack([pre, post, pre], axis=-1), 0.0, 1.0)
            specs.append(LayerSpec(colours, options, ground=self.ground))
        pre_lines = self._segments(estimate.pre_outline or [])
        post_lines = self._segments(estimate.post_outline or [])
        if len(pre_lines) or len(post_lines):
            colour = [_PRE] * len(pre_lines) + [_POST] * len(post_lines)
            lines = np.concatenate([pre_lines, post_lines])
            width = self.line_width
            specs.append(self._vectors(lines, colour, "outlines", "outline", width))
        return specs

    def interior(
        self, estimate: preview.InteriorPreview, initial: images.Transform
    ) -> list[LayerSpec]:
        """Return post, the aligned pre and the matches, bottom first.

        A cross stands where post has a feature, and a line leads there from where the
        start puts pre's.
        """
        specs = self._overlay(estimate.transform)
        matches = estimate.matches
        if not len(matches.inliers):
            return specs
        step = -(-len(matches.inliers) // _MOST_MATCHES)
        # Those used come last: on top.
        order = np.argsort(matches.inliers, kind="stable")[::-1][::step][::-1]
        used, post = matches.inliers[order], matches.post_xy[order]
        way = post - initial.inverse()(matches.pre_xy[order])
        times = self._enlargement(way[used] if used.any() else way)
        size = 3.0 * self.line_width
        arms = [np.broadcast_to(arm, way.shape) for arm in ((size, 0.0), (0.0, size))]
        begins = [post - times * way, *(post - arm / 2 for arm in arms)]
        vectors = np.stack(
            [
                np.concatenate(begins)[:, ::-1] + self.offset,
                np.concatenate([times * way, *arms])[:, ::-1],
            ],
            axis=1,
        )
        name = "matches" if times == 1 else f"matches, moves × {times:g}"
        colours = 3 * np.where(used, _USED, _UNUSED).tolist()
        width = self.line_width / 2
        return [*specs, self._vectors(vectors, colours, name, "matches", width)]

    def difference(
        self,
        scale: ScaleEstimate,
        transform: images.Transform,
        aligned: Sequence[images.LazyImage] | None,
    ) -> list[LayerSpec]:
        """Return the difference under one scale.

        Without the pyramid of the aligned pre it is warped as it is looked at.
        """
        source = self.source
        levels = difference_pyramid(
            source.levels("post"),
            aligned or self._moved(transform),
            scale=scale.scale,
            offset=scale.offset,
            post_frame=source.post_frame,
            pre_quad=images.mapped_frame(transform, source.pre_frame),
            missing=source.missing(transform),
        )
        part = images.cropped_pyramid(levels, source.post_frame)
        return [self._image(part, "difference", f"difference, scale {scale.scale:.4g}")]

    def _moved(self, transform: images.Transform) -> list[images.LazyImage]:
        return images.moved_levels(
            self.source.levels("pre"), transform, interpolation="linear"
        )

    def _overlay(self, transform: images.Transform) -> list[LayerSpec]:
        """Return post and the pre image on it as `transform` lays it."""
        source, frame = self.source, self.source.post_frame
        post = source.keep(
            "shown post",
            None,
            lambda: images.cropped_pyramid(source.levels("post"), frame),
        )
        aligned = images.cropped_pyramid(self._moved(transform), frame)
        return [
            self._image(post, "post", "post"),
            self._image(
                aligned, "aligned", "aligned pre", transform=transform.to_dict()
            ),
        ]

    def _image(
        self,
        levels: tuple[list[images.LazyImage], tuple[int, int]],
        look: str,
        name: str,
        **more: Any,
    ) -> LayerSpec:
        """Return an image as its role looks; its contrast is measured once."""
        part, (x, y) = levels
        first = self.source.keep(
            f"layer of {look}",
            None,
            lambda: layers.image_spec(part, look, name=name, known={}),
        )
        place = tuple(np.add(self.offset, (y, x)))
        options = {
            **first.options,
            "name": f"preview: {name}",
            "translate": place,
            "metadata": self._metadata(
                look, **{**first.about, **more, "canvas_offset": place}
            ),
        }
        data = part if len(part) > 1 else part[0]
        return LayerSpec(data, options, ground=self.ground)

    def _metadata(self, look: str, **more: Any) -> dict[str, Any]:
        return {layers.KEY: {**more, **self.known, "role": f"preview {look}"}}

    def _segments(self, lines: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return lines (x, y) as vectors (N, 2, 2) from point to point, (row, col)."""
        parts = [np.empty((0, 2, 2))]
        step = max(1, -(-sum(map(len, lines)) // _MOST_SEGMENTS))
        for line in lines:
            # The last point closes the outline.
            points = np.vstack([line[:-1:step], line[-1:]])[:, ::-1] + self.offset
            parts.append(np.stack([points[:-1], np.diff(points, axis=0)], axis=1))
        return np.concatenate(parts)

    def _vectors(
        self,
        vectors: NDArray[np.float64],
        colours: list[str],
        name: str,
        look: str,
        width: float,
    ) -> LayerSpec:
        options = {
            "name": f"preview: {name}",
            "metadata": self._metadata(look),
            "edge_color": transform_color(colours),
            "edge_width": width,
            "vector_style": "line",
        }
        return LayerSpec(vectors, options, "vectors", self.ground)

    def _enlargement(self, way: NDArray[np.float64]) -> float:
        """Return by how much to draw moves longer: a round number, 1 for noise."""
        typical = float(np.median(np.linalg.norm(way, axis=1)))
        wanted = _VISIBLE * self.side / max(typical, 1e-6)
        if typical < _NOISE or wanted <= 1:
            return 1.0
        power = 10 ** math.floor(math.log10(wanted))
        best = max(n for n in (1, 2, 5) if n * power <= wanted)
        return float(min(best * power, _LONGEST))


@dataclass(frozen=True, slots=True)
class _Request:
    """What should be previewed: all that it rests on."""

    tasks: TaskSource
    stage: int
    #: Of the stages up to this one.
    params: dict[str, ParameterValue]
    #: The scale whose difference is shown, where there is one.
    scale: str
    #: Otherwise it only gets ready what the first preview needs.
    is_shown: bool


@dataclass(frozen=True, slots=True)
class StagePreview:
    """What a stage would find, ready to be shown: its layers are bottom first."""

    stage: int
    source: preview.PreviewSource
    estimate: _Estimate
    specs: list[LayerSpec]
    #: The ratio post/pre with the scales, of stage 4.
    curve: preview.RatioCurve | None = None


def _make_preview(
    request: _Request,
    known: preview.PreviewSource | None,
    monitor: Monitor,
    send: Callable[[preview.PreviewSource], None],
) -> StagePreview:
    """Return what a stage would find and the layers that show it.

    Stages before it are taken from disk where they are valid for these parameters,
    otherwise from their own previews. `known` is used again for the same images;
    `send` takes the pair as soon as it is opened.
    """
    monitor.report(0.0, "opening the images")
    params, stage = request.params, request.stage
    task = request.tasks.task(params)
    source = preview.open_source(task, known)
    send(source)
    names = {"sample": task.sample, "dye": task.dye}
    drawing = _Drawing(source, {**names, "stage": stage, "parameters": dict(params)})
    estimate: _Estimate
    curve = None
    if stage == 2:
        estimate = preview.preview_boundary(source, params, monitor)
        specs = drawing.boundary(estimate)
    elif stage == 3:
        initial = _transform(task, source, params, 2, monitor.part(0.0, 0.5))
        estimate = preview.preview_interior(
            source, initial, params, monitor.part(0.5, 1.0)
        )
        specs = drawing.interior(estimate, initial)
    else:
        transform = _transform(task, source, params, 3, monitor.part(0.0, 0.6))
        stored = task.checkpoint(3, "pre")
        estimate = preview.preview_scale(
            source,
            transform,
            params,
            statistics=preview.stored_statistics(task, source) if stored else None,
            monitor=monitor.part(0.6, 1.0),
        )
        # By hand before percentile before Moffat.
        order = (request.scale, "manual", "percentile", *reversed(list(SCALE_METHODS)))
        scale = next((estimate.scales[n] for n in order if n in estimate.scales), None)
        aligned = images.pyramid(stored.image) if stored else None
        specs = [] if scale is None else drawing.difference(scale, transform, aligned)
        curve = preview.ratio_curve(source, estimate)
    monitor.report(1.0, "preview ready")
    _warm_up()
    return StagePreview(stage, source, estimate, specs, curve)


@functools.cache
def _warm_up() -> None:
    """Have napari load here, and not in the window, what its first lines need."""
    Vectors(np.zeros((1, 2, 2)))


def _transform(
    task: SampleDye,
    source: preview.PreviewSource,
    params: Mapping[str, ParameterValue],
    stage: int,
    monitor: Monitor,
) -> images.Transform:
    """Return the transform of stage 2 or 3 from disk, or that of its preview."""
    with contextlib.suppress(CheckpointError):
        return task.transform(stage)
    own = {name: params[name] for name in params if _stage_of(name) == stage}
    name = f"preview of stage {stage}"
    if stage == 2:
        return source.keep(
            name, own, lambda: preview.preview_boundary(source, own, monitor)
        ).transform
    initial = _transform(task, source, params, 2, monitor.part(0.0, 0.5))
    rest = monitor.part(0.5, 1.0)
    return source.keep(
        name,
        (initial, own),
        lambda: preview.preview_interior(source, initial, own, rest),
    ).transform


def _stage_of(name: str) -> int:
    return PARAMETER_REGISTRY[name].stage


def _scale_of(name: str) -> str:
    """Return whose difference a person looks at who changes this parameter."""
    if name == "offset_correction":
        return DEFAULT_SCALE
    return next((m.name for m in SCALE_METHODS.values() if m.parameter == name), "")


class LivePreview(QObject):
    """Shows what the stage in front would find; get it with `LivePreview.of`.

    Whatever happens, one frozen request is resolved from the session and the rows;
    where it differs from the one before, another preview is made or the one that is
    shown goes.

    Attributes
    ----------
    switched : Signal(bool)
        The preview was switched on or off.
    told : Signal(int, str, str)
        Stage, what its preview says, and the level: empty, ``'warning'`` or
        ``'error'``.
    shown : Signal(object)
        A `StagePreview` whose layers are in the viewer now.
    is_on : bool
        Whether parameters are followed; see `switch`.
    """

    switched = Signal(bool)
    told = Signal(int, str, str)
    shown = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.is_on = True
        self._session = session
        self._is_asked = False  # a person changed something since nothing was shown
        self._has_form = True
        self._rows: weakref.WeakSet[QWidget] = weakref.WeakSet()
        self._scale = ""
        self._request: _Request | None = None
        self._source: preview.PreviewSource | None = None
        self._shown: StagePreview | None = None
        self._display = Display.of(session.viewer)
        self._wish = Wish(rank=Rank.PREVIEW)  # of the preview that is shown
        self._words = dict.fromkeys(PREVIEWED, (_IDLE, ""))
        self._begun = QElapsedTimer()
        self._turn = controls.delayed(self, self._place)
        self._pause = controls.delayed(self, self._start)
        session.params_changed.connect(self._on_params)
        session.stage_shown.connect(self._update)
        session.source_changed.connect(self._on_source)
        session.results_changed.connect(self._on_results)
        session.jobs.busy_changed.connect(self._on_busy)

    @classmethod
    def of(cls, session: Session) -> LivePreview:
        """Return the preview of a session, made when it is first asked for."""
        known = session.findChild(cls)
        return known if isinstance(known, cls) else cls(session)

    @property
    def stage(self) -> int:
        """The stage whose preview is shown; 0 when none is."""
        return self._shown.stage if self._shown is not None else 0

    @property
    def is_ready(self) -> bool:
        """Whether the pair is opened, so that a preview need not wait for it."""
        return self._source is not None

    def words(self, stage: int) -> tuple[str, str]:
        """Return what was told of a stage last: text and level."""
        return self._words.get(stage, ("", ""))

    def add_row(self, row: QWidget) -> None:
        """Have the preview end when the last row is gone; see `look_for_rows`."""
        self._rows.add(row)
        self._has_form = True

    def look_for_rows(self) -> None:
        """Take the preview away when no row is in a window any more."""
        self._has_form = any(map(_is_in_a_window, list(self._rows)))
        if not self._has_form:
            self._update()

    def switch(self, on: bool) -> None:
        """Follow parameters, or stop it and take the preview away."""
        if on == self.is_on:
            return
        self.is_on = on
        self.switched.emit(on)
        if on:
            self.refresh()
        else:
            self._take_away()
            self._update()

    def refresh(self) -> None:
        """Preview the stage in front with the present parameters."""
        self._is_asked, self._request = True, None
        self._update()

    def _on_params(self, names: tuple[str, ...]) -> None:
        self._scale = next(filter(None, map(_scale_of, names)), self._scale)
        if any(_stage_of(name) <= self._session.shown_stage for name in names):
            self._is_asked = True
            self._update()

    def _on_source(self) -> None:
        self._source, self._is_asked = None, False
        self._update()

    def _on_results(self, _stage: int) -> None:
        if self._shown is not None:
            self._is_asked = False
            self._update()

    def _on_busy(self, busy: bool) -> None:
        # The run shows its own layers; the preview would be of files that change.
        # What is chosen meanwhile is not shown by the run.
        if busy:
            self._is_asked = False
        self._update()

    def _resolve(self) -> _Request | None:
        """Return what should be previewed now, None for nothing."""
        session, stage = self._session, self._session.shown_stage
        if not (self.is_on and self._has_form and stage in PREVIEWED):
            self._is_asked = False  # what was asked for meanwhile is not shown later
            return None
        if session.jobs.is_busy or not session.has_source:
            return None
        params = {n: v for n, v in session.params.items() if _stage_of(n) <= stage}
        scale = self._scale if stage == max(PREVIEWED) else ""
        return _Request(session.task_source(), stage, params, scale, self._is_asked)

    def _update(self, _what: object = None) -> None:
        """Apply the difference to what was resolved before."""
        request, before = self._resolve(), self._request
        if request == before:
            return
        self._request = request
        if request is None or not request.is_shown:
            self._take_away()
        if request is not None:
            self._pause.start(_PAUSE if request.is_shown else _BEFOREHAND)

    def _take_away(self) -> None:
        """Take the preview away, and show again what it had hidden."""
        self._pause.stop()
        self._turn.stop()
        self._session.jobs.cancel("preview")
        self._shown = None
        for stage in PREVIEWED:
            self._tell(stage, _IDLE if self.is_on else "")
        self._display.show(self, None)

    def _start(self) -> None:
        request = self._request
        if request is None:
            return
        self._begun.start()
        self._session.jobs.start(
            _make_preview,
            title=f"preview of stage {request.stage}",
            on_sent=self._keep,
            on_result=self._show if request.is_shown else None,
            on_error=self._on_error,
            on_progress=self._on_progress if request.is_shown else None,
            newest="preview",
            show_progress=False,
            request=request,
            known=self._source,
        )

    def _on_progress(self, _fraction: float, text: str) -> None:
        request = self._request
        if request and request.is_shown and self._begun.hasExpired(_LONG):
            self._tell(request.stage, f"Preview: {text} …")

    def _on_error(self, text: str) -> None:
        request = self._request
        if request and request.is_shown:  # what only gets ready says nothing
            self._tell(request.stage, with_titles(text), "error")

    def _keep(self, source: preview.PreviewSource) -> None:
        # Also of a preview that is cancelled later: what it has read is kept.
        self._source = source

    def _show(self, result: StagePreview) -> None:
        session, viewer = self._session, self._session.viewer
        pair = session.sample, session.dye
        specs = result.specs
        hidden: list[Wanted] = []
        own = layers.find_layers(viewer, None, *pair, apart=None)
        for layer in own:  # pictures would mix
            known = layers.about(layer)
            is_post = layers.Role.of(layer) is layers.Role.POST and not known.get(
                "apart"
            )
            if layers.Role.of(layer) is not layers.Role.PREVIEW:
                is_seen = is_post and result.stage != max(PREVIEWED)
                hidden += wanted(layer, visible=is_seen)
            if is_post:  # the pair's own will do
                specs = [s for s in specs if s.about["role"] != "preview post"]
        self._shown = result
        self._wish = Wish(tuple(hidden), tuple(specs), rank=Rank.PREVIEW)
        self._place()

    def _place(self) -> None:
        """Place the layers one by one: after a new one the window has its turn."""
        result = self._shown
        if result is None:
            return
        try:
            viewer = self._session.viewer
        except RuntimeError:  # it was closed
            return
        is_empty = not viewer.layers
        placed = self._display.show(self, self._wish, one_by_one=True)
        if is_empty:
            viewer.reset_view()
        if len(placed) < len(self._wish.specs):
            self._turn.start(0)
            return
        level = _LEVELS.get(result.estimate.verdict.state, "")
        self._tell(result.stage, with_titles(_words(result.estimate)), level)
        self.shown.emit(result)

    def _tell(self, stage: int, text: str, level: str = "") -> None:
        self._words[stage] = (text, level)
        self.told.emit(stage, text, level)


def _is_in_a_window(row: QWidget) -> bool:
    """Return whether a row is part of a window that a person sees."""
    with contextlib.suppress(RuntimeError):  # Qt has deleted it
        window = row.window()
        return window is not None and window.isVisible()
    return False


class ScaleLinePlot(QWidget):
    """Draws how often each ratio post/pre occurs, and where the scales lie."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scale_line")
        self.setAccessibleName("Distribution of post/pre with the scales")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMinimumWidth(120)
        self.setFixedHeight(_HEIGHT)
        self.setToolTip(
            "How often each ratio post/pre occurs among the pixels, with a line for "
            "each scale. Minerals make the peak: a good scale stands on it. Microbes "
            "lie to the right."
        )
        self.set_curve(None)

    def set_curve(self, curve: preview.RatioCurve | None) -> None:
        """Draw something else; without anything to draw the widget is hidden."""
        self.curve = curve
        self.setVisible(curve is not None)
        self.update()

    def paintEvent(self, _event: QtGui.QPaintEvent | None) -> None:
        """Draw the distribution, the axis and the lines."""
        curve = self.curve
        if curve is None:
            return
        painter = QtGui.QPainter(self)
        font = painter.font()
        font.setPointSizeF(0.85 * font.pointSizeF())
        painter.setFont(font)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QtGui.QColor(_BACKGROUND))
        metrics = painter.fontMetrics()
        edge = metrics.height() + 4
        area = QRectF(self.rect()).adjusted(_MARGIN, edge, -_MARGIN, -edge)
        low, high = float(curve.edges[0]), float(curve.edges[-1])

        def across(ratio: float) -> float:
            return area.left() + (math.log10(ratio) - low) / (high - low) * area.width()

        heights = curve.counts / max(float(curve.counts.max()), 1e-12) * area.height()
        places = np.linspace(area.left(), area.right(), len(heights)).tolist()
        tops = (area.bottom() - heights).tolist()
        points = [QPointF(x, y) for x, y in zip(places, tops, strict=True)]
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QtGui.QColor(_FILL))
        painter.drawPolygon(
            QtGui.QPolygonF([area.bottomLeft(), *points, area.bottomRight()])
        )
        painter.setPen(QtGui.QColor(_TEXT))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        free = area.left()
        for ratio in _ticks(10**low, 10**high):
            text = f"{ratio:g}"
            width = metrics.horizontalAdvance(text)
            left = across(ratio) - width / 2
            if free <= left <= area.right() - width:
                painter.drawText(QPointF(left, self.height() - _MARGIN), text)
                free = left + width + 10
        end = float(_MARGIN)
        for line in curve.lines:
            painter.setPen(QtGui.QPen(QtGui.QColor(line.colour), 2))
            x = across(line.scale)
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            text = f"{line.words}: {line.scale:.4g}"
            painter.drawText(QPointF(end, _MARGIN + metrics.ascent()), text)
            end += metrics.horizontalAdvance(text) + 12


def _ticks(first: float, last: float) -> list[float]:
    """Return round ratios about two others, about five of them between these."""
    steps = [1.0, 2.0, 5.0, 10.0]
    if last / first > 20:
        values = LogLocator(subs=steps[:3], numticks=20).tick_values(first, last)
    else:
        values = MaxNLocator(5, steps=steps).tick_values(first, last)
    return [ratio for ratio in np.asarray(values).tolist() if ratio > 0]


class PreviewRow(QWidget):
    """Switches the live preview of a session, which all its rows do together.

    It shows the words on one stage; stage 4 also draws the ratio with its scales.
    """

    def __init__(
        self, session: Session, stage: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"preview_row_{stage}")
        self._stage = stage
        self._preview = LivePreview.of(session)
        box = controls.check_box(
            self,
            "live_preview",
            "Live preview",
            "Show what this stage would find while its parameters change. Nothing is "
            "written: run the stage to keep the result.",
            self._preview.switch,
            on=self._preview.is_on,
        )
        self._words = controls.WordsLabel("preview_words", self)
        layout = controls.column(box, self._words, parent=self, margin=0)
        layout.setSpacing(2)
        self._plot: ScaleLinePlot | None = None
        if stage == max(PREVIEWED):
            self._plot = ScaleLinePlot(self)
            layout.addWidget(self._plot)
        self._preview.switched.connect(box.setChecked)
        self._preview.told.connect(self._on_told)
        self._preview.shown.connect(self._on_shown)
        self._on_told(stage, *self._preview.words(stage))

    def showEvent(self, a0: QtGui.QShowEvent | None) -> None:
        """Let parameters be followed while there is a form."""
        super().showEvent(a0)
        self._preview.add_row(self)

    def hideEvent(self, a0: QtGui.QHideEvent | None) -> None:
        """Let the preview end with the dock; another tab in front is no end."""
        super().hideEvent(a0)
        # Only afterwards is it known whether the dock was closed.
        QTimer.singleShot(0, self._preview.look_for_rows)

    def _on_told(self, stage: int, text: str, level: str) -> None:
        if stage != self._stage:
            return
        self._words.say(text, controls.label_style(level))
        if self._plot is not None and self._preview.stage != self._stage:
            self._plot.set_curve(None)

    def _on_shown(self, result: StagePreview) -> None:
        if self._plot is not None and result.stage == self._stage:
            self._plot.set_curve(result.curve)
