"""A decoder's trace holds what was asked for, and nothing is drawn."""

import dataclasses

import numpy as np
import pytest

from workloads.errors import InputError
from workloads.shapes import SHAPES
from workloads.synthetic_llm import decoder_trace

SMALL = dataclasses.replace(
    SHAPES["llama-2-7b"], name="small", layers=2, heads=4, kv_heads=2, hidden=256, head_dim=64,
    intermediate=512, vocabulary=100,
)  # fmt: skip


def test_rows_by_hand():
    trace = decoder_trace(SMALL, 10, 3, sinks=2, recent=9)
    assert trace.header.synthetic
    keys = trace.array("attention", "keys").reshape(4, 2, 4)
    assert (keys == np.array([10, 11, 11, 11])[:, None, None]).all()
    assert trace.array("attention", "keys_dense").reshape(4, 8)[:, 0].tolist() == [10, 11, 12, 13]
    assert trace.array("attention", "queries").reshape(4, 8)[:, 0].tolist() == [10, 1, 1, 1]
    assert trace.array("attention", "kv_head")[:4].tolist() == [0, 0, 1, 1]
    operators = trace.array("matmul", "operator")
    assert (operators == "head").sum() == 4
    assert len(operators) == 4 * (2 * 7 + 1)
    head = operators == "head"
    assert trace.array("matmul", "m")[head].tolist() == [1, 1, 1, 1]
    assert trace.array("matmul", "n")[head].tolist() == [100] * 4
    assert set(trace.array("matmul", "density")[~head]) == {0.5}
    assert trace.array("tokens", "alive").tolist() == [10, 10, 11, 11, 12, 12, 13, 13]


def test_without_window_pattern_and_prefill():
    trace = decoder_trace(SMALL, 10, 2, recent=None, pattern=None, prefill=False)
    assert trace.array("attention", "step").min() == 1
    assert set(trace.array("attention", "kv_policy")) == {"full"}
    assert trace.array("attention", "keys").tolist() == [11] * 8 + [12] * 8
    assert set(trace.array("matmul", "pattern")) == {"dense"}


def test_an_ungated_model_without_an_output_layer():
    shape = dataclasses.replace(SMALL, gated=False, vocabulary=0)
    operators = set(decoder_trace(shape, 4, 1).array("matmul", "operator"))
    assert operators == {"query", "key", "value", "output", "up", "down"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompt": 0}, "prompt must be at least 1, not 0"),
        ({"generate": -1}, "generate must be at least 0, not -1"),
        ({"generate": 0, "prefill": False}, "generate must be at least 1, not 0"),
        ({"recent": 0}, "recent must be at least 1, not 0"),
        ({"pattern": "4:2"}, "pattern must be n:m with 0 < n <= m, not '4:2'"),
        ({"pattern": "half"}, "pattern must be n:m with 0 < n <= m, not 'half'"),
    ],
)
def test_what_cannot_be_is_refused(changes, sentence):
    with pytest.raises(InputError) as error:
        decoder_trace(SMALL, **({"prompt": 4, "generate": 1} | changes))
    assert str(error.value) == sentence
