"""The form made from the registry: kinds of fields, refusals, resets, marks, suffix."""

from __future__ import annotations

import contextlib
import re

import pytest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QFocusEvent, QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QWidget,
)

from napari_exo2micro.core.base import ParameterError
from napari_exo2micro.core.parameters import (
    PARAMETER_REGISTRY,
    STAGES,
    RunSettings,
    register_parameter,
    unregister_parameter,
)
from napari_exo2micro.core.store.checkpoints import CheckpointStore
from napari_exo2micro.plugin.session.session import Session
from napari_exo2micro.plugin.widgets.rows import GroupHeading, NumberBox
from napari_exo2micro.plugin.workbench.form import ParameterForm

OPTIONAL = [entry.name for entry in PARAMETER_REGISTRY.values() if entry.optional]


@pytest.fixture
def session(viewer) -> Session:
    """A session without a sample, everything at its default."""
    return Session.of(viewer)


@pytest.fixture
def make_form(session, qtbot):
    """Return a function that makes a form and shows it."""

    def make(stage: int) -> ParameterForm:
        form = ParameterForm(session, stage)
        qtbot.addWidget(form)
        form.show()
        return form

    return make


@pytest.fixture
def form(make_form) -> ParameterForm:
    """The form of stage 2."""
    return make_form(2)


def field(form, name, kind=QWidget):
    return form.findChild(kind, name)


def retype(qtbot, box, text):
    """Type over a number: everything is selected, then come the keys."""
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, text)


def label(form, name) -> str:
    return form.findChild(QLabel, name).text()


def reset_button(form, name) -> QToolButton:
    return form.findChild(QToolButton, f"reset_{name}")


def is_marked(form, name) -> bool:
    bold = "bold" in form.findChild(QLabel, f"label_{name}").styleSheet()
    assert bold == bool(label(form, f"mark_{name}"))
    return bold


# What there is --------------------------------------------------------------------


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_every_parameter_of_a_stage_has_a_row_that_explains_itself(
    make_form, session, stage
):
    form = make_form(stage)
    own = [entry for entry in PARAMETER_REGISTRY.values() if entry.stage == stage]
    assert {widget.name for widget in form.container} == {entry.name for entry in own}
    for entry in own:
        assert form.container[entry.name].value == entry.default
        assert label(form, f"label_{entry.name}").lower() == entry.label.lower()
        tooltip = field(form, entry.name).parentWidget().toolTip() or (
            field(form, entry.name).toolTip()
        )
        for word in (entry.name, entry.abbreviation, entry.limits()):
            assert word in tooltip
        assert not reset_button(form, entry.name).isEnabled()
        assert not is_marked(form, entry.name)
    assert session.non_default_params() == {}


def test_groups_are_headings_and_rare_ones_are_folded(form, qtbot):
    headings = form.findChildren(GroupHeading)
    assert {heading.title for heading in headings} == {
        entry.group for entry in PARAMETER_REGISTRY.values() if entry.stage == 2
    }
    folded = form.findChild(GroupHeading, "group_Fine alignment (ECC)")
    assert not field(form, "stopit").isVisible()
    assert field(form, "boundary_width").isVisible()
    qtbot.keyClick(folded, Qt.Key.Key_Space)
    assert field(form, "stopit").isVisible()


def test_a_group_opens_when_one_of_its_parameters_is_changed_elsewhere(form, session):
    session.set_params(stopit=100)
    assert field(form, "stopit").isVisible()
    heading = form.findChild(GroupHeading, "group_Fine alignment (ECC)")
    assert "1 changed" in heading.text()


@pytest.mark.parametrize(
    ("default", "more", "typed", "value"),
    [
        (3, {"minimum": 1, "unit": "grains of sand"}, "7", 7),
        ("plain", {}, "rough", "rough"),
        (None, {"kind": int, "minimum": 2}, "5", 5),
    ],
)
def test_a_parameter_of_another_package_appears_by_itself(
    make_form, session, qtbot, default, more, typed, value
):
    register_parameter("grain_size", default, "grain", 3, "Size.", **more)
    try:
        form = make_form(3)
        if default is None:
            field(form, "use_grain_size", QCheckBox).click()
        box = field(form, "grain_size", QLineEdit) or field(
            form, "grain_size", NumberBox
        )
        retype(qtbot, box, typed)
        assert session.params["grain_size"] == value
        assert type(session.params["grain_size"]) is type(value)
        assert label(form, "label_grain_size").startswith("Grain size")
        assert form.findChild(GroupHeading, "group_Others") is not None
    finally:
        session.reset_params("grain_size")
        unregister_parameter("grain_size")


