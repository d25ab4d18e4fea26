"""The rules of the KV methods, worked by hand."""

from __future__ import annotations

import pytest
import torch

from algos.kv.a2sf import forgetting_score
from algos.kv.cskv import low_rank, principal
from algos.kv.deltallm import delta_keys, threshold_for
from algos.kv.fasa import FASA, partial_scores
from algos.kv.keep import (
    accumulate,
    group_mean,
    keep_budget,
    keep_top,
    received,
    survivors,
)
from algos.kv.keydiff import key_difference
from algos.kv.knorm import key_norm_score
from algos.kv.mustafar import Mustafar, kept_count, key_weight, largest
from algos.kv.observed import observed_attention
from algos.kv.rotary_chunks import agreement, chunk_channels
from algos.kv.snapkv import pooled, window_votes
from algos.kv.spatten_llm import logit_sums
from algos.kv.streaming_llm import sink_recent_mask
from algos.kv.think import ThinK, channel_score
from algos.kv.tim import page_mask
from algos.selection import kept_ids
from algos.token.shared import last_attention, random_scores
from workloads.errors import InputError

PROBABILITY = torch.tensor([[[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]]])  # (head, query, key)


def test_protected_tokens_and_the_best_between_stay() -> None:
    score = torch.tensor([[0.0, 5, 1, 9, 9, 0, 7]])
    assert kept_ids(keep_budget(score, 4, sinks=1, recent=1)).tolist() == [[0, 3, 4, 6]]
    assert kept_ids(keep_budget(score, 3, recent=2)).tolist() == [[3, 5, 6]]
    assert keep_budget(score, 7).all()
    assert keep_budget(score, 9, sinks=3, recent=3).all()


def test_a_budget_below_the_protected_names_both_numbers() -> None:
    with pytest.raises(InputError, match=r"hold the 5 protected tokens \(2 first, 3 latest\).* 4$"):
        keep_budget(torch.zeros(1, 9), 4, sinks=2, recent=3)


def test_among_equals_the_lowest_index_stays() -> None:
    assert keep_top(torch.tensor([[1.0, 2, 1, 2, 1]]), 3).int().tolist() == [[1, 1, 0, 1, 0]]
    with pytest.raises(InputError, match=r"every score must be finite, that at \(0, 1\) is nan"):
        keep_top(torch.tensor([[1.0, float("nan")]]), 1)


def test_sums_follow_the_survivors() -> None:
    total = accumulate(None, torch.tensor([[[3.0, 1, 2]]]))
    left = survivors(total, torch.tensor([[[True, False, True]]]))
    assert accumulate(left, torch.tensor([[[1.0, 1, 5]]]), 0.5).tolist() == [[[2.5, 2, 5]]]


def test_groups_must_divide() -> None:
    assert group_mean(torch.tensor([[[1.0], [3], [5], [5]]]), 2).tolist() == [[[2], [5]]]
    with pytest.raises(InputError, match="heads must be a multiple of the 3 KV heads, not 4"):
        group_mean(torch.zeros(1, 4, 2), 3)


def test_attention_received_and_forgotten() -> None:
    total = received(PROBABILITY[None])
    torch.testing.assert_close(total, torch.tensor([[[1.7, 0.8, 0.5]]]))
    # 0.25 * first + 0.5 * second + last query
    expected = torch.tensor([[[0.7, 0.55, 0.5]]])
    torch.testing.assert_close(forgetting_score(PROBABILITY[None], 0.5, 1), expected)
    assert torch.equal(forgetting_score(PROBABILITY[None], 1.0, 1), total)
    # step by step it is the same as at once
    steps = [PROBABILITY[None, :, i : i + 1] for i in range(3)]
    seen = None
    for step in steps:
        seen = accumulate(seen, forgetting_score(step, 0.5, 1), 0.5)
    torch.testing.assert_close(seen, expected)


def test_observed_attention_is_a_mean() -> None:
    found = observed_attention(received(PROBABILITY[None]), torch.tensor([3, 2, 1]))
    torch.testing.assert_close(found, torch.tensor([[[1.7 / 3, 0.4, 0.5]]]))


def test_votes_of_the_window_are_pooled() -> None:
    votes = window_votes(PROBABILITY[None], 2, 1)
    torch.testing.assert_close(votes, torch.tensor([[[0.7, 0.8, 0.5]]]))
    pools = pooled(torch.tensor([[[3.0, 0, 0, 6, 0]]]), 1)
    assert pools.tolist() == [[[1, 1, 2, 2, 2]]]
    assert torch.equal(pooled(votes, 0), votes)


def test_the_last_query_speaks_for_the_layer() -> None:
    two = torch.stack((PROBABILITY[0], PROBABILITY[0].flip(-1)))[None]
    torch.testing.assert_close(last_attention(two), torch.tensor([[0.35, 0.3, 0.35]]))


def test_raw_scores_are_summed_over_queries_and_groups() -> None:
    scores = torch.tensor([[[[1.0, -2], [3, 4]], [[0, 1], [0, 1]]]])
    assert logit_sums(scores, 2).tolist() == [[[4, 2], [0, 2]]]
    assert logit_sums(scores, 1).tolist() == [[[4, 4]]]


def test_norms_and_directions_of_keys() -> None:
    key = torch.tensor([[3.0, 4], [1, 0], [0, 0.5]])
    assert key_norm_score(key).tolist() == [-5, -1, -0.5]
    # two keys point one way, the third another: it is the most different
    difference = key_difference(torch.tensor([[1.0, 0], [9, 0], [0, 1]]))
    torch.testing.assert_close(difference, -torch.tensor([2.0, 2, 1]) / 5**0.5)


