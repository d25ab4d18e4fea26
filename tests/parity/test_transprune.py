"""TransPrune's variation and its stage against its authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from algos.token.shared import top_ordinals, with_others
from algos.token.transprune import stage_score, transition

ROTARY_BASE = 10000.0  # of the Llama configuration that made the file


@pytest.mark.fidelity
def test_the_variation_is_that_of_the_authors(parity: Callable[[str], dict[str, Any]]) -> None:
    given = parity("transprune_ttv")
    before, after = (torch.from_numpy(given[name]) for name in ("before", "after"))
    ours = transition(before, after, whole_batch=True)
    np.testing.assert_allclose(ours, given["weight"], rtol=1e-5)


@pytest.mark.fidelity
def test_a_stage_keeps_the_tokens_that_the_authors_keep(
    parity: Callable[[str], dict[str, Any]],
) -> None:
    given = parity("transprune_stage")
    x, wq, wk = (torch.from_numpy(given[name]) for name in ("x", "wq", "wk"))
    start, images = int(given["sys"].item()), int(given["img"].item())
    heads, tokens = int(given["heads"].item()), x.shape[1]
    query, key = (_rotated(x[0] @ w.T, heads) for w in (wq, wk))
    scores = query @ key.mT * query.shape[-1] ** -0.5
    hidden = torch.ones(tokens, tokens).triu(1).bool()
    probability = scores.masked_fill(hidden, -torch.inf).softmax(-1)[None]
    visual = slice(start, start + images)
    score = stage_score(torch.from_numpy(given["transf_weights"]).sum(0)[None], probability, visual)
    k = int(float(given["ratio"]) * images)  # the program truncates
    kept = with_others(top_ordinals(score, k), visual, tokens)
    np.testing.assert_array_equal(kept[0], given["kept_positions"])


def _rotated(x: Tensor, heads: int) -> Tensor:
    """Return (head, token, channel) with the rotary embedding of positions 0, 1, 2 ..."""
    x = x.view(len(x), heads, -1).transpose(0, 1)
    half = x.shape[-1] // 2
    angle = torch.outer(torch.arange(x.shape[1]), ROTARY_BASE ** -(torch.arange(half) / half))
    first, second = x[..., :half], x[..., half:]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
