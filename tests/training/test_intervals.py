"""Intervals hold what they should, about as often as they should."""

import numpy as np

from paper.training.intervals import Interval, over_seeds, rank_correlation


def test_intervals_over_seeds_hold_the_mean_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = [
        found.low < 2 < found.high
        for found in (over_seeds(random.normal(2, 1, 3)) for _ in range(2000))
    ]
    assert abs(np.mean(held) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_equal_seeds_have_no_interval() -> None:
    assert over_seeds([3.0, 3.0, 3.0]) == Interval(3, 3, 3)


def test_a_prediction_that_ranks_is_told_from_one_that_does_not() -> None:
    random = np.random.default_rng(1)
    predicted = np.arange(20.0)
    noise = random.normal(size=(20, 3))
    good = rank_correlation(predicted, predicted[:, None] + 2 * noise)
    none = rank_correlation(predicted, noise)
    reverse = rank_correlation(predicted, -predicted[:, None] + 2 * noise)
    assert good.low > 0.8 and none.low < 0 < none.high and reverse.high < -0.8
    for found in (good, none, reverse):
        assert found.low <= found.value <= found.high


def test_the_same_numbers_have_the_same_interval() -> None:
    x = np.arange(8.0)
    y = np.sin(np.arange(24.0)).reshape(8, 3)
    assert rank_correlation(x, y) == rank_correlation(x, y)