def test_sinks_and_a_window_with_room_for_tokens_that_come() -> None:
    assert sink_recent_mask(6, 1, 3).int().tolist() == [1, 0, 0, 1, 1, 1]
    assert sink_recent_mask(6, 1, 3, coming=2).int().tolist() == [1, 0, 0, 0, 0, 1]
    assert sink_recent_mask(4, 1, 3).all()
    assert sink_recent_mask(4, 1, 3, coming=1).int().tolist() == [1, 0, 1, 1]


def test_numbers_of_a_token_do_not_depend_on_its_neighbours() -> None:
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    two = random_scores(generators, 3, 5)
    assert torch.equal(two[1], random_scores([torch.Generator().manual_seed(2)], 3, 5)[0])


def test_channels_of_k_by_hand() -> None:
    query = torch.tensor([[[[9.0, 9], [1, 2]], [[9, 9], [1, 0]]]])  # 2 heads share a key head
    key = torch.tensor([[[[2.0, 1], [0, 1]]]])
    # means of q^2 over the window's query and the group: 1, 2; of k^2: 2, 1
    assert channel_score(query, key, 1).tolist() == [[[2, 2]]]


def test_think_needs_more_than_v() -> None:
    with pytest.raises(InputError, match=r"^think keep_ratio must be above 0.66 to hold V and 32"):
        ThinK(keep_ratio=0.5).key_share(100)
    assert ThinK(keep_ratio=0.83).key_share(100) == pytest.approx(0.5)
    with pytest.raises(InputError, match=r"least the 32 dense tokens, 0.3 of 100 is 30"):
        Mustafar(keep_ratio=0.3).old_share(100)


def test_elements_of_a_token() -> None:
    assert kept_count(64, 0.7) == 20
    assert kept_count(64, 0.7, "authors") == 21  # the threshold itself stays
    assert kept_count(64, 0.0, "authors") == 64
    assert kept_count(100, 0.29) == 71  # not 72, whatever floats make of the product
    x = torch.tensor([[[[1.0, -5, 3, -2]]]])
    assert largest(x, 2).int().tolist() == [[[[0, 1, 1, 0]]]]
    weight = key_weight(torch.tensor([[[[4.0, 0, 1, 1]], [[0, 1, 1, 1]]]]), 1)
    assert weight.tolist() == [[[4, 1, 2, 2]]]
    assert largest(x, 2, weight).int().tolist() == [[[[0, 1, 1, 0]]]]
    assert largest(x, 1, weight).int().tolist() == [[[[0, 0, 1, 0]]]]


def test_low_rank_factors() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(6, 2, generator=generator) @ torch.randn(2, 8, generator=generator)
    for scale in (None, torch.rand(8, generator=generator) + 0.1):
        a, b = low_rank(weight, 2, scale)
        assert a.shape == (2, 8)
        torch.testing.assert_close(b @ a, weight, atol=1e-5, rtol=1e-4)
    kept = principal(weight)[:, :2]
    torch.testing.assert_close(weight @ kept @ kept.mT, weight, atol=1e-4, rtol=1e-4)


def test_deltas_by_hand() -> None:
    key = torch.tensor([[1.0, 0], [1.4, 3], [1.6, 3.1], [1.0, 0]])
    stored, marks = delta_keys(key, torch.tensor([0.5]))
    # 1.4 is not far from 1, 1.6 is; back at 1.0 it is 0.6 away from the stored 1.6
    assert stored.tolist() == [[1.0, 0], [1.0, 3], [key[2, 0].item(), 3], [1.0, 0]]
    assert marks.int().tolist() == [[1, 1], [0, 1], [1, 0], [1, 1]]
    again, fewer = delta_keys(key[1:], torch.tensor([0.5]), key[0])
    assert torch.equal(again, stored[1:])
    assert torch.equal(fewer, marks[1:])


@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_thresholds_meet_a_density(density: float) -> None:
    key = torch.randn(2, 3, 50, 8, generator=torch.Generator().manual_seed(0))
    found = delta_keys(key, threshold_for(key, density))[1].float().mean((2, 3))
    assert (found <= density).all()
    assert (found >= density - 0.03).all()


def test_chunks_of_two_pairings() -> None:
    chunks = torch.tensor([0, 3])
    assert chunk_channels(chunks, 8, "adjacent").tolist() == [0, 1, 6, 7]
    assert chunk_channels(chunks, 8, "half").tolist() == [0, 4, 3, 7]


def test_a_chunk_that_decides_alone_agrees_wholly() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (
        torch.randn(2, 5, 8, generator=generator),
        torch.randn(2, 30, 8, generator=generator),
    )
    key[..., [1, 5]] *= 1000  # chunk 1, where i and i + 4 are a pair
    shares = agreement(query, key, 4, "half")
    assert (shares[:, 1] > 0.9).all()
    assert (shares[:, [0, 2, 3]] < 0.6).all()
    assert FASA(chunk_share=0.25).dominant(shares, 8).tolist() == [[1, 5], [1, 5]]
    part = partial_scores(query[:, 0], key, torch.tensor([[1, 5], [1, 5]]))
    torch.testing.assert_close(part, (query[:, :1, [1, 5]] * key[..., [1, 5]]).sum(-1))


def test_whole_pages_leave_oldest_first() -> None:
    pages = torch.arange(11) // 3
    assert page_mask(pages, 8).int().tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    assert page_mask(pages, 7).int().tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    assert page_mask(pages, 11).all()
