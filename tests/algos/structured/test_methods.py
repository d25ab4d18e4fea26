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
    return shape.layers * sizes.neuron_cost


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
@pytest.mark.parametrize("name", [name for name in names(HeadMethod) if name != "dha"])
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
    if name in ("dha", "maw", "magnitude-structures") or name.startswith("random"):
        prune(make(name), model, shape, calibration)  # they look at the blocks' weights at most
        return
    with pytest.raises(InputError, match="finite"):
        prune(make(name), model, shape, calibration)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("flap", {"metric": "WIFN"}),
        ("flap", {"structure": "UL-UM"}),
        ("flap", {"compat": "authors"}),
        ("flap", {"compat": "authors", "metric": "WIFN", "structure": "UL-UM"}),
        ("cfsp", {"compat": "authors"}),
        ("llm-pruner", {"order": "vectorize"}),
        ("llm-pruner", {"order": "param_second"}),
        ("llm-pruner", {"order": "param_mix"}),
        ("shortgpt", {"metric": "angle"}),
    ],
)
def test_other_options_stay_near_the_budget(name: str, fields: dict[str, Any]) -> None:
    """The authors' rounding may keep a neuron a layer more, or half a head of each layer."""
    model, shape, _ = model_of("llama")
    facts = trace_facts(model, decided(name, "llama", keep_ratio=0.5, **fields))
    sizes = sizes_of(shape)
    kept_whole = sizes.attention * 2 if name == "cfsp" else 0
    budget = 0.5 * (facts.dense_weights - kept_whole) + kept_whole
    assert abs(facts.kept_weights - budget) <= sizes.attention + 2 * sizes.neuron_cost


def test_flaps_bias_makes_up_for_constant_inputs() -> None:
    """With all neurons' outputs constant, pruning half of them changes nothing."""
    model, shape, calibration = random_model("opt")
    for layer in model.model.decoder.layers:
        layer.fc1.weight.data.zero_()
        layer.fc1.bias.data.uniform_(0.5, 1)
        layer.self_attn.v_proj.weight.data.zero_()
    pruning = prune(make("flap", keep_ratio=0.5), model, shape, calibration)
    assert not all(block.neurons.all() for block in pruning.blocks if block.neurons is not None)
    with torch.no_grad():
        whole = model(**calibration.samples[0]).logits
        with applied(model, pruning):
            assert torch.allclose(model(**calibration.samples[0]).logits, whole, atol=1e-3)


def test_whole_layers_of_llm_pruner_stay_whole() -> None:
    pruning = decided("llm-pruner", "llama", keep_ratio=0.6, whole_first=0.5, whole_last=0)
    first, second = pruning.blocks
    assert first.heads is not None
    assert second.neurons is not None
    assert first.heads.all()
    assert 0 < second.neurons.sum() < 0.25 * len(second.neurons)
    with pytest.raises(InputError, match=r"at least 0\.5 with 1 of 2 layers kept whole, not 0\.3$"):
        decided("llm-pruner", "llama", keep_ratio=0.3, whole_first=0.5)
