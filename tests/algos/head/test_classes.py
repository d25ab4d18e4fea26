"""Head classes: gates, retrieval scores, and how many heads a budget leaves whole."""

from __future__ import annotations

import pytest
import torch

from algos.base import Calibration
from algos.decoding import calibrate
from algos.head.classes import best_heads, streaming_mask
from algos.head.duo import DuoAttention, deviation
from algos.head.retrieval_head import RetrievalHead, retrieval_score
from tests.algos.decoders import random_decoder, random_tokens
from workloads.capture import CapturedLayer
from workloads.errors import InputError


def test_what_a_streaming_head_sees() -> None:
    ids = torch.arange(5)
    assert streaming_mask(ids, ids, 1, 2).int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 1, 1, 0],
        [1, 0, 0, 1, 1],
    ]
    assert streaming_mask(ids[4:], torch.tensor([-1, 0, 4]), 1, 2).tolist() == [[False, True, True]]


def test_the_budget_is_shared_by_all_heads() -> None:
    method = DuoAttention(keep_ratio=0.5, sinks=4, recent=16)
    # 8 heads hold 20 of 100 tokens; 240 are left, 80 make a head whole
    assert method.full_count(8, 100) == 3
    assert DuoAttention(keep_ratio=1.0, sinks=4, recent=16).full_count(8, 100) == 8
    with pytest.raises(InputError, match=r"least the 20 protected tokens, 0.1 of 100 tokens is 10"):
        DuoAttention(keep_ratio=0.1, sinks=4, recent=16).full_count(8, 100)


def test_the_most_important_heads_are_whole() -> None:
    importance = torch.tensor([[0.1, 0.9], [0.9, 0.9]])
    assert best_heads(importance, 2).int().tolist() == [[0, 1], [1, 0]]  # ties: the first


def test_a_head_that_looks_nearby_does_not_change() -> None:
    seen = torch.tensor([[True, False], [False, True]])
    near = torch.tensor([[1.0, 0], [0, 1]])
    far = torch.tensor([[1.0, 0], [1, 0]])
    value = torch.tensor([[1.0, 0], [0, 1]]).expand(1, 2, 2, 2)
    change = deviation(torch.stack((near, far))[None], value, seen)
    # the far head's second output becomes 0: half of what it puts out
    assert change.tolist() == [0, 0.5]


def test_a_head_scores_where_it_looks_at_what_is_generated() -> None:
    look = torch.eye(4)[[1, 2, 0]]  # 3 steps look at tokens 1, 2, 0
    keys, generated = torch.tensor([7, 5, 6, 5]), torch.tensor([5, 9, 7])
    # step 0 hits inside the needle, step 1 looks at another token, step 2 outside
    assert retrieval_score(look, keys, generated, range(1, 3)).item() == 0.5
    both = torch.stack((look, torch.eye(4)[[3, 3, 3]]), 1)
    assert retrieval_score(both, keys, generated, range(1, 4)).tolist() == pytest.approx(
        [1 / 3] * 2
    )


def test_a_copying_head_is_found() -> None:
    loaded = random_decoder("llama")
    tokens = random_tokens(1, 20, seed=1).repeat(1, 2)
    method = RetrievalHead()
    recorded: list[CapturedLayer] = []

    class Spy(RetrievalHead):
        def calibrate(self, seen: Calibration) -> torch.Tensor:
            recorded.extend(seen.layers)
            return super().calibrate(seen)

    assert calibrate(Spy(), loaded, tokens).shape == (2, 2)
    layer = recorded[0]
    probability = torch.zeros_like(layer.probability)
    probability[:, :, :, 0] = 1  # all heads look at the start, head 3 behind the last repetition
    probability[:, 3, 20:] = 0
    places = torch.arange(20, 40)
    probability[:, 3, places, places - 19] = 1
    copying = CapturedLayer(step=layer.step, hidden=layer.hidden, probability=probability)
    score = method.calibrate(Calibration(tokens=tokens, layers=[copying]))
    assert score[0, 1] > 10 * score[0, 0]


def test_gates_given_are_taken() -> None:
    loaded, tokens = random_decoder("llama"), random_tokens(1, 20)
    given = DuoAttention(alpha=((0.5, 2.0), (0.0, -1.0)))
    assert calibrate(given, loaded, tokens).tolist() == [[0.5, 1.0], [0.0, 0.0]]
    with pytest.raises(InputError, match="duo alpha must have 2 rows of 2 KV heads"):
        calibrate(DuoAttention(alpha=((0.5, 1.0),)), loaded, tokens)
