"""What a control says of how many candidates are false, against truth."""

import numpy as np
import pytest

from napari_exo2micro.core.detection import Control, count_of, purity_of
from napari_exo2micro.core.detection.counts import false_interval


def control_of(number, ratio=1.0):
    return Control("blank", np.linspace(5, 9, number), ratio, 4.5)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_the_interval_holds_the_truth_at_any_ratio_of_areas(ratio):
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        of_control, real = rng.poisson(20), 200
        found = real + rng.poisson(20 * ratio)
        low, high = count_of(found, of_control, ratio=ratio).interval
        held += low <= real <= high
    assert held >= 276  # 92 %; four standard deviations below 95 % are 90 %


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_purity_counts_a_false_one_by_the_areas(ratio):
    rng = np.random.default_rng(8)
    of_control = 5 + rng.exponential(1.0, 200)
    false = 5 + rng.exponential(1.0, int(200 * ratio))
    real = rng.uniform(5, 20, 500)
    purity = purity_of(np.concatenate([false, real]), of_control, ratio)
    stated, (low, high) = purity.above(5.0)
    truth = len(real) / (len(real) + len(false))
    assert stated == pytest.approx(truth)
    assert low < truth < high
    expected = purity.p_real(np.concatenate([false, real])).sum()
    assert expected == pytest.approx(len(real), rel=0.1)


def test_the_expectation_and_its_interval_scale_with_the_area():
    control = control_of(10, 3.0)
    assert control.number(5.0) == 10
    assert control.false(5.0) == 30.0
    assert control.interval(5.0) == pytest.approx(3 * np.array(false_interval(10)))
    assert control.interval(20.0)[0] == 0.0
    told = control.to_dict(5.0)
    assert (told["sample"], told["spots"], told["false"]) == ("blank", 10, 30.0)


def test_control_and_dark_spots_disagree_beyond_their_intervals_only():
    assert not control_of(3).exceeds(0, 4.5)
    assert control_of(10).exceeds(0, 4.5)
    assert not control_of(10).exceeds(8, 4.5)
    assert control_of(0).falls_short(10, 4.5)
    assert not control_of(5).falls_short(10, 4.5)
    rng = np.random.default_rng(2)
    pairs = rng.poisson(30, (1000, 2))
    wrong = [
        control_of(one).exceeds(other, 4.5) or control_of(one).falls_short(other, 4.5)
        for one, other in pairs
    ]
    assert np.mean(wrong) < 0.02


def test_a_ratio_of_areas_lies_above_0():
    with pytest.raises(ValueError, match="above 0"):
        count_of(3, 0, ratio=0.0)