# One kind of field after the other ------------------------------------------------


def test_a_tick_box(form, session):
    field(form, "rotation_search", QCheckBox).click()
    assert session.params["rotation_search"] is False


def test_a_whole_number(form, session, qtbot):
    retype(qtbot, field(form, "boundary_width"), "20")
    assert session.params["boundary_width"] == 20
    assert isinstance(session.params["boundary_width"], int)
    qtbot.keyClicks(field(form, "boundary_width"), ".e")
    assert session.params["boundary_width"] == 20


@pytest.mark.parametrize(
    ("typed", "value"),
    [("1e-7", 1e-7), ("0.00025", 2.5e-4), ("0,5", 0.5), ("1E-15", 1e-15)],
)
def test_a_very_small_number_is_shown_and_typed(form, session, qtbot, typed, value):
    box = field(form, "stopdelta")
    assert box.text() == "1e-06"
    form.findChild(GroupHeading, "group_Fine alignment (ECC)").click()
    retype(qtbot, box, typed)
    assert session.params["stopdelta"] == value
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert session.params["stopdelta"] == value


def test_a_number_keeps_every_digit(form, session, qtbot):
    session.set_params(angle_step=0.1234567890123)
    assert form.container["angle_step"].value == 0.1234567890123
    retype(qtbot, field(form, "angle_step"), "1.0000000001")
    assert session.params["angle_step"] == 1.0000000001


def test_a_field_left_empty_goes_back_to_its_number(form, session, qtbot):
    box = field(form, "angle_range")
    box.setFocus()
    box.selectAll()
    qtbot.keyClick(box, Qt.Key.Key_Delete)
    assert session.params["angle_range"] == 20.0
    qtbot.keyClick(box, Qt.Key.Key_Return)
    assert box.text() == "20°"


def test_arrows_take_steps_that_suit_the_number_and_stop_at_the_limits(form, session):
    for name, steps, value in (
        ("scale_min", 1, 0.86),
        ("max_translation", 1, 210.0),
        ("angle_range", -1, 19.0),
        ("boundary_width", 3, 18),
        ("boundary_smooth", -99, 0),
        ("stopdelta", -1, 9e-7),
    ):
        field(form, name).stepBy(steps)
        assert session.params[name] == pytest.approx(value, rel=1e-12)


def test_a_choice(make_form, session):
    combo = field(make_form(3), "interpolation", QComboBox)
    assert [combo.itemText(i) for i in range(combo.count())] == [
        "linear",
        "cubic",
        "lanczos",
    ]
    combo.setCurrentText("lanczos")
    assert session.params["interpolation"] == "lanczos"


# Optional numbers: no tick is no value, never 0 -----------------------------------


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_number_without_its_tick_has_no_value(
    make_form, session, qtbot, name
):
    form = make_form(PARAMETER_REGISTRY[name].stage)
    assert form.container[name].value is None
    assert not field(form, name).isEnabled()
    if PARAMETER_REGISTRY[name].stage == 4:
        field(form, "offset_correction", QCheckBox).click()
    elif PARAMETER_REGISTRY[name].stage == 5:
        retype(qtbot, field(form, "false_positives"), "3")
    else:
        retype(qtbot, field(form, "pad"), "90")
    assert session.params[name] is None
    assert PARAMETER_REGISTRY[name].abbreviation not in label(form, "suffix")
    tick = field(form, f"use_{name}", QCheckBox)
    tick.click()
    retype(qtbot, field(form, name), "7.5")
    assert session.params[name] == 7.5
    tick.click()
    assert session.params[name] is None
    assert form.container[name].value is None
    tick.click()  # and what was typed is still there
    assert session.params[name] == 7.5


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_zero_in_an_optional_number_is_taken_as_the_registry_says(
    make_form, session, qtbot, name
):
    entry = PARAMETER_REGISTRY[name]
    form = make_form(entry.stage)
    field(form, f"use_{name}", QCheckBox).click()
    before = session.params[name]
    retype(qtbot, field(form, name), "0")
    assert form.container[name].value == 0.0
    if entry.exclusive_minimum:
        assert session.params[name] == before
        assert "0 is not used" in label(form, f"refusal_{name}")
    else:
        assert session.params[name] == 0.0
        assert not form.container[name].refusal


@pytest.mark.parametrize("name", OPTIONAL)
def test_an_optional_number_follows_other_docks(make_form, session, name):
    form = make_form(PARAMETER_REGISTRY[name].stage)
    session.set_params(**{name: 1.75})
    assert field(form, f"use_{name}", QCheckBox).isChecked()
    assert field(form, name, NumberBox).value() == 1.75
    session.reset_params(name)
    assert not field(form, f"use_{name}", QCheckBox).isChecked()


