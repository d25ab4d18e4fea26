"""What holds for every method that prunes heads, neurons or layers: budgets, and bad input."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from algos import METHODS
from algos.head.base import HeadMethod
from algos.layer.base import LayerMethod
from algos.static.apply import applied
from algos.static.base import Pruning, StaticMethod
from algos.static.facts import trace_facts
from algos.static.run import prune
from algos.structured.base import StructuredMethod, sizes_of
from tests.algos.static.models import FAMILIES, random_model
from workloads.errors import InputError
from workloads.shapes import ModelShape

DENSE = [family for family in FAMILIES if family != "mixtral"]
OF_NEURONS = ("cfsp", "maw")
OF_BLOCKS = ("shortgpt", "random-layers")
RATIOS = (0.3, 0.6)


def names(*kinds: type) -> list[str]:
    return [name for name, kind in METHODS.items() if issubclass(kind, kinds)]


def make(name: str, **fields: Any) -> StaticMethod:
    """Make a method with as many runs of the model as a test can afford."""
    quick = {"optin": {"neurons_at_once": 16}, "axformer": {"neurons_at_once": 16}}
    method = METHODS[name](**({"tries": 2} if name == "tyr" else quick.get(name, {})) | fields)
    assert isinstance(method, StaticMethod)
    return method


@cache
def model_of(family: str) -> tuple[Any, ModelShape, Any]:
    return random_model(family)


def decided(name: str, family: str, **fields: Any) -> Pruning:
    return prune(make(name, **fields), *model_of(family))


def slack_of(name: str, shape: ModelShape) -> float:
    """Return the weights by which a method may fall short of its budget, of all layers."""
    sizes = sizes_of(shape)
    head = sizes.head_cost + sizes.kv_cost
    if name in ("flap", "obspa", "lrp", "optin"):
        return head
    if name == "axformer":
        return max(head, 16 * sizes.neuron_cost)
    if name == "finercut":
        return max(sizes.attention, sizes.feed_forward)
    return shape.layers * (head + sizes.neuron_cost)


@pytest.mark.parametrize("keep_ratio", RATIOS)
@pytest.mark.parametrize("family", DENSE)
@pytest.mark.parametrize(
    "name", [n for n in [*names(StructuredMethod), "finercut"] if n not in OF_NEURONS]
)
def test_weights_kept_are_within_the_budget(name: str, family: str, keep_ratio: float) -> None:
    model, shape, _ = model_of(family)
    pruning = decided(name, family, keep_ratio=keep_ratio)
    facts = trace_facts(model, pruning)
    budget = keep_ratio * facts.dense_weights
    assert facts.kept_weights <= budget
    assert facts.kept_weights > budget - slack_of(name, shape)


@pytest.mark.parametrize("keep_ratio", RATIOS)
@pytest.mark.parametrize("name", OF_NEURONS)
def test_neurons_kept_are_within_the_budget(name: str, keep_ratio: float) -> None:
    pruning = decided(name, "llama", keep_ratio=keep_ratio)
    kept = [int(block.neurons.sum()) for block in pruning.blocks if block.neurons is not None]
    assert keep_ratio * 256 - 2 < sum(kept) <= keep_ratio * 256
    assert all(block.heads is None for block in pruning.blocks)


@pytest.mark.parametrize("keep_ratio", RATIOS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", names(HeadMethod))
def test_heads_kept_are_the_budget_rounded_down(name: str, family: str, keep_ratio: float) -> None:
    pruning = decided(name, family, keep_ratio=keep_ratio)
    kept = [int(block.heads.sum()) for block in pruning.blocks if block.heads is not None]
    if name == "michel":
        assert sum(kept) == int(keep_ratio * 8)
    else:
        assert kept == [int(keep_ratio * 4)] * 2


@pytest.mark.parametrize("name", OF_BLOCKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_kept_are_the_budget_rounded_down(name: str, family: str) -> None:
    for keep_ratio, kept in ((0.3, 1), (0.5, 1), (0.9, 1), (1.0, 2)):
        pruning = decided(name, family, keep_ratio=keep_ratio)
        assert sum(not block.skip_ffn for block in pruning.blocks) == kept
        assert all(block.skip_ffn == block.skip_attention for block in pruning.blocks)


@pytest.mark.parametrize("name", names(StructuredMethod, HeadMethod, LayerMethod))
def test_a_full_budget_changes_nothing(name: str) -> None:
    model, _, calibration = model_of("llama")
    pruning = decided(name, "llama", keep_ratio=1)
    with torch.no_grad():
        whole = model(**calibration.samples[0]).logits
        with applied(model, pruning):
            left = model(**calibration.samples[0]).logits
    assert torch.allclose(left, whole, atol=2e-4)


@pytest.mark.parametrize("name", names(StructuredMethod, HeadMethod, LayerMethod))
def test_the_same_seed_decides_the_same(name: str) -> None:
    model, *_ = model_of("llama")
    facts = [trace_facts(model, decided(name, "llama")) for _ in range(2)]
    for one, other in zip(*(f.matmul.values() for f in facts), strict=True):
        assert {k: v for k, v in one.items() if k != "row_nonzeros"} == {
            k: v for k, v in other.items() if k != "row_nonzeros"
        }


@pytest.mark.parametrize("name", names(StructuredMethod))
def test_neurons_of_a_mixture_are_refused(name: str) -> None:
    match = r"^layer 0 must have one feed-forward layer for its neurons to be pruned, not 4 experts"
    with pytest.raises(InputError, match=match):
        decided(name, "mixtral")


@pytest.mark.parametrize("name", names(StructuredMethod, HeadMethod, LayerMethod))
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_model_that_is_not_finite_is_refused(name: str, bad: float) -> None:
    model, shape, calibration = random_model("llama")
    model.lm_head.weight.data[0, 0] = bad  # weights of the blocks are fine, outputs are not
    model.model.embed_tokens.weight.data[:] = bad
    if name in ("maw", "magnitude-structures") or name.startswith("random"):
        prune(make(name), model, shape, calibration)  # they look at the blocks' weights at most
        return
    with pytest.raises(InputError, match="finite"):
        prune(make(name), model, shape, calibration)
