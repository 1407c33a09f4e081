"""A pair of raw images: found, opened, and read by a loader."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_exo2micro.core.base import Monitor, errors
from napari_exo2micro.core.base.registry import Registry
from napari_exo2micro.core.images import Missing
from napari_exo2micro.core.parameters import default_params
from napari_exo2micro.core.raw import read
from napari_exo2micro.core.raw.formats import open_raw
from napari_exo2micro.core.raw.names import check_name, find_pair
from napari_exo2micro.core.raw.pages import BIOIO, ImageChoice
from napari_exo2micro.core.raw.table import image_choices
from napari_exo2micro.core.raw.tiff import TiffImage

logger = logging.getLogger(__name__)

#: Sides of the two images of a pair may differ by this factor.
_MAX_SIDE_RATIO = 3.0

Loaded = tuple[Any, Any, Path | str | None, Path | str | None]
Loader = Callable[..., Loaded]

#: What a script that replaces `load_image_pair` in a module is to do.
ASSIGNED_LOADER = "SampleDye(..., loader=my_function) or register_loader"

ENTRY_POINT_GROUP: Final = "napari_exo2micro.loaders"
"""Other packages offer loaders here: a name, and a function."""


@dataclass(frozen=True, slots=True)
class NamedLoader:
    """A loader and its name, which travels with it; called, it loads."""

    name: str
    function: Loader

    def __call__(self, *what: Any, **more: Any) -> Loaded:
        """Return what the function returns."""
        return self.function(*what, **more)


def _check(entry: NamedLoader, _known: Mapping[str, NamedLoader]) -> None:
    """Raise when a loader cannot be taken."""
    name, function = entry.name, entry.function
    if not str(name).strip():
        raise errors.ParameterError(
            f"a loader needs a name, found {name!r}; choose a word"
        )
    if not callable(function):
        raise errors.ParameterError(
            f"loader '{name}' must be a function with the signature of "
            f"load_image_pair, found {type(function).__name__}"
        )


def register_loader(name: str, function: Loader) -> Loader:
    """Make a loader known under a name, for this process.

    Parameters
    ----------
    name : str
        Name to ask for it with.
    function : callable
        Called as ``function(sample, dye, raw_dir=...)``; returns
        ``(post_im, pre_im, post_path, pre_path)``, two 2-D arrays of one dtype
        and the files they came from, or None for those.

    Returns
    -------
    callable
        The same function.

    Raises
    ------
    ParameterError
        If the name is empty or taken, or if `function` cannot be called.

    Examples
    --------
    >>> def load_scan(sample, dye, raw_dir="raw"):
    ...     return post, pre, None, None
    >>> _ = register_loader("scan", load_scan)
    >>> get_loader("scan") is load_scan
    True
    >>> unregister_loader("scan")
    """
    known = LOADERS.get(name)
    if known is None or known.function is not function:
        LOADERS.add(NamedLoader(name, function))
    return function


def unregister_loader(name: str) -> None:
    """Forget a loader that `register_loader` made known.

    Parameters
    ----------
    name : str
        Its name.

    Raises
    ------
    ParameterError
        If there is none of this name, or it is the built-in one.
    """
    LOADERS.remove(name)


def loader_names() -> tuple[str, ...]:
    """Return the names of all loaders, those of installed packages included.

    Returns
    -------
    tuple of str
        In alphabetical order.
    """
    return tuple(sorted(LOADERS))


def get_loader(loader: str | Loader | None = None) -> Loader:
    """Return a loader by name.

    A name imports what installed packages offer; None does not.

    Parameters
    ----------
    loader : str, callable or None
        A name, a loader itself, or None for the built-in one, ``'tiff'``.

    Returns
    -------
    callable
        With the signature of `load_image_pair`.

    Raises
    ------
    ParameterError
        If the name is unknown, or what a package offers under it cannot be used.
    """
    if loader is None:
        return load_image_pair
    if not isinstance(loader, str):
        if callable(loader):
            return loader
        raise errors.ParameterError(
            "a loader is a name or a function with the signature of "
            f"load_image_pair, found {type(loader).__name__}"
        )
    known = LOADERS.get(loader)
    if known is not None:
        return known.function
    problem = LOADERS.problems.get(loader)
    if problem is not None:
        raise errors.ParameterError(
            f"loader '{loader}' ({problem}) cannot be used; repair or uninstall the "
            "package that offers it"
        )
    raise errors.ParameterError(
        f"there is no loader '{loader}'; choose one of {', '.join(loader_names())}"
    )


def reader_of(loader: Loader | None) -> str | None:
    """Return what opens the files that a loader finds by their names.

    Parameters
    ----------
    loader : callable
        Registered or not.

    Returns
    -------
    str or None
        As in `ImageChoice`; None for a loader that returns images of its own.
    """
    function = loader.function if isinstance(loader, NamedLoader) else loader
    if function is load_image_pair:
        return ""
    return BIOIO if function is load_with_bioio else None


def loader_name(loader: Loader) -> str:
    """Return the name a loader is registered under, or that of the function.

    Parameters
    ----------
    loader : callable
        Registered or not.

    Returns
    -------
    str
        For people and headers.
    """
    if isinstance(loader, NamedLoader):
        return loader.name
    for known in LOADERS.values():
        if known.function is loader:
            return known.name
    return str(getattr(loader, "__name__", type(loader).__name__))


def _load(loader: Loader, sample: str, dye: str, raw_dir: Path | str) -> Loaded:
    """Call a loader of somebody else's; what it raises becomes a typed error."""
    what = f"loader '{loader_name(loader)}' for sample '{sample}', dye '{dye}'"
    try:
        result: Any = loader(sample, dye, raw_dir=raw_dir)
    except errors.Exo2MicroError:
        raise
    except FileNotFoundError as error:
        raise errors.RawFileNotFoundError(
            f"{what}: file not found ({error})"
        ) from error
    except Exception as error:  # a stranger's function raises what it likes
        raise errors.RawDataError(
            f"{what}: failed with {type(error).__name__} ({error}); correct the loader"
        ) from error
    if not isinstance(result, tuple | list) or len(result) != 4:
        count = f" of {len(result)}" if isinstance(result, tuple | list) else ""
        raise errors.RawDataError(
            f"{what}: a tuple (post_im, pre_im, post_path, pre_path) is wanted, found "
            f"a {type(result).__name__}{count}; correct the loader"
        )
    return tuple(result)


