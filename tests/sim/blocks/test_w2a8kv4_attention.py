"""Integer attention over a 4-bit KV cache: its steps in plain Python, the whole against float64."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sim.blocks.exp_block import exp2_golden, exp_block_golden
from sim.blocks.kv4_dequant import arguments_golden, half_parts, score_multiplier
from sim.blocks.value_accumulate import Running, accumulate_golden, divide_golden
from sim.blocks.w2a8kv4_attention import attend
from workloads.errors import InputError

STEP = 2.0**-16  # of an output


@dataclass
class Head:
    """A query and a cache of codes, scales and zero points."""

    q: Any
    k: Any
    k_scales: Any
    k_zeros: Any
    v: Any
    v_scales: Any
    v_zeros: Any
    query_scale: float

    @property
    def values(self):
        return (self.v - self.v_zeros[:, None]) * self.v_scales.astype(float)[:, None]

    def real(self):
        keys = (self.k - self.k_zeros[:, None]) * self.k_scales.astype(float)[:, None]
        scores = keys @ (self.q * self.query_scale) / math.sqrt(len(self.q))
        weights = np.exp(scores - scores.max())
        return weights @ self.values / weights.sum()

    def integer(self, block=64):
        factor = score_multiplier(self.query_scale, len(self.q))
        found = attend(self.q, self.k, self.k_scales, self.k_zeros, self.v, self.v_scales,
                       self.v_zeros, *factor, block=block)  # fmt: skip
        assert found.dtype == np.int32
        return found * STEP

    def error(self, block=64):
        """Largest error beyond an output's step, as a share of the largest value."""
        off = np.abs(self.integer(block) - self.real()).max() - STEP
        return max(off, 0.0) / np.abs(self.values).max()


def some_head(random, keys, channels=64, query_scale=1e-2, value_scale=0.05):
    return Head(
        q=random.integers(-127, 128, channels),
        k=random.integers(0, 16, (keys, channels)),
        k_scales=(random.random(keys) * 0.2 + 0.05).astype(np.float16),
        k_zeros=random.integers(0, 16, keys),
        v=random.integers(0, 16, (keys, channels)),
        v_scales=np.minimum((random.random(keys) + 0.2) * value_scale, 63).astype(np.float16),
        v_zeros=random.integers(0, 16, keys),
        query_scale=query_scale,
    )


@pytest.mark.parametrize("keys", [1, 2, 63, 64, 65, 130, 2048])
@pytest.mark.parametrize("query_scale", [1e-12, 1e-3, 1e-2, 0.1, 10.0])
def test_random_attention_is_within_a_256th_of_the_largest_value(keys, query_scale):
    """Measured: at most 0.0040, where a single weight of 255.5 or more is cut to 255."""
    random = np.random.default_rng(keys)
    for value_scale in (1e-6, 0.01, 1.0, 60.0):
        head = some_head(random, keys, 64, query_scale, value_scale)
        assert head.error() < 2**-8 + 2**-12


def test_equal_scores_average_the_values():
    head = some_head(np.random.default_rng(0), 200)
    head.q[:] = 0
    assert head.error() < 2**-9
    assert np.allclose(head.real(), head.values.mean(0))


def test_one_huge_score_takes_all():
    head = some_head(np.random.default_rng(1), 300)
    head.k[:] = head.k_zeros[:, None]
    head.q[:], head.k[170] = 127, 15
    head.k_zeros[170], head.k_scales[170] = 0, 60000
    head.query_scale = 100.0
    assert np.abs(head.integer() - head.values[170]).max() <= np.abs(head.values[170]).max() / 128


def test_scores_far_below_zero_are_as_good_as_others():
    head = some_head(np.random.default_rng(2), 100)
    head.q[:], head.k[:], head.k_zeros[:] = 127, 0, 15
    head.k_scales = (1.0 + np.arange(100) / 1024).astype(np.float16)
    head.query_scale = 1e-2
    assert head.error() < 2**-8


