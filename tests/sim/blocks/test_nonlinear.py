"""The nonlinear unit in integers against the same functions in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.blocks import nonlinear

ONE = 1 << nonlinear.FRACTION_BITS


def _random(tokens: int, n: int, scale: float, seed: int = 0) -> np.ndarray:
    return nonlinear.to_fixed(np.random.default_rng(seed).normal(scale=scale, size=(tokens, n)))


@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=20))
def test_codes_are_the_nearest_of_127_steps(numbers: list[int]) -> None:
    found = nonlinear.quantise(np.array([numbers]))
    largest = max(map(abs, numbers))
    assert found.largest.item() == largest
    for code, number in zip(found.codes[0].tolist(), numbers, strict=True):
        assert -127 <= code <= 127
        assert abs(code * largest - 127 * number) * 2 <= largest


def test_zeros_quantise_to_zeros() -> None:
    found = nonlinear.quantise(np.zeros((1, 4), np.int64))
    assert not found.codes.any()
    assert found.largest.item() == 0


@pytest.mark.parametrize("scale", [0.01, 1.0, 300.0])
def test_norm_is_within_half_a_code_of_float(scale: float) -> None:
    x = _random(5, 256, scale)
    gain = np.random.default_rng(1).uniform(0.1, 3.0, 256)
    fixed = np.rint(gain * (1 << nonlinear.GAIN_BITS)).astype(np.int64)
    found = nonlinear.norm_quantise(x, fixed, 1e-5)
    real = x / ONE
    wanted = real / np.sqrt((real**2).mean(-1, keepdims=True) + 1e-5) * gain
    step = found.largest / ONE / 127
    assert (np.abs(found.codes * step - wanted) <= 0.51 * step + 1e-3 * np.abs(wanted)).all()


def test_norm_of_zeros_is_zero() -> None:
    found = nonlinear.norm_quantise(np.zeros((1, 4), np.int64), np.full(4, 4096), 1e-5)
    assert not found.codes.any()


def test_norm_of_the_largest_numbers_does_not_overflow() -> None:
    x = np.full((1, 4096), 2**31 - 1)
    found = nonlinear.norm_quantise(x, np.full(4096, 4096), 1e-5)
    assert (found.codes == 127).all()
    assert found.largest.item() == pytest.approx(ONE, rel=1e-3)


@pytest.mark.parametrize("largest", [1, 900, 70_000, 2**31 - 1])
def test_dequantised_sums_are_within_a_step_of_float(largest: int) -> None:
    random = np.random.default_rng(2)
    bound = int(2**31 * 127 * 2.0**24 / largest)
    sums = random.integers(-min(bound, 2**47), min(bound, 2**47), (3, 50))
    found = nonlinear.dequantise(sums, np.array([[largest]] * 3))
    wanted = sums * 2.0**-24 * largest / 127
    # 4 bits of the sum and all but 16 of the largest magnitude are cut
    assert (np.abs(found - wanted) <= 1 + 2.0**-15 * np.abs(wanted) + 16 * largest / 2**31).all()


def test_rotation_keeps_lengths_and_turns_by_position() -> None:
    x = _random(3, 64, 1.0).reshape(3, 2, 32)
    positions = np.array([0, 1, 1000])
    turned = nonlinear.rotate(x, *nonlinear.angles(positions, 32, 10_000.0))
    np.testing.assert_array_equal(turned[0], x[0])
    angle = positions[:, None, None] * 10_000.0 ** -(np.arange(0, 32, 2) / 32)
    as_complex = (x[..., :16] + 1j * x[..., 16:]) * np.exp(1j * angle)
    wanted = np.concatenate([as_complex.real, as_complex.imag], -1)
    assert np.abs(turned - wanted).max() < 2.0**-12 * ONE


def test_silu_is_within_a_thousandth_of_float() -> None:
    gate, up = _random(1, 2000, 4.0), _random(1, 2000, 2.0, seed=3)
    found = nonlinear.silu_multiply(gate, up) / ONE
    real = gate / ONE
    wanted = real / (1 + np.exp(-real)) * up / ONE
    assert np.abs(found - wanted).max() < 1e-3 * max(1.0, float(np.abs(wanted).max()))


def test_silu_of_huge_numbers_saturates() -> None:
    huge = np.array([[2**31 - 1]])
    assert nonlinear.silu_multiply(huge, huge).item() == 2**31 - 1
    assert nonlinear.silu_multiply(-huge, huge).item() == 0


@given(st.integers(0, 2**62 - 1))
def test_integer_root(x: int) -> None:
    assert nonlinear.isqrt(np.array([x])).item() == math.isqrt(x)


@given(st.lists(st.integers(-(2**24), 2**24), min_size=2, max_size=32), st.integers(0, 3))
def test_kv_codes_are_the_nearest_that_16_steps_allow(numbers: list[int], shift: int) -> None:
    x = np.array(numbers, np.int64)[None, None] >> (4 * shift)
    found = nonlinear.quantise_kv(x)
    step = float(found.scales.item()) * ONE
    value = (found.codes - found.zeros[..., None]) * step
    # half a step, and what rounding the zero point and the scale costs at the ends
    assert np.abs(value - x).max() <= 1.02 * step
    assert found.codes.min() >= 0
    assert found.codes.max() <= 15


def test_kv_codes_of_numbers_of_one_sign_keep_zero_in_range() -> None:
    x = nonlinear.to_fixed(np.array([[[10.0, 10.5, 11.0, 15.0]]]))
    found = nonlinear.quantise_kv(x)
    assert found.zeros.item() == 0
    value = found.codes * float(found.scales.item())
    np.testing.assert_allclose(value, x / ONE, atol=0.51)
