"""Cycles of the softmax unit and the requantisation decision behind streams, counted by hand."""

import numpy as np
import pytest

from sim.blocks.requant import RequantUnitConfig
from sim.blocks.requant_stream import RequantRow, requant_moves
from sim.blocks.softmax import SoftmaxUnitConfig
from sim.blocks.softmax_stream import softmax_latency, softmax_moves

ALWAYS: list[bool] = []
SMALL = SoftmaxUnitConfig(lanes=2, fifo_rows=3, prob_bits=4)


def test_a_row_of_one_beat_takes_its_latency():
    # request 0, beat 1, read back 3, divided 29, out 32
    moves = softmax_moves(SMALL, [2], ALWAYS, ALWAYS, ALWAYS)
    assert moves == ([0], [1], [32])
    assert softmax_latency(SMALL, 1) == 31


def test_a_row_of_three_beats_is_read_back_before_it_is_scaled():
    # beats 1 to 3, read back 5 to 7, divided 33, out from 36
    moves = softmax_moves(SMALL, [5], ALWAYS, ALWAYS, ALWAYS)
    assert moves == ([0], [1, 2, 3], [36, 37, 38])
    assert softmax_latency(SMALL, 3) == 33


def test_the_next_request_is_taken_with_the_last_beat():
    moves = softmax_moves(SMALL, [4, 1, 2], ALWAYS, ALWAYS, ALWAYS)
    assert moves.requests == [0, 2, 3]
    assert moves.rows == [1, 2, 3, 4]


def test_late_beats_and_requests():
    late = [False] * 7
    assert softmax_moves(SMALL, [2], late, ALWAYS, ALWAYS).rows == [8]
    assert softmax_moves(SMALL, [2], ALWAYS, late, ALWAYS) == ([0], [7], [38])


def test_a_waiting_sink_fills_stages_and_memories():
    # 3 beats in the stages, 29 exponentials and 5 scores stand until the sink is ready
    blocked = [False] * 200
    moves = softmax_moves(SMALL, [2] * 50, ALWAYS, ALWAYS, blocked)
    assert moves.outputs == list(range(200, 250))
    assert moves.rows[:37] == list(range(1, 38))
    # at 200 the first beat leaves and the fourth is scaled, at 201 one is read back
    assert moves.rows[37] == 202


@pytest.mark.parametrize("fifo_rows", [1, 4, 128])
def test_softmax_takes_a_beat_a_cycle_whatever_the_lengths(fifo_rows):
    config = SoftmaxUnitConfig(lanes=4, fifo_rows=fifo_rows)
    lengths = np.random.default_rng(fifo_rows).integers(1, config.fifo_elements + 1, 300)
    lengths[::2] = np.random.default_rng(1).choice([1, config.fifo_elements], 150)
    moves = softmax_moves(config, lengths.tolist(), ALWAYS, ALWAYS, ALWAYS)
    assert moves.rows == list(range(1, 1 + len(moves.rows)))


DECISION = RequantUnitConfig(lanes=2, fifo_rows=3)


def test_a_kept_row_follows_its_decision():
    # beats 1 and 2, decision 3, read 4 and 5
    rows = [RequantRow(3, False)]
    moves = requant_moves(DECISION, rows, ALWAYS, ALWAYS, ALWAYS, ALWAYS)
    assert moves == ([0], [1, 2], [3], [5, 6])


def test_a_recomputed_row_is_dropped_beat_by_beat():
    # beats 1 to 3, dropped 5 to 7, behind them the one of the next row is read at 8
    rows = [RequantRow(6, True), RequantRow(1, False)]
    moves = requant_moves(DECISION, rows, ALWAYS, ALWAYS, ALWAYS, ALWAYS)
    assert moves == ([0, 3], [1, 2, 3, 4], [4, 5], [9])


def test_beats_wait_for_the_decision_to_be_taken():
    late = [False] * 10
    rows = [RequantRow(1, False), RequantRow(1, True)]
    moves = requant_moves(DECISION, rows, ALWAYS, ALWAYS, late, ALWAYS)
    assert moves.decisions == [10, 11]
    assert moves.outputs == [12]


def test_a_waiting_sink_lets_recomputed_rows_go():
    # row 0 is in the output register, row 1 is dropped, row 2 holds up the five that are stored
    rows = [RequantRow(1, False), RequantRow(1, True), *[RequantRow(1, False)] * 6]
    moves = requant_moves(DECISION, rows, ALWAYS, ALWAYS, ALWAYS, [False] * 20)
    assert moves.rows == [1, 2, 3, 4, 5, 6, 7, 21]
    assert moves.outputs == list(range(20, 27))


def test_requant_takes_a_beat_a_cycle_whatever_the_lengths():
    random = np.random.default_rng(0)
    rows = [RequantRow(int(random.integers(1, 7)), bool(random.integers(2))) for _ in range(300)]
    moves = requant_moves(DECISION, rows, ALWAYS, ALWAYS, ALWAYS, ALWAYS)
    assert moves.rows == list(range(1, 1 + len(moves.rows)))
