"""What each option of SpAtten's differences changes, and by which mechanism."""

import numpy as np
import pytest

from sim.machines import make_machine
from sim.machines.spatten_options import PrecisionConfig, adapt
from sim.operations import lower
from sim.run import simulate
from workloads.errors import InputError
from workloads.trace import TraceBuilder

IDEAL = {"dram.ideal": "true"}


def run(trace, **changes):
    settings = {name.replace("__", "."): value for name, value in changes.items()}
    return simulate(trace, make_machine("spatten", settings))


def cycles(trace, **changes):
    return run(trace, **changes).row["cycles"]


def events(result, name):
    table = result.tables["events"]
    return int(table.loc[table["event"] == name, "count"].sum())


def traffic(result):
    return result.tables["traffic"].set_index(["tensor", "plane"])


@pytest.fixture(scope="module")
def generation(make_trace):
    """Return generated tokens alone, pruned in every way, long enough to matter."""
    return make_trace(
        300, generate=3, prefill=False, token_keep=[1, 0.6, 0.3], head_keep=[1, 1, 0.5],
        value_keep=0.4, k_bits=8, v_bits=8,
    )  # fmt: skip


def test_half_the_bandwidth_takes_longer(make_trace):
    trace = make_trace(1000, generate=4, prefill=False)
    assert cycles(trace, dram__n_bl="4") > 1.1 * cycles(trace)


@pytest.mark.parametrize("prefill", [True, False])
def test_cascade_selection_hidden_parallel_serial(make_trace, prefill):
    trace = make_trace(200, generate=0 if prefill else 2, prefill=prefill,
                       token_keep=[1, 0.5, 0.25], head_keep=[1, 1, 0.5])  # fmt: skip
    hidden, parallel, serial = (
        cycles(trace, flow__cascade_topk=when) for when in ("hidden", "parallel", "serial")
    )
    assert hidden < parallel < serial


def test_a_parallel_selection_starts_with_the_last_probabilities(make_trace):
    """8 tokens, ideal memory: heads issue 8 queries each, 19 .. 51; the last row is decided at
    51 + 11 + 28 + 23 + 1 + 36 + 1 = 151 and weighted at 152, its output is there at 155."""
    trace = make_trace(8, token_keep=[1, 0.5, 0.5])
    machine = make_machine("spatten", IDEAL)
    result = simulate(trace, machine, timeline_heads=12)
    rows = result.tables["timeline"]
    first = rows[rows["unit"] == "cascade top-k"].iloc[0]
    assert first["start_cycle"] == 151
    late = simulate(
        trace, make_machine("spatten", IDEAL | {"flow.cascade_topk": "serial"}), timeline_heads=12
    )
    rows = late.tables["timeline"]
    again = rows[rows["unit"] == "cascade top-k"].iloc[0]
    assert again["start_cycle"] == 155
    assert result.row["cycles"] == late.row["cycles"] - 4


def test_layers_that_do_not_wait_overlap(make_trace):
    trace = make_trace(300, generate=3, prefill=False)
    ordered, streamed = cycles(trace), cycles(trace, flow__layers_wait="false")
    assert streamed < ordered


def test_streamed_layers_with_ideal_memory_fill_and_drain_once(make_trace):
    trace = make_trace(24)
    machine = make_machine("spatten", IDEAL | {"flow.layers_wait": "false"})
    one_layer = 19 + 11 + 28 + 23 + 3 + 36 + 1 + 2 + 3
    assert simulate(trace, machine).row["cycles"] == one_layer + 3 * 4 * 24 * 3


def test_streamed_layers_still_wait_for_selections(generation):
    streamed = {"flow__layers_wait": "false"}
    hidden = cycles(generation, **streamed, flow__cascade_topk="hidden")
    assert cycles(generation, **streamed) > hidden


def test_without_prefetch_every_head_waits_for_its_keys(make_trace, generation):
    for trace in (make_trace(40), generation):
        assert cycles(trace, flow__prefetch_keys="false") > cycles(trace)


