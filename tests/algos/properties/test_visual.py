"""What holds for every method that chooses visual tokens, whatever its rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from algos import METHODS
from algos.selection import keep_count
from algos.visual.base import Selected, VisualInput, VisualMethod
from tests.algos.visual.inputs import equal_input, generators, visual_input
from workloads.errors import InputError

NAMES = [name for name, kind in METHODS.items() if issubclass(kind, VisualMethod)]
BLIND = ("random-visual", "uniform-visual")  # they look at nothing
FILLED = ("random-visual", "uniform-visual", "zoo-prune", "correlation-guided", "holov")
MERGED = [name for name in NAMES if METHODS[name].trace_kind == "merge map"]
PARTS = ("features", "encoder_features", "attention", "keys", "values", "pixels", "text")


def select(name: str, seen: VisualInput, **fields: Any) -> Selected:
    method = METHODS[name](**fields)
    assert isinstance(method, VisualMethod)
    return method.select(replace(seen, generators=generators(len(seen.features))))


@pytest.mark.parametrize("ratio", [0.001, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (4, 5)])
@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_met_exactly(name: str, grid: tuple[int, int], ratio: float) -> None:
    n = grid[0] * grid[1]
    found = select(name, visual_input(grid=grid), keep_ratio=ratio)
    assert found.kept.shape == (3, keep_count(ratio, n))
    assert found.kept.dtype == torch.int64
    assert bool((found.kept.diff(dim=1) > 0).all())
    assert 0 <= int(found.kept.min()) <= int(found.kept.max()) < n
    if found.merge is not None:
        assert found.merge.shape == (*found.kept.shape, n)
        assert bool(found.merge.isfinite().all())


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_the_seed_decides(name: str) -> None:
    first, again = (select(name, visual_input(), keep_ratio=0.4) for _ in range(2))
    assert first.kept.equal(again.kept)
    if first.merge is not None and again.merge is not None:
        assert first.merge.equal(again.merge)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in FILLED and n not in MERGED])
def test_among_equals_the_first_tokens_stay(name: str) -> None:
    assert select(name, equal_input(), keep_ratio=0.5).kept.tolist() == [list(range(6))] * 2


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", [n for n in NAMES if n not in BLIND])
def test_numbers_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    seen = visual_input()
    changed: dict[str, Any] = {}
    for part in PARTS:
        of = getattr(seen, part)
        full = torch.full_like
        changed[part] = full(of, bad) if torch.is_tensor(of) else [full(x, bad) for x in of]
    with pytest.raises(InputError, match="finite") as caught:
        select(name, replace(seen, **changed))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_no_token_at_all_is_no_budget(name: str) -> None:
    with pytest.raises(InputError, match="keep_ratio must be greater than 0"):
        METHODS[name](keep_ratio=0)
