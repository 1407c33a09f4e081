"""Shows the results of a pair, with the settings that they were made of."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from napari_exo2micro.core.errors import Exo2MicroError
from napari_exo2micro.core.parameter_entry import ParameterValue
from napari_exo2micro.plugin.batch.batch_request import BatchRequest, Pair
from napari_exo2micro.plugin.batch.batch_words import params_words
from napari_exo2micro.plugin.layers import about
from napari_exo2micro.plugin.message import MessageStrip
from napari_exo2micro.plugin.session import Session

__all__ = ["ResultOpener"]


class ResultOpener(QObject):
    """Opens results of a batch, and gives the workbench its own settings back.

    Parameters
    ----------
    session : Session
        Where they are shown.
    message : MessageStrip
        Says what was done.
    parent : QObject, optional
        As for any object.

    Attributes
    ----------
    changed : Signal(bool)
        Whether there are settings to go back to.
    """

    changed = Signal(bool)

    def __init__(
        self, session: Session, message: MessageStrip, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._message = session, message
        self._before: dict[str, ParameterValue] | None = None
        session.params_changed.connect(self._forget)

    def open(self, pair: Pair, request: BatchRequest) -> None:
        """Show the layers of a pair, which becomes the workbench's source."""
        session, before = self._session, self._session.params
        earlier = before if self._before is None else self._before
        try:
            session.set_params(**request.params)
        except Exo2MicroError as error:
            self._message.error(str(error))
            return
        session.set_source(
            raw_dir=request.raw_dir,
            output_dir=request.output_dir,
            checkpoint_format=request.checkpoint_format,
            sample=pair[0],
            dye=pair[1],
        )
        session.show_results(on_error=self._message.error)
        name = " / ".join(pair)
        words = params_words(session.params, before)
        if words:
            self._before = earlier
            self.changed.emit(True)
            self._message.note(
                f"{name} is open. The workbench has the batch's settings now: {words}."
            )
        else:
            self._message.note(f"{name} is open, and chosen in the workbench.")

    def go_back(self) -> None:
        """Give the workbench the settings that it had before a result was opened."""
        if self._before is not None:
            self._session.set_params(**self._before)
            self._message.note("The workbench has the settings of before again.")

    def renew(self, request: BatchRequest, ran: set[Pair]) -> None:
        """Show the open pair's results anew when a batch has made them again.

        Parameters
        ----------
        request : BatchRequest
            What was run.
        ran : set of (str, str)
            Samples with dyes that have run.
        """
        session = self._session
        pair = (session.sample, session.dye)
        is_same = (
            session.raw_dir == request.raw_dir
            and session.output_dir == request.output_dir
            and session.checkpoint_format == request.checkpoint_format
            and session.params == dict(request.params)
        )
        if pair not in ran or not is_same:
            return
        known = (about(layer) for layer in session.viewer.layers)
        if any((one.get("sample"), one.get("dye")) == pair for one in known):
            session.show_results(on_error=self._message.error)

    def _forget(self, _names: object = None) -> None:
        """Keep what a person has set since: there is nothing to go back to."""
        if self._before is not None:
            self._before = None
            self.changed.emit(False)
