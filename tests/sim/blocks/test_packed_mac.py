"""Packed products against plain ones: every operand there is, and the longest sums."""

from __future__ import annotations

import numpy as np
import pytest

from sim.blocks.packed_mac import (
    BYTE,
    NIBBLE,
    PAIR,
    SPARSE,
    MacItem,
    PackedMacConfig,
    limit,
    mac_golden,
    mac_moves,
    packed_lanes,
    packed_operands,
)
from workloads.errors import InputError

BYTES, NIBBLES, CODES = np.arange(-127, 128), np.arange(16), np.arange(4)
ENDS = np.array([-127, -126, -64, -2, -1, 0, 1, 2, 63, 126, 127])
LIMITS = [(BYTE, 8, False), (NIBBLE, 1100, False), (NIBBLE, 548, True), (PAIR, 688, False)]


def exact(mode, low, high, factor, other=0):
    """Tell whether the packed products of a grid of operands are the plain ones."""
    grid = np.meshgrid(low, high, factor, other, indexing="ij", sparse=True)
    added, shared = packed_operands(mode, *grid)
    assert fits(added, 27)
    assert fits(shared, 18)
    lanes = packed_lanes(mode, added * shared)
    own = grid[3] if mode == SPARSE else grid[2]
    return np.array_equal(lanes[0], np.broadcast_to(grid[0] * grid[2], lanes[0].shape)) and (
        np.array_equal(lanes[1], np.broadcast_to(grid[1] * own, lanes[1].shape))
    )


def fits(values, bits):
    return values.min() >= -(1 << (bits - 1)) and values.max() < 1 << (bits - 1)


def test_all_sparse_products():
    assert exact(SPARSE, CODES, CODES, BYTES, BYTES)


def test_all_products_of_two_tokens():
    assert exact(PAIR, BYTES, BYTES, CODES)


def test_all_products_with_codes_of_4_bits():
    assert exact(NIBBLE, NIBBLES, NIBBLES, np.arange(-127, 256))


def test_products_of_bytes():
    assert exact(BYTE, BYTES, BYTES, ENDS)
    assert exact(BYTE, ENDS, BYTES, BYTES)


def test_the_smallest_byte_does_not_fit_beside_a_negative_one():
    assert not fits(packed_operands(SPARSE, 0, 0, np.array([-1]), np.array([-128]))[1], 18)
    assert fits(packed_operands(SPARSE, 0, 0, np.array([0]), np.array([-128]))[1], 18)


@pytest.mark.parametrize(("mode", "most", "unsigned"), LIMITS)
def test_limits(mode, most, unsigned):
    assert limit(mode, unsigned) == most
    assert limit(SPARSE) == 1


@pytest.mark.parametrize(("mode", "most", "unsigned"), LIMITS)
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_sum_is_exact_up_to_its_limit_and_not_beyond(mode, most, unsigned, sign):
    part, factor = {BYTE: (127, 127), NIBBLE: (15, 127), PAIR: (127, 3)}[mode]
    factor = 255 if unsigned else factor
    low, factor = (part, sign * factor) if mode == NIBBLE else (sign * part, factor)
    if unsigned and sign < 0:
        factor = -factor  # an unsigned factor has one sign: nothing else to test
    for high in {part, low}:
        added, shared = packed_operands(mode, low, high, factor)
        plain = np.array([low * factor, high * factor])
        assert tuple(most * plain) == packed_lanes(mode, most * added * shared)
    assert packed_lanes(mode, (most + 1) * added * shared)[0] != (most + 1) * plain[0]


def test_golden_by_hand():
    items = [
        MacItem(BYTE, 2, 3, 5, last=False),
        MacItem(BYTE, -4, 1, 10, first=False),
        MacItem(SPARSE, 3, 2, -7, 9),
        MacItem(PAIR, -127, 127, 3),
    ]
    assert mac_golden(items) == [(-30, 25), (-21, 18), (-381, 381)]
    assert mac_golden([MacItem(NIBBLE, 15, 1, 100)], lane_bits=11) == [(1500 - 2048, 100)]


def test_sums_leave_with_their_last_item_and_hold_the_pipeline():
    lasts = [False, True, True, False, True]
    moves = mac_moves(lasts, 4, [], [])
    assert moves.accepted == [0, 1, 2, 3, 4]
    assert moves.emitted == [5, 6, 8]
    late = mac_moves(lasts, 4, [], [False] * 7)
    assert late.accepted == [0, 1, 2, 3, 4]
    assert late.emitted == [7, 8, 10]
    slow = mac_moves([True] * 3, 1, [False, True], [True, True, False, False, True])
    assert slow == ([1, 4, 5], [4, 5, 6])


def test_what_is_built():
    assert PackedMacConfig().modes == (BYTE, NIBBLE, SPARSE, PAIR)
    assert PackedMacConfig(mode="8x2-pair").modes == (PAIR,)
    with pytest.raises(InputError, match=r"^PackedMac lane_bits must be .* 22, not 23$"):
        PackedMacConfig(lane_bits=23)
