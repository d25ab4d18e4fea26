"""Λ attention: the mask, the ring, positions of sinks, and StreamingLLM's own choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from algos.attention.sink_window import SinkWindow, rotate
from workloads.errors import InputError


def test_mask_by_hand() -> None:
    ids = torch.arange(6)
    assert SinkWindow(sinks=1, recent=2).visible(ids, ids).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 0, 1, 1, 0, 0],
        [1, 0, 0, 1, 1, 0],
        [1, 0, 0, 0, 1, 1],
    ]


@pytest.mark.parametrize(("sinks", "recent"), [(0, 1), (4, 16), (3, 5), (2, 1)])
def test_mask_list_and_ring_agree(sinks: int, recent: int) -> None:
    window = SinkWindow(sinks=sinks, recent=recent)
    ids = torch.arange(60)
    visible = window.visible(ids, ids)
    ring: dict[int, int] = {}
    for token in range(60):
        ring[window.slot(token)] = token
        expected = torch.nonzero(visible[token]).flatten().tolist()
        assert window.cached(token) == expected == sorted(ring.values())
        assert set(ring) <= set(range(window.tokens))
    assert len(ring) == window.tokens


def test_slots_by_hand() -> None:
    window = SinkWindow(sinks=2, recent=3)
    assert [window.slot(token) for token in range(9)] == [0, 1, 2, 3, 4, 2, 3, 4, 2]


def test_distance_of_sinks_is_capped() -> None:
    window = SinkWindow(sinks=4, recent=6)
    assert window.sink_position(torch.tensor([0, 8, 9, 10, 500])).tolist() == [0, 8, 9, 9, 9]


def test_rotating_equals_embedding_at_the_other_position() -> None:
    rope = LlamaRotaryEmbedding(LlamaConfig(hidden_size=64, num_attention_heads=2))
    x = torch.randn(2, 2, 5, 32, generator=torch.Generator().manual_seed(0))
    here, there = torch.tensor([[3, 50, 7, 9, 700]]), torch.tensor([[3, 20, 8, 0, 259]])
    at_here, expected = (apply_rotary_pos_emb(x, x, *rope(x, ids))[0] for ids in (here, there))
    found = rotate(at_here, there - here, rope.inv_freq)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_a_window_without_tokens_is_refused() -> None:
    with pytest.raises(InputError, match=r"^SinkWindow recent must be greater than or equal to 1"):
        SinkWindow(sinks=4, recent=0)


@pytest.mark.fidelity
def test_cache_equals_streaming_llms(shared_files: Callable[[str], list[Path]]) -> None:
    for path in shared_files("parity/streaming_llm*.npz"):
        case = np.load(path)
        window = SinkWindow(sinks=int(case["start"]), recent=int(case["recent"]))
        assert window.cached(int(case["S"]) - 1) == case["call"].tolist()
        # making room for 8 tokens leaves what 8 fewer recent tokens would
        smaller = SinkWindow(sinks=window.sinks, recent=window.recent - 8)
        assert smaller.cached(int(case["S"]) - 1) == case["evict8"].tolist()
