"""Measures of attention on matrices made by hand, and on a model small enough to check."""

from __future__ import annotations

import math

import pytest
import torch

from workloads.attention_structure import (
    answer_measures,
    entropy,
    following,
    mean_over,
    share,
    text_measures,
    vision_measures,
)
from workloads.errors import InputError


def one_hot(keys: list[int], tokens: int) -> torch.Tensor:
    """Return probabilities (1, 1, query, key) of a head that looks at one key a query."""
    return torch.eye(tokens)[keys][None, None]


def test_heads_that_look_at_one_thing() -> None:
    tokens = 40
    ids = torch.arange(tokens)[None] % 10  # everything comes again after ten tokens
    looks = {
        "sinks": [0] * tokens,
        "previous": [max(q - 1, 0) for q in range(tokens)],
        "nearest": [max(q - 15, 0) for q in range(tokens)],
        "follows": [q - 9 if q >= 9 else q for q in range(tokens)],
    }
    for name, keys in looks.items():
        assert text_measures(one_hot(keys, tokens), ids)[name].item() == pytest.approx(1), name
    far = [max(q - 16, 0) for q in range(tokens)]
    found = text_measures(one_hot(far, tokens), ids)
    assert (found["nearest"].item(), found["previous"].item()) == (0, 0)
    assert found["distance"].item() == pytest.approx(16)
    assert found["entropy"].item() == 0


def test_only_the_second_half_of_the_queries_counts() -> None:
    keys = [0, 0, 0, 0, 0, 0, 5, 6, 7, 8]  # from the sixth query on the token before
    found = text_measures(one_hot(keys, 10), torch.arange(10)[None])
    assert found["previous"].item() == pytest.approx(4 / 5)
    assert found["sinks"].item() == pytest.approx(1 / 5)


def test_heads_and_sequences_are_kept_apart_and_averaged() -> None:
    first, before = one_hot([0] * 8, 8), one_hot([0, *range(7)], 8)
    probability = torch.cat((torch.cat((first, before), 1), torch.cat((before, before), 1)), 0)
    found = text_measures(probability, torch.arange(16).view(2, 8))
    assert found["previous"].tolist() == pytest.approx([0.5, 1])


def test_what_followed_before() -> None:
    ids = torch.tensor([list(b"abcXabc")])
    assert following(ids, 3)[0].nonzero().tolist() == [[6, 3]]  # after abc came X
    assert following(ids, 2)[0].nonzero().tolist() == [[5, 2], [6, 3]]
    assert following(ids, 1)[0].nonzero().tolist() == [[4, 1], [5, 2], [6, 3]]
    assert following(torch.tensor([list(b"aaaa")]), 1)[0].sum(-1).tolist() == [0, 1, 2, 3]


def test_nothing_to_follow_gives_no_share() -> None:
    ids = torch.arange(8)[None]
    assert text_measures(one_hot([0] * 8, 8), ids)["follows"].item() == 0


def test_entropy_of_even_rows() -> None:
    even = torch.full((1, 1, 2, 4), 0.25)
    assert entropy(even).flatten().tolist() == pytest.approx([math.log(4)] * 2)
    chosen = torch.tensor([[True, False]])
    assert mean_over(torch.tensor([[[1.0, 5.0]]]), chosen).tolist() == [1.0]


def test_share_takes_one_mask_or_one_a_sequence() -> None:
    probability = torch.tensor([[[[0.7, 0.3]]], [[[0.2, 0.8]]]])
    queries = torch.ones(2, 1, dtype=torch.bool)
    both = share(probability, torch.tensor([[True, False]]), queries)
    assert both.item() == pytest.approx(0.45)
    own = torch.tensor([[[True, False]], [[False, True]]])
    assert share(probability, own, queries).item() == pytest.approx(0.75)


def test_class_token_and_digits() -> None:
    ink = torch.tensor([[False, True]])  # the class token, then two patches
    rows = [[0.2, 0.3, 0.5], [0.6, 0.1, 0.3], [0.8, 0.2, 0.0]]
    found = vision_measures(torch.tensor([[rows]]), ink)
    assert found["class_token"].item() == pytest.approx(0.7)
    assert found["class_on_ink"].item() == pytest.approx(0.5)
    assert found["ink"].item() == pytest.approx(0.15)
    logs = sum(-p * math.log(p) for row in rows for p in row if p)
    assert found["entropy"].item() == pytest.approx(logs / 3)


def test_the_last_token_of_a_prompt() -> None:
    probability = torch.full((1, 1, 2, 6), 0.5)  # the first query does not count
    probability[0, 0, 1] = torch.tensor([0.1, 0.2, 0.3, 0.1, 0.1, 0.2])
    ink = torch.tensor([[True, False, True, False]])
    asked = torch.tensor([[False, True, True, False]])
    found = answer_measures(probability, ink, asked)
    expected = {"visual": 0.7, "visual_ink": 0.4, "asked": 0.5, "sinks": 0.7}
    assert {name: found[name].item() for name in expected} == pytest.approx(expected)


def test_one_token_is_refused() -> None:
    with pytest.raises(InputError, match=r"^text must have at least 2 tokens, not 1$"):
        text_measures(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, dtype=torch.int64))
