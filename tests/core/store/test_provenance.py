"""Headers: what they tell, in JSON and as FITS cards."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from napari_exo2micro.core.base import CheckpointError
from napari_exo2micro.core.images import Transform
from napari_exo2micro.core.parameters import ABBREVIATIONS, Verdict, default_params
from napari_exo2micro.core.store import Provenance, StoredScale
from napari_exo2micro.core.store.provenance import creation_time


def provenance(**more):
    fields = {
        "sample": "Rock",
        "dye": "DAPI",
        "stage": 4,
        "name": "difference",
        "parameters": {**default_params(), "manual_scale": 1.42, "use_edges": False},
        "inputs": "0123456789abcdef",
        "raw": {"post": {"sha256": "ab"}, "pre": {"sha256": "cd"}},
        "transform": Transform.similarity(angle_deg=3.3, translation=(0.1, -7)),
        "verdicts": {
            3: Verdict("ok", numbers={"accuracy_px": 0.03}),
            4: Verdict("fell_back", "no peak"),
        },
        "scale": StoredScale("moffat", 1.3, 0.01),
        "notes": ("taken in a hurry",),
        "extra": {"OPERATOR": "me", "a long key": [1, 2], "scale": 7},
    }
    return Provenance(**{**fields, **more})


def test_a_header_reads_back_to_what_it_was_made_from():
    first = provenance()
    again = Provenance.from_header(first.to_header())
    assert again.to_header() == first.to_header()
    assert again.transform == first.transform
    assert again.verdicts == first.verdicts
    assert again.identity == first.identity


@given(st.data())
def test_any_change_of_a_header_is_noticed(data):
    header = provenance().to_header()
    key = data.draw(st.sampled_from(sorted(set(header) - {"checksum"})))
    header[key] = "something else"
    with pytest.raises(CheckpointError, match=r"damaged|version"):
        Provenance.from_header(header)


def test_identity_depends_on_what_the_pixels_depend_on():
    first = provenance()
    same = replace(first, created="2001-01-01T00:00:00", notes=(), software={})
    assert same.identity == first.identity
    for change in (
        {"sample": "Other"},
        {"inputs": "fedcba9876543210"},
        {"transform": Transform.identity()},
        {"parameters": default_params()},
    ):
        assert replace(first, **change).identity != first.identity


def test_parameters_of_later_stages_do_not_count():
    early = provenance(stage=2, name="pre", parameters=default_params(), extra={})
    later = {**default_params(), "manual_scale": 2.0}
    assert replace(early, parameters=later).identity == early.identity


def test_cards_are_short_unique_and_finite():
    cards = provenance().to_cards()
    keys = [key for key, _, _ in cards]
    assert len(keys) == len(set(keys))
    assert all(0 < len(key) <= 8 and key == key.upper() for key in keys)
    numbers = [value for _, value, _ in cards if isinstance(value, float)]
    assert all(math.isfinite(number) for number in numbers)
    told = {key: value for key, value, _ in cards}
    assert told["MSC"] == 1.42
    assert told["UE"] is False
    assert told["IACC"] == 0.03
    assert told["ILVLOK"] is True
    assert told["VERDICT"] == "fell_back"
    assert told["REASON"] == "no peak"
    assert told["OPERATOR"] == "me"
    assert told["A_LONG_K"] == "[1, 2]"
    assert told["SCALE"] == 1.3
    assert told["X_SCALE"] == 7
    names = {key: comment for key, _, comment in cards}
    assert names["MSC"] == "manual_scale"


def test_a_failed_interior_alignment_has_the_accuracy_minus_one():
    failed = provenance(verdicts={3: Verdict("failed", "nothing matched")})
    told = {key: value for key, value, _ in failed.to_cards()}
    assert told["IACC"] == -1
    assert told["ILVLOK"] is False


def test_no_abbreviation_is_a_key_of_the_header():
    fixed = {key for key, _, _ in provenance(parameters=default_params()).to_cards()}
    assert not fixed & {short.upper() for short in ABBREVIATIONS.values()}


def test_not_a_number_is_refused_in_a_header():
    with pytest.raises(ValueError, match="JSON"):
        provenance(extra={"X": float("nan")}).to_header()


def test_the_time_can_be_set_from_outside(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert creation_time() == "1970-01-01T00:00:00"
