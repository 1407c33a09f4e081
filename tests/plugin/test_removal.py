"""Layers go without a walk through every object, and their memory comes back."""

from __future__ import annotations

import gc
import weakref

import pytest

from napari_exo2micro.plugin.removal import swift_removal


def test_no_garbage_is_walked_through_meanwhile_and_all_of_it_after():
    gc.unfreeze()
    with swift_removal():
        assert gc.get_freeze_count() > 1000
    assert gc.get_freeze_count() == 0


def test_an_error_leaves_nothing_set_aside():
    with pytest.raises(KeyError), swift_removal():
        raise KeyError("layer")
    assert gc.get_freeze_count() == 0


def test_what_was_removed_is_freed_later():
    class Node:
        pass

    node = Node()
    node.itself = node  # only the collector frees it
    gone = weakref.ref(node)
    with swift_removal():
        del node
        gc.collect()
        assert gone() is not None
    gc.collect()
    assert gone() is None
