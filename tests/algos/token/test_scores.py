"""The rules of the methods that drop tokens between blocks, on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from algos.token.adapt_infer import guided
from algos.token.aim import AIM, page_rank, schedule, sharpened
from algos.token.catp import context_score
from algos.token.entropy_prune import EntropyPrune, matrix_entropy
from algos.token.feather import evenly, unrotated
from algos.token.information_horizon import InformationHorizon
from algos.token.ltp_cascade import LTPCascade, keep_rates, received, survivors
from algos.token.opti_prune import base_scores, copy_matrix, patches
from algos.token.shared import (
    cut_layers,
    last_attention,
    shares,
    staged_counts,
    top_order,
    with_others,
)
from algos.token.todre import ToDREDrop, cross_shares
from algos.token.token_transforming import transformation
from algos.token.transprune import TransPrune, stage_score, transition
from algos.token.zero_tprune import ZeroTPrune, importance, most_similar
from tests.algos.token.drive import LAYOUTS, Model, batch_of, run
from workloads.errors import InputError

VISUAL = slice(1, 3)


def test_the_lowest_index_wins_among_equals() -> None:
    assert top_order(torch.tensor([[1.0, 2.0, 2.0, 2.0]]), 2).tolist() == [[1, 2]]


def test_a_score_that_is_no_number_is_named() -> None:
    with pytest.raises(InputError, match="score of every head must be finite, that of 1 is nan"):
        top_order(torch.tensor([[1.0, math.nan]]), 1, "head")


def test_chosen_visual_tokens_stand_between_the_others() -> None:
    kept = with_others(torch.tensor([[0, 2]]), slice(2, 6), 8)
    assert kept.tolist() == [[0, 1, 2, 4, 6, 7]]


@pytest.mark.parametrize(
    ("fractions", "layers", "expected"),
    [
        ((7 / 32, 9 / 32, 12 / 32), 32, (7, 9, 12)),
        ((7 / 32, 9 / 32, 12 / 32), 6, (1, 2, 3)),
        ((0.25, 0.5, 0.75), 2, (1, 1, 1)),
        ((0.0,), 4, (1,)),
    ],
)
def test_cuts_fall_on_different_layers(
    fractions: tuple[float, ...], layers: int, expected: tuple[int, ...]
) -> None:
    assert cut_layers(fractions, layers) == expected


def test_stages_drop_their_share_of_the_drop() -> None:
    assert staged_counts((1 / 7, 3 / 7, 1.0), 0.125, 576) == (504, 360, 72)
    assert staged_counts((1.0,), 0.001, 10) == (1,)


def test_shares_of_zeros_are_zeros() -> None:
    assert shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]])).tolist() == [[0.25, 0.75], [0.0, 0.0]]


def test_the_last_token_speaks_for_all_heads() -> None:
    probability = torch.tensor([[[[1.0, 0.0], [0.2, 0.8]], [[1.0, 0.0], [0.6, 0.4]]]])
    torch.testing.assert_close(last_attention(probability), torch.tensor([[0.4, 0.6]]))


def test_ltp_rates_fall_from_the_first_layer_that_prunes() -> None:
    assert keep_rates(5, 0.5) == pytest.approx((1, 1, 1, 0.75, 0.5))
    assert keep_rates(30, 0.5)[:5] == (1.0,) * 5  # 0.15 of the layers
    assert min(keep_rates(4, 1e-6)) == 0.01
    assert keep_rates(2, 0.5) == (1.0, 1.0)


def test_ltp_counts_only_what_living_queries_give() -> None:
    probability = torch.tensor([[[[0.1, 0.9], [0.8, 0.2]]]])
    alive = torch.tensor([[True, False]])
    torch.testing.assert_close(received(probability, alive), torch.tensor([[0.1, 0.9]]))
    assert survivors(probability, alive, [1]).tolist() == [[False, True]]


def test_ltp_drops_after_the_layers_that_see_all() -> None:
    batch = batch_of(LAYOUTS["sentences"], 12, layers=6)
    method = LTPCascade(keep_ratio=0.5)
    kept = [d.kept_tokens for _, d in run(method, batch, Model()) if d.kept_tokens is not None]
    assert [k.shape[1] for k in kept] == [10, 8]  # before layers 4 and 5: 12 * 5/6, 12 * 4/6


def test_page_rank_walks_along_attention() -> None:
    attention = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]]])
    once = page_rank(attention, 1, 0.0)  # heads: (.5, .5) and (1, 0)
    expected = torch.tensor([[math.sqrt((0.25 + 1) / 2), math.sqrt(0.25 / 2)]])
    torch.testing.assert_close(once, expected)
    torch.testing.assert_close(page_rank(attention, 3, 1.0), torch.full((1, 2), 0.5))


def test_a_temperature_sharpens_probabilities() -> None:
    p = torch.tensor([0.25, 0.75, 0.0])
    torch.testing.assert_close(sharpened(p, 0.5), torch.tensor([0.1, 0.9, 0.0]))


def test_aim_has_the_schedule_of_its_paper() -> None:
    expected = [1.0] * 14 + [max(0.0, 1 - 0.125 * (layer - 13)) for layer in range(14, 28)]
    assert schedule(28, AIM().keep_ratio) == pytest.approx(expected)


@pytest.mark.parametrize("layers", [1, 2, 6, 28])
@pytest.mark.parametrize("average", [0.01, 0.3, 0.9, 1.0])
def test_aim_keeps_its_average(layers: int, average: float) -> None:
    ratios = schedule(layers, average)
    assert sum(ratios) / layers == pytest.approx(average)
    assert list(ratios) == sorted(ratios, reverse=True)


def test_entropy_is_that_of_the_spectrum() -> None:
    # two heads, opposite vectors after the mean is taken: one eigenvalue, |z|^2 of both over 2
    query = torch.tensor([3.0, 1.0]).view(1, 2, 1, 1)
    assert matrix_entropy(query, unit_trace=True).item() == pytest.approx(0, abs=1e-7)
    assert matrix_entropy(query * math.e, unit_trace=False).item() == pytest.approx(
        -(math.e**2) * 2 / math.log(2), rel=1e-6
    )
    spread = torch.eye(3).view(1, 3, 1, 3)  # three heads: two equal eigenvalues remain
    found = matrix_entropy(spread, unit_trace=True).item()
    assert found == pytest.approx(math.log(2) / math.log(3), abs=1e-6)


def test_entropy_prune_averages_over_the_layers() -> None:
    assert EntropyPrune(keep_ratio=0.5).counts(32, 576) == {2: (16 * 576 - 2 * 576) // 30}
    assert EntropyPrune(keep_ratio=0.1).counts(6, 16) == {2: 1}


def test_transition_is_size_times_turn() -> None:
    given = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]])
    out = torch.tensor([[[0.0, 3.0], [1.0, 0.0]]])  # turned by 90 degrees; not at all
    turn = torch.tensor([1.0, 0.0]).softmax(0)
    torch.testing.assert_close(transition(given, out)[0], torch.tensor([3.0, 0.5]) * turn)
    both = transition(given.repeat(2, 1, 1), out.repeat(2, 1, 1), whole_batch=True)
    torch.testing.assert_close(both[1], torch.tensor([3.0, 0.5]) * turn / 2)


def test_a_stage_adds_shares_of_variation_and_guidance() -> None:
    probability = torch.zeros(1, 1, 4, 4)
    probability[0, 0, 3] = torch.tensor([0.2, 0.1, 0.3, 0.4])
    probability[0, 0, 1] = torch.tensor([0.0, 1.0, 0.0, 0.0])  # an image token does not vote
    score = stage_score(torch.tensor([[9.0, 1.0, 1.0, 9.0]]), probability, VISUAL)
    torch.testing.assert_close(score, torch.tensor([[0.5 + 0.25, 0.5 + 0.75]]))


def test_transprune_sums_transitions_from_its_first_cut_on() -> None:
    batch = batch_of(LAYOUTS["questions"], 23)
    method = TransPrune(keep_ratio=0.5)
    state = method.begin(batch)
    memories = []
    for entry, _ in run(method, batch, Model(causal=True), state):
        memories.append(None if state.memory is None else state.memory.shape[1])
        assert state.counts == {1: 14, 2: 12, 3: 8}
        assert entry.layer < 6
    assert memories == [None, 21, 19, 15, 15, 15]


def test_page_rank_of_heads_out_of_range_does_not_count() -> None:
    even = torch.full((2, 2), 0.5)  # variance 0
    peaked = torch.tensor([[0.9, 0.1], [0.9, 0.1]])  # n * rank = (1.8, .2): variance .64
    attention = torch.stack([even, peaked])[None]
    torch.testing.assert_close(importance(attention, 1, 0, (0.01, 0.7)), torch.tensor([[0.9, 0.1]]))
    none = importance(attention, 1, 0, (2.0, 3.0))  # none in range: all count
    torch.testing.assert_close(none, torch.tensor([[math.sqrt(0.53), math.sqrt(0.13)]]))


def test_the_class_token_starts_with_more_weight() -> None:
    attention = torch.eye(4)[None, None]
    start = torch.tensor([[2.0, 1.0, 1.0, 1.0]]) / 5
    torch.testing.assert_close(importance(attention, 1, 1, (0.0, 9.0)), start)


def test_of_the_less_important_half_the_most_similar_go() -> None:
    rank = torch.tensor([[0.4, 0.1, 0.3, 0.2]])
    key = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.1]]])
    assert most_similar(rank, key, 1).tolist() == [[False, False, False, True]]
    assert most_similar(rank, key, 9).tolist() == [[False, True, False, True]]


def test_zero_tprune_drops_similar_tokens_first() -> None:
    batch = batch_of(LAYOUTS["images"], 17)
    kept = [
        d
        for _, d in run(ZeroTPrune(similar_share=1.0), batch, Model())
        if d.kept_tokens is not None
    ]
    assert [d.kept_tokens.shape[1] for d in kept] == [1 + 13, 1 + 10, 1 + 8]


def test_information_horizon_draws_every_token_equally_often() -> None:
    batch = batch_of(LAYOUTS["questions"], 23, layers=2, size=400)
    *_, (entry, decision) = run(InformationHorizon(), batch, Model())
    assert decision.kept_tokens is not None
    counts = torch.bincount(decision.kept_tokens.flatten(), minlength=23)[2:18]
    assert 160 <= counts.min() <= counts.max() <= 240  # 200 each, within 4 standard deviations
    assert entry.layer == 1


def test_information_horizon_prunes_early_by_diversity() -> None:
    batch = batch_of(LAYOUTS["questions"], 23)
    method = InformationHorizon(early_keep_ratio=0.75, keep_ratio=0.25)
    alive = [entry.ids.shape[1] for entry, _ in run(method, batch, Model())]
    assert alive == [23, 19, 19, 19, 11, 11]


def test_alignment_and_diversity_of_image_tokens() -> None:
    hidden = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    # alignment with text (1, 0), (-1, 0): cosines 1 and 0 -> 1, .5; distances: .5 each
    torch.testing.assert_close(
        context_score(hidden, VISUAL), torch.tensor([[2 / 3 + 0.5, 1 / 3 + 0.5]])
    )


def test_text_that_text_looks_at_has_more_say() -> None:
    p = torch.tensor(
        [[0.2, 0.2, 0.2, 0.2, 0.2]] * 3 + [[0.0, 0.4, 0.0, 0.6, 0.0], [0.0, 0.0, 0.6, 0.2, 0.2]]
    )
    # prior of the text tokens 3 and 4: (.6 + .2, 0 + .2) / 1
    torch.testing.assert_close(guided(p[None, None], VISUAL), torch.tensor([[0.32, 0.12]]))


def test_what_text_and_image_give_each_other() -> None:
    p = torch.tensor([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.1, 0.4, 0.5, 0], [0.7, 0.1, 0.1, 0.1]])
    torch.testing.assert_close(cross_shares(p[None, None], VISUAL), torch.tensor([[0.2, 0.3]]))


@pytest.mark.parametrize(("threshold", "alive"), [(1.0, 7), (0.0, 23)])
def test_todre_drops_all_or_nothing(threshold: float, alive: int) -> None:
    batch = batch_of(LAYOUTS["questions"], 23, layers=8)
    entries = [e for e, _ in run(ToDREDrop(threshold=threshold, layer=0.5), batch, Model())]
    assert [e.ids.shape[1] for e in entries] == [23] * 5 + [alive] * 3


def test_the_rotation_is_taken_back() -> None:
    x = torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[0, 3, 7]])
    angle = ids[0, :, None] * torch.tensor([1.0, 0.01])  # base 10000, two pairs
    a, b = x[..., :2], x[..., 2:]
    cos, sin = angle.cos(), angle.sin()
    rotated = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
    torch.testing.assert_close(unrotated(rotated, ids, 10000.0), x)


def test_even_spacing() -> None:
    assert evenly(3, 8) == [0, 2, 5]
    assert evenly(0, 8) == []


def test_a_token_is_shared_out_over_those_it_resembles() -> None:
    x = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]])
    weight = transformation(x, torch.tensor([[0, 1]]), 0.5)
    near, far = math.exp(2) / (math.exp(2) + 1), 1 / (math.exp(2) + 1)
    first = torch.tensor([near, far, near]) / (2 * near + far)
    second = torch.tensor([far, near, far]) / (2 * far + near)
    torch.testing.assert_close(weight[0], torch.stack([first, second]))


def test_every_patch_has_a_base_before_any_has_two() -> None:
    assert patches((2, 3), 2).tolist() == [0, 0, 1, 0, 0, 1]
    x = torch.tensor([[[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [1.0, 0.0]]])
    score = base_scores(x, torch.tensor([0, 0, 1, 0]), torch.zeros(1, 4))
    assert top_order(score, 2).sort().values.tolist() == [[0, 2]]


def test_pruned_tokens_copy_the_most_similar_base() -> None:
    x = torch.tensor([[[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]]])
    copies = copy_matrix(x, torch.tensor([[0, 2]]))
    assert copies[0].argmax(1).tolist() == [0, 0, 2, 2]
    torch.testing.assert_close(copies.sum(2), torch.ones(1, 4))
