"""Which channels of a pair carry the signal: one decision for both images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_exo2micro.core.errors import RawDataError

__all__ = ["ChannelDecision", "ChannelMeans", "decide_channels"]

SIGNAL_MEAN = 0.5
_NAMES = ("red", "green", "blue")


@dataclass(frozen=True, slots=True)
class ChannelMeans:
    """The colour channels of one image.

    Attributes
    ----------
    name : str
        The file, for messages.
    samples : tuple of int
        Which samples of a pixel are colours; alpha is not among them.
    means : tuple of float
        The mean of each over all pixels.
    """

    name: str
    samples: tuple[int, ...]
    means: tuple[float, ...]

    @property
    def is_grey(self) -> bool:
        """There is nothing to choose from."""
        return len(self.samples) == 1


@dataclass(frozen=True, slots=True)
class ChannelDecision:
    """The samples whose sum is the signal.

    Attributes
    ----------
    post, pre : tuple of int
        For each image; the same for both unless one of them is grey.
    channels : tuple of int or None
        The decision; None when both images are grey.
    warnings : tuple of str
        What a careful reader would not expect.
    """

    post: tuple[int, ...]
    pre: tuple[int, ...]
    channels: tuple[int, ...] | None
    warnings: tuple[str, ...] = ()


def channel_name(index: int) -> str:
    """Return ``'red'``, ``'green'``, ``'blue'`` or ``'channel 4'``."""
    return _NAMES[index] if index < len(_NAMES) else f"channel {index + 1}"


def decide_channels(post: ChannelMeans, pre: ChannelMeans) -> ChannelDecision:
    """Choose the channels that carry the signal of a pair.

    A channel counts when its mean exceeds 0.5 in either image. Several are
    summed. When none does, the one with the highest mean of both is taken.

    Parameters
    ----------
    post, pre : ChannelMeans
        The two images.

    Returns
    -------
    ChannelDecision
        One decision for both; a grey image takes part with its only channel.

    Raises
    ------
    RawDataError
        If both have several channels, but not the same number.

    Examples
    --------
    >>> post = ChannelMeans("post.tif", (0, 1, 2), (0.0, 7.1, 0.1))
    >>> pre = ChannelMeans("pre.tif", (0, 1, 2), (0.0, 3.0, 0.2))
    >>> decide_channels(post, pre).channels
    (1,)
    """
    if post.is_grey and pre.is_grey:
        return ChannelDecision(post.samples, pre.samples, None)
    if post.is_grey or pre.is_grey:
        grey, coloured = (post, pre) if post.is_grey else (pre, post)
        chosen = _choose([coloured.means], coloured.samples)
        warning = (
            f"{grey.name} is grey and {coloured.name} has {len(coloured.samples)} "
            f"channels; its {_listed(chosen)} stands for the signal there"
        )
        sides = (grey.samples, chosen) if post.is_grey else (chosen, grey.samples)
        return ChannelDecision(*sides, chosen, (warning,))
    if post.samples != pre.samples:
        raise RawDataError(
            f"{post.name} has {len(post.samples)} channels and {pre.name} has "
            f"{len(pre.samples)}; export both with the same settings"
        )
    chosen = _choose([post.means, pre.means], post.samples)
    own_post = _choose([post.means], post.samples)
    own_pre = _choose([pre.means], pre.samples)
    if own_post == own_pre:
        return ChannelDecision(chosen, chosen, chosen)
    warning = (
        f"alone, {post.name} would use {_listed(own_post)} and {pre.name} "
        f"{_listed(own_pre)}; {_listed(chosen)} is used for both"
    )
    return ChannelDecision(chosen, chosen, chosen, (warning,))


def _choose(
    means: Sequence[tuple[float, ...]], samples: tuple[int, ...]
) -> tuple[int, ...]:
    lit = tuple(
        sample
        for index, sample in enumerate(samples)
        if any(image[index] > SIGNAL_MEAN for image in means)
    )
    if lit:
        return lit
    totals = [sum(image[index] for image in means) for index in range(len(samples))]
    return (samples[totals.index(max(totals))],)


def _listed(channels: Sequence[int]) -> str:
    return " + ".join(channel_name(index) for index in channels)
