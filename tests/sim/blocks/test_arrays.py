"""Multiplier arrays, buffers, accumulators and the LSB decision."""

import pytest

from sim.blocks.accumulate import head_importance_golden, token_importance_golden
from sim.blocks.buffer import BufferConfig
from sim.blocks.dotprod import (
    ProbValueConfig,
    QueryKeyConfig,
    prob_value_golden,
    query_key_golden,
)
from sim.blocks.requant import requant_golden
from workloads.errors import InputError


@pytest.mark.parametrize(
    ("head_dim", "per_cycle"), [(16, 8), (32, 8), (64, 8), (80, 4), (128, 4), (512, 1)]
)
def test_scores_per_cycle_are_cut_by_the_adder_tree(head_dim, per_cycle):
    assert QueryKeyConfig().scores_per_cycle(head_dim) == per_cycle


@pytest.mark.parametrize(("head_dim", "rows"), [(16, 32), (32, 16), (64, 8), (512, 1)])
def test_value_rows_per_cycle_fill_the_array(head_dim, rows):
    assert ProbValueConfig().rows_per_cycle(head_dim) == rows


@pytest.mark.parametrize("config", [QueryKeyConfig(), ProbValueConfig()])
def test_a_head_wider_than_the_array_is_refused(config):
    with pytest.raises(
        InputError,
        match=r"^head_dim must be at most 512, one row of the multiplier array, not 513$",
    ):
        config.cycles(10, 513)


def test_cycles_round_up():
    assert QueryKeyConfig().cycles(9, 64) == 2
    assert ProbValueConfig().cycles(17, 32) == 2


def test_products_by_hand():
    assert query_key_golden([[1, 2]], [[3, 4], [-1, 1]]).tolist() == [[11, 1]]
    assert prob_value_golden([[1, 2]], [[3, 4], [-1, 1]]).tolist() == [[1, 6]]


def test_importance_by_hand():
    assert token_importance_golden([1, 0], [[2, 3], [4, 5]]).tolist() == [7, 8]
    assert head_importance_golden(10, [[-1, 2], [3, -4]]) == 20


def test_a_row_is_recomputed_when_its_maximum_is_below_the_threshold():
    assert requant_golden([[1, 9], [10, 2], [3, 3]], 10).tolist() == [True, False, True]


def test_the_paper_buffer_holds_196_kb():
    buffer = BufferConfig()
    assert buffer.bytes == 196_608
    assert [buffer.capacity_rows(dim) for dim in (32, 64, 80, 128)] == [2048, 1024, 512, 512]


def test_a_head_longer_than_half_a_buffer_is_refused():
    with pytest.raises(
        InputError,
        match=r"^row 7: keys must be at most 1024 rows of 64 channels, one half \(98304 bytes\) of "
        r"the SRAM, not 1025$",
    ):
        BufferConfig().check("keys", 1025, 64, "row 7")
