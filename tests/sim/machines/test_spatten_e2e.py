"""Fully connected layers on SpAtten: by hand, bounds, and the paper's GPT-2-Medium."""

import dataclasses

import pytest

from sim.machines import make_machine
from sim.machines.spatten_fc import cut, items_per_cycle
from sim.operations import KINDS, lower
from sim.products import lower_products
from sim.run import simulate
from workloads.errors import InputError
from workloads.shapes import SHAPES, ModelShape
from workloads.synthetic import shape_trace

IDEAL = {"dram.ideal": "true"}


def machine(**changes):
    return make_machine(
        "spatten-e2e", {name.replace("__", "."): value for name, value in changes.items()}
    )


def units(result, unit="Q.K"):
    table = result.tables["units"]
    return table[table["unit"] == unit].set_index("state")["cycles"]


def traffic(result):
    return result.tables["traffic"].set_index("tensor")


def tiles_of(trace, e2e):
    products = lower_products(trace, lower(trace, KINDS, 12), KINDS)
    return products, cut(e2e, e2e.fc, products)


def test_a_generated_token_reads_every_weight_once(make_trace):
    trace = make_trace(40, generate=2, prefill=False)
    weights = 3 * (4 * 128 * 128 + 2 * 128 * 512)
    for bits in (8, 12):
        rows = traffic(simulate(trace, machine(fc__weight_bits=bits)))
        assert rows.loc["W", "useful_bytes"] == rows.loc["W", "transferred_bytes"]
        assert rows.loc["W", "useful_bytes"] == 2 * weights * bits // 8
        assert rows.loc["W", "dense_bytes"] == 2 * weights * 12 // 8
        assert rows.loc["X", "useful_bytes"] == 2 * 3 * (5 * 128 + 512) * 12 // 8


def test_narrow_weights_are_stored_as_the_next_width(make_trace):
    trace = make_trace(40, generate=1, prefill=False)
    rows = traffic(simulate(trace, machine(fc__weight_bits=6)))
    assert rows.loc["W", "transferred_bytes"] * 6 == rows.loc["W", "useful_bytes"] * 8


def test_both_arrays_multiply_sixteen_items(make_trace):
    assert items_per_cycle(machine()) == 16
    trace = make_trace(40, generate=1, prefill=False)
    products, tiles = tiles_of(trace, machine())
    # one layer: 4 x 128 outputs of 2 items, 512 of 2, 128 of 8: 3,072 items at 16 a cycle
    assert tiles.busy_cycles.sum() == 3 * 3072 // 16
    assert products.multiplications.sum() == tiles.busy_cycles.sum() * 1024


def test_channels_that_fill_no_item_are_wasted(make_trace):
    odd = ModelShape(
        name="odd", layers=3, heads=4, kv_heads=4, head_dim=32, hidden=65, intermediate=64,
        source="test",
    )  # fmt: skip
    trace = make_trace(4, generate=1, prefill=False, shape=odd)
    products, tiles = tiles_of(trace, machine())
    assert tiles.busy_cycles.sum() * 1024 > 1.4 * products.multiplications.sum()


def test_with_ideal_memory_one_layer_by_hand(make_trace):
    """One head of one layer, one token: each slot asks after 9 cycles, data 10 later."""
    shape = ModelShape(
        name="one", layers=1, heads=1, kv_heads=1, head_dim=64, hidden=64, intermediate=64,
        source="test",
    )  # fmt: skip
    trace = make_trace(1, shape=shape)
    attention = simulate(trace, make_machine("spatten", IDEAL)).row["cycles"]
    result = simulate(trace, machine(dram__ideal="true"))
    # 64 outputs of 1 item: 4 cycles; an array's result is there 11 later and read 19 after that
    dependent = 19 + 4 + 11
    before = 19 + 10 + 10 + 4 + 11  # key is asked for when query leaves the FIFOs, value likewise
    assert result.row["cycles"] == before + attention + 3 * dependent
    assert units(result)["FC"] == 6 * 4
    assert units(result)["FC waits for DRAM"] == before + 3 * dependent - 24
    assert result.row["bound_bandwidth_cycles"] == 0


