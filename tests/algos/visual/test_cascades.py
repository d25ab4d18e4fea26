"""FlowCut and ToMe between the blocks of a vision transformer, driven by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algos.base import Batch, Decision, Layout
from algos.selection import keep_count
from algos.token.base import Between, Seen, TokenMethod
from algos.visual.flow import flow_score, patches_to_drop, semantic_attention
from algos.visual.flowcut import FlowCut
from algos.visual.tome import ToMe, schedule
from workloads.errors import InputError
from workloads.shapes import ModelShape
from workloads.step import AttentionStep

HEADS, CHANNELS = 2, 4


def batch_of(images: int, tokens: int, layers: int, class_token: bool = True) -> Batch:
    shape = ModelShape(
        name="test",
        layers=layers,
        heads=HEADS,
        kv_heads=HEADS,
        head_dim=CHANNELS,
        hidden=HEADS * CHANNELS,
        intermediate=1,
        source="made for the test",
    )
    return Batch(
        shape=shape,
        tokens=tokens,
        generators=tuple(torch.Generator() for _ in range(images)),
        layout=Layout(class_token=class_token),
    )


def step_of(layer: int, ids: torch.Tensor, tokens: int, fill: float | None) -> AttentionStep:
    """Make queries, keys and values, random for each layer, image and id, or all `fill`."""
    g = torch.Generator().manual_seed(layer)
    shape = (len(ids), HEADS, tokens, CHANNELS)
    index = ids[:, None, :, None].expand(-1, HEADS, -1, CHANNELS)
    q, k, v = (
        (2 * torch.randn(shape, generator=g) if fill is None else torch.full(shape, fill)).gather(
            2, index
        )
        for _ in range(3)
    )
    return AttentionStep(
        layer=layer,
        step=0,
        query=q,
        key=k,
        value=v,
        scale=0.5,
        mask=None,
        query_ids=ids,
        key_ids=ids,
        tokens_dense=tokens,
    )


def drive(
    method: TokenMethod, images: int, tokens: int, layers: int, fill: float | None = None
) -> tuple[list[Decision], torch.Tensor, Any]:
    """Run all blocks; return the decisions, the ids that are left, and the state."""
    state = method.begin(batch_of(images, tokens, layers))
    ids, before, decisions = torch.arange(tokens).expand(images, -1), None, []
    for layer in range(layers):
        entry = Between(
            layer=layer,
            step=0,
            hidden=torch.zeros(images, ids.shape[1], 1),
            ids=ids,
            before=before,
            look_ahead=lambda: pytest.fail("nothing looks ahead"),
        )
        decision = method.between(entry, state)
        decisions.append(decision)
        if decision.kept_tokens is not None:
            assert (decision.kept_tokens.diff() > 0).all()
            assert (decision.kept_tokens[:, 0] == 0).all()  # the class token stays
            ids = ids.gather(1, decision.kept_tokens)
        step = step_of(layer, ids, tokens, fill)
        before = Seen(step=step, outcome=method.attend(step, state), modules={})
    return decisions, ids, state


@pytest.mark.parametrize(("tokens", "layers"), [(2, 2), (3, 3), (18, 3), (41, 6)])
@pytest.mark.parametrize("ratio", [0.05, 1 / 3, 1])
def test_flowcut_arrives_at_its_target(tokens: int, layers: int, ratio: float) -> None:
    decisions, ids, _ = drive(FlowCut(keep_ratio=ratio), 3, tokens, layers)
    assert ids.shape[1] == 1 + keep_count(ratio, tokens - 1)
    assert decisions[0].kept_tokens is None


def test_flowcut_drops_after_every_other_block() -> None:
    decisions, _, _ = drive(FlowCut(keep_ratio=0.1), 1, 41, 7)
    changed = [d.kept_tokens is not None for d in decisions]
    assert changed == [False, False, True, False, True, False, True]


def test_flowcut_of_equal_patches_keeps_the_first() -> None:
    _, ids, _ = drive(FlowCut(keep_ratio=0.3), 2, 11, 4, fill=1.0)
    assert ids.tolist() == [[0, 1, 2, 3]] * 2


def test_flowcut_accumulates_along_each_patch() -> None:
    """Follow the scores of one image by id; only the first layer's counts whole."""
    tokens, layers = 31, 7
    method = FlowCut(keep_ratio=0.2)
    decisions, _, state = drive(method, 1, tokens, layers)
    past: dict[int, float] = {}
    ids = torch.arange(tokens)[None]
    for layer, after in enumerate(decisions[1:]):
        step = step_of(layer, ids, tokens, None)
        attention = method.attend(step, state).probability.mean(1)[:, 0, 1:]
        semantic = semantic_attention(step.value)
        score = flow_score(attention, semantic, step.value.mean(1)[:, 1:])[0].tolist()
        for patch, new in zip(ids[0, 1:].tolist(), score, strict=True):
            past[patch] = new if layer == 0 else past[patch] / 2 + new / 2
        if after.kept_tokens is not None:
            ids = ids.gather(1, after.kept_tokens)
            best = sorted(past, key=lambda patch: -past[patch])[: ids.shape[1] - 1]
            assert ids[0].tolist() == [0, *sorted(best)]
            past = {patch: past[patch] for patch in best}
    assert state.past[0].tolist() == pytest.approx([past[patch] for patch in sorted(past)])


