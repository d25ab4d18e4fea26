"""Every kind of sparsity that published systems need fits into the trace as it is.

The kinds are those of facts/pruning-systems.md, "Trace kinds needed": 17 rows, of which the KV
token set has three flavours. Each case names the columns that carry its kind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from workloads.shapes import ModelShape
from workloads.trace import TABLES, Trace, TraceBuilder, TraceHeader, read_trace, write_trace

MODEL = ModelShape(
    name="tiny", layers=2, heads=2, kv_heads=2, head_dim=4, hidden=8, intermediate=16, source="test"
)
ATTENTION = {
    "step": 0, "layer": 0, "head": [0, 1], "kv_head": [0, 1], "queries_dense": 4, "queries": 4,
    "keys_dense": 8, "keys": 8, "values": 8, "values_fetched": 8, "head_dim": 4, "q_bits": 12,
    "k_bits": 12, "v_bits": 12,
}  # fmt: skip
MATMUL = {
    "step": 0, "layer": [0, 1], "operator": "up", "m_dense": 4, "k_dense": 8, "n_dense": 4, "m": 4,
    "k": 8, "n": 4,
}  # fmt: skip
TOKENS = {"step": 0, "layer": [0, 1], "tokens_dense": 8, "alive": 8}
SEQUENCES = {"tokens_dense": 8, "tokens": 8}
PLAIN = {"sequences": SEQUENCES, "attention": ATTENTION, "matmul": MATMUL, "tokens": TOKENS}


class Kind(NamedTuple):
    """`row` is the kind's name in the facts; `carries` gives columns by table, two rows each."""

    name: str
    row: str
    carries: dict[str, dict[str, list[Any]]]


