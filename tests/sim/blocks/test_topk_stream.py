"""Cycles of the top-k engine behind streams, by hand."""

import numpy as np
import pytest

from sim.blocks.topk import TopKConfig, selection_timing
from sim.blocks.topk_stream import Selection, engine_moves, output_rows
from workloads.trace import Ragged

ENGINE = TopKConfig(lanes=4, depth=64)


def passes(scores, k):
    n = np.array([len(scores)])
    ragged = Ragged(np.array(scores, np.int64), np.array([0, len(scores)]), np.array([True]))
    return int(selection_timing(ENGINE, np.array([1]), n, np.array([k]), ragged, 0).cycles[0])


def test_keeping_everything_costs_the_filter_only():
    """Request in 0, rows in 1 and 2, filter reads in 3 and 4, its rows leave 3 cycles later."""
    moves = engine_moves(ENGINE, [Selection(np.arange(8), 8)], [], [], [])
    assert moves.requests == [0]
    assert moves.rows == [1, 2]
    assert moves.outputs == [6, 7]


def test_passes_come_before_the_filter():
    scores = [5, 1, 9, 3, 7, 2, 8, 4]
    moves = engine_moves(ENGINE, [Selection(np.array(scores), 3)], [], [], [])
    assert moves.outputs[-1] == 2 + passes(scores, 3) + 2 + 3  # load, passes, filter


def test_the_next_request_waits_for_the_last_row():
    moves = engine_moves(ENGINE, [Selection(np.arange(8), 8)] * 2, [], [], [])
    assert moves.requests[1] == moves.outputs[1] + 1


def test_rows_that_keep_nothing_are_left_out_but_for_the_last():
    rows = output_rows(ENGINE, Selection(np.array([9, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 1]), 2))
    assert [row.tolist() for row in rows] == [[0], [9], []]


def test_a_slow_sink_holds_the_filter():
    moves = engine_moves(ENGINE, [Selection(np.arange(8), 8)], [], [], [True] * 6 + [False] * 5)
    assert moves.outputs == [11, 12]


@pytest.mark.fidelity
def test_median_of_1024_is_near_the_published_law():
    """Authors' latency model: 258.3 cycles for 512 of 1,024 at 16 lanes, over random inputs."""
    engine = TopKConfig()
    random = np.random.default_rng(0)
    runs = 300
    scores = random.integers(0, 4096, runs * 1024)
    ragged = Ragged(scores, np.array([0, runs * 1024]), np.array([True]))
    timing = selection_timing(
        engine, np.array([runs]), np.array([1024]), np.array([512]), ragged, 0
    )
    assert float(timing.cycles.mean()) == pytest.approx(258.3, rel=0.05)
