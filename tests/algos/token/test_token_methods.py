"""What holds for every method that acts between two blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos import METHODS
from algos.base import Layout
from algos.selection import keep_count
from algos.token.base import TokenMethod
from tests.algos.token.drive import LAYOUTS, TOKENS, Model, batch_of, run
from workloads.errors import InputError

BETWEEN = {  # those inside a vision encoder are tested in `tests.algos.visual`
    name: kind
    for name, kind in METHODS.items()
    if issubclass(kind, TokenMethod) and not kind.__module__.startswith("algos.visual")
}
CASES = [(name, kind) for name in BETWEEN for kind in BETWEEN[name].workloads]
AT_THE_END = {  # what `keep_ratio` is a share of, where the last layer has just that
    name: kind
    for name, kind in CASES
    if "keep_ratio" in BETWEEN[name].model_fields
    and name not in ("aim", "entropy-prune", "ltp-cascade", "opti-prune", "ftp", "dtop")
}


def causal(kind: str) -> bool:
    return kind in ("text", "questions")


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_tokens_that_must_stay_stay_and_the_others_keep_their_order(name: str, kind: str) -> None:
    batch = batch_of(LAYOUTS[kind], TOKENS[kind])
    model = Model(1, causal=causal(kind))
    for entry, decision in run(BETWEEN[name](), batch, model):
        kept = decision.kept_tokens
        if decision.bypass is not None:
            assert decision.bypass.shape == entry.ids.shape
            assert (kind != "images") or not bool(decision.bypass[:, 0].any())
            assert not bool(decision.bypass.all(1).any())
        if kept is None:
            continue
        assert bool((kept.diff(dim=1) > 0).all())
        ids = entry.ids.gather(1, kept)
        if kind == "images":
            assert bool((ids[:, 0] == 0).all())
        if causal(kind):
            assert bool((ids[:, -1] == batch.tokens - 1).all())
        if kind == "questions" and name != "lazy-llm":
            text = [i for i in range(batch.tokens) if not 2 <= i < 18]
            assert all(set(text) <= set(row.tolist()) for row in ids)
        if decision.merge is not None:
            assert decision.merge.shape == (batch.size, kept.shape[1], entry.ids.shape[1])
            torch.testing.assert_close(decision.merge.sum(2), torch.ones(kept.shape))


@pytest.mark.parametrize("ratio", [0.1, 0.29, 0.5, 1.0])
@pytest.mark.parametrize("name", AT_THE_END)
def test_the_last_layer_has_the_budget(name: str, ratio: float) -> None:
    kind = AT_THE_END[name]
    batch = batch_of(LAYOUTS[kind], TOKENS[kind], layers=8)
    method = BETWEEN[name](keep_ratio=ratio)
    entries = [entry for entry, _ in run(method, batch, Model(2, causal=causal(kind)))]
    prunable = {"questions": 16, "images": 16, "text": 11, "sentences": 12}[kind]
    if name == "lazy-llm":
        prunable = batch.tokens - 1
    protected = batch.tokens - prunable
    assert entries[-1].ids.shape[1] == protected + keep_count(ratio, prunable)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_among_equal_scores_the_lowest_indices_stay(name: str, kind: str) -> None:
    if name == "information-horizon":
        pytest.skip("its scores are random numbers")
    batch = batch_of(LAYOUTS[kind], TOKENS[kind])
    options: dict[str, Any] = {
        "feather": {"uniform_share": 0.0, "rotary_base": 0.0},
        "opti-prune": {"noise": 0.0},
    }
    method = BETWEEN[name](**options.get(name, {}))
    for entry, decision in run(method, batch, Model(fill=1.0)):
        kept = decision.kept_tokens
        if kept is None or kept.shape[1] == entry.ids.shape[1]:
            continue
        first = {"questions": 2, "images": 1}.get(kind, 0) if name != "lazy-llm" else 0
        last = {"questions": 5, "text": 1}.get(kind, 0) if name != "lazy-llm" else 1
        stays = [*range(kept.shape[1] - last), *range(entry.ids.shape[1])[-last or None :]]
        expected = stays if last else list(range(kept.shape[1]))
        if name == "zero-tprune":  # half of the drop goes for similarity, from the lower half
            continue
        assert first <= kept.shape[1]
        assert kept[0].tolist() == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_numbers_that_are_not_finite_are_refused(name: str, kind: str, value: float) -> None:
    if name == "information-horizon":
        pytest.skip("its scores are random numbers")
    batch = batch_of(LAYOUTS[kind], TOKENS[kind])
    with pytest.raises(InputError, match="finite"):
        list(run(BETWEEN[name](), batch, Model(fill=value)))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_prompt_of_one_token_loses_nothing(name: str, kind: str) -> None:
    layout = Layout(class_token=kind == "images", grid=(0, 1) if kind == "images" else None)
    batch = batch_of(layout, 1)
    if kind == "questions" and name not in ("lazy-llm", "ftp"):
        with pytest.raises(InputError, match="must have visual tokens"):
            BETWEEN[name]().begin(batch)
        return
    for _, decision in run(BETWEEN[name](), batch, Model(3)):
        assert decision.kept_tokens is None or decision.kept_tokens.shape[1] == 1
        assert decision.bypass is None or not bool(decision.bypass.any())


@pytest.mark.parametrize("name", [n for n, k in BETWEEN.items() if k.workloads == ("questions",)])
def test_visual_tokens_must_be_followed_by_text(name: str) -> None:
    with pytest.raises(InputError, match="text after the visual tokens"):
        BETWEEN[name]().begin(batch_of(Layout(visual=range(2, 18)), 18))


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_sequence_does_not_depend_on_its_neighbours(name: str, kind: str) -> None:
    if name == "todre-drop":
        pytest.skip("a batch decides as one, as its docstring says")
    whole = batch_of(LAYOUTS[kind], TOKENS[kind])
    alone = batch_of(LAYOUTS[kind], TOKENS[kind], size=1)
    both = list(run(BETWEEN[name](), whole, Repeated(4, causal=causal(kind))))
    one = list(run(BETWEEN[name](), alone, Repeated(4, causal=causal(kind))))
    for (entry, _), (single, _) in zip(both, one, strict=True):
        assert entry.ids[0].tolist() == single.ids[0].tolist()


class Repeated(Model):
    """Every sequence of a batch has the same numbers."""

    def _draw(self, *shape: int) -> torch.Tensor:
        return super()._draw(1, *shape[1:]).expand(*shape)