def test_flowcut_needs_a_class_token_and_numbers() -> None:
    with pytest.raises(InputError, match=r"^flowcut must have a class token"):
        FlowCut().begin(batch_of(1, 9, 3, class_token=False))
    with pytest.raises(InputError, match="must be finite"):
        drive(FlowCut(), 1, 9, 3, fill=torch.nan)


def test_flow_by_hand() -> None:
    attention, semantic = torch.tensor([[0.1, 0.3]]), torch.tensor([[0.2, 0.2]])
    value = torch.tensor([[[1.0, -1], [0.5, 0]]])
    assert torch.allclose(flow_score(attention, semantic, value), torch.tensor([[1.5, 0.625]]))
    # no information in the values: every token, the class token too, gets a third
    even = semantic_attention(torch.zeros(1, 2, 3, 4))
    assert torch.allclose(even, torch.full((1, 2), 1 / 3))


@pytest.mark.parametrize(
    ("attention", "left", "dropped"),
    [
        ([1.0, 1, 1, 1, 1, 1, 1, 1], 2, 0),  # even: entropy is largest
        ([1.0, 0, 0, 0, 0, 0, 0, 0], 4, 3),  # peaked: all 6 above 2, over sqrt(4)
        ([1.0, 0, 0, 0, 0, 0, 0, 0], 3, 0),  # every other block
        ([1.0, 1, 1, 1, 1, 1, 1, 1], 0, 6),  # the last chance
    ],
)
def test_how_many_patches_leave(attention: list[float], left: int, dropped: int) -> None:
    assert patches_to_drop(torch.tensor([attention]), 2, left).tolist() == [dropped]


def test_a_target_above_the_patches_drops_none() -> None:
    assert patches_to_drop(torch.ones(2, 3), 3, 0).tolist() == [0, 0]


@pytest.mark.parametrize("tokens", [1, 2, 33])
@pytest.mark.parametrize("ratio", [0.5, 1])
def test_tome_keeps_its_budget(tokens: int, ratio: float) -> None:
    decisions, ids, state = drive(ToMe(keep_ratio=ratio), 3, tokens, 6)
    patches = tokens - 1
    assert ids.shape[1] == 1 + (keep_count(ratio, patches) if patches else 0)
    assert torch.allclose(state.sizes.sum(1), torch.full((3,), float(tokens)))
    assert (state.sizes[:, 0] == 1).all()
    for decision in decisions:
        if decision.merge is not None:
            assert torch.allclose(decision.merge.sum(2), torch.ones(decision.merge.shape[:2]))


def test_tome_merges_at_most_half_at_once() -> None:
    _, ids, _ = drive(ToMe(keep_ratio=0.05), 1, 41, 3)
    assert ids.shape[1] == 12  # 41 tokens, 22 at the second block; of 21 patches 10 merge


def test_the_schedule_falls_evenly() -> None:
    assert schedule(40, 0.5, 6) == (40, 36, 32, 28, 24, 20)
    assert schedule(10, 0.55, 4) == (10, 9, 7, 5)
    assert schedule(10, 0.5, 1) == (10,)


def test_a_merged_token_weighs_its_patches() -> None:
    """Attention to one token of size 2 and one of size 1, all scores equal: 2/3 and 1/3."""
    method = ToMe()
    state = method.begin(batch_of(1, 2, 2))
    state.sizes = torch.tensor([[2.0, 1]])
    step = step_of(0, torch.arange(2)[None], 2, fill=0.0)
    probability = method.attend(step, state).probability
    assert torch.allclose(probability, torch.tensor([2, 1]).div(3).expand(1, HEADS, 2, 2))


def test_merging_weighs_by_size() -> None:
    """A token of 3 patches and one of 1 make a token that is 3/4 of the first."""
    method = ToMe(keep_ratio=0.34)
    state = method.begin(batch_of(1, 4, 2))
    state.sizes = torch.tensor([[1.0, 3, 1, 1]])
    key = torch.tensor([[5.0, 1, 0, 0], [1, 0, 0, 0], [1, 0.1, 0, 0], [0, 1, 0, 0]]).expand(
        1, HEADS, -1, -1
    )
    ids = torch.arange(4)[None]
    step = step_of(0, ids, 4, fill=0.0)
    step = AttentionStep(**{**vars(step), "key": key})
    before = Seen(step=step, outcome=method.attend(step, state), modules={})
    entry = Between(
        layer=1,
        step=0,
        hidden=torch.zeros(1, 4, 1),
        ids=ids,
        before=before,
        look_ahead=lambda: pytest.fail("nothing looks ahead"),
    )
    decision = method.between(entry, state)
    assert decision.kept_tokens is not None
    assert decision.merge is not None
    assert decision.kept_tokens.tolist() == [[0, 1, 3]]
    assert decision.merge[0, 1].tolist() == [0, 0.75, 0.25, 0]
    assert state.sizes.tolist() == [[1, 4, 1]]


def test_tome_refuses_what_is_not_finite() -> None:
    with pytest.raises(InputError, match="every value of the merging metric must be finite"):
        drive(ToMe(), 1, 9, 3, fill=torch.nan)
