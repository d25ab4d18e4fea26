"""The rows of a trace, dense, pruned, with grouped heads, with and without scores."""

from __future__ import annotations

import numpy as np
import torch
import transformers

from algos.dense import Dense
from algos.harness import run_method
from algos.token.spatten import SpAtten
from workloads.models import LoadedModel, mean_pool, shape_of

Sequences = list[list[int]]


def test_dense_rows(encoder: LoadedModel, sequences: Sequences) -> None:
    trace = run_method(Dense(), encoder, sequences, workload="test").trace({})
    assert trace.array("sequences", "tokens_dense").tolist() == [len(ids) for ids in sequences]
    attention = trace.tables["attention"].to_pandas()
    assert len(attention) == 9 * 6 * 4
    for full in ("queries", "keys"):
        assert (attention[full] == attention[f"{full}_dense"]).all()
    assert (attention["values"] == attention["keys"]).all()
    assert (attention.values_fetched == attention["keys"]).all()
    assert attention.alive.all()
    assert attention.head_importance.isna().all()
    matmul = trace.tables["matmul"].to_pandas()
    first = matmul[(matmul.sequence == 0) & (matmul.layer == 3)].set_index("operator")
    assert first[["m", "k", "n"]].to_dict("index") == {
        "query": {"m": 12, "k": 32, "n": 32},
        "key": {"m": 12, "k": 32, "n": 32},
        "value": {"m": 12, "k": 32, "n": 32},
        "output": {"m": 12, "k": 32, "n": 32},
        "up": {"m": 12, "k": 32, "n": 48},
        "down": {"m": 12, "k": 48, "n": 32},
    }
    for size in ("m", "k", "n"):
        assert (matmul[size] == matmul[f"{size}_dense"]).all()


def test_pruned_rows(encoder: LoadedModel, sequences: Sequences) -> None:
    method = SpAtten(token_keep_ratio=0.5, head_keep_ratio=0.5)
    trace = run_method(method, encoder, sequences, workload="test").trace({})
    attention = trace.tables["attention"].to_pandas()
    dead = attention[~attention.alive]
    assert len(dead)
    assert (dead[["queries", "keys", "values", "values_fetched", "recomputed"]] == 0).all(axis=None)
    assert (dead.queries_dense > 0).all()
    matmul = trace.tables["matmul"].to_pandas()
    last = matmul[(matmul.sequence == 0) & (matmul.layer == 5)].set_index("operator")
    assert (last.m == 4).all()  # 12 tokens at the end ratio 1/3
    assert (last.m_dense == 12).all()
    assert last.loc["query", ["k", "n", "n_dense"]].tolist() == [32, 8, 32]  # one of 4 heads
    assert last.loc["output", ["k", "n", "k_dense"]].tolist() == [8, 32, 32]
    assert last.loc["up", ["k", "n"]].tolist() == [32, 48]


def test_grouped_heads_share_keys(sequences: Sequences) -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=40,
        max_position_embeddings=40,
    )
    model = transformers.LlamaModel(config).eval()
    loaded = LoadedModel(model, None, shape_of(config, "grouped"), "grouped")
    run = run_method(Dense(bits=32), loaded, sequences, workload="test")
    with torch.no_grad():
        ids = torch.tensor([sequences[0]])
        expected = mean_pool(model(input_ids=ids).last_hidden_state)[0].numpy()
    np.testing.assert_allclose(run.embeddings[0], expected, atol=1e-5)
    pruned = run_method(SpAtten(head_keep_ratio=0.5), loaded, sequences, workload="test").trace({})
    attention = pruned.tables["attention"].to_pandas()
    assert attention.kv_head.tolist() == (attention["head"] // 2).tolist()
    alive = attention[attention.alive].groupby(["sequence", "layer"]).kv_head.nunique()
    matmul = pruned.tables["matmul"].to_pandas()
    keys = matmul[matmul.operator == "key"].set_index(["sequence", "layer"]).n
    assert (keys == alive * 8).all()
    assert {"gate", "up", "down"} <= set(matmul.operator)