# What cannot be taken -------------------------------------------------------------


def test_a_number_out_of_range_stays_as_typed_and_is_not_used(form, session, qtbot):
    box = field(form, "boundary_width")
    retype(qtbot, box, "300")
    assert box.text() == "300 px"
    # Neither 3 nor 30, which were there on the way.
    assert session.params["boundary_width"] == 15
    said = label(form, "refusal_boundary_width")
    assert "300 is not used" in said
    assert "1 to 200 px" in said
    assert "15 counts" in said
    assert field(form, "refusal_boundary_width").isVisible()
    session.set_source(sample="Rock", dye="DAPI")
    with pytest.raises(ParameterError, match=r"ring thickness.*300 is not used"):
        session.run(1, 2)
    qtbot.keyClick(box, Qt.Key.Key_Backspace)
    assert session.params["boundary_width"] == 30
    assert not field(form, "refusal_boundary_width").isVisible()
    assert form.refusal() == ""


def test_a_refused_number_is_reset_by_its_button(form, session, qtbot):
    session.set_params(boundary_width=40)
    retype(qtbot, field(form, "boundary_width"), "0")
    assert session.params["boundary_width"] == 40
    reset_button(form, "boundary_width").click()
    assert session.params["boundary_width"] == 15
    assert form.refusal() == ""
    assert field(form, "boundary_width").text() == "15 px"


def test_two_limits_that_cross_wait_for_each_other(form, session, qtbot):
    retype(qtbot, field(form, "scale_min"), "1.3")
    assert session.params["scale_min"] == 0.85
    said = label(form, "refusal_scale_min")
    assert "'smallest magnification' must not exceed 'largest magnification'" in said
    assert "scale_m" not in said
    assert field(form, "scale_min").text() == "1.3"
    retype(qtbot, field(form, "scale_max"), "1.5")
    assert session.params["scale_max"] == 1.5
    assert session.params["scale_min"] == 1.3
    assert form.refusal() == ""


def test_a_reset_that_would_cross_a_limit_is_refused_too(form, session):
    session.set_params(scale_min=0.3, scale_max=0.5)
    reset_button(form, "scale_min").click()
    assert session.params["scale_min"] == 0.3
    assert "must not exceed" in label(form, "refusal_scale_min")
    reset_button(form, "scale_max").click()
    assert (session.params["scale_min"], session.params["scale_max"]) == (0.85, 1.15)
    assert form.refusal() == ""


def test_a_closed_form_stops_nothing(form, session, qtbot):
    retype(qtbot, field(form, "boundary_width"), "300")
    assert form.refusal()
    form.close()
    assert form.refusal() == ""


# Marks, resets, suffix ------------------------------------------------------------


def test_a_changed_parameter_stands_out_and_can_be_reset(form, session, qtbot):
    retype(qtbot, field(form, "angle_range"), "30")
    assert is_marked(form, "angle_range")
    assert not is_marked(form, "angle_step")
    button = reset_button(form, "angle_range")
    assert button.isEnabled()
    assert "20" in button.toolTip()
    button.click()
    assert session.params["angle_range"] == 20.0
    assert not is_marked(form, "angle_range")
    assert not button.isEnabled()


def test_a_stage_is_reset_as_a_whole_and_others_are_not(form, session, qtbot):
    everything = form.findChild(QPushButton, "reset_stage")
    assert not everything.isEnabled()
    session.set_params(pad=100, scale_min=1.2, scale_max=1.3, use_edges=False)
    retype(qtbot, field(form, "boundary_width"), "300")
    everything.click()
    assert session.non_default_params() == {"pad": 100}
    assert form.refusal() == ""
    assert not everything.isEnabled()
    assert label(form, "suffix") == "Files of this stage end in: \u200b_pad100"


def test_the_ending_of_the_files_is_shown_as_one_types(form, session, qtbot):
    assert "no ending" in label(form, "suffix")
    box = field(form, "boundary_width")
    box.setFocus()
    box.selectAll()
    for key, ending in (("2", "_bw2"), ("0", "_bw20")):
        qtbot.keyClicks(box, key)
        assert label(form, "suffix").replace("\u200b", "").endswith(f": {ending}")
    session.set_params(pad=80, manual_scale=1.5)  # of a stage before and of one after
    assert label(form, "suffix").replace("\u200b", "").endswith(": _pad80_bw20")


