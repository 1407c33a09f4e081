"""One padded pair for all previews, as arrays, with its truth."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_exo2micro.core.images import pad_images
from napari_exo2micro.core.images.warp import frame
from napari_exo2micro.core.preview import PreviewSource
from napari_exo2micro.core.simulate import SimulatedPair

PAD = 60


@pytest.fixture(scope="session")
def source_of() -> Callable[[SimulatedPair], PreviewSource]:
    """Make a fresh source on a pair, padded by 60 px."""

    def make(pair: SimulatedPair) -> PreviewSource:
        post, pre = pad_images(pair.post, pair.pre, PAD)
        return PreviewSource(
            post,
            pre,
            post_frame=frame(pair.post.shape, PAD),
            pre_frame=frame(pair.pre.shape, PAD),
        )

    return make


@pytest.fixture(scope="session")
def source(pair: SimulatedPair, source_of) -> PreviewSource:
    """The pair of all tests; what it keeps is shared."""
    return source_of(pair)
