"""A decoder token by token: the same numbers as in one pass, whatever holds the cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.decoding import Texts, run_decoder
from algos.dense import Dense
from algos.kv.base import CacheMethod
from algos.kv.recent import RecentOnly
from tests.algos.decoders import FAMILIES, random_decoder, random_tokens
from tests.algos.static.models import random_mixture
from workloads.errors import InputError
from workloads.models import LoadedModel

PROMPT, FOLLOWING = 20, 6


class Everything(CacheMethod):
    """Keeps the whole cache; not in the registry, for it has no name."""


def texts(tokens: torch.Tensor, **changed: Any) -> list[Texts]:
    given = {"prompt": tokens[:, :PROMPT], "following": tokens[:, PROMPT:]}
    return [Texts(**given | changed)]


def nats_of_model(loaded: LoadedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Return the loss of the tokens after the prompt in one pass of the model itself."""
    with torch.no_grad():
        logs = loaded.model(input_ids=tokens, use_cache=False).logits.log_softmax(-1)
    of_next = -logs[:, :-1].gather(2, tokens[:, 1:, None]).squeeze(-1)
    return of_next[:, PROMPT - 1 :]


@pytest.mark.parametrize("family", FAMILIES)
def test_dense_float_gives_what_the_model_gives_in_one_pass(family: str) -> None:
    loaded = random_decoder(family)
    tokens = random_tokens(3, PROMPT + FOLLOWING)
    run = run_decoder(Dense(bits=32), loaded, texts(tokens), workload="t")
    torch.testing.assert_close(
        torch.from_numpy(run.nats[0]), nats_of_model(loaded, tokens), atol=2e-4, rtol=1e-4
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cache_that_keeps_everything_changes_nothing_but_rounding(family: str) -> None:
    loaded = random_decoder(family)
    tokens = random_tokens(3, PROMPT + FOLLOWING)
    method = Everything(keep_ratio=1.0)
    run = run_decoder(method, loaded, texts(tokens), workload="t")
    torch.testing.assert_close(
        torch.from_numpy(run.nats[0]), nats_of_model(loaded, tokens), atol=0.05, rtol=0.02
    )


def test_evicted_keys_are_really_gone() -> None:
    loaded = random_decoder("llama")
    tokens = random_tokens(2, PROMPT + FOLLOWING)
    kept = [
        run_decoder(RecentOnly(keep_ratio=r), loaded, texts(tokens), workload="t") for r in (0.1, 1)
    ]
    assert abs(kept[0].nats[0] - kept[1].nats[0])[:, 1:].max() > 0.01
    # the prefill attends to all: its prediction is the same
    assert (kept[0].nats[0][:, 0] == kept[1].nats[0][:, 0]).all()


def test_gaps_in_the_positions_hide_nothing() -> None:
    """Without a mask transformers would take what follows a gap for another sequence."""
    loaded = random_decoder("llama")
    tokens = random_tokens(2, PROMPT + 1)
    places = torch.arange(PROMPT).expand(2, -1) + 5 * (torch.arange(PROMPT) >= 8)
    given = texts(tokens, positions=places, tokens_dense=PROMPT + 5)
    run = run_decoder(Dense(bits=32), loaded, given, workload="t")
    causal = torch.ones(PROMPT, PROMPT).tril().log()[None, None]
    with torch.no_grad():
        out = loaded.model(
            input_ids=tokens[:, :PROMPT],
            position_ids=places,
            attention_mask=causal.expand(2, -1, -1, -1),
        )
    expected = -out.logits[:, -1].log_softmax(-1).gather(1, tokens[:, PROMPT:])
    torch.testing.assert_close(torch.from_numpy(run.nats[0]), expected, atol=1e-4, rtol=1e-4)


def test_groups_are_numbered_through_and_say_how_they_were_shortened() -> None:
    loaded = random_decoder("llama")
    tokens = random_tokens(2, PROMPT + FOLLOWING)
    groups = texts(tokens) + texts(tokens, tokens_dense=PROMPT + 7)
    calls: list[tuple[int, int]] = []
    run = run_decoder(
        Dense(), loaded, groups, workload="w", progress=lambda *done: calls.append(done)
    )
    trace = run.trace({"x": 1.0})
    assert calls == [(2, 4), (4, 4)]
    assert trace.array("sequences", "tokens_dense").tolist() == [PROMPT] * 2 + [PROMPT + 7] * 2
    assert set(trace.array("sequences", "generated_tokens")) == {FOLLOWING - 1}
    late = (trace.array("attention", "sequence") == 3) & (trace.array("attention", "step") == 2)
    assert set(trace.array("attention", "keys")[late]) == {PROMPT + 2}
    assert set(trace.array("attention", "keys_dense")[late]) == {PROMPT + 9}
    assert set(trace.array("attention", "queries_dense")[late]) == {1}


def test_experts_compute_the_tokens_routed_to_them() -> None:
    loaded = random_mixture()
    tokens = random_tokens(2, 8) % loaded.model.config.vocab_size
    given = [Texts(prompt=tokens[:, :6], following=tokens[:, 6:])]
    trace = run_decoder(Dense(), loaded, given, workload="t").trace({"x": 1.0})
    rows = trace.tables["matmul"].to_pandas()
    up = rows[(rows["operator"] == "up") & (rows["step"] == 0) & (rows["layer"] == 0)]
    per_token = loaded.shape.experts_per_token
    assert up.groupby("sequence")["m"].sum().tolist() == [6 * per_token] * 2
    assert (up["m"] == up["token_ids"].apply(len)).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"tokens": 70}, "must be at most 64 for llama, not 70"),
        ({"prompt": 0}, "texts must have at least 1 of their prompt tokens"),
        ({"following": 0}, "texts must have at least 1 of their following tokens"),
        ({"sequences": 0}, "texts must have at least 1 of their sequences"),
    ],
)
def test_what_a_user_can_get_wrong(changed: dict[str, int], message: str) -> None:
    sizes = {"seed": 0, "tokens": 26, "prompt": PROMPT, "following": None, "sequences": 2} | changed
    tokens = random_tokens(2, sizes["tokens"])[: sizes["sequences"]]
    end = None if sizes["following"] is None else sizes["prompt"]

    def run() -> None:
        prompt, following = tokens[:, : sizes["prompt"]], tokens[:, sizes["prompt"] : end]
        given = [Texts(prompt=prompt, following=following)]
        run_decoder(Dense(), random_decoder("llama"), given, workload="t", seed=sizes["seed"])

    with pytest.raises(InputError, match=message):
        run()
