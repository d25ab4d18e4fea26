"""Cycles of the matrix fetcher, by hand."""

import pytest

from sim.blocks.fetcher import FetcherConfig, Matrix, MemoryTiming, fetcher_moves
from workloads.errors import InputError

ONE = FetcherConfig(lanes=1, channels=2, transaction_bits=16, queue_depth=4, beats=4)


def test_one_row_of_one_transaction():
    """Request 0, index 1, address register 2, offered 3, data 3 + 5, queue 9, row 10."""
    moves = fetcher_moves(ONE, [Matrix(0, 1, [0])], MemoryTiming(5), [], [], [])
    assert moves.requests == [0]
    assert moves.indices == [1]
    assert moves.addresses == [[3], []]
    assert moves.answers == [[8], []]
    assert moves.rows == [10]


def test_consecutive_transactions_alternate_between_channels():
    moves = fetcher_moves(ONE, [Matrix(1, 2, [0, 1])], MemoryTiming(1), [], [], [])
    assert moves.addresses == [[4, 6], [3, 5]]


def test_a_channel_serves_the_lowest_lane_first():
    """Both rows begin on channel 0: lane 1 comes a cycle later."""
    two = FetcherConfig(lanes=2, channels=2, transaction_bits=16, queue_depth=4, beats=4)
    moves = fetcher_moves(two, [Matrix(0, 2, [0, 1])], MemoryTiming(1), [], [], [])
    assert moves.addresses == [[3, 4], [4, 5]]
    assert moves.rows == [max(moves.answers[0] + moves.answers[1]) + 2]


def test_a_lane_that_fetches_nothing_asks_for_nothing():
    two = FetcherConfig(lanes=2, channels=2, transaction_bits=16, queue_depth=4, beats=4)
    matrix = Matrix(0, 2, [None, 1])
    moves = fetcher_moves(two, [matrix], MemoryTiming(1), [], [], [])
    assert moves.addresses == [[3], [4]]
    assert matrix.transactions == [2, 3]


def test_a_beat_of_nothing_leaves_two_cycles_after_it_came():
    moves = fetcher_moves(ONE, [Matrix(0, 1, [None])], MemoryTiming(1), [], [], [])
    assert moves.indices == [1]
    assert moves.rows == [3]


def test_a_full_queue_stops_the_addresses():
    small = FetcherConfig(lanes=1, channels=1, transaction_bits=16, queue_depth=2, beats=8)
    moves = fetcher_moves(small, [Matrix(0, 1, range(3))], MemoryTiming(20), [], [], [])
    first, second, third = moves.addresses[0]
    assert second == first + 1
    assert third == moves.answers[0][0] + 3  # popped 1 later, address register, offered


def test_impossible_sizes_are_refused():
    with pytest.raises(InputError, match=r"^Fetcher channels must be a power of 2, not 3$"):
        FetcherConfig(channels=3)
    with pytest.raises(InputError, match=r"^Fetcher lanes must be .* 1, not 0$"):
        FetcherConfig(lanes=0)
