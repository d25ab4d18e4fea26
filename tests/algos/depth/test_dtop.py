"""DToP: settled tokens stop, the surest stay as context."""

from __future__ import annotations

from itertools import pairwise

import torch

from algos.depth.dtop import DToP, finished, settled
from tests.algos.token.drive import LAYOUTS, Model, batch_of, run


def test_a_token_is_settled_if_it_was_not_turned() -> None:
    before = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    after = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    torch.testing.assert_close(settled(before, after), torch.tensor([[1.0, 0.0]]))


def test_the_surest_stay_and_the_next_finish() -> None:
    confidence = torch.tensor([[0.9, 0.8, 0.1, 0.7, 0.95]])
    already = torch.tensor([[False, False, False, False, True]])
    done = finished(confidence, already, left=2, context=1)
    assert done.tolist() == [[False, True, False, True, True]]


def test_finished_tokens_stay_finished() -> None:
    batch = batch_of(LAYOUTS["images"], 17)
    method = DToP(keep_ratio=0.5, context=2)
    masks = [d.bypass for _, d in run(method, batch, Model())]
    assert [0 if m is None else int(m[0].sum()) for m in masks] == [0, 0, 4, 4, 8, 8]
    for earlier, later in pairwise(masks[2:]):
        assert earlier is not None
        assert later is not None
        assert bool((later | ~earlier).all())