def test_no_prefetch_by_hand(make_trace):
    """8 tokens, ideal memory: each head asks 9 + 10 cycles before it can start."""
    machine = make_machine("spatten", IDEAL | {"flow.prefetch_keys": "false"})
    rows = simulate(make_trace(8), machine, 3).tables["timeline"]
    starts = rows.loc[rows["unit"] == "Q.K", "start_cycle"].tolist()
    assert starts == [19, 19 + 8 + 19, 19 + 2 * (8 + 19)]


def test_held_keys_fill_a_tight_buffer(make_trace):
    trace = make_trace(64, generate=8, prefill=False, k_bits=8)
    tight = {"key_buffer__rows": "64"}
    assert cycles(trace, **tight, flow__hold_keys="true") > cycles(trace, **tight)


def test_strict_double_buffering_slows_short_heads(make_trace):
    assert cycles(make_trace(8), key_buffer__heads="2") > cycles(make_trace(8))


def test_generation_bypasses_the_srams_unless_lsbs_may_come(make_trace):
    plain = make_trace(50, generate=2, prefill=False)
    for name in ("key_sram_read_bit", "key_sram_write_bit", "value_sram_read_bit"):
        assert events(run(plain), name) == 0
        assert events(run(plain, flow__generation_sram="true"), name) > 0
    progressive = make_trace(50, generate=2, prefill=False, k_bits=8, k_lsb_bits=4)
    assert events(run(progressive), "key_sram_write_bit") > 0
    assert events(run(progressive), "value_sram_write_bit") == 0
    assert events(run(make_trace(50)), "value_sram_write_bit") > 0


def test_reset_comes_before_everything(make_trace):
    trace = make_trace(24, generate=2)
    ideal = cycles(trace, **{"dram__ideal": "true"})
    assert cycles(trace, dram__ideal="true", flow__reset_cycles="144") == ideal + 144


def narrow_queries(make_trace, **settings):
    """Return a trace whose queries are stored in 8 bits."""
    trace = make_trace(24, k_bits=8, k_lsb_bits=4, v_bits=8, requant_share=0.5, **settings)
    builder = TraceBuilder()
    for table in ("sequences", "attention"):
        columns = trace.tables[table].to_pydict()
        if table == "attention":
            columns["q_bits"] = [8] * len(columns["head"])
        builder.add(table, trace.rows(table), **columns)
    return builder.finish(trace.header)


@pytest.mark.parametrize("phase", [{}, {"generate": 3, "prefill": False}])
def test_lsbs_of_more_operands_are_more_bytes(make_trace, phase):
    trace = narrow_queries(make_trace, **phase)
    recomputed = trace.array("attention", "recomputed").astype(np.int64)
    values = trace.array("attention", "values_fetched").astype(np.int64)
    keys, both, all_three = (
        traffic(run(trace, precision__lsb_tensors=which)) for which in ("K", "QK", "QKV")
    )
    assert ("Q", "LSB") not in keys.index
    assert ("V", "LSB") not in both.index
    assert both.loc[("Q", "LSB"), "useful_bytes"] == recomputed.sum() * 32 * 4 // 8
    assert all_three.loc[("V", "LSB"), "useful_bytes"] == values[recomputed > 0].sum() * 32 * 4 // 8
    slow = {"dram__n_bl": "64", "dram__n_ccd_s": "64"}
    times = [cycles(trace, **slow, precision__lsb_tensors=which) for which in ("K", "QK", "QKV")]
    assert times == sorted(times)
    assert times[0] < times[2]


def test_full_queries_have_no_lsbs(make_trace):
    trace = make_trace(24, k_bits=8, k_lsb_bits=4, requant_share=0.5)
    assert run(trace).row["cycles"] == cycles(trace, precision__lsb_tensors="K")


