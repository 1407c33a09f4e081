"""What the camera saw at a size that stage 2 can afford, and where the section lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold, threshold_otsu
from skimage.measure import find_contours

from napari_exo2micro.core.base import Monitor, RegistrationError
from napari_exo2micro.core.images import (
    Frame,
    ImageLike,
    LazyImage,
    Raster,
    Transform,
    raster,
)
from napari_exo2micro.core.images.lazy import cropped

#: A frame with a shorter side than this holds nothing that could be compared.
SMALLEST_SIDE = 16

_MAX_CONTOUR_POINTS = 6000
#: Debris: a brightness of that part of the highest, on so much of the image, in so many
#: fragments of so many px each; what lies so many px around them is left out, too.
_SATURATED, _LEAST_DEBRIS, _MOST_DEBRIS = 0.99, 1e-3, 0.5
_FRAGMENTS, _FRAGMENT, _AROUND_DEBRIS = 20, 100, 2
#: Pieces of the mask smaller than this part of the largest one are dropped.
_SIGNIFICANT = 0.03
#: Gaps up to this part of the section's size (root of its area) are closed.
_CLOSING = 0.02


@dataclass(frozen=True, slots=True)
class View:
    """One image, cut to its frame and reduced by area averaging.

    Attributes
    ----------
    image : ndarray, shape (rows, columns), float32
        Brightness; 0 where nothing is known.
    valid : ndarray, shape (rows, columns), bool
        Where the camera saw something.
    to_full : Transform
        From points of this view to full-resolution px of the canvas.
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    to_full: Transform

    @property
    def factor(self) -> float:
        """Full-resolution px per px of this view."""
        return float(math.sqrt(abs(np.linalg.det(self.to_full.matrix[:2, :2]))))

    @property
    def centre(self) -> NDArray[np.float64]:
        """Middle (x, y) of the view, full-resolution px, shape (2,)."""
        rows, columns = self.image.shape
        middle = np.array([[(columns - 1) / 2, (rows - 1) / 2]])
        return self.to_full(middle).reshape(2)

    def reduced(self, max_side: int) -> View:
        """Return this view with its longer side at most `max_side` px."""
        rows, columns = self.image.shape
        ratio = max(rows, columns) / max_side
        if ratio <= 1.0:
            return self
        size = (max(1, round(columns / ratio)), max(1, round(rows / ratio)))
        weight = shrunk(self.valid, size)
        image = shrunk(self.image, size)
        valid = weight > 0.5
        # Pixels that are only partly inside the frame keep the brightness of
        # the part that was seen.
        image = np.where(valid, image / np.maximum(weight, 0.5), 0.0)
        fx, fy = columns / size[0], rows / size[1]
        into = np.array([[fx, 0, 0.5 * fx - 0.5], [0, fy, 0.5 * fy - 0.5], [0, 0, 1]])
        return View(image.astype(np.float32), valid, self.to_full @ Transform(into))


