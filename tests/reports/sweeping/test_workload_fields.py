"""Sweeps over fields of workloads: what is made, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.sweeping.traces import ModelTraces
from sim.sweep import Space, Sweep
from sim.sweep.point import TraceOrder
from workloads.errors import InputError

ORDER = TraceOrder("llama-2-7b", None, (), None, 0, None, "whole")


def order(workload: str, method: str | None = None, **settings: Any) -> TraceOrder:
    return replace(
        ORDER, workload=workload, method=method, workload_settings=tuple(settings.items())
    )


def test_a_shape_without_a_method() -> None:
    trace = ModelTraces().make(order("llama-2-7b", context=40, kv_bits=8))
    assert set(trace.array("attention", "keys_dense")) == {40}
    assert set(trace.array("attention", "k_bits")) == {8}


def test_fields_decide_which_trace_it_is() -> None:
    about = ModelTraces().describe
    assert about(order("llama-2-7b")) == about(order("llama-2-7b", context=1024))
    assert about(order("llama-2-7b")) != about(order("llama-2-7b", context=1025))
    plain = about(order("gpt2-small-992", "spatten"))
    assert plain == about(order("gpt2-small-992", "spatten", tokens=992))
    assert plain != about(order("gpt2-small-992", "spatten", tokens=991))


def test_lengths_of_a_shape() -> None:
    trace = ModelTraces().make(order("gpt2-small-992", "spatten", tokens=20, generate=1))
    assert trace.array("sequences", "tokens_dense").tolist() == [20]
    assert sorted(set(trace.array("attention", "step"))) == [0, 1]


@pytest.mark.model
def test_lengths_of_a_text() -> None:
    wanted = replace(order("tiny-decoder", "dense", tokens=24, generate=3), limit=1)
    trace = ModelTraces().make(wanted)
    assert trace.array("sequences", "tokens_dense").tolist() == [24]
    assert trace.array("attention", "step").max() == 2  # the last token is only predicted


@pytest.mark.model
def test_a_text_is_never_cut_in_silence() -> None:
    wanted = replace(order("tiny-decoder", "dense", tokens=1000, generate=25), limit=1)
    with pytest.raises(
        InputError,
        match="tokens and generate of tiny-decoder must be at most 1024 together, a window of its "
        "text, not 1025",
    ):
        ModelTraces().make(wanted)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"method": "h2o"}, "method must be left out for llama-2-7b, nothing runs on a bare shape"),
        ({"limit": 2}, "limit must be left out for llama-2-7b, nothing runs on a bare shape"),
        ({"workload_settings": (("context", 1),)}, "Compressed context must be greater than or"),
    ],
)
def test_what_a_shape_refuses(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ModelTraces().describe(replace(ORDER, **changed))


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        (
            {"workload": "llama-2-7b", "axes": {"workload.contxt": [1]}},
            r"must set a field of workload llama-2-7b, not 'workload.contxt' "
            r"\(did you mean 'workload.context'\?\)",
        ),
        (
            {"method": "spatten", "axes": {"workload.tokens": [8]}},
            "must set a field of workload minilm-sentences, not 'workload.tokens'",
        ),
        (
            {"workload": "gone.trace", "axes": {"workload.tokens": [8]}},
            "must set a field of workload gone.trace, not 'workload.tokens'",
        ),
        ({"workload": "llama-7b"}, r"did you mean 'llama-2-7b'"),
        ({"workload": "tiny-decoder"}, "method must be given for a workload that is no trace"),
    ],
)
def test_unknown_fields(tmp_path: Path, space: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Sweep(Space.of(space), ModelTraces(), tmp_path)
