"""Which matrix of a model is what, in every family."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from algos.linears import block_slots
from tests.algos.static.models import FAMILIES, random_model
from workloads.errors import InputError

PLAIN = {"query", "key", "value", "output", "up", "down"}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_matrix_of_a_block_has_one_slot(family: str) -> None:
    model, shape, _ = random_model(family)
    blocks = block_slots(model)
    assert len(blocks) == shape.layers
    for layer, slots in enumerate(blocks):
        assert all(slot.layer == layer and slot.name == name for name, slot in slots.items())
        experts = {f"{op}.{e}" for op in ("up", "gate", "down") for e in range(4)}
        attention = {"query", "key", "value", "output"}
        expected = attention | {"router"} | experts if family == "mixtral" else PLAIN
        assert set(slots) == expected | ({"gate"} if family == "llama" else set())
        sizes = {name: tuple(slot.weight.shape) for name, slot in slots.items()}
        kv = shape.kv_heads * shape.head_dim
        assert sizes["query"] == sizes["output"] == (shape.hidden, shape.hidden)
        assert sizes["key"] == sizes["value"] == (kv, shape.hidden)
        up, down = ("up.1", "down.1") if family == "mixtral" else ("up", "down")
        assert sizes[up] == (shape.intermediate, shape.hidden)
        assert sizes[down] == (shape.hidden, shape.intermediate)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_slot_is_a_window_on_the_model(family: str) -> None:
    model, _, _ = random_model(family)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    slot = block_slots(model)[1]["down.2" if family == "mixtral" else "value"]
    slot.weight.zero_()
    changed = [(n, p != before[n]) for n, p in model.named_parameters() if not p.equal(before[n])]
    ((_, places),) = changed
    assert int(places.sum()) == slot.weight.numel()


def test_gpt2_parts_are_those_that_the_model_splits() -> None:
    model, _, _ = random_model("gpt2")
    slots = block_slots(model)[0]
    x = torch.randn(1, 3, 64)
    whole: Any = model.transformer.h[0].attn.c_attn
    with torch.no_grad():
        parts = whole(x).split(64, -1)
    for name, part in zip(("query", "key", "value"), parts, strict=True):
        torch.testing.assert_close(x @ slots[name].weight.T + slots[name].bias, part)


def test_other_matrices_are_refused() -> None:
    config = transformers.Qwen2MoeConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=16,
        num_experts=4,
        vocab_size=16,
    )
    model = transformers.Qwen2MoeForCausalLM(config)
    with pytest.raises(
        InputError, match=r"^block 0: every matrix must be a known one, mlp\.shared"
    ):
        block_slots(model)
