"""What a trace launches, on small traces whose kernels are counted by hand."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from algos.kernels import KERNELS
from reports.gpu.lower import LIBRARY, STREAM, Call, Chain, lower
from workloads.shapes import ModelShape
from workloads.synthetic import shape_trace
from workloads.synthetic_llm import decoder_trace
from workloads.trace import Trace

HEADS, DIM, HIDDEN, WIDE, VOCABULARY = 4, 64, 256, 512, 1000
SHAPE = ModelShape(
    name="small",
    layers=2,
    heads=HEADS,
    kv_heads=HEADS,
    head_dim=DIM,
    hidden=HIDDEN,
    intermediate=WIDE,
    gated=True,
    vocabulary=VOCABULARY,
    source="made up",
)
EIGHT = {"k_bits": 8, "v_bits": 8}


def attention_alone(trace: Trace) -> Trace:
    return Trace(trace.header, trace.tables | {"matmul": trace.tables["matmul"].slice(0, 0)})


def counts(chain: Chain) -> dict[str, int]:
    """Return how often each operation runs."""
    found: dict[str, int] = {}
    for operation, times in chain.operations.items():
        found[operation.name] = found.get(operation.name, 0) + times
    return found


def ways(chain: Chain, name: str) -> dict[tuple[str, ...], int]:
    """Return the kernels of each way of an operation, and how often it runs."""
    return {
        tuple(way.kernel for way in operation.ways): times
        for operation, times in chain.operations.items()
        if operation.name == name
    }


def call(chain: Chain, kernel: str) -> list[dict[str, Any]]:
    return [found.numbers for found in chain.calls if found.kernel == kernel]


def without(*names: str) -> Collection[str]:
    return [name for name in KERNELS if name not in names]


@pytest.fixture
def prefill() -> Trace:
    """Return 100 tokens and 4 heads in the first layer, 60 and 3 in the second."""
    return attention_alone(
        shape_trace(SHAPE, 100, token_keep=[1, 0.6], head_keep=[1, 0.75], **EIGHT)
    )


@pytest.fixture
def decode() -> Trace:
    """Return a token at 400 keys: all in the first layer, 200 and 50 V rows in the second."""
    kept = {"token_keep": [1.0, 0.5], "value_keep": 0.25, "k_bits": 12, "v_bits": 8}
    return attention_alone(shape_trace(SHAPE, 399, generate=1, prefill=False, **kept))


def test_dense_prefill(prefill: Trace) -> None:
    chain = lower(prefill, sparse=False)
    assert counts(chain) == {"attention": 2}
    size = {"heads": 4, "kv_heads": 4, "dim": 64, "queries": 100, "keys": 100, "causal": False}
    assert [*chain.calls] == [Call("dense-prefill", tuple(size.items()))]
    assert chain.missing == chain.notes == ()


def test_cascade_prefill(prefill: Trace) -> None:
    chain = lower(prefill, sparse=True)
    assert counts(chain) == {
        **{"attention": 2, "add importance": 2},
        **{"select tokens": 1, "select heads": 1},
    }
    first, second = call(chain, "cascade-prefill")
    assert (first["kept"], first["kept_heads"], first["tokens"]) == (100, 4, 100)
    assert (second["kept"], second["kept_heads"], second["tokens"]) == (60, 3, 100)
    assert second["heads"] == 4, "heads of Q, K and V: pruned ones are not run"
    assert call(chain, "topk-select") == [
        {"rows": 1, "keys": 4, "k": 3},
        {"rows": 1, "keys": 100, "k": 60},
    ]
    assert call(chain, STREAM) == [
        {"read_bytes": 800, "written_bytes": 400},
        {"read_bytes": 480, "written_bytes": 240},
    ]
    assert "no kernel exploits them" in chain.notes[0]


def test_nothing_pruned_needs_no_importance() -> None:
    trace = attention_alone(shape_trace(SHAPE, 100))
    assert lower(trace, sparse=True).operations == lower(trace, sparse=False).operations


def test_missing_kernels_are_told(prefill: Trace) -> None:
    chain = lower(prefill, sparse=True, kernels=without("cascade-prefill", "topk-select"))
    assert chain.missing == (
        "attention: there is no kernel cascade-prefill",
        "select heads: there is no kernel topk-select",
        "select tokens: there is no kernel topk-select",
    )
    assert ways(chain, "attention") == {(): 2}, "the dense kernel does not take its place"


def test_decode(decode: Trace) -> None:
    dense, sparse = lower(decode, sparse=False), lower(decode, sparse=True)
    assert call(dense, "dense-decode") == [{"heads": 4, "kv_heads": 4, "dim": 64, "keys": 400}]
    assert counts(dense) == {"attention": 2}
    assert counts(sparse) == {"attention": 2, "add importance": 2, "select tokens": 1}
    assert ways(sparse, "attention") == {
        ("dense-decode", "local-v-decode", "progressive-decode"): 1,
    }
    kept = call(sparse, "local-v-decode")
    assert [one["keys"] for one in kept] == [400, 200]
    assert [one["share"] * one["keys"] for one in kept] == [100, 50]
    # 12 bits of K without LSBs: 8 and 4 for every head
    assert {one["msb_bits"]: one["share"] for one in call(sparse, "progressive-decode")} == {8: 1.0}
    # four heads' scores and the sum so far are read, the sum is written
    assert call(sparse, STREAM)[1] == {"read_bytes": 4 * 200 * 5, "written_bytes": 4 * 200}


def test_less_exploited_is_told(decode: Trace) -> None:
    chain = lower(decode, sparse=True, kernels=without("local-v-decode", "progressive-decode"))
    assert chain.missing == ()
    assert chain.notes == (
        "all V rows are read: there is no kernel local-v-decode",
        "quantised K and V are read in half precision: there is no kernel progressive-decode",
    )


def test_recomputed_heads() -> None:
    trace = shape_trace(
        SHAPE, 399, generate=1, prefill=False, requant_share=1.0, k_bits=4, k_lsb_bits=4, v_bits=8
    )
    found = call(lower(trace, sparse=True), "progressive-decode")
    assert [(one["msb_bits"], one["share"]) for one in found] == [(4, 1.0)]


def test_compressed_decoder() -> None:
    trace = decoder_trace(SHAPE, 2999, 1, prefill=False)
    dense, sparse = lower(trace, sparse=False), lower(trace, sparse=True)
    per_layer = {"attention": 1, "linear layers": 7, "norms": 2, "rotation, K and V": 1}
    per_layer["activation"] = 1
    expected = {name: 2 * times for name, times in per_layer.items()}
    expected["linear layers"] += 1  # the output layer
    assert counts(dense) == expected
    assert counts(sparse) == {**expected, "quantise": 2}
    assert call(sparse, "lambda-kv4-decode") == [
        {"heads": 4, "kv_heads": 4, "dim": 64, "keys": 3000, "sinks": 4, "window": 2044}
    ]
    assert {found["keys"] for found in call(sparse, "dense-decode")} == {2048}
    assert call(sparse, LIBRARY) == [{"m": 1, "n": VOCABULARY, "k": HIDDEN}]
    gemv = call(sparse, "w2a8-gemv")
    assert {(one["tokens"], one["rows"], one["inputs"]) for one in gemv} == {
        *((1, HIDDEN, HIDDEN), (1, WIDE, HIDDEN), (1, HIDDEN, WIDE)),
    }


def test_compressed_prompt_takes_the_product_of_many_tokens() -> None:
    chain = lower(decoder_trace(SHAPE, 64, 0), sparse=True)
    assert call(chain, "w2a8-gemm")
    assert not call(chain, "w2a8-gemv")
    assert all(one["causal"] for one in call(lower(decoder_trace(SHAPE, 64, 1), sparse=False),
                                             "dense-prefill"))  # fmt: skip


def test_weights_that_no_kernel_exploits() -> None:
    trace = decoder_trace(SHAPE, 9, 1, prefill=False, weight_bits=4, pattern=None)
    chain = lower(trace, sparse=True)
    assert {name for operation in chain.operations if operation.name == "linear layers"
            for name in (way.kernel for way in operation.ways)} == {LIBRARY}  # fmt: skip
    assert "4-bit weights of up are read in half precision: no kernel exploits them" in chain.notes


def test_missing_product_is_told() -> None:
    trace = decoder_trace(SHAPE, 9, 1, prefill=False)
    chain = lower(trace, sparse=True, kernels=without("w2a8-gemv"))
    assert chain.missing == ("linear layers: there is no kernel w2a8-gemv",)
