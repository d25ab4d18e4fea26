"""Traces from ratios: counts by hand, nested choices, seeds, and bad ratios."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.shapes import SHAPES, ModelShape
from workloads.synthetic import shape_trace
from workloads.tasks import WORKLOADS
from workloads.trace import Trace, read_trace, write_trace

TINY = ModelShape(
    name="tiny", layers=3, heads=4, kv_heads=2, head_dim=8, hidden=32, intermediate=48, gated=True,
    source="this test",
)  # fmt: skip
PRUNED: dict[str, Any] = {
    "token_keep": [1.0, 0.5, 0.25], "head_keep": [1.0, 0.5, 0.5], "value_keep": 0.5,
    "requant_share": 0.4, "k_bits": 6, "k_lsb_bits": 4, "v_bits": 8, "generate": 2,
}  # fmt: skip


def frame(trace: Trace, table: str) -> Any:
    return trace.tables[table].to_pandas()


def test_dense_counts_of_prefill_and_generation() -> None:
    trace = shape_trace(TINY, 10, generate=1)
    heads = frame(trace, "attention")
    assert trace.header.synthetic
    assert "Synthetic" in trace.header.notes
    assert heads["alive"].all()
    for step, queries, keys in ((0, 10, 10), (1, 1, 11)):
        rows = heads[heads["step"] == step]
        assert len(rows) == 12
        assert set(rows["queries"]) == set(rows["queries_dense"]) == {queries}
        assert set(rows["keys"]) == set(rows["keys_dense"]) == {keys}
        assert set(rows["values"]) == set(rows["values_fetched"]) == {keys}
    assert heads["kv_head"].tolist() == [0, 0, 1, 1] * 6
    assert set(heads["kv_policy"]) == {"full"}
    assert trace.rows("topk") == 0


def test_counts_follow_ratios() -> None:
    trace = shape_trace(TINY, 10, **PRUNED)
    heads = frame(trace, "attention").query("step == 0")
    by_layer = heads.groupby("layer")
    assert by_layer["alive"].sum().tolist() == [4, 2, 2]
    assert by_layer["keys"].max().tolist() == by_layer["queries"].max().tolist() == [10, 5, 2]
    assert by_layer["values"].max().tolist() == [5, 2, 1]
    dead = heads[~heads["alive"]]
    assert len(dead) == 4
    assert not dead[["queries", "keys", "values", "values_fetched", "recomputed"]].any(axis=None)
    assert set(heads["queries_dense"]) == set(heads["keys_dense"]) == {10}
    assert (heads["k_bits"].unique(), heads["v_bits"].unique()) == ([6], [8])
    tokens = frame(trace, "tokens")
    assert tokens.query("step == 2")["alive"].tolist() == [12, 6, 3]
    assert trace.array("sequences", "generated_tokens").tolist() == [2]


def test_distinct_values_are_the_expectation() -> None:
    # 10 queries use 5 of 10 values each: a value is missed by all with 0.5^10
    trace = shape_trace(TINY, 10, value_keep=0.5)
    assert set(trace.array("attention", "values_fetched")) == {10}
    # 2 queries use 1 of 2 each: expected 1.5 distinct, rounded to even
    trace = shape_trace(TINY, 2, value_keep=0.5)
    assert set(trace.array("attention", "values_fetched")) == {2}
    # one query alone fetches what it uses
    heads = frame(shape_trace(TINY, 9, value_keep=0.5, generate=1), "attention")
    assert set(heads.query("step == 1")["values_fetched"]) == {5}


def test_matmul_rows_are_those_of_a_gated_decoder() -> None:
    trace = shape_trace(TINY, 10, **PRUNED)
    rows = frame(trace, "matmul").query("step == 0 and layer == 1").set_index("operator")
    assert set(rows.index) == {"query", "key", "value", "output", "up", "gate", "down"}
    assert set(rows["m"]) == {5}
    assert set(rows["m_dense"]) == {10}
    assert rows.loc["query", ["k_dense", "n_dense", "k", "n"]].tolist() == [32, 32, 32, 16]
    assert rows.loc["output", ["k_dense", "n_dense", "k", "n"]].tolist() == [32, 32, 16, 32]
    assert rows.loc["key", ["k_dense", "n_dense", "k"]].tolist() == [32, 16, 32]
    assert rows.loc["key", "n"] in (8, 16)  # two heads share one K head, or have one each
    assert rows.loc["up", ["k", "n"]].tolist() == rows.loc["gate", ["k", "n"]].tolist() == [32, 48]
    assert rows.loc["down", ["k", "n"]].tolist() == [48, 32]
    generated = frame(trace, "matmul").query("step == 1")
    assert set(generated["m"]) == set(generated["m_dense"]) == {1}


def test_encoder_has_no_gate() -> None:
    operators = shape_trace(SHAPES["bert-base"], 8).array("matmul", "operator")
    assert set(operators) == {"query", "key", "value", "output", "up", "down"}


def test_selections_follow_the_cascade() -> None:
    topk = frame(shape_trace(TINY, 10, **PRUNED), "topk")
    prefill = topk.query("step == 0").set_index(["kind", "layer", "head"])[["operations", "n", "k"]]
    assert prefill.loc[("token", 0, -1)].tolist() == [1, 10, 5]
    assert prefill.loc[("token", 1, -1)].tolist() == [1, 5, 2]
    assert prefill.loc[("head", 0, -1)].tolist() == [1, 4, 2]
    assert ("head", 1, -1) not in prefill.index
    values = prefill.loc["value"]
    assert len(values) == 8
    assert values.loc[0].to_numpy().tolist() == [[10, 10, 5]] * 4
    assert values.loc[2].to_numpy().tolist() == [[2, 2, 1]] * 2
    assert topk["scores"].isna().all()


def test_value_selections_match_their_heads() -> None:
    trace = shape_trace(TINY, 10, **PRUNED)
    keys = ["sequence", "step", "layer", "head"]
    heads = frame(trace, "attention").query("values < keys")
    merged = frame(trace, "topk").query("kind == 'value'").merge(heads, on=keys)
    assert len(merged) == len(heads)
    for left, right in (("operations", "queries"), ("n", "keys"), ("k", "values")):
        assert merged[left].tolist() == merged[right].tolist()


def test_choices_are_nested_and_hold_the_newest_token() -> None:
    trace = shape_trace(TINY, 16, **PRUNED)
    tokens = frame(trace, "tokens")
    for step, layers in tokens.groupby("step"):
        sets = [set(ids) for ids in layers["token_ids"]]
        assert sets[0] >= sets[1] >= sets[2]
        if step:
            assert 15 + step in sets[2]
    heads = frame(trace, "attention")
    alive = [set(h) for _, h in heads[heads["alive"]].groupby(["step", "layer"])["head"]]
    assert alive[0] > alive[1] == alive[2]
    assert alive[:3] == alive[3:6]
    chosen = heads.merge(tokens, on=["sequence", "step", "layer"], suffixes=("", "_layer"))
    for row in chosen[chosen["alive"]].itertuples():
        assert row.key_ids.tolist() == row.token_ids.tolist()


def test_next_token_starts_from_the_wide_set_again() -> None:
    # 11 tokens: layers keep 11, 5, 2; the last layer of the prefill kept 2 and one token came
    heads = frame(shape_trace(TINY, 10, **PRUNED), "attention").query("step == 1 and alive")
    assert heads.groupby("layer")["keys_revived"].max().tolist() == [8, 2, 0]
    assert heads.groupby("layer")["kv_policy"].first().tolist() == ["revive", "revive", "full"]


def test_set_of_the_next_token_is_selected_after_the_last_layer() -> None:
    topk = frame(shape_trace(TINY, 10, token_keep=[0.5] * 3, generate=2), "topk")
    rows = topk[["step", "layer", "kind", "n", "k"]].to_numpy().tolist()
    assert rows == [[0, 2, "token", 10, 4], [1, 2, "token", 11, 5]]


def test_recomputed_queries_are_a_seeded_share() -> None:
    trace = shape_trace(SHAPES["bert-base"], 384, requant_share=0.25, k_bits=6, k_lsb_bits=4)
    total = trace.array("attention", "recomputed").sum() / trace.array("attention", "queries").sum()
    assert total == pytest.approx(0.25, abs=0.01)
    listed = trace.ragged("attention", "recomputed_queries")
    assert listed.lengths.tolist() == trace.array("attention", "recomputed").tolist()


def test_seed_and_sequence_choose() -> None:
    def ids(**options: Any) -> list[list[int]]:
        column = shape_trace(TINY, 64, **(PRUNED | options)).ragged("tokens", "token_ids")
        return [column.row(i).tolist() for i in range(len(column.given))]

    assert ids(seed=1) == ids(seed=1)
    assert ids(seed=1) != ids(seed=2)
    both = ids(seed=1, sequences=2)
    assert both[:9] == ids(seed=1)
    assert both[9:] != both[:9]


def test_trace_survives_writing_and_reading(tmp_path: Path) -> None:
    trace = shape_trace(TINY, 12, **PRUNED)
    write_trace(trace, tmp_path / "a.trace")
    again = read_trace(tmp_path / "a.trace")
    assert again.header == trace.header
    assert all(again.tables[name].equals(table) for name, table in trace.tables.items())


def test_bert_base_is_fast() -> None:
    start = time.process_time()
    shape_trace(SHAPES["bert-base"], 384, token_keep=[1.0] * 3 + [0.5] * 9, value_keep=0.5)
    assert time.process_time() - start < 0.5  # 0.02 s alone; the rest is for a busy machine


def test_every_registered_shape_runs() -> None:
    for workload in WORKLOADS.values():
        if workload.kind == "shape":
            trace = shape_trace(SHAPES[workload.shape], 12, generate=min(workload.generate, 1))
            assert trace.header.model.name == workload.shape


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"token_keep": [1, 0, 0]},
         "token_keep of layer 1 must be above 0 and at most 1, not 0"),
        ({"token_keep": [1, 1, 1.5]},
         "token_keep of layer 2 must be above 0 and at most 1, not 1.5"),
        ({"head_keep": [float("nan"), 1, 1]},
         "head_keep of layer 0 must be above 0 and at most 1, not nan"),
        ({"head_keep": [1, 1]}, "head_keep must have 3 entries, one a layer, not 2"),
        ({"token_keep": [1, 0.5, 0.7]},
         "token_keep of layer 2 must be at most that of the layer before (0.5), not 0.7: "
         "what was pruned stays pruned"),
        ({"value_keep": 0}, "value_keep must be above 0 and at most 1, not 0"),
        ({"requant_share": 2}, "requant_share must be from 0 to 1, not 2"),
        ({"requant_share": 0.1}, "k_lsb_bits must be at least 1 for requant_share 0.1"),
        ({"tokens": 0}, "tokens must be at least 1, not 0"),
        ({"generate": -1}, "generate must be at least 0, not -1"),
        ({"sequences": 0}, "sequences must be at least 1, not 0"),
        ({"k_bits": 33}, "attention.parquet row 0: k_bits must be at most 32, not 33"),
    ],
)  # fmt: skip
def test_bad_ratio_is_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as error:
        shape_trace(TINY, **({"tokens": 8} | options))
    assert str(error.value) == sentence


def test_one_token_is_never_pruned_away() -> None:
    trace = shape_trace(TINY, 1, token_keep=[0.1] * 3, head_keep=[0.01] * 3, value_keep=0.01)
    assert set(trace.array("tokens", "alive")) == {1}
    assert np.count_nonzero(trace.array("attention", "values")) == 3


def test_without_a_prefill_the_generated_tokens_are_the_same() -> None:
    both = shape_trace(SHAPES["gpt2-small"], 20, generate=2, value_keep=0.5)
    alone = shape_trace(SHAPES["gpt2-small"], 20, generate=2, value_keep=0.5, prefill=False)
    for table in ("attention", "matmul", "tokens"):
        assert set(alone.array(table, "step")) == {1, 2}
        whole = both.tables[table].to_pandas()
        for name in ("step", "layer"):
            expected = whole.loc[whole["step"] > 0, name].tolist()
            assert alone.array(table, name).tolist() == expected
    whole = both.tables["attention"].to_pandas().query("step > 0")
    assert alone.array("attention", "keys").tolist() == whole["keys"].tolist()
    assert alone.array("sequences", "tokens").tolist() == [20]
    assert alone.array("sequences", "generated_tokens").tolist() == [2]


def test_neither_prefill_nor_tokens_is_refused() -> None:
    with pytest.raises(InputError, match=r"^generate must be at least 1 without a prefill, not 0$"):
        shape_trace(SHAPES["gpt2-small"], 20, prefill=False)
