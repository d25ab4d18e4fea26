"""HiP's tree search and its mask; Λ attention's mask."""

from __future__ import annotations

import pytest
import torch

from algos.attention.halving import search
from algos.attention.hip import HiP, block_scores
from algos.attention.lambda_attention import LambdaAttention
from algos.kv.base import CacheStep


def step_of(entries: int, queries: int) -> CacheStep:
    generator = torch.Generator().manual_seed(0)
    ids = torch.arange(entries)
    return CacheStep(
        layer=0,
        step=0 if queries == entries else 1,
        prompt_tokens=min(entries, 64),
        query=torch.randn(2, 4, queries, 8, generator=generator),
        key=torch.randn(2, 2, entries, 8, generator=generator),
        value=torch.randn(2, 2, entries, 8, generator=generator),
        ids=ids.expand(2, 2, -1),
        valid=None,
        query_ids=ids[entries - queries :].expand(2, -1),
        visible=(ids <= ids[entries - queries :, None])[None, None],
        scale=8**-0.5,
    )


def test_scores_of_blocks_by_hand() -> None:
    query, key = torch.tensor([[1.0], [-1]]), torch.tensor([[1.0], [2], [-3], [0], [-1]])
    assert block_scores(query, key, 2).tolist() == [2, 3, 1]  # all rows vote
    assert block_scores(query, key, 2, "authors").tolist() == [-1, 3, 1]  # the odd row
    assert block_scores(query[:1], key, 2, "authors").tolist() == [2, 0, -1]  # the only row


def test_the_search_by_hand() -> None:
    # 8 blocks, 2 wanted: spans 0-3, 4-7; halves 0-1, 2-3, 4-5, 6-7; then single blocks
    scores = torch.tensor([5.0, 0, 6, 9, 4, 8, 1, 0])
    # first blocks 5 6 4 1: halves 0-1 and 2-3 stay, then 5 0 6 9
    assert search(scores, 2, "authors")[0].tolist() == [2, 3]
    # middle blocks 0 9 8 0: halves 2-3 and 4-5 stay, then 6 9 4 8
    assert search(scores, 2)[0].tolist() == [3, 5]
    assert search(scores, 2)[1] == 8
    assert search(scores, 9)[0].tolist() == list(range(8))


@pytest.mark.parametrize("blocks", [3, 7, 20, 33])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_search_returns_distinct_blocks(blocks: int, count: int) -> None:
    scores = torch.randn(50, blocks, generator=torch.Generator().manual_seed(blocks))
    found, _ = search(scores, count)
    assert (found.diff(dim=-1) > 0).all()
    assert (found.amin() >= 0) & (found.amax() < blocks)


@pytest.mark.parametrize("compat", ["paper", "authors"])
@pytest.mark.parametrize("queries", [1, 64])
def test_rows_read_their_own_block_and_no_more_than_the_budget(compat: str, queries: int) -> None:
    method = HiP(block_queries=8, block_keys=4, keep_ratio=0.5, compat=compat)
    step = step_of(67 if queries == 1 else 64, queries)
    reading = method.read(step, None)
    assert reading.mask is not None
    read = reading.mask & step.visible
    assert (read.sum(-1) <= 32).all()
    assert read.sum(-1)[:, :, -1].min() >= 28
    own = step.query_ids[0, :, None] == step.ids[0, 0]
    assert read[:, :, own].all()


def test_lambda_masks_the_prefill() -> None:
    method = LambdaAttention(keep_ratio=0.25, sinks=2)
    step = step_of(64, 64)
    mask = method.read(step, None).mask
    assert mask is not None
    assert mask.shape == (2, 1, 64, 64)
    assert mask[0, 0, 63].nonzero().flatten().tolist() == [0, 1, *range(50, 64)]
    assert mask[0, 0, 10].nonzero().flatten().tolist() == list(range(11))
