"""Tokens that come back: what was dropped is computed later, once, and as it would have been."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from algos.base import Decision
from algos.decoding import Texts, run_decoder
from algos.dense import Dense
from algos.token.base import Between, TokenMethod
from algos.token.lazy_llm import LazyLLM
from tests.algos.decoders import random_decoder, random_tokens

PROMPT, FOLLOWING = 20, 6


class LateChange(TokenMethod):
    """Drops all but the last token before the last layer, and takes it back in the next step."""

    name: ClassVar[str] = "late-change"
    revives: ClassVar[bool] = True

    def between(self, entry: Between, state: Any) -> Decision:
        if entry.layer != 1 or entry.step:
            return Decision()
        return Decision(kept_tokens=torch.tensor([[entry.ids.shape[1] - 1]]))


def run(method: Any, family: str = "llama", layers: int = 2, seed: int = 0) -> Any:
    tokens = random_tokens(2, PROMPT + FOLLOWING, seed)
    texts = [Texts(prompt=tokens[:, :PROMPT], following=tokens[:, PROMPT:])]
    loaded = random_decoder(family, num_hidden_layers=layers)
    return run_decoder(method, loaded, texts, workload="t")


@pytest.mark.parametrize("family", ["llama", "opt"])
def test_once_everything_is_back_the_numbers_are_those_of_the_whole_model(family: str) -> None:
    """Before the last layer nothing was dropped, so its K and V are what they would have been."""
    late, dense = run(LateChange(), family), run(Dense(), family)
    np.testing.assert_allclose(late.nats[0][:, 1:], dense.nats[0][:, 1:], atol=0.03)
    assert abs(late.nats[0][:, 0] - dense.nats[0][:, 0]).max() > 0.05
    trace = late.trace({"x": 1.0})
    rows = trace.tables["tokens"].to_pandas()
    back = rows[(rows["layer"] == 1) & (rows["step"] > 0)].groupby("step")["revived"].max()
    assert back.tolist() == [PROMPT - 1] + [0] * (FOLLOWING - 2)


def test_a_whole_budget_drops_nothing() -> None:
    lazy, dense = run(LazyLLM(keep_ratio=1.0)), run(Dense())
    np.testing.assert_allclose(lazy.nats[0], dense.nats[0], atol=0.02)


def test_each_layer_holds_its_budget_and_computes_no_token_twice() -> None:
    trace = run(LazyLLM(keep_ratio=0.4), layers=6).trace({"x": 1.0})
    rows = trace.tables["attention"].to_pandas()
    rows = rows[(rows["head"] == 0) & (rows["sequence"] == 0)]
    assert set(rows["kv_policy"]) == {"revive"}
    last = rows[rows["layer"] == 5].sort_values("step")
    kept = int(0.4 * (PROMPT - 1)) + 1  # and the prompt's last token, which always stays
    assert last["keys"].tolist() == [kept + step for step in range(FOLLOWING)]
    computed = rows.groupby("layer")["queries"].sum()
    assert (computed <= PROMPT + FOLLOWING - 1).all()
    assert rows["keys_revived"].sum() > 0  # another token needs other tokens
    assert computed[5] > kept + FOLLOWING - 1


def test_texts_do_not_depend_on_their_neighbours() -> None:
    both = run(LazyLLM(keep_ratio=0.4), layers=6)
    tokens = random_tokens(2, PROMPT + FOLLOWING)[1:]
    alone = run_decoder(
        LazyLLM(keep_ratio=0.4),
        random_decoder("llama", num_hidden_layers=6),
        [Texts(prompt=tokens[:, :PROMPT], following=tokens[:, PROMPT:])],
        workload="t",
    )
    np.testing.assert_array_equal(both.nats[0][1:], alone.nats[0])
