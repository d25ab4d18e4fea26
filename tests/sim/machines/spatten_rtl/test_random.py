"""Java's generator, the index ROM and the top-k latencies: known values."""

from __future__ import annotations

import numpy as np
import pytest

from sim.machines.spatten_rtl.java_random import next_below, next_int, seeded
from sim.machines.spatten_rtl.rom import index_rom, lane_places
from sim.machines.spatten_rtl.topk_latency import topk_latency_cycles


def test_java_random_of_seed_42() -> None:
    """`new java.util.Random(42)`: its first two values of nextInt(), and of nextInt(100)."""
    state, first = next_int(seeded(42))
    state, second = next_int(state)
    assert (first, second) == (-1170105035, 234785527)
    state, first = next_below(seeded(42), 100)
    assert (first, next_below(state, 100)[1]) == (30, 63)


def test_generator_without_compiler_is_equal() -> None:
    state = twin = seeded(7)
    for bound in (1, 2, 3, 64, 1000, (1 << 31) - 1):
        state, value = next_below(state, bound)
        twin, same = next_below.py_func(twin, bound)
        assert (state, value) == (twin, same)
        assert 0 <= value < bound
    assert next_int(state) == next_int.py_func(state)


@pytest.mark.parametrize(
    ("lanes", "lines"),
    [
        (4, [[0, 2, 6, 7], [4, 5, 6, 10], [8, 9, 11, 12], [12, 13, 14, 15], [19, 21, 22, 23]]),
        (
            16,
            [
                [1, 2, 4, 8, 9, 11, 12, 14, 15, 16, 22, 24, 25, 28, 29, 31],
                [17, 20, 21, 24, 26, 29, 30, 31, 37, 38, 39, 40, 41, 43, 45, 47],
            ],
        ),
    ],
)
def test_index_rom_is_the_released_one(lanes: int, lines: list[list[int]]) -> None:
    rom = index_rom(64, lanes, rows_per_line=2)
    assert rom[0, : len(lines)].tolist() == lines
    assert rom[1, 0].tolist() == lines[0][2:] + lines[0][:2]


def test_indices_wrap_at_the_longest_head() -> None:
    rom = index_rom(16, 4, rows_per_line=1)
    assert rom.max() < 16


def test_lanes_take_transactions_in_turn() -> None:
    places = lane_places(4)
    rows, parts = places >> 3, places & 7
    assert rows[2, :].tolist() == [[0, 0, 0, 1], [1, 1, 2, 2], [2, 3, 3, 3]]
    assert parts[2, :].tolist() == [[0, 1, 2, 0], [1, 2, 0, 1], [2, 0, 1, 2]]
    assert rows[0, 0].tolist() == [0, 1, 2, 3]
    assert rows[1, :2].tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]


def test_topk_latency_of_the_first_released_row() -> None:
    """The one row of the authors' small file: 993 of 993 at 16 lanes takes 97 cycles."""
    assert topk_latency_cycles(np.array([993]), np.array([993]), 16).tolist() == [97]


def test_topk_latency_without_compiler_is_equal() -> None:
    sizes, targets = np.array([40, 1, 33, 7]), np.array([20, 0, 33, 3])
    for lanes in (1, 3, 16):
        cycles = topk_latency_cycles(sizes, targets, lanes)
        assert cycles.tolist() == topk_latency_cycles.py_func(sizes, targets, lanes).tolist()
        assert cycles[1] == 1 + 3


def test_topk_latency_per_pass() -> None:
    """Two elements: a pass of ceil(2 / p) + 3, and another of the one left where it is needed."""
    cycles = topk_latency_cycles(np.full(200, 2), np.zeros(200, np.int64), 1)
    assert set(cycles.tolist()) == {5, 5 + 4}
