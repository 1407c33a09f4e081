"""The live preview: a parameter moves, and what its stage would find is shown.

Nothing is computed in the thread of the window, and a new value takes the place of the
one that is being worked on. What was found is a frozen `StagePreview`; its layers lie
on the world like those of a stage. Images are read and warped when somebody looks at
them, at full resolution for what is on screen.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Vectors
from numpy.typing import NDArray
from qtpy.QtCore import (
    QElapsedTimer,
    QObject,
    QPointF,
    QRectF,
    QSize,
    Qt,
    QTimer,
    Signal,
)
from qtpy.QtGui import (
    QColor,
    QHideEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
    QShowEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_exo2micro.core.base import CheckpointError, Monitor
from napari_exo2micro.core.images import (
    LazyImage,
    Transform,
    cropped_pyramid,
    mapped_frame,
    moved_levels,
    pyramid,
)
from napari_exo2micro.core.parameters import PARAMETER_REGISTRY, ParameterValue, State
from napari_exo2micro.core.photometry import (
    DEFAULT_SCALE,
    SCALE_METHODS,
    ScaleEstimate,
    difference_pyramid,
)
from napari_exo2micro.core.pipeline import SampleDye
from napari_exo2micro.core.preview import (
    BoundaryPreview,
    InteriorPreview,
    PreviewSource,
    RatioCurve,
    ScalePreview,
    open_source,
    preview_boundary,
    preview_interior,
    preview_scale,
    ratio_curve,
    stored_statistics,
)
from napari_exo2micro.plugin.layers.layers import (
    KEY,
    LayerSpec,
    about,
    find_layers,
    image_spec,
    place_layers,
    remove_layers,
)
from napari_exo2micro.plugin.layers.pair import Remembered
from napari_exo2micro.plugin.layers.sets import role
from napari_exo2micro.plugin.session.job import Job
from napari_exo2micro.plugin.session.session import Session, TaskSource
from napari_exo2micro.plugin.widgets.controls import (
    WordsLabel,
    check_box,
    column,
    delayed,
    label_style,
)
from napari_exo2micro.plugin.widgets.marks import scale_words
from napari_exo2micro.plugin.widgets.rows import with_titles

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
_STEPS = (1.0, 2.0, 5.0)
_LEVELS = {State.FELL_BACK: "warning", State.FAILED: "error"}
_BASIS = {
    "stage 4": "counted by stage 4 on every pixel",
    "every pixel": "counted on every pixel",
    "sample": "counted on windows from all over the section; stage 4 counts every "
    "pixel",
}


def preview_words(
    estimate: BoundaryPreview | InteriorPreview | ScalePreview,
) -> tuple[str, str]:
    """Return what a preview says, and how bad it is.

    Returns
    -------
    text : str
        One or two sentences.
    level : str
        Empty, ``'warning'`` or ``'error'``.
    """
    if isinstance(estimate, BoundaryPreview):
        words = _boundary(estimate)
    elif isinstance(estimate, InteriorPreview):
        words = _interior(estimate)
    else:
        words = _scale(estimate)
    return words, _LEVELS.get(estimate.verdict.state, "")


def _boundary(estimate: BoundaryPreview) -> str:
    if not estimate.method:
        return f"Nothing to align: {estimate.verdict.reason}."
    numbers = estimate.verdict.numbers
    parts = estimate.transform.decompose()
    words = f"Turn {parts['angle_deg']:.2f}°, magnification {parts['scale']:.4f}"
    if "shift_px" in numbers:
        words += f", shift {numbers['shift_px']:.0f} px"
    if parts["mirrored"]:
        words += ", mirrored"
    if estimate.verdict.state == State.FAILED:
        return f"Not trustworthy: {estimate.verdict.reason}. {words}."
    if estimate.verdict.state == State.FELL_BACK:
        return f"A lesser result: {estimate.verdict.reason}. {words}."
    accuracy = numbers.get("accuracy_px", -1.0)
    if accuracy >= 0:
        words += f"; good to about {accuracy:.2g} px"
    return f"{words}. The stage would find the same."


def _interior(estimate: InteriorPreview) -> str:
    verdict, numbers = estimate.verdict, estimate.verdict.numbers
    if verdict.state == State.SKIPPED:
        return f"Left out: {verdict.reason}."
    if not numbers:
        return f"Nothing to align: {verdict.reason}."
    counts = f"{numbers['n_inliers']:.0f} of {numbers['n_matches']:.0f} matches agree"
    size = "at full size"
    if estimate.reduction > 1:
        size = f"on images reduced {estimate.reduction:g} times"
    later = f"Estimated {size}; the stage refines it on small tiles at full size."
    if verdict.state == State.OK:
        moved = f"correction {numbers['correction_px']:.2g} px"
        return f"{counts}, {moved}. {later}"
    start = "Not trustworthy" if verdict.state == State.FAILED else "A lesser result"
    return f"{start}: {verdict.reason}. {later}"


def _scale(estimate: ScalePreview) -> str:
    scales = estimate.scales
    words = [_one(scales[method]) for method in SCALE_METHODS if method in scales]
    text = ", ".join(words)
    if estimate.verdict.state != State.OK:
        start = (
            "No scale" if estimate.verdict.state == State.FAILED else "A lesser scale"
        )
        text = f"{start}: {estimate.verdict.reason}" + (f"; {text}" if text else "")
    basis = _BASIS.get(estimate.basis, "")
    return f"{text}; {basis}." if basis else f"{text}."


def _one(scale: ScaleEstimate) -> str:
    """Return one scale with its error: ``Scale 1.3001 ± 0.0004 (Moffat fit)``."""
    name = SCALE_METHODS[scale.method].title
    if scale.percentile is not None:
        name += f" {scale.percentile:g}"
    words = scale_words(scale.scale, scale.uncertainty, name)
    return f"Scale {words}" if scale.method == DEFAULT_SCALE else words


def boundary_specs(
    source: PreviewSource, estimate: BoundaryPreview, known: Mapping[str, Any]
) -> list[LayerSpec]:
    """Return post, the aligned pre, both rings and both outlines, bottom first.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    estimate : BoundaryPreview
        What stage 2 would find.
    known : mapping
        For the metadata: sample, dye and parameters.
    """
    specs = _overlay(source, estimate.transform, known)
    offset = _offset(source)
    if estimate.post_ring is not None and estimate.pre_ring is not None:
        post, pre = (
            ring.values / max(float(ring.values.max()), 1e-6)
            for ring in (estimate.post_ring, estimate.pre_ring)
        )
        (step_x, step_y), (x, y) = estimate.post_ring.step, estimate.post_ring.origin
        specs.append(
            LayerSpec(
                np.clip(np.stack([pre, post, pre], axis=-1), 0.0, 1.0),
                {
                    "name": "preview: rings",
                    "rgb": True,
                    "blending": "additive",
                    "opacity": 0.25,
                    "interpolation2d": "linear",
                    "scale": (step_y, step_x),
                    "translate": (offset[0] + y, offset[1] + x),
                    "metadata": _metadata(known, "preview ring"),
                },
            )
        )
    lines = [
        _segments(outline, offset)
        for outline in (estimate.pre_outline or [], estimate.post_outline or [])
    ]
    if any(map(len, lines)):
        specs.append(
            _vectors(
                np.concatenate(lines),
                np.repeat([_rgba(_PRE), _rgba(_POST)], list(map(len, lines)), axis=0),
                "preview: outlines",
                _metadata(known, "preview outline"),
                edge_width=_line_width(source),
            )
        )
    return specs


def interior_specs(
    source: PreviewSource,
    estimate: InteriorPreview,
    initial: Transform,
    known: Mapping[str, Any],
) -> list[LayerSpec]:
    """Return post, the aligned pre and the matches, bottom first.

    A cross stands where post has a feature, and a line leads there from where the
    start puts pre's.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    estimate : InteriorPreview
        What stage 3 would find.
    initial : Transform
        What it started from, post to pre.
    known : mapping
        For the metadata.
    """
    specs = _overlay(source, estimate.transform, known)
    matches = estimate.matches
    if not len(matches.inliers):
        return specs
    step = -(-len(matches.inliers) // _MOST_MATCHES)
    # Those used come last: on top.
    order = np.argsort(matches.inliers, kind="stable")[::-1][::step][::-1]
    used = matches.inliers[order]
    post = matches.post_xy[order]
    way = post - initial.inverse()(matches.pre_xy[order])
    times = _enlargement(way[used] if used.any() else way, source)
    size = 3.0 * _line_width(source)
    arms = [np.broadcast_to(arm, way.shape) for arm in ((size, 0.0), (0.0, size))]
    begins = [post - times * way, *(post - arm / 2 for arm in arms)]
    vectors = np.stack(
        [
            np.concatenate(begins)[:, ::-1] + _offset(source),
            np.concatenate([times * way, *arms])[:, ::-1],
        ],
        axis=1,
    )
    words = "" if times == 1 else f", moves × {times:g}"
    specs.append(
        _vectors(
            vectors,
            np.tile(np.where(used[:, None], _rgba(_USED), _rgba(_UNUSED)), (3, 1)),
            f"preview: matches{words}",
            _metadata(known, "preview matches"),
            edge_width=_line_width(source) / 2,
        )
    )
    return specs


def scale_specs(
    source: PreviewSource,
    estimate: ScalePreview,
    method: str,
    aligned: Sequence[LazyImage] | None,
    known: Mapping[str, Any],
) -> list[LayerSpec]:
    """Return the difference under one scale.

    Parameters
    ----------
    source : PreviewSource
        The pair.
    estimate : ScalePreview
        What stage 4 would find.
    method : str
        Which of its scales is shown; nothing is when it has none of that name.
    aligned : sequence of LazyImage or None
        The aligned pre as stage 3 left it; None: it is warped as it is looked at.
    known : mapping
        For the metadata.
    """
    scale = estimate.scales.get(method)
    if scale is None:
        return []
    levels = difference_pyramid(
        source.levels("post"),
        aligned
        or moved_levels(
            source.levels("pre"), estimate.transform, interpolation="linear"
        ),
        scale=scale.scale,
        offset=scale.offset,
        post_frame=source.post_frame,
        pre_quad=mapped_frame(estimate.transform, source.pre_frame),
    )
    part = cropped_pyramid(levels, source.post_frame)
    words = f"preview: difference, scale {scale.scale:.4g}"
    return [_image(source, part, "difference", words, known)]


def _overlay(
    source: PreviewSource, transform: Transform, known: Mapping[str, Any]
) -> list[LayerSpec]:
    """Return post and the pre image on it as `transform` lays it."""
    post = source.keep(
        "shown post",
        None,
        lambda: cropped_pyramid(source.levels("post"), source.post_frame),
    )
    aligned = cropped_pyramid(
        moved_levels(source.levels("pre"), transform, interpolation="linear"),
        source.post_frame,
    )
    with_transform = {**known, "transform": transform.to_dict()}
    return [
        _image(source, post, "post", "preview: post", known),
        _image(source, aligned, "aligned", "preview: aligned pre", with_transform),
    ]


def _image(
    source: PreviewSource,
    levels: tuple[list[LazyImage], tuple[int, int]],
    look: str,
    name: str,
    known: Mapping[str, Any],
) -> LayerSpec:
    """Return an image as its role looks; its contrast is measured once."""
    part, (x, y) = levels
    first = source.keep(
        f"layer of {look}", None, lambda: image_spec(part, look, name=name, known={})
    )
    row, column = _offset(source)
    options = {
        **first.options,
        "name": name,
        "translate": (row + y, column + x),
        "metadata": _metadata({**first.about, **known}, f"preview {look}"),
    }
    return LayerSpec(part if len(part) > 1 else part[0], options)


def _metadata(known: Mapping[str, Any], role: str) -> dict[str, Any]:
    return {KEY: {**known, "role": role}}


def _offset(source: PreviewSource) -> tuple[float, float]:
    """Return where the canvas's first pixel lies in the world: (row, column)."""
    x0, y0 = source.post_frame[:2]
    return -float(y0), -float(x0)


