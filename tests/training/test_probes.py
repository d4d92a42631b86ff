"""Probes find what is there, and nothing where there is nothing."""

import numpy as np
import pytest
from scipy.stats import norm

from paper.training.probes import log_position, told_apart

CONTENTS, D = 600, 12


@pytest.mark.parametrize("d_prime", [0.0, 1.0, 3.0])
def test_a_probe_finds_the_distance_of_two_gaussians(d_prime: float) -> None:
    random = np.random.default_rng(0)
    direction = random.normal(size=D)
    direction *= d_prime / np.linalg.norm(direction)
    first, second = random.normal(size=(2, CONTENTS, D))
    found = told_apart(first + direction, second)
    assert abs(found.d_prime - d_prime) < 4 * np.sqrt(2 / (CONTENTS / 3)) + 0.05 * d_prime
    expected = norm.cdf(d_prime / 2)
    assert abs(found.accuracy - expected) < 4 * np.sqrt(0.25 / (2 * CONTENTS / 3))


def test_a_probe_uses_what_correlates() -> None:
    random = np.random.default_rng(1)
    noise = random.normal(size=(2, CONTENTS))
    first, second = (np.stack([x, x], axis=1) for x in noise)
    first[:, 0] += 0.5
    assert told_apart(first, second).accuracy > 0.95


def test_activations_that_are_all_the_same_are_not_told_apart() -> None:
    same = np.ones((CONTENTS, D))
    assert told_apart(same, same).d_prime == 0


def test_the_logarithm_of_the_position_is_found_where_it_is() -> None:
    random = np.random.default_rng(2)
    noise = random.normal(size=(300, 40, D))
    target, direction = np.log1p(1 + np.arange(40)), random.normal(size=D)
    signal = target[:, None] * direction
    ratio = target.var() * (direction**2).sum()
    assert abs(log_position(noise + signal) - ratio / (1 + ratio)) < 0.02
    assert log_position(signal + 0 * noise) > 0.99
    assert -0.02 < log_position(noise) < 0.01
