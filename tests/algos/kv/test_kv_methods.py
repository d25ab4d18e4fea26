"""What holds for every method on the KV cache, in a small decoder with grouped heads."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from algos import METHODS
from algos.base import Batch
from algos.decoding import DecoderRun, Texts, calibrate, run_decoder
from algos.kv.base import CacheAttention, CacheMethod, CacheStep
from algos.kv.elements import Elements
from algos.kv.evicting import Evicting
from tests.algos.decoders import random_decoder, random_tokens
from workloads.errors import InputError

PROMPT, STEPS, RATIO = 40, 6, 0.5
SMALL: dict[str, dict[str, Any]] = {  # windows that fit a prompt of 40 tokens
    "cskv": {"recent": 8, "keep_ratio": 0.8},
    "deltallm": {"recent": 8, "keep_ratio": 0.8},
    "duo": {"sinks": 2, "recent": 6},
    "fasa": {"top": 4},
    "hip": {"block_queries": 8, "block_keys": 2},
    "infinite-vggt": {"frame": 4},
    "mustafar": {"recent": 8},
    "retrieval-head": {"sinks": 2, "recent": 6},
    "snapkv": {"window": 8},
    "think": {"recent": 8, "keep_ratio": 0.8},
    "tim": {"page": 4},
}
KV = sorted(name for name, kind in METHODS.items() if issubclass(kind, CacheMethod))
EVICTING = [name for name in KV if issubclass(METHODS[name], Evicting)]
ONCE = ("snapkv",)  # prunes the prompt only


def small(name: str, **changed: Any) -> CacheMethod:
    settings = {"keep_ratio": RATIO} | SMALL.get(name, {}) | changed
    method = METHODS[name](**settings)
    assert isinstance(method, CacheMethod)
    return method


def decode(method: CacheMethod, prompt: int = PROMPT, **options: Any) -> DecoderRun:
    loaded = random_decoder("llama")
    tokens = random_tokens(2, prompt + STEPS, seed=3)
    texts = Texts(prompt=tokens[:, :prompt], following=tokens[:, prompt:])
    learnt = calibrate(method, loaded, random_tokens(2, 32, seed=4))
    return run_decoder(method, loaded, [texts], workload="test", calibration=learnt, **options)


@pytest.mark.parametrize("name", KV)
def test_the_budget_holds_from_the_prefill_on(name: str) -> None:
    method = small(name)
    attention = decode(method).trace({}).tables["attention"].to_pandas()
    decoded = attention[attention.step > 0]
    budget = int(method.keep_ratio * PROMPT)
    if isinstance(method, Elements):
        assert (decoded["keys"] == decoded.keys_dense).all()
        return
    per_head = decoded["keys"].to_numpy() - 1  # each step reads its own token too
    if name in ONCE:
        assert (per_head == budget + decoded.step.to_numpy() - 1).all()
    elif name in ("duo", "retrieval-head"):
        first = decoded[decoded.step == 1]
        held = (first["keys"] - 1).sum() / first.groupby("sequence").ngroups
        heads = first["head"].nunique() * first["layer"].nunique()
        assert budget * heads - 2 * PROMPT < held <= budget * heads
    elif name == "fasa":
        assert (per_head[decoded.layer > 0] == budget).all()
    else:
        assert per_head.max() <= budget
        slack = {"infinite-vggt": 3, "tim": 3, "hip": 4}.get(name, 0)
        assert per_head.min() >= budget - slack


@pytest.mark.parametrize("name", ["mustafar", "think", "deltallm"])
@pytest.mark.parametrize("ratio", [0.65, 0.8, 1.0])
def test_elements_of_the_prompt_hold_the_budget(name: str, ratio: float) -> None:
    method = small(name, keep_ratio=ratio)
    generator = torch.Generator().manual_seed(1)
    query, key, value = torch.randn(3, 1, 2, PROMPT, 16, generator=generator)
    step = step_of(method, PROMPT, query=query, key=key, value=value)
    state = method.begin(batch_of(PROMPT))
    left = method.store(step, uniform(PROMPT), state)
    assert left.key is not None
    kept_key, kept_value = left.key, value if left.value is None else left.value
    if name == "deltallm":  # what is stored are deltas
        kept_key = key.clone()
        old = PROMPT - 8
        kept_key[:, :, :old] *= state[0][2]
    held = int((kept_key != 0).sum() + (kept_value != 0).sum())
    whole = 2 * key.numel()
    row = 2 * 2 * (PROMPT - 8)  # an element of each old row of K and V
    assert ratio * whole - row <= held <= ratio * whole + 1e-6
    assert torch.equal(kept_key[:, :, -8:], key[:, :, -8:])


@pytest.mark.parametrize("name", KV)
def test_a_run_depends_on_nothing_but_the_seed(name: str) -> None:
    first, again = (decode(small(name), seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.nats[0], again.nats[0])
    assert np.isfinite(first.nats[0]).all()


@pytest.mark.parametrize("name", KV)
def test_with_the_whole_budget_nothing_changes(name: str) -> None:
    dense = decode(small("recent-only", keep_ratio=1.0)).nats[0][:, :1]
    whole = decode(small(name, keep_ratio=1.0)).nats[0][:, :1]
    np.testing.assert_allclose(whole, dense, rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in KV if small(n).protected > 1])
def test_a_budget_below_the_protected_tokens_is_refused(name: str) -> None:
    method = small(name)
    ratio = (method.protected - 0.5) / PROMPT
    with pytest.raises(InputError, match=rf"^{name} keep_ratio must leave at least"):
        decode(small(name, keep_ratio=ratio))


@pytest.mark.parametrize("name", KV)
def test_a_prompt_of_one_token_is_run_or_refused_in_a_sentence(name: str) -> None:
    method = small(name, keep_ratio=1.0)
    if method.protected > 1 and not isinstance(method, Elements):
        with pytest.raises(InputError, match="keep_ratio must"):
            decode(method, prompt=1)
    else:
        assert np.isfinite(decode(method, prompt=1).nats[0]).all()


def step_of(method: CacheMethod, entries: int, heads: int = 2, **changed: Any) -> CacheStep:
    shape = (1, heads, entries, 4)
    ids = torch.arange(entries)
    fields: dict[str, Any] = {
        "query": torch.ones(shape),
        "key": torch.ones(shape),
        "value": torch.ones(shape),
    } | changed
    return CacheStep(
        layer=0,
        step=0,
        prompt_tokens=entries,
        ids=ids.expand(1, heads, -1),
        valid=None,
        query_ids=ids[None],
        visible=(ids <= ids[:, None])[None, None],
        scale=0.5,
        **fields,
    )


def uniform(entries: int, heads: int = 2, value: float = 0.25) -> CacheAttention:
    scores = torch.full((1, heads, entries, entries), value)
    return CacheAttention(scores=scores, probability=scores)


def batch_of(tokens: int) -> Batch:
    shape = random_decoder("llama").shape
    return Batch(shape=shape, tokens=tokens, generators=(torch.Generator().manual_seed(0),))


@pytest.mark.parametrize(
    "name", [n for n in EVICTING if METHODS[n].signal not in ("position", "uniform random numbers")]
)
def test_among_equals_the_first_tokens_stay(name: str) -> None:
    if name in ("observed-attention", "tim"):
        pytest.skip("equal attention is no equal score here")
    method = small(name, **({"compat": "authors"} if name == "snapkv" else {}))
    assert isinstance(method, Evicting)
    recent = method.guarded(20)[1]
    keep = method.store(step_of(method, 40), uniform(40), method.begin(batch_of(40))).keep
    assert keep is not None
    expected = [*range(20 - recent), *range(40 - recent, 40)]
    assert keep[0, 1].nonzero().flatten().tolist() == expected


@pytest.mark.parametrize("name", EVICTING)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_scores_that_are_not_numbers_are_refused(name: str, bad: float) -> None:
    method = small(name)
    if method.signal in ("position", "uniform random numbers") or name == "tim":
        pytest.skip("no score is computed")
    key = torch.full((1, 2, 40, 4), bad)
    state = method.begin(batch_of(40))
    with pytest.raises(InputError, match="every score must be finite"):
        method.store(step_of(method, 40, key=key), uniform(40, value=bad), state)


@pytest.mark.parametrize("name", ["mustafar", "think", "hip"])
def test_keys_that_are_not_numbers_are_refused(name: str) -> None:
    method = small(name)
    key = torch.full((1, 2, 40, 4), float("nan"))
    state = method.begin(batch_of(40))
    step = step_of(method, 40, key=key)
    decide = method.read if name == "hip" else partial(method.store, attention=uniform(40))
    with pytest.raises(InputError, match="must be finite"):
        decide(step, state=state)