def test_tokens_beyond_an_sram_read_the_weights_again(make_trace):
    e2e = machine(key_buffer__rows="64", value_buffer__rows="64")  # 8,192 elements
    trace = make_trace(40)
    products, tiles = tiles_of(trace, e2e)
    wide = products.k == 512
    assert tiles.tokens[wide].tolist() == [16] * 3
    assert tiles.count[wide].tolist() == [3] * 3
    assert tiles.tokens[~wide].tolist() == [40] * 15
    assert traffic(simulate(trace, e2e)).loc["W", "useful_bytes"] == 3 * (
        4 * 128 * 128 + 128 * 512 + 3 * 128 * 512
    )


def test_an_input_wider_than_an_sram_is_refused(make_trace):
    shape = ModelShape(
        name="wide", layers=3, heads=4, kv_heads=4, head_dim=32, hidden=128, intermediate=9000,
        source="test",
    )  # fmt: skip
    e2e = machine(key_buffer__rows="64", value_buffer__rows="64")
    with pytest.raises(
        InputError, match=r"^matmul.parquet row 0: k must be at most 8192, .* not 9000$"
    ):
        simulate(make_trace(4, shape=shape), e2e)


def test_a_prefill_is_bound_by_multipliers_a_token_by_bandwidth(make_trace):
    shape = dataclasses.replace(SHAPES["gpt2-small"], layers=1)
    prefill = units(simulate(shape_trace(shape, 128), machine()))
    assert prefill["FC waits for DRAM"] < 0.05 * prefill["FC"]
    token = simulate(shape_trace(shape, 128, generate=1, prefill=False), machine())
    states = units(token)
    spent = states["FC"] + states["FC waits for DRAM"]
    bound = traffic(token).loc["W", "transferred_bytes"] / 512
    assert bound < spent < 1.35 * bound
    assert states["FC"] == pytest.approx(bound / 2, rel=0.01)


def test_wider_weights_take_longer_in_generation(make_trace):
    shape = dataclasses.replace(SHAPES["gpt2-small"], layers=1)
    trace = shape_trace(shape, 128, generate=1, prefill=False)
    eight, twelve = (
        units(simulate(trace, machine(fc__weight_bits=bits)))["FC waits for DRAM"]
        for bits in (8, 12)
    )
    assert twelve > 1.5 * eight


def test_a_longer_fifo_hides_more_of_a_dependency(make_trace):
    trace = make_trace(40, generate=2, prefill=False)
    short, long = (
        simulate(trace, machine(fc__fifo_bytes=size)).row["cycles"] for size in (1024, 32768)
    )
    assert long < short


def test_attention_is_what_it_is_without_fc(pruned_trace):
    """Same events and bytes; only the time between layers is added."""
    alone = simulate(pruned_trace, make_machine("spatten"))
    both = simulate(pruned_trace, machine())
    for tensor in ("K", "V", "Q"):
        assert traffic(both).loc[tensor].equals(traffic(alone).loc[tensor]), tensor
    for unit in ("softmax", "value top-k", "cascade top-k"):
        assert units(both, unit)["busy"] == units(alone, unit)["busy"]
    assert both.row["cycles"] > alone.row["cycles"]


def test_both_arrays_tell_their_fc_time(pruned_trace):
    result = simulate(pruned_trace, machine(), timeline_heads=6)
    for state in ("FC", "FC waits for DRAM"):
        assert units(result, "Q.K")[state] == units(result, "Prob.V")[state] > 0
    timeline = result.tables["timeline"]
    assert (timeline["unit"] == "FC").sum() == 2  # before the first layer, and before the second


def test_streamed_layers_are_refused():
    with pytest.raises(InputError, match=r"^SpAttenE2e flow.layers_wait must be true"):
        machine(flow__layers_wait="false")


@pytest.mark.fidelity
def test_gpt2_medium_is_near_the_papers_end_to_end_machine():
    """Paper: FC of 32 tokens, 19.3 GFLOP, takes 25.75 ms with 8-bit weights (table of FC and
    attention): 375 of 512 GB/s. Two layers of one token are measured here, 1/384 of the work."""
    shape = dataclasses.replace(SHAPES["gpt2-medium"], layers=2)
    result = simulate(shape_trace(shape, 992, generate=1, prefill=False), machine())
    states = units(result)
    spent = (states["FC"] + states["FC waits for DRAM"]) * 384
    paper_cycles = 25_750_000
    peak_cycles = 32 * 12 * 24 * 1024 * 1024 // 512
    assert peak_cycles < spent < paper_cycles
    assert spent == pytest.approx(paper_cycles, rel=0.2)