def test_small_weights_beside_a_large_one_are_lost():
    """The worst case of 8-bit weights: 63 just below half a step, nearly a quarter of the row."""
    head = some_head(np.random.default_rng(3), 64)
    head.q[:] = 0
    head.q[0], head.k[:], head.k_zeros[:] = 1, 0, 0
    head.k[0, 0], head.k_scales[:] = 1, 1
    head.query_scale = math.log(258) * 8
    head.v[:], head.v_zeros[:], head.v_scales[:] = 15, 0, 1
    head.v_scales[1:] = 0.99
    assert 0.18 < head.error() < 0.25


def test_a_shorter_block_changes_little():
    head = some_head(np.random.default_rng(4), 150)
    assert max(head.error(7), head.error(64), head.error(150)) < 2**-8


def test_the_largest_sums_fit_their_bits():
    head = some_head(np.random.default_rng(5), 8192, 2)
    head.q[:], head.v[:], head.v_zeros[:] = 0, 15, 0
    head.v_scales[:] = 63.97
    assert head.error() < 2**-8
    head.v[:], head.v_zeros[:] = 0, 15
    assert head.error() < 2**-8


@pytest.mark.parametrize("value_exponent", [1, 7, 20])
def test_steps_equal_plain_python(value_exponent):
    random = np.random.default_rng(value_exponent)
    head = some_head(random, 150, 8, 3e-2)
    scales = random.integers(0, (value_exponent + 1) << 10, 150)
    factor = score_multiplier(head.query_scale, 8)
    found = attend(head.q, head.k, head.k_scales, head.k_zeros, head.v, scales, head.v_zeros,
                   *factor)  # fmt: skip
    bits = [int(b) for b in head.k_scales.view(np.uint16)]
    wanted = plain(head, bits, [int(b) for b in scales], *factor)
    assert found.tolist() == wanted


def parts(bits):
    field = bits >> 10
    return (bits % 1024 + (1024 if field else 0)), max(field, 1)


