"""What holds for every method that chooses contexts, whatever its rule."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from algos import METHODS
from algos.prompt.base import PromptInput, PromptMethod
from algos.selection import keep_count
from workloads.errors import InputError

NAMES = [name for name, kind in METHODS.items() if issubclass(kind, PromptMethod)]


def prompt(contexts: int = 8, spread: float = 1.0, bad: float | None = None) -> PromptInput:
    """Make contexts around a question; with no spread all are the question itself."""
    g = torch.Generator().manual_seed(1)
    question = normalize(torch.randn(6, generator=g), dim=0)
    tokens = [question + spread * torch.randn(4, 6, generator=g) for _ in range(contexts)]
    if bad is not None:
        tokens[-1][0, 0] = bad
    means = [normalize(x.mean(0), dim=0) for x in tokens]
    return PromptInput(
        question=question,
        contexts=torch.stack(means) if means else torch.zeros(0, 6),
        question_tokens=question[None],
        context_tokens=tokens,
    )


def select(name: str, seen: PromptInput, **fields: float) -> list[int]:
    method = METHODS[name](**fields)
    assert isinstance(method, PromptMethod)
    kept = method.select(seen)
    assert kept.dtype == torch.int64
    found: list[int] = kept.tolist()
    return found


@pytest.mark.parametrize("contexts", [0, 1, 2, 8])
@pytest.mark.parametrize("name", NAMES)
def test_contexts_ascend_and_no_more_than_the_budget_stay(name: str, contexts: int) -> None:
    kept = select(name, prompt(contexts))
    assert kept == sorted(set(kept))
    assert set(kept) <= set(range(contexts))
    ratio = getattr(METHODS[name](), "keep_ratio", 1.0)
    assert len(kept) <= keep_count(ratio, contexts)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_contexts_give_the_same(name: str) -> None:
    assert select(name, prompt()) == select(name, prompt())


@pytest.mark.parametrize("name", NAMES)
def test_among_equals_the_first_contexts_stay(name: str) -> None:
    kept = select(name, prompt(spread=0))
    ratio = getattr(METHODS[name](), "keep_ratio", 1.0)
    assert kept == list(range(keep_count(ratio, 8)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    with pytest.raises(InputError, match="finite") as caught:
        select(name, prompt(bad=bad))
    assert "\n" not in str(caught.value)
