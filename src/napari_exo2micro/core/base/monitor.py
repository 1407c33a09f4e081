"""Progress and cancelling, as one object that long functions report to."""

from __future__ import annotations

from collections.abc import Callable

from napari_exo2micro.core.base.errors import CancelledError


class Monitor:
    """Is told the fraction done and is asked whether to stop.

    Functions that take long have a parameter `monitor`, which is one of these; without
    one they tell nobody and cannot be stopped.

    Parameters
    ----------
    on_progress : callable, optional
        Called as ``on_progress(fraction, text)`` with `fraction` in 0..1.
    should_stop : callable, optional
        Called without arguments; a true answer stops the work between two
        windows of an image.
    on_stage : callable, optional
        Called with the number of each stage of a run when it begins.

    Examples
    --------
    >>> seen = []
    >>> monitor = Monitor(lambda fraction, text: seen.append((fraction, text)))
    >>> monitor.part(0.5, 1.0).report(0.5, "warping")
    >>> seen
    [(0.75, 'warping')]
    """

    def __init__(
        self,
        on_progress: Callable[[float, str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        on_stage: Callable[[int], None] | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._on_stage = on_stage
        self._start, self._span = 0.0, 1.0

    def report(
        self, fraction: float, text: str = "", *, stage: int | None = None
    ) -> None:
        """Tell the fraction done, and stop here when that was asked for.

        Parameters
        ----------
        fraction : float
            Done of this monitor's own part, 0..1; clipped.
        text : str
            What is being done, in words for a person.
        stage : int, optional
            The stage that begins with this report.
        """
        self.check()
        if stage is not None and self._on_stage is not None:
            self._on_stage(stage)
        if self._on_progress is not None:
            done = self._start + self._span * min(max(fraction, 0.0), 1.0)
            self._on_progress(done, text)

    def check(self) -> None:
        """Stop here when that was asked for.

        Raises
        ------
        CancelledError
            When the work is to stop.
        """
        if self._should_stop is not None and self._should_stop():
            raise CancelledError(
                "stopped on request; finished stages are kept, run again to go on"
            )

    def part(self, start: float, end: float) -> Monitor:
        """Return a monitor whose 0..1 is `start`..`end` of this one.

        Parameters
        ----------
        start, end : float
            Where the part begins and ends, 0..1.

        Returns
        -------
        Monitor
            To hand on; it stops when this one does.
        """
        child = Monitor(self._on_progress, self._should_stop, self._on_stage)
        child._start = self._start + self._span * start
        child._span = self._span * (end - start)
        return child

    def stopped_by(self, should_stop: Callable[[], bool]) -> Monitor:
        """Return a monitor that stops when this one does, or for a reason more.

        Parameters
        ----------
        should_stop : callable
            As for a new monitor; may raise what ends the work.

        Returns
        -------
        Monitor
            What it is told, this one is told.
        """

        def check() -> bool:
            self.check()
            return should_stop()

        child = self.part(0.0, 1.0)
        child._should_stop = check
        return child