def test_a_long_ending_is_shown_as_the_files_have_it(make_form, session, tmp_path):
    names = [p.name for p in PARAMETER_REGISTRY.values() if p.kind in (int, float)]
    for name in names:
        entry, low = PARAMETER_REGISTRY[name], PARAMETER_REGISTRY[name].minimum
        value = entry.default if entry.default is not None else (low or 0) + 1.0
        for one in (value * 0.9876543, value + 1, value / 2):
            with contextlib.suppress(ParameterError):
                session.set_params(**{name: entry.kind(one)})
                break
    form = make_form(4)
    whole = session.suffix(4)
    assert len(whole) > 200
    settings = RunSettings(output_dir=tmp_path, params=session.params)
    path = CheckpointStore("Rock", "DAPI", settings).tiff_path(4, "difference_moffat")
    shown = label(form, "suffix").replace("\u200b", "")
    ending = re.search(r"_x[0-9a-f]{10}", shown)[0]
    assert path.stem.endswith(ending)
    assert whole not in shown
    assert whole in field(form, "suffix").toolTip().replace("\u200b", "")


# Edits elsewhere ------------------------------------------------------------------


def test_edits_elsewhere_come_back_without_loops(make_form, session, qtbot):
    one, other = make_form(2), make_form(2)
    told: list[tuple[str, ...]] = []
    session.params_changed.connect(told.append)
    retype(qtbot, field(one, "boundary_width"), "7")
    assert field(other, "boundary_width").value() == 7
    assert is_marked(other, "boundary_width")
    session.set_params(use_edges=False, scale_max=2.0, stopdelta=1e-8)
    for form in (one, other):
        assert form.container["use_edges"].value is False
        assert form.container["scale_max"].value == 2.0
        assert form.container["stopdelta"].value == 1e-8
    assert told == [("boundary_width",), ("use_edges", "scale_max", "stopdelta")]


def test_a_preset_replaces_what_was_refused(form, session, qtbot):
    retype(qtbot, field(form, "scale_min"), "1.3")
    session.set_params(scale_min=0.5)
    assert field(form, "scale_min").text() == "0.5"
    assert form.refusal() == ""


def test_setting_the_container_is_an_edit(form, session):
    form.container["boundary_width"].value = 33
    assert session.params["boundary_width"] == 33
    form.container["boundary_width"].value = 0
    assert session.params["boundary_width"] == 33
    assert "0 is not used" in label(form, "refusal_boundary_width")


def test_an_edit_brings_its_stage_to_the_front(make_form, session):
    form = make_form(3)
    seen: list[int] = []
    session.stage_shown.connect(seen.append)
    field(form, "interior_ecc", QCheckBox).click()
    assert seen == [3]


def test_the_mouse_wheel_scrolls_the_form_and_changes_nothing(form, session, qtbot):
    box = field(form, "angle_range")
    box.clearFocus()
    wheel = QWheelEvent(
        QPointF(5, 5),
        QPointF(5, 5),
        QPoint(0, 120),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(box, wheel)
    assert session.params["angle_range"] == 20.0


def test_the_label_of_the_field_in_use_is_underlined(form, session, qtbot):
    def style():
        return form.findChild(QLabel, "label_angle_range").styleSheet()

    session.set_params(angle_range=25.0)
    assert style() == "font-weight: bold;"
    # As they come in an active window; without a window manager there is none.
    box = field(form, "angle_range")
    QApplication.sendEvent(box, QFocusEvent(QEvent.Type.FocusIn))
    assert style() == "font-weight: bold;text-decoration: underline;"
    QApplication.sendEvent(box, QFocusEvent(QEvent.Type.FocusOut))
    assert style() == "font-weight: bold;"


@pytest.mark.parametrize(
    ("stage", "first", "names"),
    [
        (
            2,
            "group_Outline rings",
            "group_Outline rings, use_edges, reset_use_edges, boundary_width, "
            "reset_boundary_width, boundary_smooth, reset_boundary_smooth, "
            "group_Coarse search, rotation_search",
        ),
        (
            4,
            "group_Further scales",
            "group_Further scales, use_scale_percentile, scale_percentile, "
            "reset_scale_percentile, use_manual_scale, manual_scale, "
            "reset_manual_scale, group_Offset, offset_correction",
        ),
    ],
)
def test_the_tab_key_goes_from_heading_to_row(make_form, stage, first, names):
    current, seen = field(make_form(stage), first), []
    wanted = names.split(", ")
    for _ in range(100):
        if current.objectName() in wanted:
            seen.append(current.objectName())
        current = current.nextInFocusChain()
        if current.objectName() == first:
            break
    assert seen == wanted
