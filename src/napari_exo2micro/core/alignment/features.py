"""Point features: detection, matching and robust fits of the matches."""

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.alignment.fit import FREEDOM, FloatArray, Model, fit_plane
from napari_exo2micro.core.base.monitor import Monitor
from napari_exo2micro.core.images.transform import Transform

_ROWS_AT_ONCE = 1024
_POLISH_ROUNDS = 5
#: Sigma in px of the neighbourhood that sets the local contrast.
_LOCAL_SIZE = 24.0
#: Weaker features than this are dropped: OpenCV's contrast threshold.
_CONTRAST = 0.02
_SIMILARITY_TRIALS = 2000
#: Seconds between two questions whether to stop.
_ASK_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Features:
    """Points (x, y) of one image, px, with their SIFT descriptors: whole numbers."""

    points: FloatArray
    descriptors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MatchFit:
    """A transform, post to pre, the matches that agree with it, and their distances.

    Distances are px of the points that were fitted.
    """

    transform: Transform
    inliers: NDArray[np.bool_]
    residuals: FloatArray

    @property
    def n_inliers(self) -> int:
        """Number of matches that agree."""
        return int(np.count_nonzero(self.inliers))

    @property
    def inlier_ratio(self) -> float:
        """Part of the matches that agree, 0 to 1."""
        return self.n_inliers / max(len(self.inliers), 1)


