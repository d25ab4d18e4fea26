"""SpAtten: closed forms, stages by hand, what each knob does, what it refuses."""

import numpy as np
import pytest

from sim.machines import make_machine
from sim.machines import spatten_kernel as kernel
from sim.run import simulate
from workloads.errors import InputError
from workloads.shapes import SHAPES, ModelShape
from workloads.synthetic import shape_trace
from workloads.trace import TraceBuilder

IDEAL = {"dram.ideal": "true"}
STRICT = {"key_buffer.heads": "2", "value_buffer.heads": "2"}


def closed_form_cycles(machine, layers, heads, tokens, head_dim):
    """Cycles of a dense encoder pass with ideal memory: every layer fills and drains once."""
    m = machine
    row = m.query_key.cycles(tokens, head_dim)
    fill = m.fetch.request_latency_cycles + m.fetch.response_latency_cycles
    drain = (
        m.query_key.latency_cycles
        + m.softmax.exp_latency_cycles
        + m.softmax.sum_latency_cycles
        + m.softmax.cycles(tokens)
        + m.softmax.divide_latency_cycles
        + m.requant.latency_cycles
        + m.prob_value.cycles(tokens, head_dim)
        + m.prob_value.latency_cycles
    )
    return layers * (fill + heads * tokens * row + drain)


@pytest.mark.parametrize("tokens", [1, 7, 24, 128, 384, 1000])
@pytest.mark.parametrize("head_dim", [32, 64])
def test_dense_with_everything_off_equals_the_closed_form(tokens, head_dim):
    shape = ModelShape(
        name="x", layers=3, heads=5, kv_heads=5, head_dim=head_dim,
        hidden=5 * head_dim, intermediate=64, source="test",
    )  # fmt: skip
    machine = make_machine("spatten", IDEAL)
    row = simulate(shape_trace(shape, tokens), machine).row
    assert row["cycles"] == closed_form_cycles(machine, 3, 5, tokens, head_dim)
    assert row["bound_bandwidth_cycles"] == 0
    assert "IdealMemory" in row["ideal"]


@pytest.mark.parametrize("tokens", [64, 128, 384, 1000])
def test_two_heads_in_flight_hide_everything_once_heads_are_long(tokens):
    machine = make_machine("spatten", IDEAL | STRICT)
    row = simulate(shape_trace(SHAPES["bert-base"], tokens), machine).row
    assert row["cycles"] == closed_form_cycles(machine, 12, 12, tokens, 64)


def test_short_heads_wait_under_strict_double_buffering(make_trace):
    """A buffer's part is held until the head's last output, long after its few queries."""
    strict = simulate(make_trace(8), make_machine("spatten", IDEAL | STRICT)).row["cycles"]
    shared = simulate(make_trace(8), make_machine("spatten", IDEAL)).row["cycles"]
    assert strict > shared


@pytest.mark.fidelity
def test_bert_base_is_near_the_authors_cpp_model():
    """Their model adds up DRAM, fill and drain; ours overlaps DRAM with the rest.

    Cycles of their model, all and DRAM alone: 12 x (1152 + 221,184 + 151) at 384 tokens,
    12 x (384 + 24,576 + 119) at 128.
    """
    for tokens, authors, dram in ((384, 2_669_844, 13_824), (128, 300_948, 4_608)):
        row = simulate(shape_trace(SHAPES["bert-base"], tokens), make_machine("spatten")).row
        assert authors - dram <= row["cycles"] <= authors


@pytest.mark.parametrize("changes", [{}, {"prefill_value_pruning": "true"}])
def test_kernel_equals_its_python_twin(changes, make_trace, monkeypatch):
    trace = make_trace(12, generate=2, value_keep=0.5, requant_share=0.3, k_bits=8, k_lsb_bits=4)
    compiled = simulate(trace, make_machine("spatten", changes), 100)
    for name in ("stream_end", "_idle", "_span", "_commit", "advance", "run_values"):
        monkeypatch.setattr(kernel, name, getattr(kernel, name).py_func)
    plain = simulate(trace, make_machine("spatten", changes), 100)
    assert plain.row == compiled.row
    assert plain.tables["units"].equals(compiled.tables["units"])
    assert plain.tables["timeline"].equals(compiled.tables["timeline"])


def spans(result, unit, head):
    rows = result.tables["timeline"]
    found = rows[(rows["unit"] == unit) & rows["name"].str.endswith(f"head {head}")].iloc[0]
    return int(found["start_cycle"]), int(found["end_cycle"])


def test_stages_of_one_head_by_hand(make_trace):
    """8 tokens, 32 channels, ideal memory: 1 cycle of Q.K a query, 1 of Prob.V."""
    result = simulate(make_trace(8), make_machine("spatten", IDEAL), 4)
    assert spans(result, "Q.K", 0) == (19, 27)  # request 9 + response 10; 8 queries
    # first row: 20 + Q.K 11 + exponential 28 + sum 23 = 82
    assert spans(result, "softmax", 0) == (82, 90)
    # first row: 82 + 1 + divide 36 + decision 1 = 120; Prob.V is 1 cycle a query
    assert spans(result, "Prob.V", 0) == (120, 128)
    assert spans(result, "Q.K", 1) == (27, 35)


