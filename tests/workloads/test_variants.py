"""What a sweep may vary of a workload."""

from __future__ import annotations

import pytest

from workloads.config import Config
from workloads.errors import InputError
from workloads.tasks import WORKLOADS
from workloads.variants import DECODERS, Compressed, Lengths, fields_of, find, with_lengths


def test_text_and_shapes_have_lengths() -> None:
    assert fields_of("gpt2-small-992") == Lengths(tokens=992, generate=32)
    assert fields_of("tiny-decoder") == Lengths(tokens=448, generate=32)
    assert fields_of("minilm-sentences") == Config()


def test_a_decoder_without_weights_is_its_own_workload() -> None:
    assert "llama-2-7b" in DECODERS
    assert fields_of("llama-2-7b") == Compressed()


def test_names_are_not_taken_twice() -> None:
    assert not set(DECODERS) & set(WORKLOADS)


def test_a_wrong_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match=r"workload must be one of .* \(did you mean 'llama-2-7b'"):
        find("llama-7b")


def test_other_lengths_leave_the_rest() -> None:
    short = with_lengths(WORKLOADS["tiny-decoder"], Lengths(tokens=64, generate=2))
    assert (short.tokens, short.generate, short.inputs) == (64, 2, 16)
    assert WORKLOADS["tiny-decoder"].tokens == 448


def test_the_context_counts_the_generated_token_itself() -> None:
    trace = Compressed(context=128, recent=0).trace("llama-2-7b")
    assert set(trace.array("attention", "keys_dense")) == {128}
    assert set(trace.array("attention", "keys")) == {128}
    assert trace.header.synthetic


def test_bits_pattern_and_window_reach_the_trace() -> None:
    trace = Compressed(
        context=64, weight_bits=4, activation_bits=16, kv_bits=8, pattern="", sinks=2, recent=10
    ).trace("llama-2-7b")
    assert set(trace.array("attention", "keys")) == {12}
    assert set(trace.array("attention", "k_bits")) == {8}
    assert 4 in trace.array("matmul", "weight_bits")
    assert "n:m" not in set(trace.tables["matmul"]["pattern"].to_pylist())
    assert set(trace.array("matmul", "activation_bits")) == {16}


def test_a_prefill_comes_first_if_wanted() -> None:
    trace = Compressed(context=16, prefill=True, generate=2).trace("llama-2-7b")
    assert sorted(set(trace.array("attention", "step"))) == [0, 1, 2]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("context", 1, "Compressed context must be greater than or equal to 2, not 1"),
        ("generate", 0, "Compressed generate must be greater than or equal to 1, not 0"),
        ("weight_bits", 0, "Compressed weight_bits must be greater than or equal to 1, not 0"),
    ],
)
def test_impossible_values(field: str, value: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Compressed(**{field: value})


def test_a_pattern_that_is_none() -> None:
    with pytest.raises(InputError, match="pattern must be n:m with 0 < n <= m, not '5:4'"):
        Compressed(pattern="5:4").trace("llama-2-7b")
