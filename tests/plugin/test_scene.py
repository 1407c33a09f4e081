"""What panels wish to be seen resolves to one scene; only the difference is applied."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_exo2micro.plugin.layers.layers import KEY, LayerSpec
from napari_exo2micro.plugin.layers.scene import (
    Display,
    Rank,
    Wish,
    place_layers,
    resolve,
    wanted,
)


@pytest.fixture
def model():
    """A viewer model alone: no application, no window."""
    return ViewerModel()


def spec(role, value=0.0, kind="image", **options):
    known = {"role": role, "sample": "Rock", "dye": "DAPI"}
    options = {"name": role, **options, "metadata": {KEY: known}}
    data = np.full((8, 8), value) if kind == "image" else np.zeros((1, 2))
    return LayerSpec(data, options, kind)


def seen(model):
    return {layer.name for layer in model.layers if layer.visible}


def hidden(*layers, rank=Rank.COMPARISON):
    return Wish(tuple(v for x in layers for v in wanted(x, visible=False)), rank=rank)


def test_a_higher_rank_counts_and_then_the_later_wish():
    part = object()
    low, first, second = (
        Wish(wanted(part, visible=value), rank=rank)
        for value, rank in (
            ("low", Rank.CHOICE),
            ("first", Rank.COMPARISON),
            ("second", Rank.COMPARISON),
        )
    )
    for wishes, value in (
        ((low,), "low"),
        ((first, low), "first"),
        ((first, second, low), "second"),
        ((), None),
    ):
        values = [one.value for one in resolve(wishes).values.values()]
        assert values == ([value] if value else [])


@pytest.mark.parametrize("first_ends", [True, False])
def test_panels_that_end_in_any_order_leave_the_picture_as_it_was(model, first_ends):
    post, pre, mine = place_layers(model, [spec("post"), spec("pre"), spec("mine")])
    mine.visible = False
    display = Display.of(model)
    display.show("preview", hidden(post, pre, rank=Rank.PREVIEW))
    display.show("blink", Wish(wanted(post, visible=True, colormap="gray")))
    assert seen(model) == {"post"}
    for owner in ("preview", "blink") if first_ends else ("blink", "preview"):
        display.show(owner, None)
        if owner == "preview" and first_ends:
            assert seen(model) == {"post", "pre"}
    assert seen(model) == {"post", "pre"}
    assert post.colormap.name == "gray"  # as napari gave it


def test_what_a_person_changes_meanwhile_stays(model):
    post, pre = place_layers(model, [spec("post"), spec("pre")])
    display = Display.of(model)
    display.show("curtain", hidden(post, pre))
    pre.visible = True
    display.show("other", Wish(wanted(post, opacity=0.5)))
    assert seen(model) == {"pre"}  # nobody wants it otherwise than before
    post.opacity = 0.25
    for owner in ("curtain", "other"):
        display.show(owner, None)
    assert seen(model) == {"post", "pre"}
    assert post.opacity == 0.25


def test_what_is_chosen_for_good_under_a_wish_is_seen_when_that_ends(model):
    post, pre = place_layers(model, [spec("post"), spec("pre")])
    display = Display.of(model)
    display.show("blink", Wish(wanted(pre, visible=False)))
    values = (*wanted(pre, visible=True), *wanted(post, visible=False))
    display.choose(Wish(values))
    assert seen(model) == set()
    display.show("blink", None)
    assert seen(model) == {"pre"}


def test_layers_of_a_wish_come_are_renewed_and_go_alone(model):
    mine = model.add_points([[1.0, 2.0]], name="mine")
    display = Display.of(model)
    frame, lines = spec("frame"), spec("lines", kind="points")
    first = display.show("zoom", Wish(specs=(frame, lines)))
    assert [layer.name for layer in model.layers] == ["mine", "frame", "lines"]
    assert model.layers.selection.active is mine
    told = []
    model.layers.events.connect(lambda event: told.append(event.type))
    again = display.show("zoom", Wish(specs=(spec("frame", 1.0), lines)))
    assert again == first
    assert not {"inserted", "removed"} & set(told)
    assert float(np.asarray(first[0].data).max()) == 1.0
    display.show("zoom", Wish(specs=(frame,)))
    assert display.layers_of("zoom") == first[:1]
    display.show("zoom", None)
    assert list(model.layers) == [mine]


def test_layers_below_lie_below_and_come_one_by_one_when_asked(model):
    mine = model.add_points([[1.0, 2.0]], name="mine")
    display = Display.of(model)
    wish = Wish(specs=tuple(map(spec, "abc")), below=True)
    for count in (1, 2, 3, 3):
        assert len(display.show("compare", wish, one_by_one=True)) == count
    assert [layer.name for layer in model.layers] == ["a", "b", "c", "mine"]
    assert model.layers.selection.active is mine


def test_a_layer_that_a_person_removed_is_not_missed(model):
    post, pre = place_layers(model, [spec("post"), spec("pre")])
    display = Display.of(model)
    display.show("curtain", Wish(hidden(post, pre).values, (spec("curtain"),)))
    model.layers.remove(pre)
    model.layers.remove(display.layers_of("curtain")[0])
    display.show("curtain", None)
    assert list(model.layers) == [post]
    assert post.visible


def test_a_layer_made_anew_takes_the_place_of_the_one_before(model):
    (post,) = place_layers(model, [spec("post")])
    display = Display.of(model)
    display.show("curtain", hidden(post))
    levels = [np.zeros((8, 8)), np.zeros((4, 4))]
    anew = spec("post", multiscale=True)
    (new,) = place_layers(model, [LayerSpec(levels, anew.options)])
    assert new is not post
    assert not new.visible
    display.show("curtain", None)
    assert new.visible


def test_a_viewer_that_is_gone_is_not_held_and_asks_for_nothing():
    model = ViewerModel()
    (post,) = place_layers(model, [spec("post")])
    display = Display.of(model)
    display.show("curtain", hidden(post))
    gone = weakref.ref(model)
    del model, post
    gc.collect()
    assert gone() is None
    assert display.show("curtain", None) == []