def _line_width(source: PreviewSource) -> float:
    return max(source.post_frame[2:]) / 450


def _segments(
    lines: Sequence[NDArray[np.float64]], offset: tuple[float, float]
) -> NDArray[np.float64]:
    """Return lines (x, y) as vectors (N, 2, 2) from point to point, (row, column)."""
    parts = [np.empty((0, 2, 2))]
    total = sum(len(line) for line in lines)
    step = max(1, -(-total // _MOST_SEGMENTS))
    for line in lines:
        # The last point closes the outline.
        points = np.vstack([line[:-1:step], line[-1:]])[:, ::-1] + offset
        parts.append(np.stack([points[:-1], np.diff(points, axis=0)], axis=1))
    return np.concatenate(parts)


def _vectors(
    vectors: NDArray[np.float64],
    colours: NDArray[np.float64],
    name: str,
    metadata: dict[str, Any],
    **options: Any,
) -> LayerSpec:
    options = {
        "name": name,
        "metadata": metadata,
        "edge_color": colours,
        "vector_style": "line",
        **options,
    }
    return LayerSpec(vectors, options, "vectors")


def _rgba(colour: str) -> NDArray[np.float64]:
    """Return red, green, blue and opacity of a colour such as #ff0000, 0 to 1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.array([*parts, 1.0])


def _enlargement(way: NDArray[np.float64], source: PreviewSource) -> float:
    """Return by how much to draw moves longer: a round number, 1 for noise."""
    typical = float(np.median(np.linalg.norm(way, axis=1)))
    wanted = _VISIBLE * max(source.post_frame[2:]) / max(typical, 1e-6)
    if typical < _NOISE or wanted <= 1:
        return 1.0
    power = 10 ** math.floor(math.log10(wanted))
    return float(
        min(max(n for n in (1, 2, 5) if n * power <= wanted) * power, _LONGEST)
    )


@dataclass(frozen=True, slots=True)
class StagePreview:
    """A preview, ready to be shown.

    Attributes
    ----------
    stage : int
        Whose preview it is.
    source : PreviewSource
        The pair.
    estimate : BoundaryPreview, InteriorPreview or ScalePreview
        What the stage would find.
    specs : list of LayerSpec
        Its layers, bottom first.
    sample, dye : str
        Whose pair it is.
    curve : RatioCurve or None
        The ratio post/pre with the scales, of stage 4.
    """

    stage: int
    source: PreviewSource
    estimate: BoundaryPreview | InteriorPreview | ScalePreview
    specs: list[LayerSpec]
    sample: str
    dye: str
    curve: RatioCurve | None = None


def make_preview(
    tasks: TaskSource,
    params: Mapping[str, ParameterValue],
    stage: int,
    known: PreviewSource | None,
    scale: str,
    monitor: Monitor,
    send: Callable[[PreviewSource], None],
) -> StagePreview:
    """Return what a stage would find and the layers that show it.

    Stages before it are taken from disk where they are valid for these parameters,
    otherwise from their own previews.

    Parameters
    ----------
    tasks : TaskSource
        The sample and dye.
    params : mapping
        All parameters.
    stage : {2, 3, 4}
        Which one.
    known : PreviewSource or None
        Of the preview before; used again for the same images.
    scale : str
        The scale whose difference is shown, where there is one.
    monitor : Monitor
        Told the fraction done; may stop the work.
    send : callable
        Takes the pair as soon as it is opened.
    """
    monitor.report(0.0, "opening the images")
    task = tasks.task(params)
    source = open_source(task, known)
    send(source)
    about = {
        "sample": task.sample,
        "dye": task.dye,
        "stage": stage,
        "parameters": dict(params),
    }
    estimate: BoundaryPreview | InteriorPreview | ScalePreview
    curve = None
    if stage == 2:
        estimate = preview_boundary(source, params, monitor)
        specs = boundary_specs(source, estimate, about)
    elif stage == 3:
        initial = _boundary_transform(task, source, params, monitor.part(0.0, 0.5))
        estimate = preview_interior(source, initial, params, monitor.part(0.5, 1.0))
        specs = interior_specs(source, estimate, initial, about)
    else:
        transform, aligned = _aligned(task, source, params, monitor.part(0.0, 0.6))
        estimate = preview_scale(
            source,
            transform,
            params,
            statistics=None if aligned is None else stored_statistics(task, source),
            monitor=monitor.part(0.6, 1.0),
        )
        specs = scale_specs(
            source, estimate, _shown_scale(estimate, scale), aligned, about
        )
        curve = ratio_curve(source, estimate)
    monitor.report(1.0, "preview ready")
    _warm_up()
    return StagePreview(stage, source, estimate, specs, task.sample, task.dye, curve)


@functools.cache
def _warm_up() -> None:
    """Have napari load here, and not in the window, what its first lines need."""
    Vectors(np.zeros((1, 2, 2)))


def _shown_scale(estimate: ScalePreview, wanted: str) -> str:
    """Return whose difference is shown: by hand before percentile before Moffat."""
    order = (wanted, "manual", "percentile", *reversed(list(SCALE_METHODS)))
    return next((n for n in order if n in estimate.scales), DEFAULT_SCALE)


def _boundary_transform(
    task: SampleDye,
    source: PreviewSource,
    params: Mapping[str, ParameterValue],
    monitor: Monitor,
) -> Transform:
    """Return the map of stage 2 from disk, or that of its preview."""
    try:
        return task.transform(2)
    except CheckpointError:
        pass
    own = _own(params, 2)
    estimate = source.keep(
        "preview of stage 2", own, lambda: preview_boundary(source, own, monitor)
    )
    return estimate.transform


def _aligned(
    task: SampleDye,
    source: PreviewSource,
    params: Mapping[str, ParameterValue],
    monitor: Monitor,
) -> tuple[Transform, list[LazyImage] | None]:
    """Return the map of stage 3 and its image, or that of its preview alone."""
    stored = task.checkpoint(3, "pre")
    if stored is not None and stored.provenance and stored.provenance.transform:
        return stored.provenance.transform, pyramid(stored.image)
    initial = _boundary_transform(task, source, params, monitor.part(0.0, 0.5))
    own = _own(params, 3)
    estimate = source.keep(
        "preview of stage 3",
        (initial, own),
        lambda: preview_interior(source, initial, own, monitor.part(0.5, 1.0)),
    )
    return estimate.transform, None


def _own(params: Mapping[str, ParameterValue], stage: int) -> dict[str, Any]:
    """Return the parameters of one stage."""
    own = (p.name for p in PARAMETER_REGISTRY.values() if p.stage == stage)
    return {name: params[name] for name in own if name in params}


def _scale_of(name: str) -> str:
    """Return whose difference a person looks at who changes this parameter."""
    if name == "offset_correction":
        return DEFAULT_SCALE
    of = (m.name for m in SCALE_METHODS.values() if m.parameter == name)
    return next(of, "")


class LivePreview(QObject):
    """Shows what the stage in front would find; get it with `LivePreview.of`.

    Parameters
    ----------
    session : Session
        Whose parameters are followed.

    Attributes
    ----------
    switched : Signal(bool)
        The preview was switched on or off.
    told : Signal(int, str, str)
        Stage, what its preview says, and the level: empty, ``'warning'`` or
        ``'error'``.
    shown : Signal(object)
        A `StagePreview` whose layers are in the viewer now.
    """

    switched = Signal(bool)
    told = Signal(int, str, str)
    shown = Signal(object)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._is_on = True
        self._stage = 0
        self._shows = False  # whether the next one is shown, or only gets ready
        self._job: Job | None = None
        self._begun = QElapsedTimer()
        self._source: PreviewSource | None = None
        self._scale = ""
        self._rows: weakref.WeakSet[QWidget] = weakref.WeakSet()
        self._has_form = True
        self._run_with: dict[str, Any] = {}
        self._others: Remembered | None = None  # layers that gave way to a preview
        self._words = dict.fromkeys(PREVIEWED, (_IDLE, ""))
        self._latest: StagePreview | None = None
        self._waiting: list[LayerSpec] = []
        self._turn = delayed(self, self._place)
        self._pause = delayed(self, self._start)
        session.params_changed.connect(self._on_params)
        session.stage_shown.connect(self._on_stage)
        session.source_changed.connect(self._on_source)
        session.results_changed.connect(self._on_results)
        session.jobs.busy_changed.connect(self._on_busy)

    @classmethod
    def of(cls, session: Session) -> LivePreview:
        """Return the preview of a session, made when it is first asked for."""
        estimate = session.findChild(cls)
        return estimate if isinstance(estimate, cls) else cls(session)

    @property
    def is_on(self) -> bool:
        """Whether parameters are followed."""
        return self._is_on

    @property
    def stage(self) -> int:
        """The stage whose preview is shown; 0 when none is."""
        return self._stage

    @property
    def is_ready(self) -> bool:
        """Whether the pair is opened, so that a preview need not wait for it."""
        return self._source is not None

    def words(self, stage: int) -> tuple[str, str]:
        """Return what was told of a stage last: text and level."""
        return self._words.get(stage, ("", ""))

    def add_row(self, row: QWidget) -> None:
        """Have the preview end when the last of the rows with its tick box is gone.

        Parameters
        ----------
        row : QWidget
            Calls `look_for_rows` when it is hidden.
        """
        self._rows.add(row)
        self._has_form = True

    def look_for_rows(self) -> None:
        """Take the preview away when no row is in a window any more."""
        self._has_form = any(_is_in_a_window(row) for row in list(self._rows))
        if not self._has_form:
            self.clear()

    def switch(self, on: bool) -> None:
        """Follow parameters, or stop it and take the preview away."""
        if on == self._is_on:
            return
        self._is_on = on
        self.switched.emit(on)
        if on:
            self.refresh()
        else:
            self.clear()

    def refresh(self) -> None:
        """Preview the stage in front with the present parameters."""
        stage, is_busy = self._session.shown_stage, self._session.jobs.is_busy
        if self._is_on and self._has_form and stage in PREVIEWED and not is_busy:
            self._shows = True
            self._pause.start(_PAUSE)

    def prepare(self) -> None:
        """Read in the background what the first preview needs, and show nothing."""
        stage = self._session.shown_stage
        if self._shows and (self._pause.isActive() or self._is_working):
            return  # one that is to be shown is on its way
        is_free = self._is_on and not self._stage and self._has_form
        if is_free and stage in PREVIEWED:
            self._shows = False
            self._pause.start(_BEFOREHAND)

    def clear(self) -> None:
        """Take the preview away, and show again what it had hidden."""
        self._pause.stop()
        self._turn.stop()
        self._cancel()
        self._waiting.clear()
        self._latest, self._stage = None, 0
        for stage in PREVIEWED:
            self._tell(stage, _IDLE if self._is_on else "", "")
        with contextlib.suppress(RuntimeError):  # the viewer was closed
            viewer = self._session.viewer
            remove_layers(viewer, "preview ")
        others, self._others = self._others, None
        if others is not None:
            others.restore()

    # What happens in the session ---------------------------------------------------

    def _on_params(self, names: tuple[str, ...]) -> None:
        self._scale = next(filter(None, map(_scale_of, names)), self._scale)
        if self._matter(names):
            self.refresh()

    def _matter(self, names: Iterable[str]) -> bool:
        """Return whether the stage in front rests on one of these parameters."""
        stage = self._session.shown_stage
        known = [PARAMETER_REGISTRY[n] for n in names if n in PARAMETER_REGISTRY]
        return any(parameter.stage <= stage for parameter in known)

    def _on_stage(self, number: int) -> None:
        if self._stage and number in PREVIEWED:
            self.refresh()
        elif self._stage:
            self.clear()  # the form in front has no preview
        else:
            self.prepare()

    def _on_source(self) -> None:
        self._source = None
        self.clear()
        self.prepare()

    def _on_busy(self, busy: bool) -> None:
        # The run shows its own layers; the preview would be of files that change.
        params = self._session.params
        if busy:
            self._run_with = params
            self.clear()
            return
        old = self._run_with
        changed = [name for name in params if params[name] != old.get(name)]
        if self._matter(changed):
            self.refresh()  # the run does not show what was chosen meanwhile
        else:
            self.prepare()

    def _on_results(self, _stage: int) -> None:
        if self._stage:
            self.clear()

    # Work ----------------------------------------------------------------------------

    def _start(self) -> None:
        session, stage = self._session, self._session.shown_stage
        if not (self._is_on and session.has_source) or session.jobs.is_busy:
            return
        if stage not in PREVIEWED:
            return
        shows = self._shows
        self._begun.start()
        with contextlib.suppress(RuntimeError):  # everything was closed meanwhile
            self._job = session.jobs.start(
                make_preview,
                title=f"preview of stage {stage}",
                on_sent=self._keep,
                on_result=self._show if shows else None,
                on_error=functools.partial(self._on_error, stage if shows else 0),
                on_progress=functools.partial(self._on_progress, stage)
                if shows
                else None,
                newest="preview",
                show_progress=False,
                tasks=session.task_source(),
                params=session.params,
                stage=stage,
                known=self._source,
                scale=self._scale,
            )

    @property
    def _is_working(self) -> bool:
        return self._job is not None and self._job.is_running

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._job = None

    def _on_progress(self, stage: int, _fraction: float, text: str) -> None:
        if self._is_working and self._begun.hasExpired(_LONG):
            self._tell(stage, f"Preview: {text} …", "")

    def _on_error(self, stage: int, text: str) -> None:
        if stage:  # what only gets ready says nothing
            self._tell(stage, with_titles(text), "error")

    def _keep(self, source: PreviewSource) -> None:
        # Also of a preview that is cancelled later: what it has read is kept.
        self._source = source

    def _show(self, preview: StagePreview) -> None:
        viewer, pair = self._session.viewer, (preview.sample, preview.dye)
        self._make_room(viewer, *pair, with_post=preview.stage != 4)
        self._stage = preview.stage
        self._latest = preview
        self._waiting = list(preview.specs)
        if find_layers(viewer, "post", *pair):  # the pair's own will do
            self._waiting = [
                s for s in preview.specs if s.about["role"] != "preview post"
            ]
        roles = [spec.about["role"] for spec in self._waiting]
        for layer in find_layers(viewer, "preview "):
            if role(layer) not in roles:
                viewer.layers.remove(layer)
        self._place()

    def _place(self) -> None:
        """Place the layers that wait; after a new one the window has its turn."""
        preview = self._latest
        if preview is None:
            return
        try:
            viewer = self._session.viewer
        except RuntimeError:  # it was closed
            return
        while self._waiting:
            count, active = len(viewer.layers), viewer.layers.selection.active
            (layer,) = place_layers(viewer, [self._waiting.pop(0)])
            if not count:
                viewer.reset_view()
            viewer.layers.selection.active = active if count else layer
            if len(viewer.layers) > count and self._waiting:
                self._turn.start(0)
                return
        text, level = preview_words(preview.estimate)
        self._tell(preview.stage, with_titles(text), level)
        self.shown.emit(preview)

    def _tell(self, stage: int, text: str, level: str) -> None:
        self._words[stage] = (text, level)
        self.told.emit(stage, text, level)

    def _make_room(
        self, viewer: ViewerModel, sample: str, dye: str, *, with_post: bool
    ) -> None:
        """Hide this pair's other layers, but for post: pictures would mix."""
        if self._others is not None:
            return
        self._others = Remembered(viewer)
        for layer in find_layers(viewer, None, sample, dye, apart=None):
            is_post = role(layer) == "post" and not about(layer).get("apart")
            self._others.set(layer, visible=is_post and with_post)


def _is_in_a_window(row: QWidget) -> bool:
    """Return whether a row is part of a window that a person sees."""
    try:
        window = row.window()
        return window is not None and window.isVisible()
    except RuntimeError:  # Qt has deleted it
        return False


class ScaleLinePlot(QWidget):
    """Draws how often each ratio post/pre occurs, and where the scales lie."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scale_line")
        self.setAccessibleName("Distribution of post/pre with the scales")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "How often each ratio post/pre occurs among the pixels, with a line for "
            "each scale. Minerals make the peak: a good scale stands on it. Microbes "
            "lie to the right."
        )
        self._curve: RatioCurve | None = None

    @property
    def curve(self) -> RatioCurve | None:
        """What is drawn; None when there is nothing."""
        return self._curve

    def set_curve(self, curve: RatioCurve | None) -> None:
        """Draw something else; without anything to draw the widget is hidden."""
        self._curve = curve
        self.setVisible(curve is not None)
        self.update()

    def sizeHint(self) -> QSize:
        """Return the size that the widget would like to have."""
        return QSize(260, _HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Return the least useful size."""
        return QSize(120, _HEIGHT)

    def paintEvent(self, _event: QPaintEvent | None) -> None:
        """Draw the distribution, the axis and the lines."""
        painter = QPainter(self)
        font = painter.font()
        font.setPointSizeF(0.85 * font.pointSizeF())
        painter.setFont(font)
        metrics = painter.fontMetrics()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(_BACKGROUND))
        curve = self._curve
        if curve is None:
            return
        line_height = metrics.height()
        area = QRectF(self.rect()).adjusted(
            _MARGIN, line_height + 4, -_MARGIN, -line_height - 4
        )
        low, high = float(curve.edges[0]), float(curve.edges[-1])

        def across(log_ratio: float) -> float:
            return area.left() + (log_ratio - low) / (high - low) * area.width()

        self._draw_counts(painter, curve, area)
        self._draw_axis(painter, (low, high), area, across)
        end = float(_MARGIN)
        for line in curve.lines:
            colour = QColor(line.colour)
            painter.setPen(QPen(colour, 2))
            x = across(math.log10(line.scale))
            painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
            text = f"{line.words}: {line.scale:.4g}"
            painter.drawText(QPointF(end, _MARGIN + metrics.ascent()), text)
            end += metrics.horizontalAdvance(text) + 12

    def _draw_counts(self, painter: QPainter, curve: RatioCurve, area: QRectF) -> None:
        highest = max(float(curve.counts.max()), 1e-12)
        x = np.linspace(area.left(), area.right(), len(curve.counts))
        y = area.bottom() - curve.counts / highest * area.height()
        points = [QPointF(area.left(), area.bottom())]
        points += [QPointF(float(a), float(b)) for a, b in zip(x, y, strict=True)]
        points.append(QPointF(area.right(), area.bottom()))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(_FILL))
        painter.drawPolygon(QPolygonF(points))

    def _draw_axis(
        self,
        painter: QPainter,
        limits: tuple[float, float],
        area: QRectF,
        across: object,
    ) -> None:
        assert callable(across)
        painter.setPen(QColor(_TEXT))
        metrics = painter.fontMetrics()
        bottom = self.height() - _MARGIN
        free = -math.inf
        for ratio in _ticks(*limits):
            text = f"{ratio:g}"
            width = metrics.horizontalAdvance(text)
            left = across(math.log10(ratio)) - width / 2
            if left < max(free, area.left()) or left + width > area.right():
                continue
            painter.drawText(QPointF(left, bottom), text)
            free = left + width + 10
        painter.drawLine(area.bottomLeft(), area.bottomRight())


