"""Contexts that are left out of a prompt."""

from __future__ import annotations

import math

import pytest
import torch

from algos.prompt.base import PromptInput
from algos.prompt.kg_rag import KGRAG, passing
from algos.prompt.provence import Provence, kept_contexts, usefulness
from workloads.errors import InputError

QUESTION = torch.tensor([1.0, 0.0])
CONTEXTS = torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])


def given(contexts: torch.Tensor = CONTEXTS) -> PromptInput:
    tokens = [context.repeat(3, 1) for context in contexts]
    return PromptInput(
        question=QUESTION,
        contexts=contexts,
        question_tokens=QUESTION[None],
        context_tokens=tokens,
    )


@pytest.mark.parametrize(
    ("ratio", "least", "kept"),
    [(0.5, 0.5, [1, 2]), (1.0, 0.7, [1, 2]), (0.1, 0.0, [1]), (1.0, 1.0, [1])],
)
def test_a_context_passes_both_thresholds(ratio: float, least: float, kept: list[int]) -> None:
    assert passing(QUESTION, CONTEXTS, ratio, least).tolist() == kept


def test_no_context_may_be_left() -> None:
    assert KGRAG().select(given(CONTEXTS[3:])).tolist() == []
    assert Provence().select(given(CONTEXTS[3:])).tolist() == []
    assert KGRAG().select(given(CONTEXTS[:0])).tolist() == []


def test_equal_contexts_are_kept_from_the_first() -> None:
    assert KGRAG(keep_ratio=0.5).select(given(CONTEXTS[1].repeat(4, 1))).tolist() == [0, 1]


def test_the_mean_or_the_majority_decides() -> None:
    probabilities = [torch.tensor([0.9, 0.0, 0.0]), torch.tensor([0.2, 0.15]), torch.zeros(2)]
    assert kept_contexts(probabilities, 0.1, "mean").tolist() == [0, 1]
    assert kept_contexts(probabilities, 0.1, "majority").tolist() == [1]
    half = [torch.tensor([0.2, 0.0])]
    assert kept_contexts(half, 0.1, "majority").tolist() == [0]
    assert kept_contexts(half, 0.1, "mean").tolist() == []  # not above
    assert kept_contexts([torch.zeros(0)], 0.1, "majority").tolist() == []


def test_a_cosine_stands_for_a_probability() -> None:
    p = usefulness(torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]]), QUESTION, 0.5, 0.5)
    torch.testing.assert_close(p, torch.tensor([1 / (1 + math.exp(-1)), 0.5]))
    assert Provence().select(given()).tolist() == [0, 1, 2]


def test_numbers_that_are_not_finite_are_refused() -> None:
    bad = given(CONTEXTS * math.nan)
    for method in (KGRAG(), Provence()):
        with pytest.raises(InputError, match="finite"):
            method.select(bad)
