"""FASA: agreement of chunks, dominant channels and kept tokens of the authors' program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from algos.kv.fasa import partial_scores
from algos.kv.keep import keep_top
from algos.kv.rotary_chunks import agreement, chunk_channels

Parity = Callable[[str], dict[str, Any]]


@pytest.mark.fidelity
def test_agreement_and_dominant_channels(parity: Parity) -> None:
    case = parity("fasa")
    query, key = torch.tensor(case["q"]).movedim(0, 1), torch.tensor(case["k"])
    selected = torch.tensor(case["selected_dims"])
    for name in (name for name in case if name.startswith("agreement_k")):
        top = int(name.removeprefix("agreement_k"))
        shares = agreement(query, key, top, "adjacent")
        np.testing.assert_allclose(shares.T.numpy(), case[name], rtol=1e-5)
        # which of two chunks with one share they take is arbitrary: shares must be the same ones
        keep = keep_top(shares, selected.shape[1] // 2)
        theirs = torch.zeros_like(keep).scatter(1, selected[:, ::2] // 2, True)
        for ours, other, values in zip(keep, theirs, shares, strict=True):
            assert torch.equal(values[ours].sort().values, values[other].sort().values)
            above = values > values[ours].min()
            assert torch.equal(ours & above, other & above)
            at = chunk_channels(other.nonzero()[:, 0], query.shape[-1], "adjacent")
            assert at.tolist() in selected.tolist()


@pytest.mark.fidelity
def test_kept_tokens(parity: Parity) -> None:
    case = parity("fasa")
    scores = partial_scores(
        torch.tensor(case["q"][0]), torch.tensor(case["k"]), torch.tensor(case["selected_dims"])
    )
    found = keep_top(scores, int(case["budget"])).nonzero()[:, 1].view(len(scores), -1)
    assert np.array_equal(found.numpy(), np.sort(case["kept_idx"], -1))
