"""What a widget listens to outside itself, so that it can stop listening."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

__all__ = ["Connections"]


class Connections:
    """Connects to signals of Qt and events of napari, and ends all at once.

    A dock that was closed may live on for a while, and what it listened to lives as
    long as the viewer: without this it would go on reacting.
    """

    def __init__(self) -> None:
        self._made: list[tuple[Any, Callable[..., Any]]] = []

    def add(self, emitter: Any, slot: Callable[..., Any]) -> None:
        """Listen to something.

        Parameters
        ----------
        emitter : bound signal or napari.utils.events.EventEmitter
            What is listened to.
        slot : bound method
            What is called.
        """
        emitter.connect(slot)
        self._made.append((emitter, slot))

    def close(self) -> None:
        """Listen to nothing any more."""
        made, self._made = self._made, []
        for emitter, slot in made:
            # Qt has deleted one of the two: then the connection is gone, too.
            with contextlib.suppress(RuntimeError, TypeError):
                emitter.disconnect(slot)
