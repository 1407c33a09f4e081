"""Blink: two layers in turn at the same place, so that what moves jumps."""

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Qt, QTimer, Signal
from superqt import QElidingLabel, QLabeledDoubleSlider

from napari_exo2micro.plugin.inspection.box import ComparisonBox, hidden_images
from napari_exo2micro.plugin.layers.pair import LayerPair, short_names
from napari_exo2micro.plugin.layers.presenter import Panel
from napari_exo2micro.plugin.layers.scene import Display, Wanted, Wish, wanted
from napari_exo2micro.plugin.widgets import controls

#: Changes in a second.
DEFAULT_RATE, SLOWEST, FASTEST = 4.0, 0.5, 10.0

#: Letters that no layer of napari uses itself, so that they work whatever is active.
BLINK_KEY, NEXT_KEY = "K", "N"


class BlinkBox(ComparisonBox):
    """Shows one of two layers at a time; its keys work in the viewer.

    Images other than the two are hidden meanwhile, drawings stay; in the end all is
    as it was before.
    """

    HEADING = "Blink"
    NAME = "blink_box"
    WORDS = ("Start blinking", "Stop blinking")
    TIP = (
        "Show the first and the second layer in turn, at the same place: what is "
        f"not aligned jumps.\nKey: {BLINK_KEY}, in the viewer"
    )
    ENDED = "Blinking has ended."

    #: It began, ended, paused or shows the other layer.
    changed = Signal()

    def __init__(self, panel: Panel, pair: LayerPair) -> None:
        super().__init__(panel, pair)
        self._display = Display.of(self._viewer)
        self._layers: tuple[Layer, ...] = ()
        self._others: tuple[Wanted, ...] = ()  # what is hidden meanwhile
        self._index = 0  # of the one that is shown
        self._our_keys: dict[str, Callable[..., Any]] = {}
        self._their_keys: dict[str, Any] = {}
        self._clock = QTimer(self)
        self._clock.setTimerType(Qt.TimerType.PreciseTimer)
        self._clock.timeout.connect(self._turn)
        tip = f"Show the other layer and stay there.\nKey: {NEXT_KEY}, in the viewer"
        following = controls.button(self, "blink_next", "Next", tip, self.step)
        rate = QLabeledDoubleSlider(Qt.Orientation.Horizontal, self)
        rate.setObjectName("blink_rate")
        rate.setRange(SLOWEST, FASTEST)
        rate.setDecimals(1)
        rate.valueChanged.connect(
            lambda hertz: self._clock.setInterval(round(1000 / hertz))
        )
        rate.setValue(DEFAULT_RATE)
        rate.setToolTip("How many times in a second the picture changes")
        self._grey = controls.check_box(
            self,
            "blink_grey",
            "both in grey",
            "Draw both layers in grey while they blink: the eye then follows what "
            "moves, not the change of colour",
            self._follow_grey,
        )
        self._words = QElidingLabel(self)
        self._words.setObjectName("blink_shown")
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setElideMode(Qt.TextElideMode.ElideMiddle)
        controls.column(
            controls.row((self._start, 2), (following, 1)),
            controls.row("Rate, Hz", (rate, 1)),
            self._grey,
            self._words,
            parent=self,
        )
        self.changed.connect(self._show_state)
        self._connections.add(pair.changed, self._follow)
        self._show_state()

    @property
    def is_active(self) -> bool:
        """Whether the two layers are shown in turn, by the clock or step by step."""
        return bool(self._layers)

    @property
    def is_running(self) -> bool:
        """Whether the clock turns them."""
        return self._clock.isActive()

    @property
    def shown(self) -> Layer | None:
        """The layer of the two that is shown now."""
        return self._layers[self._index] if self._layers else None

    @property
    def rate(self) -> float:
        """Changes in a second."""
        return 1000 / self._clock.interval()

    def step(self) -> None:
        """Show the other layer and stay there."""
        if self.is_active:
            self._clock.stop()
            self._turn()
        elif self._may_begin():
            self._begin(run=False)

    def stop(self) -> None:
        """End it: every layer is as it was before."""
        if not self._layers:
            return
        self._clock.stop()
        self._layers = ()
        self._display.show(self, None)
        self.changed.emit()

    def close_down(self) -> None:
        """Stop, give the keys back and listen to nothing any more."""
        super().close_down()
        self.free_keys()

    def bind_keys(self) -> None:
        """Let the keys work in the viewer."""

        # napari asks for plain functions, and calls them with the viewer.
        def toggle(_viewer: Any) -> None:
            self.toggle()

        def step(_viewer: Any) -> None:
            self.step()

        if self._our_keys:
            return
        for key, action in ((BLINK_KEY, toggle), (NEXT_KEY, step)):
            self._their_keys[key] = self._bound_to(key)
            self._viewer.bind_key(key, action, overwrite=True)
            self._our_keys[key] = action

    def free_keys(self) -> None:
        """Give the keys back to whom they belonged before."""
        for key, action in self._our_keys.items():
            if self._bound_to(key) is action:
                self._viewer.bind_key(key, self._their_keys[key], overwrite=True)
        self._our_keys.clear()

    def _bound_to(self, key: str) -> Any:
        """Return what a key does in the viewer; None when it does nothing."""
        keymap = self._viewer.keymap.items()
        return next((action for bound, action in keymap if str(bound) == key), None)

    def _begin(self, *, run: bool = True) -> None:
        """Show the first layer, and the other one in turn."""
        first, second = self._pair.layers
        assert first is not None
        assert second is not None
        other = self._layers[1 - self._index] if self._layers else None
        self._layers = (first, second)
        self._others = hidden_images(self._viewer, self._layers)
        self._show(1 if other is first else 0)
        if run:
            self._clock.start()
        else:
            self._clock.stop()
        self.changed.emit()

    def _go_on(self) -> None:
        # One that was stepped by hand stands still.
        self._begin(run=self.is_running)

    def _turn(self) -> None:
        if any(layer not in self._viewer.layers for layer in self._layers):
            # Another one may be put in its place in this very moment.
            self._clock.stop()
            return
        self._show(1 - self._index)
        self.changed.emit()

    def _show(self, index: int) -> None:
        self._index = index
        self._follow_grey()

    def _follow_grey(self) -> None:
        """Show one of the two; both in grey, if that was chosen."""
        values = list(self._others)
        for number, layer in enumerate(self._layers):
            values += wanted(layer, visible=number == self._index)
            if self._grey.isChecked() and isinstance(layer, Image) and not layer.rgb:
                values += wanted(layer, colormap="gray")
        if self._layers:
            self._display.show(self, Wish(tuple(values)))

    def _show_state(self) -> None:
        super()._show_state()
        shown = self.shown
        if shown is None:
            text = f"Keys: {BLINK_KEY} blinks, {NEXT_KEY} shows the next"
        else:
            text = f"Shown: {short_names([shown])[0]}"
        self._words.setText(text)