def _ticks(low: float, high: float) -> list[float]:
    """Return round ratios between two log10 ratios, about five of them."""
    first, last = 10**low, 10**high
    if last / first > 20:
        decades = range(math.floor(low), math.ceil(high) + 1)
        return [
            s * 10.0**d for d in decades for s in _STEPS if first <= s * 10.0**d <= last
        ]
    power = 10 ** math.floor(math.log10((last - first) / 5))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= (last - first) / 5)
    start, end = math.ceil(first / step), math.floor(last / step)
    return [float(f"{n * step:.6g}") for n in range(start, end + 1) if n > 0]


class PreviewRow(QWidget):
    """Switches the live preview; stage 4 also draws the ratio with its scales.

    Parameters
    ----------
    session : Session
        Whose preview it is; all rows of a session switch together.
    stage : {2, 3, 4}
        Whose words are shown.
    """

    def __init__(
        self, session: Session, stage: int, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"preview_row_{stage}")
        self._stage = stage
        self._preview = LivePreview.of(session)
        self._box = check_box(
            self,
            "live_preview",
            "Live preview",
            "Show what this stage would find while its parameters change. Nothing is "
            "written: run the stage to keep the result.",
            on=self._preview.is_on,
        )
        self._words = WordsLabel("preview_words", self)
        layout = column(self._box, self._words, parent=self, margin=0)
        layout.setSpacing(2)
        self._plot: ScaleLinePlot | None = None
        if stage == 4:
            self._plot = ScaleLinePlot(self)
            self._plot.set_curve(None)
            layout.addWidget(self._plot)
        self._box.toggled.connect(self._preview.switch)
        self._preview.switched.connect(self._box.setChecked)
        self._preview.told.connect(self._on_told)
        self._preview.shown.connect(self._on_shown)
        self._on_told(stage, *self._preview.words(stage))

    def showEvent(self, a0: QShowEvent | None) -> None:
        """Let parameters be followed while there is a form."""
        super().showEvent(a0)
        self._preview.add_row(self)

    def hideEvent(self, a0: QHideEvent | None) -> None:
        """Let the preview end with the dock; another tab in front is no end."""
        super().hideEvent(a0)
        # Only afterwards is it known whether the dock was closed.
        QTimer.singleShot(0, self._preview.look_for_rows)

    def _on_told(self, stage: int, text: str, level: str) -> None:
        if stage != self._stage:
            return
        self._words.say(text, label_style(level) if level else "")
        if self._plot is not None and self._preview.stage != self._stage:
            self._plot.set_curve(None)

    def _on_shown(self, preview: StagePreview) -> None:
        if self._plot is not None and preview.stage == self._stage:
            self._plot.set_curve(preview.curve)
