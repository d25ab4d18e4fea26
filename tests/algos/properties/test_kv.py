"""What holds for every method on the KV cache, whatever its rule."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from algos import METHODS
from algos.decoding import Texts, calibrate, run_decoder
from algos.kv.base import CacheMethod, CacheStep
from sim.operations import KINDS, sparsity_table
from tests.algos.decoders import random_decoder, random_tokens
from workloads.errors import InputError
from workloads.models import LoadedModel
from workloads.trace import Trace

NAMES = [name for name, kind in METHODS.items() if issubclass(kind, CacheMethod)]
EVICTING = [name for name in NAMES if METHODS[name].trace_kind == "KV set, evict"]
PROMPT, FOLLOWING = 48, 6
MODEL = random_decoder("llama", positions=128)
LARGEST = {"think": 0.8, "cskv": 0.8, "deltallm": 0.8}  # budgets that dense windows of a short
# prompt fit
BELOW = {"infinite-vggt": 3, "tim": 3, "hip": 4}  # entries by which whole frames, pages and blocks
# of 4 fall short of the budget


def run(
    name: str, loaded: LoadedModel = MODEL, prompt: int = PROMPT, seed: int = 0, **fields: Any
) -> Trace:
    """Run a method on random text, two sequences with four query and two key heads."""
    method = _small(name, prompt, **fields)
    tokens = random_tokens(2, prompt + FOLLOWING, seed=3)
    texts = Texts(prompt=tokens[:, :prompt], following=tokens[:, prompt:])
    facts = calibrate(method, loaded, random_tokens(2, PROMPT, seed=4))
    done = run_decoder(method, loaded, [texts], workload="t", seed=seed, calibration=facts)
    return done.trace({"x": 1.0})


def _small(name: str, prompt: int, **fields: Any) -> CacheMethod:
    """Make a method whose windows fit a short prompt."""
    kind: Any = METHODS[name]
    small = {"recent": 4, "sink": 2, "sinks": 2, "observed": 4, "window": 4, "page": 4}
    small |= {"frame": 4, "block_queries": 4, "top": 8}
    given = {k: v for k, v in small.items() if k in kind.model_fields}
    budget = {"keep_ratio": LARGEST.get(name, 0.5)}
    return kind(**budget | given | fields)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_with_grouped_heads_and_depends_on_nothing_but_the_seed(name: str) -> None:
    first, again = run(name), run(name)
    for table in first.tables:
        assert first.tables[table].equals(again.tables[table])
    assert first.header.method == name
    assert (first.array("attention", "keys") >= 1).all()


@pytest.mark.parametrize("name", EVICTING)
def test_a_step_reads_the_budget_and_its_own_token(name: str) -> None:
    trace = run(name)
    step, keys = trace.array("attention", "step"), trace.array("attention", "keys")
    budget = _small(name, PROMPT).budget(PROMPT)
    assert budget == PROMPT // 2
    assert (keys[step == 0] == PROMPT).all()
    if name == "snapkv":  # prunes the prompt only: what follows stays
        assert (keys[step > 0] == budget + step[step > 0]).all()
    else:
        assert keys[step > 0].max() == budget + 1
        assert keys[step > 0].min() >= budget + 1 - BELOW.get(name, 0)
    ids = trace.ragged("attention", "key_ids")
    for row in (step > 0).nonzero()[0].tolist():
        assert PROMPT + step[row] - 1 in ids.row(row)  # its own


@pytest.mark.parametrize("name", [name for name in NAMES if name not in EVICTING])
def test_other_decisions_leave_bytes_out(name: str) -> None:
    table = sparsity_table(run(name), KINDS, 12)
    bytes_ = table[table["quantity"] == "DRAM bytes"]
    assert 0 < bytes_["offered"].sum() < bytes_["dense"].iloc[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_budget_drops_nothing(name: str) -> None:
    trace = run(name, keep_ratio=1.0)
    last = trace.array("attention", "step") == FOLLOWING - 1
    # a token that follows takes the place of the least important one
    least = PROMPT + 1 - BELOW.get(name, 0)
    assert (trace.array("attention", "keys")[last] >= least).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_of_one_token(name: str) -> None:
    fields = _no_windows(name)
    if _small(name, 1, **fields).protected > 1:
        with pytest.raises(InputError, match=r"protected tokens, 1 of 1 tokens is 1$"):
            run(name, prompt=1, keep_ratio=1.0, **fields)
        return
    trace = run(name, prompt=1, keep_ratio=1.0, **fields)
    assert trace.rows("attention") == 2 * 2 * 4 * FOLLOWING


def _no_windows(name: str) -> dict[str, int]:
    """Return fields with which a method protects as little as it can."""
    least = {"recent": 1, "sink": 0, "sinks": 0, "observed": 1, "window": 1, "page": 1, "frame": 1}
    least |= {"block_queries": 1, "block_keys": 1}
    return {k: v for k, v in least.items() if k in METHODS[name].model_fields}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    loaded = random_decoder("llama", positions=128)
    with pytest.raises(InputError, match="finite"):
        _run_broken(name, loaded, bad)


def _run_broken(name: str, loaded: LoadedModel, bad: float) -> None:
    method = _small(name, PROMPT)
    facts = calibrate(method, loaded, random_tokens(2, PROMPT, seed=4))
    with torch.no_grad():
        loaded.model.model.layers[1].self_attn.k_proj.weight.fill_(bad)
    tokens = random_tokens(2, PROMPT + 2, seed=3)
    texts = Texts(prompt=tokens[:, :PROMPT], following=tokens[:, PROMPT:])
    run_decoder(method, loaded, [texts], workload="t", calibration=facts)


@pytest.mark.parametrize("name", NAMES)
def test_a_budget_below_what_is_protected_is_refused_in_one_sentence(name: str) -> None:
    method = _small(name, PROMPT, keep_ratio=0.001)
    if method.protected <= 1:
        assert method.budget(PROMPT) == 1
        return
    with pytest.raises(InputError, match=rf"{name} keep_ratio must .*{method.protected}") as caught:
        run(name, keep_ratio=0.001)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [n for n in EVICTING if "random" not in n])
def test_among_equals_the_first_tokens_stay(name: str) -> None:
    loaded = random_decoder("llama", positions=128)
    with torch.no_grad():
        for layer in loaded.model.model.layers:
            layer.self_attn.q_proj.weight.zero_()
            layer.self_attn.k_proj.weight.zero_()
            layer.self_attn.v_proj.weight.zero_()
    trace = run(name, loaded)
    ids, step = trace.ragged("attention", "key_ids"), trace.array("attention", "step")
    for row in (step == 1).nonzero()[0].tolist():
        kept = ids.row(row)[:-1].tolist()
        gaps = [a for a, b in pairwise(kept) if b != a + 1]
        assert len(gaps) <= 1, kept  # a run from the start and one of recent tokens
        assert kept[0] == 0 or kept[-1] == PROMPT - 1


def test_heads_that_do_not_divide_are_refused() -> None:
    zeros = torch.zeros
    with pytest.raises(InputError, match="multiple of key/value heads, 4 is none of 3"):
        CacheStep(
            layer=0,
            step=0,
            prompt_tokens=2,
            query=zeros(1, 4, 2, 8),
            key=zeros(1, 3, 2, 8),
            value=zeros(1, 3, 2, 8),
            ids=zeros(1, 3, 2, dtype=torch.int64),
            valid=None,
            query_ids=zeros(1, 2, dtype=torch.int64),
            visible=zeros(1, 1, 2, 2, dtype=torch.bool),
            scale=1.0,
        )


def test_a_reselected_step_reads_what_was_selected() -> None:
    trace = run("fasa")
    layer, step, keys = (trace.array("attention", n) for n in ("layer", "step", "keys"))
    late = step > 0
    assert set(keys[late & (layer == 0)]) == set(range(PROMPT + 1, PROMPT + FOLLOWING))
    assert set(keys[late & (layer > 0)]) == {PROMPT // 2 + 1}
    scored = trace.array("attention", "scored_keys")[late & (layer > 0)]
    assert set(scored) == set(range(PROMPT, PROMPT + FOLLOWING - 1))  # its own is always read