def plain(head, k_bits, v_bits, multiplier, shift):
    """Attention by the formulas, one integer at a time."""
    m, total, sums = None, 0, [0] * len(head.q)
    for start in range(0, len(k_bits), 64):
        here = range(start, min(start + 64, len(k_bits)))
        args = [argument(head, t, k_bits[t], multiplier, shift) for t in here]
        m_b = -(-max(args) // 1024)
        e = [exponential(a - 1024 * m_b) for a in args]
        v_exp = max(parts(v_bits[t])[1] for t in here)
        w = [(x * parts(v_bits[t])[0]) >> (v_exp - parts(v_bits[t])[1])
             for x, t in zip(e, here, strict=True)]  # fmt: skip
        cut = max(max(w).bit_length() - 8, 0)
        s8 = [min(255, (x + (2**cut // 2)) // 2**cut) for x in w]
        m_new = m_b if m is None else max(m, m_b)
        old = 0 if m is None else m_new - m
        total = (total >> old) + (sum(e) >> (m_new - m_b))
        left = cut + v_exp - 17 - (m_new - m_b)
        for c in range(len(sums)):
            b = sum(s * (int(head.v[t, c]) - int(head.v_zeros[t]))
                    for s, t in zip(s8, here, strict=True))  # fmt: skip
            sums[c] = (sums[c] >> old) + (b << left if left >= 0 else b >> -left)
        m = m_new
        assert total < 2**40
        assert all(-(2**47) <= s < 2**47 for s in sums)
    nl = total.bit_length()
    norm = [s * 2**17 // 2**nl for s in sums]
    r = 2**33 // (total * 2**17 // 2**nl)
    return [(s * r + 2**24) // 2**25 for s in norm]


def argument(head, t, bits, multiplier, shift):
    mantissa, exponent = parts(bits)
    dot = sum(int(q) * (int(k) - int(head.k_zeros[t])) for q, k in zip(head.q, head.k[t],
                                                                      strict=True))  # fmt: skip
    value, right = dot * mantissa * multiplier, shift - exponent
    value = value << -right if right <= 0 else (value + 2 ** (right - 1)) >> right
    return max(-(2**23), min(2**23 - 1, value))


def exponential(below):
    whole, fraction = divmod(below, 1024)
    base = [round(2**16 * 2 ** (s / 16)) for s in range(17)]
    segment, low = divmod(fraction, 64)
    value = base[segment] + (base[segment + 1] - base[segment]) * low // 64
    return value >> -whole


def test_exponentials_are_within_a_512th():
    below = -np.arange(0, 20 * 1024)
    real = 2.0 ** (below / 1024)
    off = np.abs(exp2_golden(below) * STEP - real)
    assert ((off - STEP) / real).max() < 2**-11
    assert off.max() < 2**-11


def test_parts_of_halves():
    numbers = np.array([0, 2**-24, 3 * 2**-24, 2**-14, 1.5, 63.97, 65504], np.float16)
    mantissa, exponent = half_parts(numbers)
    assert (mantissa * 2.0 ** (exponent - 25)).tolist() == numbers.astype(float).tolist()
    assert [a.tolist() for a in half_parts(numbers.view(np.uint16))] == [
        mantissa.tolist(),
        exponent.tolist(),
    ]


@pytest.mark.parametrize(("scale", "dim"), [(1.0, 1), (3e-3, 128), (2.0**-20, 64), (900.0, 80)])
def test_the_multiplier_is_right_to_16_bits(scale, dim):
    multiplier, shift = score_multiplier(scale, dim)
    assert 2**15 <= multiplier < 2**16
    assert multiplier * 2.0 ** (15 - shift) == pytest.approx(
        scale * math.log2(math.e) / math.sqrt(dim), rel=2**-16
    )


def test_a_multiplier_that_rounds_up_to_the_next_power():
    factor = (1 - 2**-20) / math.log2(math.e)
    assert score_multiplier(factor, 1) == (1 << 15, 30)


def test_arguments_round_halves_up_and_saturate():
    one = np.float16(2.0**-10)  # mantissa 1024, exponent 5
    found = arguments_golden([3, -3, 1, -1], 0, 0, one, 1 << 15, 25 + 5 + 1)
    assert found.tolist() == [2, -1, 1, 0]
    for shift in (-128, 4):
        found = arguments_golden([1, -1, 0], 0, 0, one, 1 << 15, shift)
        assert found.tolist() == [2**23 - 1, -(2**23), 0]
    assert arguments_golden([240_000, -240_000], 0, 0, one, 65535, 127).tolist() == [0, 0]


def test_weights_of_nothing_are_nothing():
    block = exp_block_golden([5, 6], np.zeros(2, np.float16), [3, 4])
    assert block.weights.tolist() == [0, 0]
    assert (block.maximum, block.exponent, block.zero_sum) == (1, 1 - 17, 0)


def test_blocks_may_come_in_any_order_of_size():
    blocks = [exp_block_golden([a], np.float16([1.0]), [0]) for a in (0, 9 * 1024, -(2**23))]
    running = None
    for block in blocks:
        running = accumulate_golden(running, block, block.weights * 7)
    assert running == Running(9, (1 << 7) + (1 << 16), running.sums)
    assert divide_golden(running) * STEP == pytest.approx([7.0], rel=2**-7)


def wrong(**changes):
    head = some_head(np.random.default_rng(6), 3, 4)
    for name, value in changes.items():
        setattr(head, name, value)
    return head.integer


def test_what_cannot_be_attended_is_refused():
    with pytest.raises(InputError, match="1 to 8192 keys, not 0"):
        wrong(k=np.zeros((0, 4)))()
    with pytest.raises(InputError, match="within -127 to 127, not 128"):
        wrong(q=np.array([0, -128, 0, 0]))()
    with pytest.raises(InputError, match="values must be at least 0 and below 64, not 64"):
        wrong(v_scales=np.float16([1, 64, 1]))()
    with pytest.raises(InputError, match="keys must be at least 0 and finite, not inf"):
        wrong(k_scales=np.float16([1, np.inf, 1]))()
    with pytest.raises(InputError, match="keys must be at least 0 and finite, not -1"):
        wrong(k_scales=np.float16([1, -1, 1]))()
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="above 0 and finite"):
            score_multiplier(scale, 64)
    for scale in (1e-40, 1e60):
        with pytest.raises(InputError, match="between 1e-27 and 1e47"):
            score_multiplier(scale, 64)
