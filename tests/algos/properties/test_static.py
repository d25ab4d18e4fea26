"""What holds for every method that prunes a model before it runs, whatever its rule."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from algos import METHODS
from algos.static.apply import pruned_copy
from algos.static.base import Pruning, StaticMethod
from algos.static.facts import StaticFacts, trace_facts
from algos.static.run import prune, pruned
from tests.algos.properties.runs import (
    FAMILY,
    calibrated_model,
    fresh_calibrated,
    make,
    run_static,
)
from workloads.errors import InputError

NAMES = [name for name, kind in METHODS.items() if issubclass(kind, StaticMethod)]
CASES = [
    (name, "mixtral" if METHODS[name].family == "expert" else FAMILY[kind])
    for name in NAMES
    for kind in METHODS[name].workloads
]
NEURONS = ("cfsp", "maw")  # the budget is one of neurons
NOT_EQUAL = {  # what breaks a tie before the method sees it
    "stun": "of equal experts the second joins the first, and those after stay",
    "uncurl": "the router itself prefers some of equal experts",
    "sparsegpt": "weights dropped change those of later inputs, which then differ",
}
# share by which a method may keep less than its budget in models of 2 layers with 4 heads
BELOW = {"head": 0.25, "layer": 0.5, "expert": 0.25, "structured": 0.08, "weight": 0.03}
BELOW_OF = {"rd-layers": 0.1}
ABOVE_OF = {"armor": 2.0}  # its wrappers of 32 are as large as these matrices


def decide(name: str, family: str, **fields: Any) -> Pruning:
    loaded, calibration = calibrated_model(family)
    method = make(name, **fields)
    assert isinstance(method, StaticMethod)
    return prune(method, loaded.model, loaded.shape, calibration)


@cache
def state_of(family: str) -> dict[str, torch.Tensor]:
    """Return the weights of a model, as they were before anything was pruned."""
    loaded, _ = calibrated_model(family)
    return {name: value.clone() for name, value in loaded.model.state_dict().items()}


def kept_share(name: str, family: str, pruning: Pruning) -> float:
    """Return the share kept of what a method prunes."""
    loaded, _ = calibrated_model(family)
    facts = trace_facts(loaded.model, pruning)
    blocks, kind = pruning.blocks, METHODS[name].family
    if name == "dha":
        alone = [
            len(set(block.kv_heads.tolist())) for block in blocks if block.kv_heads is not None
        ]
        return sum(alone) / len(blocks) / loaded.shape.kv_heads
    if kind == "head":
        return _mean([block.heads for block in blocks])
    if name in NEURONS:
        return _mean([block.neurons for block in blocks])
    if kind == "expert":
        return _mean(
            [x == torch.arange(len(x)) for x in (b.experts for b in blocks) if x is not None]
        )
    return _of_weights(facts)


def _mean(masks: list[Any]) -> float:
    return float(torch.stack(masks).float().mean())


def _of_weights(facts: StaticFacts) -> float:
    return facts.kept_weights / facts.dense_weights


@pytest.mark.parametrize("ratio", [0.5, 0.75])
@pytest.mark.parametrize(("name", "family"), CASES)
def test_the_budget_is_kept_and_the_dense_model_too(name: str, family: str, ratio: float) -> None:
    before = state_of(family)
    fields = {"expert_ratio": ratio} if name == "stun" else {}
    if METHODS[name].trace_kind == "weights, N:M":
        fields["keep_ratio"] = ratio = 0.5
    pruning = decide(name, family, **{"keep_ratio": ratio} | fields)
    loaded, calibration = calibrated_model(family)
    for parameter, value in loaded.model.state_dict().items():
        assert value.equal(before[parameter])
    share = kept_share(name, family, pruning)
    rounding = 0.03 if METHODS[name].family == "weight" else 1e-6
    below = BELOW_OF.get(name, BELOW[METHODS[name].family])
    assert ratio - below - 1e-6 <= share <= ratio + ABOVE_OF.get(name, rounding)
    with torch.no_grad():
        output = calibration.read(pruned_copy(loaded.model, pruning)(**calibration.samples[0]))
    assert output.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_mixture_is_pruned_or_refused(name: str) -> None:
    if METHODS[name].family == "structured":
        with pytest.raises(InputError, match=r"^layer 0 must have one feed-forward .* not 4"):
            run_static(name, "text", experts=True)
        return
    trace = run_static(name, "text", experts=True)
    skips = trace.array("tokens", "ffn_skipped")
    routed = trace.array("matmul", "expert") >= 0
    skipped = trace.array("matmul", "skipped")[routed]
    layers = trace.array("matmul", "layer")[routed]
    for layer in (0, 1):
        gone = bool(skips[trace.array("tokens", "layer") == layer].all())
        assert (layers == layer).any()  # what is skipped is in the trace, as such
        assert not gone or skipped[layers == layer].all()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_the_seed_decides(name: str) -> None:
    family = "mixtral" if METHODS[name].family == "expert" else "llama"
    loaded, calibration = calibrated_model(family)
    method = make(name)
    works = [pruned(method, loaded, calibration, seed=3)[1].model for _ in range(2)]
    first, again = (work.state_dict() for work in works)
    assert all(first[parameter].equal(again[parameter]) for parameter in first)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    family = "mixtral" if METHODS[name].family == "expert" else "llama"
    loaded, calibration = fresh_calibrated(family)
    loaded.model.model.layers[1].self_attn.o_proj.weight.data[2, 3] = bad
    with pytest.raises(InputError, match=r"^layer 1 output: weights must be finite, not all are$"):
        pruned(make(name), loaded, calibration)


@pytest.mark.parametrize("name", [name for name in NAMES if "random" not in name])
def test_among_equals_the_first_stay(name: str) -> None:
    """With all parameters the same, heads, neurons and inputs are kept from the first on."""
    if name in NOT_EQUAL:
        pytest.skip(NOT_EQUAL[name])
    family = "mixtral" if METHODS[name].family == "expert" else "llama"
    loaded, calibration = fresh_calibrated(family)
    for parameter in loaded.model.parameters():
        parameter.data.fill_(0.25)
    method = make(name)
    assert isinstance(method, StaticMethod)
    for block in prune(method, loaded.model, loaded.shape, calibration).blocks:
        for mask in (block.heads, block.neurons):
            assert mask is None or first_stay(mask)
        if block.experts is not None:
            assert first_stay(block.experts == torch.arange(len(block.experts)))
        for found in block.weights.values():
            kept = found.weight != 0
            groups = kept.view(len(kept), -1, found.m) if found.m else kept
            assert first_stay(groups)


def first_stay(mask: torch.Tensor) -> bool:
    """Tell whether no kept one follows a dropped one in the last axis."""
    return bool((mask.int().diff(dim=-1) <= 0).all())