@dataclass(frozen=True, slots=True, eq=False)
class RawPair:
    """The two images of a pair, of one dtype and with one channel decision.

    Attributes
    ----------
    post, pre : RawImage
        After and before staining.
    channels : tuple of int or None
        The channels whose sum is the signal, 0 = red; None for grey images.
    warnings : tuple of str
        What a careful reader would not expect.
    """

    post: read.RawImage
    pre: read.RawImage
    channels: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_files(
        cls,
        post_path: Path,
        pre_path: Path,
        choices: Choices = (None, None),
        *,
        monitor: Monitor | None = None,
        digest: bool = True,
        notes: tuple[str, ...] = (),
    ) -> RawPair:
        """Check and open two TIFF files.

        Parameters
        ----------
        post_path, pre_path : pathlib.Path
            The files.
        choices : pair of ImageChoice or None
            Which image of each, where it holds several.
        monitor : Monitor, optional
            Told the progress.
        digest : bool
            Make the fingerprints in the same pass, instead of when they are asked for.
        notes : tuple of str
            Warnings to put before the pair's own.

        Returns
        -------
        RawPair
            Both images, to be read band by band.

        Raises
        ------
        RawDataError
            If a file cannot be used, or the two do not fit together.
        """
        images = post, pre = open_fitting(post_path, pre_path, choices)
        measured = _measure(images, monitor or Monitor(), digest)
        decision = read.decide_channels(
            measured[0].signals, measured[1].signals, images
        )
        largest = 0
        for image, samples, own in zip(
            images, (decision.post, decision.pre), measured, strict=True
        ):
            if own.lit.isdisjoint(samples):
                raise errors.RawDataError(
                    f"{image.path}: every pixel of the signal is 0; check that it is "
                    "the right file and was exported with its data"
                )
            largest = max(largest, read.largest_sum(image, samples, own))
        negative = any(own.is_negative for own in measured)
        dtype = read.choose_dtype(post.sample_dtype, largest, negative)
        own_warnings = [*notes, *post.warnings, *pre.warnings, *decision.warnings]
        if negative:
            own_warnings.append(
                f"pixels below 0 are kept; both images are read as {dtype}"
            )
        else:
            own_warnings += _widening(post.sample_dtype, dtype, decision.post)
        for image, own in zip(images, measured, strict=True):
            if own.blank:
                share = own.blank / (image.height * image.width * len(own.signals))
                own_warnings.append(
                    f"{image.path.name}: {own.blank} pixels ({share:.2%}) are NaN, no "
                    "data; they are read as 0"
                )
        own_warnings += _missing_notes(*(own.missing for own in measured))
        return cls(
            read.file_image(post, decision.post, dtype, measured[0]),
            read.file_image(pre, decision.pre, dtype, measured[1]),
            decision.channels,
            tuple(own_warnings),
        )

    @classmethod
    def from_arrays(
        cls,
        post: Any,
        pre: Any,
        post_path: Path | str | None = None,
        pre_path: Path | str | None = None,
        *,
        loader: str = "the loader",
    ) -> RawPair:
        """Wrap the arrays of a loader of one's own, checked like files.

        Parameters
        ----------
        post, pre : array_like, shape (rows, columns)
            The images, unsigned integers or floats, one dtype for both.
        post_path, pre_path : pathlib.Path or str, optional
            Files they came from. One that exists gives the fingerprint;
            otherwise the pixels do.
        loader : str
            Its name, for messages.

        Returns
        -------
        RawPair
            Without a channel decision, which was the loader's.

        Raises
        ------
        RawDataError
            If an image cannot be used or the two do not fit together.
        """
        names = f"{loader}: post-stain image", f"{loader}: pre-stain image"
        post, most_post, post_mark, post_missing = read.check_array(post, names[0])
        pre, most_pre, pre_mark, pre_missing = read.check_array(pre, names[1])
        _check_fit(names, (post.shape, pre.shape), (post.dtype, pre.dtype))
        dtype = read.choose_dtype(np.dtype(post.dtype), max(most_post, most_pre))
        return cls(
            read.array_image(post, post_path, dtype, post_mark, post_missing),
            read.array_image(pre, pre_path, dtype, pre_mark, pre_missing),
            warnings=(
                *_widening(np.dtype(post.dtype), dtype, (0,)),
                *_missing_notes(post_missing, pre_missing),
            ),
        )


