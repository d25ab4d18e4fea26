"""Tokens that become one: matching, recycling, clusters."""

from __future__ import annotations

import pytest
import torch

from algos.visual.clusters import centrality, merge_rest
from algos.visual.matching import in_order, match, match_to, mean_weights
from algos.visual.recoverable import question_similarity, recover
from algos.visual.recycling import keep_and_recycle
from algos.visual.vflowopt import importance, patch_entropy
from workloads.errors import InputError


def test_the_most_similar_even_token_merges() -> None:
    metric = torch.tensor([[[1.0, 0], [0, 1], [0.1, 1], [1, 1], [-1, 0]]])
    members = match(metric, 1)[0]  # token 2 goes into 1; 0 (with 3: .7) stays before 4
    assert members.tolist() == [
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
    ]
    ids, ordered = in_order(members[None])
    assert ids.tolist() == [[0, 1, 3, 4]]
    assert ordered[0, 1].tolist() == [0, 1, 1, 0, 0]


def test_a_class_token_merges_with_none() -> None:
    members = match(torch.ones(1, 5, 2), 9, class_token=True)[0]
    assert members[0].tolist() == [1, 0, 0, 0, 0]
    assert members[1].tolist() == [0, 1, 1, 0, 1]  # ties: the first odd token
    assert len(members) == 3  # at most half of the others


def test_with_a_class_token_the_others_stay_in_order() -> None:
    """Of 2, 4 and 6 the last is most like its partner and goes; 4 is more willing than 2."""
    metric = torch.tensor([[1.0, 0], [1, 0], [0, 1], [-1, 0], [-0.6, 0.8], [0, -1], [0, -1]])[None]
    assert match(metric, 1, class_token=True)[0, :3].argmax(1).tolist() == [0, 2, 4]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 9])
def test_rounds_arrive_at_the_budget(k: int) -> None:
    metric = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(k))
    members = match_to(metric, k)
    assert members.shape == (3, k, 9)
    assert (members.sum(1) == 1).all()  # each token is in one
    ids, ordered = in_order(members)
    assert (ids.diff() > 0).all()
    assert torch.allclose(mean_weights(ordered).sum(-1), torch.ones(3, k))


def test_entropy_of_a_patch() -> None:
    """Four patches of 2 x 2: one grey level, two, four, and one again."""
    image = torch.tensor([[0.0, 0, 0, 1], [0, 0, 0, 1], [0, 0.25, 1, 1], [0.5, 0.75, 1, 1]])
    pixels = image.expand(1, 3, 4, 4)
    assert torch.allclose(patch_entropy(pixels, (2, 2)), torch.tensor([[0.0, 1, 2, 0]]))
    assert torch.allclose(patch_entropy(5 * pixels - 3, (2, 2)), torch.tensor([[0.0, 1, 2, 0]]))
    with pytest.raises(InputError, match=r"not 4 x 4 pixels$"):
        patch_entropy(pixels, (3, 2))


def test_grey_levels_wrap_in_the_authors_program() -> None:
    """-1 and 1 are 255 apart from 0 in one direction or the other: 1 and 255 of 256 levels."""
    pixels = torch.tensor([[-1.0, 1 / 255]]).expand(1, 1, 2, 2)
    assert patch_entropy(pixels, (1, 1), compat="authors").item() == 0
    assert patch_entropy(pixels, (1, 1)).item() == 1


def test_only_queries_that_are_looked_at_ask() -> None:
    attention = torch.tensor([[0.0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]])[None, None]
    entropy = torch.zeros(1, 3)
    assert torch.allclose(importance(attention, entropy, 1.0), torch.tensor([[0.5, 0, 0.5]]))
    everyone = torch.tensor([[0.5, 2, 0.5]]) / 3
    assert torch.allclose(importance(attention, entropy, 39.26), everyone)
    heavy = importance(attention, torch.tensor([[0.0, 0, 50]]), 1.0, entropy_weight=2)
    assert torch.allclose(heavy, torch.tensor([[0.5, 0, 2.5]]))


