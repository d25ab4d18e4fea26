"""Rates of a pseudo-channel come from the DRAM model and are steady."""

import numpy as np
import pytest

from sim.dram.hbm2 import U280_HBM2
from sim.machines.decoder.attention import kv_beats
from sim.machines.decoder.design import KvBlock, kv_block
from sim.machines.decoder.memory import _head_order, kv_stream, weight_stream
from workloads.packed import KvFormat

CLOCK = 225e6


def test_a_block_of_64_tokens_has_5_metadata_beats():
    assert kv_block(KvFormat(), 128) == KvBlock(5, 64, 64)
    assert kv_block(KvFormat(bits=8, zero_bits=0), 128) == KvBlock(4, 128, 128)
    assert kv_block(KvFormat(bits=16), 64).metadata == 0


def test_beats_of_a_cache_are_those_of_its_blocks():
    form = KvFormat()
    tokens = np.array([0, 1, 64, 65, 200])
    expected = []
    for count in tokens.tolist():
        sizes = [64] * (count // 64) + [count % 64]
        expected.append(sum(kv_block(form, 128, size).beats for size in sizes))
    assert kv_beats(form, 128, tokens).sum(axis=0).tolist() == expected


def test_a_head_is_read_once_in_the_order_of_the_pipeline():
    order = _head_order(KvBlock(5, 64, 64), 3).tolist()
    assert sorted(order) == list(range(3 * 133))
    assert order[:138] == [*range(69), *range(133, 133 + 69)]
    assert order[138:202] == list(range(69, 133))  # V of block 0 after K of block 1


@pytest.mark.fidelity
def test_weights_stream_as_fast_as_shuhai_measured():
    """arXiv 2005.04324: 425 of 460 GB/s."""
    stream = weight_stream(U280_HBM2, CLOCK)
    assert stream.efficiency == pytest.approx(425 / 460, rel=0.02)
    refresh = 1 - U280_HBM2.n_rfc / U280_HBM2.n_refi
    assert stream.efficiency < refresh


def test_a_cache_is_nearly_as_fast():
    weights = weight_stream(U280_HBM2, CLOCK).efficiency
    cache = kv_stream(U280_HBM2, CLOCK, KvBlock(5, 64, 64)).efficiency
    assert 0.95 * weights < cache <= weights


def test_without_refresh_a_port_is_full():
    assert weight_stream(U280_HBM2.override({"refresh": False}), CLOCK).efficiency > 0.999


def test_a_slow_machine_is_limited_by_its_port():
    assert weight_stream(U280_HBM2, CLOCK / 4).efficiency == 1