#: Which image of the post-stain and of the pre-stain file.
Choices = tuple[ImageChoice | None, ImageChoice | None]


def open_fitting(
    post_path: Path | str, pre_path: Path | str, choices: Choices = (None, None)
) -> tuple[TiffImage, TiffImage]:
    """Check the headers of two files, and that they can be a pair."""
    post, pre = open_raw(post_path, choices[0]), open_raw(pre_path, choices[1])
    _check_fit(
        (str(post_path), str(pre_path)),
        (post.shape, pre.shape),
        (post.sample_dtype, pre.sample_dtype),
    )
    return post, pre


def _measure(
    images: tuple[TiffImage, TiffImage], monitor: Monitor, digest: bool
) -> list[read.Measured]:
    """Measure both files side by side; when post is refused, pre is left."""
    done, lock, is_over = {}, threading.Lock(), threading.Event()

    def measured(image: TiffImage, side: int) -> read.Measured:
        def report(fraction: float, text: str) -> None:
            with lock:
                done[side] = fraction
                monitor.report(sum(done.values()) / 2, text)

        return read.measure(image, Monitor(report, is_over.is_set), digest=digest)

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(measured, image, i) for i, image in enumerate(images)]
        try:
            return [job.result() for job in jobs]
        finally:
            is_over.set()


def _widening(
    stored: np.dtype[Any], dtype: np.dtype[Any], samples: tuple[int, ...]
) -> tuple[str, ...]:
    """Return the warning that pixels get another type than they have in the file."""
    if stored.kind == "f" or (dtype.kind != "f" and dtype.itemsize <= stored.itemsize):
        return ()
    what = "sums of channels" if len(samples) > 1 else "pixels"
    limit = 0xFF if dtype.itemsize == 2 else 0xFFFF
    exact = "2**24" if dtype.itemsize == 4 else "2**53"
    note = f" (exact up to {exact})" if dtype.kind == "f" else ""
    return (f"{what} exceed {limit}; both images are widened to {dtype}{note}",)


def _missing_notes(post: Missing | None, pre: Missing | None) -> list[str]:
    """Return the warnings that an image lacks a part."""
    return [
        f"{missing.share:.2%} of the {side}-stain image has no data (areas of exactly "
        f"{' and '.join(f'{fill.value:g}' for fill in missing.fills)} that were not "
        "scanned, or lost): it is left out, and the difference is 0 there"
        for side, missing in (("post", post), ("pre", pre))
        if missing is not None
    ]