def test_recomputation_waits_for_the_decision_and_the_lsbs(make_trace):
    trace = make_trace(8, requant_share=1.0, k_bits=8, k_lsb_bits=4)
    result = simulate(trace, make_machine("spatten", IDEAL), 4)
    # all 8 rows are issued; the first is decided at 120, LSBs come 19 later: 139 .. 147
    assert spans(result, "fetch K LSB", 0) == (129, 129)
    assert spans(result, "Q.K", 0) == (19, 147)
    once = simulate(make_trace(8, k_bits=8), make_machine("spatten", IDEAL)).row
    assert result.row["multiplications"] == once["multiplications"] * 3 // 2


def test_prefill_selection_is_paid_by_query(make_trace):
    trace = make_trace(64, value_keep=0.25)
    off = simulate(trace, make_machine("spatten")).row
    on = simulate(trace, make_machine("spatten", {"prefill_value_pruning": "true"}))
    assert off["topk_data"] == "none"
    assert on.row["topk_data"] == "drawn"
    assert on.row["cycles"] > 2 * off["cycles"]
    assert on.row["multiplications"] < off["multiplications"]
    units = on.tables["units"].set_index(["unit", "state"])["cycles"]
    assert units["value top-k", "busy"] > 0.8 * on.row["cycles"]
    assert units["Q.K", "blocked downstream"] > 0


@pytest.mark.parametrize(("knob", "values"), [("value_topk.lanes", (1, 4, 16, 64))])
def test_wider_selection_is_faster(make_trace, knob, values):
    trace = make_trace(200, value_keep=0.5)
    cycles = [
        simulate(trace, make_machine("spatten", {"prefill_value_pruning": "true", knob: v})).row[
            "cycles"
        ]
        for v in values
    ]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


def test_cascade_selection_is_exposed_or_hidden(make_trace):
    trace = make_trace(64, token_keep=[1, 0.5, 0.25])
    exposed = simulate(trace, make_machine("spatten"))
    hidden = simulate(trace, make_machine("spatten", {"flow.cascade_topk": "hidden"}))
    busy = (
        exposed.tables["units"]
        .set_index(["unit", "state"])["cycles"]["cascade top-k", "busy"]
        .item()
    )
    assert busy > 0
    assert exposed.row["cycles"] - hidden.row["cycles"] == pytest.approx(busy, abs=busy // 4)


def test_generation_fetches_only_selected_values(make_trace):
    trace = make_trace(40, generate=4, value_keep=0.25)
    traffic = simulate(trace, make_machine("spatten")).tables["traffic"].set_index("tensor")
    alive = trace.array("attention", "alive")
    fetched = np.where(
        trace.array("attention", "step") == 0,
        trace.array("attention", "keys"),
        trace.array("attention", "values_fetched"),
    )[alive].sum()
    assert traffic.loc["V", "useful_bytes"] == fetched * 32 * 12 // 8


def test_narrow_memory_makes_it_bandwidth_bound(make_trace):
    trace = make_trace(100, generate=20)
    wide = simulate(trace, make_machine("spatten")).row
    slow = simulate(trace, make_machine("spatten", {"dram.n_bl": "32", "dram.n_ccd_s": "32"})).row
    assert slow["cycles"] > wide["cycles"]
    assert slow["cycles"] >= slow["bound_bandwidth_cycles"] > wide["bound_bandwidth_cycles"]


def test_a_sequence_longer_than_the_sram_is_refused(make_trace):
    with pytest.raises(
        InputError,
        match=r"^attention.parquet row 0: keys must be at most 2048 rows of 32 channels, one half "
        r"\(98304 bytes\) of the SRAM, not 2049$",
    ):
        simulate(make_trace(2049), make_machine("spatten"))


def test_a_head_wider_than_the_array_is_refused(make_trace):
    wide = ModelShape(
        name="wide", layers=3, heads=1, kv_heads=1, head_dim=1024, hidden=1024,
        intermediate=64, source="test",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"^head_dim must be at most 512, .* not 1024$"):
        simulate(make_trace(4, shape=wide), make_machine("spatten"))


@pytest.mark.parametrize("name", ["q_bits", "k_bits", "v_bits", "k_lsb_bits"])
def test_an_operand_wider_than_the_memory_stores_is_refused(make_trace, name):
    builder = TraceBuilder()
    counts = dict.fromkeys(("keys_dense", "keys", "values", "values_fetched", "queries"), 4)
    bits = {"q_bits": 12, "k_bits": 12, "v_bits": 12} | {name: 16}
    builder.add("sequences", 1, sequence=0, tokens_dense=4, tokens=4)
    for head in range(2):
        builder.add(
            "attention", 1, sequence=0, step=0, layer=0, head=head, kv_head=head,
            queries_dense=4, head_dim=32, **counts, **(bits if head else bits | {name: 8}),
        )  # fmt: skip
    with pytest.raises(
        InputError,
        match=rf"^attention.parquet row 1: {name} must be at most 12, the widest element in DRAM, "
        r"not 16$",
    ):
        simulate(builder.finish(make_trace(4).header), make_machine("spatten"))
