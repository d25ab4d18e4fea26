"""What holds for every method that prunes single weights."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from algos import METHODS
from algos.static.apply import pruned_copy
from algos.static.base import LinearView, Pruning, StaticMethod
from algos.static.calibrate import next_token
from algos.static.facts import trace_facts
from algos.static.run import prune
from algos.weight.base import WeightMethod, WeightPlan
from tests.algos.decoders import random_decoder, random_tokens
from tests.algos.static.models import FAMILIES, random_model
from workloads.errors import InputError

NAMES = [name for name, kind in METHODS.items() if issubclass(kind, WeightMethod)]
FAST = {"armor": {"steps": 2}, "rd-layers": {"levels": 2}, "ecoflap": {"directions": 1}}
GROUPED = [name for name in NAMES if "group" in METHODS[name].model_fields]
# weights that a method may keep beyond the budget, as a share of all: wrappers of 32 are as large
# as these matrices
SLACK = {"armor": 2.0, "rd-layers": 0.0}
ROUNDING = 0.03  # of the small matrices' outputs, whose weights are whole numbers


def method_of(name: str, **fields: Any) -> StaticMethod:
    found = METHODS[name](**(FAST.get(name, {}) | fields))
    assert isinstance(found, StaticMethod)
    return found


@cache
def model_of(family: str) -> Any:
    return random_model(family)


def pruned(name: str, family: str = "llama", **fields: Any) -> tuple[Any, Pruning]:
    model, shape, calibration = model_of(family)
    return model, prune(method_of(name, **fields), model, shape, calibration)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", NAMES)
def test_every_model_is_pruned_to_the_budget(name: str, family: str) -> None:
    model, pruning = pruned(name, family, keep_ratio=0.5)
    facts = trace_facts(model, pruning)
    router = sum(m["k"] * m["n"] for m in facts.matmul.values() if m["operator"] == "router")
    kept = (facts.kept_weights - router) / (facts.dense_weights - router)
    assert kept <= 0.5 + SLACK.get(name, ROUNDING)
    assert kept >= (0.4 if name == "rd-layers" else 0.49)
    _, _, calibration = model_of(family)
    with torch.no_grad():
        output = calibration.read(pruned_copy(model, pruning)(**calibration.samples[0]))
    assert output.isfinite().all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("armor", "rd-layers")])
def test_other_budgets_are_kept(name: str) -> None:
    for keep_ratio in (0.25, 0.75):
        fields = {"group": 0} if name in GROUPED else {}
        model, pruning = pruned(name, keep_ratio=keep_ratio, **fields)
        assert trace_facts(model, pruning).kept_ratio == pytest.approx(keep_ratio, abs=0.01)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "armor"])
def test_everything_kept_is_the_model_itself(name: str) -> None:
    fields = {"group": 0} if name in GROUPED else {}
    model, pruning = pruned(name, keep_ratio=1, **fields)
    whole = pruned_copy(model, pruning)
    for parameter, expected in zip(whole.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", GROUPED)
def test_patterns_hold_in_every_group(name: str) -> None:
    for group, keep_ratio, kept in ((4, 0.5, 2), (8, 0.25, 2)):
        model, pruning = pruned(name, group=group, keep_ratio=keep_ratio)
        for block in pruning.blocks:
            for found in block.weights.values():
                assert (found.pattern, found.n, found.m) == ("n:m", kept, group)
                groups = found.weight.reshape(len(found.weight), -1, group) != 0
                assert groups.sum(-1).max() <= kept
        assert trace_facts(model, pruning).kept_ratio == pytest.approx(keep_ratio)
    with pytest.raises(InputError, match=r"keep_ratio must keep a whole number of each group of 4"):
        pruned(name, group=4, keep_ratio=0.3)


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_depends_on_nothing_but_the_seed(name: str) -> None:
    weights = []
    for seed in (0, 0, 1):
        found = prune(method_of(name), *model_of("llama"), seed=seed)
        weights.append(found.blocks[1].weights["up"].weight)
    assert weights[0].equal(weights[1])
    if name in ("random-weights", "armor"):
        assert not weights[0].equal(weights[2])


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_are_not_finite_are_refused(name: str) -> None:
    loaded = random_decoder("llama")
    loaded.model.model.layers[1].mlp.up_proj.weight.data[3, 4] = torch.inf
    with pytest.raises(InputError, match=r"^layer 1 up: weights must be finite, not all are$"):
        prune(method_of(name), loaded.model, loaded.shape, next_token(random_tokens(2, 8)))


@pytest.mark.parametrize("name", [n for n in NAMES if METHODS[n].name not in ("random-weights",)])
def test_equal_weights_keep_the_lowest_inputs(name: str) -> None:
    """One matrix of ones with inputs and gradients of ones: every score is the same."""
    if name in ("armor", "sparsegpt", "obert"):
        pytest.skip("adjusts weights, so that scores of later columns differ")
    method = method_of(name, keep_ratio=0.5)
    assert isinstance(method, WeightMethod)
    view = equal_view()
    plan = WeightPlan()
    if name == "global-magnitude":
        pytest.skip("ranks whole models: tested below")
    mask = method.prune_linear(view, plan).weight != 0
    by_group = getattr(method, "group", 0)
    expected = torch.zeros(4, 8, dtype=torch.bool)
    if by_group:
        expected[:, [0, 1, 4, 5]] = True
    elif name in ("magnitude", "component-magnitude", "rd-layers"):
        expected[:2] = True  # of the whole matrix
    else:
        expected[:, :4] = True
    assert mask.equal(expected)


def equal_view() -> LinearView:
    from algos.static.base import Gradients

    ones = torch.ones(4, 8)
    return LinearView(
        layer=0,
        operator="up",
        weight=ones,
        inputs=(torch.eye(8), torch.eye(8)),
        gradients=Gradients(total=ones, total_abs=ones, total_square=ones, samples=(ones, ones)),
    )


@pytest.mark.parametrize("name", [n for n in NAMES if "sentences" in METHODS[n].workloads])
def test_scores_that_are_not_finite_are_refused(name: str) -> None:
    method = method_of(name)
    assert isinstance(method, WeightMethod)
    if name in ("obert", "global-magnitude", "random-weights"):
        pytest.skip("its scores are those of the plan, checked there")
    view = equal_view()
    broken = torch.ones(4, 8)
    broken[1, 2] = torch.nan
    view = LinearView(
        layer=3,
        operator="up",
        weight=broken,
        inputs=(torch.full((2, 8), torch.inf),),
        gradients=view.gradients,
    )
    with pytest.raises(InputError, match=r"^layer 3 up: (every score|inputs on the calibration)"):
        method.prune_linear(view, WeightPlan())