def test_wide_operands_in_two_planes_are_multiplied_twice(make_trace):
    trace = make_trace(24, generate=2)  # 12 bits
    direct, split = run(trace), run(trace, precision__wide_operands="8+4")
    keys = traffic(direct).loc[("K", "MSB"), "useful_bytes"]
    assert traffic(split).loc["K", "useful_bytes"].tolist() == [keys * 8 // 12, keys * 4 // 12]
    assert traffic(split).loc[("V", "MSB"), "useful_bytes"] == (
        traffic(direct).loc[("V", "MSB"), "useful_bytes"] * 8 // 12
    )
    assert split.row["multiplications"] == direct.row["multiplications"] * 3 // 2
    assert split.row["cycles"] > direct.row["cycles"]


def test_narrow_operands_are_not_split(make_trace):
    trace = make_trace(24, k_bits=8, v_bits=4)
    assert cycles(trace, precision__wide_operands="8+4") == cycles(trace)


def test_packed_six_bits_are_fewer_bytes(make_trace):
    trace = make_trace(200, generate=3, prefill=False, k_bits=6, v_bits=6)
    paper, packed = run(trace).row, run(trace, fetch__stored_bits="4,6,8,12").row
    assert packed["dram_transferred_bytes"] < 0.85 * paper["dram_transferred_bytes"]
    assert packed["dram_useful_bytes"] == paper["dram_useful_bytes"]


def test_one_selection_of_a_head_serves_its_queries(make_trace):
    trace = make_trace(32, value_keep=0.5)
    each, first, pair = (
        run(trace, prefill_value_pruning="true", value_selection=who)
        for who in ("query", "head", "pair")
    )
    assert each.row["cycles"] > first.row["cycles"] > pair.row["cycles"]
    compared = [events(result, "topk_compare") for result in (each, first, pair)]
    assert compared[0] > 20 * compared[1] > 20 * compared[2] > 0
    assert len({result.row["dram_transferred_bytes"] for result in (each, first, pair)}) == 1


def test_a_pair_shares_one_selection_in_generation(make_trace):
    trace = make_trace(200, generate=4, prefill=False, value_keep=0.5)
    assert cycles(trace, value_selection="pair") < cycles(trace)


def test_unpruned_queries_are_asked_by_all_tokens(make_trace):
    trace = make_trace(40, token_keep=[1, 0.5, 0.25], value_keep=0.5)
    paper, model = run(trace), run(trace, prune_queries="false")
    assert model.row["queries"] == 3 * 4 * 40
    assert model.row["cycles"] > paper.row["cycles"]
    assert (
        traffic(model).loc[("K", "MSB"), "useful_bytes"]
        == (traffic(paper).loc[("K", "MSB"), "useful_bytes"])
    )


def test_the_defaults_adapt_nothing(pruned_trace):
    machine = make_machine("spatten")
    ops = lower(pruned_trace, machine.exploits, 12)
    same = adapt(ops, PrecisionConfig(), True, 12)
    for name in ("queries", "k_bits", "v_bits", "k_lsb_bits", "recomputed", "q_lsb_bits"):
        assert getattr(same, name).tolist() == getattr(ops, name).tolist(), name


@pytest.mark.parametrize("text", ["", "0,8", "four"])
def test_impossible_widths_are_refused(text):
    with pytest.raises(InputError, match=r"^Fetch stored_bits"):
        make_machine("spatten", {"fetch.stored_bits": text})


@pytest.mark.parametrize("name", ["exp_latency_cycles", "divide_latency_cycles"])
def test_a_shorter_softmax_shortens_each_layer(make_trace, name):
    trace = make_trace(24)
    whole = getattr(make_machine("spatten").softmax, name)
    ideal = {"dram__ideal": "true"}
    shorter = cycles(trace, **ideal, **{f"softmax__{name}": "0"})
    assert cycles(trace, **ideal) - shorter == 3 * whole


def test_a_smaller_tree_shortens_each_layer(make_trace):
    trace = make_trace(24)
    ideal = {"dram__ideal": "true"}
    assert cycles(trace, **ideal) - cycles(trace, **ideal, query_key__latency_cycles="8") == 3 * 3


@pytest.mark.parametrize(
    ("field", "faster", "slower"),
    [("value_topk__lanes", "16", "4"), ("value_topk__pass_overhead_cycles", "3", "5"),
     ("softmax__fifo_rows", "128", "1")],
)  # fmt: skip
def test_selection_and_softmax_sizes(make_trace, generation, field, faster, slower):
    trace = make_trace(40) if field.startswith("softmax") else generation
    extra = {"requant__fifo_rows": "1"} if field.startswith("softmax") else {}
    assert cycles(trace, **extra, **{field: slower}) > cycles(trace, **extra, **{field: faster})
