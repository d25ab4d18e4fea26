"""Cascade controller: what stays, by hand; the algorithms' cascade agrees; bad sizes."""

import re

import numpy as np
import pytest

from sim.blocks.cascade import SELECT_HEADS, SELECT_TOKENS, CascadeConfig, CascadeState
from sim.blocks.cascade_stream import selection_moves, selection_work
from workloads.errors import InputError

SMALL = {"lanes": 2, "rows": 2, "channels": 2, "tokens": 6, "heads": 3, "prob_bits": 4}


def small(**changes):
    return CascadeConfig(**(SMALL | {"value_bits": 10, "importance_bits": 8} | changes))


def listed(numbers, importance):
    state = CascadeState(small())
    for row in range(3):
        part = slice(2 * row, 2 * row + 2)
        state.list_tokens(row, numbers[part], importance[part])
    return state


def test_the_most_important_tokens_move_up_with_their_sums():
    state = listed([9, 8, 7, 6, 5, 4], [1, 5, 3, 5, 9, 0])
    state.add_probabilities(np.array([[2, 0, 0], [2, 0, 1]]), first=1)
    kept = state.select_tokens(count=5, keep=3)
    assert kept.scores.tolist() == [1, 9, 3, 6, 9]
    assert [numbers.tolist() for numbers, _ in kept.rows] == [[8], [6], [5]]
    assert [importance.tolist() for _, importance in kept.rows] == [[9], [6], [9]]
    assert state.tokens.tolist() == [8, 6, 5, 0, 5, 4]  # the last row touched fills up with zeros
    assert state.token_importance.tolist() == [9, 6, 9, 0, 9, 0]


def test_ties_keep_the_first_token():
    state = listed([0, 1, 2, 3, 4, 5], [7] * 6)
    assert [row[0].tolist() for row in state.select_tokens(6, 3).rows] == [[0, 1], [2], []]


def test_heads_that_are_dropped_never_come_back_by_themselves():
    state = CascadeState(small())
    for head, element in ((0, 16), (1, -16), (2, 48)):
        state.add_output(head, np.array([[element, 0]]))
    assert state.head_importance.tolist() == [1, 1, 3]
    assert [row[0].tolist() for row in state.select_heads(2).rows] == [[0], [2]]
    state.add_output(1, np.array([[500, 500]]))  # were it run by mistake
    assert [row[0].tolist() for row in state.select_heads(3).rows] == [[0], [2]]
    assert state.alive.tolist() == [True, False, True]
    state.list_heads(0, [0, 1], [5, 6])
    assert state.alive.tolist() == [False, True, True]
    assert state.head_importance.tolist() == [5, 6, 3]


def test_fractions_of_outputs_are_cut_downwards():
    state = CascadeState(small())
    state.add_output(0, np.array([[15, -1]]))
    assert state.head_importance[0] == 1  # 15 // 16 = 0, -1 // 16 = -1


def test_sums_stay_at_their_bound():
    state = listed([0] * 6, [250] * 6)
    state.add_probabilities(np.full((2, 6), 15))
    assert state.token_importance.tolist() == [255] * 6


def test_layers_of_a_cascade_are_those_of_the_algorithm():
    """Several layers: what stays is top-k of the sums of all layers, as the definition says."""
    random = np.random.default_rng(5)
    config = CascadeConfig(tokens=64, heads=8, lanes=4, rows=4, importance_bits=20)
    state = CascadeState(config)
    for row in range(config.list_rows):
        state.list_tokens(row, range(4 * row, 4 * row + 4), [0] * 4)
    alive, sums = np.arange(64), np.zeros(64, np.int64)
    for keep in (50, 31, 30, 7):
        for _ in range(3):  # heads
            probabilities = random.integers(0, 200, (5, len(alive)))
            state.add_probabilities(probabilities)
            sums[alive] += probabilities.sum(0)
        kept = state.select_tokens(len(alive), keep)
        order = np.argsort(-sums[alive], kind="stable")[:keep]
        alive = alive[np.sort(order)]
        assert np.concatenate([numbers for numbers, _ in kept.rows]).tolist() == alive.tolist()
        assert state.tokens[:keep].tolist() == alive.tolist()


@pytest.mark.parametrize(("kind", "first"), [(SELECT_TOKENS, 2), (SELECT_HEADS, 1)])
def test_a_selection_of_all_takes_its_rows_twice(kind, first):
    config = CascadeConfig(tokens=64, heads=48, lanes=16)
    state = CascadeState(config)
    kept = state.select_tokens(64, 64) if kind == SELECT_TOKENS else state.select_heads(48)
    rows = 4 if kind == SELECT_TOKENS else 3
    moves = selection_moves(config, selection_work(config, kind, kept), 100, [])
    begun = 100 + first + rows + 3
    assert moves == list(range(begun, begun + rows))


def test_a_sink_that_waits_holds_up_what_follows():
    config = CascadeConfig(tokens=64)
    kept = CascadeState(config).select_tokens(64, 64)
    ready = [True] * 110 + [False] * 5
    work = selection_work(config, SELECT_TOKENS, kept)
    assert selection_moves(config, work, 100, ready) == [109, 115, 116, 117]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lanes": 3}, "Cascade lanes must be a power of 2, not 3"),
        ({"rows": 4}, "Cascade rows must be at most lanes, 2, not 4"),
        ({"tokens": 5}, "Cascade tokens must be a multiple of lanes, 2, not 5"),
        ({"value_bits": 5}, "Cascade value_bits must be at least prob_bits + 2, 6, not 5"),
    ],
)
def test_impossible_sizes(changes, message):
    with pytest.raises(InputError, match=re.escape(message)):
        small().override(changes)