def stretch_for_features(
    image: NDArray[np.generic],
    *,
    mask: NDArray[np.bool_] | None = None,
    blur: float = 0.0,
    monitor: Monitor | None = None,
) -> NDArray[np.uint8]:
    """Return an 8-bit image whose texture is about equally strong everywhere.

    `mask` is where the camera saw something, by default everywhere; `blur` the sigma,
    px, of a Gaussian before anything else is measured. 128 is the local mean, and
    what lies outside the mask.
    """
    monitor = monitor or Monitor()
    values = np.asarray(image, dtype=np.float32)
    inside = np.ones(values.shape, bool) if mask is None else mask
    flat = np.full(values.shape, 128, np.uint8)
    if not inside.any():
        return flat
    sample = values[inside]
    low, high = np.percentile(sample[:: max(1, sample.size // 200_000)], [0.5, 99.5])
    if not high > low:
        return flat
    monitor.check()
    # The square root evens out photon noise and tames bright spots.
    root = np.sqrt(np.clip((values - low) / (high - low), 0.0, None))
    root[~inside] = 0.0
    if blur > 0.0:
        root = cv2.GaussianBlur(root, (0, 0), blur)
    weight = np.maximum(_wide_blur(inside.astype(np.float32), _LOCAL_SIZE), 1e-3)
    mean = _wide_blur(root, _LOCAL_SIZE) / weight
    difference = np.where(inside, root - mean, np.float32(0.0))
    monitor.check()
    # (root - mean) / spread: free of uneven light, gain and offset.
    power = _wide_blur(difference * difference, _LOCAL_SIZE) / weight
    spread = np.sqrt(np.maximum(power, 0.0))
    # Empty glass must not be blown up into texture: its contrast is noise.
    typical = float(np.percentile(spread[inside][:: max(1, sample.size // 50_000)], 75))
    scaled = difference / np.maximum(spread, max(0.25 * typical, 1e-6))
    np.rint(128.0 + 36.0 * scaled, out=scaled)
    return cast("NDArray[np.uint8]", np.clip(scaled, 0, 255).astype(np.uint8))


def _wide_blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return a Gaussian blur made on a smaller image: wide ones are smooth."""
    rows, cols = image.shape
    step = max(1, min(round(sigma / 4), rows // 4, cols // 4))
    size = (-(-cols // step), -(-rows // step))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / step)
    wide = cv2.resize(small, (cols, rows), interpolation=cv2.INTER_LINEAR)
    return cast("NDArray[np.float32]", wide)


def detect_features(
    image: NDArray[np.uint8],
    *,
    mask: NDArray[np.bool_] | None = None,
    max_features: int = 6000,
    monitor: Monitor | None = None,
) -> Features:
    """Find SIFT features [1]_ of an 8-bit image, in an order of the image alone.

    `mask` is where they may lie; the `max_features` strongest are kept.

    References
    ----------
    .. [1] D. G. Lowe, "Distinctive Image Features from Scale-Invariant
       Keypoints", IJCV 60, 2004. :doi:`10.1023/B:VISI.0000029664.99615.94`
    """
    empty = Features(np.empty((0, 2)), np.empty((0, 128), np.float32))
    if min(image.shape) < 16:
        return empty
    monitor = monitor or Monitor()
    monitor.check()
    # Without the precise upscale all points are off by a quarter px, which shows
    # as soon as one image is turned against the other.
    sift = cv2.SIFT.create(
        nfeatures=max_features,
        contrastThreshold=_CONTRAST,
        enable_precise_upscale=True,
    )
    region = None if mask is None else mask.astype(np.uint8) * 255
    # OpenCV cannot be interrupted: on a request to stop its thread is left to end by
    # itself, and what it found is lost.
    pool = ThreadPoolExecutor(1, thread_name_prefix="features")
    try:
        search = pool.submit(sift.detectAndCompute, image, region)
        while wait([search], _ASK_EVERY).not_done:
            monitor.check()
        monitor.check()
        keypoints, descriptors = search.result()
    finally:
        pool.shutdown(wait=False)
    if not len(keypoints):
        return empty
    table = np.array([(*k.pt, k.size, k.angle) for k in keypoints])
    order = np.lexsort(table.T[::-1])
    return Features(table[order, :2], np.asarray(descriptors, np.float32)[order])


def match_features(
    post: Features,
    pre: Features,
    *,
    ratio: float = 0.7,
    monitor: Monitor | None = None,
) -> NDArray[np.intp]:
    """Pair the features of two images by their descriptors.

    Each is the other's best match, and nearer than `ratio` times the second best of
    pre. Returns indices into `post` and `pre`, shape (M, 2), in the order of `post`.
    """
    n_post, n_pre = len(post.points), len(pre.points)
    if n_post == 0 or n_pre < 2:
        return np.empty((0, 2), np.intp)
    a, b = post.descriptors, pre.descriptors
    a_norm, b_norm = (a * a).sum(axis=1), (b * b).sum(axis=1)
    best = np.empty(n_post, np.intp)
    passed = np.zeros(n_post, bool)
    column_best = np.full(n_pre, np.inf, np.float32)
    column_row = np.full(n_pre, -1, np.intp)
    monitor = monitor or Monitor()
    for start in range(0, n_post, _ROWS_AT_ONCE):
        monitor.check()
        rows = slice(start, min(start + _ROWS_AT_ONCE, n_post))
        # |a - b|^2 = |a|^2 + |b|^2 - 2 a b. Descriptors are whole numbers below 256:
        # in single precision, too, this is exact, whatever the number of threads.
        squared = a_norm[rows, None] + b_norm[None, :] - 2.0 * (a[rows] @ b.T)
        height = np.arange(squared.shape[0])
        first = np.argmin(squared, axis=1)
        nearest = squared[height, first]
        column_first = np.argmin(squared, axis=0)
        column_value = squared[column_first, np.arange(n_pre)]
        better = column_value < column_best
        column_best[better] = column_value[better]
        column_row[better] = column_first[better] + start
        squared[height, first] = np.inf
        second = squared.min(axis=1)
        best[rows] = first
        passed[rows] = nearest < ratio**2 * second
    passed &= column_row[best] == np.arange(n_post)
    kept = np.flatnonzero(passed)
    pairs = np.column_stack([kept, best[kept]])
    # Two orientations at one place give the same pair of points twice.
    both = np.column_stack([post.points[pairs[:, 0]], pre.points[pairs[:, 1]]])
    _, unique = np.unique(np.round(both, 3), axis=0, return_index=True)
    result: NDArray[np.intp] = pairs[np.sort(unique)]
    return result


def fit_matches(
    post_points: FloatArray,
    pre_points: FloatArray,
    *,
    model: Model = "homography",
    threshold: float = 3.0,
    mirrored: bool | None = None,
) -> MatchFit | None:
    """Find the transform, post to pre, on which most matches agree.

    That is within `threshold`, px of pre. Of one hand, or of the better one. None when
    there are too few matches for the model, or none agree.

    Notes
    -----
    MAGSAC++ [1]_ as in OpenCV for affine maps and homographies, a seeded search
    over pairs of matches for similarities; then least squares in double
    precision over the matches that agree. Same input, same output.

    References
    ----------
    .. [1] D. Barath et al., "MAGSAC++, a fast, reliable and accurate robust
       estimator", CVPR 2020. :doi:`10.1109/CVPR42600.2020.00138`
    """
    source, target = post_points, pre_points
    needed = FREEDOM[model] // 2 + 1
    if len(source) < needed:
        return None
    if model == "similarity":
        transform = _search_similarity(source, target, threshold, mirrored)
    else:
        transform = _search_magsac(source, target, model, threshold, mirrored)
    if transform is None:
        return None
    for number in range(_POLISH_ROUNDS + 1):
        residuals = np.linalg.norm(target - transform(source), axis=1)
        inliers = residuals <= threshold
        if np.count_nonzero(inliers) < needed:
            return None
        if number == _POLISH_ROUNDS:
            break
        try:
            fit = fit_plane(model, source[inliers], target[inliers], mirrored=mirrored)
        except ValueError:
            return None
        transform = fit.transform
    if not np.isfinite(residuals).all():
        return None
    if mirrored is not None and transform.mirrored != mirrored:
        return None
    return MatchFit(transform, inliers, residuals)


def _search_magsac(
    source: FloatArray,
    target: FloatArray,
    model: Model,
    threshold: float,
    mirrored: bool | None,
) -> Transform | None:
    """Return the transform that MAGSAC++ finds, of the hand with more inliers."""
    # Single precision inside OpenCV: coordinates are centred to keep digits.
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    moving = (target - goal).astype(np.float32)
    params = cv2.UsacParams()
    params.threshold = threshold
    params.maxIterations = 5000
    params.confidence = 0.999
    params.score = cv2.SCORE_METHOD_MAGSAC
    params.isParallel = False
    params.randomGeneratorState = 0
    after = np.array([[1, 0, goal[0]], [0, 1, goal[1]], [0, 0, 1.0]])
    best_count, best = 0, None
    for hand in (False, True) if mirrored is None else (mirrored,):
        # OpenCV refuses samples that turn the plane over: mirror one side first.
        flip = np.array([-1.0 if hand else 1.0, 1.0])
        fixed = ((source - middle) * flip).astype(np.float32)
        try:
            if model == "homography":
                matrix, _ = cv2.findHomography(fixed, moving, params)
            else:
                matrix, _ = cv2.estimateAffine2D(fixed, moving, params)
        except cv2.error:
            continue
        if matrix is None or not np.isfinite(matrix).all():
            continue
        local = np.eye(3)
        local[: matrix.shape[0]] = matrix
        before = np.diag([*flip, 1.0])
        before[:2, 2] = -middle * flip
        try:
            transform = Transform(after @ local @ before)
        except ValueError:
            continue
        gap = np.linalg.norm(target - transform(source), axis=1)
        count = int(np.count_nonzero(gap <= threshold))
        if count > best_count:
            best_count, best = count, transform
    return best


def _search_similarity(
    source: FloatArray, target: FloatArray, threshold: float, mirrored: bool | None
) -> Transform | None:
    """Return the best similarity through two matches of a seeded sample."""
    count = len(source)
    if count * (count - 1) // 2 <= _SIMILARITY_TRIALS:
        i, j = np.triu_indices(count, 1)
    else:
        rng = np.random.default_rng(20)
        i = rng.integers(0, count, _SIMILARITY_TRIALS)
        j = (i + rng.integers(1, count, _SIMILARITY_TRIALS)) % count
    # As complex numbers a similarity is q = a p + b; two matches give a and b.
    q = target[:, 0] + 1j * target[:, 1]
    best_score, best = 0.0, None
    for hand in (False, True) if mirrored is None else (mirrored,):
        p = source[:, 0] * (-1.0 if hand else 1.0) + 1j * source[:, 1]
        base = p[j] - p[i]
        usable = np.abs(base) > 3.0 * threshold
        if not usable.any():
            continue
        turn = (q[j] - q[i])[usable] / base[usable]
        shift = q[i][usable] - turn * p[i][usable]
        for start in range(0, len(turn), 256):
            part = slice(start, start + 256)
            gap = np.abs(turn[part, None] * p + shift[part, None] - q)
            score = np.clip(1.0 - (gap / threshold) ** 2, 0.0, None).sum(axis=1)
            top = int(np.argmax(score))
            if score[top] > best_score and abs(turn[part][top]) > 1e-3:
                best_score = float(score[top])
                best = (hand, turn[part][top], shift[part][top])
    if best is None:
        return None
    hand, a, b = best
    h = -1.0 if hand else 1.0
    matrix = [[h * a.real, -a.imag, b.real], [h * a.imag, a.real, b.imag], [0, 0, 1]]
    return Transform(np.array(matrix, dtype=np.float64))
