"""How the KV cache of a head lies in memory, and the cycles in which it is unpacked."""

from __future__ import annotations

import numpy as np
import pytest

from rtl.registry import find_block
from sim.blocks.kv_unpacker import KvUnpackerConfig, metadata_beats, pack_kv, row_beats
from sim.blocks.kv_unpacker_stream import kv_unpacker_moves, raw_order
from workloads.errors import InputError

ALWAYS: list[bool] = []


def test_metadata_of_a_block_takes_five_beats_of_64_bytes():
    assert [metadata_beats(n, 64) for n in (0, 1, 12, 13, 63, 64)] == [0, 1, 1, 2, 5, 5]
    assert [metadata_beats(n, 16) for n in (1, 3, 4, 64)] == [1, 1, 2, 20]


def test_a_row_in_memory_order():
    config = KvUnpackerConfig(dsps=8, block=2)
    keys = np.arange(24).reshape(3, 8)
    tokens = np.array([[0x1234, 5, 0x6789, 10], [1, 2, 3, 4], [0xFFFF, 0, 0, 15]])
    beats = pack_kv(config, keys, 100 + keys, tokens)
    assert len(beats) == row_beats(3, config) == 9
    # token 0: 0x1234 | 5 << 16 | 0x6789 << 20 | 10 << 36, then the lowest bytes of token 1
    assert beats[0].tolist() == [0x34, 0x12, 0x95, 0x78, 0xA6, 1, 0, 2 + (3 << 4)]
    assert beats[1].tolist() == [0, 0x40, 0, 0, 0, 0, 0, 0]
    assert beats[2:4].tolist() == keys[:2].tolist()
    assert beats[4].tolist() == [0xFF, 0xFF, 0, 0, 0xF0, 0, 0, 0]
    assert beats[5:].tolist() == [*keys[2:].tolist(), *(100 + keys).tolist()]


@pytest.mark.parametrize("keys", [1, 2, 7, 8, 64, 65, 200])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_order_has_all_beats(keys, block):
    config = KvUnpackerConfig(dsps=16, block=block)
    order = raw_order(config, keys)
    assert len(order) == row_beats(keys, config)
    assert sum(number for number in order if number > 0) == keys
    assert order.count(0) == 2 * keys


def test_a_beat_is_taken_every_cycle_and_tokens_follow():
    # command 0, metadata 1 to 5, queued, in the register from 3 on: the first token leaves there
    config = KvUnpackerConfig()
    moves = kv_unpacker_moves(config, [64, 1], ALWAYS, ALWAYS, ALWAYS, ALWAYS)
    assert moves.command == [0, 134]
    assert moves.i == [*range(1, 134), *range(135, 138)]
    assert moves.tokens[:64] == list(range(3, 67))
    assert moves.beats[:64] == list(range(7, 71))


def test_metadata_waits_for_a_place_and_codes_for_the_sink():
    config = KvUnpackerConfig(dsps=8, block=2)  # two beats of metadata a block: a queue of four
    stopped = [False] * 50
    moves = kv_unpacker_moves(config, [8], ALWAYS, ALWAYS, stopped, ALWAYS)
    # one beat in the register, four in the queue: the last of the third block's waits
    assert moves.i[:11] == list(range(1, 12))
    assert moves.i[11] > 50
    moves = kv_unpacker_moves(config, [8], ALWAYS, ALWAYS, ALWAYS, stopped)
    assert moves.i[:3] == [1, 2, 3]
    assert moves.i[3] == 50


def test_bytes_of_a_beat_must_be_a_power_of_two():
    pytest.importorskip("amaranth")
    block = find_block("kv_unpacker")
    with pytest.raises(InputError, match="dsps must be a power of two"):
        block.make(block.make_config({"dsps": 24}))
