"""Geometry: where a point of the post-stain image lies in the pre-stain image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_exo2micro.core.base import CheckpointError, ParameterError, files
from napari_exo2micro.core.base.text import Listing, Shown
from napari_exo2micro.core.images.displacement import Displacement, as_points, mapped

_KIND = "napari-exo2micro transform"
_DIRECTION = "post (fixed) to pre (moving), points (x, y) in px, pixel centres at 0"


@dataclass(frozen=True, eq=False, repr=False)
class Transform(Shown):
    """A map from post-stain (fixed) to pre-stain (moving) points.

    This is the direction a warp needs:
    ``aligned_pre[y, x] = pre[transform([[x, y]])]``. It is projective: a matrix. Where
    a section bends or its tiles jump, points are displaced first: with M the matrix and
    D1 to Dn the displacements, ``T(x) = M(Dn(...D1(x)))``. Products, inverses and other
    pixel grids keep them.

    Parameters
    ----------
    matrix : array_like, shape (3, 3)
        Homogeneous matrix for column vectors (x, y, 1), full-resolution px of
        the padded canvas, x = column, y = row, pixel centres at integers. It is
        stored with its last element 1.
    displacements : sequence of Displacement
        Applied to points of the post image in this order, before the matrix. Those that
        move nothing are left out.

    Raises
    ------
    ValueError
        If the matrix is not 3 x 3, not finite or not invertible.

    Examples
    --------
    >>> shift = Transform.similarity(translation=(10, -5))
    >>> shift([[0.0, 0.0]]).tolist()
    [[10.0, -5.0]]
    >>> (shift.inverse() @ shift).matrix.tolist() == np.eye(3).tolist()
    True
    """

    matrix: NDArray[np.floating[Any]]
    displacements: tuple[Displacement, ...] = ()

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (3, 3):
            raise ValueError(f"a transform needs a 3 x 3 matrix, not {matrix.shape}")
        if not np.isfinite(matrix).all() or matrix[2, 2] == 0.0:
            raise ValueError("a transform needs finite numbers and a last element")
        matrix = matrix / matrix[2, 2]
        if abs(np.linalg.det(matrix)) < 1e-12:
            raise ValueError("a transform must be invertible; this matrix is singular")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        moving = tuple(one for one in self.displacements if one.largest > 0)
        object.__setattr__(self, "displacements", moving)

    @classmethod
    def of(cls, value: TransformLike) -> Transform:
        """Return a transform for a transform, or for its matrix.

        Parameters
        ----------
        value : Transform or array_like, shape (3, 3)
            Post to pre.

        Returns
        -------
        Transform
            The same one where it is one.

        Raises
        ------
        ParameterError
            If it is neither, or the matrix cannot be used.
        """
        if isinstance(value, Transform):
            return value
        try:
            return cls(np.asarray(value, dtype=np.float64))
        except (TypeError, ValueError, OverflowError) as error:
            raise ParameterError(
                f"wanted a Transform or its 3 x 3 matrix, post to pre, found "
                f"{type(value).__name__} ({error}); give Transform.identity() where "
                "nothing is known"
            ) from error

    def __repr__(self) -> str:
        """Return the matrix in one line, and how far points are displaced."""
        matrix = self.matrix + 0.0  # which turns -0 into 0
        rows = [", ".join(f"{value:.10g}" for value in row) for row in matrix]
        more = f", {list(self.displacements)}" if self.displacements else ""
        return f"{type(self).__name__}([[{'], ['.join(rows)}]]{more})"

    def __rich__(self) -> Listing:
        """Return what the transform does, in words."""
        parts = self.decompose()
        rows = [
            ("turn", f"{parts['angle_deg']:.4f} deg"),
            ("magnification", f"{parts['scale']:.6f}"),
            ("shift", f"x {parts['shift_x']:.2f} px, y {parts['shift_y']:.2f} px"),
            ("mirrored", "yes" if parts["mirrored"] else "no"),
        ]
        if self.displacements:
            rows.append(("displaced", f"by up to {self.largest_displacement:.2f} px"))
        return Listing(("post to pre", ""), rows)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map post-stain points to pre-stain points.

        Parameters
        ----------
        points : array_like, shape (N, 2)
            Points (x, y) in px.

        Returns
        -------
        ndarray, shape (N, 2), float64
            The same points in the pre-stain image, (x, y) in px.

        Raises
        ------
        ValueError
            If the points have another shape.
        """
        xy = as_points(points)
        for displacement in self.displacements:
            xy = displacement(xy)
        return mapped(self.matrix, xy)

    def __matmul__(self, first: TransformLike) -> Transform:
        """Return the transform that applies `first` and then this one."""
        first = Transform.of(first)
        own = (one.conjugated(first.matrix) for one in self.displacements)
        return Transform(self.matrix @ first.matrix, (*first.displacements, *own))

    def __eq__(self, other: object) -> bool:
        """Return whether matrices and displacements are equal, number by number."""
        if not isinstance(other, Transform):
            return NotImplemented
        return (
            bool(np.array_equal(self.matrix, other.matrix))
            and self.displacements == other.displacements
        )

    def __hash__(self) -> int:
        """Return a hash that agrees with equality."""
        return hash(((self.matrix + 0.0).tobytes(), self.displacements))

    def inverse(self) -> Transform:
        """Return the map from pre-stain (moving) to post-stain (fixed) points.

        Returns
        -------
        Transform
            Takes each point back to where it came from.
        """
        back = np.linalg.inv(self.matrix)
        displacements = (
            one.inverse().conjugated(back) for one in reversed(self.displacements)
        )
        return Transform(back, tuple(displacements))

    @property
    def largest_displacement(self) -> float:
        """How far displacements move a point at most before the matrix, px of it."""
        return sum(one.reach for one in self.displacements)

    @property
    def mirrored(self) -> bool:
        """Whether the map turns the image over."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @classmethod
    def identity(cls) -> Transform:
        """Return the map that leaves every point in its place.

        Returns
        -------
        Transform
            Its matrix is the identity.
        """
        return cls(np.eye(3))

    @classmethod
    def similarity(
        cls,
        *,
        angle_deg: float = 0.0,
        scale: float = 1.0,
        translation: tuple[float, float] = (0.0, 0.0),
        centre: tuple[float, float] = (0.0, 0.0),
        mirrored: bool = False,
    ) -> Transform:
        """Return a turn, magnification and shift about a centre.

        Parameters
        ----------
        angle_deg : float
            Turn in degrees, from the x axis (columns) towards the y axis (rows).
        scale : float
            Magnification.
        translation : tuple of float
            Shift (x, y) in px, after turn and magnification.
        centre : tuple of float
            The point (x, y) that turn and magnification leave in place.
        mirrored : bool
            Whether x is reversed about the centre before the turn.

        Returns
        -------
        Transform
            Post to pre, when the arguments say how pre lies relative to post.

        Examples
        --------
        >>> turn = Transform.similarity(angle_deg=90, centre=(100, 100))
        >>> turn([[110, 100]]).round(6).tolist()
        [[100.0, 110.0]]
        """
        cos = scale * math.cos(math.radians(angle_deg))
        sin = scale * math.sin(math.radians(angle_deg))
        hand = -1.0 if mirrored else 1.0
        matrix = np.eye(3)
        matrix[:2, :2] = linear = np.array([[cos * hand, -sin], [sin * hand, cos]])
        # p -> linear (p - centre) + centre + translation
        matrix[:2, 2] = np.array(centre) - linear @ centre + translation
        return cls(matrix)

    def conjugated(self, *, scale: float, shift: tuple[float, float]) -> Transform:
        """Return the same map between images drawn on another pixel grid.

        Parameters
        ----------
        scale, shift : float, tuple of float
            A point p of the present grid lies at ``scale * p + shift`` on the
            other one, for both images alike; `shift` is (x, y) in px.

        Returns
        -------
        Transform
            Post to pre, px of the other grid.

        Examples
        --------
        From the padded canvas to the raw images, which lie at (400, 400) on it:

        >>> canvas = Transform.similarity(angle_deg=5, centre=(1000, 900))
        >>> raw = canvas.conjugated(scale=1.0, shift=(-400.0, -400.0))
        >>> raw([[600, 500]]).round(6).tolist()
        [[600.0, 500.0]]
        """
        change = np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1.0]])
        back = np.linalg.inv(change)
        own = tuple(one.conjugated(back) for one in self.displacements)
        return Transform(change @ self.matrix @ back, own)

    def decompose(self) -> dict[str, float]:
        """Return turn, magnification and shift of the matrix's linear part.

        Returns
        -------
        dict
            `angle_deg`, `scale` (geometric mean of the two axes), `shift_x`,
            `shift_y` (px, of the origin) and `mirrored` (0 or 1).
        """
        linear = self.matrix[:2, :2]
        determinant = float(np.linalg.det(linear))
        hand = -1.0 if determinant < 0 else 1.0
        u, _, vt = np.linalg.svd(linear @ np.diag([hand, 1.0]))
        turn = u @ vt
        return {
            "angle_deg": math.degrees(math.atan2(turn[1, 0], turn[0, 0])),
            "scale": math.sqrt(abs(determinant)),
            "shift_x": float(self.matrix[0, 2]),
            "shift_y": float(self.matrix[1, 2]),
            "mirrored": float(self.mirrored),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the transform as JSON-ready built-in types.

        Returns
        -------
        dict
            `kind`, `version`, `direction` in words and `matrix`, nested lists; where
            points are displaced the version is 2 and there are `displacements`.
        """
        stored = {
            "kind": _KIND,
            "version": 2 if self.displacements else 1,
            "direction": _DIRECTION,
            "matrix": self.matrix.tolist(),
        }
        if self.displacements:
            stored["displacements"] = [one.to_dict() for one in self.displacements]
        return stored

    @classmethod
    def from_dict(cls, stored: Any) -> Transform:
        """Return the transform that `to_dict` stored.

        Parameters
        ----------
        stored : mapping
            What `to_dict` returned, back from JSON.

        Returns
        -------
        Transform
            Post to pre.

        Raises
        ------
        CheckpointError
            If this is not a stored transform of a version that is known here.
        """
        kind = stored.get("kind") if isinstance(stored, Mapping) else None
        if kind != _KIND or stored.get("version") not in (1, 2):
            raise CheckpointError(
                f"expected a '{_KIND}' of version 1 or 2, found {stored!r:.60}; save "
                "it again with this package"
            )
        if "displacement" in stored:
            raise CheckpointError(
                "the stored transform refers to the file of its displacement, "
                f"{stored['displacement']!r:.200}; load that file, which holds both"
            )
        try:
            parts = stored["displacements"] if stored["version"] == 2 else ()
            return cls(stored["matrix"], tuple(map(Displacement.from_dict, parts)))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(
                f"the stored transform cannot be read ({error}); run its stage again"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write the transform as a JSON file.

        Parameters
        ----------
        path : str or Path
            The file; replaced when it exists.

        Raises
        ------
        OutputError
            When it cannot be written; a file of that name stays as it was.
        """
        # A grid has many numbers: one a line would make the file twice as large.
        files.write_json(path, self.to_dict(), indent=None if self.displacements else 2)

    @classmethod
    def load(cls, path: str | Path) -> Transform:
        """Read a transform that `save` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        Transform
            Post to pre.

        Raises
        ------
        CheckpointError
            If the file is not such a JSON file.
        """
        try:
            stored = files.read_json(path)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} is not a saved transform ({error}); choose the JSON file "
                "that was saved with a registration"
            ) from error
        if not isinstance(stored, dict):
            raise CheckpointError(f"{path} holds no transform; choose another file")
        return cls.from_dict(stored)


#: What functions take for a transform: one, or its 3 x 3 matrix.
TransformLike = Transform | ArrayLike