def _check_fit(
    names: Sequence[str],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    dtypes: tuple[np.dtype[Any], np.dtype[Any]],
) -> None:
    """Refuse two images that cannot be a pair."""
    if dtypes[0] != dtypes[1]:
        raise errors.RawDataError(
            f"{names[0]} has {dtypes[0]} pixels and {names[1]} has {dtypes[1]}; "
            "export both with the same settings"
        )
    for sides in zip(*shapes, strict=True):
        if max(sides) > _MAX_SIDE_RATIO * min(sides):
            sizes = " and ".join(
                f"{name} is {shape[1]} x {shape[0]} px"
                for name, shape in zip(names, shapes, strict=True)
            )
            raise errors.RawDataError(
                f"{sizes}; sides may differ by a factor of {_MAX_SIDE_RATIO:g}, check "
                "that both show the same section at the same magnification"
            )


def open_image_pair(
    sample: str,
    dye: str,
    raw_dir: Path | str = "raw",
    *,
    loader: str | Loader | None = None,
    monitor: Monitor | None = None,
    choices: Choices | None = None,
) -> RawPair:
    """Find, check and open the two images of a pair, to be read band by band.

    All pixels are looked at once: for the fingerprint, the channel means, NaN, and
    whether sums need a wider type. Parameters, errors and warnings are those of
    `load_image_pair`; `loader` is as in `get_loader`, and its arrays are checked like
    files.
    """
    function = get_loader(loader)
    reader = reader_of(function)
    if reader is not None:
        post_path, pre_path, notes = find_pair(sample, dye, raw_dir)
        pair = RawPair.from_files(
            post_path,
            pre_path,
            choices or image_choices(sample, dye, raw_dir, default_params(), reader),
            monitor=monitor,
            notes=notes,
        )
    else:
        check_name("sample", sample)
        check_name("dye", dye)
        pair = RawPair.from_arrays(
            *_load(function, sample, dye, raw_dir),
            loader=f"loader '{loader_name(function)}'",
        )
    for side, image in (("post", pair.post), ("pre", pair.pre)):
        logger.info(
            "%s-stain image: %s, %d x %d px, %s",
            side,
            image.path or "an array without a file",
            image.shape[1],
            image.shape[0],
            image.dtype,
        )
    _warn(pair, 3)
    return pair


def load_image_pair(
    sample: str, dye: str, raw_dir: Path | str = "raw"
) -> tuple[NDArray[Any], NDArray[Any], Path, Path]:
    """Find, check and load the two images of a pair.

    Parameters
    ----------
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    post_im, pre_im : numpy.ndarray, shape (rows, columns)
        The signal of each image, both of one dtype.
    post_path, pre_path : pathlib.Path
        The files.

    Raises
    ------
    RawFileNotFoundError
        If the sample folder, the dye or one of its sides does not exist.
    RawDataError
        If a side has more than one file, or a file cannot be used, or the two
        do not fit together or not in memory.
    ParameterError
        If a name is not safe as a folder name.

    Warns
    -----
    DataWarning
        For what a careful reader would not expect.
    """
    return _load_files(sample, dye, raw_dir, "")


def load_with_bioio(
    sample: str, dye: str, raw_dir: Path | str = "raw"
) -> tuple[NDArray[Any], NDArray[Any], Path, Path]:
    """Find and load a pair like `load_image_pair`, with bioio whatever the files are.

    Files of microscopes are read so by themselves; the others, too, with this loader,
    where an installed part of bioio reads them. It needs the extra ``formats``.
    Parameters, errors and warnings are those of `load_image_pair`.
    """
    return _load_files(sample, dye, raw_dir, BIOIO)


def _load_files(
    sample: str, dye: str, raw_dir: Path | str, reader: str
) -> tuple[NDArray[Any], NDArray[Any], Path, Path]:
    post_path, pre_path, notes = find_pair(sample, dye, raw_dir)
    choices = image_choices(sample, dye, raw_dir, default_params(), reader)
    pair = RawPair.from_files(post_path, pre_path, choices, digest=False, notes=notes)
    _warn(pair, 4)
    return pair.post.read(), pair.pre.read(), post_path, pre_path


def _warn(pair: RawPair, stacklevel: int) -> None:
    for text in pair.warnings:
        warnings.warn(text, errors.DataWarning, stacklevel=stacklevel)


#: name -> loader and its name; `get_loader` returns the loader.
LOADERS: Registry[str, NamedLoader] = Registry(
    "loader",
    ENTRY_POINT_GROUP,
    NamedLoader,
    key=lambda entry: entry.name,
    built_in=(
        NamedLoader("tiff", load_image_pair),
        NamedLoader(BIOIO, load_with_bioio),
    ),
    check=_check,
    of_function=lambda name, function, _caption: NamedLoader(name, function),
)

errors.refuse_assignment(__name__, ASSIGNED_LOADER, "load_image_pair")