KV_SETS = "KV token set per step"
KINDS = [
    Kind("token keep-mask", "token keep-mask per layer (inside the network)", {
        "tokens": {"alive": [8, 3], "revived": [0, 1], "token_ids": [list(range(8)), [0, 3, 7]],
                   "importance": [[0.5] * 8, [1.0, -2.0, 3.0]]},
        "topk": {"kind": ["token", "token"], "n": [8, 3], "k": [3, 2], "operations": [1, 1],
                 "head": [-1, -1], "scores": [[4095, 7, 6, 5, 4, 3, 2, 1], None]},
    }),
    Kind("visual token set", "visual token set at LLM input", {
        "tokens": {"alive": [3, 3], "token_ids": [[0, 3, 7], [0, 3, 7]]},
    }),
    Kind("merge map", "merge map (extension)", {
        "tokens": {"alive": [8, 3], "merged": [0, 5],
                   "merge_groups": [None, [0, 0, 1, 1, 1, 2, 2, 2]],
                   "merge_weights": [None, [0.5, 0.5, 0.25, 0.25, 0.5, 1.0, 0.0, 0.0]]},
    }),
    Kind("head mask", "head mask", {
        "attention": {"alive": [True, False], "queries": [4, 0], "keys": [8, 0], "values": [8, 0],
                      "values_fetched": [8, 0], "head_importance": [2.5, None]},
        "matmul": {"k": [8, 4]},
    }),
    Kind("head class", "head class (extension: per-head KV policy)", {
        "attention": {"kv_policy": ["full", "sink_recent"], "sink_tokens": [0, 2],
                      "recent_tokens": [0, 3], "keys": [8, 5], "values": [8, 5],
                      "values_fetched": [8, 5], "key_ids": [None, [0, 1, 5, 6, 7]]},
    }),
    Kind("KV set: evict", KV_SETS, {
        "attention": {"kv_policy": ["evict"] * 2, "keys": [5, 4], "values": [5, 4],
                      "values_fetched": [5, 4], "keys_evicted": [3, 4],
                      "key_ids": [[0, 2, 5, 6, 7], [0, 1, 6, 7]]},
    }),
    Kind("KV set: revive", KV_SETS, {
        "attention": {"kv_policy": ["revive"] * 2, "keys": [5, 4], "values": [2, 4],
                      "values_fetched": [3, 4], "keys_revived": [2, 0],
                      "value_ids": [[2, 5, 7], None], "key_ids": [[0, 2, 5, 6, 7], [0, 1, 6, 7]]},
    }),
    Kind("KV set: re-select", KV_SETS, {
        "attention": {"kv_policy": ["reselect"] * 2, "keys": [2, 3], "values": [2, 3],
                      "values_fetched": [2, 3], "scored_keys": [8, 8], "scored_channels": [1, 2],
                      "key_ids": [[0, 7], [1, 3, 7]]},
        "topk": {"kind": ["key", "key"], "head": [0, 1], "n": [8, 8], "k": [2, 3],
                 "operations": [1, 1]},
    }),
    Kind("KV channels and elements", "KV channel/element mask", {
        "attention": {"key_channels": [2, 4], "value_channels": [4, 3],
                      "channel_ids": [[0, 3], [0, 1, 2, 3]], "key_density": [0.5, 0.25],
                      "value_density": [0.75, 1.0], "key_rank": [0, 2], "value_rank": [0, 3]},
    }),
    Kind("attention block mask", "attention block mask", {
        "attention": {"block_queries": [2, 2], "block_keys": [4, 4], "blocks": [3, 2],
                      "block_counts": [[1, 2], [1, 1]], "block_ids": [[0, 0, 1], [0, 1]]},
    }),
    Kind("delta mask", "delta mask (extension, temporal)", {
        "attention": {"delta_density": [0.25, 0.5], "delta_window": [2, 4],
                      "delta_counts": [[1, 0, 2, 0, 1, 4, 0, 0], None]},
    }),
    Kind("weights, unstructured", "weight mask, unstructured", {
        "matmul": {"pattern": ["unstructured"] * 2, "density": [0.5, 0.25],
                   "row_nonzeros": [[4, 5, 3, 4], None], "activation_density": [1.0, 0.5]},
    }),
    Kind("weights, N:M", "weight mask, N:M", {
        "matmul": {"pattern": ["n:m"] * 2, "pattern_n": [2, 1], "pattern_m": [4, 4],
                   "density": [0.5, 0.25]},
    }),
    Kind("weights, structured", "weight mask, structured (and constant-block)", {
        "matmul": {"pattern": ["structured", "block"], "k": [6, 8], "n": [3, 4],
                   "density": [1.0, 0.5], "block_rows": [0, 4], "block_columns": [0, 2],
                   "block_ids": [None, [0, 3]]},
    }),
    Kind("layer skip", "layer skip", {
        "tokens": {"attention_skipped": [True, False], "ffn_skipped": [False, True]},
        "matmul": {"skipped": [False, True]},
    }),
    Kind("expert subset", "expert subset", {
        "matmul": {"expert": [0, 5], "m": [3, 1], "token_ids": [[0, 1, 3], [2]],
                   "skipped": [False, False]},
    }),
    Kind("per-token depth", "per-token depth", {
        "tokens": {"bypassed": [0, 3], "bypassed_keep_kv": [False, True],
                   "bypassed_ids": [None, [1, 4, 6]]},
    }),
    Kind("precision map", "precision map", {
        "attention": {"q_bits": [12, 8], "k_bits": [6, 8], "v_bits": [8, 4], "k_lsb_bits": [4, 0],
                      "v_lsb_bits": [0, 4], "recomputed": [2, 0],
                      "recomputed_queries": [[1, 3], []]},
        "matmul": {"weight_bits": [4, 8], "activation_bits": [8, 8]},
    }),
    Kind("shorter prompt", "shorter prompt", {
        "sequences": {"tokens_dense": [8, 8], "tokens": [5, 8], "generated_tokens": [0, 2]},
    }),
]  # fmt: skip


def trace_of(kind: Kind) -> Trace:
    builder = TraceBuilder()
    for table, plain in PLAIN.items():
        carried = kind.carries.get(table, {})
        sequence = [0, 1] if table == "sequences" else 0
        builder.add(table, 2, sequence=sequence, **(plain | carried))
    if "topk" in kind.carries:
        builder.add("topk", 2, sequence=0, step=0, layer=[0, 1], **kind.carries["topk"])
    header = TraceHeader(
        workload="test", model=MODEL, method=kind.name, parameters={}, seed=0, accuracy={},
        synthetic=True,
    )  # fmt: skip
    return builder.finish(header)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_kind_is_carried(kind: Kind, tmp_path: Path) -> None:
    write_trace(trace_of(kind), tmp_path / "kind.trace")
    again = read_trace(tmp_path / "kind.trace")
    for table, columns in kind.carries.items():
        for name, values in columns.items():
            assert again.tables[table][name].to_pylist() == values, (table, name)


def test_every_kind_of_the_facts_has_a_case(shared_files: Callable[[str], list[Path]]) -> None:
    (facts,) = shared_files("facts/pruning-systems.md")
    section = facts.read_text("utf-8").split("## Trace kinds needed")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")]
    assert set(rows) - {"kind"} == {kind.row for kind in KINDS}


def test_every_column_serves_a_kind_or_says_what_a_row_is() -> None:
    for name, schema in TABLES.items():
        carried = {column for kind in KINDS for column in kind.carries.get(name, {})}
        plain = {"sequence", *PLAIN.get(name, ()), *schema.key}
        assert {column.name for column in schema.columns} <= carried | plain, name