def test_the_rest_is_recycled_by_cells() -> None:
    """2 x 4 patches in cells of 2 x 2: two stay, the rest of each cell becomes one."""
    score = torch.tensor([[9.0, 1, 8, 3, 2, 1, 1, 0]])
    ids, merge = keep_and_recycle(score, (2, 4), 4, cell=2)
    assert ids.tolist() == [[0, 2, 3, 4]]
    assert merge[0, 2].tolist() == [0, 0, 0, 0.75, 0, 0, 0.25, 0]
    assert merge[0, 3].tolist() == [0, 0.25, 0, 0, 0.5, 0.25, 0, 0]
    assert merge[0, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_a_cell_kept_whole_frees_a_token() -> None:
    score = torch.tensor([[9.0, 8, 1, 2, 7, 6, 0, 0]])
    ids, _ = keep_and_recycle(score, (2, 4), 5, cell=2)
    assert ids.tolist() == [[0, 1, 3, 4, 5]]  # the left cell whole, the right one as token 3


def test_a_budget_of_as_many_as_cells_recycles_nothing() -> None:
    ids, merge = keep_and_recycle(torch.arange(8.0)[None], (2, 4), 2, cell=2)
    assert ids.tolist() == [[6, 7]]
    assert merge.sum().item() == 2


def test_groups_without_importance_are_even() -> None:
    ids, merge = keep_and_recycle(torch.zeros(1, 4), (2, 2), 2, cell=2)
    assert ids.tolist() == [[0, 1]]
    assert torch.allclose(merge[0, 1], torch.tensor([0, 1, 1, 1]) / 3)


def test_the_question_recovers_tokens() -> None:
    x = torch.tensor([[[1.0, 0], [0, 1], [1, 1], [-1, 0]]])
    similarity = question_similarity(x, torch.tensor([[[0.0, 4], [0, -2]]]))
    assert torch.allclose(similarity, torch.tensor([[0, 1, 0.5**0.5, 0]]), atol=1e-6)
    attention = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    assert recover(attention, similarity, 1, 1).tolist() == [[1, 3]]
    assert recover(attention, similarity, 1, 2).tolist() == [[1, 2, 3]]


def test_the_rest_is_merged_by_clusters() -> None:
    x = torch.tensor([[[0.0, 0], [9, 9], [0.1, 0], [0, 0.1], [9, 9.1], [5, 5]]])
    selected = merge_rest(x, torch.tensor([[5]]), groups=2, neighbours=2)
    assert selected.kept.tolist() == [[0, 1, 5]]
    merge = selected.merge
    assert merge is not None
    assert torch.allclose(merge[0, 0], torch.tensor([1, 0, 1, 1, 0, 0]) / 3)
    assert torch.allclose(merge[0, 1], torch.tensor([0, 1, 0, 0, 1, 0]) / 2)
    assert merge[0, 2].tolist() == [0, 0, 0, 0, 0, 1]


def test_equal_tokens_still_make_all_clusters() -> None:
    selected = merge_rest(torch.ones(1, 5, 2), torch.tensor([[4]]), groups=3)
    assert selected.kept.tolist() == [[0, 1, 2, 4]]
    assert selected.merge is not None
    assert torch.allclose(selected.merge[0, 0], torch.tensor([1, 0, 0, 1, 0]) / 2)
    assert selected.merge[0, 1:].tolist() == torch.eye(5)[[1, 2, 4]].tolist()


def test_centres_are_dense_and_apart() -> None:
    x = torch.tensor([0.0, 0.1, 0.2, 7, 7.1, 20])[:, None]
    best = centrality(torch.cdist(x, x), 2).argsort(descending=True)[:2].tolist()
    assert 0 <= min(best) <= 2
    assert 3 <= max(best) <= 4
    assert centrality(torch.zeros(3, 3), 2).tolist() == [0, 0, 0]