def shrunk(values: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return area averages on a grid of `size` (columns, rows)."""
    averages = cv2.resize(
        values.astype(np.float32, copy=False), size, interpolation=cv2.INTER_AREA
    )
    return np.asarray(averages, np.float32)


def between(post: View, pre: View, transform: Transform) -> Transform:
    """Return a full-resolution transform as one between points of two views."""
    return pre.to_full.inverse() @ transform @ post.to_full


def on_canvas(post: View, pre: View, small: Transform) -> Transform:
    """Return a transform between points of two views as one at full resolution."""
    return pre.to_full @ small @ post.to_full.inverse()


def find_frame(image: ImageLike, monitor: Monitor | None = None) -> Frame:
    """Return the bounding box of what is not zero: x0, y0, width, height, px."""
    monitor = monitor or Monitor()
    hit_rows = np.zeros(image.shape[0], bool)
    hit_columns = np.zeros(image.shape[1], bool)
    for y0, y1 in raster.bands(image.shape):
        monitor.check()
        seen = np.asarray(image[y0:y1, :]) != 0
        hit_rows[y0:y1] = seen.any(axis=1)
        hit_columns |= seen.any(axis=0)
    y, x = np.flatnonzero(hit_rows), np.flatnonzero(hit_columns)
    if not len(y):
        raise RegistrationError(
            "registration needs two images with a section; one of them is zero "
            "everywhere; check the raw file and its signal channel"
        )
    return int(x[0]), int(y[0]), int(x[-1] - x[0] + 1), int(y[-1] - y[0] + 1)


def checked_frame(
    image: ImageLike, frame: Frame | None, name: str, monitor: Monitor | None = None
) -> Frame:
    """Return a frame that lies in the image, or an error; None: what is not zero."""
    if frame is None:
        return find_frame(image, monitor)
    x0, y0, width, height = map(int, frame)
    rows, columns = image.shape
    beyond = x0 + width > columns or y0 + height > rows
    if beyond or min(x0, y0) < 0 or min(width, height) < 1:
        raise RegistrationError(
            f"the {name}-stain frame {(x0, y0, width, height)} does not lie inside its "
            f"image of {columns} x {rows} px; give x0, y0, width, height as stage 1 "
            "tells them"
        )
    return x0, y0, width, height


def open_view(image: ImageLike, frame: Frame | None, max_side: int, name: str) -> View:
    """Return the part of a padded canvas that the camera saw, `max_side` px at most.

    That is the frame, or what is not zero; `name` ('post', 'pre') is for messages.
    """
    if len(image.shape) != 2:
        raise RegistrationError(
            f"registration needs 2-D images; the {name}-stain image has the shape "
            f"{tuple(image.shape)}; choose one channel"
        )
    frame = checked_frame(image, frame, name)
    width, height = frame[2:]
    if min(width, height) < SMALLEST_SIDE:
        raise RegistrationError(
            f"registration needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} px; the "
            f"{name}-stain image has {width} x {height} px; check the raw file"
        )
    factor = max(1, math.ceil(max(width, height) / max_side))
    if factor >= 8:
        # A multiple of 4 lets the levels of an image on disk be used.
        factor = -(-factor // 4) * 4
    crop, left, top = whole_blocks(image, frame, factor)
    debris = find_debris(crop, factor)
    valid = np.isfinite(crop)
    if debris is not None:
        valid &= ~debris[0]
    seen = crop[valid]
    if not seen.size or not float(seen.max()) > float(seen.min()):
        raise RegistrationError(
            f"registration needs an image with a section; the {name}-stain image "
            f"has the same value everywhere inside its frame of {width} x {height} "
            "px; check the raw file and its signal channel"
        )
    # p = (small + 0.5) factor - 0.5: the rule of area averaging.
    shift = 0.5 * factor - 0.5
    x, y = left * factor + shift, top * factor + shift
    to_full = Transform(np.array([[factor, 0, x], [0, factor, y], [0, 0, 1.0]]))
    return View(np.where(valid, crop, np.float32(0.0)), valid, to_full)


def whole_blocks(
    image: ImageLike, frame: Frame, factor: int
) -> tuple[NDArray[np.float32], int, int]:
    """Return the means of `factor` x `factor` px that lie wholly in the frame.

    So no padding darkens them. With the column and row of the first one.
    """
    x0, y0, width, height = frame
    left, top = -(-x0 // factor), -(-y0 // factor)
    right = max((x0 + width) // factor, left + 1)
    bottom = max((y0 + height) // factor, top + 1)
    if isinstance(image, Raster):
        whole, _ = raster.reduce_image(image, factor=factor)
        return np.ascontiguousarray(whole[top:bottom, left:right]), left, top
    first, end = (top * factor, left * factor), (bottom * factor, right * factor)
    part: ImageLike
    if isinstance(image, LazyImage):  # read by bands
        inside = (
            min(stop, side) - start
            for start, stop, side in zip(first, end, image.shape, strict=True)
        )
        part = cropped(image, first, (next(inside), next(inside)))
    else:
        part = image[first[0] : end[0], first[1] : end[1]]
    return raster.reduce_image(part, factor=factor)[0], left, top


def find_debris(
    blocks: NDArray[np.float32], factor: int
) -> tuple[NDArray[np.bool_], float] | None:
    """Return where a reduced image shows saturated debris, and from which grey level.

    Fragments of something that outshines the section lie elsewhere after staining:
    they are no part of what is compared. None where there are few, or where the
    section itself is nearly as bright.
    """
    seen = np.isfinite(blocks)
    top = float(blocks[seen].max()) if seen.any() else 0.0
    flat = seen & (blocks >= _SATURATED * top)
    share = float(flat.sum()) / max(float(seen.sum()), 1.0)
    if not _LEAST_DEBRIS < share < _MOST_DEBRIS:
        return None
    _, _, boxes, _ = cv2.connectedComponentsWithStats(flat.astype(np.uint8))
    sizes = np.asarray(boxes)[1:, cv2.CC_STAT_AREA] * factor**2
    if np.count_nonzero(sizes >= _FRAGMENT) < _FRAGMENTS:
        return None
    square = np.ones((2 * _AROUND_DEBRIS + 1, 2 * _AROUND_DEBRIS + 1), np.uint8)
    around = cv2.dilate(flat.astype(np.uint8), square) > 0
    rest = blocks[seen & ~around]
    if not rest.size or float(np.percentile(rest, 99.5)) > 0.5 * top:
        return None
    return around, 0.75 * top


def filled(pixels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return pixels with the nearest known one in place of NaN, and which are known."""
    known = np.isfinite(pixels)
    if known.all():
        return pixels, known
    if not known.any():
        return np.zeros_like(pixels), known
    return pixels[_nearest(known)], known


def _nearest(known: NDArray[np.bool_]) -> tuple[NDArray[np.intp], ...]:
    """Return for each pixel the place of the nearest known one."""
    return tuple(
        ndimage.distance_transform_edt(
            ~known, return_distances=False, return_indices=True
        )
    )


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """Where the rock section lies in a view.

    Attributes
    ----------
    mask : ndarray, shape (rows, columns), bool
        The section, its holes filled.
    contour : ndarray, shape (N, 2), float64
        Points (x, y) on its outline, px of the view, about evenly spaced;
        without the parts where the frame cuts the section.
    distance : ndarray, shape (rows, columns), float32
        To the outline, px of the view, positive inside.
    cut_fraction : float
        Part of the mask's outline that lies on the frame, 0 to 1.
    area_fraction : float
        Part of the frame that the section covers, 0 to 1.
    """

    view: View
    mask: NDArray[np.bool_]
    contour: NDArray[np.float64]
    distance: NDArray[np.float32]
    cut_fraction: float
    area_fraction: float

    def distance_on(self, view: View) -> NDArray[np.float32]:
        """Return `distance`, still in px of its own view, on the grid of another."""
        rows, columns = view.image.shape
        return shrunk(self.distance, (columns, rows))

    @property
    def trusted(self) -> bool:
        """Whether there is enough outline to be compared."""
        return (
            len(self.contour) >= 50
            and self.cut_fraction < 0.25
            and 0.005 < self.area_fraction < 0.9
        )


def find_section(view: View) -> Section:
    """Find the section by its brightness and its texture, at about 1000 px.

    Notes
    -----
    Brightness above a smooth background and local texture energy each are taken
    in units of their own noise, added on logarithmic scales and divided by
    Otsu's threshold [1]_; gaps are closed in proportion to the section's size.

    References
    ----------
    .. [1] N. Otsu, "A threshold selection method from gray-level histograms",
       IEEE Trans. SMC 9, 1979. :doi:`10.1109/TSMC.1979.4310076`
    """
    valid = view.valid
    smooth = masked_blur(view.image, valid, 1.5)
    texture = _texture_energy(view.image, valid)
    mask = _threshold(_evidence(smooth, texture, valid, None), valid)
    # A second look, over the background that the first one left.
    around = cv2.dilate(mask.astype(np.uint8), np.ones((17, 17), np.uint8))
    glass = valid & (around == 0)
    if np.count_nonzero(glass) > 0.02 * np.count_nonzero(valid):
        evidence = _evidence(smooth, texture, valid, glass)
        mask = _threshold(evidence, valid)
    mask = _tidy(mask, valid)
    distance, cut = _signed_distance(mask, valid)
    area = float(mask.sum()) / max(float(valid.sum()), 1.0)
    return Section(view, mask, _contour(mask, valid), distance, cut, area)


def masked_blur(
    image: NDArray[np.float32], valid: NDArray[np.bool_], sigma: float
) -> NDArray[np.float32]:
    """Return a Gaussian mean over what is valid."""
    total = cv2.GaussianBlur(np.where(valid, image, np.float32(0)), (0, 0), sigma)
    if not valid.all():
        weight = cv2.GaussianBlur(valid.astype(np.float32), (0, 0), sigma)
        total = total / np.maximum(weight, np.float32(1e-3))
    return np.asarray(total, np.float32)


def _texture_energy(
    image: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the local standard deviation of fine structure."""
    fine = np.where(valid, image - masked_blur(image, valid, 3.0), np.float32(0))
    # One bright microbe or hot pixel is not texture.
    spread = float(np.median(np.abs(fine[valid]))) + 1e-12
    limit = 12.0 * spread
    fine = np.clip(fine, -limit, limit)
    return np.asarray(np.sqrt(masked_blur(fine * fine, valid, 3.0)), np.float32)


def _evidence(
    smooth: NDArray[np.float32],
    texture: NDArray[np.float32],
    valid: NDArray[np.bool_],
    glass: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """Return brightness and texture on logarithmic scales, added."""
    if glass is None:
        above = smooth - np.float32(_percentile(smooth, valid, 2))
        noise = max(_percentile(above, valid, 10), 1e-6)
        calm = max(_percentile(texture, valid, 5), 1e-6)
    else:
        above = smooth - _surface(smooth, glass)
        noise = 1.4826 * _percentile(np.abs(above), glass, 50)
        calm = _percentile(texture, glass, 50)
    span = _percentile(above, valid, 99)
    noise = max(noise, 0.01 * span, 1e-12)
    calm = max(calm, 0.01 * _percentile(texture, valid, 99), 1e-12)
    light = np.log1p(np.clip(above / noise, 0.0, None))
    grain = np.log(np.maximum(texture / calm, 1.0))
    top_light = max(_percentile(light, valid, 95), 0.7)
    top_grain = max(_percentile(grain, valid, 95), 0.7)
    total = light / top_light + 0.7 * grain / top_grain
    return np.where(valid, total, 0.0).astype(np.float32)


def _percentile(
    values: NDArray[np.float32], where: NDArray[np.bool_], percentage: float
) -> float:
    sample = values[where]
    return float(np.percentile(sample[:: max(1, sample.size // 100_000)], percentage))


def _surface(
    values: NDArray[np.float32], where: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Return the quadratic surface through the darker part of some pixels."""
    rows, columns = values.shape
    y, x = np.nonzero(where)
    step = max(1, len(y) // 20_000)
    y, x = y[::step], x[::step]

    target = values[y, x].astype(float)
    u, v = 2 * x.astype(float) / columns - 1, 2 * y.astype(float) / rows - 1
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=-1)
    weight = np.ones(len(target))
    for _ in range(5):
        ridge = 1e-3 * len(target) * np.diag([0.0, 0, 0, 1, 1, 1])
        normal = basis.T @ (basis * weight[:, None]) + ridge
        solution = np.linalg.lstsq(normal, basis.T @ (weight * target), rcond=None)[0]
        gap = target - basis @ solution
        sigma = 1.4826 * float(np.median(np.abs(gap))) + 1e-12
        # What sticks out above is section that the first look missed.
        weight = np.where(gap > 0, 1.0 / (1.0 + (gap / (2 * sigma)) ** 2), 1.0)
    u = 2 * np.arange(columns) / columns - 1
    v = (2 * np.arange(rows) / rows - 1)[:, None]
    c = solution
    surface = c[0] + (c[1] + c[3] * u) * u + (c[2] + c[5] * v) * v + c[4] * u * v
    # Beyond the glass a parabola says nothing: stay within what was seen.
    limits = float(target.min()), float(np.percentile(target, 99))
    return np.asarray(np.clip(surface, *limits), np.float32)


def _threshold(
    evidence: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return what lies above Otsu's threshold or hangs together with it."""
    sample = evidence[valid]
    counts, edges = np.histogram(sample, bins=256)
    middles = 0.5 * (edges[:-1] + edges[1:]).astype(np.float64)
    level = float(threshold_otsu(hist=(counts, middles)))  # type: ignore[no-untyped-call]
    floor = float(np.percentile(sample, 5))
    weak = np.float32(level - 0.15 * (level - floor))
    mask: NDArray[np.bool_] = apply_hysteresis_threshold(  # type: ignore[no-untyped-call]
        evidence, weak, np.float32(level)
    )
    return mask


def _tidy(mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close gaps, fill holes and keep the significant pieces."""
    if not mask.any():
        return mask
    radius = max(2, round(_CLOSING * float(np.sqrt(mask.sum()))))
    pad = radius + 2
    # Mirror at the frame: closing must not draw the section away from its edge.
    padded = np.pad(mask, pad, mode="edge").astype(np.uint8)

    def disc(radius: int) -> NDArray[Any]:
        side = 2 * radius + 1
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))

    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc(radius))
    closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, disc(radius // 3))
    # Brightness and texture were measured over windows that reach so far out.
    closed = cv2.erode(closed, disc(3))
    filled = np.asarray(
        ndimage.binary_fill_holes(closed[pad:-pad, pad:-pad] > 0) & valid
    )
    labels, count = ndimage.label(filled)
    if count < 2:
        return filled
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.flatnonzero(sizes >= _SIGNIFICANT * sizes.max()) + 1
    return np.isin(labels, kept)


def _inner(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what is at least three pixels away from the frame's edge."""
    padded = np.pad(valid, 1).astype(np.uint8)
    square = np.ones((7, 7), np.uint8)
    eroded = cv2.erode(padded, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(eroded[1:-1, 1:-1] > 0)


def _signed_distance(
    mask: NDArray[np.bool_], valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], float]:
    """Return the distance to the outline, and the part of it that is the frame."""
    far = float(sum(mask.shape))
    if not mask.any() or mask.all():
        sign = 1.0 if mask.any() else -1.0
        return np.full(mask.shape, sign * far, np.float32), float(mask.any())
    edge = mask & ~ndimage.binary_erosion(mask, border_value=0)
    cut = float((edge & ~_inner(valid)).sum()) / max(float(edge.sum()), 1.0)
    # The frame's edge is no outline: beyond it the mask goes on as it was.
    seen = mask
    if not valid.all():
        seen = mask[_nearest(valid)]
    extended = np.pad(seen, 1, mode="edge").astype(np.uint8)
    inner, outer = _distance(extended), _distance(1 - extended)
    signed = np.where(extended > 0, inner - 0.5, 0.5 - outer)[1:-1, 1:-1]
    return np.clip(signed, -far, far).astype(np.float32), cut


def _distance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the distance to the nearest zero, px."""
    rough = cv2.distanceTransform(image, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Its last bits depend on the number of threads; squares are whole numbers.
    exact: NDArray[np.float64] = np.sqrt(np.rint(np.square(rough, dtype=np.float64)))
    return exact


def _contour(mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return points (x, y) on the outline, without the frame's edge."""
    soft = cv2.GaussianBlur(
        np.pad(mask, 8, mode="edge").astype(np.float32), (0, 0), 1.5
    )
    inner = _inner(valid)
    parts = []
    lines = find_contours(soft, 0.5)  # type: ignore[no-untyped-call]
    for line in lines:
        points = line[:, ::-1] - 8.0
        column = np.clip(np.rint(points[:, 0]).astype(int), 0, mask.shape[1] - 1)
        row = np.clip(np.rint(points[:, 1]).astype(int), 0, mask.shape[0] - 1)
        points = points[inner[row, column]]
        if len(points) >= 10:
            parts.append(points)
    if not parts:
        return np.empty((0, 2))
    everything = np.concatenate(parts)
    step = -(-len(everything) // _MAX_CONTOUR_POINTS)
    return np.ascontiguousarray(everything[::step])
