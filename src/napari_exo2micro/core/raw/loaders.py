"""Loaders of raw data: the built-in one, registered ones, those of packages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from napari_exo2micro.core.errors import (
    Exo2MicroError,
    ParameterError,
    RawDataError,
    RawFileNotFoundError,
)
from napari_exo2micro.core.registries import Registry

__all__ = [
    "ENTRY_POINT_GROUP",
    "LOADERS",
    "Loader",
    "NamedLoader",
    "call_loader",
    "get_loader",
    "loader_name",
    "loader_names",
    "register_loader",
    "unregister_loader",
]

Loader = Callable[..., tuple[Any, Any, Path | str | None, Path | str | None]]

ENTRY_POINT_GROUP: Final = "napari_exo2micro.loaders"
"""Other packages offer loaders here: a name, and a function."""

DEFAULT_LOADER = "tiff"


@dataclass(frozen=True, slots=True)
class NamedLoader:
    """A loader and what it is asked for with; called, it loads as the function does.

    Attributes
    ----------
    name : str
        What it is asked for with.
    function : callable
        The loader.
    """

    name: str
    function: Loader

    def __call__(
        self, *what: Any, **more: Any
    ) -> tuple[Any, Any, Path | str | None, Path | str | None]:
        """Return what the function returns."""
        return self.function(*what, **more)


def _check(entry: NamedLoader) -> None:
    """Raise when a loader cannot be taken."""
    name, function = entry.name, entry.function
    if not str(name).strip():
        raise ParameterError(f"a loader needs a name, found {name!r}; choose a word")
    if not callable(function):
        raise ParameterError(
            f"loader '{name}' must be a function with the signature of "
            f"load_image_pair, found {type(function).__name__}"
        )
    if name in LOADERS:
        raise ParameterError(
            f"the name '{name}' belongs to another loader; choose a name that is "
            f"none of {', '.join(loader_names())}"
        )


#: name -> loader and its name; `get_loader` returns the loader.
LOADERS: Registry[str, NamedLoader] = Registry(
    "loader",
    ENTRY_POINT_GROUP,
    key=lambda entry: entry.name,
    check=_check,
    offered=NamedLoader,
)


def register_loader(name: str, function: Loader) -> Loader:
    """Make a loader known under a name, for this process.

    A package makes its loader known to all processes with an entry point of the
    group ``napari_exo2micro.loaders``.

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
        If the name is empty or belongs to another loader, or if `function`
        cannot be called.

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

    Any name but that of the built-in one imports the loaders of all installed packages.

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
        loader = DEFAULT_LOADER
    if not isinstance(loader, str):
        if callable(loader):
            return loader
        raise ParameterError(
            "a loader is a name or a function with the signature of "
            f"load_image_pair, found {type(loader).__name__}"
        )
    known = LOADERS.get(loader)
    if known is not None:
        return known.function
    problem = LOADERS.problems.get(loader)
    if problem is not None:
        raise ParameterError(
            f"loader '{loader}' ({problem}) cannot be used; repair or uninstall the "
            "package that offers it"
        )
    raise ParameterError(
        f"there is no loader '{loader}'; choose one of {', '.join(loader_names())}"
    )


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


def call_loader(
    loader: Loader, sample: str, dye: str, raw_dir: Path | str
) -> tuple[Any, Any, Path | str | None, Path | str | None]:
    """Call a loader of somebody else's; what it raises becomes a typed error.

    Parameters
    ----------
    loader : callable
        With the signature of `load_image_pair`.
    sample, dye : str
        What is asked for.
    raw_dir : pathlib.Path or str
        The raw folder.

    Returns
    -------
    tuple
        The four things that a loader returns, not checked further.

    Raises
    ------
    RawDataError
        If the loader fails or returns something else than four things; a
        `RawFileNotFoundError` if it did not find a file.
    """
    what = f"loader '{loader_name(loader)}' for sample '{sample}', dye '{dye}'"
    try:
        result: Any = loader(sample, dye, raw_dir=raw_dir)
    except Exo2MicroError:
        raise
    except FileNotFoundError as error:
        raise RawFileNotFoundError(f"{what}: file not found ({error})") from error
    except Exception as error:  # a stranger's function raises what it likes
        raise RawDataError(
            f"{what}: failed with {type(error).__name__} ({error}); correct the loader"
        ) from error
    if not isinstance(result, tuple | list) or len(result) != 4:
        count = f" of {len(result)}" if isinstance(result, tuple | list) else ""
        raise RawDataError(
            f"{what}: a tuple (post_im, pre_im, post_path, pre_path) is wanted, found "
            f"a {type(result).__name__}{count}; correct the loader"
        )
    post, pre, post_path, pre_path = result
    return post, pre, post_path, pre_path
