"""Cycles of attention over a 4-bit KV cache behind streams, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rtl.registry import find_block
from sim.blocks.exp_block import ExpBlockConfig
from sim.blocks.exp_block_stream import exp_block_latency, exp_block_moves
from sim.blocks.value_accumulate_stream import value_accumulate_moves
from sim.blocks.w2a8kv4_attention import W2A8KV4AttentionConfig
from sim.blocks.w2a8kv4_attention_stream import SOURCES, Row, attention_moves, beat_order
from workloads.errors import InputError

ALWAYS: list[bool] = []
NO_STALLS = dict.fromkeys(SOURCES, ALWAYS)


def late(cycles):
    return [False] * cycles


def test_a_block_of_one_key_takes_its_latency():
    # taken 0, read 1, product read 8, cut 9, loaded 10, out 11
    found = exp_block_moves(ExpBlockConfig(block=4), [1], ALWAYS, ALWAYS, ALWAYS)
    assert found == ([0], [11], [11])
    assert exp_block_latency(1) == 11


def test_a_block_of_three_keys_is_read_back_before_it_is_cut():
    # taken to 2, read 3 to 5, products read 12 to 14
    found = exp_block_moves(ExpBlockConfig(block=4), [3], ALWAYS, ALWAYS, ALWAYS)
    assert found == ([0, 1, 2], [15, 16, 17], [17])
    assert exp_block_latency(3) == 13


def test_weights_that_wait_fill_the_memories():
    # 3 in the stages, 11 products and 5 keys stand: the 20th key waits for a place
    config = ExpBlockConfig(block=4)
    found = exp_block_moves(config, [4] * 8, ALWAYS, late(100), ALWAYS)
    assert found.keys[:20] == [*range(19), 102]
    assert found.weights == list(range(100, 132))


def test_a_block_that_waits_holds_up_the_end_of_the_next():
    found = exp_block_moves(ExpBlockConfig(block=2), [2, 2], ALWAYS, ALWAYS, late(50))
    # the last weight of the second block is loaded in the cycle in which the first block leaves
    assert found.weights == [13, 14, 15, 51]
    assert found.blocks == [50, 51]


@pytest.mark.parametrize("block", [1, 3, 64])
def test_a_key_is_taken_every_cycle_whatever_the_lengths(block):
    lengths = np.random.default_rng(block).integers(1, block + 1, 60)
    lengths[::2] = np.random.default_rng(1).choice([1, block], 30)
    found = exp_block_moves(ExpBlockConfig(block=block), lengths.tolist(), ALWAYS, ALWAYS, ALWAYS)
    assert found.keys == list(range(lengths.sum()))


def test_a_row_of_two_blocks_and_its_division():
    # block 0, sums 3 and 4; block 5, sums 8 and 9; normal 10 and 11, 18 bits, read at 30, out 34
    found = value_accumulate_moves([(2, False), (2, True)], ALWAYS, ALWAYS, ALWAYS)
    assert found == ([0, 5], [3, 4, 8, 9], [34, 35])


def test_the_next_row_waits_for_the_outputs():
    found = value_accumulate_moves([(1, True), (1, True)], ALWAYS, late(6), late(40))
    assert found == ([0, 41], [6, 44], [40, 69])


def test_keys_run_a_block_ahead_of_values():
    order = beat_order(5, 2)
    assert "".join("kv"[beat.value] for beat in order) == "kkkkvvkvvv"
    assert [n for n, beat in enumerate(order) if beat.last] == [1, 3, 5, 6, 8, 9]
    assert [n for n, beat in enumerate(order) if beat.ends] == [6, 9]


def test_one_key_passes_all_steps():
    # command 0, query 1 and 2, begins in 3, key taken 4, multiplied 5 and 6, sums 10, tree 11 to
    # 12, token 12 (2 stages), argument 18, weight 29; value taken 6, multiplied 29, sums 33,
    # drained from 34, output 25 later
    config = W2A8KV4AttentionConfig(dsps=16)
    found = attention_moves(config, [Row(1, 2)], NO_STALLS, ALWAYS)
    assert found.command == [0]
    assert found.query == [1, 2]
    assert found.beats == [4, 6]
    assert found.tokens == [12]
    assert found.o == [59]


def test_a_long_row_takes_a_beat_a_cycle_and_47_more():
    config = W2A8KV4AttentionConfig()
    rows = [Row(2048, 128)] * 3
    beats = attention_moves(config, rows, NO_STALLS, ALWAYS).beats
    assert beats[2 * 4096] - beats[4096] == 4096 + 47
    inside = beats[4096 + 129 : 2 * 4096 - 64]  # between the first values and the last
    assert inside[-1] - inside[0] == len(inside) - 1


def test_late_values_stop_nothing_but_themselves():
    config = W2A8KV4AttentionConfig(dsps=16, block=4)
    prompt = attention_moves(config, [Row(12, 32)], NO_STALLS, ALWAYS)
    offers = NO_STALLS | {"beats": [True] * prompt.beats[7] + [True] + [False] * 300}
    found = attention_moves(config, [Row(12, 32)], offers, ALWAYS)
    assert found.tokens[:8] == prompt.tokens[:8]


def test_a_sink_that_waits_stops_the_array_but_loses_nothing():
    config = W2A8KV4AttentionConfig(dsps=16, block=4)
    rows = [Row(9, 32)] * 3
    found = attention_moves(config, rows, NO_STALLS, late(3000))
    assert found.o == sorted(found.o)
    assert found.o[0] == 3000
    assert len(found.beats) == 54
    assert found.beats[-1] > 3000


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("value_accumulate", {"channels": 10, "lanes": 4}, "multiple of lanes \\(4\\), not 10"),
        ("w2a8kv4_attention", {"lanes": 3}, "lanes must be a power of two in RTL, not 3"),
        ("w2a8kv4_attention", {"dsps": 6, "lanes": 8}, "divide 2 \\* dsps \\(12\\), not 8"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(name, settings, sentence):
    pytest.importorskip("amaranth")
    block = find_block(name)
    with pytest.raises(InputError, match=sentence):
        block.make(block.make_config(settings))
