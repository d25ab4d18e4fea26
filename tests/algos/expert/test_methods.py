"""What holds for every method that prunes experts."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from algos import METHODS
from algos.expert.base import ExpertMethod, dropping
from algos.expert.stun import Stun
from algos.expert.uncurl import routed_share
from algos.static.apply import applied
from algos.static.base import Pruning, StaticMethod
from algos.static.facts import trace_facts
from algos.static.run import model_view, prune
from tests.algos.static.models import random_model
from workloads.errors import InputError

NAMES = [name for name, kind in METHODS.items() if issubclass(kind, ExpertMethod)]


@cache
def mixture() -> tuple[Any, Any, Any]:
    return random_model("mixtral")


def decided(name: str, **fields: Any) -> Pruning:
    method = METHODS[name](**fields)
    assert isinstance(method, StaticMethod)
    return prune(method, *mixture())


def kept_of(pruning: Pruning) -> list[int]:
    lists = [block.experts for block in pruning.blocks]
    return [int((x == torch.arange(len(x))).sum()) for x in lists if x is not None]


@pytest.mark.parametrize("name", NAMES)
def test_experts_kept_are_the_budget_rounded_down(name: str) -> None:
    for keep_ratio, kept in ((0.5, 2), (0.7, 2), (0.75, 3), (1.0, 4)):
        fields = {"expert_ratio": keep_ratio} if name == "stun" else {}
        assert kept_of(decided(name, keep_ratio=keep_ratio, **fields)) == [kept] * 2


@pytest.mark.parametrize("name", NAMES)
def test_the_pruned_mixture_runs(name: str) -> None:
    model, _, calibration = mixture()
    with torch.no_grad(), applied(model, decided(name, keep_ratio=0.5)):
        assert model(**calibration.samples[0]).logits.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_full_budget_changes_nothing(name: str) -> None:
    model, _, calibration = mixture()
    with torch.no_grad():
        whole = model(**calibration.samples[0]).logits
        with applied(model, decided(name, keep_ratio=1)):
            assert torch.allclose(model(**calibration.samples[0]).logits, whole, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_models_without_experts_are_refused(name: str) -> None:
    method = METHODS[name]()
    assert isinstance(method, StaticMethod)
    match = "^layer 0 must be a mixture for its experts to be pruned, it has one feed-forward"
    with pytest.raises(InputError, match=match):
        prune(method, *random_model("llama"))


@pytest.mark.parametrize("name", NAMES)
def test_fewer_experts_than_a_token_takes_are_refused(name: str) -> None:
    model, *_ = mixture()
    fields = {"expert_ratio": 0.25} if name == "stun" else {}
    pruning = decided(name, keep_ratio=0.25, **fields)
    with pytest.raises(InputError, match="must keep at least 2 experts"), applied(model, pruning):
        pass


def test_dropped_experts_have_nobody() -> None:
    pruning = dropping(torch.tensor([[1.0, 3, 1, 2]]), 0.75)
    assert pruning.blocks[0].experts is not None
    assert pruning.blocks[0].experts.tolist() == [0, 1, -1, 3]
    with pytest.raises(InputError, match="in layer 0 that of expert 1 is nan"):
        dropping(torch.tensor([[1.0, torch.nan]]), 0.5)


def test_use_counts_routed_tokens() -> None:
    view = model_view(METHODS["uncurl"](), *mixture())  # type: ignore[arg-type]
    share = routed_share(view.blocks[0])
    logits = torch.cat(view.blocks[0].linears["router"].samples)
    logits = logits @ view.blocks[0].linears["router"].weight.T
    chosen = logits.topk(2).indices.flatten()
    assert torch.allclose(share, torch.bincount(chosen, minlength=4) / len(chosen))


def test_stun_keeps_its_budget_of_weights() -> None:
    """3 of 4 experts, and in them 2 of 3 weights: half."""
    model, *_ = mixture()
    pruning = decided("stun", keep_ratio=0.5)
    facts = trace_facts(model, pruning)
    experts = {key: row for key, row in facts.matmul.items() if "." in key[1]}
    kept = sum(
        row["density"] * row["n"] * row["k"] for row in experts.values() if not row["skipped"]
    )
    whole = sum(row["n"] * row["k"] for row in experts.values())
    rows = 3 * 2 * (48 + 48 + 32)
    assert 0.5 * whole - rows < kept <= 0.5 * whole


def test_stun_averages_pairs_and_keeps_the_router_row() -> None:
    """Two experts made nearly alike for the router become one, the mean of both."""
    model, shape, calibration = random_model("mixtral")
    slots = model_view(Stun(), model, shape, calibration).blocks[0].linears
    router = dict(model.named_parameters())["model.layers.0.mlp.gate.weight"]
    router.data[3] = router.data[1] + 1e-3
    answer = prune(Stun(keep_ratio=0.75), model, shape, calibration).blocks[0]
    assert answer.experts is not None
    assert answer.experts.tolist() == [0, 1, 2, 1]
    mean = (slots["up.1"].weight + slots["up.3"].weight) / 2
    assert torch.allclose(answer.weights["up.1"].weight, mean)
    assert torch.allclose(answer.weights["router"].weight[1], router.data[1] + 5e-4, atol=1e-5)
