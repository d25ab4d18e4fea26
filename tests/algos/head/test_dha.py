"""Shared key/value heads in models, and what the trace says of them."""

from __future__ import annotations

import pytest
import torch

from algos.head.dha import Dha
from algos.static.apply import applied
from algos.static.facts import trace_facts
from algos.static.run import prune
from tests.algos.static.models import FAMILIES, random_model


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("keep_ratio", [0.3, 0.5, 0.75])
def test_key_heads_kept_are_the_budget_rounded_down(family: str, keep_ratio: float) -> None:
    model, shape, calibration = random_model(family)
    pruning = prune(Dha(keep_ratio=keep_ratio), model, shape, calibration)
    facts = trace_facts(model, pruning)
    kept = max(1, int(keep_ratio * shape.kv_heads))
    for layer in range(shape.layers):
        for name in ("key", "value"):
            assert facts.matmul[layer, name]["n"] == kept * shape.head_dim
        assert facts.matmul[layer, "query"]["n"] == shape.heads * shape.head_dim
        map_of_layer = facts.kv_heads[layer]
        assert map_of_layer is not None
        assert len(set(map_of_layer.tolist())) == kept


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_heads_that_are_alike_cost_nothing_to_share(family: str) -> None:
    model, shape, calibration = random_model(family)
    plan = prune(Dha(keep_ratio=0.5), model, shape, calibration)
    with torch.no_grad(), applied(model, plan):  # now heads of a cluster are equal
        fused = model(**calibration.samples[0]).logits
        again = prune(Dha(keep_ratio=0.5), model, shape, calibration)
        with applied(model, again):
            assert torch.allclose(model(**calibration.samples[0]).logits, fused, atol=1e-4)
    assert all(
        torch.equal(a.kv_heads, b.kv_heads)  # type: ignore[arg-type]
        for a, b in zip(plan.blocks, again.blocks, strict=True)
    )
