"""Fixed-point softmax against float64."""

import numpy as np
import pytest

from sim.blocks.softmax import SoftmaxConfig, exponent_multiplier, softmax_golden


def reference(scores, scale):
    shifted = np.exp((scores - scores.max(axis=1, keepdims=True)) * scale)
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("n", [1, 2, 3, 20, 64, 385, 1024])
@pytest.mark.parametrize("scale", [1e-6, 1e-5, 1e-4, 1e-3])
def test_every_probability_is_within_one_and_a_half_steps(n, scale):
    scores = np.random.default_rng(n).integers(-40_000, 40_000, (100, n))
    fixed = softmax_golden(SoftmaxConfig(), scores, exponent_multiplier(scale))
    error = np.abs(fixed / 4095 - reference(scores, scale))
    assert error.max() <= 1.5 / 4096


def test_large_scores_do_not_overflow():
    scores = np.array([[2**31 - 1, -(2**31) + 1, 0]])
    fixed = softmax_golden(SoftmaxConfig(), scores, exponent_multiplier(1.0))
    assert fixed.tolist() == [[4095, 0, 0]]


def test_adding_a_constant_changes_nothing():
    scores = np.array([[5, 900, -33]])
    multiplier = exponent_multiplier(1e-3)
    moved = softmax_golden(SoftmaxConfig(), scores + 12345, multiplier)
    assert softmax_golden(SoftmaxConfig(), scores, multiplier).tolist() == moved.tolist()


def test_equal_scores_share_evenly():
    fixed = softmax_golden(SoftmaxConfig(), np.zeros((1, 4), int), exponent_multiplier(0.1))
    assert fixed.tolist() == [[1024, 1024, 1024, 1024]]
