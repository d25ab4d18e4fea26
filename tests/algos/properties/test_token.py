"""What holds for every method that drops, merges or bypasses tokens, on models that run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algos import METHODS
from algos.selection import keep_count
from algos.token.base import TokenMethod
from algos.token.cascade import CascadeMethod
from tests.algos.properties.runs import (
    GRID,
    LAYERS,
    LENGTHS,
    TEXT,
    VISUAL,
    fresh_model,
    make,
    run,
)
from workloads.capture import find_blocks
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.trace import Trace

CASES = [
    (name, kind)
    for name, method in METHODS.items()
    if issubclass(method, TokenMethod | CascadeMethod)
    for kind in method.workloads
]
BUDGETED = [(name, kind) for name, kind in CASES if "keep_ratio" in METHODS[name].model_fields]
ONE_STEP_MORE = ("ltp-cascade",)  # the budget is met behind the last layer
DRAWN = ("random", "information-horizon")  # scores are random numbers
TOKENS = {"text": TEXT, "images": GRID[0] * GRID[1] + 1, "questions": VISUAL.stop + 5}


def computed(trace: Trace, layer: int) -> list[list[int]]:
    """Return the tokens that a layer computes of each prompt."""
    rows = (trace.array("tokens", "step") == 0) & (trace.array("tokens", "layer") == layer)
    ids = trace.ragged("tokens", "token_ids")
    skip = trace.ragged("tokens", "bypassed_ids")
    return [
        sorted(set(ids.row(row).tolist()) - set(skip.row(row).tolist()))
        for row in rows.nonzero()[0].tolist()
    ]


def prunable(name: str, kind: str, tokens: int) -> range:
    """Return the tokens that a method may drop."""
    cascades = issubclass(METHODS[name], CascadeMethod) and kind != "sentences"
    if name == "lazy-llm" or cascades:
        return range(tokens - 1)
    if name == "ftp":
        return range(1, tokens - 1)
    if kind == "questions":
        return VISUAL
    return range(int(kind == "images"), tokens)


def lengths(kind: str) -> list[int]:
    return list(LENGTHS) if kind == "sentences" else [TOKENS[kind]] * (3 if kind == "images" else 2)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_what_must_stay_stays_and_nothing_but_the_seed_decides(name: str, kind: str) -> None:
    trace, again = run(make(name), kind), run(make(name), kind)
    for table in trace.tables:
        assert trace.tables[table].equals(again.tables[table]), table
    ids = trace.ragged("tokens", "token_ids")
    for row in range(trace.rows("tokens")):
        assert (np.diff(ids.row(row)) > 0).all()
    for layer in range(LAYERS):
        for tokens, left in zip(lengths(kind), computed(trace, layer), strict=True):
            dropped = set(range(tokens)) - set(left)
            assert left
            assert dropped <= set(prunable(name, kind, tokens))


@pytest.mark.parametrize("ratio", [0.3, 0.6])
@pytest.mark.parametrize(("name", "kind"), BUDGETED)
def test_the_budget_is_kept(name: str, kind: str, ratio: float) -> None:
    trace = run(make(name, keep_ratio=ratio), kind)
    layers = [computed(trace, layer) for layer in range(LAYERS)]
    for sequence, tokens in enumerate(lengths(kind)):
        may = set(prunable(name, kind, tokens))
        left = [len(may & set(layer[sequence])) for layer in layers]
        if not may:
            continue
        if name == "ftp":  # counts all tokens, of each layer at least 2
            whole = sum(len(layer[sequence]) for layer in layers)
            assert whole <= ratio * tokens * LAYERS + 2 * LAYERS
        elif name == "entropy-prune":  # two layers see all, the others at least 1
            assert sum(left) <= max(ratio * len(may) * LAYERS, 2 * len(may) + LAYERS - 2)
        elif name == "aim":
            assert sum(left) <= ratio * len(may) * LAYERS
        elif name in ONE_STEP_MORE:
            assert round(ratio * len(may)) <= left[-1] < max(len(may), 2)
        elif kind == "images" and name == "tome":
            assert left[-1] >= keep_count(ratio, len(may))
        else:
            assert left[-1] == keep_count(ratio, len(may))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_whole_budget_drops_nothing(name: str, kind: str) -> None:
    fields = METHODS[name].model_fields
    whole = {f: 1.0 for f in ("keep_ratio", "token_keep_ratio", "head_keep_ratio") if f in fields}
    if not whole:
        pytest.skip("it has no budget")
    trace = run(make(name, **whole), kind)
    for layer in range(LAYERS):
        for tokens, left in zip(lengths(kind), computed(trace, layer), strict=True):
            assert left == list(range(tokens))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_inputs_of_one_token(name: str, kind: str) -> None:
    """One token, one patch beside the class token, or one visual token and one of text."""
    trace = run(make(name), kind, shortest=True)
    for layer in range(LAYERS):
        for left in computed(trace, layer):
            assert left
            if kind in ("sentences", "text"):
                assert left == [0]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_among_equals_the_first_tokens_stay(name: str, kind: str) -> None:
    if name in DRAWN:
        pytest.skip("its scores are random numbers")
    if name in ("tome", "zero-tprune", "todre-drop"):
        pytest.skip("it pairs equal tokens, and one of each pair goes; or all go")
    loaded = fresh_model(kind)
    for parameter in loaded.model.parameters():
        parameter.data.zero_()
    fields: dict[str, Any] = {
        "feather": {"uniform_share": 0.0, "rotary_base": 0.0},
        "opti-prune": {"noise": 0.0},
    }
    trace = run(make(name, **fields.get(name, {})), kind, loaded)
    for sequence, tokens in enumerate(lengths(kind)):
        may = list(prunable(name, kind, tokens))
        for layer in range(LAYERS):
            left = [t for t in computed(trace, layer)[sequence] if t in may]
            if name == "opti-prune":  # a base of every patch of four comes first
                assert [t - 1 for t in left] == [0, 1, 2, 3, 4, 5, 8, 10]
            else:
                assert left == may[: len(left)]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_numbers_that_are_not_finite_are_refused(name: str, kind: str, bad: float) -> None:
    loaded = broken(kind, bad)
    with pytest.raises(InputError, match="finite") as caught:
        run(make(name), kind, loaded)
    assert "\n" not in str(caught.value)


def broken(kind: str, bad: float) -> LoadedModel:
    """Return a model whose second block computes nothing but `bad` numbers."""
    loaded = fresh_model(kind)
    for parameter in find_blocks(loaded.model)[1].parameters():
        parameter.data.fill_(bad)
    return loaded
